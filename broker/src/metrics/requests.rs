//! What happens once per request, counted by the reactor that serves it.
//!
//! A shard is written by one thread only, so its counters are raised by a load and a store instead of a locked
//! instruction. A scrape adds the shards up; it may see one counter raised and the next not yet.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::api::{ROUTES, Route};

/// Upper bounds of the latency buckets in nanoseconds; one more bucket has no bound.
pub const BUCKETS_NS: [u64; 16] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

/// Versions of one API that are told apart; Kafka's highest is 18.
pub const VERSIONS_MAX: usize = 24;

/// The counters of one reactor.
#[derive(Debug)]
pub struct Shard {
    /// By place in the route table, then by version. Made when first used.
    meters: Vec<[OnceLock<Box<Meter>>; VERSIONS_MAX]>,
    received_bytes: Count,
    sent_bytes: Count,
    stalls: Count,
    stall_ns: Count,
}

/// Requests of one API and version.
#[derive(Debug, Default)]
pub struct Meter {
    buckets: [Count; BUCKETS_NS.len() + 1],
    sum_ns: Count,
}

/// A counter with one writer.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Count {
    fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Shard {
    pub(super) fn new() -> Self {
        Self {
            meters: ROUTES.iter().map(|_| [const { OnceLock::new() }; VERSIONS_MAX]).collect(),
            received_bytes: Count::default(),
            sent_bytes: Count::default(),
            stalls: Count::default(),
            stall_ns: Count::default(),
        }
    }

    /// A request was answered after `took`.
    pub fn answered(&self, route: &Route, version: i16, took: Duration) {
        let Some(meter) =
            usize::try_from(version).ok().and_then(|version| self.meters[route.place()].get(version))
        else {
            return;
        };
        meter.get_or_init(Box::default).observe(took);
    }

    pub fn moved(&self, received_bytes: u64, sent_bytes: u64) {
        self.received_bytes.add(received_bytes);
        self.sent_bytes.add(sent_bytes);
    }

    /// One connection kept the reactor for too long.
    pub fn stalled(&self, time: Duration) {
        self.stalls.add(1);
        self.stall_ns.add(time.as_nanos() as u64);
    }

    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes.get()
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.get()
    }

    pub(super) fn stalls(&self) -> u64 {
        self.stalls.get()
    }

    pub(super) fn stall_seconds(&self) -> f64 {
        self.stall_ns.get() as f64 / 1e9
    }

    pub(super) fn meter(&self, place: usize, version: usize) -> Option<&Meter> {
        self.meters[place][version].get().map(Box::as_ref)
    }
}

impl Meter {
    fn observe(&self, took: Duration) {
        let nanos = took.as_nanos() as u64;
        self.buckets[BUCKETS_NS.partition_point(|bound| *bound < nanos)].add(1);
        self.sum_ns.add(nanos);
    }

    /// Requests per bucket, not cumulative.
    pub(super) fn counts(&self) -> [u64; BUCKETS_NS.len() + 1] {
        std::array::from_fn(|bucket| self.buckets[bucket].get())
    }

    pub(super) fn sum_seconds(&self) -> f64 {
        self.sum_ns.get() as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_version_has_a_meter() {
        for route in ROUTES {
            assert!((route.versions.1 as usize) < VERSIONS_MAX, "{}", route.key);
        }
    }

    #[test]
    fn latency_is_counted_in_the_bucket_that_bounds_it() {
        let meter = Meter::default();
        for nanos in [1, 50_000, 50_001, 20_000_000_000] {
            meter.observe(Duration::from_nanos(nanos));
        }
        let counts = meter.counts();
        assert_eq!((counts[0], counts[1], counts[BUCKETS_NS.len()]), (2, 1, 1));
        assert_eq!(counts.iter().sum::<u64>(), 4);
    }
}
