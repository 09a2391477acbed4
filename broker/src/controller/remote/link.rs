//! One connection to whichever node is asked, kept from one request to the next.

use std::sync::Arc;
use std::time::Duration;

use milena_client::connection::{Connection, Options};
use milena_client::net::Dialer;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::Refused;

/// A node that does not accept a connection in this time is not waited for.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
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

/// Holds the connection that was made last.
#[derive(Default)]
pub struct Link(Mutex<Option<Arc<Connection>>>);

impl Link {
    /// The connection to `address`, a new one if there is none.
    ///
    /// Its tasks run on `background`: whoever asks first may be a reactor, which ends before others do.
    pub async fn to(
        &self,
        dialer: &Dialer,
        address: &str,
        background: &Handle,
        deadline: Instant,
    ) -> Result<Arc<Connection>, Refused> {
        if let Some(connection) = self.current().filter(|connection| connection.address() == address) {
            return Ok(connection);
        }
        let (dialer, address) = (Arc::clone(dialer), address.to_owned());
        let opening = background.spawn(async move { Connection::open(&dialer, &address, options()).await });
        let Ok(Ok(opened)) = tokio::time::timeout_at(deadline, opening).await else {
            return Err(Refused::ForNow);
        };
        let connection = Arc::new(opened.map_err(|error| {
            tracing::debug!(%error, "active controller cannot be reached");
            Refused::ForNow
        })?);
        *self.0.lock() = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// The connection, while it is open.
    pub fn current(&self) -> Option<Arc<Connection>> {
        self.0.lock().clone().filter(|connection| !connection.is_closed())
    }

    /// The connection is of no use any more.
    pub fn lose(&self, connection: &Arc<Connection>) {
        let mut held = self.0.lock();
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, connection)) {
            *held = None;
        }
    }

    pub fn close(&self) {
        *self.0.lock() = None;
    }
}
