//! CreatePartitions (key 37), versions 0–3.
//!
//! Grows topics to a new count (KIP-195), on brokers that the request or the controller chooses; fewer is
//! INVALID_PARTITIONS. The answer waits until this broker serves the new partitions. A name that stands twice is
//! refused once. When the controller has more to do than it can queue, v3 is told THROTTLING_QUOTA_EXCEEDED (KIP-599)
//! and older clients REQUEST_TIMED_OUT, which they know.

use milena_protocol::ErrorCode;
use milena_protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use milena_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use milena_state::metadata::topics::{CreatePartitions, CreatedPartitions, MorePartitions};
use milena_state::metadata::{Command, Mutation, Reply as Decided};

use super::mutations;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: CreatePartitionsRequest<'_>) -> Reply {
    let asked = request.topics.iter().map(more_partitions).collect();
    let admitted = mutations::admit(cx, asked, |topic| Mutation::Grow(topic));
    let validate_only = request.validate_only;
    let command = |topics| Command::CreatePartitions(CreatePartitions { topics, validate_only });
    let outcomes = |reply| match reply {
        Decided::CreatePartitions(grown) => Some(grown),
        _ => None,
    };
    let decided = admitted.decide(cx, request.timeout_ms, command, outcomes).await;
    let results = decided.outcomes.into_iter().map(result);
    let refused = decided.refused.into_iter().map(|(topic, error)| failed(topic, error));
    cx.reply(&CreatePartitionsResponse {
        throttle_time_ms: decided.throttle_time_ms,
        results: results.chain(refused).collect(),
    })
}

fn more_partitions(asked: &CreatePartitionsTopic<'_>) -> MorePartitions {
    let assignments = asked.assignments.as_ref();
    MorePartitions {
        name: asked.name.to_string(),
        count: asked.count,
        assignments: assignments
            .map(|new| new.iter().map(|assignment| assignment.broker_ids.clone()).collect()),
    }
}

fn result(grown: CreatedPartitions) -> CreatePartitionsTopicResult<'static> {
    let error = grown.result.err();
    CreatePartitionsTopicResult {
        name: grown.name.into(),
        error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).into(),
        // For what is unknown Kafka has no words.
        error_message: error.map(|error| error.message).filter(|message| !message.is_empty()).map(Into::into),
    }
}

fn failed(topic: MorePartitions, error: ErrorCode) -> CreatePartitionsTopicResult<'static> {
    CreatePartitionsTopicResult { name: topic.name.into(), error_code: error.into(), ..Default::default() }
}
