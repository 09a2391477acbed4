//! Whether this member has lately heard of a quorum that lives.
//!
//! A member that is cut off keeps what was committed until then and does not know what was committed since. Who follows
//! the log must not hear it from such a one. A leader knows by the answers of its voters; it tells the others with every
//! append how long ago a majority answered, since a follower may be cut off together with its leader.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::{Instant as _, RaftMetrics, ServerState};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::quorum::Quorum;
use super::types::TypeConfig;

/// A member that has not heard of a live quorum for this long gives no metadata to others. Far above the 80 ms between
/// heartbeats and the 400 ms of an election, so that a machine that stalls for a moment does not send all brokers away.
pub const SILENCE_MAX: Duration = Duration::from_secs(2);

type Metrics = openraft::alias::WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>;

/// The last sign of life; cheap to clone.
#[derive(Clone, Default)]
pub struct Pulse(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// What openraft knows, once it runs.
    metrics: OnceLock<Metrics>,
    /// When a majority had last answered the leader, as leaders have told.
    told: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Pulse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pulse({:?})", self.silence())
    }
}

impl Pulse {
    pub(super) fn attach(&self, metrics: Metrics) {
        let _ = self.0.metrics.set(metrics);
    }

    /// An append of the leader was accepted that came at `at`; a majority had answered it `ago` before.
    pub(super) fn told(&self, at: Instant, ago: Duration) {
        let answered = at.checked_sub(ago);
        let mut told = self.0.told.lock();
        *told = answered.max(*told);
    }

    /// How long ago a majority answered the leader, itself or not, as far as this member knows; `None` when it never did,
    /// or when this member has stopped. Zero for the only voter.
    pub fn silence(&self) -> Option<Duration> {
        let (is_alone, own) = {
            let metrics = self.0.metrics.get()?.borrow_watched();
            metrics.running_state.as_ref().ok()?;
            let mut voters = metrics.membership_config.membership().voter_ids();
            let is_alone = voters.next() == Some(metrics.id) && voters.next().is_none();
            let leads = metrics.state == ServerState::Leader;
            (is_alone, metrics.last_quorum_acked.filter(|_| leads).map(|at| at.elapsed()))
        };
        if is_alone {
            return Some(Duration::ZERO);
        }
        // Who leads only now has heard its predecessor.
        let told = self.0.told.lock().map(|at| at.elapsed());
        own.into_iter().chain(told).min()
    }
}

impl Quorum {
    /// How long ago this member last heard of a quorum that lives.
    pub fn silence(&self) -> Option<Duration> {
        self.pulse().silence()
    }

    /// Whether what is committed here is all that is committed, give or take [`SILENCE_MAX`]. Also a member that learns
    /// before it votes hears of the quorum; one that was removed does not any more.
    pub fn is_current(&self) -> bool {
        self.silence().is_some_and(|silence| silence < SILENCE_MAX)
    }
}
