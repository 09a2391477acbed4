//! Committed offsets: what the records of a partition of `__consumer_offsets` add up to.
//!
//! Offsets that were committed in a transaction wait beside the others until its marker comes; a reader
//! that requires stable offsets is told so (KIP-447).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::record::{CommittedOffset, OffsetRecord};

/// A committed offset and where it stands in the log, by which a transaction's is told from a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub value: CommittedOffset,
    pub record_offset: i64,
}

/// By topic and partition.
pub type GroupOffsets = BTreeMap<Arc<str>, BTreeMap<i32, Committed>>;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    by_group: BTreeMap<Arc<str>, GroupOffsets>,
    /// By producer id.
    pending: BTreeMap<i64, BTreeMap<Arc<str>, GroupOffsets>>,
    /// Producers with pending offsets in a group.
    open: BTreeMap<Arc<str>, BTreeSet<i64>>,
    /// Offsets in `by_group`, so that nobody has to walk through them for their number.
    count: usize,
}

impl Offsets {
    pub fn group(&self, group: &str) -> Option<&GroupOffsets> {
        self.by_group.get(group)
    }

    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.by_group.get(group)?.get(topic)?.get(&partition)
    }

    /// Offsets of all groups.
    pub fn count(&self) -> usize {
        self.count
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &GroupOffsets)> {
        self.by_group.iter()
    }

    pub(super) fn has_open_transaction(&self, group: &str) -> bool {
        self.open.contains_key(group)
    }

    /// Offsets of a group that open transactions have committed.
    pub(super) fn pending_in<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a GroupOffsets> {
        let producers = self.open.get(group).into_iter().flatten();
        producers.filter_map(move |id| self.pending.get(id)?.get(group))
    }

    pub(super) fn pending_groups(&self) -> impl Iterator<Item = (&Arc<str>, &GroupOffsets)> {
        self.pending.values().flatten()
    }

    pub(super) fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.pending_in(group).any(|offsets| offsets.get(topic).is_some_and(|t| t.contains_key(&partition)))
    }

    /// Applies a record that no transaction wrote.
    pub(super) fn apply(&mut self, record: &OffsetRecord, record_offset: i64) {
        match &record.value {
            Some(value) => {
                let is_new = put(&mut self.by_group, record, value, record_offset);
                self.count += usize::from(is_new);
            }
            None => self.remove(&record.group, &record.topic, record.partition),
        }
    }

    /// Applies a record of a transaction, which counts when [`Offsets::end_transaction`] says so.
    pub(super) fn apply_transactional(
        &mut self,
        producer_id: i64,
        record: &OffsetRecord,
        record_offset: i64,
    ) {
        let Some(value) = &record.value else { return self.apply(record, record_offset) };
        put(self.pending.entry(producer_id).or_default(), record, value, record_offset);
        self.open.entry(record.group.clone()).or_default().insert(producer_id);
    }

    /// A marker: the producer's pending offsets count, unless a later one was committed since, or are
    /// forgotten.
    pub(super) fn end_transaction(&mut self, producer_id: i64, committed: bool) {
        for (group, topics) in self.pending.remove(&producer_id).into_iter().flatten() {
            if let Some(producers) = self.open.get_mut(&group) {
                producers.remove(&producer_id);
                if producers.is_empty() {
                    self.open.remove(&group);
                }
            }
            if !committed {
                continue;
            }
            let known = self.by_group.entry(group).or_default();
            for (topic, partitions) in topics {
                let known = known.entry(topic).or_default();
                for (partition, offset) in partitions {
                    let older = known.get(&partition).is_none_or(|k| k.record_offset < offset.record_offset);
                    if older {
                        self.count += usize::from(known.insert(partition, offset).is_none());
                    }
                }
            }
        }
    }

    /// A tombstone takes the pending offsets along.
    fn remove(&mut self, group: &Arc<str>, topic: &Arc<str>, partition: i32) {
        let was_there = take(&mut self.by_group, group, topic, partition);
        self.count -= usize::from(was_there);
        for producer_id in self.open.get(group).cloned().unwrap_or_default() {
            if let Some(groups) = self.pending.get_mut(&producer_id) {
                take(groups, group, topic, partition);
            }
        }
    }
}

/// Whether nothing was committed there before.
fn put(
    groups: &mut BTreeMap<Arc<str>, GroupOffsets>,
    record: &OffsetRecord,
    value: &CommittedOffset,
    record_offset: i64,
) -> bool {
    let committed = Committed { value: value.clone(), record_offset };
    // Looked up before it is inserted, so that the names are kept once and not once per record.
    if let Some(known) = groups.get_mut(&record.group).and_then(|topics| topics.get_mut(&record.topic)) {
        return known.insert(record.partition, committed).is_none();
    }
    let topics = groups.entry(record.group.clone()).or_default();
    topics.entry(record.topic.clone()).or_default().insert(record.partition, committed).is_none()
}

/// Whether something was committed there.
fn take(groups: &mut BTreeMap<Arc<str>, GroupOffsets>, group: &str, topic: &str, partition: i32) -> bool {
    let Some(topics) = groups.get_mut(group) else { return false };
    let Some(partitions) = topics.get_mut(topic) else { return false };
    let was_there = partitions.remove(&partition).is_some();
    if partitions.is_empty() {
        topics.remove(topic);
    }
    if topics.is_empty() {
        groups.remove(group);
    }
    was_there
}

#[cfg(test)]
#[path = "offsets_test.rs"]
mod tests;
