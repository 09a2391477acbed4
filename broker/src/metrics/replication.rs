//! What followers copied, and how the sets of in-sync replicas changed where this broker leads.

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec};

use super::{counter, counters, definitions as table};

/// Which way records of a replica go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From this broker to a follower.
    Out,
    /// From a leader to this broker.
    In,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

#[derive(Debug)]
pub struct Replication {
    fetched_bytes: IntCounter,
    throttled_bytes: IntCounterVec,
    isr_shrinks: IntCounter,
    isr_expands: IntCounter,
}

impl Replication {
    pub(super) fn new() -> Self {
        let throttled_bytes = counters(&table::REPLICATION_THROTTLED_BYTES);
        for direction in [Direction::Out, Direction::In] {
            throttled_bytes.with_label_values(&[direction.name()]).inc_by(0);
        }
        Self {
            throttled_bytes,
            fetched_bytes: counter(&table::REPLICATION_FETCHED_BYTES),
            isr_shrinks: counter(&table::ISR_SHRINKS),
            isr_expands: counter(&table::ISR_EXPANDS),
        }
    }

    /// Records came from a leader.
    pub fn fetched(&self, bytes: usize) {
        self.fetched_bytes.inc_by(bytes as u64);
    }

    /// Records of a throttled replica were copied.
    pub fn throttled(&self, direction: Direction, bytes: usize) {
        self.throttled_bytes.with_label_values(&[direction.name()]).inc_by(bytes as u64);
    }

    pub fn isr_shrunk(&self) {
        self.isr_shrinks.inc();
    }

    pub fn isr_expanded(&self) {
        self.isr_expands.inc();
    }

    /// Shrinks and expansions.
    #[cfg(test)]
    pub(crate) fn isr_changes(&self) -> (u64, u64) {
        (self.isr_shrinks.get(), self.isr_expands.get())
    }

    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        let throttled = self.throttled_bytes.collect();
        [self.fetched_bytes.collect(), throttled, self.isr_shrinks.collect(), self.isr_expands.collect()]
            .concat()
    }
}
