//! ListConfigResources (key 74), versions 0–1 (KIP-1142).
//!
//! The resources that have or may have configuration: all topics and brokers, and the groups and client metrics
//! subscriptions on which something is set. v0 is ListClientMetricsResources under its older name: it lists the
//! subscriptions. v1 takes a list of types, none meaning all; a type that nobody knows is UNSUPPORTED_VERSION. Every
//! broker has loggers.

use std::collections::BTreeSet;

use milena_protocol::ErrorCode;
use milena_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use milena_protocol::messages::list_config_resources_response::{
    ConfigResource, ListConfigResourcesResponse,
};
use milena_state::metadata::{Image, ResourceKind};

use crate::server::{Reply, RequestContext};

/// In the order in which Kafka lists them.
const KINDS: &[ResourceKind] = &[
    ResourceKind::Group,
    ResourceKind::ClientMetrics,
    ResourceKind::BrokerLogger,
    ResourceKind::Broker,
    ResourceKind::Topic,
];

pub async fn handle(cx: &RequestContext, request: ListConfigResourcesRequest) -> Reply {
    let wanted: BTreeSet<i8> = match cx.version {
        0 => [ResourceKind::ClientMetrics as i8].into(),
        _ => request.resource_types.iter().copied().collect(),
    };
    if wanted.iter().any(|number| ResourceKind::from_number(*number).is_none()) {
        return cx.reply(&ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.into(),
            ..Default::default()
        });
    }
    let image = cx.node.metadata.image_arc();
    let kinds = KINDS.iter().filter(|kind| wanted.is_empty() || wanted.contains(&(**kind as i8)));
    let config_resources = kinds.flat_map(|kind| list(&image, *kind)).collect();
    cx.reply(&ListConfigResourcesResponse { config_resources, ..Default::default() })
}

fn list(image: &Image, kind: ResourceKind) -> Vec<ConfigResource<'_>> {
    let resource = |resource_name| ConfigResource { resource_name, resource_type: kind as i8 };
    match kind {
        ResourceKind::Topic => image.topics().map(|topic| resource((&*topic.name).into())).collect(),
        ResourceKind::Broker | ResourceKind::BrokerLogger => {
            image.brokers().map(|broker| resource(broker.broker_id.to_string().into())).collect()
        }
        ResourceKind::ClientMetrics | ResourceKind::Group => {
            let set = image.configs().filter(|(set, _)| set.kind == kind);
            set.map(|(set, _)| resource(set.name.as_str().into())).collect()
        }
    }
}
