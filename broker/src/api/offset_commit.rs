//! OffsetCommit (key 8), versions 2–10.
//!
//! How far a group has come. Partitions that do not exist are refused here, one by one; the rest goes to the group's
//! coordinator, whose error, if it has one for the group, is that of every partition of the request.
//!
//! v2–v4 name a retention time, v6 brings leader epochs (KIP-320), v7 static members (KIP-345), v9 tells an unknown
//! group from a stale generation (KIP-848), v10 names topics by id (KIP-848): UNKNOWN_TOPIC_ID.

use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use milena_state::group::reply::{Outcomes, TopicOutcome};
use milena_state::group::request::{Commit, CommitPartition, CommitTopic};
use milena_state::metadata::Image;
use milena_state::metadata::image::Topic;

use super::group_topics::{Collected, has_partition};
use crate::server::{Reply, RequestContext};

const BY_ID_FROM: i16 = 10;

pub async fn handle(cx: &RequestContext, request: OffsetCommitRequest<'_>) -> Reply {
    let outcomes = commit(cx, &request).await.unwrap_or_else(|error| refused(&request, error));
    let topics = outcomes.iter().map(|topic| OffsetCommitResponseTopic {
        name: (&*topic.name).into(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|(partition_index, error)| OffsetCommitResponsePartition {
                partition_index: *partition_index,
                error_code: (*error).into(),
            })
            .collect(),
    });
    cx.reply(&OffsetCommitResponse { topics: topics.collect(), ..Default::default() })
}

/// Fails with the error of every partition.
async fn commit(cx: &RequestContext, request: &OffsetCommitRequest<'_>) -> Result<Outcomes, ErrorCode> {
    let (topics, refused) = sort_out(cx, request);
    if topics.is_empty() {
        return Ok(refused.followed_by(Vec::new()));
    }
    let commit = Commit {
        group: (&*request.group_id).into(),
        generation: request.generation_id_or_member_epoch,
        member_id: (&*request.member_id).into(),
        instance_id: request.group_instance_id.as_deref().map(Into::into),
        retention_time_ms: request.retention_time_ms,
        knows_group_id_not_found: cx.version >= 9,
        topics,
    };
    Ok(refused.followed_by(cx.node.groups.commit(commit).await?))
}

/// What the coordinator is asked, and what is refused without it.
fn sort_out(cx: &RequestContext, request: &OffsetCommitRequest<'_>) -> (Vec<CommitTopic>, Collected) {
    let image = cx.node.metadata.image_arc();
    let mut refused = Collected::default();
    let mut served = Vec::with_capacity(request.topics.len());
    for asked in &request.topics {
        let Some(topic) = find(&image, asked, cx.version) else {
            let by_id = cx.version >= BY_ID_FROM;
            let error = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
            let partitions = asked.partitions.iter().map(|partition| (partition.partition_index, error));
            refused.add(asked.topic_id, &Arc::from(&*asked.name), partitions);
            continue;
        };
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for partition in &asked.partitions {
            let index = partition.partition_index;
            if has_partition(topic, index) {
                partitions.push(taken(partition));
            } else {
                refused.add(topic.id, &topic.name, [(index, ErrorCode::UnknownTopicOrPartition)]);
            }
        }
        if !partitions.is_empty() {
            // Kept with the id however it was named, as Kafka keeps it: who asks by id sees no offset of an earlier topic.
            served.push(CommitTopic { name: topic.name.clone(), topic_id: topic.id, partitions });
        }
    }
    (served, refused)
}

fn find<'a>(image: &'a Image, asked: &OffsetCommitRequestTopic<'_>, version: i16) -> Option<&'a Arc<Topic>> {
    match version {
        BY_ID_FROM.. => image.topic(asked.topic_id),
        _ => image.topic_by_name(&asked.name),
    }
}

fn taken(partition: &OffsetCommitRequestPartition<'_>) -> CommitPartition {
    CommitPartition {
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_deref().map(Into::into),
    }
}

/// The whole request with one error, as it was asked.
fn refused(request: &OffsetCommitRequest<'_>, error: ErrorCode) -> Outcomes {
    let topics = request.topics.iter().map(|topic| TopicOutcome {
        name: (&*topic.name).into(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|partition| (partition.partition_index, error)).collect(),
    });
    topics.collect()
}
