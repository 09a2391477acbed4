//! The way to the other voters: openraft's calls as private requests on their controller listeners.
//!
//! Each voter is reached on two lanes, so that bulk cannot delay what keeps a leader in office: heartbeats, votes and
//! transfers use one, entries and snapshots the other. Whoever cannot be reached is an error, never a grant.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use milena_client::connection::Response;
use milena_client::net::Dialer;
use milena_protocol::messages::{
    RaftAppendRequest, RaftSnapshotRequest, RaftTransferRequest, RaftVoteRequest, RaftVoteResponse,
};
use milena_protocol::types::Records;
use milena_protocol::{ErrorCode, Request};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use parking_lot::Mutex;

use super::link::{Link, LinkError};
use super::pulse::Pulse;
use super::snapshot::SnapshotFile;
use super::state_machine::blocking;
use super::types::{LogId, TypeConfig, Vote, VoterAddress, VoterId};
use super::wire::{self, WireLogId, WireVote};

/// Entries are answered when they are on the other disk, which may be slow for a moment without being dead.
const APPEND_TIME_MIN: Duration = Duration::from_secs(1);
/// Bytes of a snapshot in one request.
const CHUNK_BYTES: usize = 1 << 20;
/// Time for one chunk; the last one has what is left, since it is answered when the snapshot is installed.
const CHUNK_TIME_MAX: Duration = Duration::from_secs(10);
/// Pauses of openraft between attempts to send entries to a voter that cannot be reached.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Lanes that are kept. A quorum has few voters; those that were removed are forgotten beyond this.
const LINKS_MAX: usize = 64;

/// Outcomes of an append in a response.
pub const APPENDED: i8 = 0;
pub const PARTIALLY_APPENDED: i8 = 1;
pub const CONFLICT: i8 = 2;
pub const HIGHER_VOTE: i8 = 3;
/// Outcomes of a transfer.
pub const TRANSFERRED: i8 = 0;
pub const VOTE_CHANGED: i8 = 1;
pub const NOT_FLUSHED: i8 = 2;

/// What a connection to a voter carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Control,
    Bulk,
}

type Links = BTreeMap<(VoterId, Lane), Arc<Link>>;

/// Connects this voter to the others.
#[derive(Debug, Clone)]
pub struct Network {
    voter: VoterId,
    cluster_id: Arc<str>,
    dialer: Dialer,
    links: Arc<Mutex<Links>>,
    pulse: Pulse,
}

impl Network {
    pub fn new(voter: VoterId, cluster_id: Arc<str>, dialer: Dialer) -> Self {
        Self { voter, cluster_id, dialer, links: Arc::default(), pulse: Pulse::default() }
    }

    pub fn cluster_id(&self) -> &Arc<str> {
        &self.cluster_id
    }

    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    fn link(&self, target: VoterId, address: &VoterAddress, lane: Lane) -> Arc<Link> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&(target, lane)).filter(|link| link.address() == address) {
            return Arc::clone(link);
        }
        if links.len() >= LINKS_MAX {
            links.retain(|_, link| Arc::strong_count(link) > 1);
        }
        let client_id = format!("milena-controller-{}", self.voter.id);
        let link = Link::new(target, address.clone(), client_id, Arc::clone(&self.dialer));
        links.insert((target, lane), Arc::clone(&link));
        link
    }

    fn peer(&self, target: VoterId, address: &VoterAddress, appends: Lane) -> Peer {
        Peer {
            voter: self.voter,
            cluster_id: Arc::clone(&self.cluster_id),
            target,
            control: self.link(target, address, Lane::Control),
            appends: self.link(target, address, appends),
            pulse: self.pulse.clone(),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: VoterId, node: &VoterAddress) -> Peer {
        self.peer(target, node, Lane::Bulk)
    }

    async fn new_heartbeat_client(&mut self, target: VoterId, node: &VoterAddress) -> Peer {
        self.peer(target, node, Lane::Control)
    }
}

/// Another voter as openraft calls it.
#[derive(Debug)]
pub struct Peer {
    voter: VoterId,
    cluster_id: Arc<str>,
    target: VoterId,
    control: Arc<Link>,
    appends: Arc<Link>,
    pulse: Pulse,
}

/// What a voter said instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("voter {voter} refuses: {name} {message}")]
struct Refusal {
    voter: VoterId,
    name: &'static str,
    message: String,
}

impl Peer {
    async fn ask<R: Request>(
        &self,
        link: &Arc<Link>,
        request: &R,
        ttl: Duration,
        action: RPCTypes,
    ) -> Result<Response, RPCError<TypeConfig>> {
        link.call(request, ttl).await.map_err(|error| match error {
            LinkError::TimedOut(timeout) => {
                Timeout { action, id: self.voter, target: self.target, timeout }.into()
            }
            error => Unreachable::new(&error).into(),
        })
    }

    /// A voter of another cluster, or one that is not whom we mean, will not become another by being asked at once again.
    fn check(&self, code: i16, message: Option<&str>) -> Result<(), RPCError<TypeConfig>> {
        if code == ErrorCode::None.as_i16() {
            self.control.accepted();
            return Ok(());
        }
        let name = ErrorCode::from_i16(code).map_or("an unknown error", ErrorCode::name);
        let message = message.unwrap_or_default().to_owned();
        let refusal = Refusal { voter: self.target, name, message };
        self.control.refused(&refusal);
        Err(Unreachable::new(&refusal).into())
    }

    async fn ask_for_vote(
        &self,
        rpc: VoteRequest<TypeConfig>,
        pre_vote: bool,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = RaftVoteRequest {
            cluster_id: (&*self.cluster_id).into(),
            voter_id: self.target.id,
            voter_directory_id: self.target.directory,
            vote: WireVote::of(&rpc.vote),
            last: WireLogId::of(rpc.last_log_id.as_ref()),
            pre_vote,
            leadership_transfer: rpc.leadership_transfer,
        };
        let response = self.ask(&self.control, &request, option.soft_ttl(), RPCTypes::Vote).await?;
        let response: RaftVoteResponse<'_> = response.decode::<RaftVoteRequest<'_>>().map_err(malformed)?;
        self.check(response.error_code, response.error_message.as_deref())?;
        Ok(VoteResponse {
            vote: response.vote.vote(),
            vote_granted: response.vote_granted,
            last_log_id: response.last.log_id(),
        })
    }

    async fn send_chunk(
        &self,
        vote: &Vote,
        last: Option<&LogId>,
        size: u64,
        position: u64,
        chunk: &[u8],
        ttl: Duration,
    ) -> Result<Vote, RPCError<TypeConfig>> {
        let request = RaftSnapshotRequest {
            cluster_id: (&*self.cluster_id).into(),
            voter_id: self.target.id,
            voter_directory_id: self.target.directory,
            vote: WireVote::of(vote),
            last: WireLogId::of(last),
            size: size as i64,
            position: position as i64,
            chunk: chunk.into(),
        };
        let response = self.ask(&self.appends, &request, ttl, RPCTypes::InstallSnapshot).await?;
        let response = response.decode::<RaftSnapshotRequest<'_>>().map_err(malformed)?;
        self.check(response.error_code, response.error_message.as_deref())?;
        Ok(response.vote.vote())
    }

    /// Sends the file and gives the vote of the receiver, which is higher than ours when it refused.
    async fn send_snapshot(
        &self,
        vote: &Vote,
        last: Option<LogId>,
        file: SnapshotFile,
        ttl: Duration,
    ) -> Result<Vote, StreamingError<TypeConfig>> {
        let deadline = tokio::time::Instant::now() + ttl;
        let mut position = 0;
        loop {
            let piece = file.clone();
            let read = blocking(move || piece.read_chunk(position, CHUNK_BYTES)).await;
            let (size, chunk) = read.map_err(|error| NetworkError::<TypeConfig>::new(&error))?;
            let is_last = position + chunk.len() as u64 >= size;
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let ttl = if is_last { left } else { left.min(CHUNK_TIME_MAX) };
            let theirs = self.send_chunk(vote, last.as_ref(), size, position, &chunk, ttl).await?;
            if is_last || theirs > *vote {
                return Ok(theirs);
            }
            position += chunk.len() as u64;
        }
    }
}

fn malformed(error: milena_client::error::Error) -> RPCError<TypeConfig> {
    NetworkError::<TypeConfig>::new(&error).into()
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let entries =
            wire::encode_entries(&rpc.entries).map_err(|error| NetworkError::<TypeConfig>::new(&error))?;
        let ttl = option.soft_ttl();
        let ttl = if entries.is_empty() { ttl } else { ttl.max(APPEND_TIME_MIN) };
        let request = RaftAppendRequest {
            cluster_id: (&*self.cluster_id).into(),
            voter_id: self.target.id,
            voter_directory_id: self.target.directory,
            vote: WireVote::of(&rpc.vote),
            previous: WireLogId::of(rpc.prev_log_id.as_ref()),
            leader_commit: WireLogId::of(rpc.leader_commit.as_ref()),
            entries: Some(Records::Bytes(entries.into())),
            quorum_silence_ms: self.pulse.silence().map_or(-1, |silence| silence.as_millis() as i64),
        };
        let response = self.ask(&self.appends, &request, ttl, RPCTypes::AppendEntries).await?;
        let response = response.decode::<RaftAppendRequest<'_>>().map_err(malformed)?;
        self.check(response.error_code, response.error_message.as_deref())?;
        Ok(match response.outcome {
            APPENDED => AppendEntriesResponse::Success,
            PARTIALLY_APPENDED => AppendEntriesResponse::PartialSuccess(response.matched.log_id()),
            // Nothing can conflict where nothing precedes; openraft would panic on such an answer.
            CONFLICT if rpc.prev_log_id.is_some() => AppendEntriesResponse::Conflict,
            HIGHER_VOTE => AppendEntriesResponse::HigherVote(response.vote.vote()),
            other => {
                return Err(
                    NetworkError::<TypeConfig>::from_string(format!("outcome {other} of an append")).into()
                );
            }
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_for_vote(rpc, false, &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_for_vote(rpc, true, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let last = snapshot.meta.last_log_id;
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(&vote, last, snapshot.snapshot, option.soft_ttl()) => {
                Ok(SnapshotResponse::new(sent?))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = RaftTransferRequest {
            cluster_id: (&*self.cluster_id).into(),
            voter_id: self.target.id,
            voter_directory_id: self.target.directory,
            vote: WireVote::of(rpc.from_leader()),
            successor_id: rpc.to_node_id().id,
            successor_directory_id: rpc.to_node_id().directory,
            last: WireLogId::of(rpc.last_log_id()),
        };
        let response = self.ask(&self.control, &request, option.soft_ttl(), RPCTypes::TransferLeader).await?;
        let response = response.decode::<RaftTransferRequest<'_>>().map_err(malformed)?;
        self.check(response.error_code, response.error_message.as_deref())?;
        Ok(match response.outcome {
            TRANSFERRED => Ok(()),
            VOTE_CHANGED => Err(TransferLeaderError::VoteChanged {
                expected: *rpc.from_leader(),
                actual: response.vote.vote(),
            }),
            _ => Err(TransferLeaderError::LogNotFlushed {
                expected: rpc.last_log_id().copied(),
                actual: response.last.log_id(),
            }),
        })
    }

    /// The lanes pause by themselves.
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(RETRY_PAUSE)))
    }
}
