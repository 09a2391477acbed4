//! The speed limit of the cleaner (`log.cleaner.io.max.bytes.per.second`) as arithmetic: the shell says what was read
//! and written, and is told how long to wait.

/// Time that was not used counts for later work up to this much, as one interval of Kafka's throttler.
const CREDIT_MS: f64 = 300.0;

/// Bytes per second over all cleaner threads of a process.
#[derive(Debug, Clone)]
pub struct Throttle {
    bytes_per_second: f64,
    /// Everything reported so far is paid for at this time.
    paid_ms: f64,
}

impl Throttle {
    /// A limit that is not above 0, or no number, is none.
    pub fn new(bytes_per_second: f64) -> Self {
        Throttle { bytes_per_second, paid_ms: f64::NEG_INFINITY }
    }

    /// So many bytes were read or written: milliseconds to wait before the next.
    pub fn wait_ms(&mut self, bytes: u64, now_ms: i64) -> u64 {
        let is_limited = self.bytes_per_second > 0.0 && self.bytes_per_second.is_finite();
        if !is_limited {
            return 0;
        }
        let now_ms = now_ms as f64;
        let cost_ms = bytes as f64 * 1000.0 / self.bytes_per_second;
        self.paid_ms = self.paid_ms.max(now_ms - CREDIT_MS) + cost_ms;
        (self.paid_ms - now_ms).max(0.0).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_as_told_keeps_the_limit() {
        let mut throttle = Throttle::new(1_000_000.0);
        let start_ms = 1_700_000_000_000;
        let mut now_ms = start_ms;
        for _ in 0..100 {
            now_ms += throttle.wait_ms(100_000, now_ms) as i64;
        }
        // Ten million bytes, less what the credit lets pass.
        assert!((9_600..=10_000).contains(&(now_ms - start_ms)), "{}", now_ms - start_ms);
    }

    #[test]
    fn idle_time_is_no_credit_beyond_an_interval() {
        let mut throttle = Throttle::new(1000.0);
        assert_eq!(throttle.wait_ms(300, 1_000_000), 0);
        assert_eq!(throttle.wait_ms(1000, 1_000_000), 1000);
        assert_eq!(throttle.wait_ms(1300, 9_000_000), 1000);
    }

    #[test]
    fn no_limit_never_waits() {
        for limit in [f64::INFINITY, f64::NAN, 0.0, -1.0] {
            assert_eq!(Throttle::new(limit).wait_ms(u64::MAX, 5), 0, "{limit}");
        }
        assert_eq!(Throttle::new(f64::MAX).wait_ms(1 << 40, 1 << 40), 0);
    }
}
