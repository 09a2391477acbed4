//! Moves of replicas between the directories of this broker: how they ended, and what was copied. What is under way is
//! counted when somebody scrapes.

use prometheus::IntCounter;
use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;

use super::{counter, definitions as table};

#[derive(Debug)]
pub struct Relocations {
    done: IntCounter,
    failed: IntCounter,
    copied_bytes: IntCounter,
}

impl Relocations {
    pub(super) fn new() -> Self {
        Self {
            done: counter(&table::DIRECTORY_MOVES_DONE),
            failed: counter(&table::DIRECTORY_MOVES_FAILED),
            copied_bytes: counter(&table::DIRECTORY_MOVED_BYTES),
        }
    }

    /// A replica is in its new directory.
    pub fn done(&self) {
        self.done.inc();
    }

    /// A replica stays where it is though nobody wants that.
    pub fn failed(&self) {
        self.failed.inc();
    }

    pub fn copied(&self, bytes: usize) {
        self.copied_bytes.inc_by(bytes as u64);
    }

    /// Moves that are done, and that failed.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.done.get(), self.failed.get())
    }

    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        [self.done.collect(), self.failed.collect(), self.copied_bytes.collect()].concat()
    }
}
