//! Life between rebalances: records, automatic commits, and places for partitions that have none yet.

use std::collections::BTreeSet;

use milena_protocol::ErrorCode;
use tokio::time::{Instant, sleep_until};

use super::{Event, GroupConsumer, Phase};
use crate::consumer::{Consumer, Fetched, PartitionKey};
use crate::error::{Error, Result};
use crate::group::commit::{self, CommitOffset, CommitOffsets, Committed};
use crate::group::join::{Joined, Refused};
use crate::group::placement::{self, Placed, Wanted};
use crate::group::session::Notice;
use crate::group::steps::{Place, Step};
use crate::group::task::Task;

/// What a poll waits for.
enum News {
    Joined(Result<Result<Joined, Refused>>),
    Notice(Notice),
    Committed(Result<Committed>),
    CommitDue,
    Placed(Result<Placed>),
    PlaceDue,
    Fetched(Result<Vec<Fetched>>),
}

impl GroupConsumer {
    /// Waits for the next thing to happen and does what it asks for; an event if the caller is to know.
    pub(super) async fn turn(&mut self) -> Result<Option<Event>> {
        if let Some(fenced) = &self.fenced {
            return Err(fenced.clone());
        }
        if matches!(self.phase, Phase::Outside) {
            // The last attempt failed, and the caller was told.
            self.steps.push_back(Step::Join);
            return Ok(None);
        }
        self.begin_placing();
        let (commit_due, place_due) = (self.commit_due(), self.place_due());
        let news = tokio::select! {
            biased;
            news = news_of(&mut self.phase) => news,
            committed = self.commits.finished() => News::Committed(committed),
            placed = finished(&mut self.placing) => News::Placed(placed),
            () = reached(commit_due) => News::CommitDue,
            () = reached(place_due) => News::PlaceDue,
            fetched = fetched(&mut self.consumer) => News::Fetched(fetched),
        };
        // Nothing is awaited below: what has come must not be lost with the future.
        match news {
            News::Joined(joined) => self.joined(joined)?,
            News::Notice(notice) => self.noticed(notice)?,
            News::Committed(committed) => self.committed_automatically(committed?),
            News::CommitDue => self.begin_automatic_commit(),
            News::Placed(placed) => self.placed(placed)?,
            News::PlaceDue => {}
            News::Fetched(fetched) => return self.records(fetched),
        }
        Ok(None)
    }

    /// The positions of all partitions that are being read.
    pub(super) fn positions(&self) -> CommitOffsets {
        let position = |(key, place): (&PartitionKey, &Place)| {
            let offset = match place {
                Place::Missing { position } => Some(*position),
                Place::Reading | Place::OutOfRange => self.consumer.position(&key.0, key.1),
                Place::Unknown => None,
            };
            Some((key.clone(), CommitOffset { offset: offset?, metadata: String::new() }))
        };
        self.owned.iter().filter_map(position).collect()
    }

    /// What an automatic commit has to say: nothing of topics that are gone, because no coordinator would take it.
    pub(super) fn uncommitted(&self) -> CommitOffsets {
        let mut positions = self.positions();
        positions.retain(|key, _| !matches!(self.owned.get(key), Some(Place::Missing { .. })));
        self.commits.unacknowledged(positions)
    }

    fn records(&mut self, fetched: Result<Vec<Fetched>>) -> Result<Option<Event>> {
        for key in self.consumer.take_out_of_range() {
            self.consumer.unassign(&key.0, key.1);
            if let Some(place) = self.owned.get_mut(&key) {
                tracing::info!(
                    topic = key.0,
                    partition = key.1,
                    "the position is not in the log, resetting it"
                );
                *place = Place::OutOfRange;
            }
        }
        match fetched {
            Ok(fetched) if fetched.is_empty() => Ok(None),
            Ok(fetched) => {
                self.found_again(&fetched);
                Ok(Some(Event::Records(fetched)))
            }
            Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => Ok(None),
            Err(Error::UnknownTopic(topic)) => {
                self.set_aside(|key| key.0 == topic);
                Ok(None)
            }
            Err(Error::UnknownPartition { topic, partition }) => {
                self.set_aside(|key| key.0 == topic && key.1 == partition);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn found_again(&mut self, fetched: &[Fetched]) {
        for (key, place) in self.owned.iter_mut().filter(|(_, place)| matches!(place, Place::Missing { .. }))
        {
            if fetched.iter().any(|part| part.topic == key.0 && part.partition == key.1) {
                *place = Place::Reading;
            }
        }
    }

    /// Partitions of a topic that is gone, perhaps for a moment only, do not hold up the others. The group's leader will
    /// notice if it stays away.
    fn set_aside(&mut self, is_missing: impl Fn(&PartitionKey) -> bool) {
        for (key, place) in self.owned.iter_mut().filter(|(key, _)| is_missing(key)) {
            if let Some(position) = self.consumer.position(&key.0, key.1) {
                *place = Place::Missing { position };
                self.consumer.unassign(&key.0, key.1);
            }
        }
        self.place_at = Instant::now() + self.cluster.config().retry_backoff_max;
    }

    /// Looks for places for the partitions that have none, when it is time.
    fn begin_placing(&mut self) {
        if self.placing.is_some() || self.place_at > Instant::now() {
            return;
        }
        let mut wanted = Wanted::default();
        let client = self.cluster.config();
        for (key, place) in &self.owned {
            match place {
                Place::Reading => {}
                Place::Unknown => {
                    wanted.committed.insert(key.clone());
                }
                Place::OutOfRange => {
                    wanted.reset.insert(key.clone());
                }
                Place::Missing { position } => {
                    // It stays missing until something is heard of it.
                    if self.consumer.position(&key.0, key.1).is_none() {
                        self.consumer.assign(&key.0, key.1, *position);
                    }
                    self.place_at = Instant::now() + client.retry_backoff_max;
                }
            }
        }
        if wanted.committed.is_empty() && wanted.reset.is_empty() {
            return;
        }
        let placing = placement::place(self.link.clone(), self.config.clone(), wanted, self.read_committed);
        self.placing = Some(Task::spawn(placing));
    }

    fn place_due(&self) -> Option<Instant> {
        let is_wanted = self.placing.is_none() && self.owned.values().any(|place| *place != Place::Reading);
        is_wanted.then_some(self.place_at)
    }

    fn placed(&mut self, placed: Result<Placed>) -> Result<()> {
        let Placed { link, found, outcome } = placed?;
        self.link = link;
        for (key, offset) in found.positions {
            // Otherwise the caller has chosen a position meanwhile.
            if let Some(place @ (Place::Unknown | Place::OutOfRange)) = self.owned.get_mut(&key) {
                *place = Place::Reading;
                self.consumer.assign(&key.0, key.1, offset);
            }
        }
        self.commits.acknowledge(found.committed);
        let client = self.cluster.config();
        self.place_at = Instant::now() + client.retry_backoff;
        // The error is told once everything that was found has its place.
        outcome?;
        let retry = self.place_retry.take();
        let Some(error) = found.waits_for else {
            self.place_at = Instant::now() + client.retry_backoff_max;
            return Ok(());
        };
        let mut retry = retry.unwrap_or_else(|| self.cluster.retry());
        self.place_at = Instant::now() + retry.next_pause(error)?;
        self.place_retry = Some(retry);
        Ok(())
    }

    fn commit_due(&self) -> Option<Instant> {
        let may_commit = self.config.enable_auto_commit
            && matches!(self.phase, Phase::Member(_))
            && self.commits.is_idle()
            && !self.uncommitted().is_empty();
        may_commit.then_some(self.commits.due)
    }

    /// Everything that was given out is done: the caller polls.
    fn begin_automatic_commit(&mut self) {
        let offsets = self.uncommitted();
        self.commits.due = Instant::now() + self.config.auto_commit_interval;
        let commit = commit::commit(self.link.clone(), self.config.clone(), self.identity(), offsets, None);
        self.commits.begin(Task::spawn(commit));
    }

    pub(super) fn committed_automatically(&mut self, committed: Committed) {
        let may_come_right = committed.may_come_right();
        self.heed(&committed);
        if let Err(error) = committed.outcome() {
            tracing::warn!(%error, group = self.config.group_id, "an automatic commit failed");
            if may_come_right {
                self.commits.due = Instant::now() + self.cluster.config().retry_backoff;
            }
        }
    }

    /// Forgets partitions that are owned no more, and what was under way for them.
    pub(super) fn drop_partitions(&mut self, partitions: &BTreeSet<PartitionKey>) {
        for key in partitions {
            self.owned.remove(key);
            self.consumer.unassign(&key.0, key.1);
            self.commits.forget(key);
        }
        // A lookup that began before could place a partition that was given back since.
        self.placing = None;
        self.place_at = Instant::now();
    }
}

async fn news_of(phase: &mut Phase) -> News {
    match phase {
        Phase::Outside => std::future::pending().await,
        Phase::Joining(task) => News::Joined(task.await),
        Phase::Member(session) => News::Notice(session.notice().await),
    }
}

async fn finished(task: &mut Option<Task<Placed>>) -> Result<Placed> {
    let Some(running) = task else { return std::future::pending().await };
    let done = running.await;
    *task = None;
    done
}

async fn reached(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn fetched(consumer: &mut Consumer) -> Result<Vec<Fetched>> {
    if consumer.is_idle() { std::future::pending().await } else { consumer.poll().await }
}
