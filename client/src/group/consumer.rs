//! A consumer that is a member of a group: it reads the partitions that the group gives it.
//!
//! `poll` drives everything: it takes the steps of a rebalance, hands out events and records, and says by being called
//! that what it gave before is done. What must go on without it runs in tasks: joins, heartbeats, commits, lookups. So a
//! poll may be dropped at any time, and nothing is lost.

mod rebalance;
mod turn;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::assignor::Assignor;
use super::clock::PollClock;
use super::commit::CommitOffsets;
use super::commits::Commits;
use super::id::KnownId;
use super::join::{Holding, Joined, Refused};
use super::link::Link;
use super::placement::{self, Placed};
use super::session::Session;
use super::steps::{Owned, Place, Step};
use super::task::Task;
use super::topics::{Pattern, Subscription};
use super::wire;
use crate::cluster::{Cluster, Retry};
use crate::config::{ConsumerConfig, GroupConfig};
use crate::consumer::{Consumer, Fetched, PartitionKey};
use crate::error::{Error, Result};

/// What the last commit of a consumer that is being closed may take.
const CLOSE_MAX: Duration = Duration::from_secs(30);

/// What a poll brings.
#[derive(Debug, Clone)]
pub enum Event {
    /// Records of partitions that are owned, as [`Consumer::poll`] gives them. They count as consumed when the consumer
    /// is next polled, or at once when [`GroupConsumer::commit`] is called.
    Records(Vec<Fetched>),
    /// A rebalance is over. These partitions are new, perhaps none; no record of them was given out yet.
    Assigned(Vec<PartitionKey>),
    /// These partitions are given up by the next poll. Until then their offsets can be committed.
    Revoked(Vec<PartitionKey>),
    /// These partitions are gone, and others may be reading them: their offsets cannot be committed any more.
    Lost(Vec<PartitionKey>),
}

/// A member of a consumer group of the classic protocol.
///
/// Dropping it stops everything at once and commits nothing; the group goes on without it when its session has expired.
/// [`GroupConsumer::close`] is the orderly end.
pub struct GroupConsumer {
    cluster: Cluster,
    config: Arc<GroupConfig>,
    consumer: Consumer,
    read_committed: bool,
    subscription: Option<Subscription>,
    clock: Arc<PollClock>,
    known_id: KnownId,
    phase: Phase,
    steps: VecDeque<Step>,
    owned: Owned,
    /// The generation that `owned` is of; −1 while not in a group.
    generation: i32,
    /// What the group chose in that generation.
    assignor: Option<Assignor>,
    /// What was last assigned.
    last: Holding,
    link: Link,
    commits: Commits,
    placing: Option<Task<Placed>>,
    /// Partitions that found no place are tried again then.
    place_at: Instant,
    /// While some wait for what may come right, such as a leader.
    place_retry: Option<Retry>,
    /// The next join may not begin before.
    join_at: Instant,
    fenced: Option<Error>,
    /// The subscription has changed while a join was under way.
    is_outdated: bool,
}

#[derive(Debug)]
enum Phase {
    Outside,
    Joining(Task<Result<Joined, Refused>>),
    Member(Session),
}

impl GroupConsumer {
    /// A consumer that is not in its group yet: it joins with the first poll after [`GroupConsumer::subscribe`].
    ///
    /// Errors: `Config` without a group id or assignor.
    pub fn new(cluster: Cluster, config: ConsumerConfig, group: GroupConfig) -> Result<Self> {
        let wrong =
            |name: &str, reason: &str| Error::Config { name: name.to_owned(), reason: reason.to_owned() };
        if group.group_id.is_empty() {
            return Err(wrong("group.id", "a member of a group needs it"));
        }
        if group.assignors.is_empty() {
            return Err(wrong("partition.assignment.strategy", "no assignor is named"));
        }
        let link = Link::new(cluster.clone(), group.group_id.as_str().into());
        let now = Instant::now();
        Ok(Self {
            read_committed: config.read_committed,
            consumer: Consumer::new(cluster.clone(), config),
            subscription: None,
            clock: PollClock::new(group.max_poll_interval),
            known_id: KnownId::default(),
            phase: Phase::Outside,
            steps: VecDeque::new(),
            owned: Owned::new(),
            generation: -1,
            assignor: None,
            last: Holding::default(),
            commits: Commits::new(now + group.auto_commit_interval),
            link,
            placing: None,
            place_at: now,
            place_retry: None,
            join_at: now,
            fenced: None,
            is_outdated: false,
            config: Arc::new(group),
            cluster,
        })
    }

    /// Subscribes to topics, instead of what was subscribed to before. Topics need not exist yet.
    pub fn subscribe<T: Into<String>>(&mut self, topics: impl IntoIterator<Item = T>) {
        self.subscribe_to(Subscription::Topics(topics.into_iter().map(Into::into).collect()));
    }

    /// Subscribes to all topics whose whole name matches a regular expression, also to those that come later: the cluster
    /// is asked for its topics every `metadata.max.age.ms`.
    ///
    /// Errors: `Config` for what is no regular expression.
    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<()> {
        let pattern = Pattern::new(pattern, self.config.exclude_internal_topics)?;
        self.subscribe_to(Subscription::Pattern(pattern));
        Ok(())
    }

    fn subscribe_to(&mut self, subscription: Subscription) {
        self.subscription = Some(subscription);
        match &self.phase {
            Phase::Outside if self.steps.is_empty() => self.steps.push_back(Step::Join),
            Phase::Outside => {}
            // A join under way ends first.
            Phase::Joining(_) => self.is_outdated = true,
            Phase::Member(session) => session.rejoin("the subscription has changed"),
        }
    }

    /// The next event: of the rebalance that is under way, or records. Whatever was given before counts as done. Dropping
    /// the future loses nothing.
    ///
    /// A member must be polled at least every `max.poll.interval.ms`, or it leaves the group; a poll that waits is fine.
    ///
    /// Errors: `NoOffset` with `auto.offset.reset=none`; FENCED_INSTANCE_ID, for good, when another process has the same
    /// `group.instance.id`; `Config` without a subscription; what the coordinator or a leader refuses, and what stayed
    /// wrong for `default.api.timeout.ms`: the next poll tries again.
    pub async fn poll(&mut self) -> Result<Event> {
        if self.subscription.is_none() {
            let reason = "nothing is subscribed to".to_owned();
            return Err(Error::Config { name: "subscription".to_owned(), reason });
        }
        let _polling = self.clock.enter();
        loop {
            let event = if self.steps.is_empty() { self.turn().await? } else { self.step().await };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Commits the positions of all partitions that are owned: everything that was given out counts as consumed, also
    /// what an automatic commit under way has sent. What may come right is tried again for `default.api.timeout.ms`.
    ///
    /// Errors: `CommitFailed`, with the reason of each partition that was refused, and those of the connection.
    pub async fn commit(&mut self) -> Result<()> {
        let positions = self.positions();
        self.commit_offsets(positions).await
    }

    /// Commits these offsets, of partitions that are owned.
    ///
    /// Errors: as [`GroupConsumer::commit`]; REBALANCE_IN_PROGRESS for each partition that is not owned, or not any more
    /// after a join under way. The others are committed.
    pub async fn commit_offsets(&mut self, offsets: CommitOffsets) -> Result<()> {
        let limit = self.cluster.config().api_timeout;
        self.commit_within(offsets, limit).await
    }

    /// The group's committed offsets, none where there is none.
    ///
    /// Errors: the coordinator's answer, such as GROUP_AUTHORIZATION_FAILED, and those of the connection.
    pub async fn committed(
        &mut self,
        partitions: &[PartitionKey],
    ) -> Result<BTreeMap<PartitionKey, Option<i64>>> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        placement::committed(&mut self.link, &partitions.iter().cloned().collect()).await
    }

    /// Goes on from `offset` in a partition that is owned; nothing happens for another.
    pub fn seek(&mut self, topic: &str, partition: i32, offset: i64) {
        if let Some(place) = self.owned.get_mut(&(topic.to_owned(), partition)) {
            *place = Place::Reading;
            self.consumer.assign(topic, partition, offset);
        }
    }

    /// The next offset of a partition that is owned, once that is known.
    pub fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        self.consumer.position(topic, partition)
    }

    /// The partitions that are owned.
    pub fn assignment(&self) -> Vec<PartitionKey> {
        self.owned.keys().cloned().collect()
    }

    /// The id that the coordinator gave, while there is one.
    pub fn member_id(&self) -> Option<String> {
        Some(self.known_id.get()).filter(|id| !id.is_empty())
    }

    /// The group's generation that this member is in.
    pub fn generation(&self) -> Option<i32> {
        (self.generation >= 0).then_some(self.generation)
    }

    /// The assignor that the group has chosen, while this member is in it. A cooperative one may give a newcomer nothing at
    /// first, and the rest when others have given it up.
    pub fn assignor(&self) -> Option<Assignor> {
        self.assignor
    }

    /// Whether an [`Event::Assigned`] is on its way.
    pub fn is_rebalancing(&self) -> bool {
        !self.steps.is_empty() || !matches!(self.phase, Phase::Member(_))
    }

    /// Commits what was consumed if `enable.auto.commit` is on, and leaves the group, so that others go on at once. Static
    /// members stay: their partitions wait for them until the session expires. The commit may take thirty seconds, and
    /// leaving five.
    ///
    /// Errors: those of the commit, and of leaving; the consumer is closed all the same.
    pub async fn close(mut self) -> Result<()> {
        self.steps.clear();
        let commits = self.config.enable_auto_commit && self.fenced.is_none();
        let positions = if commits { self.uncommitted() } else { CommitOffsets::new() };
        // Also a commit under way is waited for.
        let limit = self.cluster.config().api_timeout.min(CLOSE_MAX);
        let committed = self.commit_within(positions, limit).await;
        self.phase = Phase::Outside;
        let member_id = self.known_id.get();
        let stays = self.config.group_instance_id.is_some() || self.fenced.is_some();
        if member_id.is_empty() || stays {
            return committed;
        }
        let left = wire::leave(&mut self.link, &member_id, "the consumer is being closed").await;
        committed.and(left)
    }
}
