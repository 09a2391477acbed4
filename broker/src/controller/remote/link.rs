//! One connection to whichever node is asked, kept from one request to the next.

use std::sync::Arc;
use std::time::Duration;

use milena_client::connection::{Connection, Options};
use milena_client::net::Dialer;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::Refused;
use crate::controller::dialing::{Dialed, Dialing, dial};

/// A node that does not accept a connection in this time is not waited for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest answer that is read: a piece of a snapshot or of the log and what is around it.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// How nodes connect to controllers.
pub fn options() -> Options {
    Options {
        client_id: "milena-broker".to_owned(),
        connect_timeout: CONNECT_TIMEOUT,
        request_timeout: CONNECT_TIMEOUT,
        response_bytes_max: RESPONSE_BYTES_MAX,
    }
}

/// Holds the connection that was made last, or the attempt.
#[derive(Default)]
pub struct Link(Mutex<Option<Held>>);

struct Held {
    address: String,
    dialing: Dialing,
}

impl Held {
    /// The connection, once it is made and while it is open.
    fn connection(&self) -> Option<&Arc<Connection>> {
        self.dialing.peek()?.as_ref().ok().filter(|connection| !connection.is_closed())
    }

    fn is_of_use(&self) -> bool {
        self.dialing.peek().is_none() || self.connection().is_some()
    }
}

impl Link {
    /// The connection to the controller of our cluster at `address`, a new one if there is none.
    ///
    /// Its tasks run on `background`: whoever asks first may be a reactor, which ends before others do.
    pub async fn to(
        &self,
        (dialer, cluster_id): (&Dialer, &Arc<str>),
        address: &str,
        background: &Handle,
        deadline: Instant,
    ) -> Result<Arc<Connection>, Refused> {
        let dialing = {
            let mut held = self.0.lock();
            match held.as_ref().filter(|held| held.address == address && held.is_of_use()) {
                Some(held) => held.dialing.clone(),
                None => {
                    let dialing = {
                        let cluster_id = Some(Arc::clone(cluster_id));
                        dial(background, dialer, address.to_owned(), options(), cluster_id, tell)
                    };
                    *held = Some(Held { address: address.to_owned(), dialing: dialing.clone() });
                    dialing
                }
            }
        };
        match tokio::time::timeout_at(deadline, dialing).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(_)) | Err(_) => Err(Refused::ForNow),
        }
    }

    /// The connection, while it is open.
    pub fn current(&self) -> Option<Arc<Connection>> {
        self.0.lock().as_ref()?.connection().cloned()
    }

    /// The connection is of no use any more.
    pub fn lose(&self, connection: &Arc<Connection>) {
        let mut held = self.0.lock();
        let is_it = |held: &Held| held.connection().is_some_and(|kept| Arc::ptr_eq(kept, connection));
        if held.as_ref().is_some_and(is_it) {
            *held = None;
        }
    }

    pub fn close(&self) {
        *self.0.lock() = None;
    }
}

fn tell(dialed: &Dialed) {
    if let Err(error) = dialed {
        tracing::debug!(%error, "active controller cannot be reached");
    }
}
