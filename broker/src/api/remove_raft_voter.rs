//! RemoveRaftVoter (key 81), version 0 (KIP-853).
//!
//! A voter stops voting. One that leads may be removed as well; it hands leadership over when the change is committed. The last
//! voter cannot be removed.

use milena_protocol::ErrorCode;
use milena_protocol::messages::remove_raft_voter_request::RemoveRaftVoterRequest;
use milena_protocol::messages::remove_raft_voter_response::RemoveRaftVoterResponse;

use super::voter_change::{self, CHANGE_TIME_MAX, check_cluster};
use crate::controller::raft::serve::Refused;
use crate::controller::raft::types::VoterId;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: RemoveRaftVoterRequest<'_>) -> Reply {
    let answer = match remove(cx, &request).await {
        Ok(()) => RemoveRaftVoterResponse { error_message: Some("".into()), ..Default::default() },
        Err(Refused { code, message }) => RemoveRaftVoterResponse {
            error_code: code.into(),
            error_message: Some(message.into()),
            ..Default::default()
        },
    };
    cx.reply(&answer)
}

async fn remove(cx: &RequestContext, request: &RemoveRaftVoterRequest<'_>) -> Result<(), Refused> {
    check_cluster(cx, request.cluster_id.as_deref())?;
    let voter = VoterId { id: request.voter_id, directory: request.voter_directory_id };
    if voter.id < 0 || voter.directory.is_zero() {
        let message = "Remove voter request didn't include a valid voter".to_owned();
        return Err(Refused { code: ErrorCode::InvalidRequest, message });
    }
    voter_change::on_leader(cx, async move |quorum| quorum.remove_voter(voter, CHANGE_TIME_MAX).await).await
}
