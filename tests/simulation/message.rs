//! What nodes say to each other. The bodies are the types of the shipped rules; only fetching and producing are cut
//! down to what matters here.

use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use milena_state::metadata::brokers::{Heartbeat, HeartbeatAnswer, RegisterBroker};
use milena_state::metadata::partitions::{AlterPartition, AlteredPartition};
use milena_state::metadata::{Image, Record};
use milena_state::partition::follower::DivergingEpoch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    Controller,
    Broker(i32),
    Client(u32),
}

/// Matches an answer to its request; never reused by one sender.
pub type RequestId = u64;

/// One entry of the metadata log.
#[derive(Debug)]
pub struct Entry {
    pub index: i64,
    pub records: Vec<Record>,
}

#[derive(Debug, Clone)]
pub enum Message {
    Register(RegisterBroker),
    /// To the process of this incarnation.
    Registered(Uuid, Result<i64, ErrorCode>),
    Heartbeat(Heartbeat),
    /// To the process that has this broker epoch.
    HeartbeatAnswer(i64, Result<HeartbeatAnswer, ErrorCode>),
    AlterPartition(RequestId, AlterPartition),
    AlteredPartition(RequestId, Result<Vec<AlteredPartition>, ErrorCode>),
    AllocateProducerIds {
        broker_id: i32,
        broker_epoch: i64,
    },
    ProducerIds,
    /// Entries behind this index, please; answered when there are some.
    FollowMetadata {
        applied: i64,
    },
    Metadata(Vec<Arc<Entry>>),
    MetadataSnapshot(Box<Image>),
    Fetch(RequestId, Fetch),
    Fetched(RequestId, Vec<FetchedPartition>),
    Produce(RequestId, Produce),
    Produced(RequestId, Result<i64, ErrorCode>),
    Consume {
        partition: i32,
        offset: i64,
    },
    Consumed {
        partition: i32,
        result: Result<Consumed, ErrorCode>,
    },
}

/// Batches on their way; in words only how many bytes.
#[derive(Clone)]
pub struct Bytes(Arc<[u8]>);

impl Bytes {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A follower's fetch: all partitions that it follows from one leader.
#[derive(Debug, Clone)]
pub struct Fetch {
    pub broker_id: i32,
    pub broker_epoch: i64,
    pub partitions: Vec<FetchPartition>,
}

#[derive(Debug, Clone, Copy)]
pub struct FetchPartition {
    pub partition: i32,
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    /// −1 when the follower's log is empty.
    pub last_fetched_epoch: i32,
}

#[derive(Debug, Clone)]
pub struct FetchedPartition {
    pub asked: FetchPartition,
    pub result: Result<Records, ErrorCode>,
}

#[derive(Debug, Clone)]
pub struct Records {
    pub bytes: Bytes,
    pub high_watermark: i64,
    pub diverging: Option<DivergingEpoch>,
}

#[derive(Debug, Clone)]
pub struct Produce {
    pub partition: i32,
    pub acks: i16,
    pub bytes: Bytes,
}

/// What a consumer learns of a partition.
#[derive(Debug, Clone)]
pub struct Consumed {
    pub next_offset: i64,
    pub leader_epoch: i32,
    /// What ListOffsets says to "latest", when it may say anything (KIP-207).
    pub latest: Option<i64>,
}

impl Message {
    /// A small number that tells messages apart in the trace's hash.
    pub fn kind(&self) -> u64 {
        match self {
            Self::Register(_) => 1,
            Self::Registered(..) => 2,
            Self::Heartbeat(_) => 3,
            Self::HeartbeatAnswer(..) => 4,
            Self::AlterPartition(..) => 5,
            Self::AlteredPartition(..) => 6,
            Self::AllocateProducerIds { .. } => 7,
            Self::ProducerIds => 8,
            Self::FollowMetadata { .. } => 9,
            Self::Metadata(_) => 10,
            Self::MetadataSnapshot(_) => 11,
            Self::Fetch(..) => 12,
            Self::Fetched(..) => 13,
            Self::Produce(..) => 14,
            Self::Produced(..) => 15,
            Self::Consume { .. } => 16,
            Self::Consumed { .. } => 17,
        }
    }
}
