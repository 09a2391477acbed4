//! Finding records by their timestamp (ListOffsets).

use milena_protocol::records::{Batch, BatchError, Limits, RecordIter, TimestampType, compression};

use crate::error::Error;
use crate::index_file;
use crate::lookup::Lookup;
use crate::names::Kind;
use crate::search::{Miss, SegmentReader};
use crate::segment::Largest;
use crate::time_index::TimeEntry;

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: i64,
    pub offset: i64,
    pub leader_epoch: Option<i32>,
}

impl Lookup {
    /// First record with a timestamp not below `timestamp` (ListOffsets by time). Blocks on the disk.
    pub fn offset_for_timestamp(&mut self, timestamp: i64) -> Result<Option<TimestampOffset>, Error> {
        self.check()?;
        let log_start_offset = self.log_start_offset();
        for index in 0..self.segments_count() {
            if self.largest(index)?.timestamp < timestamp {
                continue;
            }
            let found = self.search(index, |reader| {
                let offset = reader.time_hint(timestamp)?.max(log_start_offset);
                reader.record_from(offset, timestamp, log_start_offset)
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp, the first if there are several (ListOffsets -3).
    pub fn max_timestamp(&mut self) -> Result<Option<TimestampOffset>, Error> {
        self.check()?;
        let mut best: Option<(usize, Largest)> = None;
        for index in 0..self.segments_count() {
            let largest = self.largest(index)?;
            if largest.timestamp >= 0 && best.is_none_or(|(_, best)| largest.timestamp > best.timestamp) {
                best = Some((index, largest));
            }
        }
        let Some((index, largest)) = best else { return Ok(None) };
        match self.record_at(index, largest)? {
            Some(found) => Ok(Some(found)),
            // The record is gone: the log starts behind it, in the middle of the segment.
            None => self.max_timestamp_by_walk(),
        }
    }

    fn max_timestamp_by_walk(&mut self) -> Result<Option<TimestampOffset>, Error> {
        let log_start_offset = self.log_start_offset();
        let mut best = (0, Largest::none(log_start_offset));
        for index in 0..self.segments_count() {
            let largest = self.search(index, |reader| reader.largest_from(log_start_offset))?;
            if largest.timestamp > best.1.timestamp {
                best = (index, largest);
            }
        }
        if best.1.timestamp < 0 { Ok(None) } else { self.record_at(best.0, best.1) }
    }

    fn record_at(&mut self, index: usize, largest: Largest) -> Result<Option<TimestampOffset>, Error> {
        let log_start_offset = self.log_start_offset();
        self.search(index, |reader| reader.record_from(largest.offset, largest.timestamp, log_start_offset))
    }
}

impl SegmentReader<'_> {
    /// The largest timestamp of the segment, and the last offset of the first batch that has it.
    pub fn largest(&self) -> Result<Largest, Miss> {
        if let Some(indexer) = self.indexer {
            return Ok(indexer.largest);
        }
        if let Some(largest) = self.segment.largest {
            return Ok(largest);
        }
        if self.segment.size == 0 {
            return Ok(Largest::none(self.segment.base_offset));
        }
        let last = match self.index_file::<TimeEntry>(Kind::TimeIndex, None)? {
            Some((file, count)) => {
                let last = index_file::last::<TimeEntry>(&*file, count);
                self.disk.done("read", &self.path(Kind::TimeIndex), last)?
            }
            None => None,
        };
        match last {
            Some(last) if self.is_true(last)? => {
                Ok(Largest { timestamp: last.timestamp, offset: self.offset_of(last) })
            }
            // No batch with a timestamp, unless the file was lost, damaged or another's: only a walk can tell.
            _ => Err(Miss::NeedsIndex),
        }
    }

    fn offset_of(&self, entry: TimeEntry) -> i64 {
        self.segment.base_offset + i64::from(entry.relative_offset)
    }

    /// Whether the batch that an entry of the time index leads to has the entry's timestamp, which that of
    /// another segment's index has not.
    fn is_true(&self, entry: TimeEntry) -> Result<bool, Miss> {
        let offset = self.offset_of(entry);
        let found = self.search(offset, |located| located.header.last_offset() >= offset)?;
        Ok(found.is_some_and(|located| located.header.max_timestamp == entry.timestamp))
    }

    /// An offset before which no batch of the segment has a timestamp as large as `timestamp`.
    fn time_hint(&self, timestamp: i64) -> Result<i64, Miss> {
        let tail = self.indexer.map(|indexer| &indexer.times);
        let holds = |entry: &TimeEntry| entry.timestamp <= timestamp;
        match self.search_index(Kind::TimeIndex, tail, holds)? {
            None => Ok(self.segment.base_offset),
            Some(entry) if self.is_true(entry)? => Ok(self.offset_of(entry)),
            Some(_) if self.is_rebuilt => Ok(self.segment.base_offset),
            Some(_) => Err(Miss::NeedsIndex),
        }
    }

    /// First record at or above `offset_min` with a timestamp not below `timestamp`, looking from the batch that
    /// holds `offset` on.
    fn record_from(
        &self,
        offset: i64,
        timestamp: i64,
        offset_min: i64,
    ) -> Result<Option<TimestampOffset>, Miss> {
        let Some(first) = self.locate(offset)? else { return Ok(None) };
        let mut scan = self.scan(first.position).map_err(|error| self.failed(error))?;
        loop {
            let next = scan.next().map_err(|error| self.failed(error))?;
            let Some(located) = next else { return Ok(None) };
            if located.header.max_timestamp < timestamp {
                continue;
            }
            let bytes = scan.whole(&located).map_err(|error| self.failed(error))?;
            match record_at(bytes, timestamp, offset_min) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => {
                    let position = u64::from(located.position);
                    return Err(Error::damaged(self.path(Kind::Log), position, error).into());
                }
            }
        }
    }

    /// The largest timestamp of the batches that begin at or above `offset_min`. Walks the segment.
    fn largest_from(&self, offset_min: i64) -> Result<Largest, Miss> {
        let mut largest = Largest::none(self.segment.base_offset);
        let Some(first) = self.locate(offset_min)? else { return Ok(largest) };
        let mut scan = self.scan(first.position).map_err(|error| self.failed(error))?;
        while let Some(located) = scan.next().map_err(|error| self.failed(error))? {
            let header = &located.header;
            if header.base_offset >= offset_min && header.max_timestamp > largest.timestamp {
                largest = Largest { timestamp: header.max_timestamp, offset: header.last_offset() };
            }
        }
        Ok(largest)
    }
}

/// The first record of a batch at or above `offset_min` with a timestamp not below `timestamp`.
fn record_at(bytes: &[u8], timestamp: i64, offset_min: i64) -> Result<Option<TimestampOffset>, BatchError> {
    let (batch, _) = Batch::parse(bytes)?;
    batch.verify_crc()?;
    let mut unpacked = Vec::new();
    let payload = if batch.attributes.is_compressed() {
        let codec = batch.attributes.compression()?;
        compression::decompress(codec, batch.payload(), Limits::default(), &mut unpacked)?;
        &unpacked[..]
    } else {
        batch.payload()
    };
    for record in RecordIter::new(payload, batch.count) {
        let record = record?;
        let record_timestamp = match batch.timestamp_type() {
            TimestampType::LogAppendTime => batch.max_timestamp,
            TimestampType::CreateTime => batch.base_timestamp.wrapping_add(record.timestamp_delta),
        };
        let offset = batch.base_offset.wrapping_add(i64::from(record.offset_delta));
        if record_timestamp >= timestamp && offset >= offset_min {
            let leader_epoch = (batch.leader_epoch >= 0).then_some(batch.leader_epoch);
            return Ok(Some(TimestampOffset { timestamp: record_timestamp, offset, leader_epoch }));
        }
    }
    Ok(None)
}
