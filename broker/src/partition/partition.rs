//! One partition of this broker: its log, its rules, its settings, and the numbers that others wait for.
//!
//! The lock is taken by whichever thread holds the request, for the time of one append or lookup, never across an
//! await and never together with another. Batches are validated before it is taken, files are sent after it is
//! released, waiters are woken after it is released.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use milena_log::{Config, Directory, Log};
use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use milena_state::config::topic::{Flush, Settings};
use milena_state::metadata::Partition as Assigned;
use milena_state::partition::leader::{Effects, Leader, LogEnds, Rules, check_leader_epoch};
use parking_lot::Mutex;

use super::lock::Locked;
use super::operations::{AppendError, Extent, ReadError, storage_code};
use super::watermark::{Interrupted, Watermark};

/// A partition with its replica on this broker.
pub struct Partition {
    /// For the flusher's callback, which must not keep a deleted partition alive.
    this: Weak<Partition>,
    topic: Arc<str>,
    topic_id: Uuid,
    index: i32,
    pub(super) directory: Arc<Directory>,
    high_watermark: Watermark,
    log_end: Watermark,
    last_stable: Watermark,
    /// Below this the log is synced; kept up to date in durable mode only.
    synced: Watermark,
    log_start: AtomicI64,
    /// The directory failed: clients get KAFKA_STORAGE_ERROR until the next start. Not under the lock, because the
    /// failure may be found by someone who holds it.
    is_offline: AtomicBool,
    settings: ArcSwap<Settings>,
    inner: Mutex<Inner>,
}

/// What the lock protects.
pub(super) struct Inner {
    /// `None` after the partition was closed or deleted.
    pub log: Option<Log>,
    pub role: Role,
    /// Records since the last forced sync (`flush.messages`) and when the oldest of them came (`flush.ms`).
    pub unsynced_records: i64,
    pub unsynced_since_ms: Option<i64>,
}

/// What this broker is to the partition. Leaders are boxed: the table has room for many that idle as followers.
pub(super) enum Role {
    Leader(Box<Leader>),
    /// Another broker leads, or none does.
    Follower {
        leader_epoch: i32,
    },
}

/// What a broker must know about itself to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Myself {
    pub broker_id: i32,
    pub broker_epoch: i64,
    pub replica_lag_time_max_ms: i64,
}

/// Numbers to tell the waiters after the lock was released.
#[must_use]
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    pub log_end: i64,
    pub high_watermark: i64,
    pub last_stable: i64,
}

impl Partition {
    pub(super) fn new(
        topic: Arc<str>,
        topic_id: Uuid,
        index: i32,
        directory: Arc<Directory>,
        log: Log,
        settings: Arc<Settings>,
    ) -> Arc<Self> {
        let (log_start, log_end) = (log.log_start_offset(), log.log_end_offset());
        let inner = Inner {
            log: Some(log),
            role: Role::Follower { leader_epoch: -1 },
            unsynced_records: 0,
            unsynced_since_ms: None,
        };
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            topic,
            topic_id,
            index,
            directory,
            high_watermark: Watermark::new(log_start),
            log_end: Watermark::new(log_end),
            last_stable: Watermark::new(log_start),
            synced: Watermark::new(log_start),
            log_start: AtomicI64::new(log_start),
            is_offline: AtomicBool::new(false),
            settings: ArcSwap::new(settings),
            inner: Mutex::new(inner),
        })
    }

    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    pub fn index(&self) -> i32 {
        self.index
    }

    /// Records below this offset are on every in-sync replica. Wait on it for consumer polls.
    pub fn high_watermark(&self) -> &Watermark {
        &self.high_watermark
    }

    /// The next offset to be written.
    pub fn log_end_offset(&self) -> &Watermark {
        &self.log_end
    }

    /// No open transaction begins below this offset, and all below it is committed.
    pub fn last_stable_offset(&self) -> &Watermark {
        &self.last_stable
    }

    pub fn log_start_offset(&self) -> i64 {
        self.log_start.load(Ordering::Acquire)
    }

    /// Where the log begins and ends and what it weighs; `None` once it is closed.
    pub fn extent(&self) -> Option<Extent> {
        let inner = self.lock();
        let log = inner.log.as_ref()?;
        Some(Extent {
            log_start_offset: log.log_start_offset(),
            log_end_offset: log.log_end_offset(),
            size_bytes: log.size_bytes(),
            segments_count: log.segments_count(),
        })
    }

    pub fn size_bytes(&self) -> u64 {
        self.extent().map_or(0, |extent| extent.size_bytes)
    }

    /// Typed settings of the topic as of now (limits, timestamp type, compression).
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// The epoch under which this broker leads the partition, or the error that a client must get.
    pub fn leader_epoch(&self) -> Result<i32, ErrorCode> {
        match &self.lock().role {
            Role::Leader(leader) => Ok(leader.leader_epoch()),
            Role::Follower { .. } => Err(ErrorCode::NotLeaderOrFollower),
        }
    }

    /// The log directory that holds it.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        Locked::new(self, self.inner.lock())
    }

    /// Waits until an append that ends before `required_offset` may be acknowledged: with acks=all when every in-sync replica has it, with acks=1 at
    /// once, or when it is on disk where the topic promises that. Combine with the request's timeout.
    ///
    /// Errors: NOT_ENOUGH_REPLICAS_AFTER_APPEND, NOT_LEADER_OR_FOLLOWER when the partition moved or was deleted
    /// meanwhile, KAFKA_STORAGE_ERROR when its directory failed.
    pub async fn acknowledged(&self, required_offset: i64, acks_all: bool) -> Result<(), ErrorCode> {
        if acks_all {
            self.high_watermark.reached(required_offset).await.map_err(|gone| self.interrupted(gone))?;
            return match &self.lock().role {
                Role::Leader(leader) => leader.acks_all_outcome(required_offset).unwrap_or(Ok(())),
                Role::Follower { .. } => Err(ErrorCode::NotLeaderOrFollower),
            };
        }
        if self.is_durable() {
            self.synced.reached(required_offset).await.map_err(|gone| self.interrupted(gone))?;
        }
        Ok(())
    }

    fn interrupted(&self, _: Interrupted) -> ErrorCode {
        if self.is_offline() { ErrorCode::KafkaStorageError } else { ErrorCode::NotLeaderOrFollower }
    }

    /// Takes what the image says about this partition: leads it, stops leading it, or notes a changed ISR.
    pub(crate) fn assign(&self, assigned: &Assigned, myself: Myself, now_ms: i64) {
        let settings = self.settings.load_full();
        let mut inner = self.lock();
        let Inner { log: Some(log), role, .. } = &mut *inner else { return };
        if assigned.leader != Some(myself.broker_id) {
            let led = matches!(role, Role::Leader(_));
            *role = Role::Follower { leader_epoch: assigned.leader_epoch };
            drop(inner);
            if led {
                self.interrupt();
            }
            return;
        }
        let effects = match role {
            Role::Leader(leader) if leader.leader_epoch() == assigned.leader_epoch => {
                leader.image_changed(assigned, now_ms)
            }
            Role::Leader(_) | Role::Follower { .. } => {
                let (leader, effects) =
                    lead(log, assigned, myself, rules(&settings, myself), &self.high_watermark, now_ms);
                *role = Role::Leader(Box::new(leader));
                effects
            }
        };
        let marks = inner.settle(effects);
        drop(inner);
        self.tell(marks);
        // What was recovered is not known to be synced, and counts only when it is.
        self.request_sync_when_durable();
    }

    /// Takes new settings of the topic; they hold from the next append on.
    pub(crate) fn configure(&self, settings: &Arc<Settings>, log: &Arc<Config>, myself: Myself, now_ms: i64) {
        self.settings.store(Arc::clone(settings));
        let mut inner = self.lock();
        if let Some(own) = &mut inner.log {
            own.take_config(Arc::clone(log));
        }
        let effects = match &mut inner.role {
            Role::Leader(leader) => leader.set_rules(rules(settings, myself), now_ms),
            Role::Follower { .. } => return,
        };
        let marks = inner.settle(effects);
        drop(inner);
        self.tell(marks);
        // What was written before the topic became durable has nobody else to ask for its sync.
        self.request_sync_when_durable();
    }

    /// The log is synced below `offset`.
    fn synced(&self, offset: i64, now_ms: i64) {
        self.synced.advance(offset);
        let mut inner = self.lock();
        let Role::Leader(leader) = &mut inner.role else { return };
        let effects = leader.synced(offset, now_ms);
        let marks = inner.settle(effects);
        drop(inner);
        self.tell(marks);
    }

    pub(super) fn flush_messages(&self) -> i64 {
        self.settings.load().flush_messages
    }

    /// Whether the topic promises that acknowledged records are on disk.
    pub fn is_durable(&self) -> bool {
        self.settings.load().flush == Flush::Durable
    }

    /// In durable mode, asks the directory's flusher for a sync and moves the watermark when it is done.
    pub(super) fn request_sync_when_durable(&self) {
        if !self.is_durable() {
            return;
        }
        let Some(durability) = self.lock().log.as_ref().map(|log| Arc::clone(log.durability())) else {
            return;
        };
        let this = Weak::clone(&self.this);
        let done = move |outcome: Result<i64, milena_log::Error>| {
            let Some(partition) = this.upgrade() else { return };
            match outcome {
                Ok(offset) => partition.synced(offset, crate::broker::now_ms()),
                // The flusher repeats these; this one is of its end. The bytes are still to be synced.
                Err(error) if error.is_retriable() => {}
                // The failure has been logged; what was promised to those who wait cannot be kept any more.
                Err(_) => partition.fail(),
            }
        };
        self.directory.request_sync(&durability, Some(Box::new(done)));
    }

    /// Tells the waiters; the lock must not be held.
    pub(super) fn tell(&self, marks: Option<Marks>) {
        if let Some(marks) = marks {
            self.log_end.advance(marks.log_end);
            self.high_watermark.advance(marks.high_watermark);
            self.last_stable.advance(marks.last_stable);
        }
    }

    pub(super) fn set_log_start(&self, offset: i64) {
        self.log_start.fetch_max(offset, Ordering::AcqRel);
    }

    /// Sends current waiters away: they look again and get the error that holds now.
    fn interrupt(&self) {
        for watermark in [&self.log_end, &self.high_watermark, &self.last_stable, &self.synced] {
            watermark.interrupt();
        }
    }

    pub fn is_offline(&self) -> bool {
        self.is_offline.load(Ordering::Acquire)
    }

    /// The directory of this partition failed: nobody waits here any more, nor is it found.
    pub(crate) fn fail(&self) {
        self.is_offline.store(true, Ordering::Release);
        self.close_watermarks();
    }

    fn close_watermarks(&self) {
        for watermark in [&self.log_end, &self.high_watermark, &self.last_stable, &self.synced] {
            watermark.close();
        }
    }

    /// Takes the log out for closing or deletion; nothing can be appended or read afterwards, nobody waits.
    pub(crate) fn take_log(&self) -> Option<Log> {
        let log = self.lock().log.take();
        self.close_watermarks();
        log
    }
}

impl Inner {
    /// The log and the leader's rules, or what a client is told when one is missing.
    pub fn leading(&mut self) -> Result<(&mut Log, &mut Leader), ErrorCode> {
        match (&mut self.log, &mut self.role) {
            (Some(log), Role::Leader(leader)) => Ok((log, leader)),
            _ => Err(ErrorCode::NotLeaderOrFollower),
        }
    }

    /// As [`leading`](Self::leading), after comparing the leader epoch that the client believes in (−1: it does not
    /// say): a client whose epoch is wrong learns that first (KIP-320).
    pub fn leading_in(&mut self, current_leader_epoch: i32) -> Result<(&mut Log, &mut Leader), ErrorCode> {
        let ours = match &self.role {
            Role::Leader(leader) => leader.leader_epoch(),
            Role::Follower { leader_epoch } => *leader_epoch,
        };
        check_leader_epoch(ours, current_leader_epoch)?;
        self.leading()
    }

    /// Carries effects out that need the log, and says what to tell the waiters.
    pub fn settle(&mut self, effects: Effects) -> Option<Marks> {
        let Ok((log, leader)) = self.leading() else { return None };
        if let Some(high_watermark) = effects.advance_high_watermark {
            log.high_watermark_reached(high_watermark);
        }
        if let Some(proposal) = effects.propose_isr {
            // With one replica the rules never propose; clusters add the sender of AlterPartition.
            tracing::error!(log = log.name(), ?proposal, "ISR change cannot be sent");
        }
        let high_watermark = leader.high_watermark();
        let last_stable = log.last_stable_offset().min(high_watermark);
        Some(Marks { log_end: log.log_end_offset(), high_watermark, last_stable })
    }
}

fn lead(
    log: &mut Log,
    assigned: &Assigned,
    myself: Myself,
    rules: Rules,
    high_watermark: &Watermark,
    now_ms: i64,
) -> (Leader, Effects) {
    log.assign_epoch_start(assigned.leader_epoch);
    let ends = LogEnds {
        log_start_offset: log.log_start_offset(),
        log_end_offset: log.log_end_offset(),
        synced_offset: log.durable_offset(),
        high_watermark: high_watermark.get(),
    };
    Leader::new(myself.broker_id, myself.broker_epoch, assigned, ends, rules, now_ms)
}

fn rules(settings: &Settings, myself: Myself) -> Rules {
    Rules {
        min_insync_replicas: settings.min_insync_replicas,
        durable: settings.flush == Flush::Durable,
        replica_lag_time_max_ms: myself.replica_lag_time_max_ms,
    }
}

/// What a client is told about a failure of files during an append or a lookup.
pub(super) fn storage_error(error: &milena_log::Error) -> ReadError {
    ReadError::Code(storage_code(error))
}

impl From<ErrorCode> for AppendError {
    fn from(code: ErrorCode) -> Self {
        AppendError::new(code, code.name())
    }
}
