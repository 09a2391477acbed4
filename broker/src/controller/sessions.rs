//! When the active controller last heard of each broker, and over which connection.
//!
//! Heartbeats note themselves here before they wait for the writer, so that a writer with much to do does not let
//! sessions run out. Soft state: a new leadership begins with a full session for every broker.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_state::metadata::Command;
use milena_state::metadata::brokers::FenceBroker;
use milena_state::metadata::sessions::Sessions;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;

use super::Client;

/// A broker whose connection broke may come back on another for so long before it is fenced.
pub const DISCONNECT_GRACE: Duration = Duration::from_millis(300);

/// Sessions and connections of the brokers, as far as this controller knows.
#[derive(Debug, Default)]
pub struct Heard {
    sessions: Mutex<Sessions>,
    connections: Mutex<BTreeMap<i32, Contact>>,
}

/// The last connection over which an incarnation of a broker was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Contact {
    broker_epoch: i64,
    connection_id: u64,
}

impl Heard {
    pub fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock()
    }

    fn is_last_contact(&self, broker_id: i32, contact: Contact) -> bool {
        self.connections.lock().get(&broker_id) == Some(&contact)
    }
}

/// A broker is there for as long as its heartbeats' connection is: dropping this, without another connection in
/// time, fences it. A process that dies is noticed at once that way, long before its session runs out.
pub struct Presence {
    broker_id: i32,
    contact: Contact,
    client: Client,
    background: Handle,
}

impl Presence {
    /// Notes that a broker was heard over a connection.
    pub fn note(
        broker_id: i32,
        broker_epoch: i64,
        connection_id: u64,
        client: Client,
        background: Handle,
    ) -> Self {
        let contact = Contact { broker_epoch, connection_id };
        client.heard().connections.lock().insert(broker_id, contact);
        Self { broker_id, contact, client, background }
    }

    /// Whether it is the presence of this incarnation.
    pub fn is_of(&self, broker_id: i32, broker_epoch: i64) -> bool {
        self.broker_id == broker_id && self.contact.broker_epoch == broker_epoch
    }
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presence").field("broker", &self.broker_id).field("contact", &self.contact).finish()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let (broker_id, contact, client) = (self.broker_id, self.contact, self.client.clone());
        if !client.leads_here() || !client.heard().is_last_contact(broker_id, contact) {
            return;
        }
        self.background.spawn(async move {
            tokio::time::sleep(DISCONNECT_GRACE).await;
            if client.heard().is_last_contact(broker_id, contact) {
                fence(&client, broker_id, contact.broker_epoch).await;
            }
        });
    }
}

/// Fences a broker whose process is gone.
pub(super) async fn fence(client: &Client, broker_id: i32, broker_epoch: i64) {
    let command = Command::FenceBroker(FenceBroker { broker_id, broker_epoch });
    match client.submit_here(command, super::client::SUBMIT_TIMEOUT).await {
        Ok(_) => {
            // Whoever registers under this id now is nobody's duplicate.
            client.heard().sessions().forget_incarnation(broker_id, broker_epoch);
            tracing::info!(broker = broker_id, "broker is gone, it is fenced");
        }
        Err(error) => tracing::debug!(broker = broker_id, %error, "broker that is gone could not be fenced"),
    }
}
