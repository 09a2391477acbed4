//! DescribeCluster (key 60), versions 0–2.
//!
//! The brokers of the cluster as the client's listener reaches them (KIP-700). v1 adds the endpoint type (KIP-919): a
//! broker's listener answers for brokers only, asking it for controllers is MISMATCHED_ENDPOINT_TYPE. v2 adds fenced
//! brokers (KIP-1073).

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use milena_protocol::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};
use milena_state::metadata::Image;

use super::authorized_operations;
use crate::server::{Reply, RequestContext};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub async fn handle(cx: &RequestContext, request: DescribeClusterRequest) -> Reply {
    let refusal = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ErrorCode::MismatchedEndpointType,
            "this is a broker's listener: it does not describe controller endpoints",
        )),
        _ => Some((
            ErrorCode::UnsupportedEndpointType,
            "the endpoint type is neither 1 (brokers) nor 2 (controllers)",
        )),
    };
    if let Some((error, message)) = refusal {
        return cx.reply(&DescribeClusterResponse {
            error_code: error.into(),
            error_message: Some(message.into()),
            ..Default::default()
        });
    }
    let image = cx.node.metadata.image_arc();
    cx.reply(&DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: (&*cx.node.cluster_id).into(),
        controller_id: cx.node.settings.node_id,
        brokers: brokers(&image, &cx.peer.listener, request.include_fenced_brokers),
        cluster_authorized_operations: authorized_operations::on_cluster(
            request.include_cluster_authorized_operations,
        ),
        ..Default::default()
    })
}

fn brokers<'a>(image: &'a Image, listener: &str, with_fenced: bool) -> Vec<DescribeClusterBroker<'a>> {
    let wanted = image.brokers().filter(|broker| with_fenced || broker.is_active());
    wanted
        .filter_map(|broker| {
            let endpoint = broker.endpoint(listener)?;
            Some(DescribeClusterBroker {
                broker_id: broker.broker_id,
                host: endpoint.host.as_str().into(),
                port: i32::from(endpoint.port),
                rack: broker.rack.as_deref().map(Into::into),
                is_fenced: broker.fenced,
            })
        })
        .collect()
}
