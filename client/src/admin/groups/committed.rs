//! OffsetFetch and OffsetCommit from outside of a group.

use std::sync::Arc;

use milena_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};

use super::ByGroup;
use super::ask::Coordinator;
use crate::admin::{Admin, ByPartition};
use crate::connection::Connection;
use crate::error::{Error, Result};

/// From here on topics have ids instead of names.
const BY_ID_FROM: i16 = 10;

/// From here on one request asks for many groups (KIP-709).
const MANY_GROUPS_FROM: i16 = 8;

/// The first version that can ask for all partitions of a group.
const ALL_TOPICS_FROM: i16 = 2;

/// How far a group has come in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The record that is next.
    pub offset: i64,
    pub leader_epoch: Option<i32>,
    pub metadata: String,
}

impl CommittedOffset {
    /// None where nothing is committed.
    fn new(offset: i64, leader_epoch: i32, metadata: Option<&str>) -> Option<Self> {
        let metadata = metadata.unwrap_or_default().to_owned();
        let leader_epoch = (leader_epoch >= 0).then_some(leader_epoch);
        (offset >= 0).then_some(Self { offset, leader_epoch, metadata })
    }
}

impl Admin {
    /// What groups have committed, in all partitions. A group that is not there has committed nothing.
    pub async fn list_committed_offsets(
        &self,
        groups: &[String],
    ) -> ByGroup<ByPartition<Result<CommittedOffset>>> {
        let ask = async |coordinator: Coordinator, groups: Vec<String>| {
            let coordinator = &coordinator.connection;
            let version = coordinator.version_of::<OffsetFetchRequest<'_>>(BY_ID_FROM - 1)?;
            if version >= MANY_GROUPS_FROM {
                return fetch_many(coordinator, version, &groups).await;
            }
            let mut committed = ByGroup::new();
            for group in groups {
                let fetched = fetch_one(coordinator, version, &group).await;
                committed.insert(group, fetched);
            }
            Ok(committed)
        };
        self.ask_coordinators(groups, ask).await
    }

    /// Commits offsets for a group without members, whatever it has committed before. One result for each
    /// of the partitions.
    ///
    /// Errors: what keeps the request from being answered.
    pub async fn alter_committed_offsets(
        &self,
        group_id: &str,
        offsets: &ByPartition<i64>,
    ) -> Result<ByPartition<Result<()>>> {
        let commit = async |coordinator: Arc<Connection>| {
            let version = coordinator.version_of::<OffsetCommitRequest<'_>>(BY_ID_FROM - 1)?;
            // Generation and member id are those of nobody: only a group without members takes that.
            let request = OffsetCommitRequest {
                group_id: group_id.into(),
                topics: to_commit(offsets),
                ..Default::default()
            };
            let response = coordinator.call_at(&request, version).await?;
            let response = response.decode::<OffsetCommitRequest<'_>>()?;
            let answers = response.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|answer| (&topic.name, answer.partition_index, answer.error_code))
            });
            super::delete::by_partition(offsets.keys(), answers, &format!("offset of group {group_id}"))
        };
        self.cluster.at_coordinator(group_id, commit).await
    }
}

fn to_commit(offsets: &ByPartition<i64>) -> Vec<OffsetCommitRequestTopic<'_>> {
    let mut topics: Vec<OffsetCommitRequestTopic<'_>> = Vec::new();
    for ((topic, partition), offset) in offsets {
        let partition = OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            ..Default::default()
        };
        match topics.last_mut() {
            Some(last) if last.name == topic.as_str() => last.partitions.push(partition),
            _ => topics.push(OffsetCommitRequestTopic {
                name: topic.as_str().into(),
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    topics
}

async fn fetch_many(
    connection: &Connection,
    version: i16,
    groups: &[String],
) -> Result<ByGroup<ByPartition<Result<CommittedOffset>>>> {
    let asked = groups.iter().map(|group| OffsetFetchRequestGroup {
        group_id: group.as_str().into(),
        topics: None,
        ..Default::default()
    });
    let request = OffsetFetchRequest { groups: asked.collect(), ..Default::default() };
    let response = connection.call_at(&request, version).await?;
    let response = response.decode::<OffsetFetchRequest<'_>>()?;
    let answers = response.groups.iter().map(|group| {
        let id = group.group_id.to_string();
        let partitions = group.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|answer| {
                let (epoch, metadata) = (answer.committed_leader_epoch, answer.metadata.as_deref());
                let committed = CommittedOffset::new(answer.committed_offset, epoch, metadata);
                (&*topic.name, answer.partition_index, answer.error_code, committed)
            })
        });
        let checked = Error::check(group.error_code, None, || format!("offsets of group {id}"));
        let collected = checked.and_then(|()| collected(&id, partitions));
        (id, collected)
    });
    Ok(answers.collect())
}

async fn fetch_one(
    connection: &Connection,
    version: i16,
    group: &str,
) -> Result<ByPartition<Result<CommittedOffset>>> {
    if version < ALL_TOPICS_FROM {
        let context = format!("all offsets of group {group} on {}", connection.address());
        let code = milena_protocol::ErrorCode::UnsupportedVersion;
        return Err(Error::Broker { context, code, message: None });
    }
    let request = OffsetFetchRequest { group_id: group.into(), topics: None, ..Default::default() };
    let response = connection.call_at(&request, version).await?;
    let response = response.decode::<OffsetFetchRequest<'_>>()?;
    Error::check(response.error_code, None, || format!("offsets of group {group}"))?;
    let partitions = response.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|answer| {
            let (epoch, metadata) = (answer.committed_leader_epoch, answer.metadata.as_deref());
            let committed = CommittedOffset::new(answer.committed_offset, epoch, metadata);
            (&*topic.name, answer.partition_index, answer.error_code, committed)
        })
    });
    collected(group, partitions)
}

/// Errors: the first that concerns the coordinator, so that the group is asked for again.
fn collected<'a>(
    group: &str,
    partitions: impl Iterator<Item = (&'a str, i32, i16, Option<CommittedOffset>)>,
) -> Result<ByPartition<Result<CommittedOffset>>> {
    let mut all = ByPartition::new();
    for (topic, partition, error_code, committed) in partitions {
        let checked =
            Error::check(error_code, None, || format!("offset of group {group} in {topic}-{partition}"));
        let result = match checked {
            Err(error) if super::delete::concerns_the_coordinator(&error) => return Err(error),
            Err(error) => Err(error),
            Ok(()) => match committed {
                Some(committed) => Ok(committed),
                None => continue,
            },
        };
        all.insert((topic.to_owned(), partition), result);
    }
    Ok(all)
}
