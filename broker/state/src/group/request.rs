//! What clients ask of a group, as the machine takes it.
//!
//! The API handler makes these from a request: it has checked authorization and topics, has turned the
//! version of the request into the flags below, and has made up what must be random.

use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::types::Uuid;

/// Names a reply that is owed. The machine gives each token back exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// One way a member can be assigned partitions, and its subscription in that way's encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    pub name: Arc<str>,
    pub metadata: Bytes,
}

/// JoinGroup.
#[derive(Debug, Clone)]
pub struct Join {
    pub token: Token,
    pub group: Arc<str>,
    /// Empty for a client that has no member id yet.
    pub member_id: Arc<str>,
    /// A random UUID in its usual spelling, from which a new member id is made.
    pub unique: String,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    /// The client's address as Kafka writes it: a slash and the number.
    pub client_host: Arc<str>,
    pub session_timeout_ms: i32,
    /// The session timeout for version 0, which has no field for it.
    pub rebalance_timeout_ms: i32,
    pub protocol_type: Arc<str>,
    /// The preferred one first.
    pub protocols: Vec<Protocol>,
    /// Version 4 and later: a member without id is told one first and joins with it (KIP-394).
    pub requires_known_member_id: bool,
    /// Version 9 and later: a static leader that returns may be told to assign nothing (KIP-814).
    pub supports_skipping_assignment: bool,
}

/// SyncGroup.
#[derive(Debug, Clone)]
pub struct Sync {
    pub token: Token,
    pub group: Arc<str>,
    pub generation: i32,
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    /// Of the leader: what each member gets.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// Heartbeat.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    pub token: Token,
    pub group: Arc<str>,
    pub generation: i32,
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
}

/// LeaveGroup; a request before version 3 names one member.
#[derive(Debug, Clone)]
pub struct Leave {
    pub token: Token,
    pub group: Arc<str>,
    pub members: Vec<Leaver>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaver {
    /// Empty when a static member is named by its instance id alone.
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
}

/// OffsetCommit. Topics that do not exist were answered by the handler and are not here.
#[derive(Debug, Clone)]
pub struct Commit {
    pub group: Arc<str>,
    /// -1 for a consumer that is no member of the group.
    pub generation: i32,
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    /// -1 for the broker's own.
    pub retention_time_ms: i64,
    /// Version 9 and later: an unknown group is GROUP_ID_NOT_FOUND, not ILLEGAL_GENERATION.
    pub knows_group_id_not_found: bool,
    pub topics: Vec<CommitTopic>,
}

#[derive(Debug, Clone)]
pub struct CommitTopic {
    pub name: Arc<str>,
    /// Zero when the request names topics.
    pub topic_id: Uuid,
    pub partitions: Vec<CommitPartition>,
}

#[derive(Debug, Clone)]
pub struct CommitPartition {
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Option<Arc<str>>,
}

/// One group of OffsetFetch.
#[derive(Debug, Clone)]
pub struct Fetch {
    pub group: Arc<str>,
    /// None for every partition that the group has committed.
    pub topics: Option<Vec<FetchTopic>>,
    /// Partitions with an open transaction are refused instead of answered with an old offset (KIP-447).
    pub require_stable: bool,
}

#[derive(Debug, Clone)]
pub struct FetchTopic {
    pub name: Arc<str>,
    pub topic_id: Uuid,
    pub partitions: Vec<i32>,
}

/// OffsetDelete.
#[derive(Debug, Clone)]
pub struct DeleteOffsets {
    pub group: Arc<str>,
    pub topics: Vec<(Arc<str>, Vec<i32>)>,
}
