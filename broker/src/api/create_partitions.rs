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
use milena_state::metadata::{Command, Image, Reply as Decided};

use super::controller_call;
use crate::server::{Reply, RequestContext};

/// The first version whose clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const STRICT_SINCE: i16 = 3;

pub async fn handle(cx: &RequestContext, request: CreatePartitionsRequest<'_>) -> Reply {
    let mut mutations = cx.mutations(STRICT_SINCE);
    let image = cx.node.metadata.image_arc();
    let (wanted, refused): (Vec<_>, Vec<_>) =
        request.topics.iter().partition(|asked| mutations.admit(partitions_count(&image, asked)).is_ok());
    let throttle_time_ms = mutations.throttle();
    let topics = wanted.iter().map(|asked| more_partitions(asked)).collect();
    let command =
        Command::CreatePartitions(CreatePartitions { topics, validate_only: request.validate_only });
    let mut results: Vec<_> = match controller_call::decide(cx, command, request.timeout_ms).await {
        Ok(Decided::CreatePartitions(grown)) => grown.into_iter().map(result).collect(),
        Ok(_) => wanted.iter().map(|topic| failed(topic, ErrorCode::UnknownServerError)).collect(),
        Err(error) => wanted.iter().map(|topic| failed(topic, error)).collect(),
    };
    results.extend(refused.iter().map(|topic| failed(topic, ErrorCode::ThrottlingQuotaExceeded)));
    cx.reply(&CreatePartitionsResponse { throttle_time_ms, results })
}

/// What it takes of the quota on changes; nothing when it cannot be done anyway.
fn partitions_count(image: &Image, asked: &CreatePartitionsTopic<'_>) -> Option<usize> {
    let present = image.topic_by_name(&asked.name)?.partitions.len();
    usize::try_from(asked.count).ok()?.checked_sub(present).filter(|more| *more > 0)
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

fn failed<'a>(topic: &'a CreatePartitionsTopic<'_>, error: ErrorCode) -> CreatePartitionsTopicResult<'a> {
    CreatePartitionsTopicResult {
        name: (&*topic.name).into(),
        error_code: error.into(),
        ..Default::default()
    }
}
