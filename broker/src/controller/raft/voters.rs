//! Voters added, removed and moved while the quorum runs (KIP-853), on the leader; one change at a time.
//!
//! A new voter first learns the log without voting, and votes when it has caught up: a quorum must not wait for a member
//! that is far behind. Who does not catch up in time is forgotten again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_protocol::ErrorCode;
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, ForwardReason, RaftError};
use tokio::time::Instant;

use super::quorum::{LEASE_WAIT_MAX, Quorum};
use super::serve::Refused;
use super::types::{TypeConfig, VoterAddress, VoterId};

/// Entries that a new voter may lack when it begins to vote: what comes in during a moment.
const LAG_MAX: u64 = 100;
/// The longest that a change may take, whatever the request allows.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(300);
/// Time for taking back what was not completed.
const REVERT_TIME_MAX: Duration = Duration::from_secs(5);

/// Pause before it is looked again whether a majority acknowledges the leader.
const LEASE_PAUSE: Duration = Duration::from_millis(20);
/// Pause before the completion of an earlier change is looked at again.
const FINISH_PAUSE: Duration = Duration::from_millis(200);

type Change = ChangeMembers<VoterId, VoterAddress>;

impl Quorum {
    /// Adds a voter that is reached at `address`; returns when it votes.
    pub async fn add_voter(
        &self,
        voter: VoterId,
        address: VoterAddress,
        timeout: Duration,
    ) -> Result<(), Refused> {
        let _alone = self.begin_change()?;
        let deadline = Instant::now() + timeout.min(CHANGE_TIME_MAX);
        let voters = self.voters();
        if voters.iter().any(|(known, _)| known.id == voter.id) {
            let message = format!(
                "The voter id for {} is already part of the set of voters {}.",
                key_text(&voter),
                set_text(&voters)
            );
            return Err(Refused { code: ErrorCode::DuplicateVoter, message });
        }
        self.name_ourselves(&voters, deadline).await?;
        let learn = Change::SetNodes(BTreeMap::from([(voter, address)]));
        self.change(learn, true, deadline).await?;
        let added = match self.caught_up(voter, deadline).await {
            Ok(()) => self.change(Change::AddVoterIds(BTreeSet::from([voter])), true, deadline).await,
            Err(late) => Err(late),
        };
        if added.is_err() && !self.voters().iter().any(|(known, _)| *known == voter) {
            let forget = Change::RemoveNodes(BTreeSet::from([voter]));
            if let Err(refused) = self.change(forget, true, Instant::now() + REVERT_TIME_MAX).await {
                tracing::warn!(%voter, reason = refused.message, "voter that was not added still learns the log");
            }
        }
        added
    }

    /// Takes the vote from a voter. The leader may remove itself; it steps down when that is committed.
    pub async fn remove_voter(&self, voter: VoterId, timeout: Duration) -> Result<(), Refused> {
        let _alone = self.begin_change()?;
        let deadline = Instant::now() + timeout.min(CHANGE_TIME_MAX);
        let voters = self.voters();
        if voters.len() == 1 || !voters.iter().any(|(known, _)| *known == voter) {
            let message = format!(
                "Cannot remove voter {} from the set of voters {}",
                key_text(&voter),
                set_text(&voters)
            );
            return Err(Refused { code: ErrorCode::VoterNotFound, message });
        }
        self.change(Change::RemoveVoters(BTreeSet::from([voter])), false, deadline).await
    }

    /// Notes where a voter is reached from now on.
    pub async fn update_voter(
        &self,
        voter: VoterId,
        address: VoterAddress,
        timeout: Duration,
    ) -> Result<(), Refused> {
        let _alone = self.begin_change()?;
        let deadline = Instant::now() + timeout.min(CHANGE_TIME_MAX);
        let voters = self.voters();
        let Some((_, known)) = voters.iter().find(|(known, _)| *known == voter) else {
            let message =
                format!("{} is not part of the set of voters {}", key_text(&voter), set_text(&voters));
            return Err(Refused { code: ErrorCode::VoterNotFound, message });
        };
        if *known == address {
            return Ok(());
        }
        self.change(Change::SetNodes(BTreeMap::from([(voter, address)])), true, deadline).await
    }

    fn begin_change(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Refused> {
        if self.leadership().is_none() {
            return Err(not_leader());
        }
        self.changing().try_lock().map_err(|_| Refused {
            code: ErrorCode::RequestTimedOut,
            message: "Request timed out waiting for leader to handle previous voter change request"
                .to_owned(),
        })
    }

    /// A quorum of one that nobody dialled has no address; the new voter must be able to reach it.
    async fn name_ourselves(
        &self,
        voters: &[(VoterId, VoterAddress)],
        deadline: Instant,
    ) -> Result<(), Refused> {
        let us = self.voter();
        let known = voters.iter().find(|(voter, _)| *voter == us).map(|(_, address)| address);
        if known.is_none_or(|known| !known.host.is_empty()) {
            return Ok(());
        }
        if self.address().host.is_empty() {
            let message = "this controller has no listener that another voter could reach: set \
                           controller.listener.names and the listener"
                .to_owned();
            return Err(Refused { code: ErrorCode::InvalidRequest, message });
        }
        self.change(Change::SetNodes(BTreeMap::from([(us, self.address().clone())])), true, deadline).await
    }

    /// Commits a change; a joint one in its two steps.
    async fn change(&self, change: Change, retain: bool, deadline: Instant) -> Result<(), Refused> {
        self.majority_acknowledges(deadline).await?;
        let raft = self.raft.clone();
        // On its own: given up between its two steps it would leave two sets of voters that must both agree.
        let changing = tokio::spawn(async move { raft.change_membership(change, retain).await });
        match tokio::time::timeout_at(deadline, changing).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) => Err(refused(error)),
            Ok(Err(error)) => Err(Refused::stopped(&error)),
            Err(_) => Err(Refused {
                code: ErrorCode::RequestTimedOut,
                message: "the change of voters was not committed in time, and may be later".to_owned(),
            }),
        }
    }

    /// Waits for a majority of voters that acknowledges this leader, for a moment only: without one openraft refuses, and
    /// logs an error, each time it is asked. So nothing has been changed when this fails.
    async fn majority_acknowledges(&self, deadline: Instant) -> Result<(), Refused> {
        let deadline = deadline.min(Instant::now() + LEASE_WAIT_MAX);
        while !self.has_lease() {
            if self.leadership().is_none() {
                return Err(not_leader());
            }
            if Instant::now() >= deadline {
                return Err(no_majority());
            }
            tokio::time::sleep(LEASE_PAUSE).await;
        }
        Ok(())
    }

    async fn caught_up(&self, voter: VoterId, deadline: Instant) -> Result<(), Refused> {
        let mut metrics = self.raft.metrics();
        let waiting = async {
            loop {
                let distance = {
                    let now = metrics.borrow_and_update();
                    let Some(replication) = now.replication.as_ref() else { return Err(not_leader()) };
                    let matched = replication.get(&voter).copied().flatten();
                    let end = now.last_log_index.map_or(0, |index| index + 1);
                    matched.map(|matched| end.saturating_sub(matched.index + 1))
                };
                if distance.is_some_and(|distance| distance <= LAG_MAX) {
                    return Ok(());
                }
                metrics.changed().await.map_err(|error| Refused::stopped(&error))?;
            }
        };
        tokio::time::timeout_at(deadline, waiting).await.unwrap_or_else(|_| {
            let message =
                format!("Aborted add voter operation for {} since it is lagging behind", key_text(&voter));
            Err(Refused { code: ErrorCode::RequestTimedOut, message })
        })
    }
}

/// Completes the second step of a change whose leader did not live to do so: as long as there are two sets of voters, both
/// must agree to everything. Runs until the member ends.
pub(super) async fn finish_changes(quorum: Quorum) {
    let mut leader = quorum.leader_changes();
    loop {
        while quorum.raft.is_leader() && quorum.is_joint() {
            // Whoever changes voters now completes it as well.
            if let Ok(_alone) = quorum.changing().try_lock() {
                let nothing_new = Change::AddVoterIds(BTreeSet::new());
                let deadline = Instant::now() + REVERT_TIME_MAX;
                if quorum.change(nothing_new, true, deadline).await.is_ok() {
                    tracing::info!("change of voters of an earlier leader was completed");
                }
            }
            tokio::time::sleep(FINISH_PAUSE).await;
        }
        if leader.changed().await.is_err() {
            return;
        }
    }
}

pub(super) fn not_leader() -> Refused {
    Refused {
        code: ErrorCode::NotLeaderOrFollower,
        message: "this controller does not lead the metadata quorum".to_owned(),
    }
}

/// Not passed off as a lack of leadership: whoever is told that asks again at once, and the same leader.
fn no_majority() -> Refused {
    Refused {
        code: ErrorCode::RequestTimedOut,
        message: "the voters were not changed: no majority of them acknowledges this leader".to_owned(),
    }
}

fn refused(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Refused {
    let code = match &error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
            let is_ours = to.reason == ForwardReason::LeaseExpired;
            return if is_ours { no_majority() } else { not_leader() };
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) => ErrorCode::RequestTimedOut,
        RaftError::APIError(_) => ErrorCode::RequestTimedOut,
        RaftError::Fatal(_) => ErrorCode::KafkaStorageError,
    };
    Refused { code, message: error.to_string() }
}

/// As Kafka writes a voter in its messages.
fn key_text(voter: &VoterId) -> String {
    format!("ReplicaKey(id={}, directoryId={})", voter.id, voter.directory)
}

fn set_text(voters: &[(VoterId, VoterAddress)]) -> String {
    let keys: Vec<_> = voters.iter().map(|(voter, _)| key_text(voter)).collect();
    format!("[{}]", keys.join(", "))
}
