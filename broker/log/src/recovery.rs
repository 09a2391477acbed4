//! Recovery after an unclean stop: everything that the last checkpoint does not vouch for is checked.
//!
//! Damage is told apart by the recovery point, below which all was durable once:
//!
//! - Behind it, the first batch that does not check is where a write was torn. The log is cut there, later
//!   segments go, and it is one warning: nothing that was promised durable is lost.
//! - Before it, something durable has changed. Nothing is cut; the log does not open, and the error names file,
//!   position and reason.
//! - A segment must end where the next begins, but for what compaction removed ([`Gaps`]).
//! - Indexes, snapshots and the epoch file are derived: when they are missing or wrong they are built again.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::gaps::{Gaps, Hole, Verdict};
use crate::kept_index::{IndexesSay, Kept};
use crate::log::{Active, Log, Opened};
use crate::names::Kind;
use crate::scan::{HEADERS_CHUNK, Scan, ScanError, WHOLE_CHUNK};
use crate::segment::{Indexer, Segment};

/// What holds below which offset, whatever is found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vouched {
    /// Below this everything was durable.
    pub recovery_point: i64,
    pub gaps: Gaps,
}

/// What checking a segment found.
#[derive(Debug)]
struct Checked {
    indexer: Indexer,
    next_offset: i64,
    /// The segment has to be cut here, and why.
    cut: Option<(u32, String)>,
}

impl Log {
    /// Retention deletes the oldest segments, in order, by renaming; a power loss can keep a later name and
    /// lose an earlier one. A hole where a segment was renamed means that all before it were, too.
    pub(crate) fn finish_deletion(&mut self, deleted: &BTreeSet<i64>, gaps: Gaps) -> Result<(), Error> {
        let last = self.segments[self.active_index()].base_offset;
        // Compaction leaves such names, and holes, in the middle of a log.
        if gaps.are_possible() {
            return Ok(());
        }
        let Some(newest) = deleted.range(..last).next_back().copied() else { return Ok(()) };
        if newest < self.segments[0].base_offset {
            return Ok(());
        }
        let index = self.segment_index(newest);
        let end = self.end_of(index, 0).map_err(|error| self.scan_failed_storage(index, error))?;
        if end > newest {
            return Ok(());
        }
        tracing::warn!(log = self.name(), newest, "deletion of old segments is finished");
        let removed: Vec<Segment> = self.segments.drain(..=index).collect();
        for segment in removed {
            self.remove_segment(segment.base_offset)?;
        }
        self.disk.sync_dir(&self.folder())?;
        self.log_start_offset = self.log_start_offset.max(self.segments[0].base_offset);
        self.durability.set_log_start_offset(self.log_start_offset);
        Ok(())
    }

    /// Checks everything at and behind the recovery point, and cuts what is torn.
    pub(crate) fn recover(
        &mut self,
        vouched: Vouched,
        opened: &mut Opened,
        now_ms: i64,
    ) -> Result<(), Error> {
        let recovery_point = vouched.recovery_point.max(self.segments[0].base_offset);
        let vouched = Vouched { recovery_point, ..vouched };
        let first = self.segment_index(recovery_point);
        for index in 0..first {
            self.check_vouched(index, vouched)?;
        }
        let mut index = first;
        loop {
            let checked = self.check(index, vouched, opened)?;
            self.log_end_offset = checked.next_offset;
            let goes_on = checked.cut.is_none() && self.goes_on(index, checked.next_offset, vouched)?;
            if let Some((position, reason)) = &checked.cut {
                self.cut(index, *position, reason, opened)?;
            }
            if !goes_on {
                self.drop_behind(index, opened)?;
                self.finish_recovery(checked.indexer, first, recovery_point, opened, now_ms)?;
                return Ok(());
            }
            let mut indexer = checked.indexer;
            indexer.note_time();
            let base_offset = self.segments[index].base_offset;
            self.write_indexes(base_offset, &mut indexer)?;
            self.segments[index].largest = Some(indexer.largest);
            index += 1;
        }
    }

    /// Whether the log goes on with the segment behind this one, whose batches end at `end_offset`.
    ///
    /// Errors: `Damaged` when they should not end there.
    fn goes_on(&mut self, index: usize, end_offset: i64, vouched: Vouched) -> Result<bool, Error> {
        let Some(next_base) = self.segments.get(index + 1).map(|next| next.base_offset) else {
            return Ok(false);
        };
        if end_offset >= next_base {
            return Ok(end_offset == next_base);
        }
        let Segment { base_offset, size, .. } = self.segments[index];
        let hole = Hole { segment_base: base_offset, end_offset, next_base };
        let says = self.indexes_say(index, end_offset)?;
        let verdict = match vouched.gaps.judge(hole, vouched.recovery_point) {
            Verdict::Compacted if says == IndexesSay::More => Verdict::Damage,
            Verdict::Unproved if says == IndexesSay::Same => Verdict::Compacted,
            Verdict::Unproved => Hole::unmeant(end_offset, vouched.recovery_point),
            verdict => verdict,
        };
        match verdict {
            Verdict::Damage => {
                let reason = format!("ends at offset {end_offset}, the next segment begins at {next_base}");
                Err(Error::damaged(self.path(base_offset, Kind::Log), u64::from(size), reason))
            }
            verdict => Ok(verdict == Verdict::Compacted),
        }
    }

    /// All but the last segment, after a stop that vouches for them all.
    pub(crate) fn check_sealed(&mut self, vouched: Vouched) -> Result<(), Error> {
        (0..self.active_index()).try_for_each(|index| self.check_vouched(index, vouched))
    }

    /// A segment wholly below the recovery point: its end must be where its size says, and where the next one
    /// begins. Reads a few headers.
    fn check_vouched(&mut self, index: usize, vouched: Vouched) -> Result<(), Error> {
        let segment = self.segments[index];
        let next_base = self.segments[index + 1].base_offset;
        let kept = Kept { below_offset: i64::MAX, size: segment.size, thorough: false };
        let (_, position) = self.kept_index(segment.base_offset, kept)?;
        match self.end_of(index, position) {
            Ok(end_offset) if end_offset == next_base => return Ok(()),
            Ok(end_offset) if position > 0 && end_offset < next_base => {
                self.goes_on(index, end_offset, vouched)?;
                return Ok(());
            }
            Err(error @ (ScanError::Io(_) | ScanError::Storage(_))) => {
                return Err(self.scan_failed_storage(index, error));
            }
            // The index may be to blame.
            _ => {}
        }
        let end_offset = self.end_of(index, 0).map_err(|error| self.scan_failed_storage(index, error))?;
        if end_offset > next_base {
            let reason = format!("ends at offset {end_offset}, the next segment begins at {next_base}");
            let file = self.path(segment.base_offset, Kind::Log);
            return Err(Error::damaged(file, u64::from(segment.size), reason));
        }
        self.goes_on(index, end_offset, vouched)?;
        self.rebuild_indexes(index)
    }

    fn end_of(&mut self, index: usize, position: u32) -> Result<i64, ScanError> {
        let segment = self.segments[index];
        let file = self.log_file(index).map_err(ScanError::Storage)?;
        let mut scan = Scan::new(file, position, segment.size, segment.base_offset);
        let mut next_offset = segment.base_offset;
        while let Some(located) = scan.next()? {
            next_offset = located.header.next_offset();
        }
        Ok(next_offset)
    }

    /// Walks a segment, verifying what the recovery point does not vouch for.
    fn check(&mut self, index: usize, vouched: Vouched, opened: &mut Opened) -> Result<Checked, Error> {
        let Vouched { recovery_point, .. } = vouched;
        let segment = self.segments[index];
        let kept = Kept { below_offset: recovery_point, size: segment.size, thorough: true };
        let (indexer, position) = self.kept_index(segment.base_offset, kept)?;
        let mut verified = 0;
        let checked = match self.check_from(index, position, indexer, recovery_point, &mut verified)? {
            // It fails where the index led to, so the index may be to blame.
            Checked { cut: Some((cut, _)), .. } if cut == position && position > 0 => {
                verified = 0;
                let indexer = Indexer::new(segment.base_offset);
                self.check_from(index, 0, indexer, recovery_point, &mut verified)?
            }
            checked => checked,
        };
        opened.recovered_bytes += verified;
        let is_last = index == self.active_index();
        let missing = checked.next_offset < recovery_point && (is_last || checked.cut.is_some());
        if missing {
            let (position, reason) = match checked.cut {
                Some((position, reason)) => (position, reason),
                None => (segment.size, "the file ends".to_owned()),
            };
            let reason = format!("{reason}; everything below offset {recovery_point} was durable");
            let file = self.path(segment.base_offset, Kind::Log);
            return Err(Error::damaged(file, u64::from(position), reason));
        }
        Ok(checked)
    }

    fn check_from(
        &mut self,
        index: usize,
        position: u32,
        indexer: Indexer,
        recovery_point: i64,
        verified: &mut u64,
    ) -> Result<Checked, Error> {
        let segment = self.segments[index];
        let mut checked = Checked { indexer, next_offset: segment.base_offset, cut: None };
        if segment.size == 0 {
            return Ok(checked);
        }
        let file = self.log_file(index)?;
        let mut scan = Scan::new(file, position, segment.size, segment.base_offset);
        loop {
            let is_vouched = checked.next_offset < recovery_point;
            scan.chunk(if is_vouched { HEADERS_CHUNK } else { WHOLE_CHUNK });
            let located = match scan.next() {
                Ok(Some(located)) => located,
                Ok(None) => return Ok(checked),
                Err(ScanError::Damaged { position, reason }) => {
                    checked.cut = Some((position as u32, reason));
                    return Ok(checked);
                }
                Err(error) => return Err(self.scan_failed_storage(index, error)),
            };
            let header = located.header;
            if header.last_offset() >= recovery_point {
                match scan.verify(&located) {
                    Ok(_) => *verified += u64::from(located.size()),
                    Err(ScanError::Damaged { position, reason }) => {
                        checked.cut = Some((position as u32, reason));
                        return Ok(checked);
                    }
                    Err(error) => return Err(self.scan_failed_storage(index, error)),
                }
            }
            if header.last_offset() - segment.base_offset > i64::from(i32::MAX) {
                checked.cut = Some((located.position, "the offset is too far from the segment's".to_owned()));
                return Ok(checked);
            }
            checked.indexer.note_located(&located, self.config.index_interval_bytes);
            if header.leader_epoch > self.latest_epoch().unwrap_or(-1) {
                self.epochs_changed |= self.epochs.assign(header.leader_epoch, header.base_offset);
            }
            checked.next_offset = header.next_offset();
        }
    }

    /// Cuts a torn tail.
    fn cut(&mut self, index: usize, position: u32, reason: &str, opened: &mut Opened) -> Result<(), Error> {
        let segment = self.segments[index];
        let path = self.path(segment.base_offset, Kind::Log);
        let bytes = segment.size - position;
        tracing::warn!(
            file = %path.display(), position, bytes, reason, log_end_offset = self.log_end_offset,
            "torn tail is cut"
        );
        let file = self.log_file(index)?;
        self.disk.done("truncate", &path, file.truncate(u64::from(position)))?;
        self.segments[index].size = position;
        opened.truncated_bytes += u64::from(bytes);
        Ok(())
    }

    /// Removes the segments behind one that was cut, or that does not reach to the next: a power loss kept the
    /// later bytes and lost earlier ones.
    fn drop_behind(&mut self, index: usize, opened: &mut Opened) -> Result<(), Error> {
        while self.segments.len() > index + 1
            && let Some(segment) = self.segments.pop()
        {
            let path = self.path(segment.base_offset, Kind::Log);
            tracing::warn!(
                file = %path.display(), bytes = segment.size, log_end_offset = self.log_end_offset,
                "segment behind a lost tail is removed"
            );
            self.remove_segment(segment.base_offset)?;
            opened.truncated_bytes += u64::from(segment.size);
        }
        Ok(())
    }

    /// The last segment that was checked becomes the active one, and what was checked waits to be synced.
    fn finish_recovery(
        &mut self,
        indexer: Indexer,
        first: usize,
        recovery_point: i64,
        opened: &Opened,
        now_ms: i64,
    ) -> Result<(), Error> {
        let active = self.active_index();
        let segment = self.segments[active];
        // Without a file: the one before may be that of a segment that was removed.
        self.active = Active::new(indexer, segment.size, now_ms);
        self.changed = true;
        if opened.recovered_bytes == 0 && opened.truncated_bytes == 0 {
            // Everything is vouched for.
            self.durability.truncated(self.log_end_offset);
            return Ok(());
        }
        let file = self.log_file(active)?;
        self.durability.truncated(recovery_point.min(self.log_end_offset));
        for index in first..active {
            let sealed = self.log_file(index)?;
            self.durability.touched(sealed);
        }
        self.durability.renamed();
        self.durability.appended(&file, self.log_end_offset);
        Ok(())
    }
}

#[cfg(test)]
#[path = "recovery_test.rs"]
mod tests;
