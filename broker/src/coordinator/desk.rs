//! What the lock of a coordinator protects: the machine, and what is owed around it.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use milena_state::group::reply::Reply;
use milena_state::group::request::Token;
use milena_state::group::{
    Command, CommandReply, Effects, Event, Groups, Record, Write, WriteId, error_of_write,
};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::timers::Timers;
use super::writer::{Batching, Writer};
use crate::metrics::Metrics;
use crate::partition::Appended;

/// Timers that fire under one hold of the lock.
const TIMERS_PER_TURN_MAX: usize = 256;

/// A machine at work.
#[derive(Debug)]
pub struct Desk {
    pub groups: Groups,
    pub timers: Timers,
    /// Requests whose answer is not due yet. An entry whose request went away stays until the machine answers it.
    pub answers: FxHashMap<Token, oneshot::Sender<Reply>>,
    /// Writes of events that are not committed, in the order of their offsets.
    pub in_flight: VecDeque<InFlight>,
    /// The last append: whatever is read now waits for it.
    pub applied: Option<Appended>,
    /// Topics whose offsets are still to be taken away.
    pub deleted_topics: Vec<(Arc<str>, Uuid)>,
    /// What the keeper wakes for by itself.
    pub planned: Plan,
    last_token: u64,
}

#[derive(Debug)]
pub struct InFlight {
    write: WriteId,
    pub appended: Appended,
    pub deadline_ms: i64,
}

/// What there is to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub wake_ms: i64,
    /// The first write that is not committed.
    pub awaited: Option<Appended>,
}

/// What a step needs from around the machine.
pub struct Around<'a> {
    pub writer: &'a Writer,
    pub metrics: &'a Metrics,
    pub commit_timeout_ms: i64,
    pub now_ms: i64,
}

/// Answers to send when the lock is released: whoever is woken may run at once.
#[derive(Debug, Default)]
pub struct Outbox {
    ready: Vec<(oneshot::Sender<Reply>, Reply)>,
    /// The request that is being served, which needs no channel if it is answered in its own step.
    served: Option<Token>,
    pub answer: Option<Reply>,
}

impl Outbox {
    pub fn deliver(self) {
        for (sender, reply) in self.ready {
            // Whoever asked has gone.
            let _ = sender.send(reply);
        }
    }
}

impl Desk {
    pub fn new(groups: Groups, applied: Option<Appended>, deleted_topics: Vec<(Arc<str>, Uuid)>) -> Self {
        Self {
            groups,
            timers: Timers::default(),
            answers: FxHashMap::default(),
            in_flight: VecDeque::new(),
            applied,
            deleted_topics,
            planned: Plan { wake_ms: i64::MAX, awaited: None },
            last_token: 0,
        }
    }

    /// A token for the request that is being served.
    pub fn token(&mut self, outbox: &mut Outbox) -> Token {
        self.last_token += 1;
        outbox.served = Some(Token(self.last_token));
        Token(self.last_token)
    }

    /// Passes an event to the machine and carries out what follows.
    pub fn event(&mut self, event: Event, around: &Around<'_>, outbox: &mut Outbox) {
        let is_sync = matches!(event, Event::Sync(_));
        let effects = self.groups.on_event(event, around.now_ms);
        // A sync writes once: when the leader brings the assignment.
        if is_sync && !effects.writes.is_empty() {
            around.metrics.group_rebalanced();
        }
        self.carry_out(effects, around, outbox);
    }

    /// Carries out effects and whatever follows from them: writes, then timers, then replies.
    pub fn carry_out(&mut self, effects: Effects, around: &Around<'_>, outbox: &mut Outbox) {
        let mut stored = VecDeque::new();
        let mut effects = effects;
        loop {
            for write in mem::take(&mut effects.writes) {
                self.write(&write, around, &mut stored);
            }
            effects.timers.into_iter().for_each(|change| self.timers.change(change));
            for (token, reply) in effects.replies {
                self.answer(token, reply, outbox);
            }
            let Some((write, outcome)) = stored.pop_front() else { return };
            effects = self.groups.on_event(Event::Stored { write, outcome }, around.now_ms);
        }
    }

    fn answer(&mut self, token: Token, reply: Reply, outbox: &mut Outbox) {
        if outbox.served == Some(token) {
            outbox.answer = Some(reply);
        } else if let Some(sender) = self.answers.remove(&token) {
            outbox.ready.push((sender, reply));
        }
    }

    fn write(
        &mut self,
        write: &Write,
        around: &Around<'_>,
        stored: &mut VecDeque<(WriteId, Result<(), ErrorCode>)>,
    ) {
        let appended = match self.append(&write.records, Batching::One, around) {
            Ok(Some(appended)) => appended,
            Ok(None) => return stored.push_back((write.id, Ok(()))),
            Err(error) => return stored.push_back((write.id, Err(error))),
        };
        match around.writer.is_committed(&appended) {
            Some(outcome) => stored.push_back((write.id, outcome)),
            None => self.in_flight.push_back(InFlight {
                write: write.id,
                appended,
                deadline_ms: around.now_ms.saturating_add(around.commit_timeout_ms),
            }),
        }
    }

    fn append(
        &mut self,
        records: &[Record],
        batching: Batching,
        around: &Around<'_>,
    ) -> Result<Option<Appended>, ErrorCode> {
        let groups = &mut self.groups;
        let apply = |record: &Record, offset: i64| groups.apply(record, offset);
        let appended = around.writer.append(records, batching, around.now_ms, apply)?;
        self.applied = appended.or(self.applied);
        Ok(appended)
    }

    /// Decides a command, appends and applies its records. The reply is due when the append is committed.
    ///
    /// Errors: what the client is told of a write that was refused.
    pub fn command(
        &mut self,
        command: &Command,
        around: &Around<'_>,
        outbox: &mut Outbox,
    ) -> Result<(CommandReply, Option<Appended>), ErrorCode> {
        let decision = self.groups.decide(command, around.now_ms);
        let batching = match command {
            Command::Commit(_) | Command::DeleteOffsets(_) => Batching::One,
            Command::DeleteGroups(_) | Command::Expire { .. } | Command::TopicsDeleted(_) => {
                Batching::AsManyAsNeeded
            }
        };
        let appended = self.append(&decision.records, batching, around).map_err(error_of_write)?;
        count(command, &decision.records, around.metrics);
        if let Some(event) = decision.alive_event() {
            self.event(event, around, outbox);
        }
        Ok((decision.reply, appended))
    }

    /// Tells the machine of writes that were committed, refused or waited for too long.
    pub fn settle(&mut self, around: &Around<'_>, outbox: &mut Outbox) {
        while let Some(first) = self.in_flight.front() {
            let is_overdue = first.deadline_ms <= around.now_ms;
            let outcome = match around.writer.is_committed(&first.appended) {
                Some(outcome) => outcome,
                None if is_overdue => Err(ErrorCode::RequestTimedOut),
                None => return,
            };
            let write = first.write;
            self.in_flight.pop_front();
            self.event(Event::Stored { write, outcome }, around, outbox);
        }
    }

    /// Fires timers that are due, at most so many that others can have the lock soon.
    pub fn fire(&mut self, around: &Around<'_>, outbox: &mut Outbox) {
        for _ in 0..TIMERS_PER_TURN_MAX {
            let Some(key) = self.timers.pop_due(around.now_ms) else { return };
            self.event(Event::Timer(key), around, outbox);
        }
    }

    /// What the keeper must wait for now.
    pub fn plan(&self) -> Plan {
        let first = self.in_flight.front();
        let timers_ms = self.timers.next_ms().unwrap_or(i64::MAX);
        Plan {
            wake_ms: timers_ms.min(first.map_or(i64::MAX, |first| first.deadline_ms)),
            awaited: first.map(|first| first.appended),
        }
    }

    /// Whether the keeper would come too late by what it planned.
    pub fn outruns_plan(&self) -> bool {
        let plan = self.plan();
        plan.wake_ms < self.planned.wake_ms
            || (plan.awaited.is_some() && self.planned.awaited.is_none())
            || !self.deleted_topics.is_empty()
    }

    /// Gives every request that waits its answer.
    pub fn unload(mut self, now_ms: i64, outbox: &mut Outbox) {
        for (token, reply) in self.groups.unload(now_ms).replies {
            self.answer(token, reply, outbox);
        }
    }
}

/// Counts what a command did.
fn count(command: &Command, records: &[Record], metrics: &Metrics) {
    let offsets = records.iter().filter(|record| matches!(record, Record::Offset(_))).count() as u64;
    match command {
        Command::Commit(_) => metrics.offsets_committed(offsets),
        Command::Expire { .. } => metrics.offsets_expired(offsets),
        Command::DeleteOffsets(_) | Command::DeleteGroups(_) | Command::TopicsDeleted(_) => {
            metrics.offsets_deleted(offsets);
        }
    }
}
