//! How long the caller has been away from `poll`: what `max.poll.interval.ms` bounds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Shared between the consumer, which is polled, and the heartbeats, which stop when it no longer is.
#[derive(Debug)]
pub(super) struct PollClock {
    interval_max: Duration,
    /// Since when nobody polls; none while somebody does.
    away_since: Mutex<Option<Instant>>,
}

/// A poll under way; it ends when this is dropped, also with the future that holds it.
#[derive(Debug)]
pub(super) struct Polling(Arc<PollClock>);

impl PollClock {
    pub(super) fn new(interval_max: Duration) -> Arc<Self> {
        Arc::new(Self { interval_max, away_since: Mutex::new(Some(Instant::now())) })
    }

    pub(super) fn enter(self: &Arc<Self>) -> Polling {
        *self.away() = None;
        Polling(Arc::clone(self))
    }

    /// Waits until nobody has polled for the whole interval.
    pub(super) async fn expired(&self) {
        loop {
            let now = Instant::now();
            let away_since = *self.away();
            // A poll that is under way may end right now, so it cannot expire before another interval has passed.
            let deadline = away_since.unwrap_or(now) + self.interval_max;
            if away_since.is_some() && deadline <= now {
                return;
            }
            sleep_until(deadline).await;
        }
    }

    fn away(&self) -> MutexGuard<'_, Option<Instant>> {
        self.away_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        *self.0.away() = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_expires_an_interval_after_the_last_poll_and_never_during_one() {
        let clock = PollClock::new(10 * SECOND);
        let start = Instant::now();
        let polling = clock.enter();
        let during = tokio::time::timeout(35 * SECOND, clock.expired()).await;
        assert!(during.is_err(), "a poll that takes long is still a poll");
        drop(polling);
        clock.expired().await;
        assert_eq!(start.elapsed(), 45 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_in_between_begins_the_interval_anew() {
        let clock = PollClock::new(10 * SECOND);
        let start = Instant::now();
        let waiting = tokio::spawn({
            let clock = Arc::clone(&clock);
            async move { clock.expired().await }
        });
        tokio::time::sleep(9 * SECOND).await;
        drop(clock.enter());
        waiting.await.expect("it does not panic");
        assert_eq!(start.elapsed(), 19 * SECOND);
    }
}
