//! DescribeQuorum (key 55), versions 0–2 (KIP-595).
//!
//! Who votes on the metadata log and how far each is. As with Kafka a request asks for exactly `__cluster_metadata-0`;
//! whatever else is asked for answers UNKNOWN_TOPIC_OR_PARTITION everywhere. v1 adds times (KIP-836), v2 messages,
//! directory ids and the controllers' listeners (KIP-853). Brokers that follow the log without voting are observers;
//! with all in one process there are none.

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_quorum_request::DescribeQuorumRequest;
use milena_protocol::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};
use milena_protocol::types::Uuid;

use crate::broker::now_ms;
use crate::server::{Reply, RequestContext};

const METADATA_TOPIC: &str = "__cluster_metadata";

pub async fn handle(cx: &RequestContext, request: DescribeQuorumRequest<'_>) -> Reply {
    if !asks_for_metadata(&request) {
        return cx.reply(&unknown(&request));
    }
    let topic = TopicData { topic_name: METADATA_TOPIC.into(), partitions: vec![metadata_partition(cx)] };
    cx.reply(&DescribeQuorumResponse {
        error_message: Some("".into()),
        topics: vec![topic],
        nodes: if cx.version >= 2 { vec![node(cx)] } else { Vec::new() },
        ..Default::default()
    })
}

fn asks_for_metadata(request: &DescribeQuorumRequest<'_>) -> bool {
    let [topic] = request.topics.as_slice() else { return false };
    let [partition] = topic.partitions.as_slice() else { return false };
    &*topic.topic_name == METADATA_TOPIC && partition.partition_index == 0
}

fn unknown<'a>(request: &'a DescribeQuorumRequest<'_>) -> DescribeQuorumResponse<'a> {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| PartitionData {
            partition_index: partition.partition_index,
            error_code: ErrorCode::UnknownTopicOrPartition.into(),
            error_message: Some("This server does not host this topic-partition.".into()),
            ..Default::default()
        });
        TopicData { topic_name: (&*topic.topic_name).into(), partitions: partitions.collect() }
    });
    DescribeQuorumResponse { error_message: Some("".into()), topics: topics.collect(), ..Default::default() }
}

fn metadata_partition(cx: &RequestContext) -> PartitionData<'static> {
    let progress = cx.node.quorum.progress();
    // The leader is always caught up with itself; v0 has no times.
    let seen_ms = if cx.version >= 1 { now_ms() } else { -1 };
    let own = ReplicaState {
        replica_id: progress.voter.id,
        replica_directory_id: match cx.version {
            ..=1 => Uuid::ZERO,
            _ => Uuid::from_u128(progress.voter.directory.as_u128()),
        },
        log_end_offset: progress.log_end_offset,
        last_fetch_timestamp: seen_ms,
        last_caught_up_timestamp: seen_ms,
    };
    PartitionData {
        partition_index: 0,
        error_message: Some("".into()),
        leader_id: progress.leader.unwrap_or(-1),
        leader_epoch: i32::try_from(progress.term).unwrap_or(i32::MAX),
        high_watermark: progress.high_watermark,
        current_voters: vec![own],
        ..Default::default()
    }
}

fn node(cx: &RequestContext) -> Node<'_> {
    let listeners = cx.node.settings.controller_listeners.iter().map(|listener| Listener {
        name: listener.name.as_str().into(),
        host: listener.host.as_str().into(),
        port: listener.port,
    });
    Node { node_id: cx.node.settings.node_id, listeners: listeners.collect() }
}
