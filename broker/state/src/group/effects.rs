//! What the runtime does for the machine: send answers, keep timers, write records.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::ErrorCode;

use super::config::Config;
use super::record::Record;
use super::reply::{LeaveReply, Reply};
use super::request::{Protocol, Token};

/// What follows from an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// To be written in this order, each as one batch. See the module's documentation.
    pub writes: Vec<Write>,
    /// May be sent at once: what had to wait for a write waits in the machine.
    pub replies: Vec<(Token, Reply)>,
    pub timers: Vec<TimerChange>,
}

/// Records that become durable together.
#[derive(Debug, PartialEq, Eq)]
pub struct Write {
    pub id: WriteId,
    pub records: Vec<Record>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// A timer; there is at most one of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKey {
    /// A member's session, or the time in which a member that was told its id must join.
    Member { group: Arc<str>, member: Arc<str> },
    /// The end of the join phase.
    Join { group: Arc<str> },
    /// The end of the sync phase.
    Sync { group: Arc<str> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimerChange {
    /// Replaces the deadline of a timer that is set already.
    Set(TimerKey, i64),
    Cancel(TimerKey),
}

/// What the machine does when a write is committed or has failed.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A group that a join made.
    Created,
    /// A group without members; with the answer to those that left.
    Emptied { leave: Option<(Token, LeaveReply)> },
    /// The leader's assignment of a generation.
    Assigned { generation: i32 },
    /// A static member that returned to a stable group under a new id.
    Replaced(Box<Replaced>),
}

/// How the member was before, should the write fail.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) token: Token,
    pub(super) generation: i32,
    pub(super) instance_id: Arc<str>,
    pub(super) old_id: Arc<str>,
    pub(super) new_id: Arc<str>,
    pub(super) old_leader: Option<Arc<str>>,
    pub(super) protocols: Arc<[Protocol]>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) supports_skipping_assignment: bool,
}

/// Writes that are not committed yet. Bounded by what the runtime has in flight for the partition.
#[derive(Debug, Default)]
pub(super) struct PendingWrites {
    last_id: u64,
    pub(super) by_id: BTreeMap<WriteId, (Arc<str>, Purpose)>,
}

/// One event's passage through the machine.
pub(super) struct Step<'a> {
    pub(super) now_ms: i64,
    pub(super) config: &'a Config,
    pub(super) pending: &'a mut PendingWrites,
    pub(super) effects: &'a mut Effects,
    /// The answer to members that leave: it waits for the record if they were the last.
    pub(super) leave: Option<(Token, LeaveReply)>,
}

impl Step<'_> {
    pub(super) fn reply(&mut self, token: Token, reply: Reply) {
        self.effects.replies.push((token, reply));
    }

    pub(super) fn write(&mut self, group: &Arc<str>, record: Record, purpose: Purpose) {
        self.pending.last_id += 1;
        let id = WriteId(self.pending.last_id);
        self.pending.by_id.insert(id, (group.clone(), purpose));
        self.effects.writes.push(Write { id, records: vec![record] });
    }

    pub(super) fn set_timer(&mut self, key: TimerKey, deadline_ms: i64) {
        self.effects.timers.push(TimerChange::Set(key, deadline_ms));
    }

    pub(super) fn cancel_timer(&mut self, key: TimerKey) {
        self.effects.timers.push(TimerChange::Cancel(key));
    }

    pub(super) fn after(&self, timeout_ms: i32) -> i64 {
        self.now_ms.saturating_add(i64::from(timeout_ms.max(0)))
    }
}

/// What a client hears when the log refused or lost a write.
pub fn error_of_write(error: ErrorCode) -> ErrorCode {
    use ErrorCode as E;
    match error {
        E::UnknownTopicOrPartition | E::NotEnoughReplicas | E::RequestTimedOut | E::NetworkException => {
            E::CoordinatorNotAvailable
        }
        E::NotLeaderOrFollower | E::KafkaStorageError => E::NotCoordinator,
        E::MessageTooLarge | E::RecordListTooLarge | E::InvalidFetchSize => E::UnknownServerError,
        other => other,
    }
}
