//! Whether the quorum can commit anything: what its leader says within a bounded time, and from whom it has heard lately.
//!
//! A leader that lost its majority may not know it yet, or say that it leads all the same. What gives it away is how long
//! ago the voters fetched from it.

use std::time::Duration;

use tokio::time::Instant;

use super::{Admin, QuorumDescription};
use crate::error::{Error, Result};

/// A voter that fetched no later than this before the leader answered is heard of: several elections would have passed.
const HEARD_OF_MS_MAX: i64 = 5_000;

/// Pause before a leader is asked again that has not heard from a majority since it leads, which may be a moment.
const NEW_LEADER_PAUSE: Duration = Duration::from_millis(100);

/// What is found out of the quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuorumView {
    /// The cluster has none, as those with ZooKeeper.
    Absent,
    /// Nobody answers that it leads; why.
    NoLeader(String),
    /// The leader has not heard of a majority of the voters lately, only of so many, itself among them: nothing can be
    /// committed.
    NoMajority {
        quorum: QuorumDescription,
        heard: usize,
    },
    Whole(QuorumDescription),
}

/// How many voters the leader has heard of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    lately: usize,
    /// Not since it leads.
    never: usize,
}

impl Admin {
    /// As [`describe_quorum`](Self::describe_quorum) for at most `time_max`: a quorum that has no leader is an answer.
    ///
    /// The connection may be busy afterwards with a question that nobody waits for any more.
    pub async fn view_quorum(&self, time_max: Duration) -> Result<QuorumView> {
        let deadline = Instant::now() + time_max;
        loop {
            let quorum = match tokio::time::timeout_at(deadline, self.describe_quorum()).await {
                Ok(Err(Error::UnsupportedApi { .. })) => return Ok(QuorumView::Absent),
                Ok(Err(error)) if error.may_be_retried() => {
                    return Ok(QuorumView::NoLeader(error.to_string()));
                }
                Ok(described) => described?,
                Err(_) => {
                    return Ok(QuorumView::NoLeader(format!("no answer within {} s", time_max.as_secs())));
                }
            };
            let Some(Heard { lately, never }) = heard(&quorum) else { return Ok(QuorumView::Whole(quorum)) };
            let needed = quorum.majority();
            if lately >= needed {
                return Ok(QuorumView::Whole(quorum));
            }
            let is_settled = lately + never < needed || Instant::now() + NEW_LEADER_PAUSE >= deadline;
            if is_settled {
                return Ok(QuorumView::NoMajority { quorum, heard: lately });
            }
            tokio::time::sleep(NEW_LEADER_PAUSE).await;
        }
    }
}

impl QuorumDescription {
    /// Voters that must agree.
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }
}

/// By the leader's clock. None where it tells no times, as before KIP-836.
fn heard(quorum: &QuorumDescription) -> Option<Heard> {
    let now_ms = quorum.voters.iter().find(|voter| voter.id == quorum.leader_id)?.last_fetch_ms?;
    let mut heard = Heard::default();
    for voter in &quorum.voters {
        match voter.last_fetch_ms {
            Some(fetched_ms) => heard.lately += usize::from(now_ms - fetched_ms <= HEARD_OF_MS_MAX),
            None => heard.never += 1,
        }
    }
    Some(heard)
}
