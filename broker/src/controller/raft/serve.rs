//! What this voter answers the others: the private requests 120 to 123, handed to openraft.
//!
//! A request must name our cluster and us, with the directory: a voter whose disk was wiped has another, and what was
//! meant for its predecessor must not reach it. Both sides learn both ids from the message.

use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::messages::{
    RaftAppendRequest, RaftAppendResponse, RaftTransferRequest, RaftTransferResponse, RaftVoteRequest,
    RaftVoteResponse,
};
use milena_protocol::types::Uuid;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest, VoteRequest,
};

use super::network::{
    APPENDED, CONFLICT, HIGHER_VOTE, NOT_FLUSHED, PARTIALLY_APPENDED, TRANSFERRED, VOTE_CHANGED,
};
use super::quorum::Quorum;
use super::types::{TypeConfig, Vote, VoterId};
use super::wire::{self, WireLogId, WireVote};

/// Why a request of a voter was not taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub code: ErrorCode,
    pub message: String,
}

impl Refused {
    /// This member has stopped, which it does when its disk failed.
    pub(super) fn stopped(error: &dyn std::fmt::Display) -> Self {
        Self { code: ErrorCode::KafkaStorageError, message: error.to_string() }
    }
}

impl Quorum {
    /// Whether a request of the cluster `cluster_id` for that voter is for us, and we still take any: openraft would log
    /// each one that comes to a member that has stopped, some ten a second.
    pub(super) fn addressed(&self, cluster_id: &str, id: i32, directory: Uuid) -> Result<(), Refused> {
        let ours = &**self.cluster_id();
        if cluster_id != ours {
            return Err(Refused {
                code: ErrorCode::InconsistentClusterId,
                message: format!("request of cluster {cluster_id} came to a controller of cluster {ours}"),
            });
        }
        let (named, us) = (VoterId { id, directory }, self.voter());
        if named != us {
            let message = format!("request for controller {named} came to controller {us}");
            return Err(Refused { code: ErrorCode::InvalidVoterKey, message });
        }
        match self.stopped() {
            Some(reason) => Err(Refused::stopped(&reason)),
            None => Ok(()),
        }
    }

    /// RaftAppend: entries or a heartbeat of a leader.
    pub async fn append(&self, request: &RaftAppendRequest<'_>) -> RaftAppendResponse<'static> {
        let received = tokio::time::Instant::now();
        let appended = async {
            self.addressed(&request.cluster_id, request.voter_id, request.voter_directory_id)?;
            let prev_log_id = request.previous.log_id();
            let entries = wire::decode_entries(request.entries.as_ref(), prev_log_id.as_ref());
            let corrupt = |message| Refused { code: ErrorCode::CorruptMessage, message };
            let rpc = AppendEntriesRequest {
                vote: request.vote.vote(),
                prev_log_id,
                entries: entries.map_err(corrupt)?,
                leader_commit: request.leader_commit.log_id(),
            };
            self.raft.append_entries(rpc).await.map_err(|error| Refused::stopped(&error))
        };
        let response = RaftAppendResponse::default();
        let appended = appended.await;
        let is_accepted =
            matches!(appended, Ok(AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_)));
        if let Ok(silence_ms) = u64::try_from(request.quorum_silence_ms)
            && is_accepted
        {
            self.pulse().told(received, Duration::from_millis(silence_ms));
        }
        match appended {
            Ok(AppendEntriesResponse::Success) => RaftAppendResponse { outcome: APPENDED, ..response },
            Ok(AppendEntriesResponse::PartialSuccess(matched)) => RaftAppendResponse {
                outcome: PARTIALLY_APPENDED,
                matched: WireLogId::of(matched.as_ref()),
                ..response
            },
            Ok(AppendEntriesResponse::Conflict) => RaftAppendResponse { outcome: CONFLICT, ..response },
            Ok(AppendEntriesResponse::HigherVote(vote)) => {
                RaftAppendResponse { outcome: HIGHER_VOTE, vote: WireVote::of(&vote), ..response }
            }
            Err(Refused { code, message }) => RaftAppendResponse {
                error_code: code.into(),
                error_message: Some(message.into()),
                ..response
            },
        }
    }

    /// RaftVote: a candidate asks for our vote, or whether we would give it.
    pub async fn vote(&self, request: &RaftVoteRequest<'_>) -> RaftVoteResponse<'static> {
        let voted = async {
            self.addressed(&request.cluster_id, request.voter_id, request.voter_directory_id)?;
            let rpc = VoteRequest {
                vote: request.vote.vote(),
                last_log_id: request.last.log_id(),
                leadership_transfer: request.leadership_transfer,
            };
            let voted =
                if request.pre_vote { self.raft.pre_vote(rpc).await } else { self.raft.vote(rpc).await };
            voted.map_err(|error| Refused::stopped(&error))
        };
        match voted.await {
            Ok(voted) => RaftVoteResponse {
                vote: WireVote::of(&voted.vote),
                vote_granted: voted.vote_granted,
                last: WireLogId::of(voted.last_log_id.as_ref()),
                ..Default::default()
            },
            Err(Refused { code, message }) => RaftVoteResponse {
                error_code: code.into(),
                error_message: Some(message.into()),
                ..Default::default()
            },
        }
    }

    /// RaftTransfer: the leader tells who should lead next.
    pub async fn accept_transfer(&self, request: &RaftTransferRequest<'_>) -> RaftTransferResponse<'static> {
        let accepted = async {
            self.addressed(&request.cluster_id, request.voter_id, request.voter_directory_id)?;
            let successor = VoterId { id: request.successor_id, directory: request.successor_directory_id };
            let rpc = TransferLeaderRequest::<TypeConfig>::new(
                request.vote.vote(),
                successor,
                request.last.log_id(),
            );
            self.raft.handle_transfer_leader(rpc).await.map_err(|error| Refused::stopped(&error))
        };
        let response = RaftTransferResponse::default();
        match accepted.await {
            Ok(Ok(())) => RaftTransferResponse { outcome: TRANSFERRED, ..response },
            Ok(Err(TransferLeaderError::VoteChanged { actual, .. })) => {
                RaftTransferResponse { outcome: VOTE_CHANGED, vote: WireVote::of(&actual), ..response }
            }
            Ok(Err(TransferLeaderError::LogNotFlushed { actual, .. })) => RaftTransferResponse {
                outcome: NOT_FLUSHED,
                last: WireLogId::of(actual.as_ref()),
                ..response
            },
            Err(Refused { code, message }) => RaftTransferResponse {
                error_code: code.into(),
                error_message: Some(message.into()),
                ..response
            },
        }
    }

    /// The vote that this member last promised, as the metrics tell it.
    pub(super) fn own_vote(&self) -> Vote {
        self.raft.metrics().borrow_watched().vote
    }
}
