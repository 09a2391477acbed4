//! Finding batches: by offset for reads, by timestamp for ListOffsets.
//!
//! At the end of the log the last batches are remembered and nothing is read. Elsewhere an index entry leads to
//! a place at or before the batch, and headers are walked from there. An index is only a hint: when the batch
//! it leads to does not fit, the index is built again from the file, once, and then the file is to blame.

use std::io;
use std::sync::Arc;

use milena_protocol::records::{Batch, BatchError, Limits, RecordIter, TimestampType, compression};

use crate::error::{Error, ReadError};
use crate::files::{self, File};
use crate::index_file::{self, Entry, Tail};
use crate::log::{FirstTimestamp, Log};
use crate::names::Kind;
use crate::offset_index::OffsetEntry;
use crate::scan::{Located, Scan, ScanError};
use crate::segment::{Indexer, Largest};
use crate::slice::{Cold, Slice};
use crate::time_index::TimeEntry;
use crate::transaction_index::{self, AbortedTransaction};

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub from_offset: i64,
    /// No batch that holds this offset or a later one is returned.
    pub upto_offset: i64,
    pub max_bytes: usize,
    /// Return the first batch whole, even when it is larger than `max_bytes`.
    pub min_one_batch: bool,
    /// Fail with `ReadError::Cold` instead of waiting for the disk.
    pub hot_only: bool,
}

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: i64,
    pub offset: i64,
    pub leader_epoch: Option<i32>,
}

/// An open index and how many entries of it count.
type IndexFile = (Arc<dyn File>, u32);

/// A batch that was looked for.
#[derive(Debug, Clone, Copy)]
struct Place {
    position: u32,
    size: u32,
    base_offset: i64,
}

impl Log {
    /// A file range of batches of one segment, from the batch that holds `from_offset` on; `None` when there is
    /// nothing below `upto_offset`. Only the last batch may be cut, by `max_bytes`, as Kafka does it.
    pub fn read(&mut self, read: Read) -> Result<Option<Slice>, ReadError> {
        self.disk.check()?;
        let Log { log_start_offset, log_end_offset, .. } = *self;
        if !(log_start_offset..=log_end_offset).contains(&read.from_offset) {
            let requested = read.from_offset;
            return Err(ReadError::OutOfRange { requested, log_start_offset, log_end_offset });
        }
        if read.from_offset >= read.upto_offset.min(log_end_offset) {
            return Ok(None);
        }
        for index in self.segment_index(read.from_offset)..self.segments.len() {
            if self.segments[index].base_offset >= read.upto_offset {
                break;
            }
            // Nothing: the rest of this segment was compacted away.
            if let Some(first) = self.locate(index, read.from_offset, read.hot_only)? {
                return self.slice(index, first, &read);
            }
        }
        Ok(None)
    }

    fn slice(&mut self, index: usize, first: Place, read: &Read) -> Result<Option<Slice>, ReadError> {
        let limit = self.limit(index, read.upto_offset, read.hot_only)?;
        let Some(available) = limit.checked_sub(first.position).filter(|available| *available > 0) else {
            return Ok(None);
        };
        let max_bytes =
            if read.min_one_batch { read.max_bytes.max(first.size as usize) } else { read.max_bytes };
        let length = max_bytes.min(available as usize);
        if length == 0 {
            return Ok(None);
        }
        Ok(Some(Slice {
            file: self.log_file(index)?,
            position: u64::from(first.position),
            length,
            first_base_offset: first.base_offset,
            first_batch_incomplete: length < first.size as usize,
        }))
    }

    /// Where the batches of a segment that lie wholly below `upto_offset` end.
    fn limit(&mut self, index: usize, upto_offset: i64, hot_only: bool) -> Result<u32, ReadError> {
        let end_offset = self.segments.get(index + 1).map_or(self.log_end_offset, |next| next.base_offset);
        if upto_offset >= end_offset {
            return Ok(self.segments[index].size);
        }
        let place = self.locate(index, upto_offset, hot_only)?;
        Ok(place.map_or(self.segments[index].size, |place| place.position))
    }

    /// The first batch of a segment whose last offset is not below `offset`.
    fn locate(&mut self, index: usize, offset: i64, hot_only: bool) -> Result<Option<Place>, ReadError> {
        if index == self.active_index()
            && let Some(batch) = self.active.recent.find(offset)
        {
            let (position, size, base_offset) = (batch.position, batch.size, batch.base_offset);
            return Ok(Some(Place { position, size, base_offset }));
        }
        let found = self.search(index, offset, hot_only, |located| located.header.last_offset() >= offset)?;
        Ok(found.map(|located| Place {
            position: located.position,
            size: located.size(),
            base_offset: located.header.base_offset,
        }))
    }

    /// Position of the first batch of a segment whose last offset is not below `offset`. Waits for the disk.
    pub(crate) fn position_of(&mut self, index: usize, offset: i64) -> Result<Option<u32>, Error> {
        let place = self.locate(index, offset, false).map_err(waited)?;
        Ok(place.map(|place| place.position))
    }

    /// The first batch, from where the index leads for `offset`, for which `wanted` holds.
    fn search(
        &mut self,
        index: usize,
        offset: i64,
        hot_only: bool,
        wanted: impl Fn(&Located) -> bool,
    ) -> Result<Option<Located>, ReadError> {
        for is_retry in [false, true] {
            let position = self.hint(index, offset, hot_only)?;
            match self.walk(index, position, offset, hot_only, &wanted) {
                Ok(found) => return Ok(found),
                Err(ScanError::Damaged { position: damaged, reason }) if u64::from(position) == damaged => {
                    if is_retry || position == 0 {
                        return Err(self.scan_failed(index, ScanError::Damaged { position: damaged, reason }));
                    }
                    let file = self.path(self.segments[index].base_offset, Kind::OffsetIndex);
                    tracing::warn!(file = %file.display(), position, reason, "index leads astray, built again");
                    self.rebuild_indexes(index)?;
                }
                Err(error) => return Err(self.scan_failed(index, error)),
            }
        }
        Ok(None)
    }

    fn walk(
        &mut self,
        index: usize,
        position: u32,
        offset: i64,
        hot_only: bool,
        wanted: impl Fn(&Located) -> bool,
    ) -> Result<Option<Located>, ScanError> {
        let segment = self.segments[index];
        let astray =
            |reason: &str| ScanError::Damaged { position: u64::from(position), reason: reason.to_owned() };
        if position > 0 && position >= segment.size {
            return Err(astray("the position is beyond the segment"));
        }
        let file = self.log_file(index).map_err(ScanError::Storage)?;
        let mut scan = Scan::new(file, position, segment.size, segment.base_offset).hot_only(hot_only);
        while let Some(located) = scan.next()? {
            if located.position == position && position > 0 && located.header.base_offset > offset {
                return Err(astray("the batch begins above the offset"));
            }
            if wanted(&located) {
                return Ok(Some(located));
            }
        }
        Ok(None)
    }

    /// A position at or before the batch that holds `offset`.
    fn hint(&mut self, index: usize, offset: i64, hot_only: bool) -> Result<u32, ReadError> {
        let segment = self.segments[index];
        let relative = offset - segment.base_offset;
        if relative <= 0 || segment.size <= self.config.index_interval_bytes {
            return Ok(0);
        }
        let holds = |entry: &OffsetEntry| i64::from(entry.relative_offset) <= relative;
        let tail = (index == self.active_index()).then_some(&self.active.indexer.offsets);
        let entry = match tail.and_then(|tail| tail.last_in_memory(holds)) {
            Some(entry) => Some(entry),
            None => self.search_index(
                index,
                Kind::OffsetIndex,
                hot_only,
                |log| log.active.indexer.offsets.on_disk,
                holds,
            )?,
        };
        Ok(entry.map_or(0, |entry| entry.position))
    }

    /// The last entry of an index file for which `holds`. A file that cannot be right is built again first.
    fn search_index<E: Entry>(
        &mut self,
        index: usize,
        kind: Kind,
        hot_only: bool,
        active_count: impl Fn(&Log) -> u32,
        holds: impl Fn(&E) -> bool,
    ) -> Result<Option<E>, ReadError> {
        for _ in 0..2 {
            if let Some((file, count)) = self.index_file::<E>(index, kind, &active_count)? {
                match index_file::last_where(&*file, count, hot_only, &holds) {
                    Ok(found) => return Ok(found.map(|(_, entry)| entry)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let length = count as usize * E::SIZE;
                        return Err(ReadError::Cold(Cold { file, position: 0, length }));
                    }
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                    Err(error) => {
                        let path = self.path(self.segments[index].base_offset, kind);
                        return Err(self.disk.failed("read", &path, &error).into());
                    }
                }
            }
            self.rebuild_indexes(index)?;
        }
        Ok(None)
    }

    /// An index file and how many entries of it count; `None` when it is missing or has an impossible size.
    fn index_file<E: Entry>(
        &self,
        index: usize,
        kind: Kind,
        active_count: impl Fn(&Log) -> u32,
    ) -> Result<Option<IndexFile>, Error> {
        let base_offset = self.segments[index].base_offset;
        let is_active = index == self.active_index();
        if is_active && active_count(self) == 0 {
            // Nothing was written yet; any file serves to find nothing in.
            return Ok(self.active.file.clone().map(|file| (file, 0)));
        }
        let Some(file) = self.cached(base_offset, kind)? else { return Ok(None) };
        let size = self.disk.done("read", &self.path(base_offset, kind), file.size())?;
        if is_active {
            let count = active_count(self);
            return Ok((u64::from(count) * E::SIZE as u64 <= size).then_some((file, count)));
        }
        let is_whole = size % E::SIZE as u64 == 0;
        Ok(is_whole.then_some((file, (size / E::SIZE as u64) as u32)))
    }

    /// Builds both indexes of a segment again from the headers in its file.
    pub(crate) fn rebuild_indexes(&mut self, index: usize) -> Result<(), Error> {
        let segment = self.segments[index];
        let file = self.log_file(index)?;
        let mut indexer = Indexer::new(segment.base_offset);
        let mut scan = Scan::new(file, 0, segment.size, segment.base_offset);
        loop {
            match scan.next() {
                Ok(Some(located)) => indexer.note_located(&located, self.config.index_interval_bytes),
                Ok(None) => break,
                Err(error) => return Err(self.scan_failed_storage(index, error)),
            }
        }
        if index == self.active_index() {
            self.active.indexer = indexer;
            return self.spill();
        }
        indexer.note_time();
        self.segments[index].largest = Some(indexer.largest);
        self.write_indexes(segment.base_offset, &mut indexer)
    }

    /// The largest timestamp of a segment, and the last offset of the first batch that has it.
    pub(crate) fn largest(&mut self, index: usize) -> Result<Largest, Error> {
        if index == self.active_index() {
            return Ok(self.active.indexer.largest);
        }
        let segment = self.segments[index];
        if let Some(largest) = segment.largest {
            return Ok(largest);
        }
        let last = match self.index_file::<TimeEntry>(index, Kind::TimeIndex, |_| 0)? {
            Some((file, count)) if count > 0 => {
                let path = self.path(segment.base_offset, Kind::TimeIndex);
                self.disk.done("read", &path, index_file::last::<TimeEntry>(&*file, count))?
            }
            _ => None,
        };
        let none = Largest::none(segment.base_offset);
        let last = last.map(|entry| Largest {
            timestamp: entry.timestamp,
            offset: segment.base_offset + i64::from(entry.relative_offset),
        });
        let largest = match last {
            Some(last) if self.stands_in_log(index, last)? => last,
            None if segment.size == 0 => none,
            // No batch with a timestamp, unless the file was lost, damaged or another's: only a walk can tell.
            _ => {
                self.rebuild_indexes(index)?;
                self.segments[index].largest.unwrap_or(none)
            }
        };
        self.segments[index].largest = Some(largest);
        Ok(largest)
    }

    /// Whether the batch that an entry of the time index leads to has the entry's timestamp.
    fn is_true(&mut self, index: usize, entry: TimeEntry) -> Result<bool, Error> {
        let offset = self.segments[index].base_offset + i64::from(entry.relative_offset);
        let found = self.search(index, offset, false, |located| located.header.last_offset() >= offset);
        Ok(found.map_err(waited)?.is_some_and(|located| located.header.max_timestamp == entry.timestamp))
    }

    /// Whether the batch that a time index names has that timestamp, which in another segment's index it has
    /// not.
    fn stands_in_log(&mut self, index: usize, largest: Largest) -> Result<bool, Error> {
        let place = self
            .search(index, largest.offset, false, |located| located.header.last_offset() >= largest.offset);
        let found = place.map_err(waited)?;
        Ok(found.is_some_and(|located| located.header.max_timestamp == largest.timestamp))
    }

    /// Timestamp of the first batch of the active segment.
    pub(crate) fn first_timestamp(&mut self, index: usize) -> Result<FirstTimestamp, Error> {
        if self.active.first_timestamp == FirstTimestamp::Unknown {
            let first = self.walk(index, 0, 0, false, |_| true);
            let first = first.map_err(|error| self.scan_failed_storage(index, error))?;
            self.active.first_timestamp = match first {
                Some(located) => FirstTimestamp::At(located.header.max_timestamp),
                None => FirstTimestamp::Empty,
            };
        }
        Ok(self.active.first_timestamp)
    }

    /// First record with a timestamp not below `timestamp` (ListOffsets by time). Blocks on the disk.
    pub fn offset_for_timestamp(&mut self, timestamp: i64) -> Result<Option<TimestampOffset>, Error> {
        self.disk.check()?;
        for index in self.segment_index(self.log_start_offset)..self.segments.len() {
            if self.largest(index)?.timestamp < timestamp {
                continue;
            }
            let offset = self.time_hint(index, timestamp)?.max(self.log_start_offset);
            if let Some(found) = self.record_from(index, offset, timestamp)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp, the first if there are several (ListOffsets -3).
    pub fn max_timestamp(&mut self) -> Result<Option<TimestampOffset>, Error> {
        self.disk.check()?;
        let mut best: Option<(usize, Largest)> = None;
        for index in self.segment_index(self.log_start_offset)..self.segments.len() {
            let largest = self.largest(index)?;
            if largest.timestamp >= 0 && best.is_none_or(|(_, best)| largest.timestamp > best.timestamp) {
                best = Some((index, largest));
            }
        }
        let Some((index, largest)) = best else { return Ok(None) };
        match self.record_from(index, largest.offset, largest.timestamp)? {
            Some(found) => Ok(Some(found)),
            // The record is gone: the log starts behind it, in the middle of the segment.
            None => self.max_timestamp_by_walk(),
        }
    }

    fn max_timestamp_by_walk(&mut self) -> Result<Option<TimestampOffset>, Error> {
        let log_start_offset = self.log_start_offset;
        let mut largest = Largest::none(log_start_offset);
        self.replay(log_start_offset, i64::MAX, |batch| {
            let header = batch.header();
            if header.base_offset >= log_start_offset && header.max_timestamp > largest.timestamp {
                largest = Largest { timestamp: header.max_timestamp, offset: header.last_offset() };
            }
            Ok(())
        })?;
        if largest.timestamp < 0 {
            return Ok(None);
        }
        self.record_from(self.segment_index(largest.offset), largest.offset, largest.timestamp)
    }

    /// An offset before which no batch of the segment has a timestamp as large as `timestamp`.
    fn time_hint(&mut self, index: usize, timestamp: i64) -> Result<i64, Error> {
        let holds = |entry: &TimeEntry| entry.timestamp <= timestamp;
        let tail: Option<&Tail<TimeEntry>> =
            (index == self.active_index()).then_some(&self.active.indexer.times);
        let entry = match tail.and_then(|tail| tail.last_in_memory(holds)) {
            Some(entry) => Some(entry),
            None => {
                let on_disk = |log: &Log| log.active.indexer.times.on_disk;
                let found = self.search_index(index, Kind::TimeIndex, false, on_disk, holds);
                found.map_err(waited)?
            }
        };
        let Some(entry) = entry else { return Ok(self.segments[index].base_offset) };
        if !self.is_true(index, entry)? {
            self.rebuild_indexes(index)?;
            return Ok(self.segments[index].base_offset);
        }
        Ok(self.segments[index].base_offset + i64::from(entry.relative_offset))
    }

    /// First record of the segment at or above the log start with a timestamp not below `timestamp`, looking
    /// from the batch that holds `offset` on.
    fn record_from(
        &mut self,
        index: usize,
        offset: i64,
        timestamp: i64,
    ) -> Result<Option<TimestampOffset>, Error> {
        let segment = self.segments[index];
        let found = self.search(index, offset, false, |located| located.header.last_offset() >= offset);
        let Some(first) = found.map_err(waited)? else { return Ok(None) };
        let file = self.log_file(index)?;
        let mut scan = Scan::new(file, first.position, segment.size, segment.base_offset);
        loop {
            let next = scan.next().map_err(|error| self.scan_failed_storage(index, error))?;
            let Some(located) = next else { return Ok(None) };
            if located.header.max_timestamp < timestamp {
                continue;
            }
            let bytes = scan.whole(&located).map_err(|error| self.scan_failed_storage(index, error))?;
            let record = record_at(bytes, timestamp, self.log_start_offset);
            match record {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => {
                    let file = self.path(segment.base_offset, Kind::Log);
                    return Err(Error::damaged(file, u64::from(located.position), error));
                }
            }
        }
    }

    /// Aborted transactions that overlap `from_offset..upto_offset`, for a `read_committed` answer.
    pub fn aborted_transactions(
        &mut self,
        from_offset: i64,
        upto_offset: i64,
    ) -> Result<Vec<AbortedTransaction>, Error> {
        self.disk.check()?;
        let mut found = Vec::new();
        for index in self.segment_index(from_offset)..self.segments.len() {
            if !self.segments[index].has_transaction_index {
                continue;
            }
            let base_offset = self.segments[index].base_offset;
            let entries = match self.transaction_entries(base_offset) {
                Err(error @ Error::Damaged { .. }) => {
                    tracing::warn!(%error, "transaction index is built again");
                    self.rebuild_transaction_index(index)?;
                    self.transaction_entries(base_offset)?
                }
                entries => entries?,
            };
            if transaction_index::collect(&entries, from_offset, upto_offset, &mut found) {
                break;
            }
        }
        Ok(found)
    }

    /// All entries of a segment's transaction index; most segments have none.
    pub(crate) fn transaction_entries(&self, base_offset: i64) -> Result<Vec<AbortedTransaction>, Error> {
        let Some(file) = self.cached(base_offset, Kind::TransactionIndex)? else { return Ok(Vec::new()) };
        let path = self.path(base_offset, Kind::TransactionIndex);
        let bytes = file.size().and_then(|size| {
            let mut bytes = vec![0; size as usize];
            files::read_exact_at(&*file, &mut bytes, 0).map(|()| bytes)
        });
        let bytes = self.disk.done("read", &path, bytes)?;
        transaction_index::decode(&bytes, base_offset).map_err(|error| Error::damaged(path, 0, error))
    }

    fn scan_failed(&self, index: usize, error: ScanError) -> ReadError {
        match error {
            ScanError::Cold(cold) => ReadError::Cold(cold),
            other => self.scan_failed_storage(index, other).into(),
        }
    }

    /// What a failed walk over a segment means to the log.
    pub(crate) fn scan_failed_storage(&self, index: usize, error: ScanError) -> Error {
        let path = self.path(self.segments[index].base_offset, Kind::Log);
        match error {
            ScanError::Damaged { position, reason } => Error::damaged(path, position, reason),
            ScanError::Cold(cold) => Error::damaged(path, cold.position, "not in memory"),
            ScanError::Storage(error) => error,
            ScanError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Error::damaged(path, u64::from(self.segments[index].size), "the file has become shorter")
            }
            ScanError::Io(error) => self.disk.failed("read", &path, &error),
        }
    }
}

/// A search that was allowed to wait for the disk.
fn waited(error: ReadError) -> Error {
    match error {
        ReadError::Storage(error) => error,
        ReadError::OutOfRange { .. } | ReadError::Cold(_) => {
            unreachable!("the search waits, and checks no range")
        }
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
