//! How much of one log is on disk for certain, and what has to be synced to move that on.
//!
//! Shared between a [`crate::Log`], which appends, and its directory's flusher, which syncs without holding
//! the log's lock: the log says what is dirty, the flusher takes that as one unit and reports back.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::extent::Extent;
use crate::files::File;
use crate::flusher::Flusher;

/// The durable side of one log.
#[derive(Debug)]
pub struct Durability {
    name: Box<str>,
    /// Below this everything is on disk. Read without the lock by those who wait for it.
    durable_offset: AtomicI64,
    log_start_offset: AtomicI64,
    /// Recovery point that the checkpoint file holds for this log, or more.
    checkpointed_offset: AtomicI64,
    closed: AtomicBool,
    /// The log was closed with everything synced and complete.
    closed_cleanly: OnceLock<Extent>,
    /// The folder and the name of the log's first segment survive a power loss.
    established: AtomicBool,
    own_flusher: OnceLock<Flusher>,
    dirty: Mutex<Dirty>,
    syncing: Mutex<()>,
}

#[derive(Debug)]
struct Dirty {
    log_end_offset: i64,
    /// Files with unsynced bytes, the active segment last.
    files: SmallVec<[Arc<dyn File>; 1]>,
    /// A name was created, renamed or removed since the partition's directory was last synced.
    directory: bool,
    /// The partition's directory itself is new, and so is its name in the log directory.
    created: bool,
    /// Counts truncations: a sync that began before one must not vouch for what was written after it.
    generation: u64,
}

/// What one sync must cover.
#[derive(Debug)]
pub(crate) struct Work {
    pub files: SmallVec<[Arc<dyn File>; 1]>,
    pub directory: bool,
    pub created: bool,
    log_end_offset: i64,
    generation: u64,
}

impl Dirty {
    fn wrote(&mut self, file: &Arc<dyn File>) {
        // The active segment is the last one, and almost always there already.
        if self.files.last().is_none_or(|last| !Arc::ptr_eq(last, file)) {
            self.files.push(file.clone());
        }
    }
}

impl Durability {
    /// A log that is durable up to `durable_offset`, and that the checkpoint file vouches for up to
    /// `checkpointed_offset`.
    pub(crate) fn new(
        name: &str,
        durable_offset: i64,
        log_start_offset: i64,
        checkpointed_offset: i64,
    ) -> Arc<Self> {
        Arc::new(Durability {
            name: name.into(),
            durable_offset: AtomicI64::new(durable_offset),
            log_start_offset: AtomicI64::new(log_start_offset),
            checkpointed_offset: AtomicI64::new(checkpointed_offset),
            closed: AtomicBool::new(false),
            closed_cleanly: OnceLock::new(),
            established: AtomicBool::new(true),
            own_flusher: OnceLock::new(),
            dirty: Mutex::new(Dirty {
                log_end_offset: durable_offset,
                files: SmallVec::new(),
                directory: false,
                created: false,
                generation: 0,
            }),
            syncing: Mutex::new(()),
        })
    }

    /// The same under another name, with all that waits to be synced. Nothing may be asked of this one any more.
    pub(crate) fn under(&self, name: &str) -> Arc<Durability> {
        let dirty = {
            let mut dirty = self.dirty.lock();
            Dirty {
                log_end_offset: dirty.log_end_offset,
                files: std::mem::take(&mut dirty.files),
                directory: dirty.directory,
                created: dirty.created,
                generation: 0,
            }
        };
        Arc::new(Durability {
            name: name.into(),
            durable_offset: AtomicI64::new(self.durable_offset()),
            log_start_offset: AtomicI64::new(self.log_start_offset()),
            checkpointed_offset: AtomicI64::new(0),
            closed: AtomicBool::new(false),
            closed_cleanly: OnceLock::new(),
            established: AtomicBool::new(self.is_established()),
            own_flusher: OnceLock::new(),
            dirty: Mutex::new(dirty),
            syncing: Mutex::new(()),
        })
    }

    /// Name of the log's folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Below this offset everything survives a power loss.
    pub fn durable_offset(&self) -> i64 {
        self.durable_offset.load(Ordering::Acquire)
    }

    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset.load(Ordering::Acquire)
    }

    pub(crate) fn set_log_start_offset(&self, log_start_offset: i64) {
        self.log_start_offset.store(log_start_offset, Ordering::Release);
    }

    /// The recovery point to write into the checkpoint file now.
    pub(crate) fn checkpointing(&self) -> i64 {
        // Under the lock, as `lowering`: a truncation either sees what is about to be written, or comes first.
        let _dirty = self.dirty.lock();
        let durable_offset = self.durable_offset();
        self.checkpointed_offset.store(durable_offset, Ordering::Release);
        durable_offset
    }

    /// The log is about to be cut at `log_end_offset`. True when the checkpoint file vouches for more, and has
    /// to be written first.
    pub(crate) fn lowering(&self, log_end_offset: i64) -> bool {
        let mut dirty = self.dirty.lock();
        dirty.generation += 1;
        self.durable_offset.fetch_min(log_end_offset, Ordering::AcqRel);
        self.checkpointed_offset.load(Ordering::Acquire) > log_end_offset
    }

    /// Held while the log is synced.
    pub(crate) fn sync_order(&self) -> MutexGuard<'_, ()> {
        self.syncing.lock()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let mut dirty = self.dirty.lock();
        dirty.files.clear();
        (dirty.directory, dirty.created) = (false, false);
    }

    pub(crate) fn close_cleanly(&self, extent: Extent) {
        // A log is closed by value, so once.
        let _ = self.closed_cleanly.set(extent);
    }

    /// How much there was when the log was closed in order; `None` when it was not.
    pub(crate) fn closed_cleanly(&self) -> Option<Extent> {
        self.closed_cleanly.get().copied()
    }

    pub(crate) fn own_flusher(&self) -> Option<&Flusher> {
        self.own_flusher.get()
    }

    /// The first one stays.
    pub(crate) fn set_own_flusher(&self, flusher: Flusher) {
        let _ = self.own_flusher.set(flusher);
    }

    /// As `sync_order`, unless a sync is running.
    pub(crate) fn sync_order_if_idle(&self) -> Option<MutexGuard<'_, ()>> {
        self.syncing.try_lock()
    }

    /// Bytes were written to `file`, the active segment's.
    pub(crate) fn wrote(&self, file: &Arc<dyn File>) {
        self.dirty.lock().wrote(file);
    }

    /// Bytes were written to `file`, the active segment's, and the log ends at `log_end_offset` with them.
    pub(crate) fn appended(&self, file: &Arc<dyn File>, log_end_offset: i64) {
        let mut dirty = self.dirty.lock();
        dirty.wrote(file);
        dirty.log_end_offset = log_end_offset;
    }

    /// A file beside the log (an index, a snapshot) has unsynced bytes.
    pub(crate) fn touched(&self, file: Arc<dyn File>) {
        self.dirty.lock().files.insert(0, file);
    }

    pub(crate) fn renamed(&self) {
        self.dirty.lock().directory = true;
    }

    /// The folder was created with what is in it; the first sync makes it durable. A log without a durable
    /// byte may be lost with its folder, and creating many must not cost a sync each.
    pub(crate) fn created(&self) {
        self.established.store(false, Ordering::Release);
        let mut dirty = self.dirty.lock();
        (dirty.directory, dirty.created) = (true, true);
    }

    pub(crate) fn is_established(&self) -> bool {
        self.established.load(Ordering::Acquire)
    }

    /// The folder and what it held were synced.
    pub(crate) fn establish(&self) {
        self.established.store(true, Ordering::Release);
    }

    /// Names were changed that the last sync did not cover.
    pub(crate) fn has_unsynced_names(&self) -> bool {
        self.dirty.lock().directory
    }

    /// The log was cut and has been synced: it ends at `log_end_offset`, all of it durable.
    pub(crate) fn truncated(&self, log_end_offset: i64) {
        let mut dirty = self.dirty.lock();
        dirty.generation += 1;
        dirty.files.clear();
        dirty.log_end_offset = log_end_offset;
        self.durable_offset.store(log_end_offset, Ordering::Release);
    }

    pub fn is_durable(&self) -> bool {
        self.durable_offset() >= self.dirty.lock().log_end_offset
    }

    /// Takes everything that is dirty now.
    pub(crate) fn take(&self) -> Work {
        let mut dirty = self.dirty.lock();
        Work {
            files: std::mem::take(&mut dirty.files),
            directory: std::mem::take(&mut dirty.directory),
            created: std::mem::take(&mut dirty.created),
            log_end_offset: dirty.log_end_offset,
            generation: dirty.generation,
        }
    }

    /// `work` could not be synced for want of a descriptor: it is still to be done.
    pub(crate) fn put_back(&self, work: Work) {
        if self.is_closed() {
            return;
        }
        let mut dirty = self.dirty.lock();
        // In front: the active segment's file stays the last.
        dirty.files.insert_many(0, work.files);
        dirty.directory |= work.directory;
        dirty.created |= work.created;
    }

    /// All of `work` was synced. Says up to where the log is durable now.
    pub(crate) fn synced(&self, work: &Work) -> i64 {
        // Under the lock, so that a truncation cannot come between the question and the answer.
        let dirty = self.dirty.lock();
        if dirty.generation == work.generation {
            self.durable_offset.fetch_max(work.log_end_offset, Ordering::AcqRel);
        }
        self.durable_offset()
    }
}
