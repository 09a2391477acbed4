//! Where each leader epoch began in this log. Followers compare these histories to find the offset below
//! which two replicas hold the same records (KIP-101, KIP-279), consumers to notice that a leader lost some
//! (KIP-320).
//!
//! Plain data and its text form (`leader-epoch-checkpoint`, Kafka's format version 0). The owner writes
//! the file whenever a method says that something changed.

use smallvec::SmallVec;

use crate::checkpoint;

/// Kafka's name of the file in a partition's directory.
pub const FILE_NAME: &str = "leader-epoch-checkpoint";

/// A leader epoch and the offset of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    pub epoch: i32,
    pub start_offset: i64,
}

/// End of an epoch, as OffsetForLeaderEpoch answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    pub epoch: i32,
    pub end_offset: i64,
}

/// Epochs of one log, both columns strictly ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    // Most partitions see one or two leaders between two retention runs.
    entries: SmallVec<[EpochStart; 2]>,
}

impl LeaderEpochs {
    /// Takes over what a checkpoint says, oldest first; an entry that contradicts a later one is dropped.
    pub fn from_entries(entries: impl IntoIterator<Item = EpochStart>) -> Self {
        let mut epochs = LeaderEpochs::default();
        for entry in entries {
            epochs.assign(entry.epoch, entry.start_offset);
        }
        epochs
    }

    /// Notes that `epoch` begins at `start_offset`. True when that is news.
    ///
    /// An epoch that is the latest already keeps its start, unless the new one is lower. Entries that are
    /// not below the new one in both columns belonged to records that are gone, and are dropped.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        if epoch < 0 || start_offset < 0 {
            return false;
        }
        if let Some(latest) = self.latest()
            && latest.epoch == epoch
            && latest.start_offset <= start_offset
        {
            return false;
        }
        while self.latest().is_some_and(|last| last.epoch >= epoch || last.start_offset >= start_offset) {
            self.entries.pop();
        }
        self.entries.push(EpochStart { epoch, start_offset });
        true
    }

    pub fn latest(&self) -> Option<EpochStart> {
        self.entries.last().copied()
    }

    pub fn latest_epoch(&self) -> Option<i32> {
        self.latest().map(|entry| entry.epoch)
    }

    pub fn earliest(&self) -> Option<EpochStart> {
        self.entries.first().copied()
    }

    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Epoch of the record at `offset`, if it is not older than everything noted here.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// The largest epoch ≤ `requested`, and where it ended: the start of the next one, or
    /// `log_end_offset` for the latest.
    ///
    /// `None` for an epoch above the latest, and for -1. An epoch below the first is answered by itself
    /// and the first start: its records are gone, and a follower can only begin there.
    ///
    /// Source: KIP-101, KIP-279.
    pub fn end_offset_for(&self, requested: i32, log_end_offset: i64) -> Option<EpochEnd> {
        if requested < 0 {
            return None;
        }
        if self.latest_epoch()? == requested {
            return Some(EpochEnd { epoch: requested, end_offset: log_end_offset });
        }
        let after = self.entries.partition_point(|entry| entry.epoch <= requested);
        let end_offset = self.entries.get(after)?.start_offset;
        let epoch = after.checked_sub(1).map_or(requested, |index| self.entries[index].epoch);
        Some(EpochEnd { epoch, end_offset })
    }

    /// Drops epochs that begin at or after `end_offset`. True when there were any.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let keep = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        changed
    }

    /// Records below `start_offset` are gone: the epoch that holds it now begins there, older ones are
    /// dropped. True when something changed.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let gone = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(current) = gone.checked_sub(1) else { return false };
        let changed = current > 0 || self.entries[current].start_offset != start_offset;
        self.entries[current].start_offset = start_offset;
        self.entries.drain(..current);
        changed
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The text of the checkpoint file.
    pub fn to_text(&self) -> String {
        checkpoint::to_text(
            self.entries.iter().map(|entry| format!("{} {}", entry.epoch, entry.start_offset)),
        )
    }

    /// Reads the checkpoint file's text.
    pub fn parse(text: &str) -> Result<Self, checkpoint::ParseError> {
        let entries = checkpoint::parse(text, |line| {
            let (epoch, start_offset) = line.split_once(' ')?;
            let entry = EpochStart { epoch: epoch.parse().ok()?, start_offset: start_offset.parse().ok()? };
            (entry.epoch >= 0 && entry.start_offset >= 0).then_some(entry)
        })?;
        Ok(LeaderEpochs::from_entries(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        LeaderEpochs::from_entries(
            entries.iter().map(|&(epoch, start_offset)| EpochStart { epoch, start_offset }),
        )
    }

    #[test]
    fn assign_keeps_both_columns_ascending() {
        let mut cache = epochs(&[(1, 0), (3, 10)]);
        assert!(!cache.assign(3, 15), "the latest epoch keeps its start");
        assert!(cache.assign(5, 20));
        assert_eq!(cache, epochs(&[(1, 0), (3, 10), (5, 20)]));
        assert!(cache.assign(6, 10), "an epoch that starts where others did replaces them");
        assert_eq!(cache, epochs(&[(1, 0), (6, 10)]));
        assert!(cache.assign(2, 30), "a lower epoch replaces higher ones");
        assert_eq!(cache, epochs(&[(1, 0), (2, 30)]));
        assert!(!cache.assign(-1, 40));
        assert!(cache.assign(2, 25), "a lower start of the latest epoch counts");
        assert_eq!(cache, epochs(&[(1, 0), (2, 25)]));
    }

    #[test]
    fn end_offset_is_the_start_of_the_next_epoch() {
        let cache = epochs(&[(2, 5), (4, 10), (7, 30)]);
        let check = |requested, expected: Option<(i32, i64)>| {
            let expected = expected.map(|(epoch, end_offset)| EpochEnd { epoch, end_offset });
            assert_eq!(cache.end_offset_for(requested, 50), expected, "epoch {requested}");
        };
        check(-1, None);
        check(0, Some((0, 5)));
        check(2, Some((2, 10)));
        check(3, Some((2, 10)));
        check(4, Some((4, 30)));
        check(6, Some((4, 30)));
        check(7, Some((7, 50)));
        check(8, None);
        assert_eq!(LeaderEpochs::default().end_offset_for(0, 50), None);
    }

    #[test]
    fn epoch_at_finds_the_epoch_of_a_record() {
        let cache = epochs(&[(2, 5), (4, 10)]);
        for (offset, epoch) in [(4, None), (5, Some(2)), (9, Some(2)), (10, Some(4)), (1_000, Some(4))] {
            assert_eq!(cache.epoch_at(offset), epoch, "offset {offset}");
        }
    }

    #[test]
    fn truncation_from_either_end() {
        let mut cache = epochs(&[(2, 5), (4, 10), (7, 30)]);
        assert!(!cache.truncate_from_end(31));
        assert!(cache.truncate_from_end(30));
        assert_eq!(cache, epochs(&[(2, 5), (4, 10)]));
        assert!(!cache.truncate_from_start(3));
        assert!(cache.truncate_from_start(7));
        assert_eq!(cache, epochs(&[(2, 7), (4, 10)]));
        assert!(cache.truncate_from_start(12));
        assert_eq!(cache, epochs(&[(4, 12)]));
        assert!(!cache.truncate_from_start(12));
    }

    #[test]
    fn text_is_kafkas() {
        let cache = epochs(&[(2, 5), (4, 10)]);
        assert_eq!(cache.to_text(), "0\n2\n2 5\n4 10\n");
        assert_eq!(LeaderEpochs::parse(&cache.to_text()), Ok(cache));
        assert_eq!(LeaderEpochs::parse("").map(|cache| cache.is_empty()), Ok(true));
        for damaged in ["1\n0\n", "0\n1\n", "0\n1\n2\n", "0\n1\n2 -5\n", "0\n1\n2 5 6\n", "x", "0\ny\n"] {
            assert!(LeaderEpochs::parse(damaged).is_err(), "{damaged:?}");
        }
    }
}
