//! Who leads and who votes, as this member knows it; and handing leadership over before a stop.

use std::time::Duration;

use milena_protocol::types::Uuid;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::{Instant as _, Raft, ServerState};
use tokio::sync::watch;

use super::quorum::Quorum;
use super::state_machine::StateMachine;
use super::types::{TypeConfig, VoterAddress, VoterId};

/// An election by transfer takes a few round trips; who does not stand up within this will not.
const TRANSFER_TIME_MAX: Duration = Duration::from_millis(500);
/// Successors that are tried one after the other.
const TRANSFER_ATTEMPTS_MAX: usize = 2;

/// The voter that leads the quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    pub voter: VoterId,
    pub address: VoterAddress,
    pub term: u64,
}

/// One voter as the leader knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoterProgress {
    pub voter: VoterId,
    pub address: VoterAddress,
    /// The offset after the last entry that it is known to hold.
    pub log_end_offset: i64,
    /// How long ago it last answered; none when it never did, or when this member does not lead.
    pub answered_ago: Option<Duration>,
}

/// Follows who leads, and lets the clock of openraft stand still while this member is all there is.
pub(super) fn watch(raft: &Raft<TypeConfig, StateMachine>) -> watch::Receiver<Option<Leader>> {
    let mut metrics = raft.server_metrics();
    let (sender, receiver) = watch::channel(None);
    let raft = raft.clone();
    tokio::spawn(async move {
        loop {
            let (leader, is_alone) = {
                let metrics = metrics.borrow_watched();
                let membership = metrics.membership_config.membership();
                let leader = metrics.current_leader.map(|voter| Leader {
                    voter,
                    address: membership.get_node(&voter).cloned().unwrap_or_default(),
                    term: metrics.vote.leader_id.term,
                });
                let is_alone = metrics.state == ServerState::Leader
                    && membership.nodes().all(|(member, _)| *member == metrics.id);
                (leader, is_alone)
            };
            // Nobody needs the heartbeats of a quorum of one and nobody can replace it: 60 wake-ups a second saved
            // while idle. They begin with the first learner, before it votes.
            raft.runtime_config().tick(!is_alone);
            sender.send_if_modified(|known| {
                let is_new = *known != leader;
                *known = leader;
                is_new
            });
            if metrics.changed().await.is_err() {
                return;
            }
        }
    });
    receiver
}

impl Quorum {
    /// The voters and where they are reached.
    pub fn voters(&self) -> Vec<(VoterId, VoterAddress)> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        membership
            .voter_ids()
            .map(|voter| (voter, membership.get_node(&voter).cloned().unwrap_or_default()))
            .collect()
    }

    /// Whether this node is one of the voters.
    pub fn is_voter(&self) -> bool {
        self.voters().iter().any(|(voter, _)| *voter == self.voter())
    }

    /// Whether this node knows of any voters; a new one does not before it was added.
    pub fn has_membership(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().nodes().next().is_some()
    }

    /// Whether a change of voters is half done: there are two sets of them.
    pub(super) fn is_joint(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().get_joint_config().len() > 1
    }

    /// The directory of the controller `id`, if it votes.
    pub fn voter_directory(&self, id: i32) -> Option<Uuid> {
        self.voters().iter().find(|(voter, _)| voter.id == id).map(|(voter, _)| voter.directory)
    }

    /// The voters with how far each is. Only the leader knows of the others.
    pub fn voter_progress(&self) -> Vec<VoterProgress> {
        let own_end_offset = self.progress().log_end_offset;
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let progress = |(voter, address): (VoterId, VoterAddress)| {
            let matched = metrics.replication.as_ref().and_then(|known| known.get(&voter).copied().flatten());
            let answered = metrics.heartbeat.as_ref().and_then(|known| known.get(&voter).copied().flatten());
            let (log_end_offset, answered_ago) = if voter == self.voter() {
                (own_end_offset, Some(Duration::ZERO))
            } else {
                (matched.map_or(0, |id| id.index as i64 + 1), answered.map(|at| at.elapsed()))
            };
            VoterProgress { voter, address, log_end_offset, answered_ago }
        };
        self.voters().into_iter().map(progress).collect()
    }

    /// Hands leadership over, so that nobody has to wait for an election when this node stops. Does nothing when it does
    /// not lead, or votes alone; gives up after a moment when nobody takes over.
    pub async fn transfer(&self) {
        let mut successors = self.voter_progress();
        successors.retain(|other| other.voter != self.voter());
        // Who holds most needs to catch up least.
        successors.sort_by_key(|other| std::cmp::Reverse(other.log_end_offset));
        let mut leader = self.leader_changes();
        for successor in successors.into_iter().take(TRANSFER_ATTEMPTS_MAX) {
            if !self.raft.is_leader() || self.raft.trigger().transfer_leader(successor.voter).await.is_err() {
                return;
            }
            let us = self.voter();
            let taken = leader.wait_for(|now| now.as_ref().is_some_and(|now| now.voter != us));
            match tokio::time::timeout(TRANSFER_TIME_MAX, taken).await {
                Ok(Ok(now)) => {
                    let now = now.as_ref().map_or(us, |now| now.voter);
                    return tracing::info!(leader = %now, "leadership of the metadata quorum was handed over");
                }
                Ok(Err(_)) => return,
                Err(_) => tracing::warn!(voter = %successor.voter, "voter did not take leadership over"),
            }
        }
    }
}
