//! What the group coordinators count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntCounter};

use super::definitions as table;
use super::scrape::plain;
use super::{Metrics, counter, options};

/// Counters of the coordinators of this process.
#[derive(Debug)]
pub(super) struct Counters {
    rebalances: IntCounter,
    offset_commits: IntCounter,
    offset_expirations: IntCounter,
    offset_deletions: IntCounter,
    loads: IntCounter,
    loads_failed: IntCounter,
    load_seconds: Counter,
    longest_load_ns: AtomicU64,
    records_skipped: IntCounter,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            rebalances: counter(&table::GROUP_REBALANCES),
            offset_commits: counter(&table::GROUP_OFFSET_COMMITS),
            offset_expirations: counter(&table::GROUP_OFFSET_EXPIRATIONS),
            offset_deletions: counter(&table::GROUP_OFFSET_DELETIONS),
            loads: counter(&table::GROUP_LOADS),
            loads_failed: counter(&table::GROUP_LOADS_FAILED),
            load_seconds: Counter::with_opts(options(&table::GROUP_LOAD_SECONDS))
                .expect("names in the table are valid"),
            longest_load_ns: AtomicU64::new(0),
            records_skipped: counter(&table::GROUP_RECORDS_SKIPPED),
        }
    }

    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        let longest_load = Duration::from_nanos(self.longest_load_ns.load(Ordering::Relaxed));
        [
            self.rebalances.collect(),
            self.offset_commits.collect(),
            self.offset_expirations.collect(),
            self.offset_deletions.collect(),
            self.loads.collect(),
            self.loads_failed.collect(),
            self.load_seconds.collect(),
            vec![plain(&table::GROUP_LOAD_SECONDS_MAX, longest_load.as_secs_f64())],
            self.records_skipped.collect(),
        ]
        .concat()
    }
}

impl Metrics {
    /// A rebalance ended with an assignment.
    pub fn group_rebalanced(&self) {
        self.groups.rebalances.inc();
    }

    pub fn offsets_committed(&self, count: u64) {
        self.groups.offset_commits.inc_by(count);
    }

    /// Offsets went because nobody used them.
    pub fn offsets_expired(&self, count: u64) {
        self.groups.offset_expirations.inc_by(count);
    }

    /// Offsets went because somebody said so.
    pub fn offsets_deleted(&self, count: u64) {
        self.groups.offset_deletions.inc_by(count);
    }

    /// A partition of `__consumer_offsets` was loaded; so many of its records could not be read.
    pub fn groups_loaded(&self, took: Duration, skipped: u64) {
        let groups = &self.groups;
        groups.loads.inc();
        groups.load_seconds.inc_by(took.as_secs_f64());
        groups.records_skipped.inc_by(skipped);
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        groups.longest_load_ns.fetch_max(took_ns, Ordering::Relaxed);
    }

    /// A load ended without its groups.
    pub fn groups_not_loaded(&self) {
        self.groups.loads_failed.inc();
    }

    #[cfg(test)]
    pub fn group_loads_failed(&self) -> u64 {
        self.groups.loads_failed.get()
    }

    /// Records of groups that could not be read so far.
    #[cfg(test)]
    pub fn group_records_skipped(&self) -> u64 {
        self.groups.records_skipped.get()
    }
}
