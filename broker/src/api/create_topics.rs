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
use milena_state::metadata::topics::{CreateTopics, CreatedTopic, NewTopic, TopicOutcome};
use milena_state::metadata::{Command, Image, Mutation, Reply as Decided};

use super::mutations;
use crate::controller::topic_id;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: CreateTopicsRequest<'_>) -> Reply {
    let asked = request.topics.iter().map(new_topic).collect();
    let admitted = mutations::admit(cx, asked, |topic| Mutation::Create(topic));
    let validate_only = request.validate_only;
    let command = |topics| Command::CreateTopics(CreateTopics { topics, validate_only });
    let outcomes = |reply| match reply {
        Decided::CreateTopics(outcomes) => Some(outcomes),
        _ => None,
    };
    let decided = admitted.decide(cx, request.timeout_ms, command, outcomes).await;
    let image = cx.node.metadata.image_arc();
    let topics = decided.outcomes.into_iter().map(|outcome| result(cx, &image, outcome));
    let refused = decided.refused.into_iter().map(|(topic, error)| failed(topic, error));
    cx.reply(&CreateTopicsResponse {
        throttle_time_ms: decided.throttle_time_ms,
        topics: topics.chain(refused).collect(),
    })
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
        name: row.name,
        value: row.value.map(Into::into),
        read_only: row.read_only,
        config_source: row.source as i8,
        is_sensitive: row.is_sensitive,
    })
    .collect()
}

fn failed(topic: NewTopic, error: ErrorCode) -> CreatableTopicResult<'static> {
    CreatableTopicResult {
        name: topic.name.into(),
        error_code: error.into(),
        error_message: None,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}
