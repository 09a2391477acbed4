//! AlterPartitionReassignments (key 45), versions 0–1 (KIP-455, KIP-860).
//!
//! Gives partitions other replicas: first the new ones are added, and when all of the target are in sync the others go.
//! No replicas named takes back what is under way. v1 lets the request forbid another replication factor.

use milena_protocol::ErrorCode;
use milena_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignableTopic,
};
use milena_protocol::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use milena_state::metadata::reassignments::{
    AlterPartitionReassignments, ReassignPartition, ReassignTopic, ReassignedPartition, ReassignedTopic,
};
use milena_state::metadata::{Command, Reply as Decided};

use super::controller_call;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: AlterPartitionReassignmentsRequest<'_>) -> Reply {
    let command = Command::AlterPartitionReassignments(AlterPartitionReassignments {
        topics: request.topics.iter().map(asked).collect(),
        allow_replication_factor_change: request.allow_replication_factor_change,
    });
    let outcome = match controller_call::decide(cx, command, request.timeout_ms).await {
        Ok(Decided::AlterPartitionReassignments(topics)) => Ok(topics),
        Ok(_) => Err(ErrorCode::UnknownServerError),
        Err(code) => Err(code),
    };
    let error_code = outcome.as_ref().err().copied().unwrap_or(ErrorCode::None).into();
    cx.reply(&AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        error_code,
        responses: outcome.unwrap_or_default().into_iter().map(answer).collect(),
        error_message: None,
        ..Default::default()
    })
}

fn asked(topic: &ReassignableTopic<'_>) -> ReassignTopic {
    let partitions = topic.partitions.iter().map(|partition| ReassignPartition {
        partition_id: partition.partition_index,
        replicas: partition.replicas.clone(),
    });
    ReassignTopic { name: topic.name.to_string(), partitions: partitions.collect() }
}

fn answer(topic: ReassignedTopic) -> ReassignableTopicResponse<'static> {
    ReassignableTopicResponse {
        name: topic.name.into(),
        partitions: topic.partitions.into_iter().map(outcome).collect(),
    }
}

fn outcome(partition: ReassignedPartition) -> ReassignablePartitionResponse<'static> {
    let error = partition.result.err();
    ReassignablePartitionResponse {
        partition_index: partition.partition_id,
        error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).into(),
        error_message: error.map(|error| error.message.into()),
    }
}
