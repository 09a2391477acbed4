//! Finding batches in one segment: by offset for reads, by timestamp for ListOffsets.
//!
//! An index entry leads to a place at or before the batch, and headers are walked from there. An index is only a
//! hint: when the batch it leads to does not fit, the index has to be built again from the file, once, and then the
//! file is to blame. Building is left to the caller ([`Miss::NeedsIndex`]): it reads the whole segment, and a
//! caller that holds a lock must not.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Error;
use crate::files::File;
use crate::index_file::{self, Entry, Tail};
use crate::names::Kind;
use crate::offset_index::OffsetEntry;
use crate::scan::{Located, Scan, ScanError, Unread};
use crate::segment::{Indexer, Segment};
use crate::slice::Cold;

/// Why a search found no answer.
#[derive(Debug)]
pub(crate) enum Miss {
    /// It was not to wait for the disk, and would have had to.
    Cold(Cold),
    /// The segment's indexes have to be built again first.
    NeedsIndex,
    Storage(Error),
}

impl From<Error> for Miss {
    fn from(error: Error) -> Self {
        Miss::Storage(error)
    }
}

/// A batch that was looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub position: u32,
    pub size: u32,
    pub base_offset: i64,
    pub next_offset: i64,
}

/// An open index and how many entries of it count.
type IndexFile = (Arc<dyn File>, u32);

/// One segment as a search needs it: its files, and what only memory knows of its indexes.
pub(crate) struct SegmentReader<'a> {
    pub disk: &'a Disk,
    /// The log's number in the cache of open files, and its folder's name.
    pub id: u64,
    pub name: &'a str,
    pub segment: Segment,
    /// Its `.log` file, when it is open anyway.
    pub log_file: Option<Arc<dyn File>>,
    /// The end of its indexes, or all of them, when they are in memory.
    pub indexer: Option<&'a Indexer>,
    pub index_interval_bytes: u32,
    pub hot_only: bool,
    /// The indexes were built for this search: when they lead astray the file is to blame.
    pub is_rebuilt: bool,
    /// Whether what it opens is kept for later. Only under the log's lock: the log forgets the files that it
    /// deletes, and would be handed one that came later.
    pub keeps_files: bool,
}

impl SegmentReader<'_> {
    /// The first batch whose last offset is not below `offset`.
    pub fn locate(&self, offset: i64) -> Result<Option<Place>, Miss> {
        let found = self.search(offset, |located| located.header.last_offset() >= offset)?;
        if let Some(located) = found.as_ref().filter(|located| located.header.base_offset > offset) {
            self.check_hole_behind(located).map_err(|error| self.failed(error))?;
        }
        Ok(found.map(|located| Place {
            position: located.position,
            size: located.size(),
            base_offset: located.header.base_offset,
            next_offset: located.header.next_offset(),
        }))
    }

    /// What was asked for is missing before this batch: compaction's work, or a base offset that was damaged upwards.
    /// Then the next batch begins too low.
    fn check_hole_behind(&self, located: &Located) -> Result<(), ScanError> {
        let mut scan = self.scan(located.position)?.hot_only(self.hot_only);
        scan.next()?;
        scan.next().map(|_| ())
    }

    /// The first batch, from where the index leads for `offset`, for which `wanted` holds.
    pub fn search(&self, offset: i64, wanted: impl Fn(&Located) -> bool) -> Result<Option<Located>, Miss> {
        if self.segment.size == 0 {
            return Ok(None);
        }
        let hint = self.hint(offset)?;
        match self.walk(hint, offset, wanted) {
            Ok(found) => Ok(found),
            Err(ScanError::Damaged { position, reason })
                if u64::from(hint.position) == position && hint.position > 0 && !self.is_rebuilt =>
            {
                let file = self.path(Kind::OffsetIndex);
                tracing::warn!(file = %file.display(), position, reason, "index leads astray, built again");
                Err(Miss::NeedsIndex)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    fn walk(
        &self,
        hint: OffsetEntry,
        offset: i64,
        wanted: impl Fn(&Located) -> bool,
    ) -> Result<Option<Located>, ScanError> {
        let OffsetEntry { position, relative_offset } = hint;
        let astray =
            |reason: &str| ScanError::Damaged { position: u64::from(position), reason: reason.to_owned() };
        if position > 0 && position >= self.segment.size {
            return Err(astray("the position is beyond the segment"));
        }
        let mut scan = self.scan(position)?.hot_only(self.hot_only);
        while let Some(located) = scan.next()? {
            if located.position == position && position > 0 && located.header.base_offset > offset {
                return Err(astray("the batch begins above the offset"));
            }
            // A base offset is under no checksum. Where the batch does not say what its entry says, one of them is wrong:
            // building the index again tells, for it walks all batches in order.
            let is_told =
                located.header.last_offset() - self.segment.base_offset == i64::from(relative_offset);
            if located.position == position && position > 0 && !is_told && !self.is_rebuilt {
                return Err(astray("the batch does not end where its index entry says"));
            }
            if wanted(&located) {
                return Ok(Some(located));
            }
        }
        Ok(None)
    }

    pub fn scan(&self, position: u32) -> Result<Scan, ScanError> {
        let Segment { size, base_offset, .. } = self.segment;
        let file = self.open_log().map_err(ScanError::Storage)?;
        Ok(Scan::new(file, position, size, base_offset))
    }

    fn open_log(&self) -> Result<Arc<dyn File>, Error> {
        if let Some(file) = &self.log_file {
            return Ok(file.clone());
        }
        self.file(Kind::Log)?.ok_or_else(|| Error::damaged(self.path(Kind::Log), 0, "the file is gone"))
    }

    /// The entry of a batch at or before the one that holds `offset`; position 0 without one.
    fn hint(&self, offset: i64) -> Result<OffsetEntry, Miss> {
        let relative = offset - self.segment.base_offset;
        let none = OffsetEntry { relative_offset: 0, position: 0 };
        if relative <= 0 || self.segment.size <= self.index_interval_bytes {
            return Ok(none);
        }
        let holds = |entry: &OffsetEntry| i64::from(entry.relative_offset) <= relative;
        let tail = self.indexer.map(|indexer| &indexer.offsets);
        let entry = self.search_index(Kind::OffsetIndex, tail, holds)?;
        Ok(entry.unwrap_or(none))
    }

    /// The last entry of an index for which `holds`.
    pub fn search_index<E: Entry>(
        &self,
        kind: Kind,
        tail: Option<&Tail<E>>,
        holds: impl Fn(&E) -> bool,
    ) -> Result<Option<E>, Miss> {
        if let Some(entry) = tail.and_then(|tail| tail.last_in_memory(&holds)) {
            return Ok(Some(entry));
        }
        if tail.is_some_and(|tail| tail.on_disk == 0) {
            return Ok(None);
        }
        let Some((file, count)) = self.index_file(kind, tail)? else { return self.without_index() };
        match index_file::last_where(&*file, count, self.hot_only, &holds) {
            Ok(found) => Ok(found.map(|(_, entry)| entry)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let length = count as usize * E::SIZE;
                Err(Miss::Cold(Cold { file, path: self.path(kind), position: 0, length }))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.without_index(),
            Err(error) => Err(self.disk.failed("read", &self.path(kind), &error).into()),
        }
    }

    /// What cannot be built better is done without.
    fn without_index<E>(&self) -> Result<Option<E>, Miss> {
        if self.is_rebuilt { Ok(None) } else { Err(Miss::NeedsIndex) }
    }

    /// An index file and how many entries of it count; `None` when it is missing or has an impossible size.
    pub fn index_file<E: Entry>(
        &self,
        kind: Kind,
        tail: Option<&Tail<E>>,
    ) -> Result<Option<IndexFile>, Error> {
        let Some(file) = self.file(kind)? else { return Ok(None) };
        let size = file.size().map_err(|error| self.disk.failed("read", &self.path(kind), &error))?;
        if let Some(Tail { on_disk, .. }) = tail {
            return Ok((u64::from(*on_disk) * E::SIZE as u64 <= size).then_some((file, *on_disk)));
        }
        let is_whole = size % E::SIZE as u64 == 0;
        Ok(is_whole.then_some((file, (size / E::SIZE as u64) as u32)))
    }

    fn file(&self, kind: Kind) -> Result<Option<Arc<dyn File>>, Error> {
        let key = (self.id, self.segment.base_offset, kind);
        if let Some(file) = self.disk.open_files.get(key) {
            return Ok(Some(file));
        }
        let file = self.disk.open(&self.path(kind))?;
        if let Some(file) = file.as_ref().filter(|_| self.keeps_files) {
            self.disk.open_files.put(key, file.clone());
        }
        Ok(file)
    }

    /// Builds both indexes again from the headers in the file. Reads the whole segment.
    pub fn build_indexes(&self) -> Result<Indexer, Error> {
        let mut indexer = Indexer::new(self.segment.base_offset);
        let mut scan = self.scan(0).map_err(|error| self.failed_storage(error))?;
        loop {
            match scan.next() {
                Ok(Some(located)) => indexer.note_located(&located, self.index_interval_bytes),
                Ok(None) => return Ok(indexer),
                Err(error) => return Err(self.failed_storage(error)),
            }
        }
    }

    pub fn path(&self, kind: Kind) -> PathBuf {
        kind.path(&self.disk.path.join(self.name), self.segment.base_offset)
    }

    pub fn failed(&self, error: ScanError) -> Miss {
        match error {
            ScanError::Cold(Unread { file, position, length }) => {
                Miss::Cold(Cold { file, path: self.path(Kind::Log), position, length })
            }
            other => self.failed_storage(other).into(),
        }
    }

    pub fn failed_storage(&self, error: ScanError) -> Error {
        scan_failed(self.disk, self.path(Kind::Log), self.segment.size, error)
    }
}

/// What a failed walk over a segment means to the log.
pub(crate) fn scan_failed(disk: &Disk, path: PathBuf, size: u32, error: ScanError) -> Error {
    match error {
        ScanError::Damaged { position, reason } => Error::damaged(path, position, reason),
        ScanError::Cold(unread) => Error::damaged(path, unread.position, "not in memory"),
        ScanError::Storage(error) => error,
        ScanError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::damaged(path, u64::from(size), "the file has become shorter")
        }
        ScanError::Io(error) => disk.failed("read", &path, &error),
    }
}
