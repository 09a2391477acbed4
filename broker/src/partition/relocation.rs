//! A partition whose replica is being moved to another directory of this broker: what its lock protects of that.
//!
//! The [`mover`](super::mover) owns the copy, Kafka's future replica. Here it asks what comes next, and here the copy
//! takes the log's place: under the lock, so that nothing is appended in between, and for no longer than it takes to copy
//! a last bit, sync a directory and rename two folders. Offsets, and so whoever waits for one, stay as they are.
//!
//! While a replica is being moved its log is not compacted: a tombstone could go from the log before it was copied, and
//! what it deleted would be back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use milena_log::relocation::NotReplaced;
use milena_log::{Config, Directory, Error, Log, ReadError, Slice};
use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use milena_state::partition::follower::{self, DivergingEpoch, EpochStart, Restart};
use milena_state::partition::relocation::{self, Step, Wish};

use super::identities::id_of;
use super::lock::Locked;
use super::partition::{Inner, Partition};
use super::read::Missing;

/// Bytes that one step copies at most, beside a larger batch. A step holds neither lock nor thread for longer.
const COPY_BYTES_MAX: usize = 1 << 20;

/// Bytes that may be copied under the lock, at the end of a move.
const LAST_BYTES_MAX: usize = 128 << 10;

/// A replica's copy in another directory, as others see it.
#[derive(Debug)]
pub struct FutureReplica {
    directory: Arc<Directory>,
    folder: String,
    log_end_offset: AtomicI64,
    size_bytes: AtomicU64,
    is_cancelled: AtomicBool,
    /// It has, or may have, the mark of a complete copy.
    is_marked: AtomicBool,
    /// Its folder is gone for good.
    is_gone: AtomicBool,
}

/// How a move ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The replica is not to be moved there any more: the copy goes.
    Cancelled,
    /// The partition is closed, or offline: the next start goes on.
    Closed,
    /// Something is not as it was a moment ago, or descriptors are short.
    Again(String),
    /// The copy's directory failed, or the copy is no good.
    Failed(Error),
}

/// What the copy needs next.
pub(super) struct Look {
    pub step: Step,
    /// What to copy.
    pub found: Option<Slice>,
    /// What has to be brought into memory first.
    pub missing: Option<Missing>,
    pub log_start_offset: i64,
    pub config: Arc<Config>,
}

/// What became of a copy that was to take its log's place.
pub(super) enum Placed {
    /// It has. The directory of before, and the name there of the folder that is to be deleted.
    Yes { from: Arc<Directory>, folder: String, delay_ms: i64 },
    /// There is more to copy.
    Behind(Box<Log>),
    /// Less of it is on disk than of the log, or its mark says another start.
    Unsynced(Box<Log>),
    /// It has not; the copy is gone with the attempt if the error is about storage.
    No(Option<Box<Log>>, Stop),
}

impl FutureReplica {
    pub(super) fn new(directory: Arc<Directory>, folder: String) -> Arc<Self> {
        Arc::new(Self {
            directory,
            folder,
            log_end_offset: AtomicI64::new(0),
            size_bytes: AtomicU64::new(0),
            is_cancelled: AtomicBool::new(false),
            is_marked: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
        })
    }

    /// Where it is copied to.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset.load(Ordering::Acquire)
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Relaxed)
    }

    /// Nobody wants it any more.
    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// From now on a start that finds no log may take it for one.
    pub(super) fn marked(&self) {
        self.is_marked.store(true, Ordering::Release);
    }

    pub(super) fn gone(&self) {
        self.is_gone.store(true, Ordering::Release);
    }

    /// Whether a start might take it for the log, though it is not wanted.
    fn is_in_the_way(&self) -> bool {
        self.is_marked.load(Ordering::Acquire) && !self.is_gone.load(Ordering::Acquire)
    }

    pub(super) fn show(&self, log: &Log) {
        self.size_bytes.store(log.size_bytes(), Ordering::Relaxed);
        self.log_end_offset.store(log.log_end_offset(), Ordering::Release);
    }
}

impl Partition {
    /// The copy that is to take the log's place.
    pub fn future_replica(&self) -> Option<Arc<FutureReplica>> {
        self.lock().future.clone()
    }

    /// Has the replica move to `target`, or stay when it is there. What is to be copied, when that is new.
    ///
    /// Errors: NOT_LEADER_OR_FOLLOWER when it is closed, KAFKA_STORAGE_ERROR when it is offline.
    pub(crate) fn relocate(&self, target: &Arc<Directory>) -> Result<Option<Arc<FutureReplica>>, ErrorCode> {
        let mut inner = self.lock();
        if self.is_offline() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let Some(log) = &inner.log else { return Err(ErrorCode::NotLeaderOrFollower) };
        let future = inner.future.as_ref().map(|future| id_of(&future.directory));
        match relocation::wish(id_of(log.directory()), future, id_of(target)) {
            Wish::Granted => Ok(None),
            Wish::Stay => {
                inner.end_move();
                Ok(None)
            }
            Wish::Move => {
                let unique = uuid::Uuid::new_v4().simple().to_string();
                let folder = milena_log::relocation::future_folder(log.name(), &unique);
                let future = FutureReplica::new(Arc::clone(target), folder);
                inner.begin(&future);
                Ok(Some(future))
            }
        }
    }

    /// Goes on with a move that an earlier process left.
    pub(super) fn resume(&self, future: &Arc<FutureReplica>) {
        self.lock().begin(future);
    }

    /// The replica stays where it is: whoever fills the copy finds that out, and removes it.
    pub(crate) fn stay(&self) {
        self.lock().end_move();
    }

    /// The copy cannot be filled.
    pub(super) fn give_up(&self, future: &Arc<FutureReplica>) {
        let mut inner = self.lock();
        if inner.moves_to(future) {
            inner.end_move();
        }
    }

    /// What the copy is to be opened with.
    pub(super) fn copy_config(&self, future: &Arc<FutureReplica>) -> Result<Arc<Config>, Stop> {
        let inner = self.moving(future)?;
        inner.log.as_ref().map(|log| Arc::clone(log.config())).ok_or(Stop::Closed)
    }

    /// What a copy with these ends needs. `cut_to` is lowered to what the log was cut to since.
    pub(super) fn look(
        &self,
        future: &Arc<FutureReplica>,
        copy: (i64, i64),
        cut_to: &mut i64,
    ) -> Result<Look, Stop> {
        let mut inner = self.moving(future)?;
        *cut_to = (*cut_to).min(std::mem::replace(&mut inner.cut_to, i64::MAX));
        let Some(log) = &mut inner.log else { return Err(Stop::Closed) };
        let step = relocation::next(copy, ends(log), (*cut_to < i64::MAX).then_some(*cut_to));
        let mut look = Look {
            step,
            found: None,
            missing: None,
            log_start_offset: log.log_start_offset(),
            config: Arc::clone(log.config()),
        };
        let Step::CopyFrom(offset) = step else { return Ok(look) };
        match log.read(reading(log, offset, COPY_BYTES_MAX)) {
            Ok(slice) => look.found = slice,
            Err(ReadError::Cold(cold)) => look.missing = Some(Missing::Bytes(cold)),
            Err(ReadError::NeedsIndex(lookup)) => look.missing = Some(Missing::Index(lookup)),
            Err(ReadError::OutOfRange { .. }) => return Err(Stop::Again("the log begins elsewhere".into())),
            Err(ReadError::Storage(error)) if error.is_retriable() => {
                return Err(Stop::Again(error.to_string()));
            }
            Err(ReadError::Storage(error)) => {
                self.storage_failed(&error);
                return Err(Stop::Closed);
            }
        }
        Ok(look)
    }

    /// Where a copy that an earlier process left has to be cut, or begun anew.
    pub(super) fn rejoin(&self, future: &Arc<FutureReplica>, copy: &Log) -> Result<Option<Restart>, Stop> {
        let inner = self.moving(future)?;
        let Some(log) = &inner.log else { return Err(Stop::Closed) };
        let history: Vec<EpochStart> = copy
            .epochs()
            .iter()
            .map(|entry| EpochStart { epoch: entry.epoch, start_offset: entry.start_offset })
            .collect();
        let last_epoch = copy.epoch_at(copy.log_end_offset() - 1);
        let ours = last_epoch.and_then(|epoch| log.end_offset_for_epoch(epoch));
        let ours = ours.map(|ours| DivergingEpoch { epoch: ours.epoch, end_offset: ours.end_offset });
        Ok(relocation::rejoin(&history, (ends(copy), last_epoch), ends(log), ours))
    }

    /// The copy is marked from now on. The directory that it is a copy from.
    pub(super) fn begin_marking(&self, future: &Arc<FutureReplica>) -> Result<Uuid, Stop> {
        let inner = self.moving(future)?;
        future.marked();
        inner.log.as_ref().map(|log| id_of(log.directory())).ok_or(Stop::Closed)
    }

    /// The complete copy, whose mark says that the log starts at `marked_start`, takes the log's place, if it has all of
    /// it. `may_sync`: what is not on disk is synced here.
    pub(super) fn take_place(
        &self,
        future: &Arc<FutureReplica>,
        mut copy: Box<Log>,
        (marked_start, may_sync): (i64, bool),
        now_ms: i64,
    ) -> Placed {
        let mut inner = match self.moving(future) {
            Ok(inner) => inner,
            Err(stop) => return Placed::No(Some(copy), stop),
        };
        if inner.cut_to != i64::MAX {
            return Placed::Behind(copy);
        }
        inner.leaving.retain(|earlier| earlier.is_in_the_way());
        if !inner.leaving.is_empty() {
            let reason = "an earlier copy is not removed yet".to_owned();
            return Placed::No(Some(copy), Stop::Again(reason));
        }
        let Some(log) = &mut inner.log else { return Placed::No(Some(copy), Stop::Closed) };
        if let Err(stop) = copy_last(log, &mut copy, now_ms) {
            return Placed::No(Some(copy), stop);
        }
        if ends(&copy).1 != ends(log).1 {
            return Placed::Behind(copy);
        }
        copy.set_log_start_offset(log.log_start_offset());
        if ends(&copy) != ends(log) {
            return Placed::No(Some(copy), Stop::Again("the copy starts elsewhere".to_owned()));
        }
        let is_marked = marked_start == log.log_start_offset();
        if !is_marked || copy.durable_offset() < log.durable_offset() {
            if !may_sync {
                return Placed::Unsynced(copy);
            }
            if let Err(error) = sync_last(log, &mut copy, (future, is_marked)) {
                return Placed::No(Some(copy), failed(error));
            }
        }
        self.replace(inner, *copy)
    }

    fn replace(&self, mut inner: Locked<'_>, copy: Log) -> Placed {
        let Some(log) = inner.log.take() else { return Placed::No(Some(Box::new(copy)), Stop::Closed) };
        let (from, delay_ms) = (Arc::clone(log.directory()), log.config().file_delete_delay_ms);
        let unique = uuid::Uuid::new_v4().simple().to_string();
        match copy.replace(log, &unique) {
            Ok((log, folder)) => {
                let target = Arc::clone(log.directory());
                inner.log = Some(log);
                inner.future = None;
                // Its new directory knows nothing of it yet.
                inner.noted_high_watermark = -1;
                self.set_directory(&target);
                self.note_high_watermark(&mut inner);
                drop(inner);
                // It failed before anybody knew that this partition is there.
                if target.offline_reason().is_some() {
                    self.fail();
                }
                self.request_sync_when_durable();
                Placed::Yes { from, folder, delay_ms }
            }
            Err(NotReplaced::Kept(log, error)) => {
                inner.log = Some(*log);
                drop(inner);
                if from.offline_reason().is_none() {
                    return Placed::No(None, failed(error));
                }
                // The copy stays: it may be all that is left.
                self.fail();
                Placed::No(None, Stop::Closed)
            }
            Err(NotReplaced::Lost(error)) => {
                drop(inner);
                tracing::error!(
                    topic = %self.topic(), partition = self.index(), %error,
                    "a move between directories was interrupted; the partition is offline until the next start"
                );
                self.fail();
                Placed::No(None, Stop::Closed)
            }
        }
    }

    /// The lock, while the replica is being moved with this copy.
    fn moving(&self, future: &Arc<FutureReplica>) -> Result<Locked<'_>, Stop> {
        let inner = self.lock();
        match () {
            () if !inner.moves_to(future) => Err(Stop::Cancelled),
            () if inner.log.is_none() || self.is_offline() => Err(Stop::Closed),
            () => Ok(inner),
        }
    }
}

impl Inner {
    fn begin(&mut self, future: &Arc<FutureReplica>) {
        self.end_move();
        self.future = Some(Arc::clone(future));
        self.cut_to = i64::MAX;
        if let Some(log) = &mut self.log {
            log.end_compaction();
        }
    }

    fn end_move(&mut self) {
        if let Some(future) = self.future.take() {
            future.is_cancelled.store(true, Ordering::Release);
            self.leaving.retain(|earlier| earlier.is_in_the_way());
            self.leaving.push(future);
        }
    }

    fn moves_to(&self, future: &Arc<FutureReplica>) -> bool {
        self.future.as_ref().is_some_and(|own| Arc::ptr_eq(own, future))
    }

    /// The log was cut, and ends there now.
    pub(super) fn was_cut(&mut self) {
        if let (Some(log), Some(_)) = (&self.log, &self.future) {
            self.cut_to = self.cut_to.min(log.log_end_offset());
        }
    }
}

/// Copies what little the copy still lacks.
fn copy_last(log: &mut Log, copy: &mut Log, now_ms: i64) -> Result<(), Stop> {
    let offset = copy.log_end_offset();
    if offset >= log.log_end_offset() || offset < log.log_start_offset() {
        return Ok(());
    }
    let read = milena_log::Read { min_one_batch: false, ..reading(log, offset, LAST_BYTES_MAX) };
    // Anything else is found, and met, without the lock.
    let Ok(Some(slice)) = log.read(read) else { return Ok(()) };
    let Ok(bytes) = slice.read() else { return Ok(()) };
    append(copy, &bytes, now_ms).map(|_| ())
}

/// Makes durable what is not, the mark included.
fn sync_last(log: &Log, copy: &mut Log, (future, is_marked): (&FutureReplica, bool)) -> Result<(), Error> {
    copy.sync()?;
    if is_marked {
        return Ok(());
    }
    future.directory.mark_complete(&future.folder, id_of(log.directory()), log.log_start_offset())
}

/// Puts the whole ones of these batches behind the copy; says how many bytes that were.
pub(super) fn append(copy: &mut Log, bytes: &[u8], now_ms: i64) -> Result<usize, Stop> {
    let again = |reason: &dyn std::fmt::Display| Stop::Again(reason.to_string());
    let whole = follower::whole_batches(bytes, i32::MAX).map_err(|unfit| again(&unfit))?;
    match copy.append(whole, milena_log::AppendAs::Replica, now_ms) {
        Ok(_) => Ok(whole.len()),
        Err(milena_log::AppendError::Storage(error)) => Err(failed(error)),
        // What was read may have been cut, and be something else by now.
        Err(error) => Err(again(&error)),
    }
}

fn reading(log: &Log, from_offset: i64, max_bytes: usize) -> milena_log::Read {
    milena_log::Read {
        from_offset,
        upto_offset: log.log_end_offset(),
        max_bytes,
        min_one_batch: true,
        hot_only: true,
    }
}

/// What a failure of the copy's files means.
pub(super) fn failed(error: Error) -> Stop {
    if error.is_retriable() { Stop::Again(error.to_string()) } else { Stop::Failed(error) }
}

pub(super) fn ends(log: &Log) -> (i64, i64) {
    (log.log_start_offset(), log.log_end_offset())
}
