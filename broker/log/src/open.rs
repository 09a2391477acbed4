//! Opening a log: with nothing but a look at the end of its last segment after a clean stop, by recovery
//! otherwise.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Weak};

use crate::config::Config;
use crate::directory::{Checkpointed, Directory};
use crate::disk::Disk;
use crate::durability::Durability;
use crate::error::Error;
use crate::extent::Extent;
use crate::folder::Folder;
use crate::gaps::Gaps;
use crate::interrupted_cleaning;
use crate::kept_index::Kept;
use crate::leader_epochs::LeaderEpochs;
use crate::log::{Active, Log, Opened};
use crate::missing;
use crate::names::{self, DELETED, Kind, REPLACED};
use crate::producers::Producers;
use crate::recovery::Vouched;
use crate::segment::{Indexer, Segment};

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
        let opened = Log::open_or_fail(directory, name, config, now_ms);
        if opened.is_err() {
            directory.not_opened(name);
        }
        opened
    }

    fn open_or_fail(
        directory: &Arc<Directory>,
        name: &str,
        config: Arc<Config>,
        now_ms: i64,
    ) -> Result<(Log, Opened), Error> {
        let disk = directory.disk().clone();
        disk.check()?;
        let path = directory.path().join(name);
        let (mut folder, created) = match read_folder(&disk, &path)? {
            Some(folder) => (folder, false),
            None => (create_folder(directory, &disk, name, &path)?, true),
        };
        let mut known = directory.checkpointed(name);
        // A copy that took its log's place, of which the checkpoints have not heard.
        let took_place = folder.is_marked && names::parse_folder(name).is_some();
        if took_place && known.log_start_offset.is_none() {
            known.log_start_offset = directory.mark(name)?.map(|mark| mark.log_start_offset);
        }
        missing::check(&disk, &path, &mut folder, &known)?;
        let is_as_left = known.extent.is_none_or(|extent| extent.is_of(&folder.segments));
        let mut log = Log::unopened(directory, name, config, folder.segments, known, now_ms)?;
        if created || known.recovery_point.is_none() {
            log.durability.created();
        }
        let mut opened = Opened::default();
        let epochs = log.read_epochs()?;
        let epochs_trusted = known.clean && epochs.is_some();
        log.epochs = epochs.unwrap_or_default();
        let recovery_point = known.durable_upto();
        let gaps = Gaps::of(&known, log.config.compact);
        if known.clean && known.extent.is_none() {
            // Kafka does not say how much there was.
            log.check_sealed(Vouched { recovery_point, gaps })?;
        }
        if !(known.clean && is_as_left && log.resume(recovery_point)?) {
            log.finish_deletion(&folder.deleted, gaps)?;
            // Behind the recovery point the file may tell of a log that a power loss undid. The batches know.
            log.epochs_changed |= log.epochs.truncate_from_end(recovery_point);
            log.recover(Vouched { recovery_point, gaps }, &mut opened, now_ms)?;
            // Where recovery found no fault with a single file, whole ones may still be missing.
            if let Some(missing) = known.extent.and_then(|extent| extent.missing_in(&Extent::of(&log))) {
                return Err(Error::damaged(path, 0, missing));
            }
        }
        if let Some(extent) = known.extent.filter(|_| known.clean && is_as_left) {
            log.check_end(extent.log_end_offset)?;
        }
        log.reconcile_start()?;
        log.epochs_changed |= log.epochs.truncate_from_start(log.log_start_offset);
        log.epochs_changed |= log.epochs.truncate_from_end(log.log_end_offset);
        if !epochs_trusted {
            log.complete_epochs()?;
        }
        log.load_producers(folder.snapshots, now_ms)?;
        // What was not synced is gone, and other records may come in its place. Of all logs, so it is written once.
        log.owes_noted = directory.high_watermarks().lower_in_memory(name, log.log_end_offset);
        log.remove_leftovers(&folder.deleted, &folder.leftovers, &known, now_ms)?;
        directory.register(&log.durability);
        if opened.recovered_bytes > 0 || opened.truncated_bytes > 0 {
            // What was checked is in the page cache, not necessarily on the disk.
            directory.request_sync(&log.durability, None);
        }
        if took_place {
            directory.settle(name)?;
        }
        opened.segments_count = log.segments.len();
        if log.durability.is_durable() {
            // Opening many logs must not use up the descriptors.
            log.release();
        }
        Ok((log, opened))
    }

    /// With the same bytes as when it was closed the log ends at the same offset, or its last batch does not say what
    /// it said: a base offset is under no checksum.
    fn check_end(&self, log_end_offset: i64) -> Result<(), Error> {
        if self.log_end_offset == log_end_offset {
            return Ok(());
        }
        let file = self.path(self.segments[self.active_index()].base_offset, Kind::Log);
        let reason =
            format!("it ended at offset {log_end_offset} when it was closed, now at {}", self.log_end_offset);
        Err(Error::damaged(file, 0, reason))
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
            owes_noted: false,
            durability: Durability::new(name, last.base_offset, log_start_offset, recovery_point),
            half_done: false,
            cuts: 0,
            alive: Arc::new(()),
            compacting: Weak::new(),
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

    /// Removes what nobody needs any more. Names of deleted segments stay until a checkpoint knows where the log begins
    /// without them.
    fn remove_leftovers(
        &mut self,
        deleted: &BTreeSet<i64>,
        leftovers: &[String],
        known: &Checkpointed,
        now_ms: i64,
    ) -> Result<(), Error> {
        let first = self.segments[0].base_offset;
        let is_known = known.log_start_offset.is_none_or(|log_start_offset| log_start_offset >= first);
        if !is_known {
            self.deleted = deleted.iter().map(|base_offset| (*base_offset, now_ms)).collect();
        }
        for name in leftovers {
            let is_evidence = !is_known && name.ends_with(DELETED) && !name.ends_with(REPLACED);
            if !is_evidence {
                self.disk.remove(&self.folder().join(name))?;
            }
        }
        Ok(())
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
}

/// Lists the folder, after a log cleaner that was interrupted there is done; `None` when there is none.
fn read_folder(disk: &Disk, path: &Path) -> Result<Option<Folder>, Error> {
    match Folder::read(disk, path)? {
        Some(folder) if interrupted_cleaning::complete(disk, path, &folder)? => Folder::read(disk, path),
        folder => Ok(folder),
    }
}

/// Creates the folder of a new log.
fn create_folder(directory: &Directory, disk: &Disk, name: &str, path: &Path) -> Result<Folder, Error> {
    directory.forget_predecessor(name)?;
    disk.done("create", path, disk.files.create_dir(path))?;
    Ok(Folder::default())
}
