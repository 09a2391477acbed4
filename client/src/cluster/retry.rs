//! When to try again: pauses that double up to a bound, until a deadline.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// One operation's attempts.
#[derive(Debug)]
pub struct Retry {
    pause: Duration,
    pause_max: Duration,
    deadline: Instant,
}

impl Retry {
    pub fn new(pause: Duration, pause_max: Duration, timeout: Duration) -> Self {
        Self { pause, pause_max, deadline: Instant::now() + timeout }
    }

    /// Waits before the next attempt; gives `error` back when there is no time for one.
    pub async fn pause(&mut self, error: Error) -> Result<()> {
        tokio::time::sleep(self.next_pause(error)?).await;
        Ok(())
    }

    /// What to wait before the next attempt; gives `error` back when there is no time for one.
    pub fn next_pause(&mut self, error: Error) -> Result<Duration> {
        let pause = self.pause;
        if Instant::now() + pause >= self.deadline {
            return Err(error);
        }
        tracing::debug!(%error, pause_ms = pause.as_millis() as u64, "trying again");
        self.pause = (pause * 2).min(self.pause_max);
        Ok(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_bound_and_end_at_the_deadline() {
        let second = Duration::from_secs(1);
        let mut retry = Retry::new(second, 4 * second, Duration::from_secs(3600));
        for expected in [1, 2, 4, 4] {
            let before = tokio::time::Instant::now();
            retry.pause(Error::UnknownBroker(1)).await.expect("time is left");
            assert_eq!(before.elapsed(), expected * second);
        }
        let mut retry = Retry::new(second, second, Duration::ZERO);
        assert!(matches!(retry.pause(Error::UnknownBroker(1)).await, Err(Error::UnknownBroker(1))));
    }
}
