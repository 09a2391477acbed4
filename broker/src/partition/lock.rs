//! The lock of a partition, which fails the partition when a panic ends what was done under it.
//!
//! The lock itself does not notice a panic. Whoever came next would serve a log, or rules, of which only half was
//! changed. So nobody comes next: clients get KAFKA_STORAGE_ERROR, and the next start checks the log.

use std::ops::{Deref, DerefMut};

use parking_lot::MutexGuard;

use super::partition::{Inner, Partition};

/// The held lock.
pub(super) struct Locked<'a> {
    partition: &'a Partition,
    inner: MutexGuard<'a, Inner>,
}

impl<'a> Locked<'a> {
    pub fn new(partition: &'a Partition, inner: MutexGuard<'a, Inner>) -> Self {
        Self { partition, inner }
    }
}

impl Deref for Locked<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.inner
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let partition = self.partition;
        tracing::error!(
            topic = %partition.topic(), partition = partition.index(),
            "a panic interrupted work on the partition; it is not used until the next start"
        );
        partition.fail();
    }
}
