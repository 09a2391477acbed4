//! The coordinator of one partition of `__consumer_offsets` while this broker leads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use milena_state::config::coordinator::GroupCoordinator;
use milena_state::group::reply::Reply;
use milena_state::group::request::Token;
use milena_state::group::{Command, CommandReply, Event, Groups, error_of_write};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::desk::{Around, Desk, Outbox, Plan};
use super::writer::Writer;
use crate::metrics::{Limit, Metrics};
use crate::partition::Appended;

/// Requests of one coordinator that wait for their answer: joins, syncs and leaves.
const ANSWERS_WAITING_MAX: usize = 200_000;

/// Requests of one coordinator that wait for the high watermark.
const COMMITS_WAITING_MAX: usize = 100_000;

pub struct Coordinator {
    pub writer: Writer,
    metrics: Arc<Metrics>,
    commit_timeout: Duration,
    /// None from the end of the leadership on.
    desk: Mutex<Option<Desk>>,
    commits_waiting: AtomicUsize,
    /// Wakes the keeper when there is something to do before what it planned.
    pub wake: Notify,
}

/// An answer, or where it will come.
pub enum Answer {
    Now(Reply),
    Later(oneshot::Receiver<Reply>),
}

impl Coordinator {
    /// A coordinator of what was loaded, with all that follows from the load carried out.
    pub fn begin(
        writer: Writer,
        desk: Desk,
        settings: &GroupCoordinator,
        metrics: Arc<Metrics>,
        now_ms: i64,
    ) -> Self {
        let coordinator = Self {
            writer,
            metrics,
            commit_timeout: Duration::from_millis(settings.commit_timeout_ms),
            desk: Mutex::new(Some(desk)),
            commits_waiting: AtomicUsize::new(0),
            wake: Notify::new(),
        };
        // Nobody can ask before this is over.
        let begun = coordinator.step(now_ms, |desk, around, outbox| {
            let effects = desk.groups.loaded(around.now_ms);
            desk.carry_out(effects, around, outbox);
        });
        debug_assert!(begun.is_ok(), "it has just begun");
        coordinator
    }

    /// Passes an event with a new token to the machine.
    pub fn event(&self, event: impl FnOnce(Token) -> Event, now_ms: i64) -> Result<Answer, ErrorCode> {
        self.step(now_ms, |desk, around, outbox| {
            if desk.answers.len() >= ANSWERS_WAITING_MAX {
                self.metrics.refused(Limit::GroupRequests);
                return Err(ErrorCode::CoordinatorNotAvailable);
            }
            let token = desk.token(outbox);
            desk.event(event(token), around, outbox);
            if let Some(reply) = outbox.answer.take() {
                return Ok(Answer::Now(reply));
            }
            let (sender, receiver) = oneshot::channel();
            desk.answers.insert(token, sender);
            Ok(Answer::Later(receiver))
        })?
    }

    /// Decides a command; its reply is due when what it appended is [`committed`](Self::committed).
    pub fn command(
        &self,
        command: &Command,
        now_ms: i64,
    ) -> Result<(CommandReply, Option<Appended>), ErrorCode> {
        self.step(now_ms, |desk, around, outbox| desk.command(command, around, outbox))?
    }

    /// Looks at the machine; what was seen counts when the append that is named is committed.
    pub fn look<T>(&self, look: impl FnOnce(&Groups) -> T) -> Result<(T, Option<Appended>), ErrorCode> {
        // Not `Held`: who only looks leaves nothing half changed, also in a panic.
        let desk = self.desk.lock();
        let desk = desk.as_ref().ok_or(ErrorCode::NotCoordinator)?;
        Ok((look(&desk.groups), desk.applied))
    }

    /// Waits until an append is committed, for as long as `offsets.commit.timeout.ms` allows.
    ///
    /// Errors: what the client is told.
    pub async fn committed(&self, appended: Option<Appended>) -> Result<(), ErrorCode> {
        let Some(appended) = appended else { return Ok(()) };
        if let Some(outcome) = self.writer.is_committed(&appended) {
            return outcome.map_err(error_of_write);
        }
        let _place = Place::take(&self.commits_waiting).ok_or_else(|| {
            self.metrics.refused(Limit::GroupRequests);
            ErrorCode::CoordinatorNotAvailable
        })?;
        let committed = tokio::time::timeout(self.commit_timeout, self.writer.committed(&appended)).await;
        committed.unwrap_or(Err(ErrorCode::RequestTimedOut)).map_err(error_of_write)
    }

    /// Does what has become due, and says what to wait for next; nothing once the leadership is over.
    pub fn turn(&self, now_ms: i64) -> Option<Plan> {
        self.step(now_ms, |desk, around, outbox| {
            desk.settle(around, outbox);
            desk.fire(around, outbox);
            desk.planned = desk.plan();
            desk.planned
        })
        .ok()
    }

    /// Notes topics whose offsets the keeper is to take away.
    pub fn topics_deleted(&self, topics: &[(Arc<str>, Uuid)]) {
        // An error is the end of the leadership, with which the duty has gone to another broker.
        let _ = self.step(0, |desk, _, _| desk.deleted_topics.extend_from_slice(topics));
    }

    /// Takes what [`topics_deleted`](Self::topics_deleted) noted.
    pub fn take_deleted_topics(&self) -> Vec<(Arc<str>, Uuid)> {
        let mut held = Held(self.desk.lock());
        held.0.as_mut().map(|desk| std::mem::take(&mut desk.deleted_topics)).unwrap_or_default()
    }

    /// Ends the leadership: whoever waits hears NOT_COORDINATOR, as does everyone who asks from now on.
    pub fn end(&self, now_ms: i64) {
        let Some(desk) = Held(self.desk.lock()).0.take() else { return };
        let mut outbox = Outbox::default();
        desk.unload(now_ms, &mut outbox);
        outbox.deliver();
        self.wake.notify_one();
    }

    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.desk.lock().as_ref().map_or(0, |desk| desk.answers.len())
    }

    #[cfg(test)]
    pub fn timers(&self) -> usize {
        self.desk.lock().as_ref().map_or(0, |desk| desk.timers.len())
    }

    /// One step of the machine under the lock. Answers are sent after it is released.
    fn step<T>(
        &self,
        now_ms: i64,
        step: impl FnOnce(&mut Desk, &Around<'_>, &mut Outbox) -> T,
    ) -> Result<T, ErrorCode> {
        let around = Around {
            writer: &self.writer,
            metrics: &self.metrics,
            commit_timeout_ms: i64::try_from(self.commit_timeout.as_millis()).unwrap_or(i64::MAX),
            now_ms,
        };
        let mut outbox = Outbox::default();
        let (outcome, is_early) = {
            let mut held = Held(self.desk.lock());
            let desk = held.0.as_mut().ok_or(ErrorCode::NotCoordinator)?;
            let outcome = step(desk, &around, &mut outbox);
            (outcome, desk.outruns_plan())
        };
        outbox.deliver();
        if is_early {
            self.wake.notify_one();
        }
        Ok(outcome)
    }
}

/// The held lock. A panic under it ends the coordinator: a machine of which half was changed decides nothing more,
/// and the next leadership loads it from the log.
struct Held<'a>(MutexGuard<'a, Option<Desk>>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && self.0.take().is_some() {
            tracing::error!(
                "a panic interrupted a group coordinator; its groups have none until the next leadership"
            );
        }
    }
}

/// A place among those that wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(taken: &'a AtomicUsize) -> Option<Self> {
        let before = taken.fetch_add(1, Ordering::Relaxed);
        let place = Self(taken);
        (before < COMMITS_WAITING_MAX).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
