//! A search over the disk that does not hold the log's lock.
//!
//! [`Log::lookup`] notes under the lock what the segments are; the walk over their files needs the log no more, and
//! may wait for the disk for as long as it takes. What it found out (largest timestamps, indexes built again) is
//! given back with [`Log::learn`], so that the next one need not walk.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::Disk;
use crate::durability::Durability;
use crate::error::Error;
use crate::files::File;
use crate::log::Log;
use crate::scan::Scan;
use crate::search::{Miss, SegmentReader};
use crate::segment::{Indexer, Largest, Segment};
use crate::timestamps::TimestampOffset;

/// Some segments of a log as of one moment.
#[derive(Debug)]
pub struct Lookup {
    disk: Arc<Disk>,
    id: u64,
    /// For the folder's name.
    durability: Arc<Durability>,
    index_interval_bytes: u32,
    log_start_offset: i64,
    segments: Vec<Segment>,
    /// What only memory has, when the active segment is among them: it is the last.
    active: Option<(Indexer, Option<Arc<dyn File>>)>,
    /// Indexes that had to be built again, by the segment's place above.
    built: BTreeMap<usize, Indexer>,
}

impl Lookup {
    /// Fails when the directory is offline.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.disk.check()
    }

    pub(crate) fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    pub(crate) fn segments_count(&self) -> usize {
        self.segments.len()
    }

    /// Searches a segment, and builds its indexes first when they are missing or wrong.
    pub(crate) fn search<T>(
        &mut self,
        index: usize,
        search: impl Fn(&SegmentReader<'_>) -> Result<T, Miss>,
    ) -> Result<T, Error> {
        let outcome = search(&self.reader(index));
        if !matches!(outcome, Err(Miss::NeedsIndex)) {
            return waited(outcome);
        }
        let indexer = self.reader(index).build_indexes()?;
        self.built.insert(index, indexer);
        waited(search(&self.reader(index)))
    }

    /// Reads the largest timestamp of its only segment.
    pub fn find_largest(&mut self) -> Result<(), Error> {
        self.largest(0).map(|_| ())
    }

    /// Builds the indexes of its only segment.
    pub fn build_index(&mut self) -> Result<(), Error> {
        debug_assert_eq!(self.segments.len(), 1, "asked for one segment");
        let indexer = self.reader(0).build_indexes()?;
        self.built.insert(0, indexer);
        Ok(())
    }

    pub(crate) fn largest(&mut self, index: usize) -> Result<Largest, Error> {
        let largest = self.search(index, |reader| reader.largest())?;
        if self.active_of(index).is_none() {
            self.segments[index].largest = Some(largest);
        }
        Ok(largest)
    }

    /// Timestamp of the first batch of a segment; `None` when it is empty.
    pub(crate) fn first_timestamp(&mut self, index: usize) -> Result<Option<i64>, Error> {
        self.search(index, |reader| {
            let mut scan = reader.scan(0).map_err(|error| reader.failed(error))?;
            let first = scan.next().map_err(|error| reader.failed(error))?;
            Ok(first.map(|located| located.header.max_timestamp))
        })
    }

    fn active_of(&self, index: usize) -> Option<&(Indexer, Option<Arc<dyn File>>)> {
        self.active.as_ref().filter(|_| index + 1 == self.segments.len())
    }

    fn reader(&self, index: usize) -> SegmentReader<'_> {
        let active = self.active_of(index);
        let built = self.built.get(&index);
        SegmentReader {
            disk: &self.disk,
            id: self.id,
            name: self.durability.name(),
            segment: self.segments[index],
            log_file: active.and_then(|(_, file)| file.clone()),
            indexer: built.or(active.map(|(indexer, _)| indexer)),
            index_interval_bytes: self.index_interval_bytes,
            hot_only: false,
            is_rebuilt: built.is_some(),
            keeps_files: false,
        }
    }
}

fn is_expired(segment: &Segment, now_ms: i64, retention_ms: i64) -> bool {
    segment.largest.is_some_and(|largest| now_ms.saturating_sub(largest.timestamp) > retention_ms)
}

/// The outcome of a search that was allowed to wait for the disk, after the indexes were built.
pub(crate) fn waited<T>(outcome: Result<T, Miss>) -> Result<T, Error> {
    outcome.map_err(|miss| match miss {
        Miss::Storage(error) => error,
        Miss::Cold(_) | Miss::NeedsIndex => unreachable!("the search waits, and its indexes were built"),
    })
}

impl Log {
    /// What a lookup by time needs of this log.
    pub fn lookup(&self) -> Lookup {
        self.lookup_in(self.segment_index(self.log_start_offset)..self.segments.len())
    }

    pub(crate) fn lookup_in(&self, segments: Range<usize>) -> Lookup {
        let has_active = segments.end == self.segments.len();
        Lookup {
            disk: self.disk.clone(),
            id: self.id,
            durability: self.durability.clone(),
            index_interval_bytes: self.config.index_interval_bytes,
            log_start_offset: self.log_start_offset,
            segments: self.segments[segments].to_vec(),
            active: has_active.then(|| (self.active.indexer.clone(), self.active.file.clone())),
            built: BTreeMap::new(),
        }
    }

    /// A lookup in the oldest segment whose largest timestamp retention needs and nobody has read yet; nothing when
    /// it needs no more. Call [`Lookup::find_largest`] without the lock, [`Log::learn`], and ask again.
    pub fn lookup_for_retention(&self, now_ms: i64) -> Option<Lookup> {
        let retention_ms = self.config.retention_ms.filter(|_| self.config.delete)?;
        for (index, segment) in self.segments[..self.active_index()].iter().enumerate() {
            match segment.largest {
                None => return Some(self.lookup_in(index..index + 1)),
                // One that stays ends retention; one without timestamps is judged by its file.
                Some(Largest { timestamp: 0.., .. }) if !is_expired(segment, now_ms, retention_ms) => {
                    return None;
                }
                Some(_) => {}
            }
        }
        None
    }

    /// Takes over what a lookup found out. False when a segment that it looked at was deleted, cut or compacted meanwhile, or
    /// is of a log that this one took the place of: what it then calls damage is none.
    pub fn learn(&mut self, lookup: Lookup) -> Result<bool, Error> {
        if lookup.id != self.id {
            return Ok(false);
        }
        let mut is_current = true;
        let Lookup { segments, mut built, .. } = lookup;
        for (place, seen) in segments.into_iter().enumerate() {
            let found = self.segments.binary_search_by_key(&seen.base_offset, |segment| segment.base_offset);
            let index = match found {
                Ok(index)
                    if self.segments[index].size >= seen.size
                        && self.segments[index].version == seen.version =>
                {
                    index
                }
                _ => {
                    is_current = false;
                    continue;
                }
            };
            if let Some(indexer) = built.remove(&place) {
                self.learn_indexes(index, indexer, seen.size)?;
            } else if index != self.active_index() && self.segments[index].size == seen.size {
                self.segments[index].largest = self.segments[index].largest.or(seen.largest);
            }
        }
        Ok(is_current)
    }

    /// Indexes of the first `size` bytes of a segment, which may have grown since.
    fn learn_indexes(&mut self, index: usize, mut indexer: Indexer, size: u32) -> Result<(), Error> {
        let segment = self.segments[index];
        let mut scan = Scan::new(self.log_file(index)?, size, segment.size, segment.base_offset);
        while let Some(located) = scan.next().map_err(|error| self.scan_failed_storage(index, error))? {
            indexer.note_located(&located, self.config.index_interval_bytes);
        }
        self.take_indexer(index, indexer)
    }

    /// First record with a timestamp not below `timestamp` (ListOffsets by time). Blocks on the disk.
    pub fn offset_for_timestamp(&mut self, timestamp: i64) -> Result<Option<TimestampOffset>, Error> {
        let mut lookup = self.lookup();
        let found = lookup.offset_for_timestamp(timestamp);
        self.learn(lookup)?;
        found
    }

    /// The record with the largest timestamp, the first if there are several. Blocks on the disk.
    pub fn max_timestamp(&mut self) -> Result<Option<TimestampOffset>, Error> {
        let mut lookup = self.lookup();
        let found = lookup.max_timestamp();
        self.learn(lookup)?;
        found
    }
}

#[cfg(test)]
#[path = "lookup_test.rs"]
mod tests;
