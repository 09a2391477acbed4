//! Group coordinators: one for each partition of `__consumer_offsets` that this broker leads.
//!
//! The rules are `state::group`; this runs them: it loads a partition when this broker becomes its leader, appends
//! what the machine decides, keeps the timers and hands the answers to the requests that wait.
//!
//! # One short lock, no mailbox
//!
//! A machine stands behind a lock of its own, and the reactor that holds the request does the step itself: decide,
//! append, apply. A mailbox would cost a commit two changes of thread, which is more than the commit (ADR 41). The
//! lock is held over the append because the order of decisions must be that of the log; so the partition's lock is
//! taken under it, always in this order, and nothing that runs under a partition's lock asks a coordinator. Above both
//! is the lock of the board, which whoever begins or ends a coordinator holds; requests never take it. None is
//! held across an await: who waits for the high watermark, or for the other members, waits outside. Answers are sent
//! after the lock is released. Loading does not hold it either: a machine gets its lock when it is complete.
//!
//! What is due later is done by one task per coordinator ([`keeper`]); a member costs an entry among the timers, a
//! waiting request one among the answers, and neither costs a task. Requests that wait are bounded by constants in
//! [`coordinator`], beyond which the answer is COORDINATOR_NOT_AVAILABLE.

mod board;
mod census;
#[allow(
    clippy::module_inception,
    reason = "the module is about coordinators, and this file holds the coordinator itself"
)]
mod coordinator;
mod desk;
mod keeper;
mod loader;
mod timers;
mod topic;
mod writer;

use std::sync::Arc;

use arc_swap::ArcSwap;
use milena_protocol::ErrorCode;
use milena_state::config::broker::Settings;
use milena_state::group::reply::Reply;
use milena_state::group::request::Token;
use milena_state::group::{Command, CommandReply, Event, Groups};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use board::{Board, Slot};
pub use census::Census;
use coordinator::{Answer, Coordinator};
use topic::Maker;

use crate::broker::now_ms;
use crate::controller::Client;
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::partition::Table;

/// The topic that groups are kept in.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Partitions that are loaded at the same time; each holds one piece of its log in memory.
const LOADS_MAX: usize = 4;

/// The group coordinators of this broker. Handlers reach them as `cx.node.groups`.
///
/// Each of the calls fails with NOT_COORDINATOR (another broker leads the group's partition, or there is none yet),
/// COORDINATOR_LOAD_IN_PROGRESS, or COORDINATOR_NOT_AVAILABLE (the commit timeout is over, or too much waits already).
pub struct Coordinators {
    board: ArcSwap<Board>,
    /// Held by whoever changes the board; whether the broker is stopping, after which nobody does.
    board_change: Mutex<bool>,
    partitions: Arc<Table>,
    settings: Arc<Settings>,
    metrics: Arc<Metrics>,
    background: Handle,
    loads: Arc<Semaphore>,
    maker: Maker,
}

impl std::fmt::Debug for Coordinators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Coordinators({})", self.board.load().slots.len())
    }
}

impl Coordinators {
    /// None yet: they come with [`publish`](Self::publish). To be called on the background runtime, where they work.
    pub(crate) fn new(
        partitions: Arc<Table>,
        metadata: Arc<Metadata>,
        controller: Client,
        settings: Arc<Settings>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            board: ArcSwap::from_pointee(Board::default()),
            board_change: Mutex::new(false),
            partitions,
            maker: Maker::new(metadata, controller, Arc::clone(&settings)),
            settings,
            metrics,
            background: Handle::current(),
            loads: Arc::new(Semaphore::new(LOADS_MAX)),
        })
    }

    /// Decides a command of one group and returns when its records are committed.
    ///
    /// For DeleteGroups and the like `group` is any group of the partition whose coordinator shall decide.
    pub async fn command(&self, group: &str, command: Command) -> Result<CommandReply, ErrorCode> {
        let coordinator = self.serving(group)?;
        let (reply, appended) = coordinator.command(&command, now_ms())?;
        coordinator.committed(appended).await?;
        Ok(reply)
    }

    /// Puts an event with a token of its own to the machine and returns the answer when it is due, which may be
    /// as late as the rebalance timeout. Dropping the future forgets the answer and nothing else.
    pub async fn event(&self, group: &str, event: impl FnOnce(Token) -> Event) -> Result<Reply, ErrorCode> {
        let coordinator = match self.serving(group) {
            Ok(coordinator) => coordinator,
            Err(error) => return unserved(event(Token(0)), error),
        };
        match coordinator.event(event, now_ms())? {
            Answer::Now(reply) => Ok(reply),
            Answer::Later(reply) => reply.await.map_err(|_| ErrorCode::NotCoordinator),
        }
    }

    /// Looks at the machine of a group; returns when what was seen is committed.
    pub async fn read<T>(&self, group: &str, look: impl FnOnce(&Groups) -> T) -> Result<T, ErrorCode> {
        let coordinator = self.serving(group)?;
        let (seen, applied) = coordinator.look(look)?;
        coordinator.committed(applied).await?;
        Ok(seen)
    }

    /// Looks at every machine that is loaded, and says whether one is still loading. What could not be committed in
    /// time was not seen.
    pub async fn read_all<T>(&self, mut look: impl FnMut(&Groups) -> T) -> (Vec<T>, bool) {
        let board = self.board.load_full();
        let mut looks = Vec::with_capacity(board.slots.len());
        for coordinator in board.serving() {
            if let Ok((seen, applied)) = coordinator.look(&mut look) {
                looks.push((coordinator, seen, applied));
            }
        }
        let mut all = Vec::with_capacity(looks.len());
        for (coordinator, seen, applied) in looks {
            if coordinator.committed(applied).await.is_ok() {
                all.push(seen);
            }
        }
        (all, board.is_loading())
    }

    /// The partition of `__consumer_offsets` that keeps a group; none while there is no such topic.
    pub fn partition_of(&self, group: &str) -> Option<i32> {
        self.board.load().partition_of(group)
    }

    /// The broker that coordinates a group.
    ///
    /// Errors: COORDINATOR_NOT_AVAILABLE while there is no topic (see [`ensure_topic`](Self::ensure_topic)) or no leader.
    pub fn coordinator_of(&self, group: &str) -> Result<i32, ErrorCode> {
        let partition = self.partition_of(group).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        self.maker.leader_of(partition).ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// Sees to it that there is a topic for groups: creates it on first use, with the shape that the `offsets.topic.*`
    /// properties give it. Returns when this broker serves it.
    ///
    /// Errors: COORDINATOR_NOT_AVAILABLE while somebody else's call creates it, when that takes too long, and when
    /// there are too few brokers for its replication factor.
    pub async fn ensure_topic(&self) -> Result<(), ErrorCode> {
        self.maker.ensure().await
    }

    /// Requests that wait for an answer of a group's coordinator.
    #[cfg(test)]
    pub(crate) fn waiting(&self, group: &str) -> usize {
        self.serving(group).map_or(0, |coordinator| coordinator.waiting())
    }

    #[cfg(test)]
    pub(crate) fn timers(&self, group: &str) -> usize {
        self.serving(group).map_or(0, |coordinator| coordinator.timers())
    }

    #[cfg(test)]
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn serving(&self, group: &str) -> Result<Arc<Coordinator>, ErrorCode> {
        let board = self.board.load();
        let partition = board.partition_of(group).ok_or(ErrorCode::NotCoordinator)?;
        match &board.slots[partition as usize] {
            Slot::Serving(coordinator) => Ok(Arc::clone(coordinator)),
            Slot::Loading(_) => Err(ErrorCode::CoordinatorLoadInProgress),
            Slot::Elsewhere | Slot::Failed { .. } => Err(ErrorCode::NotCoordinator),
        }
    }
}

/// Nobody is thrown out for being alive while the coordinator reads up.
fn unserved(event: Event, error: ErrorCode) -> Result<Reply, ErrorCode> {
    match (event, error) {
        (Event::Heartbeat(_), ErrorCode::CoordinatorLoadInProgress) => Ok(Reply::Heartbeat(ErrorCode::None)),
        _ => Err(error),
    }
}
