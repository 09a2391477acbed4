//! Rebalances: the steps towards a join, what a join brings, and how a membership ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_protocol::ErrorCode;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Event, GroupConsumer, Phase};
use crate::cluster::Retry;
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};
use crate::group::commit::{self, CommitOffsets, Committed};
use crate::group::join::{Holding, Join, Joined, Refused};
use crate::group::session::Notice;
use crate::group::steps::{self, Place, Step};
use crate::group::task::Task;
use crate::group::wire::Identity;

/// What a commit before a rebalance may take: the whole group waits for it.
const BEFORE_REBALANCE_MAX: Duration = Duration::from_secs(10);

impl GroupConsumer {
    /// Takes the next step. A step that is broken off is taken again.
    pub(super) async fn step(&mut self) -> Option<Event> {
        match self.steps.front() {
            Some(Step::Commit) => {
                self.commit_before_rebalance().await;
                // It may have found out that there is nothing left to rebalance: then other steps stand here.
                self.steps.pop_front_if(|step| matches!(step, Step::Commit));
                return None;
            }
            Some(Step::Join) => sleep_until(self.join_at).await,
            _ => {}
        }
        match self.steps.pop_front()? {
            Step::Commit => None,
            Step::Announce(event) => Some(event),
            Step::Drop(partitions) => {
                self.drop_partitions(&partitions);
                None
            }
            Step::Join => {
                self.join();
                None
            }
            Step::Rejoin => {
                self.prepare_join();
                None
            }
        }
    }

    async fn commit_before_rebalance(&mut self) {
        if !self.config.enable_auto_commit {
            return;
        }
        let positions = self.uncommitted();
        let client = self.cluster.config();
        let limit = client.api_timeout.min(BEFORE_REBALANCE_MAX).min(self.config.max_poll_interval / 2);
        if let Err(error) = self.commit_within(positions, limit).await {
            tracing::warn!(%error, group = self.config.group_id, "the commit before a rebalance failed");
        }
    }

    fn prepare_join(&mut self) {
        let is_eager = !self.config.assignors.iter().all(|assignor| assignor.is_cooperative());
        let subscription = self.subscription.as_ref();
        let is_wanted = |topic: &str| subscription.is_some_and(|subscription| subscription.takes(topic));
        self.steps = steps::before_join(&self.owned, is_eager, is_wanted);
    }

    /// Ends the membership that stands, if any, and begins the next. Fetches go on for what is owned.
    fn join(&mut self) {
        let Some(subscription) = self.subscription.clone() else { return };
        let owned = Holding {
            partitions: self.owned.keys().cloned().collect(),
            generation: (self.generation >= 0).then_some(self.generation),
        };
        let join = Join {
            cluster: self.cluster.clone(),
            config: self.config.clone(),
            clock: self.clock.clone(),
            subscription,
            identity: self.identity(),
            known_id: self.known_id.clone(),
            owned,
            last: self.last.clone(),
        };
        self.is_outdated = false;
        self.phase = Phase::Joining(Task::spawn(join.run()));
    }

    pub(super) fn identity(&self) -> Identity {
        Identity { member_id: self.known_id.get(), generation: self.generation }
    }

    pub(super) fn joined(&mut self, joined: Result<Result<Joined, Refused>>) -> Result<()> {
        self.phase = Phase::Outside;
        match joined? {
            Ok(joined) => self.install(joined),
            Err(Refused::Lost { error, keeps_id }) => self.lose(&error, keeps_id),
            Err(Refused::Fenced(error)) => self.fence(error),
            Err(Refused::Failed(error)) => {
                self.hold_back();
                return Err(error);
            }
        }
        Ok(())
    }

    fn install(&mut self, joined: Joined) {
        let Joined { session, assignor, mut assigned } = joined;
        let count = assigned.len();
        let subscription = self.subscription.as_ref();
        assigned.retain(|(topic, _)| subscription.is_some_and(|subscription| subscription.takes(topic)));
        self.generation = session.identity.generation;
        self.assignor = Some(assignor);
        tracing::info!(
            group = self.config.group_id,
            member = session.identity.member_id,
            generation = self.generation,
            partitions = assigned.len(),
            "joined"
        );
        self.steps = steps::after_join(&self.owned, &assigned);
        // The subscription may have changed while the join was under way.
        if assigned.len() < count || self.is_outdated {
            self.hold_back();
            self.steps.push_back(Step::Rejoin);
        }
        for key in &assigned {
            self.owned.entry(key.clone()).or_insert(Place::Unknown);
        }
        self.last = Holding { partitions: assigned.into_iter().collect(), generation: Some(self.generation) };
        self.place_at = Instant::now();
        self.commits.due = Instant::now() + self.config.auto_commit_interval;
        self.phase = Phase::Member(session);
    }

    pub(super) fn noticed(&mut self, notice: Notice) -> Result<()> {
        match notice {
            Notice::Fine => {}
            Notice::Rejoin(reason) => {
                tracing::info!(group = self.config.group_id, reason, "rejoining");
                self.prepare_join();
            }
            Notice::Lost { error, keeps_id } => self.lose(&error, keeps_id),
            Notice::Fatal(error) if error.code() == Some(ErrorCode::FencedInstanceId) => self.fence(error),
            Notice::Fatal(error) => {
                self.lose(&error, true);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The group goes on without this member: what it owned is not its own any more, and it joins as a new one.
    fn lose(&mut self, error: &Error, keeps_id: bool) {
        tracing::warn!(%error, group = self.config.group_id, "the membership is over");
        self.give_all_up(keeps_id);
        self.steps.push_back(Step::Join);
    }

    /// Another process has the place of this one, for good.
    fn fence(&mut self, error: Error) {
        tracing::error!(%error, group = self.config.group_id, "another member has this group.instance.id");
        self.give_all_up(true);
        self.fenced = Some(error);
    }

    fn give_all_up(&mut self, keeps_id: bool) {
        let all: BTreeSet<PartitionKey> = self.owned.keys().cloned().collect();
        self.drop_partitions(&all);
        self.phase = Phase::Outside;
        self.generation = -1;
        self.assignor = None;
        if !keeps_id {
            self.known_id.set("");
        }
        self.hold_back();
        let lost = steps::to_be_lost(all, std::mem::take(&mut self.steps));
        if !lost.is_empty() {
            self.steps.push_back(Step::Announce(Event::Lost(lost.into_iter().collect())));
        }
    }

    /// The next join is not at once.
    fn hold_back(&mut self) {
        self.join_at = Instant::now() + self.cluster.config().retry_backoff;
    }

    /// Commits, behind the commit that may be under way: an older offset must not arrive after a younger one. A join under
    /// way may end the generation that the commit is made in; then what is owned in the next is committed once more there.
    ///
    /// `limit` is for all of this. A commit that takes longer goes on, and is heard of later.
    pub(super) async fn commit_within(&mut self, mut offsets: CommitOffsets, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        if let Some(before) = by(deadline, limit, self.commits.settled()).await? {
            self.committed_automatically(before);
        }
        let mut foreign = self.take_foreign(&mut offsets);
        let mut committed = self.commit_once(offsets.clone(), deadline, limit).await?;
        if committed.is_out_of_date() && matches!(self.phase, Phase::Joining(_)) {
            let joined = timeout_at(deadline, joining(&mut self.phase)).await;
            if let Ok(joined) = joined {
                self.joined(joined)?;
                // Whoever has the others now may be further on.
                foreign.append(&mut self.take_foreign(&mut offsets));
                committed = self.commit_once(offsets, deadline, limit).await?;
            }
        }
        if !self.is_of_this_membership(&committed) {
            committed.blame_the_rebalance();
        }
        committed.refused.extend(foreign);
        committed.outcome()
    }

    /// Takes out what is not owned, with the reason. Outside of the group nothing is, for another reason.
    fn take_foreign(&self, offsets: &mut CommitOffsets) -> BTreeMap<PartitionKey, ErrorCode> {
        if self.generation < 0 {
            return BTreeMap::new();
        }
        let foreign = offsets.extract_if(.., |key, _| !self.owned.contains_key(key));
        foreign.map(|(key, _)| (key, ErrorCode::RebalanceInProgress)).collect()
    }

    async fn commit_once(
        &mut self,
        offsets: CommitOffsets,
        deadline: Instant,
        limit: Duration,
    ) -> Result<Committed> {
        if offsets.is_empty() {
            return Ok(Committed::nothing(self.link.clone(), self.identity()));
        }
        if self.generation < 0 {
            let failed =
                offsets.into_keys().map(|(topic, partition)| (topic, partition, ErrorCode::UnknownMemberId));
            return Err(Error::CommitFailed { failed: failed.collect() });
        }
        let client = self.cluster.config();
        let left = deadline.saturating_duration_since(Instant::now());
        let retry = Retry::new(client.retry_backoff, client.retry_backoff_max, left);
        let commit =
            commit::commit(self.link.clone(), self.config.clone(), self.identity(), offsets, Some(retry));
        self.commits.begin(Task::spawn(commit));
        let committed = by(deadline, limit, self.commits.finished()).await?;
        self.heed(&committed);
        Ok(committed)
    }

    /// False while a join is under way, and for a commit that was made before the last one.
    fn is_of_this_membership(&self, committed: &Committed) -> bool {
        match &self.phase {
            Phase::Member(session) => session.identity == committed.identity,
            // It was lost by this very commit, or before: that is worth saying.
            Phase::Outside => true,
            Phase::Joining(_) => false,
        }
    }

    /// Takes from a commit what it says of offsets and of the membership it was made with.
    pub(super) fn heed(&mut self, committed: &Committed) {
        self.link = committed.link.clone();
        let owned = committed.acknowledged.iter().filter(|(key, _)| self.owned.contains_key(key));
        let owned = owned.map(|(key, offset)| (key.clone(), *offset)).collect();
        self.commits.acknowledge(owned);
        let Phase::Member(session) = &self.phase else { return };
        // After another join it says nothing of what stands now.
        if session.identity != committed.identity {
            return;
        }
        for code in committed.codes().collect::<Vec<_>>() {
            let error = || Error::Broker {
                context: format!("committing offsets of group {}", self.config.group_id),
                code,
                message: None,
            };
            match code {
                ErrorCode::RebalanceInProgress => session.rejoin("the group rebalances"),
                ErrorCode::FencedInstanceId => return self.fence(error()),
                ErrorCode::IllegalGeneration => return self.lose(&error(), true),
                ErrorCode::UnknownMemberId => return self.lose(&error(), false),
                _ => {}
            }
        }
    }
}

/// Waits for a commit until a deadline that was `limit` away.
async fn by<T>(deadline: Instant, limit: Duration, commit: impl Future<Output = Result<T>>) -> Result<T> {
    let timed_out =
        || Error::TimedOut { what: "committing offsets".to_owned(), timeout_ms: limit.as_millis() as u64 };
    timeout_at(deadline, commit).await.unwrap_or_else(|_| Err(timed_out()))
}

/// Waits for the join under way, for ever if there is none.
async fn joining(phase: &mut Phase) -> Result<Result<Joined, Refused>> {
    match phase {
        Phase::Joining(task) => task.await,
        _ => std::future::pending().await,
    }
}
