//! The front door of the metadata machine: commands in, records and replies out.
//!
//! The controller's writer takes what is queued, decides each command against a working image (the
//! committed one plus the records decided before in the same entry), proposes all records as one
//! entry and sends the replies when that entry is applied.

use milena_protocol::ErrorCode;

use super::image::Image;
use super::record::{Record, RegisterController};
use super::{
    brokers, client_quotas, configs, controllers, directories, elections, features, partitions, producer_ids,
    reassignments, topics,
};
use crate::config::broker::Settings;

/// What a caller asks of the controller.
#[derive(Debug, Clone)]
pub enum Command {
    CreateTopics(topics::CreateTopics),
    DeleteTopics(topics::DeleteTopics),
    CreatePartitions(topics::CreatePartitions),
    AlterPartition(partitions::AlterPartition),
    ElectLeaders(elections::ElectLeaders),
    /// A round of moving leaderships back to preferred replicas.
    BalanceLeaders,
    /// A round of unclean elections where topics allow them.
    ElectUncleanLeaders,
    AlterPartitionReassignments(reassignments::AlterPartitionReassignments),
    AssignReplicasToDirs(directories::AssignReplicasToDirs),
    RegisterBroker(brokers::RegisterBroker),
    UnregisterBroker(brokers::UnregisterBroker),
    BrokerHeartbeat(brokers::Heartbeat),
    /// The session of a broker ran out (see [`brokers::Sessions`]).
    FenceBroker(brokers::FenceBroker),
    AllocateProducerIds(producer_ids::AllocateProducerIds),
    /// Sets, removes, appends to or subtracts from single values.
    IncrementalAlterConfigs(configs::IncrementalAlterConfigs),
    /// Replaces all values of a resource.
    AlterConfigs(configs::AlterConfigs),
    AlterClientQuotas(client_quotas::AlterClientQuotas),
    UpdateFeatures(features::UpdateFeatures),
    RegisterController(RegisterController),
    /// The first entry of an empty cluster: its feature levels and the minimum ISR.
    Bootstrap,
}

impl Command {
    /// Whether the writer must propose what it has after this command: a registration takes its
    /// epoch from the index of its entry, so nothing about that broker may follow in the same one.
    pub fn closes_entry(&self) -> bool {
        matches!(self, Command::RegisterBroker(_))
    }
}

/// What a decision may look at besides the image.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub now_ms: i64,
    /// The controller's own static settings: defaults for new topics and what is allowed.
    pub settings: &'a Settings,
}

/// Records to commit and the answer to give when they are applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Applied together; empty when nothing changes.
    pub records: Vec<Record>,
    pub reply: Reply,
}

/// The answer to a command of the same name.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    CreateTopics(Vec<topics::TopicOutcome>),
    DeleteTopics(Vec<topics::DeletedTopic>),
    CreatePartitions(Vec<topics::CreatedPartitions>),
    AlterPartition(Result<Vec<partitions::AlteredPartition>, ApiError>),
    ElectLeaders(Vec<elections::ElectedTopic>),
    BalanceLeaders(elections::Round),
    ElectUncleanLeaders(elections::Round),
    AlterPartitionReassignments(Vec<reassignments::ReassignedTopic>),
    AssignReplicasToDirs(Result<directories::Outcomes, ApiError>),
    RegisterBroker(Result<brokers::Registered, ApiError>),
    UnregisterBroker(Result<(), ApiError>),
    BrokerHeartbeat(Result<brokers::HeartbeatAnswer, ApiError>),
    FenceBroker,
    AllocateProducerIds(Result<producer_ids::Block, ApiError>),
    IncrementalAlterConfigs(configs::Outcomes),
    AlterConfigs(configs::Outcomes),
    AlterClientQuotas(client_quotas::Outcomes),
    UpdateFeatures(Result<(), ApiError>),
    RegisterController(Result<(), ApiError>),
    Bootstrap,
}

/// A Kafka error as an answer: the code and a sentence for the person who reads it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: String,
}

/// Bytes of a message. It repeats what a client sent, and a string of an older version holds no more than 32,767.
const MESSAGE_BYTES_MAX: usize = 8192;

impl ApiError {
    /// What is too long of the message is cut off.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push('…');
        }
        Self { code, message }
    }
}

/// Decides one command. Nothing changes until the records are applied.
pub fn decide(image: &Image, command: &Command, context: Context<'_>) -> Decision {
    match command {
        Command::CreateTopics(c) => topics::create(image, c, context),
        Command::DeleteTopics(c) => topics::delete(image, c, context),
        Command::CreatePartitions(c) => topics::create_partitions(image, c),
        Command::AlterPartition(c) => partitions::alter(image, c, context),
        Command::ElectLeaders(c) => elections::elect(image, c, context),
        Command::BalanceLeaders => elections::balance(image, context),
        Command::ElectUncleanLeaders => elections::elect_unclean(image, context),
        Command::AlterPartitionReassignments(c) => reassignments::alter(image, c, context),
        Command::AssignReplicasToDirs(c) => directories::assign(image, c, context),
        Command::RegisterBroker(c) => brokers::register(image, c, context),
        Command::UnregisterBroker(c) => brokers::unregister(image, c, context),
        Command::BrokerHeartbeat(c) => brokers::heartbeat(image, c, context),
        Command::FenceBroker(c) => brokers::fence(image, c, context),
        Command::AllocateProducerIds(c) => producer_ids::allocate(image, c),
        Command::IncrementalAlterConfigs(c) => configs::incremental_alter(image, c, context),
        Command::AlterConfigs(c) => configs::alter(image, c, context),
        Command::AlterClientQuotas(c) => client_quotas::alter(image, c),
        Command::UpdateFeatures(c) => features::update(image, c, context),
        Command::RegisterController(c) => controllers::register(image, c),
        Command::Bootstrap => features::bootstrap(image, context),
    }
}

impl Decision {
    pub fn new(records: Vec<Record>, reply: Reply) -> Self {
        Self { records, reply }
    }

    /// An answer that changes nothing.
    pub fn reply(reply: Reply) -> Self {
        Self { records: Vec::new(), reply }
    }
}
