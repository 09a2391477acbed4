//! A controller that tells the active one what it supports, so that no feature is raised beyond it (KIP-919).
//!
//! It looks at the committed metadata and asks whenever they do not say what it says: after its start, and when the
//! cluster comes to a metadata version that has the record. One that does not vote has no metadata of the quorum's, and
//! registers when it is added.

use std::time::Duration;

use milena_state::metadata::record::RegisterController;
use milena_state::metadata::{Command, Image, Reply, controllers};

use super::client::Client;
use super::raft::quorum::Quorum;

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts, whatever came of the first; what was registered is seen here by then.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps `own` registered, until the member ends.
pub async fn run(quorum: Quorum, client: Client, own: RegisterController) {
    let mut state = quorum.subscribe();
    let is_due = |image: &Image| {
        controllers::register_in(image)
            && image.controller(own.controller_id).is_none_or(|known| **known != own)
    };
    while state.wait_for(|state| is_due(&state.image)).await.is_ok() {
        let command = Command::RegisterController(own.clone());
        match client.submit_within(command, ATTEMPT_TIMEOUT).await.map(|committed| committed.reply) {
            Ok(Reply::RegisterController(Ok(()))) => {
                tracing::debug!(controller = own.controller_id, "this controller is registered");
            }
            outcome => tracing::debug!(?outcome, "this controller is not registered yet and asks again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
