//! A controller that asks to become a voter by itself (`controller.quorum.auto.join.enable`, KIP-853).
//!
//! One that lost its directory comes back under its id with a new one, and is another voter to the quorum. As in Kafka it
//! first has the former one removed, which will never vote again: an id votes once, and until then the quorum counts on
//! a vote that cannot come.

use std::sync::Arc;
use std::time::Duration;

use milena_state::config::broker::Settings;
use tokio::time::Instant;

use super::quorum::Change;
use super::{Refused, Remote};
use crate::controller::raft::quorum::Quorum;
use crate::controller::raft::types::VoterId;

/// How long the voters may take to have the new one catch up.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause before it is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks the leader, until this controller votes.
pub async fn run(quorum: Quorum, remote: Arc<Remote>, settings: Arc<Settings>) {
    let mut is_told = false;
    while !quorum.is_voter() {
        // Nobody was reached, or who leads has changed: the next time.
        if let Ok(Err((code, message))) = join(quorum.voter(), &remote, &settings).await
            && !is_told
        {
            is_told = true;
            tracing::warn!(%code, message, "this controller cannot join the quorum yet and asks again");
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::info!(voter = %quorum.voter(), "this controller is a voter");
}

async fn join(us: VoterId, remote: &Remote, settings: &Settings) -> Result<Change, Refused> {
    let deadline = Instant::now() + JOIN_TIMEOUT * 2;
    let quorum = remote.describe_quorum(deadline).await?;
    match quorum.voters.iter().find(|voter| voter.id == us.id) {
        // A founder or a former change has made it one, and it has not heard of it yet.
        Some(voter) if voter.directory == us.directory => return Ok(Ok(())),
        Some(voter) => {
            let former = VoterId { id: voter.id, directory: voter.directory };
            if let Err(refused) = remote.remove_voter(former, deadline).await? {
                return Ok(Err(refused));
            }
            tracing::info!(%former, "the voter that this controller was before is removed");
        }
        None => {}
    }
    remote.add_voter(us, &settings.advertised_controllers, (JOIN_TIMEOUT, deadline)).await
}
