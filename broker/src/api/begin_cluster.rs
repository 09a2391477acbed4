//! BeginCluster (key 125), version 0, Milena's own: a founder has a controller begin a cluster.
//!
//! Usually answered before this node runs (`controller::founding`). Here it comes to a controller that has begun the cluster
//! already: again from a founder that has not heard so, which is fine, or from one that must not found anything any more.

use milena_protocol::ErrorCode;
use milena_protocol::messages::begin_cluster_request::BeginClusterRequest;
use milena_protocol::messages::begin_cluster_response::BeginClusterResponse;

use crate::controller::raft::quorum::Quorum;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: BeginClusterRequest<'_>) -> Reply {
    let answer = match &cx.node.quorum {
        Some(quorum) => begin(quorum, &request),
        None => Err((ErrorCode::NotController, String::new())),
    };
    cx.reply(&match answer {
        Ok(()) => BeginClusterResponse::default(),
        Err((code, message)) => {
            BeginClusterResponse { error_code: code.into(), error_message: Some(message.into()) }
        }
    })
}

fn begin(quorum: &Quorum, request: &BeginClusterRequest<'_>) -> Result<(), (ErrorCode, String)> {
    let (us, ours) = (quorum.voter(), &**quorum.cluster_id());
    if request.cluster_id != ours {
        let message = format!("controller {us} belongs to cluster {ours}, not to {}", request.cluster_id);
        return Err((ErrorCode::InconsistentClusterId, message));
    }
    if quorum.has_membership() {
        return Err((ErrorCode::InvalidRequest, format!("cluster {ours} has a quorum already")));
    }
    let names_us = request
        .voters
        .iter()
        .any(|voter| voter.voter_id == us.id && voter.voter_directory_id == us.directory);
    if names_us { Ok(()) } else { Err((ErrorCode::InvalidVoterKey, format!("this is controller {us}"))) }
}
