//! The records of the metadata log.
//!
//! Names, numbers and fields are those of Kafka's metadata records (KIP-631, KIP-966); the bytes are
//! ours and stand in [`super::record_codec`].

use milena_protocol::types::Uuid;

pub use super::record_codec::{decode_batch, encode_batch};
use crate::config::address::HostPort;
use crate::quota::{Entity, Key, Value};

/// Records that one batch may carry: an entry is applied in one step and must stay small.
pub const BATCH_RECORDS_MAX: usize = 10_000;
/// Bytes that one batch may have. 10,000 partitions of three replicas with their directories take half of it.
pub const BATCH_BYTES_MAX: usize = 2 << 20;

/// One change of the cluster's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    RegisterBroker(RegisterBroker),
    UnregisterBroker(UnregisterBroker),
    Topic(TopicRecord),
    Partition(PartitionRecord),
    Config(ConfigRecord),
    PartitionChange(PartitionChange),
    RemoveTopic(RemoveTopic),
    FeatureLevel(FeatureLevel),
    ClientQuota(ClientQuotaRecord),
    ProducerIds(ProducerIds),
    BrokerRegistrationChange(BrokerRegistrationChange),
    NoOp,
    RegisterController(RegisterController),
    ClearElr(ClearElr),
}

/// A broker process that starts, always fenced at first.
///
/// `broker_epoch` −1 stands for "the index of the entry that carries this record": the index is not
/// known while the record is decided, and every node that applies the entry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterBroker {
    pub broker_id: i32,
    pub incarnation_id: Uuid,
    pub broker_epoch: i64,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<SupportedFeature>,
    pub rack: Option<String>,
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    pub log_dirs: Vec<Uuid>,
}

/// A controller process that starts, and takes the place of the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterController {
    pub controller_id: i32,
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<SupportedFeature>,
}

/// Where a broker's listener can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener, such as `PLAINTEXT`.
    pub name: String,
    pub host: String,
    pub port: u16,
    /// Kafka's number of the security protocol: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

impl Endpoint {
    /// Where it is dialled.
    pub fn address(&self) -> String {
        HostPort(&self.host, self.port).to_string()
    }
}

/// The levels of one feature that a node can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupportedFeature {
    pub name: String,
    pub min: i16,
    pub max: i16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnregisterBroker {
    pub broker_id: i32,
    pub broker_epoch: i64,
}

/// Fences, unfences or drains a registered broker; `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistrationChange {
    pub broker_id: i32,
    pub broker_epoch: i64,
    pub fenced: Option<bool>,
    pub in_controlled_shutdown: Option<bool>,
    pub log_dirs: Option<Vec<Uuid>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRecord {
    pub name: String,
    pub topic_id: Uuid,
}

/// Whether the leader still has to recover from an unclean election.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecoveryState {
    #[default]
    Recovered,
    Recovering,
}

/// A partition in full. `directories` runs parallel to `replicas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRecord {
    pub topic_id: Uuid,
    pub partition_id: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub removing_replicas: Vec<i32>,
    pub adding_replicas: Vec<i32>,
    pub leader: Option<i32>,
    pub leader_recovery_state: RecoveryState,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub directories: Vec<Uuid>,
    pub eligible_leader_replicas: Vec<i32>,
    pub last_known_elr: Vec<i32>,
}

/// The fields of a partition that change; the partition epoch rises by one, and the leader epoch
/// too when `leader` is present (even when it names the same broker).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionChange {
    pub topic_id: Uuid,
    pub partition_id: i32,
    pub isr: Option<Vec<i32>>,
    /// `Some(None)` takes the leader away, `None` leaves it.
    pub leader: Option<Option<i32>>,
    pub replicas: Option<Vec<i32>>,
    pub removing_replicas: Option<Vec<i32>>,
    pub adding_replicas: Option<Vec<i32>>,
    pub leader_recovery_state: Option<RecoveryState>,
    pub directories: Option<Vec<Uuid>>,
    pub eligible_leader_replicas: Option<Vec<i32>>,
    pub last_known_elr: Option<Vec<i32>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveTopic {
    pub topic_id: Uuid,
}

/// One configuration value of a resource; `None` removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigRecord {
    /// Kafka's number of the resource type: 2 topic, 4 broker, 16 client metrics, 32 group.
    pub resource_type: i8,
    pub resource_name: String,
    pub name: String,
    pub value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureLevel {
    pub name: String,
    /// 0 removes the feature.
    pub level: i16,
}

/// One quota of an entity; `None` removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientQuotaRecord {
    pub entity: Entity,
    pub key: Key,
    pub value: Option<Value>,
}

/// A block of producer ids was given to a broker; `next_producer_id` starts the next block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerIds {
    pub broker_id: i32,
    pub broker_epoch: i64,
    pub next_producer_id: i64,
}

/// Forget eligible leaders, of one topic or (empty name) of all: their minimum ISR changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearElr {
    pub topic_name: String,
}

/// Why bytes are not a batch of metadata records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("metadata batch is cut short: {needed} bytes needed, {left} left")]
    Truncated { needed: usize, left: usize },
    #[error("metadata batch format {format} is not known to this version of milena")]
    UnknownFormat { format: u8 },
    #[error("metadata record type {kind} is not known to this version of milena")]
    UnknownType { kind: u8 },
    #[error("version {version} of metadata record type {kind} is not known to this version of milena")]
    UnknownVersion { kind: u8, version: u8 },
    #[error("metadata batch claims {count} records, at most {BATCH_RECORDS_MAX} are allowed")]
    TooManyRecords { count: usize },
    #[error("metadata record holds {value} where {what} is expected")]
    Field { what: &'static str, value: i64 },
    #[error("metadata record holds a string that is not UTF-8")]
    NotUtf8,
    #[error("{left} bytes are left over after a metadata record or batch")]
    LeftOver { left: usize },
}

impl PartitionChange {
    /// A change of nothing yet.
    pub fn new(topic_id: Uuid, partition_id: i32) -> Self {
        Self { topic_id, partition_id, ..Self::default() }
    }

    /// Whether applying it would only raise the partition epoch.
    pub fn is_empty(&self) -> bool {
        self.mask() == 0
    }
}

#[cfg(test)]
#[path = "record_test.rs"]
mod tests;
