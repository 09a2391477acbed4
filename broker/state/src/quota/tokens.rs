//! A bucket of tokens: what is left to do of what comes rarely and in bursts (KIP-599).
//!
//! It fills at the rate of the quota up to what all samples of the window hold. A change is let through while the bucket
//! is not below zero, however much it takes, so that one large change is possible and the next waits for it.

use super::rate::{Window, rounded};

/// The bucket of one client; full at first.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tokens {
    /// None: as many as fit.
    left: Option<f64>,
    at_ms: i64,
}

impl Tokens {
    /// What is left now.
    fn refill(&mut self, window: Window, limit: f64, now_ms: i64) -> f64 {
        let most = window.samples_max as f64 * window.sample_seconds() * limit;
        let elapsed = (now_ms - self.at_ms).max(0) as f64 / 1000.0;
        let left = self.left.map_or(most, |left| (left + limit * elapsed).min(most));
        *self = Self { left: Some(left), at_ms: now_ms };
        left
    }

    /// Takes tokens, also more than there are; negative ones are given back. How long to wait until the bucket is no
    /// longer below zero.
    pub fn take(&mut self, window: Window, limit: f64, tokens: f64, now_ms: i64) -> i64 {
        let left = self.refill(window, limit, now_ms) - tokens;
        let most = window.samples_max as f64 * window.sample_seconds() * limit;
        self.left = Some(left.min(most));
        wait_ms(left, limit)
    }

    /// Takes tokens unless the bucket is below zero. Errors: how long to wait for it.
    pub fn try_take(&mut self, window: Window, limit: f64, tokens: f64, now_ms: i64) -> Result<(), i64> {
        let left = self.refill(window, limit, now_ms);
        if left < 0.0 {
            return Err(wait_ms(left, limit));
        }
        self.left = Some(left - tokens);
        Ok(())
    }
}

fn wait_ms(left: f64, limit: f64) -> i64 {
    if left < 0.0 { rounded(-left / limit * 1000.0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { samples_max: 11, sample_ms: 1000 };

    #[test]
    fn bucket_lets_one_burst_through_and_then_waits() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.try_take(WINDOW, 2.0, 22.0, 0), Ok(()), "all that fits");
        assert_eq!(tokens.try_take(WINDOW, 2.0, 10.0, 0), Ok(()), "nothing is left, and nothing is owed");
        assert_eq!(tokens.try_take(WINDOW, 2.0, 1.0, 0), Err(5000));
        assert_eq!(tokens.try_take(WINDOW, 2.0, 1.0, 4000), Err(1000));
        assert_eq!(tokens.try_take(WINDOW, 2.0, 1.0, 5000), Ok(()));
        assert_eq!(tokens.try_take(WINDOW, 2.0, 1.0, 5000), Err(500));
    }

    #[test]
    fn older_clients_are_let_through_and_told_to_wait() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.take(WINDOW, 1.0, 11.0, 0), 0);
        assert_eq!(tokens.take(WINDOW, 1.0, 3.0, 0), 3000);
        assert_eq!(tokens.take(WINDOW, 1.0, 3.0, 1000), 5000);
    }

    #[test]
    fn what_is_given_back_never_fills_it_beyond_its_size() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.take(WINDOW, 1.0, -100.0, 0), 0);
        assert_eq!(tokens.take(WINDOW, 1.0, 12.0, 0), 1000);
        assert_eq!(tokens.take(WINDOW, 1.0, -12.0, 0), 0);
        assert_eq!(tokens.take(WINDOW, 1.0, 12.0, 0), 1000);
    }

    #[test]
    fn time_that_runs_back_takes_nothing_away() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.take(WINDOW, 1.0, 11.0, 1000), 0);
        assert_eq!(tokens.try_take(WINDOW, 1.0, 1.0, 0), Ok(()));
    }
}
