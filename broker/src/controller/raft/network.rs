//! The network between voters, of which a quorum of one has none.
//!
//! The seam is here and openraft is wired to it; connections to other voters come with clusters of several
//! controllers. Until then a peer can only appear through a membership that this version does not write, and every
//! call to it answers `Unreachable`: such a node never campaigns successfully and never invents a vote.

use std::future::Future;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};

use super::snapshot::SnapshotFile;
use super::types::{TypeConfig, Vote, VoterAddress, VoterId};

/// A network without peers.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl RaftNetworkFactory<TypeConfig> for NoPeers {
    type Network = Peer;

    async fn new_client(&mut self, target: VoterId, _node: &VoterAddress) -> Peer {
        Peer { target }
    }
}

/// Another voter, which cannot be reached.
#[derive(Debug)]
pub struct Peer {
    target: VoterId,
}

#[derive(Debug, thiserror::Error)]
#[error("voter {0} cannot be reached: this version runs a quorum of one")]
struct QuorumOfOne(VoterId);

impl Peer {
    fn unreachable(&self) -> Unreachable<TypeConfig> {
        Unreachable::new(&QuorumOfOne(self.target))
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    /// The default grants; an unreachable peer must not.
    async fn pre_vote(
        &mut self,
        _rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(StreamingError::Unreachable(self.unreachable()))
    }
}
