//! Metadata (key 3), versions 0–13.
//!
//! Brokers and topics as the image of this broker has them, seen through the listener that the client came in by:
//! a broker without that listener is left out. A topic that does not exist is created when both the request and
//! `auto.create.topics.enable` allow it; the answer waits until this broker serves it, so that the first produce
//! of a new user needs no second round.
//!
//! v0 asks for all topics by an empty list, v1 and later by null. v4 adds AllowAutoTopicCreation, v7 leader epochs,
//! v8 authorized operations (KIP-430), v10 topic ids (KIP-516), v12 topics asked for by id, which earlier
//! versions refuse, v13 a top-level error (KIP-1102).

use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::metadata_request::MetadataRequest;
use milena_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use milena_protocol::types::Uuid;
use milena_state::metadata::image::Topic;
use milena_state::metadata::{AskedTopics, Image};

use super::topic_metadata::PartitionView;
use super::{authorized_operations, auto_create};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: MetadataRequest<'_>) -> Reply {
    let topics = request.topics.as_ref().map(|topics| {
        let each = topics.iter().map(|topic| (topic.name.as_deref(), topic.topic_id));
        each.collect::<Vec<_>>()
    });
    let asked = match AskedTopics::of(cx.version, topics.as_deref()) {
        Ok(asked) => asked,
        Err(error) => return cx.reply(&refuse_all(topics.as_deref().unwrap_or_default(), error)),
    };
    let image = cx.node.metadata.image_arc();
    let missing = missing_topics(cx, &request, &asked, &image);
    if missing.is_empty() {
        return cx.reply(&respond(cx, &request, &asked, &image, &[]));
    }
    let refused = auto_create::create(cx, missing).await;
    let image = cx.node.metadata.image_arc();
    cx.reply(&respond(cx, &request, &asked, &image, &refused))
}

/// The topics as they were asked for, and nothing of the cluster.
fn refuse_all<'a>(topics: &[(Option<&'a str>, Uuid)], error: ErrorCode) -> MetadataResponse<'a> {
    let refused = topics.iter().map(|(name, topic_id)| MetadataResponseTopic {
        error_code: error.into(),
        name: Some(name.unwrap_or_default().into()),
        topic_id: *topic_id,
        ..Default::default()
    });
    MetadataResponse { controller_id: -1, topics: refused.collect(), ..Default::default() }
}

/// Names to create before answering.
fn missing_topics(
    cx: &RequestContext,
    request: &MetadataRequest<'_>,
    asked: &AskedTopics<'_>,
    image: &Image,
) -> Vec<String> {
    let may_create = request.allow_auto_topic_creation || cx.version < 4;
    if !may_create || !cx.node.settings.auto_create_topics {
        return Vec::new();
    }
    let AskedTopics::Names(names) = asked else { return Vec::new() };
    let named = names.iter().copied().flatten();
    named.filter(|name| image.topic_by_name(name).is_none()).map(str::to_owned).collect()
}

fn respond<'a>(
    cx: &'a RequestContext,
    request: &MetadataRequest<'_>,
    asked: &AskedTopics<'a>,
    image: &'a Image,
    refused: &[(String, ErrorCode)],
) -> MetadataResponse<'a> {
    let listener = &*cx.peer.listener;
    let operations = request.include_topic_authorized_operations;
    let found = |topic| describe(image, topic, listener, operations);
    let topics = match asked {
        AskedTopics::All => image.topics().map(found).collect(),
        AskedTopics::Ids(ids) => {
            ids.iter().map(|id| image.topic(*id).map_or_else(|| unknown_id(*id), found)).collect()
        }
        AskedTopics::Names(names) => names
            .iter()
            .map(|name| match name {
                Some(name) => image.topic_by_name(name).map_or_else(|| unknown_name(name, refused), found),
                None => unknown_id(Uuid::ZERO),
            })
            .collect(),
    };
    MetadataResponse {
        brokers: brokers(image, listener),
        cluster_id: Some((&*cx.node.cluster_id).into()),
        controller_id: cx.node.stand_in_controller(image),
        topics,
        cluster_authorized_operations: authorized_operations::on_cluster(
            request.include_cluster_authorized_operations,
        ),
        ..Default::default()
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

fn unknown_id<'a>(topic_id: Uuid) -> MetadataResponseTopic<'a> {
    MetadataResponseTopic {
        error_code: ErrorCode::UnknownTopicId.into(),
        name: None,
        topic_id,
        topic_authorized_operations: authorized_operations::on_topic(false),
        ..Default::default()
    }
}

fn unknown_name<'a>(name: &'a str, refused: &[(String, ErrorCode)]) -> MetadataResponseTopic<'a> {
    let refusal = refused.iter().find(|(refused, _)| refused == name).map(|(_, error)| *error);
    let invalid = milena_state::metadata::topics::check_name(name).is_err();
    let error = match refusal {
        Some(error) => error,
        None if invalid => ErrorCode::InvalidTopicException,
        None => ErrorCode::UnknownTopicOrPartition,
    };
    MetadataResponseTopic {
        error_code: error.into(),
        name: Some(name.into()),
        is_internal: milena_state::metadata::image::is_internal_topic(name),
        topic_authorized_operations: authorized_operations::on_topic(false),
        ..Default::default()
    }
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
