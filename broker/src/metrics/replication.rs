//! What followers copied, and how the sets of in-sync replicas changed where this broker leads.

use prometheus::IntCounter;
use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;

use super::{counter, definitions as table};

#[derive(Debug)]
pub struct Replication {
    fetched_bytes: IntCounter,
    isr_shrinks: IntCounter,
    isr_expands: IntCounter,
}

impl Replication {
    pub(super) fn new() -> Self {
        Self {
            fetched_bytes: counter(&table::REPLICATION_FETCHED_BYTES),
            isr_shrinks: counter(&table::ISR_SHRINKS),
            isr_expands: counter(&table::ISR_EXPANDS),
        }
    }

    /// Records came from a leader.
    pub fn fetched(&self, bytes: usize) {
        self.fetched_bytes.inc_by(bytes as u64);
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
        [self.fetched_bytes.collect(), self.isr_shrinks.collect(), self.isr_expands.collect()].concat()
    }
}
