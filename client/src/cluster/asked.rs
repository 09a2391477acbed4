//! The broker that is asked what any broker can answer.

use std::sync::{Arc, Mutex as ShortMutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::connection::{Connection, Options};
use crate::error::{Error, Result};
use crate::net::Dialer;

/// How long a broker is asked before another one is: many doubts at once are one doubt.
const ASKED_MIN: Duration = Duration::from_secs(1);

/// One connection to some broker, and whether its answers are believed.
#[derive(Debug, Default)]
pub(super) struct Asked {
    current: Mutex<Option<Current>>,
    doubt: ShortMutex<Doubt>,
}

/// Why another broker should be asked.
#[derive(Debug, Default)]
struct Doubt {
    is_open: bool,
    /// The address of a broker that failed: asked last, because it may be the one that is cut off.
    suspect: Option<String>,
}

#[derive(Debug)]
struct Current {
    connection: Arc<Connection>,
    since: Instant,
}

impl Asked {
    /// What this broker said turned out to be wrong. It may be cut off from the others and not know it, so the next one
    /// is asked next.
    pub fn doubt(&self, suspect: Option<String>) {
        let mut doubt = self.lock();
        doubt.is_open = true;
        if suspect.is_some() {
            doubt.suspect = suspect;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Doubt> {
        self.doubt.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether the broker that was asked before may be asked again.
    fn is_believed(&self, current: &Current) -> bool {
        let doubt = self.lock();
        let is_suspect = doubt.suspect.as_deref() == Some(current.connection.address());
        let is_young = current.since.elapsed() < ASKED_MIN;
        !current.connection.is_closed() && (!doubt.is_open || (is_young && !is_suspect))
    }

    /// The connection while it lasts and is believed; otherwise the first of `addresses` that answers, beginning behind the
    /// broker that was asked before.
    ///
    /// Errors: `NoBroker`.
    pub async fn connection(
        &self,
        addresses: Vec<String>,
        dialer: &Dialer,
        options: Options,
    ) -> Result<Arc<Connection>> {
        let mut current = self.current.lock().await;
        if let Some(current) = current.as_ref().filter(|current| self.is_believed(current)) {
            return Ok(Arc::clone(&current.connection));
        }
        let Doubt { suspect, .. } = std::mem::take(&mut *self.lock());
        let before = current.as_ref().map(|before| before.connection.address());
        let mut failures = Vec::new();
        for address in in_turn(addresses, before, suspect.as_deref()) {
            match Connection::open(dialer, &address, options.clone()).await {
                Ok(connection) => {
                    let connection = Arc::new(connection);
                    *current = Some(Current { connection: Arc::clone(&connection), since: Instant::now() });
                    return Ok(connection);
                }
                Err(error) => failures.push(error.to_string()),
            }
        }
        Err(Error::NoBroker(failures.join("; ")))
    }
}

/// Each address once: those behind `before` first, then that one, and the suspect last.
fn in_turn(addresses: Vec<String>, before: Option<&str>, suspect: Option<&str>) -> Vec<String> {
    let mut once: Vec<String> = Vec::with_capacity(addresses.len());
    for address in addresses {
        if !once.contains(&address) {
            once.push(address);
        }
    }
    if let Some(at) = before.and_then(|before| once.iter().position(|address| address == before)) {
        once.rotate_left(at + 1);
    }
    once.sort_by_key(|address| Some(address.as_str()) == suspect);
    once
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broker_has_its_turn_once() {
        let known = || ["a", "b", "a", "c"].map(str::to_owned).to_vec();
        assert_eq!(in_turn(known(), None, None), ["a", "b", "c"]);
        assert_eq!(in_turn(known(), Some("a"), None), ["b", "c", "a"]);
        assert_eq!(in_turn(known(), Some("c"), None), ["a", "b", "c"]);
        assert_eq!(in_turn(known(), Some("gone"), None), ["a", "b", "c"]);
        assert_eq!(in_turn(known(), Some("c"), Some("a")), ["b", "c", "a"]);
        assert_eq!(in_turn(known(), Some("a"), Some("b")), ["c", "a", "b"]);
    }
}
