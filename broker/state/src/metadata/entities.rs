//! What an image is made of: topics, partitions, brokers, and what a configuration belongs to.

use std::sync::Arc;

use milena_protocol::types::Uuid;

use super::record::{
    ConfigRecord, Endpoint, PartitionChange, PartitionRecord, Record, RecoveryState, RegisterBroker,
    SupportedFeature, TopicRecord,
};

/// A topic and its partitions, numbered from 0 without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub id: Uuid,
    pub name: Arc<str>,
    pub partitions: Vec<Arc<Partition>>,
}

/// One partition as the controller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
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

/// A registered broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub broker_id: i32,
    pub broker_epoch: i64,
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<SupportedFeature>,
    pub rack: Option<String>,
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    pub log_dirs: Vec<Uuid>,
}

/// What a configuration belongs to. The broker named "" stands for all brokers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    pub kind: ResourceKind,
    pub name: String,
}

/// Kafka's resource types that can carry configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ResourceKind {
    Topic = 2,
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
}

impl Topic {
    pub fn partition(&self, partition_id: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(partition_id).ok()?)
    }

    /// Kafka's own topics, which clients may not write as they like.
    pub fn is_internal(&self) -> bool {
        is_internal_topic(&self.name)
    }

    pub(super) fn to_records(&self) -> impl Iterator<Item = Record> {
        let topic = Record::Topic(TopicRecord { name: self.name.to_string(), topic_id: self.id });
        let partitions = self.partitions.iter().enumerate();
        std::iter::once(topic).chain(
            partitions
                .map(|(index, partition)| Record::Partition(partition.to_record(self.id, index as i32))),
        )
    }
}

/// Whether Kafka marks the topic as internal: the logs of its coordinators.
pub fn is_internal_topic(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

impl From<&PartitionRecord> for Partition {
    fn from(r: &PartitionRecord) -> Self {
        Self {
            replicas: r.replicas.clone(),
            isr: r.isr.clone(),
            removing_replicas: r.removing_replicas.clone(),
            adding_replicas: r.adding_replicas.clone(),
            leader: r.leader,
            leader_recovery_state: r.leader_recovery_state,
            leader_epoch: r.leader_epoch,
            partition_epoch: r.partition_epoch,
            directories: r.directories.clone(),
            eligible_leader_replicas: r.eligible_leader_replicas.clone(),
            last_known_elr: r.last_known_elr.clone(),
        }
    }
}

impl Partition {
    pub fn to_record(&self, topic_id: Uuid, partition_id: i32) -> PartitionRecord {
        PartitionRecord {
            topic_id,
            partition_id,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            removing_replicas: self.removing_replicas.clone(),
            adding_replicas: self.adding_replicas.clone(),
            leader: self.leader,
            leader_recovery_state: self.leader_recovery_state,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            directories: self.directories.clone(),
            eligible_leader_replicas: self.eligible_leader_replicas.clone(),
            last_known_elr: self.last_known_elr.clone(),
        }
    }

    /// The replica that ought to lead, the first of the list; none when there are no replicas.
    pub fn preferred(&self) -> &[i32] {
        self.replicas.get(..1).unwrap_or(&[])
    }

    pub fn has_preferred_leader(&self) -> bool {
        self.leader.is_some() && self.leader == self.replicas.first().copied()
    }

    /// Whether replicas are being added or removed.
    pub fn is_reassigning(&self) -> bool {
        !(self.adding_replicas.is_empty() && self.removing_replicas.is_empty())
    }

    pub(super) fn has_no_elr(&self) -> bool {
        self.eligible_leader_replicas.is_empty() && self.last_known_elr.is_empty()
    }

    /// The directory that holds `broker_id`'s replica, when it is one.
    pub fn directory_of(&self, broker_id: i32) -> Option<Uuid> {
        let index = self.replicas.iter().position(|replica| *replica == broker_id)?;
        self.directories.get(index).copied()
    }

    pub(super) fn change(&mut self, r: &PartitionChange) {
        let set = |field: &mut Vec<i32>, change: &Option<Vec<i32>>| {
            if let Some(values) = change {
                field.clone_from(values);
            }
        };
        set(&mut self.isr, &r.isr);
        set(&mut self.replicas, &r.replicas);
        set(&mut self.removing_replicas, &r.removing_replicas);
        set(&mut self.adding_replicas, &r.adding_replicas);
        set(&mut self.eligible_leader_replicas, &r.eligible_leader_replicas);
        set(&mut self.last_known_elr, &r.last_known_elr);
        if let Some(directories) = &r.directories {
            self.directories.clone_from(directories);
        }
        if let Some(state) = r.leader_recovery_state {
            self.leader_recovery_state = state;
        }
        if let Some(leader) = r.leader {
            self.leader = leader;
            self.leader_epoch += 1;
        }
        self.partition_epoch += 1;
    }
}

impl Broker {
    /// Neither fenced nor leaving.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    pub fn endpoint(&self, listener_name: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == listener_name)
    }

    pub(super) fn to_record(&self) -> RegisterBroker {
        RegisterBroker {
            broker_id: self.broker_id,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.broker_epoch,
            endpoints: self.endpoints.clone(),
            features: self.features.clone(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: self.log_dirs.clone(),
        }
    }
}

impl ResourceKind {
    pub fn from_number(number: i8) -> Option<Self> {
        Some(match number {
            2 => Self::Topic,
            4 => Self::Broker,
            8 => Self::BrokerLogger,
            16 => Self::ClientMetrics,
            32 => Self::Group,
            _ => return None,
        })
    }
}

impl ConfigResource {
    pub fn topic(name: &str) -> Self {
        Self { kind: ResourceKind::Topic, name: name.to_owned() }
    }

    pub fn broker(broker_id: i32) -> Self {
        Self { kind: ResourceKind::Broker, name: broker_id.to_string() }
    }

    pub fn all_brokers() -> Self {
        Self { kind: ResourceKind::Broker, name: String::new() }
    }

    /// The record that sets or removes one value of this resource.
    pub fn record(&self, name: &str, value: Option<String>) -> Record {
        Record::Config(ConfigRecord {
            resource_type: self.kind as i8,
            resource_name: self.name.clone(),
            name: name.to_owned(),
            value,
        })
    }
}
