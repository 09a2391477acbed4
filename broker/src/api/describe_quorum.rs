//! DescribeQuorum (key 55), versions 0–2 (KIP-595).
//!
//! Who votes on the metadata log and how far each is. As with Kafka a request asks for exactly `__cluster_metadata-0`;
//! whatever else is asked for answers UNKNOWN_TOPIC_OR_PARTITION everywhere. v1 adds times (KIP-836), v2 messages,
//! directory ids and the controllers' listeners (KIP-853). Brokers that follow the log without voting are observers. Only
//! the leader knows how far the others are: whoever else is asked passes the request on.

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_quorum_request::DescribeQuorumRequest;
use milena_protocol::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};
use milena_protocol::types::Uuid;

use crate::broker::now_ms;
use crate::controller::raft::observers::Observer;
use crate::controller::raft::quorum::Quorum;
use crate::controller::raft::types::{VoterAddress, VoterId};
use crate::server::{Reply, RequestContext};

const METADATA_TOPIC: &str = "__cluster_metadata";
const UNKNOWN_TEXT: &str = "This server does not host this topic-partition.";
const NOT_LEADER_TEXT: &str = "For requests intended only for the leader, this error indicates that the broker is not the current leader. For \
     requests intended for any replica, this error indicates that the broker is not a replica of the topic partition.";

pub async fn handle(cx: &RequestContext, request: DescribeQuorumRequest<'_>) -> Reply {
    if !asks_for_metadata(&request) {
        return cx.reply(&refused(&request, ErrorCode::UnknownTopicOrPartition, UNKNOWN_TEXT));
    }
    let Some(quorum) = cx.node.quorum.as_ref().filter(|quorum| quorum.leadership().is_some()) else {
        cx.not_controller();
        return cx.reply(&refused(&request, ErrorCode::NotLeaderOrFollower, NOT_LEADER_TEXT));
    };
    let partitions = vec![metadata_partition(cx, quorum)];
    cx.reply(&DescribeQuorumResponse {
        error_message: Some("".into()),
        topics: vec![TopicData { topic_name: METADATA_TOPIC.into(), partitions }],
        nodes: if cx.version >= 2 { nodes(cx, quorum) } else { Vec::new() },
        ..Default::default()
    })
}

fn asks_for_metadata(request: &DescribeQuorumRequest<'_>) -> bool {
    let [topic] = request.topics.as_slice() else { return false };
    let [partition] = topic.partitions.as_slice() else { return false };
    &*topic.topic_name == METADATA_TOPIC && partition.partition_index == 0
}

fn refused<'a>(
    request: &'a DescribeQuorumRequest<'_>,
    code: ErrorCode,
    message: &'static str,
) -> DescribeQuorumResponse<'a> {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| PartitionData {
            partition_index: partition.partition_index,
            error_code: code.into(),
            error_message: Some(message.into()),
            ..Default::default()
        });
        TopicData { topic_name: (&*topic.topic_name).into(), partitions: partitions.collect() }
    });
    DescribeQuorumResponse { error_message: Some("".into()), topics: topics.collect(), ..Default::default() }
}

fn metadata_partition(cx: &RequestContext, quorum: &Quorum) -> PartitionData<'static> {
    let (progress, now_ms) = (quorum.progress(), now_ms());
    // v0 has no times.
    let seen_ms = |ms: i64| if cx.version >= 1 { ms } else { -1 };
    let replica =
        |id: i32, directory: Uuid, log_end_offset: i64, fetched_ms: i64, caught_up_ms: i64| ReplicaState {
            replica_id: id,
            replica_directory_id: if cx.version >= 2 { directory } else { Uuid::ZERO },
            log_end_offset,
            last_fetch_timestamp: seen_ms(fetched_ms),
            last_caught_up_timestamp: seen_ms(caught_up_ms),
        };
    let voters = quorum.voter_progress().into_iter().map(|voter| {
        let answered_ms = voter.answered_ago.map_or(-1, |ago| now_ms - ago.as_millis() as i64);
        // The leader knows of a voter what it answered last, and not since when it lacked something.
        let caught_up_ms = if voter.log_end_offset >= progress.high_watermark { answered_ms } else { -1 };
        replica(voter.voter.id, voter.voter.directory, voter.log_end_offset, answered_ms, caught_up_ms)
    });
    let observers = quorum.observers().list(now_ms).into_iter().map(|observer| {
        let Observer { id, directory, log_end_offset, last_fetch_ms, last_caught_up_ms } = observer;
        replica(id, directory, log_end_offset, last_fetch_ms, last_caught_up_ms)
    });
    PartitionData {
        partition_index: 0,
        error_message: Some("".into()),
        leader_id: progress.leader.unwrap_or(-1),
        leader_epoch: i32::try_from(progress.term).unwrap_or(i32::MAX),
        high_watermark: progress.high_watermark,
        current_voters: voters.collect(),
        observers: observers.collect(),
        ..Default::default()
    }
}

/// The voters with where they are reached. A quorum of one that nobody dials says what its settings do.
fn nodes<'a>(cx: &'a RequestContext, quorum: &Quorum) -> Vec<Node<'a>> {
    let own = cx.node.settings.controller_listeners.iter().map(|listener| Listener {
        name: listener.name.as_str().into(),
        host: listener.host.as_str().into(),
        port: listener.port,
    });
    let name = own.clone().next().map(|listener| listener.name).unwrap_or_default();
    let node = |(voter, address): (VoterId, VoterAddress)| {
        let reached = Listener { name: name.clone(), host: address.host.clone().into(), port: address.port };
        let is_named = !address.host.is_empty();
        let listeners = if is_named { vec![reached] } else { own.clone().collect() };
        Node { node_id: voter.id, listeners }
    };
    quorum.voters().into_iter().map(node).collect()
}
