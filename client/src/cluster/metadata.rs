//! The client's picture of brokers, topics and leaders.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_protocol::messages::metadata_response::{MetadataResponse, MetadataResponseTopic};
use milena_protocol::{ErrorCode, Uuid};

use crate::error::{Error, Result};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub index: i32,
    /// None while nobody leads.
    pub leader: Option<i32>,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub offline_replicas: Vec<i32>,
}

#[derive(Debug, Clone)]
pub struct Topic {
    pub name: String,
    /// Zero when the broker is too old to name it.
    pub id: Uuid,
    pub is_internal: bool,
    /// In order of their index.
    pub partitions: Vec<Partition>,
    /// `None` for a topic that can be used.
    pub error: Option<ErrorCode>,
    /// When the cluster said so.
    pub seen: Instant,
    /// Whether an answer since then spoke against it.
    pub is_doubted: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Metadata {
    pub cluster_id: Option<String>,
    pub controller_id: Option<i32>,
    pub brokers: Vec<Broker>,
    topics: HashMap<String, Arc<Topic>>,
}

impl Broker {
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Topic {
    pub fn is_usable(&self) -> bool {
        self.error.is_none()
    }

    /// Whether this may be used without asking again.
    pub(super) fn is_fresh(&self, age_max: Duration) -> bool {
        !self.is_doubted && self.seen.elapsed() < age_max
    }

    /// Takes over what an older picture of the same topic knows better: a broker that is cut off from the controllers goes on
    /// to tell who led before (KIP-320). Where the ids are not known the epochs of a topic that was made anew could not be
    /// told from old ones.
    fn correct_by(&mut self, older: &Topic) {
        if self.id.is_zero() || self.id != older.id {
            return;
        }
        for partition in &mut self.partitions {
            if let Ok(known) = older.partition(partition.index)
                && known.leader_epoch > partition.leader_epoch
            {
                partition.clone_from(known);
            }
        }
    }

    /// Why the topic cannot be used.
    pub fn problem(&self) -> Error {
        match self.error {
            Some(ErrorCode::UnknownTopicOrPartition) | None => Error::UnknownTopic(self.name.clone()),
            Some(code) => Error::Broker { context: format!("topic {}", self.name), code, message: None },
        }
    }

    /// Errors: `UnknownPartition`.
    pub fn partition(&self, index: i32) -> Result<&Partition> {
        let found = self.partitions.binary_search_by_key(&index, |partition| partition.index);
        let unknown = || Error::UnknownPartition { topic: self.name.clone(), partition: index };
        found.map(|at| &self.partitions[at]).map_err(|_| unknown())
    }

    /// Errors: `UnknownPartition`, and LEADER_NOT_AVAILABLE while nobody leads.
    pub fn leader(&self, index: i32) -> Result<i32> {
        self.partition(index)?.leader.ok_or_else(|| Error::Broker {
            context: format!("{}-{index}", self.name),
            code: ErrorCode::LeaderNotAvailable,
            message: None,
        })
    }
}

impl Metadata {
    pub(super) fn from_response(response: &MetadataResponse<'_>, now: Instant) -> Result<Self> {
        Error::check(response.error_code, None, || "Metadata".to_owned())?;
        let brokers = response.brokers.iter().map(|broker| Broker {
            id: broker.node_id,
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.as_deref().map(str::to_owned),
        });
        let topics = response.topics.iter().filter_map(|topic| {
            let name = topic.name.as_deref()?.to_owned();
            Some((name.clone(), Arc::new(topic_from(name, topic, now))))
        });
        Ok(Self {
            cluster_id: response.cluster_id.as_deref().map(str::to_owned),
            controller_id: (response.controller_id >= 0).then_some(response.controller_id),
            brokers: brokers.collect(),
            topics: topics.collect(),
        })
    }

    pub fn broker(&self, id: i32) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.id == id)
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// All topics that are known, by name.
    pub fn topics(&self) -> Vec<&Arc<Topic>> {
        let mut topics: Vec<_> = self.topics.values().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics
    }

    /// This picture, corrected by an older one; where it speaks of some topics only, with the other ones of that.
    pub(super) fn over(mut self, older: &Metadata, of_some: bool) -> Self {
        for (name, topic) in &older.topics {
            match self.topics.get_mut(name) {
                Some(fresh) => Arc::make_mut(fresh).correct_by(topic),
                None if of_some => drop(self.topics.insert(name.clone(), Arc::clone(topic))),
                None => {}
            }
        }
        self
    }

    pub(super) fn doubting(&self, topic: &str) -> Self {
        let mut doubting = self.clone();
        if let Some(topic) = doubting.topics.get_mut(topic) {
            Arc::make_mut(topic).is_doubted = true;
        }
        doubting
    }
}

fn topic_from(name: String, topic: &MetadataResponseTopic<'_>, now: Instant) -> Topic {
    let partitions = topic.partitions.iter().map(|partition| Partition {
        index: partition.partition_index,
        leader: (partition.leader_id >= 0).then_some(partition.leader_id),
        leader_epoch: partition.leader_epoch,
        replicas: partition.replica_nodes.clone(),
        isr: partition.isr_nodes.clone(),
        offline_replicas: partition.offline_replicas.clone(),
    });
    let mut partitions: Vec<_> = partitions.collect();
    partitions.sort_by_key(|partition| partition.index);
    let error = (topic.error_code != 0)
        .then(|| ErrorCode::from_i16(topic.error_code).unwrap_or(ErrorCode::UnknownServerError));
    Topic {
        name,
        id: topic.topic_id,
        is_internal: topic.is_internal,
        partitions,
        error,
        seen: now,
        is_doubted: false,
    }
}
