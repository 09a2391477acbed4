//! DescribeConfigs (key 32), versions 1–4.
//!
//! Topics, this broker and its loggers, the defaults of all brokers (an empty broker name), groups and client metrics
//! subscriptions, from the config tables and what the image holds on top of them. A broker answers for itself only. v1 sources and synonyms (KIP-226), v3 types and
//! documentation (KIP-569). A good answer carries an empty message, not null, as Kafka's does.
//!
//! An answer is up to ten thousand times its request, so it is bounded: a resource that is named twice is answered
//! once, and what would come behind [`ANSWER_BYTES_MAX`] is refused.

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use milena_state::config::describe::{self, Row};
use milena_state::metadata::command::ApiError;
use milena_state::metadata::image::ResourceKind;
use milena_state::metadata::{ConfigResource, Image, topics};
use rustc_hash::FxHashSet;

use super::broker_loggers;
use super::room::{ANSWER_BYTES_MAX, Room};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: DescribeConfigsRequest<'_>) -> Reply {
    if let Some(error) = unknown_kind(&request) {
        let results = request.resources.iter().map(|resource| result(resource, Err(error.clone())));
        return cx.reply(&DescribeConfigsResponse { results: results.collect(), ..Default::default() });
    }
    let image = cx.node.metadata.image_arc();
    let mut named = FxHashSet::default();
    let mut room = Room::default();
    let mut results = Vec::new();
    for resource in &request.resources {
        if named.insert((resource.resource_type, &*resource.resource_name)) {
            let found =
                configs(cx, &image, resource, &request).and_then(|configs| fitting(configs, &mut room));
            results.push(result(resource, found));
        }
    }
    cx.reply(&DescribeConfigsResponse { results, ..Default::default() })
}

/// One resource of a kind that nobody knows spoils the request.
fn unknown_kind(request: &DescribeConfigsRequest<'_>) -> Option<ApiError> {
    let mut kinds = request.resources.iter().map(|resource| resource.resource_type);
    let kind = kinds.find(|kind| ResourceKind::from_number(*kind).is_none())?;
    Some(refused(format!("Unexpected resource type {kind}")))
}

type Configs = Vec<DescribeConfigsResourceResult<'static>>;

fn configs(
    cx: &RequestContext,
    image: &Image,
    resource: &DescribeConfigsResource<'_>,
    request: &DescribeConfigsRequest<'_>,
) -> Result<Configs, ApiError> {
    if broker_loggers::is_about_loggers(resource.resource_type) {
        let node_id = cx.node.settings.node_id;
        return broker_loggers::describe(node_id, &resource.resource_name, keys(resource).as_deref());
    }
    Ok(rows(cx, image, resource)?.into_iter().map(|row| config(row, request)).collect())
}

/// The properties that are asked for; all without.
fn keys(resource: &DescribeConfigsResource<'_>) -> Option<Vec<String>> {
    let keys = resource.configuration_keys.as_ref()?;
    Some(keys.iter().map(|key| key.to_string()).collect())
}

/// What is found, unless the answer has no room left for it.
fn fitting(configs: Configs, room: &mut Room) -> Result<Configs, ApiError> {
    let size = configs.iter().map(size_bytes).sum();
    room.take(size).map_err(|code| {
        let message =
            format!("the answer would exceed {ANSWER_BYTES_MAX} bytes; ask for fewer resources at once");
        ApiError::new(code, message)
    })?;
    Ok(configs)
}

/// About what a config takes in the answer: its strings, and a few bytes for each field.
fn size_bytes(config: &DescribeConfigsResourceResult<'_>) -> usize {
    const FIELDS: usize = 16;
    let length = |text: &Option<_>| text.as_ref().map_or(0, |text: &std::borrow::Cow<'_, str>| text.len());
    let synonyms = config.synonyms.iter().map(|s| FIELDS + s.name.len() + length(&s.value));
    FIELDS
        + config.name.len()
        + length(&config.value)
        + length(&config.documentation)
        + synonyms.sum::<usize>()
}

fn result<'a>(
    resource: &'a DescribeConfigsResource<'_>,
    found: Result<Configs, ApiError>,
) -> DescribeConfigsResult<'a> {
    match found {
        Ok(configs) => DescribeConfigsResult { error_message: Some("".into()), configs, ..of(resource) },
        Err(error) => DescribeConfigsResult {
            error_code: error.code.into(),
            error_message: Some(error.message.into()),
            ..of(resource)
        },
    }
}

fn of<'a>(resource: &'a DescribeConfigsResource<'_>) -> DescribeConfigsResult<'a> {
    DescribeConfigsResult {
        resource_type: resource.resource_type,
        resource_name: (&*resource.resource_name).into(),
        ..Default::default()
    }
}

fn rows(
    cx: &RequestContext,
    image: &Image,
    resource: &DescribeConfigsResource<'_>,
) -> Result<Vec<Row>, ApiError> {
    let name = &*resource.resource_name;
    let keys = keys(resource);
    let settings = &cx.node.settings;
    let layers = cx.node.config_layers(image);
    match ResourceKind::from_number(resource.resource_type) {
        Some(ResourceKind::Topic) => {
            check_topic(image, name)?;
            Ok(describe::topic(image.topic_config(name), layers, keys.as_deref()))
        }
        Some(ResourceKind::Broker) if name.is_empty() => {
            Ok(describe::all_brokers(image.cluster_config(), keys.as_deref()))
        }
        Some(ResourceKind::Broker) if name == settings.node_id.to_string() => {
            Ok(describe::broker(layers, keys.as_deref()))
        }
        Some(ResourceKind::Broker) if name.parse::<i32>().is_err() => {
            Err(refused(format!("Broker id must be an integer, but it is: {name}")))
        }
        Some(ResourceKind::Broker) => {
            let own = settings.node_id;
            Err(refused(format!("Unexpected broker id, expected {own} or empty string, but received {name}")))
        }
        Some(ResourceKind::Group) if name.is_empty() => Err(refused("Group name must not be empty")),
        Some(kind @ ResourceKind::Group) => {
            Ok(describe::group(set_on(image, kind, name), layers, keys.as_deref()))
        }
        Some(ResourceKind::ClientMetrics) if name.is_empty() => {
            Err(refused("Client metrics subscription name must not be empty"))
        }
        Some(kind @ ResourceKind::ClientMetrics) => {
            Ok(describe::client_metrics(set_on(image, kind, name), keys.as_deref()))
        }
        Some(ResourceKind::BrokerLogger) | None => {
            Err(refused(format!("resource type {} cannot be described here", resource.resource_type)))
        }
    }
}

/// The values of a group or subscription, which exists by having some.
fn set_on<'a>(image: &'a Image, kind: ResourceKind, name: &str) -> &'a BTreeMap<String, String> {
    static NOTHING: BTreeMap<String, String> = BTreeMap::new();
    image.config(&ConfigResource { kind, name: name.to_owned() }).unwrap_or(&NOTHING)
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, message)
}

fn check_topic(image: &Image, name: &str) -> Result<(), ApiError> {
    topics::check_name(name).map_err(|reason| ApiError::new(ErrorCode::InvalidTopicException, reason))?;
    match image.topic_by_name(name) {
        Some(_) => Ok(()),
        None => Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, "")),
    }
}

fn config(row: Row, request: &DescribeConfigsRequest<'_>) -> DescribeConfigsResourceResult<'static> {
    let synonyms = row.synonyms.into_iter().map(|synonym| DescribeConfigsSynonym {
        name: synonym.name.into(),
        value: synonym.value.map(Into::into),
        source: synonym.source as i8,
    });
    DescribeConfigsResourceResult {
        name: row.name,
        value: row.value.map(Into::into),
        read_only: row.read_only,
        config_source: row.source as i8,
        is_sensitive: row.is_sensitive,
        synonyms: if request.include_synonyms { synonyms.collect() } else { Vec::new() },
        config_type: row.kind.number(),
        documentation: request.include_documentation.then(|| row.documentation.into()),
    }
}
