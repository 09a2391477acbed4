//! ElectLeaders (key 43), versions 0–2 (KIP-183, KIP-460).
//!
//! Elects the preferred replica of partitions, or where nobody may lead cleanly any live one (which may lose records);
//! no partitions named means all, of which those that need no election are left out of the answer. v0 knows only the
//! preferred replica. v1 adds the kind of election and an error of the whole.

use milena_protocol::ErrorCode;
use milena_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use milena_protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use milena_state::metadata::elections::{ElectLeaders, ElectedPartition, ElectedTopic};
use milena_state::metadata::partitions::Election;
use milena_state::metadata::{Command, Reply as Decided};

use super::controller_call;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: ElectLeadersRequest<'_>) -> Reply {
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        _ => return cx.reply(&refused(&request, cx.version, ErrorCode::InvalidRequest)),
    };
    let asked = request.topic_partitions.as_ref();
    let partitions = asked.map(|topics| {
        topics.iter().map(|asked| (asked.topic.to_string(), asked.partitions.clone())).collect()
    });
    let command = Command::ElectLeaders(ElectLeaders { election, partitions });
    match controller_call::decide(cx, command, request.timeout_ms).await {
        Ok(Decided::ElectLeaders(topics)) => cx.reply(&elected(topics)),
        Ok(_) => cx.reply(&refused(&request, cx.version, ErrorCode::UnknownServerError)),
        Err(code) => cx.reply(&refused(&request, cx.version, code)),
    }
}

fn elected(topics: Vec<ElectedTopic>) -> ElectLeadersResponse<'static> {
    let topic = |elected: ElectedTopic| ReplicaElectionResult {
        topic: elected.topic.into(),
        partition_result: elected.partitions.into_iter().map(outcome).collect(),
    };
    ElectLeadersResponse {
        replica_election_results: topics.into_iter().map(topic).collect(),
        ..Default::default()
    }
}

fn outcome(elected: ElectedPartition) -> PartitionResult<'static> {
    let error = elected.result.err();
    PartitionResult {
        partition_id: elected.partition_id,
        error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).into(),
        error_message: error.map(|error| error.message.into()),
    }
}

/// The same error for each of them, and for the whole where the version has that.
fn refused<'a>(
    request: &'a ElectLeadersRequest<'_>,
    version: i16,
    error: ErrorCode,
) -> ElectLeadersResponse<'a> {
    let asked = request.topic_partitions.iter().flatten();
    let topics = asked.map(|topic| {
        let failed = |partition_id: &i32| PartitionResult {
            partition_id: *partition_id,
            error_code: error.into(),
            ..Default::default()
        };
        let partition_result = topic.partitions.iter().map(failed).collect();
        ReplicaElectionResult { topic: (&*topic.topic).into(), partition_result }
    });
    ElectLeadersResponse {
        error_code: if version >= 1 { error } else { ErrorCode::None }.into(),
        replica_election_results: topics.collect(),
        ..Default::default()
    }
}
