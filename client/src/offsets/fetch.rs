//! OffsetFetch (key 9), versions 1–9.
//!
//! Version 2 brought a question for all partitions, version 7 waiting for open transactions (KIP-447), version 8 many
//! groups in one request (KIP-709).

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::ErrorCode;
use milena_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};

use super::{BY_NAME_UNTIL, check, indexes_by_topic};
use crate::connection::Connection;
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};

const ALL_PARTITIONS_FROM: i16 = 2;
const STABLE_FROM: i16 = 7;
const MANY_GROUPS_FROM: i16 = 8;

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

/// What is asked of each group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// None of them means all in which the group has committed.
    pub(crate) partitions: Option<&'a BTreeSet<PartitionKey>>,
    /// Offsets that an open transaction is about to change are refused with UNSTABLE_OFFSET_COMMIT, where brokers know
    /// that.
    pub(crate) require_stable: bool,
}

/// What a group has committed by partition; none where the group has committed nothing.
pub(crate) type Fetched = BTreeMap<PartitionKey, Result<Option<CommittedOffset>>>;

/// Asks once, over a connection to the coordinator, in as few requests as its version allows. A group that the answer
/// leaves out is left out here.
///
/// Errors: those of the connection. A group has what is wrong with all of it, or with its coordinator.
pub(crate) async fn fetch(
    connection: &Connection,
    groups: &[String],
    question: Question<'_>,
) -> Result<BTreeMap<String, Result<Fetched>>> {
    let version = connection.version_of::<OffsetFetchRequest<'_>>(BY_NAME_UNTIL)?;
    if version >= MANY_GROUPS_FROM {
        return many(connection, version, groups, question).await;
    }
    let mut fetched = BTreeMap::new();
    for group in groups {
        fetched.insert(group.clone(), one(connection, version, group, question).await);
    }
    Ok(fetched)
}

async fn many(
    connection: &Connection,
    version: i16,
    groups: &[String],
    question: Question<'_>,
) -> Result<BTreeMap<String, Result<Fetched>>> {
    let topics = || {
        question.by_topic().map(|topics| {
            topics
                .into_iter()
                .map(|(name, indexes)| OffsetFetchRequestTopics {
                    name: name.into(),
                    partition_indexes: indexes,
                    ..Default::default()
                })
                .collect()
        })
    };
    let asked = groups.iter().map(|group| OffsetFetchRequestGroup {
        group_id: group.as_str().into(),
        topics: topics(),
        ..Default::default()
    });
    let request = OffsetFetchRequest {
        groups: asked.collect(),
        require_stable: question.require_stable,
        ..Default::default()
    };
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
        let fetched = collected(&id, group.error_code, partitions);
        (id, fetched)
    });
    Ok(answers.collect())
}

async fn one(connection: &Connection, version: i16, group: &str, question: Question<'_>) -> Result<Fetched> {
    if version < ALL_PARTITIONS_FROM && question.partitions.is_none() {
        let context = format!("all offsets of group {group} on {}", connection.address());
        return Err(Error::Broker { context, code: ErrorCode::UnsupportedVersion, message: None });
    }
    let topics = question.by_topic().map(|topics| {
        topics
            .into_iter()
            .map(|(name, partition_indexes)| OffsetFetchRequestTopic { name: name.into(), partition_indexes })
            .collect()
    });
    let request = OffsetFetchRequest {
        group_id: group.into(),
        topics,
        require_stable: question.require_stable && version >= STABLE_FROM,
        ..Default::default()
    };
    let response = connection.call_at(&request, version).await?;
    let response = response.decode::<OffsetFetchRequest<'_>>()?;
    let partitions = response.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|answer| {
            let (epoch, metadata) = (answer.committed_leader_epoch, answer.metadata.as_deref());
            let committed = CommittedOffset::new(answer.committed_offset, epoch, metadata);
            (&*topic.name, answer.partition_index, answer.error_code, committed)
        })
    });
    collected(group, response.error_code, partitions)
}

impl<'a> Question<'a> {
    fn by_topic(self) -> Option<Vec<(&'a str, Vec<i32>)>> {
        Some(indexes_by_topic(self.partitions?))
    }
}

/// Errors: what is wrong with the group, and the first of a partition that concerns the coordinator.
fn collected<'a>(
    group: &str,
    error_code: i16,
    partitions: impl Iterator<Item = (&'a str, i32, i16, Option<CommittedOffset>)>,
) -> Result<Fetched> {
    Error::check(error_code, None, || format!("offsets of group {group}"))?;
    let mut fetched = Fetched::new();
    for (topic, partition, code, committed) in partitions {
        let checked = check(code, || format!("offset of group {group} in {topic}-{partition}"))?;
        fetched.insert((topic.to_owned(), partition), checked.map(|()| committed));
    }
    Ok(fetched)
}
