//! DescribeController (key 124), version 0, Milena's own: who a controller is, and who leads as far as it knows.
//!
//! Asked by nodes that look for their cluster or for its leader. A controller that belongs to no cluster yet answers it too,
//! before it has anything else to say (`controller::founding`).

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_controller_request::DescribeControllerRequest;
use milena_protocol::messages::describe_controller_response::{DescribeControllerResponse, Voter};

use crate::controller::raft::quorum::Quorum;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, _request: DescribeControllerRequest<'_>) -> Reply {
    match &cx.node.quorum {
        Some(quorum) => cx.reply(&describe(quorum)),
        None => cx.reply(&DescribeControllerResponse {
            error_code: ErrorCode::NotController.into(),
            ..Default::default()
        }),
    }
}

fn describe(quorum: &Quorum) -> DescribeControllerResponse<'_> {
    let (us, address, leader) = (quorum.voter(), quorum.address(), quorum.leader());
    let voters = quorum.voters().into_iter().map(|(voter, address)| Voter {
        voter_id: voter.id,
        voter_directory_id: voter.directory,
        host: address.host.into(),
        port: address.port,
    });
    DescribeControllerResponse {
        node_id: us.id,
        directory_id: us.directory,
        host: address.host.as_str().into(),
        port: address.port,
        cluster_id: Some((&**quorum.cluster_id()).into()),
        has_membership: quorum.has_membership(),
        term: leader.as_ref().map_or(-1, |leader| leader.term as i64),
        leader_id: leader.map_or(-1, |leader| leader.voter.id),
        voters: voters.collect(),
        ..Default::default()
    }
}
