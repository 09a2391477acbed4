//! Brokers that died with the controller that would have noticed.
//!
//! A new controller gives every broker a full session, because it cannot know who is silent. Those that live report at
//! once; whoever has not done so yet is dialled, where brokers reach each other. A connection that is refused tells that
//! its process is gone, and it is fenced; every other outcome leaves it to its session. Asking the kernel of the other
//! host is safer than a short time limit: a cluster that is merely slow loses nobody.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::future::join_all;
use milena_client::net::Dialer;
use milena_state::metadata::Broker;
use milena_state::metadata::brokers::FenceBroker;
use milena_state::metadata::record::Endpoint;

use super::Client;
use super::raft::quorum::Quorum;
use super::sessions::{DISCONNECT_GRACE, fence};

/// How often those are dialled that are still silent: the first time finds who died with the last controller.
const ROUNDS_MAX: u32 = 5;
/// The first entry of a leadership is committed in this time, mostly.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// A host that does not even refuse is left to the session.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Looks after each takeover, for as long as the member of the quorum runs. `listener_name` is that of the listener
/// between brokers.
pub async fn run(quorum: Quorum, client: Client, dialer: Dialer, listener_name: String) {
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
            let look = |broker| look(&quorum, &client, &dialer, &listener_name, broker);
            join_all(silent.into_iter().map(look)).await;
        }
        let others = |leader: &Option<super::raft::roles::Leader>| !leads(leader);
        if leader.wait_for(others).await.is_err() {
            return;
        }
    }
}

async fn look(quorum: &Quorum, client: &Client, dialer: &Dialer, listener_name: &str, silent: FenceBroker) {
    let image = quorum.state().image;
    let Some(broker) = image.broker(silent.broker_id) else { return };
    let addresses = addresses(broker, listener_name);
    let refused = join_all(addresses.iter().map(|address| is_refused(dialer, address))).await;
    if !refused.is_empty() && refused.into_iter().all(|is_refused| is_refused) {
        tracing::info!(
            broker = silent.broker_id,
            ?addresses,
            "nobody is there who would report to the new controller"
        );
        fence(client, silent.broker_id, silent.broker_epoch).await;
    }
}

/// Where other brokers reach it. A process that is no broker may not know which of its endpoints that is: then none must
/// answer. What is for clients alone may be a proxy, which refuses them while the broker lives.
fn addresses(broker: &Broker, listener_name: &str) -> Vec<String> {
    let endpoints = match broker.endpoint(listener_name) {
        Some(endpoint) => std::slice::from_ref(endpoint),
        None => &broker.endpoints,
    };
    endpoints.iter().map(Endpoint::address).collect()
}

async fn is_refused(dialer: &Dialer, address: &str) -> bool {
    match tokio::time::timeout(DIAL_TIMEOUT, dialer.dial(address)).await {
        Ok(Err(error)) => error.kind() == ErrorKind::ConnectionRefused,
        Ok(Ok(_)) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use milena_client::net::{Dial, Dialing};

    use super::*;
    use crate::controller::writer::tests::Scene;

    /// Nobody listens at one address, all others answer.
    #[derive(Debug)]
    struct Refused(&'static str);

    impl Dial for Refused {
        fn dial<'a>(&'a self, address: &'a str) -> Dialing<'a> {
            Box::pin(async move {
                if address == self.0 {
                    return Err(std::io::Error::from(ErrorKind::ConnectionRefused));
                }
                let (ours, _theirs) = tokio::io::duplex(1);
                Ok(Box::new(ours) as Box<dyn milena_client::net::Stream>)
            })
        }
    }

    /// Whether broker 1, which lives and has these endpoints, is fenced by a look.
    async fn is_fenced(endpoints: &[(&str, u16)], listener_name: &str, refused: &'static str) -> bool {
        let scene = Scene::new().await;
        let endpoint = |(name, port): &(&str, u16)| Endpoint {
            name: (*name).to_owned(),
            host: "broker-1".to_owned(),
            port: *port,
            security_protocol: 0,
        };
        let endpoints = endpoints.iter().map(endpoint).collect();
        let broker_epoch = scene.register_at(endpoints, 1, 1_000).await.expect("the first");
        scene.beat(1, broker_epoch).await.expect("it lives");
        let quorum = scene.quorum().await;
        assert!(!quorum.state().image.broker(1).expect("registered").fenced);
        let (dialer, silent) =
            (Arc::new(Refused(refused)) as Dialer, FenceBroker { broker_id: 1, broker_epoch });
        look(&quorum, &scene.client, &dialer, listener_name, silent).await;
        quorum.state().image.broker(1).expect("registered").fenced
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_is_looked_for_where_brokers_reach_it() {
        let both = [("OUTSIDE", 1), ("INSIDE", 2)];
        assert!(!is_fenced(&both, "INSIDE", "broker-1:1").await, "a proxy of its clients is gone");
        assert!(is_fenced(&both, "INSIDE", "broker-1:2").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_controller_alone_looks_everywhere() {
        let both = [("OUTSIDE", 1), ("INSIDE", 2)];
        assert!(!is_fenced(&both, "", "broker-1:1").await);
        assert!(!is_fenced(&both, "", "broker-1:2").await);
        assert!(is_fenced(&[("INSIDE", 2)], "", "broker-1:2").await);
        assert!(!is_fenced(&[], "", "broker-1:2").await, "there is nowhere to look");
    }
}
