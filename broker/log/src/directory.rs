//! One entry of `log.dirs`: its lock and identity, the offset checkpoints over all its logs, the clean-stop
//! marker, and the flusher.
//!
//! A directory is online until the first failed operation; from then on every operation on it and on its logs
//! answers [`Error::DirectoryOffline`]. The process and its other directories go on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::checkpoint::{self, Offsets};
use crate::claim;
pub use crate::claim::{Claim, Identity};
use crate::clean_stop::CleanStop;
use crate::disk::Disk;
pub use crate::disk::OnOffline;
use crate::durability::Durability;
use crate::error::Error;
use crate::extent::{Extent, Extents};
use crate::files::{self, Files, Lock};
pub use crate::flusher::Done;
use crate::flusher::Flusher;
use crate::names;
use crate::noted_offsets::NotedOffsets;

const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
const LOG_STARTS: &str = "log-start-offset-checkpoint";

/// Bound on the size of the directory's own property files.
pub(crate) const PROPERTIES_SIZE_MAX: u64 = 64 << 10;

/// How a directory runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Sync in a thread of the directory, or inline in the caller (simulation).
    pub flusher_thread: bool,
    /// Files of sealed segments kept open, over all logs of the directory.
    pub open_files_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { flusher_thread: true, open_files_max: 1024 }
    }
}

/// One entry of `log.dirs`.
#[derive(Debug)]
pub struct Directory {
    // First, so that the thread has ended before the lock is released.
    flusher: Flusher,
    disk: Arc<Disk>,
    clean_stop: Option<CleanStop>,
    compacted: NotedOffsets,
    high_watermarks: NotedOffsets,
    /// The recovery points that were written before this start did not read.
    recovery_points_lost: bool,
    identity: Mutex<Option<Identity>>,
    logs: Mutex<Logs>,
    /// Held while the checkpoints are written: their temporary files have one name.
    checkpointing: Mutex<()>,
    _lock: Box<dyn Lock>,
}

/// What the checkpoints say, and what has changed since.
#[derive(Debug, Default)]
struct Logs {
    open: BTreeMap<Box<str>, Arc<Durability>>,
    /// Could not be opened.
    failed: BTreeSet<Box<str>>,
    /// What the files on disk say, or may say while they are written.
    recovery_points: Offsets,
    log_starts: Offsets,
    /// Deleted since the files were written: a new log of that name must not be judged by the old one's.
    gone: BTreeSet<(String, i32)>,
    /// Deleted or begun anew since the start: of them the last stop does not tell.
    forgotten: BTreeSet<Box<str>>,
}

/// What is known of a log before it is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checkpointed {
    pub recovery_point: Option<i64>,
    pub log_start_offset: Option<i64>,
    /// Everything was synced and the indexes are complete.
    pub clean: bool,
    /// How much there was at the last clean stop, if nothing can have changed since.
    pub extent: Option<Extent>,
    /// Below this the log was compacted; `None` when it never was.
    pub compacted_upto: Option<i64>,
    /// There may have been a recovery point, but the file is lost.
    pub recovery_points_lost: bool,
}

impl Checkpointed {
    /// Below this everything was durable.
    pub fn durable_upto(&self) -> i64 {
        let closed_at = self.extent.map_or(0, |extent| extent.log_end_offset);
        self.recovery_point.unwrap_or(0).max(closed_at)
    }
}

impl Directory {
    /// Locks and opens the directory, creating it if missing, and reads its checkpoints.
    ///
    /// Errors: `Locked` when another process has it, `Unreadable` when a file of it makes no sense; a
    /// directory that cannot be used at all is `DirectoryOffline`.
    pub fn open(files: Arc<dyn Files>, path: &Path, options: Options) -> Result<Arc<Directory>, Error> {
        let Claim { disk, identity, lock } = Claim::with(files, path, options.open_files_max)?;
        let recovery_points = read_offsets(&disk, RECOVERY_POINTS)?;
        let recovery_points_lost = recovery_points.is_empty();
        let log_starts = read_offsets(&disk, LOG_STARTS)?;
        let logs = Logs { recovery_points, log_starts, ..Logs::default() };
        let noted = |file| Ok::<_, Error>(NotedOffsets::of(file, read_offsets(&disk, file)?));
        let compacted = noted(NotedOffsets::COMPACTED)?;
        let high_watermarks = noted(NotedOffsets::HIGH_WATERMARKS)?;
        let clean_stop = CleanStop::take(&disk)?;
        let flusher = Flusher::start(disk.clone(), "log-flusher", options.flusher_thread);
        Ok(Arc::new(Directory {
            flusher: disk.done("start the flusher of", path, flusher)?,
            disk,
            clean_stop,
            compacted,
            high_watermarks,
            recovery_points_lost,
            identity,
            logs: Mutex::new(logs),
            checkpointing: Mutex::new(()),
            _lock: lock,
        }))
    }

    pub fn path(&self) -> &Path {
        &self.disk.path
    }

    /// Whose directory this is; `None` for a new one, until it is initialised.
    pub fn identity(&self) -> Option<Identity> {
        self.identity.lock().clone()
    }

    /// Gives the directory its identity, durably.
    pub fn initialise(&self, identity: &Identity) -> Result<(), Error> {
        claim::initialise(&self.disk, &self.identity, identity)
    }

    /// The broker epoch of the clean-stop marker (-1 when it names none); `None` when the last stop was not
    /// clean.
    pub fn clean_stop(&self) -> Option<i64> {
        self.clean_stop.as_ref().map(|stop| stop.broker_epoch)
    }

    /// Why the directory is offline, if it is.
    pub fn offline_reason(&self) -> Option<Arc<str>> {
        self.disk.offline_reason()
    }

    /// Sets who is told, once, when the directory goes offline.
    pub fn on_offline(&self, notify: OnOffline) {
        self.disk.on_offline(notify);
    }

    /// Asks for a sync of the log and returns at once; many requests are served by one fdatasync. `done` is
    /// called from the flusher's thread.
    pub fn request_sync(&self, log: &Arc<Durability>, done: Option<Done>) {
        log.own_flusher().unwrap_or(&self.flusher).request(log, done);
    }

    /// Gives a log a flusher of its own, so that its syncs do not queue behind those of the directory's others.
    pub fn flush_apart(&self, log: &Durability) -> Result<(), Error> {
        let flusher = Flusher::start(self.disk.clone(), "own-flusher", self.flusher.has_thread());
        log.set_own_flusher(self.disk.done("start a flusher of", &self.disk.path, flusher)?);
        Ok(())
    }

    /// Writes both offset checkpoints (Kafka does so every minute). Blocks on the disk.
    pub fn checkpoint(&self) -> Result<(), Error> {
        let _one_at_a_time = self.checkpointing.lock();
        self.disk.check()?;
        let (recovery_points, log_starts, gone) = self.logs.lock().begin_checkpoint();
        // In this order: the log start of before would, beside a later recovery point, miss what was deleted.
        self.write_offsets(LOG_STARTS, &log_starts)?;
        self.write_offsets(RECOVERY_POINTS, &recovery_points)?;
        self.compacted.write(&self.disk)?;
        let mut logs = self.logs.lock();
        (logs.recovery_points, logs.log_starts) = (recovery_points, log_starts);
        logs.gone.retain(|name| !gone.contains(name));
        Ok(())
    }

    /// Writes the checkpoints and the clean-stop marker, after the logs were closed. A log that was not, or whose
    /// damage kept it from being opened, is checked at the next start as after a crash.
    pub fn close_clean(&self, broker_epoch: i64) -> Result<(), Error> {
        self.checkpoint()?;
        self.high_watermarks.write(&self.disk)?;
        let folders = self.entries()?.into_iter().filter(|name| names::parse_folder(name).is_some());
        let (mut unclean, mut extents) = (BTreeSet::new(), Extents::new());
        {
            let logs = self.logs.lock();
            for name in folders {
                extents.extend(
                    logs.extent(&name, self.clean_stop.as_ref()).map(|extent| (name.clone(), extent)),
                );
                if !logs.is_closed(&name, self.clean_stop.as_ref()) {
                    unclean.insert(name);
                }
            }
        }
        CleanStop::write(&self.disk, broker_epoch, &unclean, &extents)
    }

    pub(crate) fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// What is known of a log that is about to be opened.
    pub(crate) fn checkpointed(&self, name: &str) -> Checkpointed {
        let logs = self.logs.lock();
        if let Some(durability) = logs.open.get(name) {
            return Checkpointed {
                recovery_point: Some(durability.durable_offset()),
                log_start_offset: Some(durability.log_start_offset()),
                compacted_upto: self.compacted.offset(name),
                ..Checkpointed::default()
            };
        }
        let Some(key) = names::parse_folder(name).map(|(topic, partition)| (topic.to_owned(), partition))
        else {
            return Checkpointed::default();
        };
        let stop = logs.stop_of(name, self.clean_stop.as_ref());
        Checkpointed {
            recovery_point: logs.recovery_points.get(&key).copied(),
            log_start_offset: logs.log_starts.get(&key).copied(),
            clean: stop.is_some_and(|stop| stop.vouches_for(name)),
            extent: stop.and_then(|stop| stop.extent(name)),
            compacted_upto: self.compacted.offset(name),
            recovery_points_lost: self.recovery_points_lost,
        }
    }

    /// How far its logs were compacted.
    pub(crate) fn compacted(&self) -> &NotedOffsets {
        &self.compacted
    }

    /// How far its logs are known to be committed.
    pub(crate) fn high_watermarks(&self) -> &NotedOffsets {
        &self.high_watermarks
    }

    /// Writes the high watermarks that were noted, if they changed (Kafka looks every five seconds). Blocks on the
    /// disk.
    pub fn checkpoint_high_watermarks(&self) -> Result<(), Error> {
        self.disk.check()?;
        self.high_watermarks.write(&self.disk)
    }

    /// The log's recovery point on disk; 0 when there is none, or while it may be written.
    pub(crate) fn checkpointed_recovery_point(&self, name: &str) -> i64 {
        let _written = match self.checkpointing.try_lock() {
            Some(written) => written,
            None => return 0,
        };
        let key = names::parse_folder(name).map(|(topic, partition)| (topic.to_owned(), partition));
        key.and_then(|key| self.logs.lock().recovery_points.get(&key).copied()).unwrap_or(0)
    }

    /// The log start that the checkpoint on disk has for the log.
    pub(crate) fn checkpointed_start(&self, name: &str) -> Option<i64> {
        let (topic, partition) = names::parse_folder(name)?;
        self.logs.lock().log_starts.get(&(topic.to_owned(), partition)).copied()
    }

    /// The log could not be opened.
    pub(crate) fn not_opened(&self, name: &str) {
        self.logs.lock().failed.insert(name.into());
    }

    pub(crate) fn register(&self, durability: &Arc<Durability>) {
        let mut logs = self.logs.lock();
        if let Some((topic, partition)) = names::parse_folder(durability.name()) {
            logs.gone.remove(&(topic.to_owned(), partition));
        }
        logs.failed.remove(durability.name());
        logs.open.insert(durability.name().into(), durability.clone());
    }

    /// The log is deleted: the next checkpoints know it no more.
    pub(crate) fn unregister(&self, name: &str) {
        let mut logs = self.logs.lock();
        logs.open.remove(name);
        logs.forget(name, self.clean_stop.as_ref());
        if let Some((topic, partition)) = names::parse_folder(name) {
            logs.gone.insert((topic.to_owned(), partition));
        }
        self.forget_noted(name);
    }

    fn forget_noted(&self, name: &str) {
        self.compacted.forget(name);
        self.high_watermarks.forget(name);
    }

    /// A log is created under this name. If the checkpoints know another one of that name they are written
    /// again first, or a crash would have the new log judged by what the old one had.
    pub(crate) fn forget_predecessor(&self, name: &str) -> Result<(), Error> {
        let Some((topic, partition)) = names::parse_folder(name) else { return Ok(()) };
        let key = (topic.to_owned(), partition);
        let mut logs = self.logs.lock();
        logs.forget(name, self.clean_stop.as_ref());
        let is_known = logs.recovery_points.contains_key(&key) || logs.log_starts.contains_key(&key);
        let is_noted =
            [&self.compacted, &self.high_watermarks].iter().any(|file| file.offset(name).is_some());
        if !is_known && !is_noted {
            return Ok(());
        }
        if logs.gone.insert(key) {
            tracing::warn!(log = name, "checkpoints know a log whose folder is gone");
        }
        logs.open.remove(name);
        drop(logs);
        self.forget_noted(name);
        self.high_watermarks.write(&self.disk)?;
        self.checkpoint()
    }

    pub(crate) fn entries(&self) -> Result<Vec<String>, Error> {
        let entries = self.disk.done("list", &self.disk.path, self.disk.files.list(&self.disk.path))?;
        Ok(entries.into_iter().filter(|entry| entry.is_directory).map(|entry| entry.name).collect())
    }

    fn write_offsets(&self, name: &str, offsets: &Offsets) -> Result<(), Error> {
        let path = self.disk.path.join(name);
        let entries =
            offsets.iter().map(|((topic, partition), offset)| (topic.as_str(), *partition, *offset));
        self.disk.done("write", &path, checkpoint::write_offsets(&*self.disk.files, &path, entries))
    }
}

impl Logs {
    /// Whether the log was closed in order, or was not opened since it was.
    fn is_closed(&self, name: &str, last_stop: Option<&CleanStop>) -> bool {
        match self.open.get(name) {
            _ if self.failed.contains(name) => false,
            Some(durability) => durability.closed_cleanly().is_some(),
            None => self.stop_of(name, last_stop).is_some_and(|stop| stop.vouches_for(name)),
        }
    }

    /// How much there is of a log, if it cannot change before the next start. Also of one that was not opened because
    /// something of it is missing: it stays so.
    fn extent(&self, name: &str, last_stop: Option<&CleanStop>) -> Option<Extent> {
        match self.open.get(name) {
            Some(durability) => durability.closed_cleanly(),
            None => self.stop_of(name, last_stop)?.extent(name),
        }
    }

    /// From now on the last stop says nothing of this log. Noted only where it does: names come and go.
    fn forget(&mut self, name: &str, last_stop: Option<&CleanStop>) {
        if last_stop.is_some_and(|stop| stop.vouches_for(name) || stop.extent(name).is_some()) {
            self.forgotten.insert(name.into());
        }
    }

    /// The last clean stop, if it knew this log.
    fn stop_of<'a>(&self, name: &str, last_stop: Option<&'a CleanStop>) -> Option<&'a CleanStop> {
        last_stop.filter(|_| !self.forgotten.contains(name))
    }

    /// What to write. From now on a crash may leave it, so a log that is created under one of these names has a
    /// predecessor.
    fn begin_checkpoint(&mut self) -> (Offsets, Offsets, BTreeSet<(String, i32)>) {
        let (recovery_points, log_starts, gone) = self.offsets();
        for (key, offset) in &recovery_points {
            if !self.recovery_points.contains_key(key) {
                self.recovery_points.insert(key.clone(), *offset);
            }
        }
        (recovery_points, log_starts, gone)
    }

    /// What to write: what the files say, overridden by the logs that are open; and what that leaves out.
    fn offsets(&self) -> (Offsets, Offsets, BTreeSet<(String, i32)>) {
        let (mut recovery_points, mut log_starts) = (self.recovery_points.clone(), self.log_starts.clone());
        for key in &self.gone {
            recovery_points.remove(key);
            log_starts.remove(key);
        }
        for (name, durability) in &self.open {
            let Some((topic, partition)) = names::parse_folder(name) else { continue };
            let key = (topic.to_owned(), partition);
            // First, or a log that is emptied meanwhile would have its new recovery point and its old start.
            recovery_points.insert(key.clone(), durability.checkpointing());
            // Also 0: that a first segment is missing is told by it.
            log_starts.insert(key, durability.log_start_offset());
        }
        (recovery_points, log_starts, self.gone.clone())
    }
}

fn read_offsets(disk: &Disk, name: &str) -> Result<Offsets, Error> {
    let path = disk.path.join(name);
    match checkpoint::read_offsets(&*disk.files, &path) {
        Ok(offsets) => Ok(offsets),
        Err(checkpoint::Error::Io { source, .. }) => Err(disk.failed("read", &path, &source)),
        // Without recovery points everything is checked, without log starts records come back that were
        // deleted. Both are better than not starting, but a person should know.
        Err(error @ checkpoint::Error::Damaged { .. }) => {
            tracing::error!(path = %path.display(), %error, "checkpoint is damaged and not used");
            Ok(Offsets::new())
        }
    }
}

pub(crate) fn read_text(disk: &Disk, path: &Path) -> Result<Option<String>, Error> {
    match files::read_file(&*disk.files, path, PROPERTIES_SIZE_MAX) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Error::Unreadable { file: path.to_owned(), reason: error.to_string() })
        }
        Err(error) => Err(disk.failed("read", path, &error)),
    }
}

#[cfg(test)]
#[path = "directory_test.rs"]
mod tests;
