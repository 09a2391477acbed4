//! One partition of this broker: its log, its rules, its settings, and the numbers that others wait for.
//!
//! The lock is taken by whichever thread holds the request, for the time of one append or lookup, never across an
//! await and never together with another. Batches are validated before it is taken, files are sent after it is
//! released, waiters are woken after it is released.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use milena_log::{Config, Directory, Durability, Error, Log};
use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use milena_state::config::topic::{Flush, Settings};
use milena_state::partition::acks::{self, Awaited};
use milena_state::partition::follower::Follower;
use milena_state::partition::isr::ProposeIsr;
use milena_state::partition::leader::{Effects, Leader, check_leader_epoch};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::append::Appended;
use super::lock::Locked;
use super::progress::{Level, Mark, Marks, Progress};
use super::relocation::FutureReplica;
use super::role::{Role, rules};
use super::watermark::Interrupted;
use crate::replication::Proposals;

/// A partition with its replica on this broker.
pub struct Partition {
    /// For the flusher's callback, which must not keep a deleted partition alive.
    this: Weak<Partition>,
    topic: Arc<str>,
    topic_id: Uuid,
    index: i32,
    /// Changes, under the lock, when the replica has moved to another one.
    directory: ArcSwap<Directory>,
    /// What others wait for; replaced, under the lock, when the role changes.
    pub(super) progress: ArcSwap<Progress>,
    log_start: AtomicI64,
    /// The directory failed or the log is damaged: clients get KAFKA_STORAGE_ERROR until the next start. Not under
    /// the lock, because the failure may be found by someone who holds it.
    is_offline: AtomicBool,
    settings: ArcSwap<Settings>,
    /// Where changes of the ISR are asked for; set before the partition may lead others.
    proposals: OnceLock<Arc<Proposals>>,
    /// We lead, and there are other replicas: for those who look at all partitions.
    pub(super) has_followers: AtomicBool,
    inner: Mutex<Inner>,
}

/// What the lock protects.
pub(super) struct Inner {
    /// `None` after the partition was closed or deleted.
    pub log: Option<Log>,
    pub role: Role,
    /// That of the current [`Progress`].
    pub term: u64,
    /// Records since the last forced sync (`flush.messages`) and when the oldest of them came (`flush.ms`).
    pub unsynced_records: i64,
    pub unsynced_since_ms: Option<i64>,
    /// What the log knows of it.
    pub noted_high_watermark: i64,
    /// The copy in another directory that is to take the log's place.
    pub future: Option<Arc<FutureReplica>>,
    /// Copies before it that are to be removed. Marked ones keep it from its place, so that they are few.
    pub leaving: Vec<Arc<FutureReplica>>,
    /// The lowest end of the log since the mover last looked; `i64::MAX` when it was not cut.
    pub cut_to: i64,
}

/// What a broker must know about itself to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Myself {
    pub broker_id: i32,
    pub broker_epoch: i64,
    pub replica_lag_time_max_ms: i64,
}

/// The ends of a partition, for metrics and DescribeLogDirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    pub log_start_offset: i64,
    pub log_end_offset: i64,
    pub size_bytes: u64,
    pub segments_count: usize,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({}-{})", self.topic, self.index)
    }
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
        let log_start = log.log_start_offset();
        let marks = Marks {
            term: 0,
            log_end: log.log_end_offset(),
            high_watermark: log_start,
            last_stable: log_start,
        };
        let noted_high_watermark = log.noted_high_watermark().unwrap_or(-1);
        let inner = Inner {
            log: Some(log),
            role: Role::Follower(Follower::new(-1, log_start, log_start)),
            term: marks.term,
            unsynced_records: 0,
            unsynced_since_ms: None,
            noted_high_watermark,
            future: None,
            leaving: Vec::new(),
            cut_to: i64::MAX,
        };
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            topic,
            topic_id,
            index,
            directory: ArcSwap::new(directory),
            progress: ArcSwap::new(Progress::new(-1, marks, log_start)),
            log_start: AtomicI64::new(log_start),
            is_offline: AtomicBool::new(false),
            settings: ArcSwap::new(settings),
            proposals: OnceLock::new(),
            has_followers: AtomicBool::new(false),
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
    pub fn high_watermark(&self) -> Level {
        self.level(Mark::HighWatermark)
    }

    /// The next offset to be written.
    pub fn log_end_offset(&self) -> Level {
        self.level(Mark::LogEnd)
    }

    /// A number of the current leadership.
    pub(super) fn level(&self, mark: Mark) -> Level {
        Level { progress: self.progress.load_full(), mark }
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
            Role::Follower(_) => Err(ErrorCode::NotLeaderOrFollower),
        }
    }

    /// The log directory that holds it.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// The replica is there from now on; the lock is held.
    pub(super) fn set_directory(&self, directory: &Arc<Directory>) {
        self.directory.store(Arc::clone(directory));
    }

    /// For tests that change or look at the log without what the partition would do besides.
    #[cfg(test)]
    pub(crate) fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        work(self.lock().log.as_mut().expect("the log is open"))
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        Locked::new(self, self.inner.lock())
    }

    /// What an append with `acks` waits for here.
    pub fn awaited(&self, acks: i16) -> Awaited {
        acks::awaited(acks, self.is_durable())
    }

    /// Waits until an append may be acknowledged. Combine with the request's timeout.
    ///
    /// Errors: NOT_ENOUGH_REPLICAS_AFTER_APPEND, NOT_LEADER_OR_FOLLOWER when the partition moved or was deleted
    /// meanwhile, KAFKA_STORAGE_ERROR when its directory failed.
    pub async fn acknowledged(&self, appended: &Appended, awaited: Awaited) -> Result<(), ErrorCode> {
        let mark = match awaited {
            Awaited::HighWatermark => Mark::HighWatermark,
            Awaited::Synced => Mark::Synced,
            Awaited::Nothing => return Ok(()),
        };
        let required_offset = appended.last_offset + 1;
        let level = self.level(mark);
        if level.progress.leader_epoch != appended.leader_epoch {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        level.reached(required_offset).await.map_err(|gone| self.interrupted(gone))?;
        match &self.lock().role {
            Role::Leader(leader) if awaited == Awaited::HighWatermark => {
                leader.acks_all_outcome(required_offset, appended.leader_epoch).unwrap_or(Ok(()))
            }
            Role::Leader(leader) => leader.check_appended_in(appended.leader_epoch),
            Role::Follower(_) => Err(ErrorCode::NotLeaderOrFollower),
        }
    }

    fn interrupted(&self, _: Interrupted) -> ErrorCode {
        if self.is_offline() { ErrorCode::KafkaStorageError } else { ErrorCode::NotLeaderOrFollower }
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
            Role::Follower(_) => return,
        };
        let outcome = inner.settle(effects);
        drop(inner);
        self.tell(outcome);
        // What was written before the topic became durable has nobody else to ask for its sync.
        self.request_sync_when_durable();
    }

    /// A sync ended; it says that the log was synced below `offset` then, and may have been cut since.
    fn synced(&self, offset: i64, now_ms: i64) {
        let mut inner = self.lock();
        let Ok((log, leader)) = inner.leading() else { return };
        let offset = offset.min(log.durable_offset());
        let effects = leader.synced(offset, now_ms);
        let outcome = inner.settle(effects);
        let level = self.level(Mark::Synced);
        drop(inner);
        level.watermark().advance(offset);
        self.tell(outcome);
    }

    pub(super) fn flush_messages(&self) -> i64 {
        self.settings.load().flush_messages
    }

    /// Whether the topic promises that acknowledged records are on disk.
    pub fn is_durable(&self) -> bool {
        self.settings.load().flush == Flush::Durable
    }

    /// Whether this replica is throttled on its leader, broker `broker_id`.
    pub fn is_leader_throttled(&self, broker_id: i32) -> bool {
        self.settings.load().leader_throttled.contains(self.index, broker_id)
    }

    /// Whether this replica is throttled on the broker that follows with it, `broker_id`.
    pub fn is_follower_throttled(&self, broker_id: i32) -> bool {
        self.settings.load().follower_throttled.contains(self.index, broker_id)
    }

    /// Whether a follower gets no records from the leader `broker_id` while that gives more than its rate.
    pub(super) fn withholds(&self, broker_id: i32, is_waited_for: bool) -> bool {
        self.settings.load().leader_throttled.holds(self.index, broker_id, is_waited_for)
    }

    /// In durable mode, asks the directory's flusher for a sync and moves the watermark when it is done.
    pub(super) fn request_sync_when_durable(&self) {
        if !self.is_durable() {
            return;
        }
        let Some((directory, durability)) = self.to_sync() else { return };
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
        directory.request_sync(&durability, Some(Box::new(done)));
    }

    /// What a sync is asked of, and for; both of one log, which may be moved the next moment.
    fn to_sync(&self) -> Option<(Arc<Directory>, Arc<Durability>)> {
        let inner = self.lock();
        let log = inner.log.as_ref()?;
        Some((Arc::clone(log.directory()), Arc::clone(log.durability())))
    }

    /// Asks for a sync of what is here now; the receiver hears of its end, or nothing.
    pub(crate) fn request_sync(&self) -> oneshot::Receiver<()> {
        let (ended, end) = oneshot::channel();
        let Some((directory, durability)) = self.to_sync() else { return end };
        let this = Weak::clone(&self.this);
        let done = move |outcome: Result<i64, Error>| {
            if let (Some(partition), Err(error)) = (this.upgrade(), outcome)
                && !error.is_retriable()
            {
                partition.fail();
            }
            // Who waited may have gone.
            let _ = ended.send(());
        };
        directory.request_sync(&durability, Some(Box::new(done)));
        end
    }

    /// Tells the waiters, and asks for what the rules propose; the lock must not be held.
    pub(super) fn tell(&self, outcome: Option<Outcome>) {
        let Some(Outcome { marks, proposal }) = outcome else { return };
        self.progress.load().tell(marks);
        if let Some(proposal) = proposal {
            self.propose(proposal);
        }
    }

    fn propose(&self, proposal: ProposeIsr) {
        match self.proposals.get() {
            Some(proposals) => proposals.add(&self.this, (self.topic_id, self.index), proposal),
            None => tracing::error!(topic = %self.topic, partition = self.index, "ISR change cannot be sent"),
        }
    }

    pub(super) fn proposals(&self) -> Option<&Proposals> {
        self.proposals.get().map(|proposals| &**proposals)
    }

    /// Where changes of the ISR are asked for from now on; the first one stays.
    pub(crate) fn propose_to(&self, proposals: &Arc<Proposals>) {
        self.proposals.get_or_init(|| Arc::clone(proposals));
    }

    pub(super) fn set_log_start(&self, offset: i64) {
        self.log_start.fetch_max(offset, Ordering::AcqRel);
    }

    /// The log may begin earlier than before: it was begun anew.
    pub(super) fn reset_log_start(&self, offset: i64) {
        self.log_start.store(offset, Ordering::Release);
    }

    pub fn is_offline(&self) -> bool {
        self.is_offline.load(Ordering::SeqCst)
    }

    /// Nobody waits here any more, nor is it found: its directory failed, or its log is damaged.
    pub(crate) fn fail(&self) {
        self.is_offline.store(true, Ordering::SeqCst);
        self.progress.load().close();
    }

    /// What a failure of files means to the partition, and what whoever asked is told. A failed directory was logged
    /// when it failed, and took its partitions along. Damage is logged here, once, and takes this partition offline
    /// alone. The lock may be held.
    pub(super) fn storage_failed(&self, error: &milena_log::Error) -> ErrorCode {
        let is_damage = matches!(error, Error::Damaged { .. } | Error::Unreadable { .. });
        if is_damage && !self.is_offline.swap(true, Ordering::SeqCst) {
            tracing::error!(topic = %self.topic, partition = self.index, %error, "partition goes offline");
            self.fail();
        }
        ErrorCode::KafkaStorageError
    }

    /// Takes the log out for closing or deletion; nothing can be appended or read afterwards, nobody waits.
    pub(crate) fn take_log(&self) -> Option<Log> {
        let mut inner = self.lock();
        self.note_high_watermark(&mut inner);
        let log = inner.log.take();
        drop(inner);
        self.progress.load().close();
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
        check_leader_epoch(self.role.leader_epoch(), current_leader_epoch)?;
        self.leading()
    }

    /// Carries effects out that need the log, and says what is to be told.
    pub fn settle(&mut self, effects: Effects) -> Option<Outcome> {
        let term = self.term;
        let Ok((log, leader)) = self.leading() else { return None };
        if let Some(high_watermark) = effects.advance_high_watermark {
            log.high_watermark_reached(high_watermark);
        }
        let marks = Marks::of(term, log, leader.high_watermark());
        Some(Outcome { marks, proposal: effects.propose_isr })
    }
}

/// What an event leaves to be done after the lock was released.
#[must_use]
pub(super) struct Outcome {
    pub marks: Marks,
    pub proposal: Option<ProposeIsr>,
}
