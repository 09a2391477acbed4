//! OffsetCommit (key 8) and OffsetFetch (key 9): how far a group has come.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::classic::{Classic, State};
use super::command::{CommandReply, Decision};
use super::machine::Groups;
use super::offsets::Committed;
use super::record::{CommittedOffset, Record};
use super::reply::{FetchedOffset, FetchedTopic, Outcomes, TopicOutcome};
use super::request::{Commit, CommitPartition, Fetch, FetchTopic};

/// A client that names no retention time of its own.
const DEFAULT_RETENTION: i64 = -1;

pub(super) fn commit(groups: &Groups, commit: &Commit, now_ms: i64) -> Decision {
    let group = groups.by_id.get(&commit.group).map(|group| &group.classic);
    if let Err(error) = check(group, commit) {
        return Decision::new(Vec::new(), CommandReply::Commit(Err(error)));
    }
    let mut records = Vec::new();
    let mut outcomes = Outcomes::new();
    for topic in &commit.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let error = if metadata_size(partition) > groups.config.offset_metadata_size_max {
                ErrorCode::OffsetMetadataTooLarge
            } else {
                let value = committed(partition, topic.topic_id, commit.retention_time_ms, now_ms);
                records.push(Record::offset(&commit.group, &topic.name, partition.partition, Some(value)));
                ErrorCode::None
            };
            partitions.push((partition.partition, error));
        }
        outcomes.push(TopicOutcome { name: topic.name.clone(), topic_id: topic.topic_id, partitions });
    }
    let counts = |group: &Classic| matches!(group.state, State::Stable | State::PreparingRebalance);
    let alive = group.is_some_and(counts).then(|| (commit.group.clone(), commit.member_id.clone()));
    Decision { records, reply: CommandReply::Commit(Ok(outcomes)), alive }
}

/// A consumer without a group generation may commit to a group that nobody is in; a member must be one
/// of the current generation, and wait with commits until the assignment is known.
fn check(group: Option<&Classic>, commit: &Commit) -> Result<(), ErrorCode> {
    let Some(group) = group else {
        return match commit.generation {
            ..0 => Ok(()),
            _ if commit.knows_group_id_not_found => Err(ErrorCode::GroupIdNotFound),
            _ => Err(ErrorCode::IllegalGeneration),
        };
    };
    if group.state == State::Dead {
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    if commit.generation < 0 && group.state == State::Empty {
        return Ok(());
    }
    if commit.generation < 0 && commit.member_id.is_empty() && commit.instance_id.is_none() {
        return Err(ErrorCode::UnknownMemberId);
    }
    group.check_member(&commit.member_id, commit.instance_id.as_deref())?;
    if commit.generation != group.generation {
        return Err(ErrorCode::IllegalGeneration);
    }
    match group.state {
        State::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
        _ => Ok(()),
    }
}

/// Kafka counts Java characters, whatever the property is called.
fn metadata_size(partition: &CommitPartition) -> usize {
    partition.metadata.as_ref().map_or(0, |metadata| metadata.encode_utf16().count())
}

fn committed(partition: &CommitPartition, topic_id: Uuid, retention_ms: i64, now_ms: i64) -> CommittedOffset {
    CommittedOffset {
        offset: partition.offset,
        leader_epoch: partition.leader_epoch,
        metadata: partition.metadata.clone().unwrap_or_else(|| "".into()),
        commit_timestamp_ms: now_ms,
        expire_timestamp_ms: (retention_ms != DEFAULT_RETENTION).then(|| now_ms.saturating_add(retention_ms)),
        topic_id,
    }
}

impl Groups {
    /// Committed offsets. What is not committed is answered as -1, an unknown group like one that has
    /// committed nothing.
    pub fn fetch(&self, fetch: &Fetch) -> Vec<FetchedTopic> {
        let alive = self.by_id.get(&fetch.group).is_some_and(|group| group.classic.state != State::Dead);
        match &fetch.topics {
            Some(topics) => topics.iter().map(|topic| self.fetch_topic(fetch, topic, alive)).collect(),
            None if alive => self.fetch_all(fetch),
            None => Vec::new(),
        }
    }

    fn fetch_topic(&self, fetch: &Fetch, topic: &FetchTopic, alive: bool) -> FetchedTopic {
        let one = |partition: &i32| {
            let found = self.offsets.get(&fetch.group, &topic.name, *partition).filter(|found| {
                // Committed to an earlier topic of that name.
                let (committed, asked) = (found.value.topic_id, topic.topic_id);
                alive && (committed.is_zero() || asked.is_zero() || committed == asked)
            });
            self.fetched(fetch, &topic.name, *partition, found)
        };
        FetchedTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(one).collect(),
        }
    }

    fn fetch_all(&self, fetch: &Fetch) -> Vec<FetchedTopic> {
        let pending = self.offsets.pending_in(&fetch.group).filter(|_| fetch.require_stable);
        let known = self.offsets.group(&fetch.group).into_iter().chain(pending);
        let all: BTreeSet<(&Arc<str>, i32)> = known
            .flatten()
            .flat_map(|(topic, partitions)| partitions.keys().map(move |partition| (topic, *partition)))
            .collect();
        let mut topics = Vec::<FetchedTopic>::new();
        for (topic, partition) in all {
            let found = self.offsets.get(&fetch.group, topic, partition);
            let fetched = self.fetched(fetch, topic, partition, found);
            match topics.last_mut().filter(|last| last.name == *topic) {
                Some(last) => last.partitions.push(fetched),
                None => topics.push(FetchedTopic {
                    name: topic.clone(),
                    topic_id: Uuid::ZERO,
                    partitions: vec![fetched],
                }),
            }
        }
        topics
    }

    fn fetched(
        &self,
        fetch: &Fetch,
        topic: &str,
        partition: i32,
        found: Option<&Committed>,
    ) -> FetchedOffset {
        let unstable = fetch.require_stable && self.offsets.is_pending(&fetch.group, topic, partition);
        let none = FetchedOffset {
            partition,
            error: if unstable { ErrorCode::UnstableOffsetCommit } else { ErrorCode::None },
            offset: -1,
            leader_epoch: -1,
            metadata: "".into(),
        };
        match found {
            Some(Committed { value, .. }) if !unstable => FetchedOffset {
                offset: value.offset,
                leader_epoch: value.leader_epoch,
                metadata: value.metadata.clone(),
                ..none
            },
            _ => none,
        }
    }
}
