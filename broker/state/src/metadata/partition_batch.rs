//! The partitions that one request changes, all in one entry.
//!
//! A request may name a partition twice. The second mention is decided on what the first left behind: decided on the
//! image it would contradict it, and be answered with epochs that are not those that come of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch_size::BatchSize;
use super::command::ApiError;
use super::image::{Partition, Topic};
use super::partition_index::PartitionId;
use super::record::{PartitionChange, Record};

#[derive(Debug, Default)]
pub(super) struct Batch {
    size: BatchSize,
    changed: BTreeMap<PartitionId, Arc<Partition>>,
    records: Vec<Record>,
}

impl Batch {
    /// The partition as what the request changed so far leaves it.
    pub fn partition(&self, topic: &Topic, partition_id: i32) -> Option<Arc<Partition>> {
        self.changed.get(&(topic.id, partition_id)).or_else(|| topic.partition(partition_id)).cloned()
    }

    /// Notes what becomes of a partition that was `before`, and gives what it is afterwards.
    ///
    /// Errors: `POLICY_VIOLATION` when the entry has no room for it.
    pub fn add(
        &mut self,
        before: &Arc<Partition>,
        change: Option<PartitionChange>,
    ) -> Result<Arc<Partition>, ApiError> {
        let Some(change) = change else { return Ok(Arc::clone(before)) };
        let mut after = Partition::clone(before);
        after.change(&change);
        let (id, after) = ((change.topic_id, change.partition_id), Arc::new(after));
        let record = [Record::PartitionChange(change)];
        self.size = self.size.with(&record)?;
        self.changed.insert(id, Arc::clone(&after));
        self.records.extend(record);
        Ok(after)
    }

    pub fn into_records(self) -> Vec<Record> {
        self.records
    }
}
