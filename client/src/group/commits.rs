//! What was committed of what was consumed: acknowledgements, and the one commit that may be under way.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::commit::{CommitOffsets, Committed};
use super::task::Task;
use crate::consumer::PartitionKey;
use crate::error::Result;

#[derive(Debug)]
pub(super) struct Commits {
    /// What the coordinator has acknowledged, or had before.
    acknowledged: BTreeMap<PartitionKey, i64>,
    in_flight: Option<Task<Committed>>,
    /// When the next automatic commit is due.
    pub(super) due: Instant,
}

impl Commits {
    pub(super) fn new(due: Instant) -> Self {
        Self { acknowledged: BTreeMap::new(), in_flight: None, due }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// The offsets that the coordinator is not known to have.
    pub(super) fn unacknowledged(&self, mut positions: CommitOffsets) -> CommitOffsets {
        positions.retain(|key, commit| self.acknowledged.get(key) != Some(&commit.offset));
        positions
    }

    pub(super) fn acknowledge(&mut self, offsets: BTreeMap<PartitionKey, i64>) {
        self.acknowledged.extend(offsets);
    }

    pub(super) fn forget(&mut self, key: &PartitionKey) {
        self.acknowledged.remove(key);
    }

    pub(super) fn begin(&mut self, commit: Task<Committed>) {
        debug_assert!(self.in_flight.is_none(), "one commit is under way at a time");
        self.in_flight = Some(commit);
    }

    /// Waits for the commit under way, for ever if there is none. Dropping the future loses nothing.
    pub(super) async fn finished(&mut self) -> Result<Committed> {
        let Some(task) = &mut self.in_flight else { return std::future::pending().await };
        let committed = task.await;
        self.in_flight = None;
        committed
    }

    /// As [`Commits::finished`]; none at once when there is none.
    pub(super) async fn settled(&mut self) -> Result<Option<Committed>> {
        if self.is_idle() { Ok(None) } else { self.finished().await.map(Some) }
    }
}
