//! A controller that asks to become a voter by itself (`controller.quorum.auto.join.enable`, KIP-853).

use std::sync::Arc;
use std::time::Duration;

use milena_protocol::messages::add_raft_voter_request::{AddRaftVoterRequest, Listener};
use milena_protocol::messages::add_raft_voter_response::AddRaftVoterResponse;
use milena_protocol::{ApiKey, ErrorCode, Message};
use milena_state::config::broker::Settings;
use tokio::time::Instant;

use super::{Remote, frame, opened};
use crate::controller::raft::quorum::Quorum;

/// How long the voters may take to have the new one catch up.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause before it is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks the leader, until this controller votes.
pub async fn run(quorum: Quorum, remote: Arc<Remote>, settings: Arc<Settings>) {
    let mut is_told = false;
    while !quorum.is_voter() {
        match ask(&quorum, &remote, &settings).await {
            None | Some(Ok(())) => {}
            Some(Err((code, message))) if !is_told => {
                is_told = true;
                tracing::warn!(%code, message, "this controller cannot join the quorum yet and asks again");
            }
            Some(Err(_)) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::info!(voter = %quorum.voter(), "this controller is a voter");
}

/// The answer of the leader, none when nobody was reached.
async fn ask(
    quorum: &Quorum,
    remote: &Remote,
    settings: &Settings,
) -> Option<Result<(), (ErrorCode, String)>> {
    let version = *AddRaftVoterRequest::VERSIONS.end();
    let request = AddRaftVoterRequest {
        cluster_id: Some((&**remote.cluster_id()).into()),
        timeout_ms: JOIN_TIMEOUT.as_millis() as i32,
        voter_id: quorum.voter().id,
        voter_directory_id: quorum.voter().directory,
        listeners: settings
            .advertised_controllers
            .iter()
            .map(|listener| Listener {
                name: listener.name.as_str().into(),
                host: listener.host.as_str().into(),
                port: listener.port,
            })
            .collect(),
        ack_when_committed: true,
    };
    let frame = frame(&request, version).ok()?;
    let own = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    let answered = remote.pass_on(&frame, own, Instant::now() + JOIN_TIMEOUT * 2).await.ok()?;
    let response: AddRaftVoterResponse<'_> =
        opened(&answered.response, ApiKey::AddRaftVoter, version).ok()?;
    let code = ErrorCode::from_i16(response.error_code).unwrap_or(ErrorCode::UnknownServerError);
    Some(match code {
        ErrorCode::None => Ok(()),
        code => Err((code, response.error_message.unwrap_or_default().into_owned())),
    })
}
