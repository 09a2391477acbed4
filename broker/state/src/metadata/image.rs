//! The metadata of the cluster at one index of the metadata log.
//!
//! An image is what the records add up to, and nothing else: two images at the same index are
//! equal, whether they were built record by record or from a snapshot. Clones share their memory,
//! so the broker can publish one after every entry. Decisions live in the area files beside this
//! one; here records are applied and questions are answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::types::Uuid;

use super::cow_map::CowMap;
use super::delta::Delta;
pub use super::entities::{Broker, ConfigResource, Partition, ResourceKind, Topic, is_internal_topic};
use super::partition_index::{PartitionIndex, visited};
use super::record::{
    BrokerRegistrationChange, ClientQuotaRecord, ConfigRecord, FeatureLevel, PartitionChange,
    PartitionRecord, ProducerIds, Record, RegisterBroker, RegisterController, TopicRecord,
};

use crate::quota::{Entity, Key, Value};

/// The entry of the metadata log that an image stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Applied {
    pub index: i64,
    pub term: i64,
}

/// A record that does not fit the image: a bug of whoever decided it. The image is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("metadata record names topic id {topic_id}, which does not exist")]
    UnknownTopic { topic_id: Uuid },
    #[error("metadata record names partition {partition_id} of topic id {topic_id}, which does not exist")]
    UnknownPartition { topic_id: Uuid, partition_id: i32 },
    #[error("metadata record adds partition {partition_id} of topic id {topic_id} out of order")]
    PartitionGap { topic_id: Uuid, partition_id: i32 },
    #[error("metadata record creates topic {name} ({topic_id}), which exists")]
    TopicExists { name: String, topic_id: Uuid },
    #[error("metadata record names broker {broker_id} with epoch {broker_epoch}, which is not registered")]
    UnknownBroker { broker_id: i32, broker_epoch: i64 },
    #[error("metadata record configures resource type {resource_type}, which does not exist")]
    UnknownResourceType { resource_type: i8 },
}

type Configs = Arc<BTreeMap<String, String>>;
type Quotas = Arc<BTreeMap<Key, Value>>;

/// The metadata of the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    applied: Applied,
    topics: CowMap<Uuid, Arc<Topic>>,
    topic_ids: CowMap<Arc<str>, Uuid>,
    brokers: CowMap<i32, Arc<Broker>>,
    controllers: CowMap<i32, Arc<RegisterController>>,
    configs: CowMap<ConfigResource, Configs>,
    client_quotas: CowMap<Entity, Quotas>,
    features: Arc<BTreeMap<String, i16>>,
    next_producer_id: i64,
    pub(super) index: PartitionIndex,
}

impl Image {
    /// The last entry whose records are in this image.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    pub fn topic(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    pub fn topic_by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(self.topic_ids.get(name)?)
    }

    /// All topics in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topic_ids.iter().filter_map(|(_, id)| self.topics.get(visited(id)))
    }

    /// Topics from the first name that is not less than `name`, in the order of their names.
    pub fn topics_from<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Topic>> {
        self.topic_ids.iter_from(name).filter_map(|(_, id)| self.topics.get(id))
    }

    pub fn topics_count(&self) -> usize {
        self.topics.len()
    }

    pub fn partition(&self, topic_id: Uuid, partition_id: i32) -> Option<&Arc<Partition>> {
        self.topic(topic_id)?.partition(partition_id)
    }

    pub fn broker(&self, broker_id: i32) -> Option<&Arc<Broker>> {
        self.brokers.get(&broker_id)
    }

    /// All registered brokers, fenced ones too, in the order of their ids.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.iter().map(|(_, broker)| broker)
    }

    /// What a controller said when it started; none before it registered.
    pub fn controller(&self, controller_id: i32) -> Option<&Arc<RegisterController>> {
        self.controllers.get(&controller_id)
    }

    /// All controllers that ever registered, in the order of their ids.
    pub fn controllers(&self) -> impl Iterator<Item = &Arc<RegisterController>> {
        self.controllers.iter().map(|(_, controller)| controller)
    }

    /// Whether the broker is registered and neither fenced nor leaving: it may lead and join an ISR.
    pub fn is_active(&self, broker_id: i32) -> bool {
        self.broker(broker_id).is_some_and(|broker| broker.is_active())
    }

    /// The values set on a resource; none when nothing is set.
    pub fn config(&self, resource: &ConfigResource) -> Option<&BTreeMap<String, String>> {
        self.configs.get(resource).map(|values| &**values)
    }

    /// The values set on a topic, empty when nothing is set.
    pub fn topic_config(&self, name: &str) -> &BTreeMap<String, String> {
        self.config_or_empty(&ConfigResource::topic(name))
    }

    /// The values set on one broker, empty when nothing is set.
    pub fn broker_config(&self, broker_id: i32) -> &BTreeMap<String, String> {
        self.config_or_empty(&ConfigResource::broker(broker_id))
    }

    /// The values set for all brokers, empty when nothing is set.
    pub fn cluster_config(&self) -> &BTreeMap<String, String> {
        self.config_or_empty(&ConfigResource::all_brokers())
    }

    fn config_or_empty(&self, resource: &ConfigResource) -> &BTreeMap<String, String> {
        static EMPTY: BTreeMap<String, String> = BTreeMap::new();
        self.config(resource).unwrap_or(&EMPTY)
    }

    /// Every resource with values, ordered.
    pub fn configs(&self) -> impl Iterator<Item = (&ConfigResource, &BTreeMap<String, String>)> {
        self.configs.iter().map(|(resource, values)| (resource, &**values))
    }

    /// The quotas of an entity, empty when it has none.
    pub fn client_quota(&self, entity: &Entity) -> &BTreeMap<Key, Value> {
        static EMPTY: BTreeMap<Key, Value> = BTreeMap::new();
        self.client_quotas.get(entity).map_or(&EMPTY, |quotas| quotas)
    }

    /// Every entity with quotas, ordered.
    pub fn client_quotas(&self) -> impl Iterator<Item = (&Entity, &BTreeMap<Key, Value>)> {
        self.client_quotas.iter().map(|(entity, quotas)| (entity, &**quotas))
    }

    /// The finalized level of every feature that has one.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// The finalized level of a feature, 0 when it has none.
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// First producer id that was never given to a broker.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Moves the image to the entry whose records follow. Registrations in it get its index as
    /// their epoch.
    pub fn begin_entry(&mut self, applied: Applied) {
        debug_assert!(applied >= self.applied, "entries apply in order: {applied:?} >= {:?}", self.applied);
        self.applied = applied;
    }

    /// Applies the records of one entry and notes in `delta` what changed. A record that does not
    /// fit is skipped the same way on every node; the first one is returned for the log.
    pub fn apply_entry(
        &mut self,
        applied: Applied,
        records: &[Record],
        delta: &mut Delta,
    ) -> Result<(), Misfit> {
        self.begin_entry(applied);
        let mut outcome = Ok(());
        for record in records {
            let applied = self.apply_noting(record, delta);
            if outcome.is_ok() {
                outcome = applied;
            }
        }
        outcome
    }

    /// Applies one record of the current entry.
    pub fn apply(&mut self, record: &Record) -> Result<(), Misfit> {
        self.apply_noting(record, &mut Delta::default())
    }

    fn apply_noting(&mut self, record: &Record, delta: &mut Delta) -> Result<(), Misfit> {
        match record {
            Record::RegisterBroker(r) => self.apply_register(r, delta),
            Record::UnregisterBroker(r) => {
                self.known_broker(r.broker_id, r.broker_epoch)?;
                self.brokers.remove(&r.broker_id);
                delta.brokers_changed.insert(r.broker_id);
            }
            Record::BrokerRegistrationChange(r) => self.apply_registration_change(r, delta)?,
            Record::Topic(r) => self.apply_topic(r, delta)?,
            Record::Partition(r) => self.apply_partition(r, delta)?,
            Record::PartitionChange(r) => self.apply_partition_change(r, delta)?,
            Record::RemoveTopic(r) => self.apply_remove_topic(r.topic_id, delta)?,
            Record::Config(r) => self.apply_config(r, delta)?,
            Record::ClientQuota(r) => self.apply_client_quota(r, delta),
            Record::FeatureLevel(r) => self.apply_feature(r, delta),
            Record::ProducerIds(r) => self.apply_producer_ids(r, delta),
            Record::NoOp => {}
            Record::RegisterController(r) => {
                self.controllers.insert(r.controller_id, Arc::new(r.clone()));
            }
            Record::ClearElr(r) => self.apply_clear_elr(&r.topic_name, delta),
        }
        Ok(())
    }

    fn apply_register(&mut self, r: &RegisterBroker, delta: &mut Delta) {
        let broker_epoch = if r.broker_epoch < 0 { self.applied.index } else { r.broker_epoch };
        let broker = Broker {
            broker_id: r.broker_id,
            broker_epoch,
            incarnation_id: r.incarnation_id,
            endpoints: r.endpoints.clone(),
            features: r.features.clone(),
            rack: r.rack.clone(),
            fenced: r.fenced,
            in_controlled_shutdown: r.in_controlled_shutdown,
            log_dirs: r.log_dirs.clone(),
        };
        self.brokers.insert(r.broker_id, Arc::new(broker));
        delta.brokers_changed.insert(r.broker_id);
    }

    fn known_broker(&mut self, broker_id: i32, broker_epoch: i64) -> Result<&mut Broker, Misfit> {
        match self.brokers.get_mut(&broker_id) {
            Some(broker) if broker.broker_epoch == broker_epoch => Ok(Arc::make_mut(broker)),
            _ => Err(Misfit::UnknownBroker { broker_id, broker_epoch }),
        }
    }

    fn apply_registration_change(
        &mut self,
        r: &BrokerRegistrationChange,
        delta: &mut Delta,
    ) -> Result<(), Misfit> {
        let broker = self.known_broker(r.broker_id, r.broker_epoch)?;
        broker.fenced = r.fenced.unwrap_or(broker.fenced);
        broker.in_controlled_shutdown = r.in_controlled_shutdown.unwrap_or(broker.in_controlled_shutdown);
        if let Some(log_dirs) = &r.log_dirs {
            broker.log_dirs.clone_from(log_dirs);
        }
        delta.brokers_changed.insert(r.broker_id);
        Ok(())
    }

    fn apply_topic(&mut self, r: &TopicRecord, delta: &mut Delta) -> Result<(), Misfit> {
        if self.topic_ids.get(r.name.as_str()).is_some() || self.topics.get(&r.topic_id).is_some() {
            return Err(Misfit::TopicExists { name: r.name.clone(), topic_id: r.topic_id });
        }
        let name: Arc<str> = r.name.as_str().into();
        self.topic_ids.insert(name.clone(), r.topic_id);
        self.topics.insert(r.topic_id, Arc::new(Topic { id: r.topic_id, name, partitions: Vec::new() }));
        delta.topics_changed.insert(r.topic_id);
        Ok(())
    }

    fn apply_partition(&mut self, r: &PartitionRecord, delta: &mut Delta) -> Result<(), Misfit> {
        let gap = Misfit::PartitionGap { topic_id: r.topic_id, partition_id: r.partition_id };
        let unknown = Misfit::UnknownTopic { topic_id: r.topic_id };
        let topic = self.topics.get_mut(&r.topic_id).ok_or(unknown)?;
        let index = usize::try_from(r.partition_id).map_err(|_| gap.clone())?;
        if index > topic.partitions.len() {
            return Err(gap);
        }
        let partition = Arc::new(Partition::from(r));
        let before = topic.partitions.get(index).cloned();
        self.index.update((r.topic_id, r.partition_id), before.as_deref(), Some(&partition));
        let topic = Arc::make_mut(topic);
        match topic.partitions.get_mut(index) {
            Some(place) => *place = partition,
            None => topic.partitions.push(partition),
        }
        delta.partition_changed(r.topic_id, r.partition_id);
        Ok(())
    }

    fn apply_partition_change(&mut self, r: &PartitionChange, delta: &mut Delta) -> Result<(), Misfit> {
        let unknown = Misfit::UnknownPartition { topic_id: r.topic_id, partition_id: r.partition_id };
        let topic = self.topics.get_mut(&r.topic_id).ok_or(Misfit::UnknownTopic { topic_id: r.topic_id })?;
        let before = topic.partition(r.partition_id).ok_or(unknown)?.clone();
        let mut after = before.as_ref().clone();
        after.change(r);
        self.index.update((r.topic_id, r.partition_id), Some(&before), Some(&after));
        Arc::make_mut(topic).partitions[r.partition_id as usize] = Arc::new(after);
        delta.partition_changed(r.topic_id, r.partition_id);
        Ok(())
    }

    fn apply_remove_topic(&mut self, topic_id: Uuid, delta: &mut Delta) -> Result<(), Misfit> {
        let topic = self.topics.remove(&topic_id).ok_or(Misfit::UnknownTopic { topic_id })?;
        self.topic_ids.remove(&*topic.name);
        for (index, partition) in topic.partitions.iter().enumerate() {
            self.index.update((topic_id, index as i32), Some(partition), None);
        }
        let resource = ConfigResource::topic(&topic.name);
        // A topic of the same name created later must not inherit settings.
        if self.configs.remove(&resource).is_some() {
            delta.configs_changed.insert(resource);
        }
        delta.topic_removed(topic_id, topic.name.clone());
        Ok(())
    }

    fn apply_config(&mut self, r: &ConfigRecord, delta: &mut Delta) -> Result<(), Misfit> {
        let kind = ResourceKind::from_number(r.resource_type)
            .ok_or(Misfit::UnknownResourceType { resource_type: r.resource_type })?;
        let resource = ConfigResource { kind, name: r.resource_name.clone() };
        let mut values = self.configs.get(&resource).cloned().unwrap_or_default();
        match &r.value {
            Some(value) => Arc::make_mut(&mut values).insert(r.name.clone(), value.clone()),
            None => Arc::make_mut(&mut values).remove(&r.name),
        };
        if values.is_empty() {
            self.configs.remove(&resource);
        } else {
            self.configs.insert(resource.clone(), values);
        }
        delta.configs_changed.insert(resource);
        Ok(())
    }

    fn apply_client_quota(&mut self, r: &ClientQuotaRecord, delta: &mut Delta) {
        let mut quotas = self.client_quotas.get(&r.entity).cloned().unwrap_or_default();
        match r.value {
            Some(value) => Arc::make_mut(&mut quotas).insert(r.key, value),
            None => Arc::make_mut(&mut quotas).remove(&r.key),
        };
        if quotas.is_empty() {
            self.client_quotas.remove(&r.entity);
        } else {
            self.client_quotas.insert(r.entity.clone(), quotas);
        }
        delta.client_quotas_changed = true;
    }

    fn apply_feature(&mut self, r: &FeatureLevel, delta: &mut Delta) {
        let features = Arc::make_mut(&mut self.features);
        if r.level == 0 {
            features.remove(&r.name);
        } else {
            features.insert(r.name.clone(), r.level);
        }
        delta.features_changed = true;
    }

    fn apply_producer_ids(&mut self, r: &ProducerIds, delta: &mut Delta) {
        // Never downwards, whatever the log says: a producer id is given out once.
        self.next_producer_id = self.next_producer_id.max(r.next_producer_id);
        delta.producer_ids_changed = true;
    }

    fn apply_clear_elr(&mut self, topic_name: &str, delta: &mut Delta) {
        let ids: Vec<Uuid> = if topic_name.is_empty() {
            self.topics.iter().map(|(id, _)| *id).collect()
        } else {
            self.topic_ids.get(topic_name).copied().into_iter().collect()
        };
        for id in ids {
            let Some(topic) = self.topics.get(&id) else { continue };
            if topic.partitions.iter().all(|partition| partition.has_no_elr()) {
                continue;
            }
            let topic = Arc::make_mut(self.topics.get_mut(&id).expect("looked up above"));
            for (index, partition) in topic.partitions.iter_mut().enumerate() {
                if !partition.has_no_elr() {
                    let partition = Arc::make_mut(partition);
                    partition.eligible_leader_replicas.clear();
                    partition.last_known_elr.clear();
                    delta.partition_changed(id, index as i32);
                }
            }
        }
    }

    /// Records that rebuild this image from an empty one, in an order in which they fit.
    pub fn snapshot(&self) -> impl Iterator<Item = Record> {
        let features = self
            .features
            .iter()
            .map(|(name, level)| Record::FeatureLevel(FeatureLevel { name: name.clone(), level: *level }));
        let brokers = self.brokers().map(|broker| Record::RegisterBroker(broker.to_record()));
        let controllers = self.controllers().map(|c| Record::RegisterController(c.as_ref().clone()));
        let topics = self.topics().flat_map(|topic| topic.to_records());
        let configs = self.configs().flat_map(|(resource, values)| {
            values.iter().map(|(name, value)| resource.record(name, Some(value.clone())))
        });
        let client_quotas = self.client_quotas().flat_map(|(entity, quotas)| {
            quotas.iter().map(|(key, value)| {
                Record::ClientQuota(ClientQuotaRecord {
                    entity: entity.clone(),
                    key: *key,
                    value: Some(*value),
                })
            })
        });
        let producer_ids = Record::ProducerIds(ProducerIds {
            broker_id: -1,
            broker_epoch: -1,
            next_producer_id: self.next_producer_id,
        });
        let producer_ids = (self.next_producer_id > 0).then_some(producer_ids);
        features
            .chain(brokers)
            .chain(controllers)
            .chain(topics)
            .chain(configs)
            .chain(client_quotas)
            .chain(producer_ids)
    }

    /// The image that a snapshot taken at `applied` describes.
    pub fn from_snapshot(
        applied: Applied,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, Misfit> {
        let mut image = Self { applied, ..Self::default() };
        records.into_iter().try_for_each(|record| image.apply(&record))?;
        Ok(image)
    }
}

#[cfg(test)]
#[path = "image_test.rs"]
mod tests;
