//! Reading batches by offset.
//!
//! At the end of the log the last batches are remembered and nothing is read to find them. Elsewhere the index of
//! the segment is searched (see `search`).

use crate::error::{Error, ReadError};
use crate::log::{FirstTimestamp, Log};
use crate::lookup::waited;
use crate::names::Kind;
use crate::scan::{Scan, ScanError};
use crate::search::{Miss, Place, SegmentReader, scan_failed};
use crate::segment::{Indexer, Largest};
use crate::slice::Slice;

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub from_offset: i64,
    /// No batch that holds this offset or a later one is returned.
    pub upto_offset: i64,
    pub max_bytes: usize,
    /// Return the first batch whole, even when it is larger than `max_bytes`.
    pub min_one_batch: bool,
    /// Fail with `ReadError::Cold` or `ReadError::NeedsIndex` instead of waiting for the disk.
    pub hot_only: bool,
}

impl Log {
    /// A file range of batches of one segment, from the batch that holds `from_offset` on; `None` when there is
    /// nothing below `upto_offset`. Only the last batch may be cut, by `max_bytes`, as Kafka does it.
    pub fn read(&mut self, read: Read) -> Result<Option<Slice>, ReadError> {
        self.check_usable()?;
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
                self.check_within(index, first.position, first.next_offset)?;
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
            log: self.id,
            segment: self.segments[index].base_offset,
            position: u64::from(first.position),
            length,
            first_base_offset: first.base_offset,
            first_batch_incomplete: length < first.size as usize,
        }))
    }

    /// Where the batches of a segment that lie wholly below `upto_offset` end.
    fn limit(&mut self, index: usize, upto_offset: i64, hot_only: bool) -> Result<u32, ReadError> {
        let end_offset = self.segment_end_offset(index);
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
            return Ok(Some(Place { position, size, base_offset, next_offset: batch.last_offset + 1 }));
        }
        if !hot_only {
            return Ok(self.search(index, |reader| reader.locate(offset))?);
        }
        let found = self.reader(index, true, false)?.locate(offset);
        match found {
            Ok(found) => Ok(found),
            Err(Miss::Cold(cold)) => Err(ReadError::Cold(cold)),
            Err(Miss::NeedsIndex) => Err(ReadError::NeedsIndex(Box::new(self.lookup_in(index..index + 1)))),
            Err(Miss::Storage(error)) => Err(error.into()),
        }
    }

    /// Position of the first batch of a segment whose last offset is not below `offset`. Waits for the disk.
    pub(crate) fn position_of(&mut self, index: usize, offset: i64) -> Result<Option<u32>, Error> {
        if index == self.active_index()
            && let Some(batch) = self.active.recent.find(offset)
        {
            return Ok(Some(batch.position));
        }
        let place = self.search(index, |reader| reader.locate(offset))?;
        Ok(place.map(|place| place.position))
    }

    /// The largest timestamp of a segment, and the last offset of the first batch that has it.
    pub(crate) fn largest(&mut self, index: usize) -> Result<Largest, Error> {
        // Answered without opening a file where possible: retention asks every log.
        if index == self.active_index() {
            return Ok(self.active.indexer.largest);
        }
        if let Some(largest) = self.segments[index].largest {
            return Ok(largest);
        }
        let largest = self.search(index, |reader| reader.largest())?;
        self.segments[index].largest = Some(largest);
        Ok(largest)
    }

    /// Searches a segment, waiting for the disk, and builds its indexes first when they are missing or wrong.
    fn search<T>(
        &mut self,
        index: usize,
        search: impl Fn(&SegmentReader<'_>) -> Result<T, Miss>,
    ) -> Result<T, Error> {
        let outcome = search(&self.reader(index, false, false)?);
        if !matches!(outcome, Err(Miss::NeedsIndex)) {
            return waited(outcome);
        }
        self.rebuild_indexes(index)?;
        waited(search(&self.reader(index, false, true)?))
    }

    fn reader(&mut self, index: usize, hot_only: bool, is_rebuilt: bool) -> Result<SegmentReader<'_>, Error> {
        let log_file = self.log_file(index)?;
        Ok(SegmentReader {
            disk: &self.disk,
            id: self.id,
            name: self.durability.name(),
            segment: self.segments[index],
            log_file: Some(log_file),
            indexer: (index == self.active_index()).then_some(&self.active.indexer),
            index_interval_bytes: self.config.index_interval_bytes,
            hot_only,
            is_rebuilt,
            keeps_files: true,
        })
    }

    /// Builds both indexes of a segment again from the headers in its file.
    pub(crate) fn rebuild_indexes(&mut self, index: usize) -> Result<(), Error> {
        let indexer = self.reader(index, false, false)?.build_indexes()?;
        self.take_indexer(index, indexer)
    }

    /// Replaces both indexes of a segment.
    pub(crate) fn take_indexer(&mut self, index: usize, mut indexer: Indexer) -> Result<(), Error> {
        if index == self.active_index() {
            self.active.indexer = indexer;
            return self.spill();
        }
        indexer.note_time();
        self.segments[index].largest = Some(indexer.largest);
        self.write_indexes(self.segments[index].base_offset, &mut indexer)
    }

    /// Timestamp of the first batch of the active segment.
    pub(crate) fn first_timestamp(&mut self, index: usize) -> Result<FirstTimestamp, Error> {
        if self.active.first_timestamp == FirstTimestamp::Unknown {
            let segment = self.segments[index];
            let mut scan = Scan::new(self.log_file(index)?, 0, segment.size, segment.base_offset);
            let first = scan.next().map_err(|error| self.scan_failed_storage(index, error))?;
            self.active.first_timestamp = match first {
                Some(located) => FirstTimestamp::At(located.header.max_timestamp),
                None => FirstTimestamp::Empty,
            };
        }
        Ok(self.active.first_timestamp)
    }

    /// What a failed walk over a segment means to the log.
    pub(crate) fn scan_failed_storage(&self, index: usize, error: ScanError) -> Error {
        let segment = self.segments[index];
        scan_failed(&self.disk, self.path(segment.base_offset, Kind::Log), segment.size, error)
    }
}
