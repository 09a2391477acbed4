//! What the machine answers.

use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

/// The answer that a token stood for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Join(JoinReply),
    Sync(SyncReply),
    Heartbeat(ErrorCode),
    Leave(LeaveReply),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinReply {
    pub error: ErrorCode,
    /// -1 beside an error.
    pub generation: i32,
    pub protocol_type: Option<Arc<str>>,
    /// Null reads as empty before version 7.
    pub protocol: Option<Arc<str>>,
    pub leader: Arc<str>,
    pub skip_assignment: bool,
    pub member_id: Arc<str>,
    /// Of the leader alone: everybody who is to be assigned something.
    pub members: Vec<JoinedMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    pub id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub metadata: Bytes,
}

impl JoinReply {
    /// A refusal names no protocol.
    pub fn error(member_id: Arc<str>, error: ErrorCode) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: "".into(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReply {
    pub error: ErrorCode,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub assignment: Bytes,
}

impl SyncReply {
    pub fn error(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveReply {
    pub error: ErrorCode,
    /// In the order of the request; before version 3 the one member's error is the request's.
    pub members: Vec<Left>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub error: ErrorCode,
}

/// Topics and the outcome of each partition, in the order of the request.
pub type Outcomes = Vec<TopicOutcome>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOutcome {
    pub name: Arc<str>,
    pub topic_id: Uuid,
    pub partitions: Vec<(i32, ErrorCode)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTopic {
    pub name: Arc<str>,
    pub topic_id: Uuid,
    pub partitions: Vec<FetchedOffset>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    pub partition: i32,
    pub error: ErrorCode,
    /// -1 when nothing is committed, as is the leader epoch.
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
}

/// One group of ListGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub group: Arc<str>,
    pub protocol_type: Arc<str>,
    pub state: &'static str,
    pub kind: &'static str,
}

/// One group in a list of many, without its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub state: &'static str,
    pub protocol_type: Arc<str>,
    /// As in [`Described`].
    pub protocol: Arc<str>,
    pub members_count: usize,
}

/// One group of DescribeGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub group: Arc<str>,
    /// GROUP_ID_NOT_FOUND is told from version 6 on; before, an unknown group is just Dead.
    pub error: ErrorCode,
    pub message: Option<String>,
    pub state: &'static str,
    pub protocol_type: Arc<str>,
    /// The chosen protocol of a stable group, else empty.
    pub protocol: Arc<str>,
    pub members: Vec<DescribedMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    pub id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// Empty unless the group is stable.
    pub metadata: Bytes,
    pub assignment: Bytes,
}
