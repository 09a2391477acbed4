//! One segment: a run of batches in a file named by the offset it begins at, and the indexes beside it.
//!
//! A sealed segment is only these few numbers; its files are opened when they are needed. [`Indexer`] is the
//! index of a segment that grows, or whose index is built again.

use crate::files::File;
use crate::index_file::{Entry, MEMORY_ENTRIES_MAX, Tail};
use crate::offset_index::OffsetEntry;
use crate::scan::Located;
use crate::time_index::TimeEntry;

/// A segment of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub base_offset: i64,
    pub size: u32,
    /// The largest timestamp, once it was read from the time index.
    pub largest: Option<Largest>,
    /// There is a `.txnindex`: transactions were aborted here.
    pub has_transaction_index: bool,
    /// Counts how often compaction put another file in the place of this one.
    pub version: u32,
}

impl Segment {
    pub fn new(base_offset: i64, size: u32) -> Self {
        Segment { base_offset, size, largest: None, has_transaction_index: false, version: 0 }
    }
}

/// The largest timestamp of a segment, and the last offset of the first batch that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Largest {
    /// -1 when no batch has a timestamp.
    pub timestamp: i64,
    pub offset: i64,
}

impl Largest {
    pub fn none(base_offset: i64) -> Self {
        Largest { timestamp: -1, offset: base_offset }
    }
}

/// The indexes of a segment as batches are added to it.
#[derive(Debug, Clone)]
pub(crate) struct Indexer {
    base_offset: i64,
    pub offsets: Tail<OffsetEntry>,
    pub times: Tail<TimeEntry>,
    /// Timestamp of the last entry in the time index.
    pub times_last: i64,
    pub largest: Largest,
    bytes_since_entry: u64,
}

impl Indexer {
    pub fn new(base_offset: i64) -> Self {
        Indexer {
            base_offset,
            offsets: Tail::default(),
            times: Tail::default(),
            times_last: -1,
            largest: Largest::none(base_offset),
            bytes_since_entry: 0,
        }
    }

    /// Takes up two index files: so many entries of them hold, and the last time entry is this.
    pub fn resumed(base_offset: i64, offsets: u32, times: u32, last: Option<TimeEntry>) -> Self {
        let mut indexer = Indexer::new(base_offset);
        indexer.offsets.on_disk = offsets;
        indexer.times.on_disk = times;
        if let Some(last) = last {
            indexer.times_last = last.timestamp;
            let offset = base_offset + i64::from(last.relative_offset);
            indexer.largest = Largest { timestamp: last.timestamp, offset };
        }
        indexer
    }

    /// Notes a batch that was added, with an entry when enough bytes came since the last one.
    pub fn note(
        &mut self,
        position: u32,
        last_offset: i64,
        max_timestamp: i64,
        size: u32,
        index_interval_bytes: u32,
    ) {
        if max_timestamp > self.largest.timestamp {
            self.largest = Largest { timestamp: max_timestamp, offset: last_offset };
        }
        if self.bytes_since_entry > u64::from(index_interval_bytes) {
            if let Some(relative_offset) = self.relative(last_offset) {
                self.offsets.push(OffsetEntry { relative_offset, position });
            }
            self.note_time();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += u64::from(size);
    }

    pub fn note_located(&mut self, located: &Located, index_interval_bytes: u32) {
        let header = &located.header;
        self.note(
            located.position,
            header.last_offset(),
            header.max_timestamp,
            located.size(),
            index_interval_bytes,
        );
    }

    /// Adds the largest timestamp to the time index, unless it stands there already. The last thing to do
    /// before a segment is sealed.
    pub fn note_time(&mut self) {
        if self.largest.timestamp > self.times_last
            && let Some(relative_offset) = self.relative(self.largest.offset)
        {
            self.times.push(TimeEntry { timestamp: self.largest.timestamp, relative_offset });
            self.times_last = self.largest.timestamp;
        }
    }

    pub fn wants_to_spill(&self) -> bool {
        self.offsets.memory.len() >= MEMORY_ENTRIES_MAX
    }

    /// Whether another entry would take an index beyond `segment.index.bytes`. The time index keeps one place
    /// for the entry made at sealing.
    pub fn is_full(&self, segment_index_bytes: u32) -> bool {
        let entries_max = |size: usize| segment_index_bytes / size as u32;
        self.offsets.count() >= entries_max(OffsetEntry::SIZE)
            || self.times.count() >= entries_max(TimeEntry::SIZE).saturating_sub(1)
    }

    /// Writes the entries in memory to the two files.
    pub fn spill(&mut self, offsets: &dyn File, times: &dyn File) -> std::io::Result<()> {
        self.offsets.spill(offsets)?;
        self.times.spill(times)
    }

    /// `None` when no entry can say it: behind a gap of 2^31 offsets, or where a header was damaged that nobody
    /// verifies. Without an entry a reader walks further; a wrong one would lead it elsewhere.
    fn relative(&self, offset: i64) -> Option<u32> {
        let relative = i32::try_from(offset.checked_sub(self.base_offset)?).ok()?;
        u32::try_from(relative).ok()
    }
}

/// The last batches appended, so that whoever reads at the end of the log finds them without the disk.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    // Empty until the first append: an idle log pays nothing.
    batches: Vec<RecentBatch>,
    /// Index of the oldest one, once the ring is full.
    oldest: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RecentBatch {
    pub base_offset: i64,
    pub last_offset: i64,
    pub position: u32,
    pub size: u32,
}

const RECENT_BATCHES: usize = 16;

impl Recent {
    pub fn push(&mut self, batch: RecentBatch) {
        if self.batches.len() < RECENT_BATCHES {
            self.batches.push(batch);
        } else {
            self.batches[self.oldest] = batch;
            self.oldest = (self.oldest + 1) % RECENT_BATCHES;
        }
    }

    pub fn clear(&mut self) {
        *self = Recent::default();
    }

    /// The base offset of a batch at `position` or behind it: of the first one, if it is among these.
    pub fn base_offset_behind(&self, position: u64) -> Option<i64> {
        let in_order = self.batches[self.oldest..].iter().chain(&self.batches[..self.oldest]);
        in_order.copied().find(|batch| u64::from(batch.position) >= position).map(|batch| batch.base_offset)
    }

    /// The first batch whose last offset is not below `offset`, if it is among these for certain.
    pub fn find(&self, offset: i64) -> Option<RecentBatch> {
        let oldest = self.batches.get(self.oldest)?;
        if offset < oldest.base_offset {
            return None;
        }
        let in_order = self.batches[self.oldest..].iter().chain(&self.batches[..self.oldest]);
        in_order.copied().find(|batch| batch.last_offset >= offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_batches_are_found_by_any_of_their_offsets() {
        let mut recent = Recent::default();
        assert!(recent.find(0).is_none());
        for index in 0..40_u32 {
            let base_offset = i64::from(index) * 10;
            recent.push(RecentBatch { base_offset, last_offset: base_offset + 6, position: index, size: 1 });
        }
        assert!(recent.find(239).is_none(), "the ring begins with offset 240");
        for (offset, position) in [(240, 24), (246, 24), (247, 25), (395, 39), (396, 39)] {
            assert_eq!(recent.find(offset).map(|batch| batch.position), Some(position), "{offset}");
        }
        assert!(recent.find(397).is_none());
        for (position, base_offset) in [(0, Some(240)), (25, Some(250)), (39, Some(390)), (40, None)] {
            assert_eq!(recent.base_offset_behind(position), base_offset, "{position}");
        }
    }

    // Found by `fuzz/run segments`.
    #[test]
    fn offset_beyond_the_reach_of_an_index_gets_no_entry() {
        let mut indexer = Indexer::new(100);
        for (index, offset) in
            [100, 100 + i64::from(i32::MAX), 101 + i64::from(i32::MAX), i64::MAX].iter().enumerate()
        {
            indexer.note(index as u32 * 600, *offset, index as i64, 600, 500);
        }
        let offsets: Vec<_> = indexer.offsets.memory.iter().map(|e| e.relative_offset).collect();
        assert_eq!(offsets, [i32::MAX as u32]);
        assert_eq!(indexer.times.count(), 1);
        assert_eq!(indexer.largest, Largest { timestamp: 3, offset: i64::MAX });
    }

    #[test]
    fn entries_come_after_more_than_the_interval() {
        let mut indexer = Indexer::new(100);
        for index in 0..5_u32 {
            // The third has the largest timestamp.
            let timestamp = if index == 2 { 50 } else { i64::from(index) };
            indexer.note(index * 600, 100 + i64::from(index), timestamp, 600, 1000);
        }
        let offsets: Vec<_> =
            indexer.offsets.memory.iter().map(|e| (e.relative_offset, e.position)).collect();
        assert_eq!(offsets, [(2, 1200), (4, 2400)]);
        let times: Vec<_> = indexer.times.memory.iter().map(|e| (e.timestamp, e.relative_offset)).collect();
        assert_eq!(times, [(50, 2)]);
        indexer.note_time();
        assert_eq!(indexer.times.count(), 1, "the largest stands there already");
        assert_eq!(indexer.largest, Largest { timestamp: 50, offset: 102 });
    }
}
