//! OffsetDelete (key 47), version 0 (KIP-496).
//!
//! A group forgets what it committed to some partitions. Topics that members of the group subscribe to keep their
//! offsets: GROUP_SUBSCRIBED_TO_TOPIC. Partitions that do not exist are refused here; a request with nothing
//! else still hears what is wrong with its group.

use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::offset_delete_request::{OffsetDeleteRequest, OffsetDeleteRequestTopic};
use milena_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use milena_protocol::types::Uuid;
use milena_state::group::reply::Outcomes;
use milena_state::group::request::DeleteOffsets;
use milena_state::metadata::Image;

use super::group_topics::{Collected, has_partition};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: OffsetDeleteRequest<'_>) -> Reply {
    let (error, outcomes) = match delete(cx, &request).await {
        Ok(outcomes) => (ErrorCode::None, outcomes),
        Err(error) => (error, Vec::new()),
    };
    let topics = outcomes.iter().map(|topic| OffsetDeleteResponseTopic {
        name: (&*topic.name).into(),
        partitions: topic
            .partitions
            .iter()
            .map(|(partition_index, error)| OffsetDeleteResponsePartition {
                partition_index: *partition_index,
                error_code: (*error).into(),
            })
            .collect(),
    });
    cx.reply(&OffsetDeleteResponse {
        error_code: error.into(),
        topics: topics.collect(),
        ..Default::default()
    })
}

async fn delete(cx: &RequestContext, request: &OffsetDeleteRequest<'_>) -> Result<Outcomes, ErrorCode> {
    let mut refused = Collected::default();
    let image = cx.node.metadata.image_arc();
    let existing = request.topics.iter().filter_map(|topic| existing(&image, topic, &mut refused));
    let topics: Vec<_> = existing.collect();
    let delete = DeleteOffsets { group: (&*request.group_id).into(), topics };
    Ok(refused.followed_by(cx.node.groups.delete_offsets(delete).await?))
}

/// The partitions of a topic that exist, if any do.
fn existing(
    image: &Image,
    asked: &OffsetDeleteRequestTopic<'_>,
    refused: &mut Collected,
) -> Option<(Arc<str>, Vec<i32>)> {
    let topic = image.topic_by_name(&asked.name);
    let indexes = asked.partitions.iter().map(|partition| partition.partition_index);
    let (known, unknown): (Vec<i32>, Vec<i32>) =
        indexes.partition(|index| topic.is_some_and(|topic| has_partition(topic, *index)));
    let name: Arc<str> = (&*asked.name).into();
    if !unknown.is_empty() {
        let unknown = unknown.into_iter().map(|index| (index, ErrorCode::UnknownTopicOrPartition));
        refused.add(Uuid::ZERO, &name, unknown);
    }
    (!known.is_empty()).then_some((name, known))
}
