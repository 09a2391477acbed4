//! One lane to another voter: a connection that is made when it is needed and made again when it was lost.
//!
//! openraft asks in short turns (a heartbeat has 60 ms) and drops a question that took too long. Neither the dialing nor
//! the connection may go down with it: on a loaded machine no turn would ever be long enough. So dialing is a task of its
//! own that later questions join, and a connection is given up only when nothing came back for [`STALL_MAX`].

use std::sync::Arc;
use std::time::Duration;

use milena_client::connection::{Connection, Options, Response};
use milena_client::error::Error;
use milena_client::net::Dialer;
use milena_protocol::Request;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::types::{VoterAddress, VoterId};
use crate::controller::dialing::{Dialed, Dialing, dial};

/// Until a voter that does not answer the connection is taken for gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing was answered for so long is closed and made anew.
const STALL_MAX: Duration = Duration::from_secs(1);
/// Pause after the first failed attempt; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Far below an election: a voter that comes back must be heard in the next one.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Doublings after which the pause has reached its bound.
const PAUSE_DOUBLINGS_MAX: u32 = 4;
/// Responses hold a vote and a log id.
const RESPONSE_BYTES_MAX: usize = 1 << 20;
/// All private APIs have this version so far.
pub const VERSION: i16 = 0;

/// Why a voter gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("no attempt is made for a moment after the last one failed")]
    Paused,
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A lane to one voter.
#[derive(Debug)]
pub struct Link {
    voter: VoterId,
    address: VoterAddress,
    client_id: String,
    dialer: Dialer,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// Attempts that failed one after the other.
    failures: u32,
    /// An outage is told once.
    is_told: bool,
}

#[derive(Debug)]
enum Stage {
    Idle {
        until: Instant,
    },
    Dialing(Dialing),
    /// `silent_since`: when the oldest question was asked to which, or after which, nothing came back.
    Open {
        connection: Arc<Connection>,
        silent_since: Option<Instant>,
    },
}

impl Link {
    pub fn new(voter: VoterId, address: VoterAddress, client_id: String, dialer: Dialer) -> Arc<Self> {
        let state = State { stage: Stage::Idle { until: Instant::now() }, failures: 0, is_told: false };
        Arc::new(Self { voter, address, client_id, dialer, state: Mutex::new(state) })
    }

    /// As [`new`](Self::new), for a voter whose silence is nobody's concern yet.
    pub fn quiet(voter: VoterId, address: VoterAddress, client_id: String, dialer: Dialer) -> Arc<Self> {
        let link = Self::new(voter, address, client_id, dialer);
        link.state.lock().is_told = true;
        link
    }

    pub fn address(&self) -> &VoterAddress {
        &self.address
    }

    /// Asks and waits at most `ttl` for the answer.
    pub async fn call<R: Request>(
        self: &Arc<Self>,
        request: &R,
        ttl: Duration,
    ) -> Result<Response, LinkError> {
        let asked = Instant::now();
        let called = async {
            let connection = self.connection().await?;
            let answer = connection.send(request, VERSION).await?;
            Ok(answer.await?)
        };
        let answered = tokio::time::timeout(ttl, called).await.unwrap_or(Err(LinkError::TimedOut(ttl)));
        match &answered {
            Ok(_) => self.heard(),
            Err(error) => self.missed(asked, error),
        }
        answered
    }

    async fn connection(self: &Arc<Self>) -> Result<Arc<Connection>, LinkError> {
        let dialing = {
            let mut state = self.state.lock();
            match &state.stage {
                Stage::Open { connection, .. } if !connection.is_closed() => {
                    return Ok(Arc::clone(connection));
                }
                Stage::Idle { until } if Instant::now() < *until => return Err(LinkError::Paused),
                Stage::Dialing(dialing) => dialing.clone(),
                Stage::Open { .. } | Stage::Idle { .. } => {
                    let dialing = self.dial();
                    state.stage = Stage::Dialing(dialing.clone());
                    dialing
                }
            }
        };
        Ok(dialing.await?)
    }

    fn dial(self: &Arc<Self>) -> Dialing {
        let link = Arc::clone(self);
        let options = Options {
            client_id: self.client_id.clone(),
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: CONNECT_TIMEOUT,
            response_bytes_max: RESPONSE_BYTES_MAX,
        };
        let dialed = move |opened: &Dialed| link.dialed(opened);
        dial(&Handle::current(), &self.dialer, self.address.to_string(), options, None, dialed)
    }

    fn dialed(&self, opened: &Dialed) {
        let mut state = self.state.lock();
        match opened {
            Ok(connection) => {
                state.stage = Stage::Open { connection: Arc::clone(connection), silent_since: None };
            }
            Err(error) => {
                let pause = PAUSE_MIN * 2_u32.pow(state.failures.min(PAUSE_DOUBLINGS_MAX));
                state.failures = state.failures.saturating_add(1);
                state.stage = Stage::Idle { until: Instant::now() + pause.min(PAUSE_MAX) };
                self.tell(&mut state, error);
            }
        }
    }

    /// The voter took the question for one of its quorum.
    pub fn accepted(&self) {
        if std::mem::take(&mut self.state.lock().is_told) {
            tracing::info!(voter = %self.voter, address = %self.address, "voter answers again");
        }
    }

    fn heard(&self) {
        let mut state = self.state.lock();
        state.failures = 0;
        if let Stage::Open { silent_since, .. } = &mut state.stage {
            *silent_since = None;
        }
    }

    /// What came back was no answer: the voter does not take us for one of its own.
    pub fn refused(&self, refusal: &dyn std::fmt::Display) {
        self.tell(&mut self.state.lock(), refusal);
    }

    fn missed(&self, asked: Instant, error: &LinkError) {
        let mut state = self.state.lock();
        let Stage::Open { connection, silent_since } = &mut state.stage else { return };
        let since = *silent_since.get_or_insert(asked);
        if connection.is_closed() || since.elapsed() >= STALL_MAX {
            state.stage = Stage::Idle { until: Instant::now() };
            self.tell(&mut state, error);
        }
    }

    fn tell(&self, state: &mut State, error: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut state.is_told, true) {
            tracing::warn!(voter = %self.voter, address = %self.address, %error, "voter does not answer");
        }
    }
}
