//! DeleteTopics (key 20), versions 1–6.
//!
//! Topics leave the metadata at once and stop being served; their files go in the background. v6 names topics by id as
//! well (KIP-516); naming both or neither is INVALID_REQUEST.

use milena_protocol::ErrorCode;
use milena_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use milena_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use milena_state::metadata::topics::{DeleteTopics, DeletedTopic, TopicRef};
use milena_state::metadata::{Command, Image, Reply as Decided};

use super::controller_call;
use crate::server::{Reply, RequestContext};

/// The first version whose clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const STRICT_SINCE: i16 = 5;

pub async fn handle(cx: &RequestContext, request: DeleteTopicsRequest<'_>) -> Reply {
    let (topics, mut responses) = wanted(cx.version, &request);
    let mut mutations = cx.mutations(STRICT_SINCE);
    let image = cx.node.metadata.image_arc();
    let (topics, refused): (Vec<_>, Vec<_>) =
        topics.into_iter().partition(|topic| mutations.admit(partitions_count(&image, topic)).is_ok());
    let throttle_time_ms = mutations.throttle();
    responses.extend(refused.iter().map(|topic| failed(topic, ErrorCode::ThrottlingQuotaExceeded)));
    if !topics.is_empty() {
        let command = Command::DeleteTopics(DeleteTopics { topics: topics.clone() });
        match controller_call::decide(cx, command, request.timeout_ms).await {
            Ok(Decided::DeleteTopics(deleted)) => responses.extend(deleted.into_iter().map(result)),
            Ok(_) => {
                responses.extend(topics.iter().map(|topic| failed(topic, ErrorCode::UnknownServerError)))
            }
            Err(error) => responses.extend(topics.iter().map(|topic| failed(topic, error))),
        }
    }
    cx.reply(&DeleteTopicsResponse { throttle_time_ms, responses })
}

/// What it takes of the quota on changes; nothing when it is not there.
fn partitions_count(image: &Image, topic: &TopicRef) -> Option<usize> {
    let found = match topic {
        TopicRef::Name(name) => image.topic_by_name(name),
        TopicRef::Id(topic_id) => image.topic(*topic_id),
    };
    found.map(|topic| topic.partitions.len())
}

/// What to delete, and the answers to what cannot be understood.
fn wanted(
    version: i16,
    request: &DeleteTopicsRequest<'_>,
) -> (Vec<TopicRef>, Vec<DeletableTopicResult<'static>>) {
    if version < 6 {
        let names = request.topic_names.iter().map(|name| TopicRef::Name(name.to_string()));
        return (names.collect(), Vec::new());
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut refused = Vec::new();
    for topic in &request.topics {
        let message = match (&topic.name, topic.topic_id.is_zero()) {
            (Some(name), true) => {
                topics.push(TopicRef::Name(name.to_string()));
                continue;
            }
            (None, false) => {
                topics.push(TopicRef::Id(topic.topic_id));
                continue;
            }
            (Some(_), false) => "a topic is named by name or by id, not by both",
            (None, true) => "a topic is named by neither name nor id",
        };
        refused.push(DeletableTopicResult {
            name: topic.name.as_deref().map(|name| name.to_owned().into()),
            topic_id: topic.topic_id,
            error_code: ErrorCode::InvalidRequest.into(),
            error_message: Some(message.into()),
        });
    }
    (topics, refused)
}

fn result(deleted: DeletedTopic) -> DeletableTopicResult<'static> {
    let error = deleted.result.err();
    DeletableTopicResult {
        name: deleted.name.map(Into::into),
        topic_id: deleted.topic_id,
        error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).into(),
        error_message: error.map(|error| error.message.into()),
    }
}

fn failed(topic: &TopicRef, error: ErrorCode) -> DeletableTopicResult<'static> {
    let result = DeletableTopicResult { error_code: error.into(), ..Default::default() };
    match topic {
        TopicRef::Name(name) => DeletableTopicResult { name: Some(name.clone().into()), ..result },
        TopicRef::Id(topic_id) => DeletableTopicResult { topic_id: *topic_id, ..result },
    }
}
