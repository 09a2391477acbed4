//! How fast something goes, measured as Kafka measures it: in samples of a fixed length, of which the last few count.
//!
//! A rate is what the kept samples hold, divided by the time from the oldest of them to now, and by no less than all
//! full samples but one: a client that begins is not judged by its first second. Who exceeds its bound waits until the
//! same amount would have been within it.

use std::collections::VecDeque;

/// Which samples a rate is measured in: `quota.window.num` and `quota.window.size.seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub samples_max: usize,
    pub sample_ms: i64,
}

/// What happened lately.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rate {
    /// From the oldest to the one that is filled.
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    start_ms: i64,
    last_ms: i64,
    amount: f64,
}

impl Window {
    /// What `limit` allows within the full samples, before anything was used.
    pub fn capacity(self, limit: f64) -> f64 {
        limit * (self.samples_max.saturating_sub(1) as f64) * self.sample_seconds()
    }

    pub fn sample_seconds(self) -> f64 {
        self.sample_ms as f64 / 1000.0
    }

    /// Age from which a sample counts no longer.
    fn age_max_ms(self) -> i64 {
        self.sample_ms.saturating_mul(i64::try_from(self.samples_max).unwrap_or(i64::MAX))
    }
}

impl Rate {
    /// Adds an amount, or with a negative one takes it back.
    pub fn record(&mut self, window: Window, amount: f64, now_ms: i64) {
        if self.samples.back().is_none_or(|last| now_ms - last.start_ms >= window.sample_ms) {
            // One more than the window has: the oldest may reach into it.
            while self.samples.len() > window.samples_max {
                self.samples.pop_front();
            }
            self.samples.push_back(Sample { start_ms: now_ms, last_ms: now_ms, amount: 0.0 });
        }
        if let Some(last) = self.samples.back_mut() {
            last.amount += amount;
            last.last_ms = now_ms;
        }
    }

    /// How long to wait after what was recorded, 0 when `limit` is not exceeded.
    pub fn throttle_ms(&mut self, window: Window, limit: f64, now_ms: i64) -> i64 {
        self.forget(window, now_ms);
        self.wait_ms(limit, self.over_ms(window, now_ms))
    }

    /// As [`throttle_ms`](Self::throttle_ms), for what is judged from its first sample on: without any time that is taken
    /// for granted beyond that one (Kafka's SimpleRate).
    pub fn throttle_from_start_ms(&mut self, window: Window, limit: f64, now_ms: i64) -> i64 {
        self.forget(window, now_ms);
        self.wait_ms(limit, self.elapsed_ms(now_ms).max(window.sample_ms).max(1))
    }

    fn forget(&mut self, window: Window, now_ms: i64) {
        self.samples.retain(|sample| now_ms - sample.last_ms < window.age_max_ms());
    }

    fn wait_ms(&self, limit: f64, over_ms: i64) -> i64 {
        let amount: f64 = self.samples.iter().map(|sample| sample.amount).sum();
        let per_second = amount / (over_ms as f64 / 1000.0);
        if per_second > limit { rounded((per_second - limit) / limit * over_ms as f64) } else { 0 }
    }

    fn elapsed_ms(&self, now_ms: i64) -> i64 {
        now_ms - self.samples.front().map_or(now_ms, |oldest| oldest.start_ms)
    }

    /// The time that the kept samples are spread over.
    fn over_ms(&self, window: Window, now_ms: i64) -> i64 {
        let elapsed_ms = self.elapsed_ms(now_ms);
        let full = elapsed_ms / window.sample_ms.max(1);
        let full_min = i64::try_from(window.samples_max).unwrap_or(i64::MAX) - 1;
        let missing = (full_min - full).max(0);
        elapsed_ms.saturating_add(missing.saturating_mul(window.sample_ms)).max(1)
    }
}

/// To whole milliseconds, halves up.
pub(super) fn rounded(ms: f64) -> i64 {
    (ms + 0.5).floor() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { samples_max: 11, sample_ms: 1000 };

    #[test]
    fn the_longest_window_of_all_is_one_too() {
        let window = Window { samples_max: i32::MAX as usize, sample_ms: i64::from(i32::MAX) * 1000 };
        let mut rate = Rate::default();
        rate.record(window, 5.0, 1000);
        assert_eq!(rate.throttle_ms(window, 1.0, 2000), 0, "five in an age");
    }

    /// Records what the pairs of time and amount say; the wait after the last.
    fn throttle_after(limit: f64, recorded: &[(i64, f64)]) -> i64 {
        let mut rate = Rate::default();
        let mut throttle_ms = 0;
        for (now_ms, amount) in recorded {
            rate.record(WINDOW, *amount, *now_ms);
            throttle_ms = rate.throttle_ms(WINDOW, limit, *now_ms);
        }
        throttle_ms
    }

    #[test]
    fn wait_is_what_brings_the_rate_back_to_its_bound() {
        // Ten seconds of the window are taken for granted.
        assert_eq!(throttle_after(100.0, &[(0, 1000.0)]), 0);
        assert_eq!(throttle_after(100.0, &[(0, 1100.0)]), 1000);
        assert_eq!(throttle_after(100.0, &[(0, 3000.0)]), 20_000);
        assert_eq!(throttle_after(1.0, &[(0, 1_000_000.0)]), 999_990_000, "produce and fetch know no bound");
        assert_eq!(throttle_after(f64::NAN, &[(0, 1e9)]), 0, "nobody exceeds what is no number");
        assert_eq!(throttle_after(f64::INFINITY, &[(0, 1e9)]), 0);
    }

    #[test]
    fn rate_is_spread_over_the_time_since_the_oldest_sample() {
        // 10.5 seconds have passed, 2,100 are 200 per second.
        assert_eq!(throttle_after(100.0, &[(0, 100.0), (10_500, 2000.0)]), 10_500);
        // Of a sample that began before the window only its end has to reach into it.
        assert_eq!(throttle_after(100.0, &[(0, 100.0), (900, 1000.0), (11_800, 100.0)]), 200);
        assert_eq!(throttle_after(100.0, &[(0, 100.0), (900, 1000.0), (11_900, 1000.0)]), 0);
    }

    #[test]
    fn a_rate_from_the_start_takes_one_sample_for_granted() {
        let after = |recorded: &[(i64, f64)]| {
            let mut rate = Rate::default();
            let mut throttle_ms = 0;
            for (now_ms, amount) in recorded {
                rate.record(WINDOW, *amount, *now_ms);
                throttle_ms = rate.throttle_from_start_ms(WINDOW, 100.0, *now_ms);
            }
            throttle_ms
        };
        assert_eq!(after(&[(0, 100.0)]), 0);
        assert_eq!(after(&[(0, 1000.0)]), 9000);
        assert_eq!(after(&[(0, 500.0), (5000, 0.0)]), 0, "five seconds have passed");
        assert_eq!(after(&[(0, 500.0), (4000, 0.0)]), 1000);
        assert_eq!(after(&[(0, 1e9), (11_000, 0.0)]), 0, "it is forgotten");
    }

    #[test]
    fn old_samples_are_given_up_however_long_it_goes_on() {
        let mut rate = Rate::default();
        for second in 0..1000 {
            rate.record(WINDOW, 100.0, second * 1000);
            assert_eq!(rate.throttle_ms(WINDOW, 110.0, second * 1000), 0, "{second}");
            assert!(rate.samples.len() <= WINDOW.samples_max + 1);
        }
    }

    #[test]
    fn what_was_taken_back_was_never_used() {
        assert_eq!(throttle_after(100.0, &[(0, 3000.0), (10, -3000.0), (20, 1000.0)]), 0);
    }

    #[test]
    fn capacity_is_what_the_full_samples_hold() {
        assert_eq!(WINDOW.capacity(100.0), 1000.0);
        assert_eq!(Window { samples_max: 1, sample_ms: 1000 }.capacity(100.0), 0.0);
    }
}
