//! Cutting the end of a log: a replica that diverged from its leader, a Raft log that lost an election.
//!
//! The checkpoint is lowered before anything is cut, or a crash in between would find durable bytes missing.
//! What is cut is synced at once: what comes next builds on it.

use crate::error::Error;
use crate::kept_index::Kept;
use crate::log::{Active, Log};
use crate::names::Kind;
use crate::segment::{Indexer, Segment};

impl Log {
    /// Removes all records at and above `offset`, durably. An offset below the first segment empties the log
    /// and lets it begin there. A batch that holds `offset` goes as a whole. An epoch without a record goes in any
    /// case: it is that of a leader who wrote nothing, and the next leader need not know it.
    pub fn truncate_to(&mut self, offset: i64) -> Result<(), Error> {
        self.change(|log| match offset {
            _ if offset >= log.log_end_offset => {
                log.epochs_changed |= log.epochs.truncate_from_end(log.log_end_offset);
                Ok(())
            }
            _ if offset < log.segments[0].base_offset => log.empty_at(offset),
            _ => log.cut_at(offset),
        })
    }

    fn cut_at(&mut self, offset: i64) -> Result<(), Error> {
        tracing::info!(log = self.name(), offset, log_end_offset = self.log_end_offset, "log is truncated");
        let index = self.segment_index(offset);
        let position = self.position_of(index, offset)?.unwrap_or(self.segments[index].size);
        // Not to `offset`: where compaction left a gap the log will end below it.
        self.lower_checkpoint(self.segments[index].base_offset)?;
        self.lower_noted(offset)?;
        // From here on there is no way back, for want of descriptors neither.
        self.cut_from(index, position, offset).map_err(|error| self.disk.give_up(error))
    }

    fn cut_from(&mut self, index: usize, position: u32, offset: i64) -> Result<(), Error> {
        self.changed = true;
        while self.segments.len() > index + 1
            && let Some(segment) = self.segments.pop()
        {
            self.remove_segment(segment.base_offset)?;
        }
        self.cut_active(position, offset)?;
        self.log_start_offset = self.log_start_offset.min(self.log_end_offset);
        self.durability.set_log_start_offset(self.log_start_offset);
        self.epochs_changed |= self.epochs.truncate_from_end(self.log_end_offset);
        self.reload_producers()?;
        self.finish_truncation()
    }

    /// Removes everything and lets the log begin, empty, at `offset`: a follower whose leader no longer has
    /// what it needs, a Raft log replaced by a snapshot.
    pub fn truncate_fully_and_start_at(&mut self, offset: i64) -> Result<(), Error> {
        self.change(|log| log.empty_at(offset))
    }

    pub(crate) fn empty_at(&mut self, offset: i64) -> Result<(), Error> {
        tracing::info!(log = self.name(), offset, log_end_offset = self.log_end_offset, "log begins again");
        self.start_again(offset)?;
        self.finish_truncation().map_err(|error| self.disk.give_up(error))
    }

    /// Replaces all segments by an empty one at `offset`.
    pub(crate) fn start_again(&mut self, offset: i64) -> Result<(), Error> {
        // Nothing of what is left when this is interrupted may be missed.
        self.lower_checkpoint(0)?;
        self.lower_noted(offset)?;
        self.replace_segments(offset).map_err(|error| self.disk.give_up(error))
    }

    fn replace_segments(&mut self, offset: i64) -> Result<(), Error> {
        self.changed = true;
        // Descending: what an interruption leaves is a shorter log, not one with a hole.
        while let Some(segment) = self.segments.pop() {
            self.remove_segment(segment.base_offset)?;
        }
        for snapshot in self.snapshots()? {
            self.disk.remove(&self.path(snapshot, Kind::Snapshot))?;
        }
        self.segments.push(Segment::new(offset, 0));
        self.active = Active::new(Indexer::new(offset), 0, self.active.created_ms);
        self.active.file = Some(self.disk.create(&self.path(offset, Kind::Log))?);
        self.log_start_offset = offset;
        self.log_end_offset = offset;
        self.durability.set_log_start_offset(offset);
        self.producers.reset(offset);
        self.snapshot_offset = None;
        self.epochs.clear();
        self.epochs_changed = true;
        self.durability.created();
        Ok(())
    }

    fn finish_truncation(&mut self) -> Result<(), Error> {
        if self.epochs_changed {
            self.write_epochs()?;
        }
        // The generation has moved on, so what is dirty now is all there is.
        let end_offset = self.log_end_offset;
        if let Some(file) = &self.active.file {
            self.durability.appended(file, end_offset);
        }
        self.sync()?;
        self.dirty_since_ms = None;
        Ok(())
    }

    /// From here on nobody may vouch for what lies at or above `offset`.
    fn lower_checkpoint(&mut self, offset: i64) -> Result<(), Error> {
        self.cuts += 1;
        if self.durability.lowering(offset) { self.directory.checkpoint() } else { Ok(()) }
    }

    fn lower_noted(&self, offset: i64) -> Result<(), Error> {
        self.directory.compacted().lower(&self.disk, self.name(), offset)?;
        self.directory.high_watermarks().lower(&self.disk, self.name(), offset)
    }

    /// Cuts the last segment at `position`, where the batch of `offset` was, and makes it the active one.
    fn cut_active(&mut self, position: u32, offset: i64) -> Result<(), Error> {
        let index = self.active_index();
        let base_offset = self.segments[index].base_offset;
        // They may be those of a segment that was just removed.
        self.active.file = None;
        self.active.recent.clear();
        let file = self.log_file(index)?;
        self.disk.done("truncate", &self.path(base_offset, Kind::Log), file.truncate(u64::from(position)))?;
        self.segments[index].size = position;
        self.segments[index].largest = None;
        self.active = Active::new(Indexer::new(base_offset), position, self.active.created_ms);
        self.active.file = Some(file);
        let kept = Kept { below_offset: offset, size: position, thorough: false };
        match self.resume_active(kept)? {
            Some(log_end_offset) => self.log_end_offset = log_end_offset,
            None => {
                // The index led astray; without it the walk covers all that is left.
                self.rebuild_indexes(index)?;
                let kept = Kept { below_offset: offset, size: 0, thorough: false };
                let resumed = self.resume_active(kept)?;
                let file = self.path(base_offset, Kind::Log);
                self.log_end_offset = resumed
                    .ok_or_else(|| Error::damaged(file, 0, "batches before a truncation do not follow"))?;
            }
        }
        self.cut_indexes(base_offset)?;
        if self.segments[index].has_transaction_index {
            self.write_transaction_index(index, self.log_end_offset, &[])?;
        }
        Ok(())
    }

    /// Cuts the index files that are there to what holds of them. Otherwise the next cut could take an entry from before
    /// this one for that of a batch which came in its place.
    fn cut_indexes(&mut self, base_offset: i64) -> Result<(), Error> {
        for kind in [Kind::OffsetIndex, Kind::TimeIndex] {
            if self.cached(base_offset, kind)?.is_some() {
                let mut indexer = self.active.indexer.clone();
                self.write_indexes(base_offset, &mut indexer)?;
                self.active.indexer = indexer;
                return Ok(());
            }
        }
        Ok(())
    }

    fn reload_producers(&mut self) -> Result<(), Error> {
        let snapshots = self.snapshots()?;
        // Before all time: who expired meanwhile goes with the next `maintain`.
        self.load_producers(snapshots, i64::MIN)
    }

    /// Offsets of the producer snapshots in the folder.
    pub(crate) fn snapshots(&self) -> Result<std::collections::BTreeSet<i64>, Error> {
        let path = self.folder();
        let entries = self.disk.done("list", &path, self.disk.files.list(&path))?;
        let parsed = entries.iter().filter_map(|entry| Kind::parse(&entry.name));
        Ok(parsed.filter(|(_, kind)| *kind == Kind::Snapshot).map(|(offset, _)| offset).collect())
    }

    /// Removes all files of a segment, at once.
    pub(crate) fn remove_segment(&mut self, base_offset: i64) -> Result<(), Error> {
        self.forget_files(base_offset);
        for kind in Kind::ALL {
            self.disk.remove(&self.path(base_offset, kind))?;
        }
        self.durability.renamed();
        Ok(())
    }
}
