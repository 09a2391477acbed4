//! DescribeCluster (key 60), versions 0–2.
//!
//! The brokers of the cluster as the client's listener reaches them (KIP-700). v1 adds the endpoint type (KIP-919): a
//! broker's listener answers for brokers only and a controller's for controllers, where the active one is named; asking
//! for the others is MISMATCHED_ENDPOINT_TYPE. v2 adds fenced brokers (KIP-1073).

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use milena_protocol::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};
use milena_state::metadata::Image;

use super::{Audience, authorized_operations};
use crate::controller::raft::types::{VoterAddress, VoterId};
use crate::server::{Reply, RequestContext};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub async fn handle(cx: &RequestContext, request: DescribeClusterRequest) -> Reply {
    let asked_here = match cx.peer.audience {
        Audience::Clients => BROKERS,
        Audience::Controllers => CONTROLLERS,
    };
    let refusal = match request.endpoint_type {
        asked if asked == asked_here => None,
        CONTROLLERS => Some((
            ErrorCode::MismatchedEndpointType,
            "this is a broker's listener: it does not describe controller endpoints",
        )),
        BROKERS => Some((
            ErrorCode::MismatchedEndpointType,
            "this is a controller's listener: it does not describe broker endpoints",
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
    let voters = cx.node.quorum.as_ref().map(|quorum| quorum.voters()).unwrap_or_default();
    let leader = cx.node.quorum.as_ref().and_then(|quorum| quorum.leader());
    let (controller_id, brokers) = match cx.peer.audience {
        Audience::Clients => (
            cx.node.stand_in_controller(&image),
            brokers(&image, &cx.peer.listener, request.include_fenced_brokers),
        ),
        Audience::Controllers => (leader.map_or(-1, |leader| leader.voter.id), controllers(cx, &voters)),
    };
    cx.reply(&DescribeClusterResponse {
        endpoint_type: asked_here,
        cluster_id: (&*cx.node.cluster_id).into(),
        controller_id,
        brokers,
        cluster_authorized_operations: authorized_operations::on_cluster(
            request.include_cluster_authorized_operations,
        ),
        ..Default::default()
    })
}

/// The voters where they are reached; one that nobody has had to reach yet is found where it is asked.
fn controllers<'a>(
    cx: &'a RequestContext,
    voters: &'a [(VoterId, VoterAddress)],
) -> Vec<DescribeClusterBroker<'a>> {
    let own = cx.node.settings.advertised_controllers.iter().find(|own| own.name == *cx.peer.listener);
    let described = voters.iter().map(|(voter, address)| {
        let (host, port) = match own {
            Some(own) if voter.id == cx.node.settings.node_id => (own.host.as_str(), own.port),
            _ => (address.host.as_str(), address.port),
        };
        DescribeClusterBroker {
            broker_id: voter.id,
            host: host.into(),
            port: i32::from(port),
            ..Default::default()
        }
    });
    described.collect()
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
