//! Replication throttles (KIP-73): which replicas may be held back, and for how long.
//!
//! Topics name replicas in `leader.replication.throttled.replicas` and `follower.replication.throttled.replicas`, brokers
//! have a rate for each of the two sides. What is copied of named replicas counts towards the rate, also while they are
//! in sync; only those that are not in sync wait while it is exceeded, so that no throttle ever slows a produce. The
//! leader knows who is in sync, or about to be, and so waited for; a follower takes itself for it when it has reached the high watermark of its leader.

use crate::config::definition::list;
use crate::quota::{Rate, Window};

/// A hold is looked at again after this time at the latest: a rate that is raised or taken away acts by then.
pub const HOLD_MS_MAX: i64 = 1000;

/// Who is held back waits at least so long, however little the rate is exceeded.
pub const HOLD_MS_MIN: i64 = 10;

/// The replicas of a topic that are throttled on one of the two sides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Throttled {
    #[default]
    None,
    All,
    /// Partitions and brokers, ascending: on the side of leaders those that lead, on the other those that follow. Tools name
    /// every replica of a topic that moves.
    Pairs(Vec<(i32, i32)>),
}

impl Throttled {
    /// Reads the property; pairs that are none are passed over, for they were checked when they were set.
    pub fn parse(value: &str) -> Self {
        if value == "*" {
            return Self::All;
        }
        let pair = |element: &str| {
            let (partition, broker) = element.split_once(':')?;
            Some((partition.parse().ok()?, broker.parse().ok()?))
        };
        let mut pairs: Vec<_> = list(value).filter_map(pair).collect();
        pairs.sort_unstable();
        if pairs.is_empty() { Self::None } else { Self::Pairs(pairs) }
    }

    pub fn contains(&self, partition: i32, broker_id: i32) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Pairs(pairs) => pairs.binary_search(&(partition, broker_id)).is_ok(),
        }
    }

    /// Whether a replica waits while the rate of `broker_id` is exceeded. Never one that the high watermark waits for.
    pub fn holds(&self, partition: i32, broker_id: i32, is_waited_for: bool) -> bool {
        !is_waited_for && self.contains(partition, broker_id)
    }
}

/// Whether a follower takes itself for in sync; not before its leader has said its high watermark.
pub fn has_caught_up(fetch_offset: i64, leader_high_watermark: Option<i64>) -> bool {
    leader_high_watermark.is_some_and(|high_watermark| fetch_offset >= high_watermark)
}

/// What a broker copied of throttled replicas on one side, and how much it may.
#[derive(Debug, Clone)]
pub struct Throttle {
    window: Window,
    bytes_per_second: i64,
    copied: Rate,
}

impl Throttle {
    /// Without a bound.
    pub fn new(window: Window) -> Self {
        Self { window, bytes_per_second: i64::MAX, copied: Rate::default() }
    }

    /// What was copied before still counts. `i64::MAX` is no bound.
    pub fn set_rate(&mut self, bytes_per_second: i64) {
        self.bytes_per_second = bytes_per_second;
    }

    pub fn is_bounded(&self) -> bool {
        self.bytes_per_second != i64::MAX
    }

    pub fn copied(&mut self, bytes: usize, now_ms: i64) {
        self.copied.record(self.window, bytes as f64, now_ms);
    }

    /// How long whoever is not in sync waits from now on; none while the rate is not exceeded.
    pub fn hold_ms(&mut self, now_ms: i64) -> Option<i64> {
        if !self.is_bounded() {
            return None;
        }
        let wait_ms = self.copied.throttle_from_start_ms(self.window, self.bytes_per_second as f64, now_ms);
        (wait_ms > 0).then(|| wait_ms.clamp(HOLD_MS_MIN, HOLD_MS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { samples_max: 11, sample_ms: 1000 };

    fn throttle(bytes_per_second: i64) -> Throttle {
        let mut throttle = Throttle::new(WINDOW);
        throttle.set_rate(bytes_per_second);
        throttle
    }

    #[test]
    fn replicas_are_named_one_by_one_or_all_at_once() {
        let named = Throttled::parse("2:3,0:1 ,junk,4:");
        assert_eq!(named, Throttled::Pairs(vec![(0, 1), (2, 3)]));
        assert!(named.contains(2, 3) && !named.contains(3, 2) && !named.contains(0, 3));
        assert!(Throttled::parse("*").contains(7, 9));
        assert_eq!(Throttled::parse(""), Throttled::None);
        assert!(!Throttled::None.contains(0, 1));
    }

    #[test]
    fn who_is_in_sync_is_never_held() {
        assert!(Throttled::All.holds(0, 1, false));
        assert!(!Throttled::All.holds(0, 1, true));
        assert!(!Throttled::None.holds(0, 1, false));
    }

    #[test]
    fn a_follower_has_caught_up_when_it_has_what_is_committed() {
        assert!(!has_caught_up(5, None), "its leader has not answered yet");
        assert!(!has_caught_up(5, Some(6)));
        assert!(has_caught_up(6, Some(6)) && has_caught_up(7, Some(6)));
    }

    #[test]
    fn a_hold_is_as_long_as_the_rate_is_exceeded_within_its_bounds() {
        let mut throttle = throttle(1000);
        assert_eq!(throttle.hold_ms(0), None);
        throttle.copied(1000, 0);
        assert_eq!(throttle.hold_ms(0), None, "as much as is allowed");
        throttle.copied(1, 0);
        assert_eq!(throttle.hold_ms(0), Some(HOLD_MS_MIN));
        throttle.copied(500, 0);
        assert_eq!(throttle.hold_ms(0), Some(501));
        throttle.copied(1_000_000, 0);
        assert_eq!(throttle.hold_ms(0), Some(HOLD_MS_MAX));
        assert_eq!(throttle.hold_ms(11_000), None, "beyond the window nothing counts");
    }

    #[test]
    fn a_rate_that_is_raised_or_taken_away_lets_go_at_once() {
        let mut throttle = throttle(10);
        throttle.copied(10_000, 0);
        assert_eq!(throttle.hold_ms(1), Some(HOLD_MS_MAX));
        throttle.set_rate(10_000);
        assert_eq!(throttle.hold_ms(1), None);
        throttle.set_rate(0);
        assert_eq!(throttle.hold_ms(1), Some(HOLD_MS_MAX), "nothing at all, beyond one look in a window");
        throttle.set_rate(i64::MAX);
        assert_eq!(throttle.hold_ms(1), None);
        assert!(!throttle.is_bounded());
    }

    /// Whoever waits as told copies at the rate, give or take the size of one step.
    #[test]
    fn waiting_as_told_keeps_the_rate() {
        for (rate, step) in [(100_000, 1000), (1_000_000, 1_048_576), (50_000_000, 10_485_760)] {
            let mut throttle = throttle(rate);
            let (mut now_ms, mut copied) = (0, 0_i64);
            while now_ms < 120_000 {
                match throttle.hold_ms(now_ms) {
                    Some(hold_ms) => now_ms += hold_ms,
                    None => {
                        throttle.copied(usize::try_from(step).expect("positive"), now_ms);
                        copied += step;
                        now_ms += 1;
                    }
                }
            }
            let allowed = rate * 120;
            assert!(copied <= allowed + 2 * step + rate, "{rate} in steps of {step}: {copied} of {allowed}");
            assert!(copied >= allowed * 8 / 10, "{rate} in steps of {step}: {copied} of {allowed}");
        }
    }
}
