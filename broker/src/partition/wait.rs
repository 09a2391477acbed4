//! Waiting for any of several partitions: the long poll of a fetch.

use std::future::poll_fn;
use std::sync::Arc;

use super::partition::Partition;
use super::progress::{Level, Mark};
use super::read::Readout;
use super::watermark::{Signal, Ticket};

/// Ready when any of the added numbers is reached, or a partition among them goes away. One allocation for the
/// signal and one entry per partition; everything is taken back when it is dropped.
#[derive(Default)]
pub struct WaitAny {
    signal: Arc<Signal>,
    held: Vec<(Level, Ticket)>,
}

impl WaitAny {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a partition: fire when its `mark` rises above what `readout` saw, or another leadership began since.
    pub fn add(&mut self, partition: &Partition, mark: Mark, readout: &Readout) {
        let level = partition.level(mark);
        if level.progress.term != readout.term {
            return self.signal.fire();
        }
        if let Some(ticket) = level.watermark().register(readout.seen(mark) + 1, &self.signal) {
            self.held.push((level, ticket));
        }
    }

    /// Waits for the first of them. Look at the partitions again afterwards: it may have been an interruption.
    pub async fn any(&self) {
        poll_fn(|cx| self.signal.poll_fired(cx)).await;
    }
}

impl Drop for WaitAny {
    fn drop(&mut self) {
        for (level, ticket) in self.held.drain(..) {
            level.watermark().forget(ticket);
        }
    }
}
