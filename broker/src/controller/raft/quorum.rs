//! The running quorum member: openraft started on our stores, and the few calls the controller makes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use milena_state::metadata::Applied as Position;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, Fatal};
use openraft::impls::ProgressResponder;
use openraft::{Config, Instant as _, Raft, ServerState};
use tokio::sync::watch;

use super::log_store::{LogReader, LogStore};
use super::network::Network;
use super::observers::Observers;
use super::pulse::Pulse;
use super::receive::Incoming;
use super::roles::{self, Leader};
use super::snapshot::Snapshots;
use super::state_machine::{State, StateMachine};
use super::types::{Entry, LeaderId, Proposal, TypeConfig, VoterAddress, VoterId};
use super::voters;

/// Entries that stay in the log behind a snapshot, so that a broker that was away for a while need not load it.
const LOG_ENTRIES_KEPT: u64 = 10_000;
/// How often the policy looks, which is a glance at two numbers.
const SNAPSHOT_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A node that is not a leader of a quorum of one after this long has a problem that waiting does not solve.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the founder of a quorum asks for votes out of turn, and the first pause between, which doubles.
const FIRST_ELECTIONS_MAX: u32 = 5;
const FIRST_ELECTION_PAUSE: Duration = Duration::from_millis(20);
/// Writes refused for want of a lease are tried again this often.
const LEASE_RETRY: Duration = Duration::from_millis(1);
/// A leader that its quorum has not answered for this long, several elections, answers that it is none.
pub(super) const LEASE_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long openraft lets a leader append after a majority has acknowledged it: its longest election timeout.
const LEASE: Duration = Duration::from_millis(400);

/// This node's member of the Raft quorum; cheap to clone.
#[derive(Clone)]
pub struct Quorum {
    pub(super) raft: Raft<TypeConfig, StateMachine>,
    state: watch::Receiver<State>,
    log: LogReader,
    leader: watch::Receiver<Option<Leader>>,
    shared: Arc<Shared>,
}

/// What the clones of a member have in common.
struct Shared {
    voter: VoterId,
    /// Where the others reach us.
    address: VoterAddress,
    network: Network,
    snapshots: Snapshots,
    incoming: tokio::sync::Mutex<Option<Incoming>>,
    /// Held while the voters are changed: one change at a time.
    changing: tokio::sync::Mutex<()>,
    observers: Observers,
}

/// When a snapshot is written.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotPolicy {
    /// When this many bytes of records were applied since the last one.
    pub bytes: u64,
    /// When this much time has passed since the last one and anything was applied.
    pub interval: Option<Duration>,
}

/// Why a member could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("raft settings are impossible: {0}")]
    Config(#[from] openraft::ConfigError),
    #[error("metadata quorum could not start: {0}")]
    Raft(String),
    #[error("metadata quorum had no leader after {0:?}")]
    NoLeader(Duration),
}

/// Why a proposal was not committed, or is not known to be.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// Not appended: leadership was lost before.
    #[error("this node does not lead the metadata quorum")]
    NotLeader,
    /// May be committed later or never.
    #[error("leadership of the metadata quorum was lost while an entry was under way")]
    Unknown,
    /// The log or vote could not be written; this member has stopped for good.
    #[error("metadata quorum member has stopped: {0}")]
    Stopped(String),
}

/// Figures for metrics, DescribeQuorum and the console. Offsets are those after an entry, as everywhere in Kafka; 0
/// before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// This member.
    pub voter: VoterId,
    pub term: u64,
    /// Node id of the leader.
    pub leader: Option<i32>,
    /// Never below the high watermark.
    pub log_end_offset: i64,
    pub high_watermark: i64,
    pub applied_end_offset: i64,
    pub snapshot_end_offset: Option<i64>,
}

impl Quorum {
    /// Starts the member that the others reach at `address`.
    ///
    /// A quorum of one asks itself for its vote at once: there is nobody whose election timeout to wait for. It returns
    /// when this node leads and its image is recovered. With other voters, or none that this node knows of yet, it
    /// returns when the log is open: who leads is told by [`leader_changes`](Self::leader_changes).
    pub async fn start(
        voter: VoterId,
        address: VoterAddress,
        log: LogStore,
        machine: StateMachine,
        policy: SnapshotPolicy,
        network: Network,
    ) -> Result<Self, StartError> {
        let state = machine.subscribe();
        let reader = log.reader();
        let shared = Arc::new(Shared {
            voter,
            address,
            network: network.clone(),
            snapshots: machine.snapshots().clone(),
            incoming: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            observers: Observers::default(),
        });
        let bytes_since_snapshot = machine.bytes_since_snapshot();
        let config = Arc::new(settings().validate()?);
        let fatal = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
        let raft = Raft::build(voter, config, network, log, machine).await.map_err(|e| fatal(&e))?;
        raft.run();
        // From the core itself: the metrics may not have been told yet.
        let voters = raft.with_raft_state(|state| {
            let voters = state.membership_state.effective().voter_ids().collect::<Vec<_>>();
            (voters, state.vote_ref().leader_id.term)
        });
        let (voters, term) = voters.await.map_err(|e| fatal(&e))?;
        let is_sole_voter = voters == [voter];
        shared.network.pulse().attach(raft.metrics());
        let leader = roles::watch(&raft);
        let mut quorum = Self { raft, state, log: reader, leader, shared };
        if is_sole_voter {
            quorum.raft.trigger().elect(false).await.map_err(|e| fatal(&e))?;
            let leads = tokio::time::timeout(START_TIMEOUT, quorum.wait_to_lead());
            leads.await.map_err(|_| StartError::NoLeader(START_TIMEOUT))??;
            // A sole voter resumes its own term without a new entry, so leading does not say yet that all of the log
            // is applied.
            quorum.raft.wait_for_recovery(Some(START_TIMEOUT)).await.map_err(|e| fatal(&e))?;
        }
        if term == 0 && !is_sole_voter && voters.contains(&voter) {
            tokio::spawn(quorum.clone().elect_first());
        }
        tokio::spawn(quorum.clone().snapshot_when_due(bytes_since_snapshot, policy));
        tokio::spawn(voters::finish_changes(quorum.clone()));
        Ok(quorum)
    }

    /// Stands for election at once in a quorum that never had a leader: the others have been told of it a moment ago and
    /// wait for us. When they are not there yet the ordinary timeouts take over.
    async fn elect_first(self) {
        let mut leader = self.leader_changes();
        for attempt in 0..FIRST_ELECTIONS_MAX {
            if self.raft.trigger().elect(false).await.is_err() {
                return;
            }
            let pause = FIRST_ELECTION_PAUSE * 2_u32.pow(attempt);
            if tokio::time::timeout(pause, leader.wait_for(Option::is_some)).await.is_ok() {
                return;
            }
        }
    }

    /// Waits until this node leads the quorum.
    async fn wait_to_lead(&mut self) -> Result<(), StartError> {
        let mut metrics = self.raft.metrics();
        while self.leadership().is_none() {
            if let Some(reason) = self.stopped() {
                return Err(StartError::Raft(reason));
            }
            // Whichever is told last completes the condition. A closed channel shows as a stopped member.
            tokio::select! {
                changed = metrics.changed() => changed.map_err(|error| StartError::Raft(error.to_string()))?,
                changed = self.state.changed() => changed.map_err(|error| StartError::Raft(error.to_string()))?,
            }
        }
        Ok(())
    }

    /// This member.
    pub fn voter(&self) -> VoterId {
        self.shared.voter
    }

    /// Where the other voters reach us; empty for a quorum of one that nobody dials.
    pub fn address(&self) -> &VoterAddress {
        &self.shared.address
    }

    pub fn cluster_id(&self) -> &Arc<str> {
        self.shared.network.cluster_id()
    }

    pub(super) fn pulse(&self) -> &Pulse {
        self.shared.network.pulse()
    }

    pub(super) fn snapshots(&self) -> &Snapshots {
        &self.shared.snapshots
    }

    pub(super) fn incoming(&self) -> &tokio::sync::Mutex<Option<Incoming>> {
        &self.shared.incoming
    }

    pub(super) fn changing(&self) -> &tokio::sync::Mutex<()> {
        &self.shared.changing
    }

    /// Who follows the log without voting; filled by whoever answers their fetches.
    pub fn observers(&self) -> &Observers {
        &self.shared.observers
    }

    /// The voter that leads as far as this member knows, itself included.
    pub fn leader(&self) -> Option<Leader> {
        self.leader.borrow().clone()
    }

    /// The leader and its changes.
    pub fn leader_changes(&self) -> watch::Receiver<Option<Leader>> {
        self.leader.clone()
    }

    /// The leadership under which this node may decide: it leads, and has applied everything committed before.
    ///
    /// The vote alone does not tell: after a restart it still names this node, which may lead nothing yet.
    pub fn leadership(&self) -> Option<LeaderId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.vote.leader_id;
        // One that has stopped remains in its last state.
        let leads =
            metrics.state == ServerState::Leader && metrics.vote.committed && metrics.running_state.is_ok();
        (leads && self.state.borrow().leader == Some(leader)).then_some(leader)
    }

    /// The committed state.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// The committed state and its changes.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Commits `records` as one entry under `leader` and gives its index once it is applied here.
    pub async fn propose(&self, leader: LeaderId, records: Bytes, now_ms: i64) -> Result<i64, ProposeError> {
        let proposal = Proposal { append_time_ms: now_ms, records };
        let lease_deadline = tokio::time::Instant::now() + LEASE_WAIT_MAX;
        loop {
            let (responder, completed) = ProgressResponder::complete_only();
            let write = self.raft.write(proposal.clone()).with_leader(leader).responder(responder);
            write.await.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))?;
            match completed.await {
                Ok(Ok(response)) => return Ok(response.data.index),
                // Refused before it was appended.
                Ok(Err(ClientWriteError::ForwardToLeader(_)))
                    if self.leadership() == Some(leader) && tokio::time::Instant::now() < lease_deadline =>
                {
                    // A fresh leader has no lease until its quorum has answered once; nothing was appended.
                    tokio::time::sleep(LEASE_RETRY).await;
                }
                Ok(Err(ClientWriteError::ForwardToLeader(_))) => return Err(ProposeError::NotLeader),
                // Discarded, not a data entry, or the member stopped before it answered.
                Ok(Err(_)) | Err(_) => {
                    return Err(match self.stopped() {
                        Some(reason) => ProposeError::Stopped(reason),
                        None => ProposeError::Unknown,
                    });
                }
            }
        }
    }

    /// Whether a majority of the voters has acknowledged this leader just now. A sole voter needs nobody.
    pub(super) fn has_lease(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let mut voters = metrics.membership_config.membership().voter_ids();
        let is_sole_voter = voters.all(|voter| voter == self.voter());
        is_sole_voter || metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() < LEASE)
    }

    /// Why this member has stopped for good, when it has.
    pub fn stopped(&self) -> Option<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.running_state.as_ref().err().map(ToString::to_string)
    }

    /// As [`stopped`](Self::stopped), unless that was asked for.
    pub fn failed(&self) -> Option<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let failed = metrics.running_state.as_ref().err().filter(|reason| **reason != Fatal::Stopped);
        failed.map(ToString::to_string)
    }

    /// Committed entries after `after`, oldest first, at most `count_max`; `None` when the log no longer reaches back
    /// so far and the reader has to start from [`Self::state`].
    pub fn entries_after(&self, after: Position, count_max: usize) -> std::io::Result<Option<Vec<Entry>>> {
        let applied = self.state.borrow().image.applied();
        let first = (after.index + 1).max(0) as u64;
        let end = (applied.index + 1).max(0) as u64;
        self.log.committed(first, end.min(first.saturating_add(count_max as u64)))
    }

    pub fn progress(&self) -> Progress {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let state = self.state();
        // The state is ahead of openraft's figures for a moment, and what is applied is committed.
        let applied_end_offset = state.leader.map_or(0, |_| state.image.applied().index + 1);
        let high_watermark = end_offset(metrics.cluster_committed.map(|id| id.index)).max(applied_end_offset);
        Progress {
            voter: metrics.id,
            term: metrics.current_term,
            leader: metrics.current_leader.map(|leader| leader.id),
            // The figures of the committed and the last entry are taken one after the other.
            log_end_offset: end_offset(metrics.last_log_index).max(high_watermark),
            high_watermark,
            applied_end_offset,
            snapshot_end_offset: metrics.snapshot.map(|id| end_offset(Some(id.index))),
        }
    }

    /// Writes a snapshot now and lets the log be purged behind it.
    pub async fn snapshot(&self) -> Result<(), StartError> {
        self.raft.trigger().snapshot().await.map_err(|error| StartError::Raft(error.to_string()))
    }

    /// Closes the log of a member that has stopped, so that the next start need not recover it. Blocks on the disk.
    pub fn close_log(&self) {
        if let Err(error) = self.log.close() {
            tracing::error!(%error, "metadata log was not closed cleanly");
        }
    }

    /// Stops the member. Nothing is lost by not calling it.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "metadata quorum member did not stop in order");
        }
    }

    async fn snapshot_when_due(self, bytes: Arc<AtomicU64>, policy: SnapshotPolicy) {
        let mut checks = tokio::time::interval(SNAPSHOT_CHECK_INTERVAL);
        let mut last = tokio::time::Instant::now();
        loop {
            checks.tick().await;
            let bytes = bytes.load(Ordering::Relaxed);
            let is_old = policy.interval.is_some_and(|interval| last.elapsed() >= interval);
            if bytes >= policy.bytes || (bytes > 0 && is_old) {
                last = tokio::time::Instant::now();
                // An error means that the member has stopped, and then this has nothing left to do.
                if self.snapshot().await.is_err() {
                    return;
                }
            }
            if self.stopped().is_some() {
                return;
            }
        }
    }
}

/// The offset after an entry.
fn end_offset(index: Option<u64>) -> i64 {
    index.map_or(0, |index| i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1))
}

/// Timing from `docs/adr/0001`: a failed leader is replaced in well under a second, and one that stalls on its disk
/// for a moment is not.
fn settings() -> Config {
    Config {
        cluster_name: "metadata".to_owned(),
        heartbeat_interval: 80,
        election_timeout_min: 200,
        election_timeout_max: LEASE.as_millis() as u64,
        enable_pre_vote: Some(true),
        quorum_loss_probe_interval: Some(1_000),
        install_snapshot_timeout: 60_000,
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: LOG_ENTRIES_KEPT,
        ..Config::default()
    }
}
