//! The time that one request takes of this process, for a quota on it (KIP-124).
//!
//! There is a watch only when such a quota acts on the client. It runs while the handler does, on its reactor or on a
//! blocking thread, and not while the request waits. The time is judged when the answer is made; what encoding, reading
//! and writing take counts as used and makes nobody wait for it, as in Kafka.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::quota::Quota;

/// Runs while its request does.
#[derive(Debug)]
pub struct Stopwatch {
    quota: Quota,
    /// Of the run that goes on.
    since: Cell<Option<Instant>>,
    /// On the reactor, before it was judged.
    here: Cell<Duration>,
    elsewhere: Cell<Duration>,
    judged: Cell<bool>,
    exempt: Cell<bool>,
}

impl Stopwatch {
    pub(super) fn new(quota: Quota) -> Self {
        Self {
            quota,
            since: Cell::default(),
            here: Cell::default(),
            elsewhere: Cell::default(),
            judged: Cell::default(),
            exempt: Cell::default(),
        }
    }

    pub(super) fn quota(&self) -> &Quota {
        &self.quota
    }

    pub(super) fn resume(&self, now: Instant) {
        self.since.set(Some(now));
    }

    /// What was spent until now is a part of what is judged, as long as it was not.
    pub(super) fn pause(&self, now: Instant) {
        let Some(since) = self.since.take() else { return };
        if !self.judged.get() {
            self.here.set(self.here.get() + now.saturating_duration_since(since));
        }
    }

    /// Time that was spent on another thread.
    pub(super) fn add(&self, more: Duration) {
        self.elsewhere.set(self.elsewhere.get() + more);
    }

    /// The request counts for nobody.
    pub(super) fn exempt(&self) {
        self.exempt.set(true);
    }

    pub(super) fn is_exempt(&self) -> bool {
        self.exempt.get()
    }

    /// The time on the reactor that is or will be judged.
    pub(super) fn here(&self) -> Duration {
        self.here.get()
    }

    /// What was spent until now; none when that was asked before, or does not count.
    pub(super) fn judge(&self, now: Instant) -> Option<Duration> {
        if self.exempt.get() || self.judged.get() {
            return None;
        }
        self.pause(now);
        self.judged.set(true);
        Some(self.here.get() + self.elsewhere.get())
    }
}

#[cfg(test)]
mod tests {
    use milena_state::config::broker::Settings;
    use milena_state::quota::{Entity, Key, Name, Value};

    use super::*;
    use crate::quota::{Quotas, tests::published};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn watch() -> Stopwatch {
        let quotas = Quotas::new(&Settings::own_defaults());
        published(&quotas, &Entity::client_id(Name::Default), Key::RequestPercentage, Value::new(1.0));
        Stopwatch::new(quotas.find(Key::RequestPercentage, "c").expect("it acts"))
    }

    #[test]
    fn only_the_time_in_which_the_request_runs_is_judged_and_only_once() {
        let (watch, start) = (watch(), Instant::now());
        watch.resume(start);
        watch.pause(start + ms(3));
        watch.add(ms(10));
        watch.resume(start + ms(1000));
        assert_eq!(watch.judge(start + ms(1004)), Some(ms(17)));
        watch.pause(start + ms(2000));
        assert_eq!((watch.judge(start + ms(2000)), watch.here()), (None, ms(7)));
    }

    #[test]
    fn exempt_request_is_never_judged() {
        let (watch, start) = (watch(), Instant::now());
        watch.resume(start);
        watch.exempt();
        assert!(watch.judge(start + ms(5)).is_none() && watch.is_exempt());
    }
}
