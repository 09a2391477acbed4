//! UpdateRaftVoter (key 82), version 0 (KIP-853).
//!
//! A voter tells the leader where it is reached from now on. The epoch must be the leader's, as in Apache Kafka.

use milena_protocol::ErrorCode;
use milena_protocol::messages::update_raft_voter_request::UpdateRaftVoterRequest;
use milena_protocol::messages::update_raft_voter_response::{CurrentLeader, UpdateRaftVoterResponse};

use super::voter_change::{self, CHANGE_TIME_MAX, check_cluster};
use crate::controller::raft::serve::Refused;
use crate::controller::raft::types::{VoterAddress, VoterId};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: UpdateRaftVoterRequest<'_>) -> Reply {
    let error_code = match update(cx, &request).await {
        Ok(()) => ErrorCode::None,
        Err(refused) => refused.code,
    };
    let leader = cx.node.quorum.as_ref().and_then(|quorum| quorum.leader());
    let current_leader = leader.map_or_else(CurrentLeader::default, |leader| CurrentLeader {
        leader_id: leader.voter.id,
        leader_epoch: i32::try_from(leader.term).unwrap_or(i32::MAX),
        host: leader.address.host.into(),
        port: leader.address.port.into(),
    });
    cx.reply(&UpdateRaftVoterResponse { error_code: error_code.into(), current_leader, ..Default::default() })
}

async fn update(cx: &RequestContext, request: &UpdateRaftVoterRequest<'_>) -> Result<(), Refused> {
    check_cluster(cx, request.cluster_id.as_deref())?;
    let refused = |code: ErrorCode| Refused { code, message: String::new() };
    let term = cx.node.quorum.as_ref().map_or(-1, |quorum| quorum.progress().term as i64);
    match i64::from(request.current_leader_epoch) {
        epoch if epoch < term => return Err(refused(ErrorCode::FencedLeaderEpoch)),
        epoch if epoch > term => return Err(refused(ErrorCode::UnknownLeaderEpoch)),
        _ => {}
    }
    let voter = VoterId { id: request.voter_id, directory: request.voter_directory_id };
    let wanted = voter_change::default_listener(cx);
    let found = request.listeners.iter().find(|listener| listener.name.eq_ignore_ascii_case(&wanted));
    let address = found.map(|found| VoterAddress { host: found.host.to_string(), port: found.port });
    let (false, Some(address)) = (voter.id < 0 || voter.directory.is_zero(), address) else {
        return Err(refused(ErrorCode::InvalidRequest));
    };
    let range = &request.kraft_version_feature;
    if range.min_supported_version < 0 || range.max_supported_version < range.min_supported_version {
        return Err(refused(ErrorCode::InvalidRequest));
    }
    let update = async move |quorum: crate::controller::raft::quorum::Quorum| {
        quorum.update_voter(voter, address, CHANGE_TIME_MAX).await
    };
    voter_change::on_leader(cx, update).await
}
