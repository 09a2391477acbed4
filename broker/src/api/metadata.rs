//! Metadata (key 3), versions 0–13.
//!
//! Brokers and topics as the image of this broker has them, seen through the listener that the client came in by:
//! a broker without that listener is left out. A topic that does not exist is created when both the request and
//! `auto.create.topics.enable` allow it; the answer waits until this broker serves it, so that the first produce
//! of a new user needs no second round.
//!
//! v0 asks for all topics by an empty list, v1 and later by null. v4 adds AllowAutoTopicCreation, v7 leader epochs,
//! v8 authorized operations (KIP-430), v10 topic ids (KIP-516), v12 topics asked for by id, v13 a top-level error (KIP-1102).

use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use milena_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use milena_state::metadata::Image;
use milena_state::metadata::image::Topic;

use super::topic_metadata::PartitionView;
use super::{authorized_operations, auto_create};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: MetadataRequest<'_>) -> Reply {
    let image = cx.node.metadata.image_arc();
    let missing = missing_topics(cx, &request, &image);
    if missing.is_empty() {
        return cx.reply(&respond(cx, &request, &image, &[]));
    }
    let refused = auto_create::create(cx, missing).await;
    let image = cx.node.metadata.image_arc();
    cx.reply(&respond(cx, &request, &image, &refused))
}

/// Names to create before answering.
fn missing_topics(cx: &RequestContext, request: &MetadataRequest<'_>, image: &Image) -> Vec<String> {
    let may_create = request.allow_auto_topic_creation || cx.version < 4;
    if !may_create || !cx.node.settings.auto_create_topics {
        return Vec::new();
    }
    let named = request.topics.iter().flatten().filter_map(|topic| topic.name.as_deref());
    named.filter(|name| image.topic_by_name(name).is_none()).map(str::to_owned).collect()
}

fn respond<'a>(
    cx: &'a RequestContext,
    request: &'a MetadataRequest<'_>,
    image: &'a Image,
    refused: &[(String, ErrorCode)],
) -> MetadataResponse<'a> {
    let listener = &*cx.peer.listener;
    let asked = request.include_topic_authorized_operations;
    let topics = match wanted(cx.version, request) {
        Wanted::All => image.topics().map(|topic| describe(image, topic, listener, asked)).collect(),
        Wanted::These(topics) => {
            topics.iter().map(|topic| answer(cx, topic, image, refused, asked)).collect()
        }
    };
    MetadataResponse {
        brokers: brokers(image, listener),
        cluster_id: Some((&*cx.node.cluster_id).into()),
        // With one node it is the controller too. Asked for something that only the controller does, a broker that
        // is not answers NOT_CONTROLLER.
        controller_id: cx.node.settings.node_id,
        topics,
        cluster_authorized_operations: authorized_operations::on_cluster(
            request.include_cluster_authorized_operations,
        ),
        ..Default::default()
    }
}

enum Wanted<'a> {
    All,
    These(&'a [MetadataRequestTopic<'a>]),
}

fn wanted<'a>(version: i16, request: &'a MetadataRequest<'_>) -> Wanted<'a> {
    match &request.topics {
        None => Wanted::All,
        Some(topics) if topics.is_empty() && version == 0 => Wanted::All,
        Some(topics) => Wanted::These(topics),
    }
}

fn brokers<'a>(image: &'a Image, listener: &str) -> Vec<MetadataResponseBroker<'a>> {
    let active = image.brokers().filter(|broker| broker.is_active());
    active
        .filter_map(|broker| {
            let endpoint = broker.endpoint(listener)?;
            Some(MetadataResponseBroker {
                node_id: broker.broker_id,
                host: endpoint.host.as_str().into(),
                port: i32::from(endpoint.port),
                rack: broker.rack.as_deref().map(Into::into),
            })
        })
        .collect()
}

fn answer<'a>(
    cx: &RequestContext,
    asked_for: &'a MetadataRequestTopic<'_>,
    image: &'a Image,
    refused: &[(String, ErrorCode)],
    operations: bool,
) -> MetadataResponseTopic<'a> {
    let listener = &*cx.peer.listener;
    let unknown = |error: ErrorCode| MetadataResponseTopic {
        error_code: error.into(),
        name: asked_for.name.as_deref().map(Into::into).or((cx.version < 12).then_some("".into())),
        topic_id: asked_for.topic_id,
        is_internal: asked_for.name.as_deref().is_some_and(milena_state::metadata::image::is_internal_topic),
        topic_authorized_operations: authorized_operations::on_topic(false),
        ..Default::default()
    };
    let Some(name) = asked_for.name.as_deref() else {
        return match image.topic(asked_for.topic_id) {
            Some(topic) => describe(image, topic, listener, operations),
            None => unknown(ErrorCode::UnknownTopicId),
        };
    };
    if let Some(topic) = image.topic_by_name(name) {
        return describe(image, topic, listener, operations);
    }
    let refusal = refused.iter().find(|(refused, _)| refused == name).map(|(_, error)| *error);
    let invalid = milena_state::metadata::topics::check_name(name).is_err();
    unknown(match refusal {
        Some(error) => error,
        None if invalid => ErrorCode::InvalidTopicException,
        None => ErrorCode::UnknownTopicOrPartition,
    })
}

fn describe<'a>(
    image: &Image,
    topic: &'a Arc<Topic>,
    listener: &str,
    operations: bool,
) -> MetadataResponseTopic<'a> {
    let partitions = topic.partitions.iter().enumerate().map(|(index, partition)| {
        let view = PartitionView::new(image, partition, listener);
        MetadataResponsePartition {
            error_code: view.error.into(),
            partition_index: index as i32,
            leader_id: view.leader_id,
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas.clone(),
            isr_nodes: partition.isr.clone(),
            offline_replicas: view.offline_replicas,
        }
    });
    MetadataResponseTopic {
        error_code: ErrorCode::None.into(),
        name: Some((&*topic.name).into()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions.collect(),
        topic_authorized_operations: authorized_operations::on_topic(operations),
    }
}
