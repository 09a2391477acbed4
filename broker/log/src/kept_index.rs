//! Taking up the index files of a segment as far as they hold. Indexes are derived: what is missing or wrong is
//! built again from the batches.

use crate::error::Error;
use crate::index_file::{self, Entry};
use crate::log::Log;
use crate::names::Kind;
use crate::offset_index::OffsetEntry;
use crate::scan::{Scan, ScanError};
use crate::segment::{Indexer, Segment};
use crate::time_index::TimeEntry;

/// Index entries of a segment that still hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    /// Only entries for offsets below this one; `i64::MAX` for all.
    pub below_offset: i64,
    pub size: u32,
    /// Look at every entry instead of only the last: the files were not synced.
    pub thorough: bool,
}

/// What the index files of a sealed segment tell of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexesSay {
    /// Both end where the batches do.
    Same,
    /// An entry lies behind the last batch.
    More,
    /// They are missing or make no sense.
    Nothing,
}

impl Log {
    /// Compares the last entries of a sealed segment's indexes with the batches in it, which end at `end_offset`.
    pub(crate) fn indexes_say(&self, index: usize, end_offset: i64) -> Result<IndexesSay, Error> {
        let Segment { base_offset, size, .. } = self.segments[index];
        let offsets = self.last_entry::<OffsetEntry>(base_offset, Kind::OffsetIndex)?;
        let times = self.last_entry::<TimeEntry>(base_offset, Kind::TimeIndex)?;
        let is_behind = |relative_offset: u32| base_offset + i64::from(relative_offset) >= end_offset;
        let offset_is_behind =
            offsets.is_some_and(|entry| entry.position >= size || is_behind(entry.relative_offset));
        let time_is_behind = times.is_some_and(|entry| is_behind(entry.relative_offset));
        Ok(if offset_is_behind || time_is_behind {
            IndexesSay::More
        } else if times.is_some() && (offsets.is_some() || size <= self.config.index_interval_bytes) {
            IndexesSay::Same
        } else {
            IndexesSay::Nothing
        })
    }

    /// The last entry of an index file that ascends; `None` when there is none.
    fn last_entry<E: Entry>(&self, base_offset: i64, kind: Kind) -> Result<Option<E>, Error> {
        let path = self.path(base_offset, kind);
        let Some(file) = self.disk.open(&path)? else { return Ok(None) };
        let size = self.disk.done("read", &path, file.size())?;
        if size == 0 || size % E::SIZE as u64 != 0 || size > u64::from(u32::MAX) {
            return Ok(None);
        }
        let count = (size / E::SIZE as u64) as u32;
        if !self.disk.done("read", &path, index_file::ascends::<E>(&*file, count))? {
            return Ok(None);
        }
        self.disk.done("read", &path, index_file::last::<E>(&*file, count))
    }

    /// Takes up the active segment's indexes and walks from their end to the end of the segment; says the
    /// offset behind it, `None` when the walk fails.
    pub(crate) fn resume_active(&mut self, kept: Kept) -> Result<Option<i64>, Error> {
        let index = self.active_index();
        let segment = self.segments[index];
        let (mut indexer, position) = self.kept_index(segment.base_offset, kept)?;
        let mut next_offset = segment.base_offset;
        if segment.size > 0 {
            let file = self.log_file(index)?;
            let mut scan = Scan::new(file, position, segment.size, segment.base_offset);
            loop {
                match scan.next() {
                    Ok(Some(located)) => {
                        indexer.note_located(&located, self.config.index_interval_bytes);
                        next_offset = located.header.next_offset();
                    }
                    Ok(None) => break,
                    Err(ScanError::Damaged { .. }) => return Ok(None),
                    Err(error) => return Err(self.scan_failed_storage(index, error)),
                }
            }
        }
        if segment.size > 0 && indexer.largest.offset >= next_offset {
            // The time index is another's, or of a longer past.
            return Ok(None);
        }
        self.active.indexer = indexer;
        Ok(Some(next_offset))
    }

    /// The index of a segment as far as its files hold, and the position they cover; from 0 with nothing when
    /// a file is missing or cannot be right.
    pub(crate) fn kept_index(&self, base_offset: i64, kept: Kept) -> Result<(Indexer, u32), Error> {
        let nothing = (Indexer::new(base_offset), 0);
        let relative_max = kept.below_offset.saturating_sub(base_offset);
        let holds = |entry: &OffsetEntry| {
            i64::from(entry.relative_offset) < relative_max && entry.position < kept.size
        };
        let Some(offsets) = self.kept_entries(base_offset, Kind::OffsetIndex, kept, holds)? else {
            return Ok(nothing);
        };
        let Some((offsets_count, last)) = offsets else { return Ok(nothing) };
        // Where not all is kept, what lies behind the last offset entry will be noted again.
        let everything = kept.below_offset == i64::MAX;
        let holds = |entry: &TimeEntry| everything || entry.relative_offset <= last.relative_offset;
        match self.kept_entries(base_offset, Kind::TimeIndex, kept, holds)? {
            Some(Some((times_count, last_time))) => {
                let indexer = Indexer::resumed(base_offset, offsets_count, times_count, Some(last_time));
                Ok((indexer, last.position))
            }
            Some(None) => Ok((Indexer::resumed(base_offset, offsets_count, 0, None), last.position)),
            None => Ok(nothing),
        }
    }

    /// Number of leading entries that hold, and the last of them; the outer `None` is a file that cannot be
    /// used.
    #[allow(clippy::type_complexity, reason = "usable or not, and if so, how far")]
    fn kept_entries<E: Entry>(
        &self,
        base_offset: i64,
        kind: Kind,
        kept: Kept,
        holds: impl Fn(&E) -> bool,
    ) -> Result<Option<Option<(u32, E)>>, Error> {
        let path = self.path(base_offset, kind);
        let Some(file) = self.disk.open(&path)? else { return Ok(None) };
        let size = self.disk.done("read", &path, file.size())?;
        if size % E::SIZE as u64 != 0 || size > u64::from(u32::MAX) {
            return Ok(None);
        }
        let count = (size / E::SIZE as u64) as u32;
        if kept.below_offset == i64::MAX && !kept.thorough {
            let last = self.disk.done("read", &path, index_file::last::<E>(&*file, count))?;
            return Ok(match last {
                Some(last) if holds(&last) => Some(Some((count, last))),
                None if count == 0 => Some(None),
                _ => None,
            });
        }
        let found = self.disk.done("read", &path, index_file::last_where(&*file, count, false, holds))?;
        let found = found.map(|(index, entry)| (index + 1, entry));
        if let Some((count, _)) = found
            && kept.thorough
            && !self.disk.done("read", &path, index_file::ascends::<E>(&*file, count))?
        {
            return Ok(None);
        }
        Ok(Some(found))
    }
}
