//! OffsetCommit (key 8), versions 2–9.

use std::collections::BTreeMap;

use milena_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};

use super::{BY_NAME_UNTIL, by_topic, results};
use crate::connection::Connection;
use crate::consumer::PartitionKey;
use crate::error::Result;

/// For whom offsets are committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committer<'a> {
    pub(crate) group_id: &'a str,
    pub(crate) generation: i32,
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
}

impl<'a> Committer<'a> {
    /// No member: a group takes that only while it has none.
    pub(crate) fn nobody(group_id: &'a str) -> Self {
        Self { group_id, generation: -1, member_id: "", instance_id: None }
    }
}

/// The next offset to read in a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewOffset<'a> {
    pub(crate) key: &'a PartitionKey,
    pub(crate) offset: i64,
    pub(crate) metadata: &'a str,
}

/// Commits once, over a connection to the coordinator. Offsets are in order of the topics.
///
/// Errors: those of the connection, and what concerns the coordinator; see [`results`].
pub(crate) async fn commit(
    connection: &Connection,
    committer: Committer<'_>,
    offsets: &[NewOffset<'_>],
) -> Result<BTreeMap<PartitionKey, Result<()>>> {
    let version = connection.version_of::<OffsetCommitRequest<'_>>(BY_NAME_UNTIL)?;
    let response = connection.call_at(&request(committer, offsets), version).await?;
    let response = response.decode::<OffsetCommitRequest<'_>>()?;
    let answers = response.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|answer| (&topic.name, answer.partition_index, answer.error_code))
    });
    let what = format!("committing the offset of group {}", committer.group_id);
    results(offsets.iter().map(|each| each.key), answers, &what)
}

fn request<'a>(committer: Committer<'a>, offsets: &[NewOffset<'a>]) -> OffsetCommitRequest<'a> {
    let topics = by_topic(offsets.iter().map(|each| (each.key, each)));
    let topics = topics.into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|(partition_index, each)| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: each.offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(each.metadata.into()),
        });
        OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: partitions.collect(),
            ..Default::default()
        }
    });
    OffsetCommitRequest {
        group_id: committer.group_id.into(),
        generation_id_or_member_epoch: committer.generation,
        member_id: committer.member_id.into(),
        group_instance_id: committer.instance_id.map(Into::into),
        topics: topics.collect(),
        ..Default::default()
    }
}
