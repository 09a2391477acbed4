//! DescribeProducers (key 61), version 0 (KIP-664).
//!
//! The producers that a partition remembers: their last sequence, when they last wrote, and where their transaction
//! began that is still open.

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_producers_request::{DescribeProducersRequest, TopicRequest};
use milena_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use milena_state::metadata::{Image, topics};

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: DescribeProducersRequest<'_>) -> Reply {
    let image = cx.node.metadata.image_arc();
    let topics = request.topics.iter().map(|topic| describe(cx, &image, topic)).collect();
    cx.reply(&DescribeProducersResponse { topics, ..Default::default() })
}

fn describe<'a>(cx: &RequestContext, image: &Image, topic: &'a TopicRequest<'_>) -> TopicResponse<'a> {
    let refusal = refusal(image, &topic.name);
    let partitions = topic.partition_indexes.iter().map(|index| match &refusal {
        Some((error, message)) => PartitionResponse {
            partition_index: *index,
            error_code: (*error).into(),
            error_message: Some(message.clone().into()),
            ..Default::default()
        },
        None => of_partition(cx, &topic.name, *index),
    });
    TopicResponse { name: (&*topic.name).into(), partitions: partitions.collect() }
}

/// What is wrong with all of a topic.
fn refusal(image: &Image, name: &str) -> Option<(ErrorCode, String)> {
    if let Err(message) = topics::check_name(name) {
        return Some((ErrorCode::InvalidTopicException, message));
    }
    let unknown = "This server does not host this topic-partition.";
    image.topic_by_name(name).is_none().then(|| (ErrorCode::UnknownTopicOrPartition, unknown.to_owned()))
}

fn of_partition(cx: &RequestContext, topic: &str, index: i32) -> PartitionResponse<'static> {
    let found = cx.node.partitions.by_name(topic, index).and_then(|partition| partition.active_producers());
    let (error, active) = match found {
        Ok(active) => (ErrorCode::None, active),
        Err(error) => (error, Vec::new()),
    };
    let active = active.into_iter().map(|producer| ProducerState {
        producer_id: producer.producer_id,
        producer_epoch: i32::from(producer.epoch),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.transaction_start_offset.unwrap_or(-1),
    });
    PartitionResponse {
        partition_index: index,
        error_code: error.into(),
        active_producers: active.collect(),
        ..Default::default()
    }
}
