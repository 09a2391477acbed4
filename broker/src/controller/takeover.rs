//! Brokers that died with the controller that would have noticed.
//!
//! A new controller gives every broker a full session, because it cannot know who is silent. Those that live report at
//! once; whoever has not done so yet is dialled. A connection that is refused tells that its process is gone,
//! and it is fenced; every other outcome leaves it to its session. Asking the kernel of the other host is safer than a
//! short time limit: a cluster that is merely slow loses nobody.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::future::join_all;
use milena_client::net::Dialer;
use milena_state::config::quorum::Address;
use milena_state::metadata::brokers::FenceBroker;

use super::Client;
use super::raft::quorum::Quorum;
use super::sessions::{DISCONNECT_GRACE, fence};

/// How often those are dialled that are still silent: the first time finds who died with the last controller.
const ROUNDS_MAX: u32 = 5;
/// The first entry of a leadership is committed in this time, mostly.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// A host that does not even refuse is left to the session.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Looks after each takeover, for as long as the member of the quorum runs.
pub async fn run(quorum: Quorum, client: Client, dialer: Dialer) {
    let mut leader = quorum.leader_changes();
    let us = quorum.voter();
    let leads =
        |leader: &Option<super::raft::roles::Leader>| leader.as_ref().is_some_and(|now| now.voter == us);
    loop {
        if leader.wait_for(leads).await.is_err() {
            return;
        }
        for round in 0..ROUNDS_MAX {
            let is_first = round == 0;
            tokio::time::sleep(if is_first { FIRST_PAUSE } else { DISCONNECT_GRACE }).await;
            if !client.leads_here() {
                continue;
            }
            let silent = client.heard().sessions().unheard(&quorum.state().image);
            join_all(silent.into_iter().map(|broker| look(&quorum, &client, &dialer, broker))).await;
        }
        let others = |leader: &Option<super::raft::roles::Leader>| !leads(leader);
        if leader.wait_for(others).await.is_err() {
            return;
        }
    }
}

async fn look(quorum: &Quorum, client: &Client, dialer: &Dialer, silent: FenceBroker) {
    let image = quorum.state().image;
    let endpoint = image.broker(silent.broker_id).and_then(|broker| broker.endpoints.first().cloned());
    let Some(endpoint) = endpoint else { return };
    let address = Address { host: endpoint.host, port: endpoint.port }.to_string();
    let dialled = tokio::time::timeout(DIAL_TIMEOUT, dialer.dial(&address)).await;
    if let Ok(Err(error)) = dialled
        && error.kind() == ErrorKind::ConnectionRefused
    {
        tracing::info!(
            broker = silent.broker_id,
            address,
            "nobody is there who would report to the new controller"
        );
        fence(client, silent.broker_id, silent.broker_epoch).await;
    }
}
