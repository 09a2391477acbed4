//! The throttles of this broker (KIP-73): what it gives to throttled replicas as their leader, and copies as a follower.
//!
//! While no rate is set, asking costs one relaxed load. With one, the rule is asked under a lock that is held for the
//! arithmetic alone: once for each fetch of a follower here, and once for each fetch that is sent to a leader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use milena_state::config::replication::Settings;
use milena_state::partition::throttle::Throttle;
use milena_state::quota::Window;
use parking_lot::Mutex;

use crate::metrics::{Direction, Metrics};

pub struct Throttles {
    /// Of what is led here.
    pub leader: Side,
    /// Of what is followed here.
    pub follower: Side,
}

pub struct Side {
    is_bounded: AtomicBool,
    throttle: Mutex<Throttle>,
    began: Instant,
    direction: Direction,
    metrics: Arc<Metrics>,
}

impl Throttles {
    pub fn new(settings: &Settings, metrics: &Arc<Metrics>) -> Self {
        let side = |direction| Side::new(settings.throttle_window, direction, Arc::clone(metrics));
        Self { leader: side(Direction::Out), follower: side(Direction::In) }
    }

    /// The rates that hold from now on.
    pub(crate) fn set_rates(&self, settings: &Settings) {
        self.leader.set_rate(settings.leader_throttled_rate);
        self.follower.set_rate(settings.follower_throttled_rate);
    }
}

impl Side {
    fn new(window: Window, direction: Direction, metrics: Arc<Metrics>) -> Self {
        let throttle = Mutex::new(Throttle::new(window));
        Self { is_bounded: AtomicBool::new(false), throttle, began: Instant::now(), direction, metrics }
    }

    fn set_rate(&self, bytes_per_second: i64) {
        let mut throttle = self.throttle.lock();
        throttle.set_rate(bytes_per_second);
        self.is_bounded.store(throttle.is_bounded(), Ordering::Relaxed);
    }

    /// Whether there is a rate at all.
    pub fn is_bounded(&self) -> bool {
        self.is_bounded.load(Ordering::Relaxed)
    }

    /// Records of throttled replicas were copied.
    pub fn copied(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.metrics.replication.throttled(self.direction, bytes);
        self.throttle.lock().copied(bytes, self.now_ms());
    }

    /// How long throttled replicas that are not in sync wait from now on; none while they may be copied.
    pub fn hold_ms(&self) -> Option<i64> {
        if !self.is_bounded() {
            return None;
        }
        self.throttle.lock().hold_ms(self.now_ms())
    }

    /// Of a clock that nobody sets.
    fn now_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}
