//! Waiting for any of several partitions: the long poll of a fetch.

use std::future::poll_fn;
use std::sync::Arc;

use super::partition::Partition;
use super::watermark::{Signal, Ticket, Watermark};

/// Which number of a partition is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    LogEnd,
    HighWatermark,
    LastStable,
}

/// Ready when any of the added numbers is reached, or a partition among them goes away. One allocation for the
/// signal and one entry per partition; everything is taken back when it is dropped.
#[derive(Default)]
pub struct WaitAny {
    signal: Arc<Signal>,
    held: Vec<(Arc<Partition>, Mark, Ticket)>,
}

impl WaitAny {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a partition: fire when its `mark` is at least `at`.
    pub fn add(&mut self, partition: &Arc<Partition>, mark: Mark, at: i64) {
        if let Some(ticket) = watermark(partition, mark).register(at, &self.signal) {
            self.held.push((Arc::clone(partition), mark, ticket));
        }
    }

    /// Waits for the first of them. Look at the partitions again afterwards: it may have been an interruption.
    pub async fn any(&self) {
        poll_fn(|cx| self.signal.poll_fired(cx)).await;
    }
}

impl Drop for WaitAny {
    fn drop(&mut self) {
        for (partition, mark, ticket) in self.held.drain(..) {
            watermark(&partition, mark).forget(ticket);
        }
    }
}

fn watermark(partition: &Partition, mark: Mark) -> &Watermark {
    match mark {
        Mark::LogEnd => partition.log_end_offset(),
        Mark::HighWatermark => partition.high_watermark(),
        Mark::LastStable => partition.last_stable_offset(),
    }
}
