//! The types that openraft is instantiated with.

use std::fmt;

use bytes::Bytes;
use milena_protocol::types::Uuid;
use milena_state::config::address::Address;

openraft::declare_raft_types!(
    /// Our instance of openraft: entries carry encoded metadata records, voters are named by [`VoterId`].
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = VoterId,
        Node = VoterAddress,
);

pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
pub type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
pub type Payload = openraft::alias::PayloadOf<TypeConfig>;
pub type Membership = openraft::Membership<VoterId, VoterAddress>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// A voter of the quorum: a controller together with the directory that holds its log.
///
/// The directory is part of the name because a controller whose disk was wiped must not vote again under a name
/// that promised to remember (KIP-853).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoterId {
    pub id: i32,
    pub directory: Uuid,
}

impl fmt::Display for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.directory)
    }
}

/// openraft's storage suite names its nodes by small numbers.
#[cfg(test)]
impl From<u64> for VoterId {
    fn from(id: u64) -> Self {
        Self { id: i32::try_from(id).expect("a small number"), directory: Uuid::default() }
    }
}

/// Where a voter's controller listener is reached; empty for a quorum of one, which nobody dials.
pub type VoterAddress = Address;

/// What the controller proposes: the records of one decision batch, encoded by `milena_state::metadata::record`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The proposing leader's clock; for people and lag metrics, never for a decision.
    pub append_time_ms: i64,
    pub records: Bytes,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of records", self.records.len())
    }
}

/// Answer of the state machine to a proposal; the replies to clients stay with the controller's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    pub index: i64,
}
