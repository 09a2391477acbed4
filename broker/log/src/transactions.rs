//! The transaction indexes of a log: what `read_committed` readers are told, and how an index is made again.
//!
//! [`Log::aborted_in`] notes under the lock where to look; [`AbortedSearch`] looks without it, first only in memory.
//! Most segments have no index, and then there is nothing to look for.

use std::io;
use std::sync::Arc;

use crate::disk::Disk;
use crate::durability::Durability;
use crate::error::Error;
use crate::files::{self, File};
use crate::index_file::{self, Entry};
use crate::log::Log;
use crate::names::Kind;
use crate::offset_index::OffsetEntry;
use crate::producers::Producers;
use crate::slice::Slice;
use crate::transaction_index::{self, AbortedTransaction, ENTRY_SIZE};

/// An index up to this size is read and checked whole; in a larger one the first entry is searched for.
const WHOLE_SIZE_MAX: u64 = 64 << 10;

/// Entries read at once.
const CHUNK_ENTRIES: u64 = 256;

/// Where to look for the aborted transactions among some records.
#[derive(Debug)]
pub struct AbortedSearch {
    disk: Arc<Disk>,
    id: u64,
    /// For the folder's name.
    durability: Arc<Durability>,
    from_offset: i64,
    upto_offset: i64,
    /// The offset index that says more precisely up to where, and the place in the log that it is asked for.
    end: Option<(Arc<dyn File>, i64, u32)>,
    /// Base offsets of the segments that have a transaction index, from that of `from_offset` on.
    segments: Vec<i64>,
}

/// Why a search has no answer yet.
enum Unfound {
    NotInMemory,
    Storage(Error),
}

impl AbortedSearch {
    /// Looks in memory only; nothing when the disk would have to be waited for, or an index mended.
    pub fn hot(&self) -> Result<Option<Vec<AbortedTransaction>>, Error> {
        match self.find(true) {
            Ok(found) => Ok(Some(found)),
            Err(Unfound::NotInMemory | Unfound::Storage(Error::Damaged { .. })) => Ok(None),
            Err(Unfound::Storage(error)) => Err(error),
        }
    }

    /// Reads what is needed, so that it is in memory afterwards. An index that is [`Error::Damaged`] can be made
    /// again: [`Log::mend_transaction_indexes`].
    pub fn warm(&self) -> Result<(), Error> {
        self.wait().map(|_| ())
    }

    pub(crate) fn wait(&self) -> Result<Vec<AbortedTransaction>, Error> {
        self.find(false).map_err(|unfound| match unfound {
            Unfound::Storage(error) => error,
            Unfound::NotInMemory => unreachable!("it waits for the disk"),
        })
    }

    fn find(&self, hot_only: bool) -> Result<Vec<AbortedTransaction>, Unfound> {
        let upto_offset = self.upto_offset(hot_only)?;
        let mut found = Vec::new();
        for base_offset in &self.segments {
            if self.find_in(*base_offset, upto_offset, hot_only, &mut found)? {
                break;
            }
        }
        Ok(found)
    }

    /// No record that was asked for is at this offset or above.
    fn upto_offset(&self, hot_only: bool) -> Result<i64, Unfound> {
        let Some((file, base_offset, end_position)) = &self.end else { return Ok(self.upto_offset) };
        let next =
            index_file::first_not::<OffsetEntry>(&**file, hot_only, |entry| entry.position < *end_position);
        match next {
            Ok(next) => {
                let bound = next.map(|entry| base_offset + entry.key() + 1);
                Ok(bound.unwrap_or(self.upto_offset).min(self.upto_offset))
            }
            // Without it more is named than is there, which does no harm.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(self.upto_offset),
            Err(error) => Err(self.unread(*base_offset, Kind::OffsetIndex, &error)),
        }
    }

    /// True when no later segment can hold another.
    fn find_in(
        &self,
        base_offset: i64,
        upto_offset: i64,
        hot_only: bool,
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<bool, Unfound> {
        let file = self.open(base_offset)?;
        let unread = |error: io::Error| self.unread(base_offset, Kind::TransactionIndex, &error);
        let size = file.size().map_err(unread)?;
        if size % ENTRY_SIZE as u64 != 0 {
            return Err(self.damaged(base_offset, "it does not hold whole entries"));
        }
        let count = size / ENTRY_SIZE as u64;
        let whole = size <= WHOLE_SIZE_MAX;
        let mut index = if whole { 0 } else { self.first_from(&*file, count, hot_only).map_err(unread)? };
        let chunk = if whole { count } else { CHUNK_ENTRIES };
        while index < count {
            let mut bytes = vec![0; (count - index).min(chunk) as usize * ENTRY_SIZE];
            let position = index * ENTRY_SIZE as u64;
            index_file::read(&*file, &mut bytes, position, hot_only).map_err(unread)?;
            let entries = transaction_index::decode(&bytes, base_offset)
                .map_err(|error| self.damaged(base_offset, &error.to_string()))?;
            if transaction_index::collect(&entries, self.from_offset, upto_offset, found) {
                return Ok(true);
            }
            index += entries.len() as u64;
        }
        Ok(false)
    }

    /// Index of the first entry whose marker is not below `from_offset`.
    fn first_from(&self, file: &dyn File, count: u64, hot_only: bool) -> io::Result<u64> {
        let (mut low, mut high) = (0, count);
        let mut bytes = [0; ENTRY_SIZE];
        while low < high {
            let middle = low + (high - low) / 2;
            index_file::read(file, &mut bytes, middle * ENTRY_SIZE as u64, hot_only)?;
            if transaction_index::last_offset(&bytes) < self.from_offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Only looks into the cache of open files: what is opened without the lock must not be kept there.
    fn open(&self, base_offset: i64) -> Result<Arc<dyn File>, Unfound> {
        if let Some(file) = self.disk.open_files.get((self.id, base_offset, Kind::TransactionIndex)) {
            return Ok(file);
        }
        let file =
            self.disk.open(&self.path(base_offset, Kind::TransactionIndex)).map_err(Unfound::Storage)?;
        file.ok_or_else(|| self.damaged(base_offset, "the file is gone"))
    }

    fn unread(&self, base_offset: i64, kind: Kind, error: &io::Error) -> Unfound {
        match error.kind() {
            io::ErrorKind::WouldBlock => Unfound::NotInMemory,
            io::ErrorKind::UnexpectedEof => self.damaged(base_offset, "the file has become shorter"),
            _ => Unfound::Storage(self.disk.failed("read", &self.path(base_offset, kind), error)),
        }
    }

    fn damaged(&self, base_offset: i64, reason: &str) -> Unfound {
        Unfound::Storage(Error::damaged(self.path(base_offset, Kind::TransactionIndex), 0, reason))
    }

    fn path(&self, base_offset: i64, kind: Kind) -> std::path::PathBuf {
        kind.path(&self.disk.path.join(self.durability.name()), base_offset)
    }
}

impl Log {
    /// Where to look for the aborted transactions among records that a read from `from_offset` found, none of them at
    /// `upto_offset` or above. Nothing when there is nothing to look for, which is the rule.
    pub fn aborted_in(
        &self,
        from_offset: i64,
        records: Option<&Slice>,
        upto_offset: i64,
    ) -> Option<AbortedSearch> {
        let records = records?;
        let first = self.segment_index(records.segment);
        let mut search = self.aborted_search(first, from_offset, upto_offset)?;
        let end_position = records.position + records.length as u64;
        let next = self.segments.get(first + 1).map_or(self.log_end_offset, |next| next.base_offset);
        search.upto_offset = upto_offset.min(next);
        if first == self.active_index() {
            let next = self.active.recent.base_offset_behind(end_position);
            search.upto_offset = next.map_or(search.upto_offset, |next| next.min(search.upto_offset));
        } else if end_position < u64::from(self.segments[first].size) {
            search.end = self.offset_index_of(first, end_position as u32);
        }
        // Opened here so that it is kept open for the next read.
        let _ = self.cached(records.segment, Kind::TransactionIndex);
        Some(search)
    }

    /// A sealed segment's offset index, when it is open: it was just used to find the records.
    fn offset_index_of(&self, index: usize, end_position: u32) -> Option<(Arc<dyn File>, i64, u32)> {
        let base_offset = self.segments[index].base_offset;
        let file = self.disk.open_files.get((self.id, base_offset, Kind::OffsetIndex))?;
        Some((file, base_offset, end_position))
    }

    pub(crate) fn aborted_search(
        &self,
        first: usize,
        from_offset: i64,
        upto_offset: i64,
    ) -> Option<AbortedSearch> {
        let mut indexed =
            self.segments[first..].iter().filter(|segment| segment.has_transaction_index).peekable();
        indexed.peek()?;
        Some(AbortedSearch {
            disk: self.disk.clone(),
            id: self.id,
            durability: self.durability.clone(),
            from_offset,
            upto_offset,
            end: None,
            segments: indexed.map(|segment| segment.base_offset).collect(),
        })
    }

    /// Aborted transactions that overlap `from_offset..upto_offset`. Blocks on the disk.
    pub fn aborted_transactions(
        &mut self,
        from_offset: i64,
        upto_offset: i64,
    ) -> Result<Vec<AbortedTransaction>, Error> {
        self.check_usable()?;
        let first = self.segment_index(from_offset);
        let Some(search) = self.aborted_search(first, from_offset, upto_offset) else {
            return Ok(Vec::new());
        };
        match search.wait() {
            Err(Error::Damaged { .. }) => {
                self.mend_transaction_indexes(&search)?;
                search.wait()
            }
            outcome => outcome,
        }
    }

    /// Makes those indexes again that the search could not use. Reads the log from the last snapshot before them.
    pub fn mend_transaction_indexes(&mut self, search: &AbortedSearch) -> Result<(), Error> {
        if search.id != self.id {
            // It looked at a log that this one took the place of.
            return Ok(());
        }
        for base_offset in &search.segments {
            let found = self.segments.binary_search_by_key(base_offset, |segment| segment.base_offset);
            // Deleted or compacted meanwhile: the next read looks elsewhere.
            let Ok(index) = found else { continue };
            if !self.segments[index].has_transaction_index {
                continue;
            }
            match search.find_in(*base_offset, i64::MAX, false, &mut Vec::new()) {
                Err(Unfound::Storage(error @ Error::Damaged { .. })) => {
                    tracing::warn!(%error, "transaction index is built again");
                    self.rebuild_transaction_index(index)?;
                }
                Err(Unfound::Storage(error)) => return Err(error),
                Err(Unfound::NotInMemory) | Ok(_) => {}
            }
        }
        Ok(())
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

    /// Makes a segment's transaction index again from the log, beginning at the last snapshot before it.
    pub(crate) fn rebuild_transaction_index(&mut self, index: usize) -> Result<(), Error> {
        let base_offset = self.segments[index].base_offset;
        let end_offset = self.segment_end_offset(index);
        let mut from_offset = self.segments[0].base_offset;
        let mut producers = Producers::new(from_offset);
        for offset in self.snapshots()?.range(from_offset..=base_offset).rev() {
            if let Some(entries) = self.read_snapshot(*offset)? {
                // As of then: nobody has expired.
                producers.restore(entries, *offset, i64::MIN, i64::MAX);
                from_offset = *offset;
                break;
            }
        }
        let mut aborted = self.replay_into(&mut producers, from_offset, end_offset)?;
        aborted.retain(|entry| entry.last_offset >= base_offset);
        self.replace_transaction_index(index, &aborted)
    }

    /// Makes the transaction indexes say what the replay from `from_offset` found.
    pub(crate) fn restore_transaction_indexes(
        &mut self,
        from_offset: i64,
        aborted: &[AbortedTransaction],
    ) -> Result<(), Error> {
        for index in self.segment_index(from_offset)..self.segments.len() {
            let segment = self.segments[index];
            let end = self.segments.get(index + 1).map_or(i64::MAX, |next| next.base_offset);
            let here = |entry: &&AbortedTransaction| (segment.base_offset..end).contains(&entry.last_offset);
            let found: Vec<AbortedTransaction> = aborted.iter().filter(here).copied().collect();
            if segment.has_transaction_index || !found.is_empty() {
                self.write_transaction_index(index, from_offset, &found)?;
            }
        }
        Ok(())
    }

    /// Keeps a segment's transaction index below `from_offset` and puts `more` behind.
    pub(crate) fn write_transaction_index(
        &mut self,
        index: usize,
        from_offset: i64,
        more: &[AbortedTransaction],
    ) -> Result<(), Error> {
        let base_offset = self.segments[index].base_offset;
        let before = match self.transaction_entries(base_offset) {
            Ok(entries) => entries,
            Err(error @ Error::Damaged { .. }) => {
                tracing::warn!(%error, "transaction index is built again");
                return self.rebuild_transaction_index(index);
            }
            Err(error) => return Err(error),
        };
        let mut entries = transaction_index::kept_below(&before, from_offset).to_vec();
        entries.extend_from_slice(more);
        if entries == before { Ok(()) } else { self.replace_transaction_index(index, &entries) }
    }

    fn replace_transaction_index(
        &mut self,
        index: usize,
        entries: &[AbortedTransaction],
    ) -> Result<(), Error> {
        let base_offset = self.segments[index].base_offset;
        let path = self.path(base_offset, Kind::TransactionIndex);
        let file = self.cached_or_created(base_offset, Kind::TransactionIndex)?;
        let bytes = transaction_index::encode(entries);
        let result = file.truncate(bytes.len() as u64).and_then(|()| files::write_all_at(&*file, &bytes, 0));
        self.disk.done("write", &path, result)?;
        self.segments[index].has_transaction_index = true;
        self.durability.touched(file);
        Ok(())
    }
}
