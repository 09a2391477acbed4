//! Opening a log: with nothing but a look at the end of its last segment after a clean stop; otherwise by
//! checking everything that the last checkpoint does not vouch for.
//!
//! Damage is told apart by the recovery point, below which all was durable once:
//!
//! - Behind it, the first batch that does not check is where a write was torn. The log is cut there, later
//!   segments go, and it is one warning: nothing that was promised durable is lost.
//! - Before it, something durable has changed. Nothing is cut; the log does not open, and the error names file,
//!   position and reason.
//! - Indexes, snapshots and the epoch file are derived: when they are missing or wrong they are built again.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::checkpoint;
use crate::config::Config;
use crate::directory::{Checkpointed, Directory};
use crate::disk::Disk;
use crate::durability::Durability;
use crate::error::Error;
use crate::folder::Folder;
use crate::index_file::{self, Entry};
use crate::leader_epochs::LeaderEpochs;
use crate::log::{Active, Log, Opened};
use crate::names::Kind;
use crate::offset_index::OffsetEntry;
use crate::producers::Producers;
use crate::roll::EPOCHS;
use crate::scan::{HEADERS_CHUNK, Scan, ScanError, WHOLE_CHUNK};
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

/// What checking a segment found.
#[derive(Debug)]
struct Checked {
    indexer: Indexer,
    next_offset: i64,
    /// The segment has to be cut here, and why.
    cut: Option<(u32, String)>,
}

impl Log {
    /// Opens the log in folder `name` (`topic-0`), or creates it.
    ///
    /// Errors: `Damaged` when durable bytes have changed, `Unreadable` when a file cannot be ours; the
    /// directory's other logs are not concerned.
    pub fn open(
        directory: &Arc<Directory>,
        name: &str,
        config: Arc<Config>,
        now_ms: i64,
    ) -> Result<(Log, Opened), Error> {
        let disk = directory.disk().clone();
        disk.check()?;
        let path = directory.path().join(name);
        let (folder, created) = match Folder::read(&disk, &path)? {
            Some(folder) => (folder, false),
            None => (create_folder(directory, &disk, name, &path)?, true),
        };
        let known = directory.checkpointed(name);
        let mut log = Log::unopened(directory, name, config, folder.segments, known, now_ms)?;
        if created {
            log.durability.created();
        }
        let mut opened = Opened::default();
        let epochs = log.read_epochs()?;
        let epochs_trusted = known.clean && epochs.is_some();
        log.epochs = epochs.unwrap_or_default();
        let recovery_point = known.recovery_point.unwrap_or(0);
        if !(known.clean && log.resume(recovery_point)?) {
            log.finish_deletion(&folder.deleted)?;
            // Behind the recovery point the file may tell of a log that a power loss undid. The batches know.
            log.epochs_changed |= log.epochs.truncate_from_end(recovery_point);
            log.recover(recovery_point, &mut opened, now_ms)?;
        }
        log.reconcile_start()?;
        log.epochs_changed |= log.epochs.truncate_from_start(log.log_start_offset);
        log.epochs_changed |= log.epochs.truncate_from_end(log.log_end_offset);
        if !epochs_trusted {
            log.complete_epochs()?;
        }
        log.load_producers(folder.snapshots, now_ms)?;
        for name in &folder.leftovers {
            disk.remove(&path.join(name))?;
        }
        directory.register(&log.durability);
        if opened.recovered_bytes > 0 || opened.truncated_bytes > 0 {
            // What was checked is in the page cache, not necessarily on the disk.
            directory.request_sync(&log.durability, None);
        }
        opened.segments_count = log.segments.len();
        if log.durability.is_durable() {
            // Opening many logs must not use up the descriptors.
            log.release();
        }
        Ok((log, opened))
    }

    fn unopened(
        directory: &Arc<Directory>,
        name: &str,
        config: Arc<Config>,
        mut segments: Vec<Segment>,
        known: Checkpointed,
        now_ms: i64,
    ) -> Result<Log, Error> {
        let disk = directory.disk().clone();
        let checkpointed_start = known.log_start_offset.unwrap_or(0);
        let recovery_point = known.recovery_point.unwrap_or(0);
        let is_new = segments.is_empty();
        if is_new {
            if recovery_point > checkpointed_start {
                let reason = format!("there is no segment, but offset {recovery_point} was durable");
                return Err(Error::damaged(directory.path().join(name), 0, reason));
            }
            segments.push(Segment::new(checkpointed_start, 0));
        }
        let first = segments[0].base_offset;
        let last = segments[segments.len() - 1];
        let log_start_offset = checkpointed_start.max(first);
        let mut log = Log {
            id: disk.new_log_id(),
            disk,
            directory: directory.clone(),
            config,
            active: Active::new(Indexer::new(last.base_offset), last.size, now_ms),
            segments,
            log_start_offset,
            log_end_offset: last.base_offset,
            producers: Producers::new(first),
            epochs: LeaderEpochs::default(),
            epochs_changed: false,
            durability: Durability::new(name, last.base_offset, log_start_offset, recovery_point),
            deleted: Vec::new(),
            snapshot_offset: None,
            changed: false,
            dirty_since_ms: None,
            used: true,
        };
        if is_new {
            log.active.file = Some(log.disk.create(&log.path(first, Kind::Log))?);
            log.durability.renamed();
        }
        Ok(log)
    }

    /// After a clean stop: finds the log end offset at the end of the last segment. False when what is there
    /// does not look like a clean stop.
    fn resume(&mut self, recovery_point: i64) -> Result<bool, Error> {
        let kept = Kept { below_offset: i64::MAX, size: self.active_segment().size, thorough: false };
        let log_end_offset = match self.resume_active(kept)? {
            Some(log_end_offset) if log_end_offset >= recovery_point => log_end_offset,
            _ => return Ok(false),
        };
        self.log_end_offset = log_end_offset;
        self.durability.truncated(log_end_offset);
        Ok(true)
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

    /// Retention deletes the oldest segments, in order, by renaming; a power loss can keep a later name and
    /// lose an earlier one. A hole where a segment was renamed means that all before it were, too.
    fn finish_deletion(&mut self, deleted: &BTreeSet<i64>) -> Result<(), Error> {
        let last = self.segments[self.active_index()].base_offset;
        // Kafka's cleaner leaves such names, and holes, in the middle of a log.
        if self.config.compact {
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
    fn recover(&mut self, recovery_point: i64, opened: &mut Opened, now_ms: i64) -> Result<(), Error> {
        let recovery_point = recovery_point.max(self.segments[0].base_offset);
        let first = self.segment_index(recovery_point);
        for index in 0..first {
            self.check_vouched(index)?;
        }
        let mut index = first;
        loop {
            let checked = self.check(index, recovery_point, opened)?;
            self.log_end_offset = checked.next_offset;
            let follows =
                self.segments.get(index + 1).is_some_and(|next| next.base_offset == checked.next_offset);
            if let Some((position, reason)) = &checked.cut {
                self.cut(index, *position, reason, opened)?;
            }
            if checked.cut.is_some() || !follows {
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

    /// A segment wholly below the recovery point: its end must be where its size says. Reads a few headers.
    fn check_vouched(&mut self, index: usize) -> Result<(), Error> {
        let segment = self.segments[index];
        let next_base = self.segments[index + 1].base_offset;
        let kept = Kept { below_offset: i64::MAX, size: segment.size, thorough: false };
        let (_, position) = self.kept_index(segment.base_offset, kept)?;
        match self.end_of(index, position) {
            Ok(next_offset) if next_offset <= next_base => return Ok(()),
            Err(error @ (ScanError::Io(_) | ScanError::Storage(_))) => {
                return Err(self.scan_failed_storage(index, error));
            }
            // The index may be to blame.
            _ => {}
        }
        let next_offset = self.end_of(index, 0).map_err(|error| self.scan_failed_storage(index, error))?;
        if next_offset > next_base {
            let reason = format!("ends at offset {next_offset}, the next segment begins at {next_base}");
            return Err(Error::damaged(
                self.path(segment.base_offset, Kind::Log),
                u64::from(segment.size),
                reason,
            ));
        }
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
    fn check(&mut self, index: usize, recovery_point: i64, opened: &mut Opened) -> Result<Checked, Error> {
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

    /// Deletes records may have been asked for up to an offset that a power loss took away: then nothing of the
    /// log is left to show.
    fn reconcile_start(&mut self) -> Result<(), Error> {
        if self.log_start_offset > self.log_end_offset {
            tracing::warn!(
                log = self.name(),
                log_start_offset = self.log_start_offset,
                log_end_offset = self.log_end_offset,
                "log ends below its start, begins again there"
            );
            self.start_again(self.log_start_offset)?;
        }
        Ok(())
    }

    /// The epochs of the file; `None` when it is missing or does not parse.
    fn read_epochs(&self) -> Result<Option<LeaderEpochs>, Error> {
        let path = self.folder().join(EPOCHS);
        let parse = |text: &str| if text.is_empty() { Ok(None) } else { LeaderEpochs::parse(text).map(Some) };
        match checkpoint::read(&*self.disk.files, &path, parse) {
            Ok(epochs) => Ok(epochs.flatten()),
            Err(checkpoint::Error::Io { source, .. }) => Err(self.disk.failed("read", &path, &source)),
            Err(error @ checkpoint::Error::Damaged { .. }) => {
                tracing::warn!(file = %path.display(), %error, "leader epochs are read from the log");
                Ok(None)
            }
        }
    }

    /// Reads from the headers which epochs the records before the first known one have: the file is gone, or
    /// it knows of a deletion that a crash undid.
    fn complete_epochs(&mut self) -> Result<(), Error> {
        let known_from = self.epochs.earliest().map_or(self.log_end_offset, |first| first.start_offset);
        if known_from <= self.log_start_offset {
            return Ok(());
        }
        let mut epochs = LeaderEpochs::default();
        self.replay(self.log_start_offset, known_from, |batch| {
            let header = batch.header();
            if header.leader_epoch > epochs.latest_epoch().unwrap_or(-1) {
                epochs.assign(header.leader_epoch, header.base_offset);
            }
            Ok(())
        })?;
        epochs.truncate_from_start(self.log_start_offset);
        for known in self.epochs.entries() {
            epochs.assign(known.epoch, known.start_offset);
        }
        self.epochs_changed |= epochs != self.epochs;
        self.epochs = epochs;
        Ok(())
    }
}

/// Creates the folder of a new log.
fn create_folder(directory: &Directory, disk: &Disk, name: &str, path: &Path) -> Result<Folder, Error> {
    directory.forget_predecessor(name)?;
    disk.done("create", path, disk.files.create_dir(path))?;
    Ok(Folder::default())
}

#[cfg(test)]
#[path = "recovery_test.rs"]
mod tests;
