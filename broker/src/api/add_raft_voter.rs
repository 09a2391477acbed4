//! AddRaftVoter (key 80), versions 0–1 (KIP-853).
//!
//! A controller that follows the metadata log becomes a voter, once it has caught up. It is reached at the endpoint of the
//! first controller listener; the others are not kept. v1 may ask for an answer before the change is committed, which we
//! give only then: nothing that a caller may do with the earlier one would be safer.

use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::messages::add_raft_voter_request::AddRaftVoterRequest;
use milena_protocol::messages::add_raft_voter_response::AddRaftVoterResponse;

use super::voter_change::{self, check_cluster};
use crate::controller::raft::serve::Refused;
use crate::controller::raft::types::{VoterAddress, VoterId};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: AddRaftVoterRequest<'_>) -> Reply {
    let answer = match add(cx, &request).await {
        Ok(()) => AddRaftVoterResponse { error_message: Some("".into()), ..Default::default() },
        Err(Refused { code, message }) => AddRaftVoterResponse {
            error_code: code.into(),
            error_message: Some(message.into()),
            ..Default::default()
        },
    };
    cx.reply(&answer)
}

async fn add(cx: &RequestContext, request: &AddRaftVoterRequest<'_>) -> Result<(), Refused> {
    check_cluster(cx, request.cluster_id.as_deref())?;
    let invalid = |message: String| Refused { code: ErrorCode::InvalidRequest, message };
    let voter = VoterId { id: request.voter_id, directory: request.voter_directory_id };
    if voter.id < 0 || voter.directory.is_zero() {
        return Err(invalid("Add voter request didn't include a valid voter".to_owned()));
    }
    let wanted = voter_change::default_listener(cx);
    let found = request.listeners.iter().find(|listener| listener.name.eq_ignore_ascii_case(&wanted));
    let found = found.filter(|listener| !listener.host.is_empty() && listener.port != 0);
    let address = found.map(|found| VoterAddress { host: found.host.to_string(), port: found.port });
    let address = address.ok_or_else(|| {
        let names: Vec<_> = request.listeners.iter().map(|listener| &*listener.name).collect();
        invalid(format!(
            "Add voter request didn't include the endpoint ({}) for the default listener {wanted}",
            names.join(", ")
        ))
    })?;
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    voter_change::on_leader(cx, async move |quorum| quorum.add_voter(voter, address, timeout).await).await
}
