//! DescribeTopicPartitions (key 75), version 0 (KIP-966).
//!
//! Topics in name order, partition by partition, from a cursor on and at most so many partitions as the request and
//! `max.request.partition.size.limit` allow; what did not fit is named by the next cursor. No topics named means all.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use milena_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use milena_state::metadata::Image;
use milena_state::metadata::image::{Topic, is_internal_topic};
use milena_state::metadata::topic_page::{self, Place};
use milena_state::metadata::topics;

use super::authorized_operations;
use super::topic_metadata::PartitionView;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: DescribeTopicPartitionsRequest<'_>) -> Reply {
    let image = cx.node.metadata.image_arc();
    let asked: BTreeSet<&str> = request.topics.iter().map(|topic| &*topic.name).collect();
    let cursor = request.cursor.as_ref();
    let start = cursor.map(|cursor| Place { topic: &cursor.topic_name, partition: cursor.partition_index });
    let names = match topic_page::names(&image, &asked, start) {
        Ok(names) => names,
        Err(error) => return cx.reply(&refuse_all(&request, error)),
    };
    let asked = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let limit = asked.min(cx.node.settings.max_request_partition_size_limit).max(1);
    cx.reply(&page(&image, &names, start, &cx.peer.listener, limit))
}

fn refuse_all<'a>(
    request: &'a DescribeTopicPartitionsRequest<'_>,
    error: ErrorCode,
) -> DescribeTopicPartitionsResponse<'a> {
    let topics = request.topics.iter().map(|topic| refused(&topic.name, error)).collect();
    DescribeTopicPartitionsResponse { topics, ..Default::default() }
}

/// One answer: at most `partitions_max` partitions.
fn page<'a>(
    image: &'a Image,
    names: &[&'a str],
    start: Option<Place<'_>>,
    listener: &str,
    partitions_max: usize,
) -> DescribeTopicPartitionsResponse<'a> {
    let (start_topic, start_partition) =
        start.map_or(("", 0), |start| (start.topic, start.partition as usize));
    let mut response = DescribeTopicPartitionsResponse::default();
    let mut room = partitions_max;
    for &name in names {
        let Some(topic) = image.topic_by_name(name) else {
            let operations = authorized_operations::on_topic(true);
            let unknown = refused(name, why_unknown(name));
            response.topics.push(DescribeTopicPartitionsResponseTopic {
                topic_authorized_operations: operations,
                ..unknown
            });
            continue;
        };
        let first = if name == start_topic { start_partition } else { 0 };
        if room == 0 {
            response.next_cursor = Some(Cursor { topic_name: name.into(), partition_index: first as i32 });
            break;
        }
        let described = describe(image, topic, listener, first, room);
        let next = first + described.partitions.len();
        room -= described.partitions.len();
        response.topics.push(described);
        if next < topic.partitions.len() {
            response.next_cursor = Some(Cursor { topic_name: name.into(), partition_index: next as i32 });
            break;
        }
    }
    response
}

fn why_unknown(name: &str) -> ErrorCode {
    if topics::check_name(name).is_err() {
        ErrorCode::InvalidTopicException
    } else {
        ErrorCode::UnknownTopicOrPartition
    }
}

fn refused(name: &str, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic<'_> {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.into(),
        name: Some(name.into()),
        is_internal: is_internal_topic(name),
        ..Default::default()
    }
}

fn describe<'a>(
    image: &Image,
    topic: &'a Arc<Topic>,
    listener: &str,
    first: usize,
    partitions_max: usize,
) -> DescribeTopicPartitionsResponseTopic<'a> {
    let partitions = topic.partitions.iter().enumerate().skip(first).take(partitions_max);
    let describe_one = |(index, partition): (usize, &Arc<milena_state::metadata::image::Partition>)| {
        let view = PartitionView::new(image, partition, listener);
        DescribeTopicPartitionsResponsePartition {
            error_code: view.error.into(),
            partition_index: index as i32,
            leader_id: view.leader_id,
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas.clone(),
            isr_nodes: partition.isr.clone(),
            eligible_leader_replicas: Some(partition.eligible_leader_replicas.clone()),
            last_known_elr: Some(partition.last_known_elr.clone()),
            offline_replicas: view.offline_replicas,
        }
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::None.into(),
        name: Some((&*topic.name).into()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions.map(describe_one).collect(),
        topic_authorized_operations: authorized_operations::on_topic(true),
    }
}
