//! CreateTopics (key 19), versions 2–7.
//!
//! The controller decides on all topics of a request as one change; each answers for itself. The answer waits until
//! this broker serves the new topics. v5 adds the shape and the settings that the topic got (KIP-525), v7 its id.
//! With ValidateOnly nothing is created.

use milena_protocol::ErrorCode;
use milena_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use milena_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use milena_state::config::describe;
use milena_state::metadata::topics::{CreateTopics, CreatedTopic, NewTopic, TopicOutcome, check_name};
use milena_state::metadata::{Command, Image, Reply as Decided};

use super::{controller_call, topic_id};
use crate::server::{Reply, RequestContext};

/// The first version whose clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const STRICT_SINCE: i16 = 6;

pub async fn handle(cx: &RequestContext, request: CreateTopicsRequest<'_>) -> Reply {
    let mut mutations = cx.mutations(STRICT_SINCE);
    let image = cx.node.metadata.image_arc();
    let admit = |asked: &CreatableTopic<'_>| mutations.admit(partitions_count(cx, &image, asked));
    let admitted: Vec<bool> = request.topics.iter().map(admit).map(|admitted| admitted.is_ok()).collect();
    let throttle_time_ms = mutations.throttle();
    let (wanted, refused): (Vec<_>, Vec<_>) =
        request.topics.iter().zip(admitted).partition(|(_, admitted)| *admitted);
    let topics = wanted.iter().map(|(topic, _)| new_topic(topic)).collect();
    let command = Command::CreateTopics(CreateTopics { topics, validate_only: request.validate_only });
    let mut topics: Vec<_> = match controller_call::decide(cx, command, request.timeout_ms).await {
        Ok(Decided::CreateTopics(outcomes)) => {
            let image = cx.node.metadata.image_arc();
            outcomes.into_iter().map(|outcome| result(cx, &image, outcome)).collect()
        }
        Ok(_) => wanted.iter().map(|(topic, _)| failed(topic, ErrorCode::UnknownServerError)).collect(),
        Err(error) => wanted.iter().map(|(topic, _)| failed(topic, error)).collect(),
    };
    topics.extend(refused.iter().map(|(topic, _)| failed(topic, ErrorCode::ThrottlingQuotaExceeded)));
    cx.reply(&CreateTopicsResponse { throttle_time_ms, topics })
}

/// What it takes of the quota on changes; nothing when it cannot be created anyway.
fn partitions_count(cx: &RequestContext, image: &Image, asked: &CreatableTopic<'_>) -> Option<usize> {
    if check_name(&asked.name).is_err() || image.topic_by_name(&asked.name).is_some() {
        return None;
    }
    match (asked.assignments.len(), asked.num_partitions) {
        (0, -1) => usize::try_from(cx.node.settings.num_partitions).ok(),
        (0, count) => usize::try_from(count).ok(),
        (count, _) => Some(count),
    }
}

fn new_topic(asked: &CreatableTopic<'_>) -> NewTopic {
    let assignments = asked.assignments.iter().map(|a| (a.partition_index, a.broker_ids.clone()));
    let configs = asked.configs.iter().map(|c| (c.name.to_string(), c.value.as_deref().map(str::to_owned)));
    NewTopic {
        name: asked.name.to_string(),
        topic_id: topic_id::random(),
        num_partitions: asked.num_partitions,
        replication_factor: asked.replication_factor,
        assignments: assignments.collect(),
        configs: configs.collect(),
    }
}

fn result(cx: &RequestContext, image: &Image, outcome: TopicOutcome) -> CreatableTopicResult<'static> {
    let name = outcome.name.into();
    match outcome.result {
        Ok(created) => CreatableTopicResult {
            name,
            error_message: None,
            topic_id: created.topic_id,
            num_partitions: created.num_partitions,
            replication_factor: created.replication_factor,
            configs: (cx.version >= 5).then(|| configs(cx, image, &created)),
            ..Default::default()
        },
        Err(error) => CreatableTopicResult {
            name,
            error_code: error.code.into(),
            error_message: Some(error.message.into()),
            configs: Some(Vec::new()),
            ..Default::default()
        },
    }
}

/// Every topic property as it acts on the new topic.
fn configs(
    cx: &RequestContext,
    image: &Image,
    created: &CreatedTopic,
) -> Vec<CreatableTopicConfigs<'static>> {
    let rows = describe::topic(&created.configs, cx.node.config_layers(image), None).into_iter();
    rows.map(|row| CreatableTopicConfigs {
        name: row.name.into(),
        value: row.value.map(Into::into),
        read_only: row.read_only,
        config_source: row.source as i8,
        is_sensitive: row.is_sensitive,
    })
    .collect()
}

fn failed<'a>(topic: &'a CreatableTopic<'_>, error: ErrorCode) -> CreatableTopicResult<'a> {
    CreatableTopicResult {
        name: (&*topic.name).into(),
        error_code: error.into(),
        error_message: None,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}
