//! What differs between two images, so that publishers touch only what changed.
//!
//! Gathered while records are applied, or computed by comparing two images after a snapshot was
//! installed (unchanged topics are recognised by their shared memory, not by their content).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_protocol::types::Uuid;

use super::image::{ConfigResource, Image};

/// The names of everything that changed; the new values are in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Topics that exist now and were created or changed in any partition.
    pub topics_changed: BTreeSet<Uuid>,
    /// Partitions of those topics that are new or changed.
    pub partitions_changed: BTreeSet<(Uuid, i32)>,
    /// Topics that are gone, with the name they had.
    pub topics_removed: BTreeMap<Uuid, Arc<str>>,
    /// Brokers registered, changed or unregistered.
    pub brokers_changed: BTreeSet<i32>,
    /// Resources with a changed configuration.
    pub configs_changed: BTreeSet<ConfigResource>,
    pub client_quotas_changed: bool,
    pub features_changed: bool,
    pub producer_ids_changed: bool,
}

impl Delta {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a reader of `old` must look at to have seen `new`.
    pub fn between(old: &Image, new: &Image) -> Self {
        let mut delta = Self::default();
        delta.compare_topics(old, new);
        let brokers = |image: &Image| image.brokers().map(|b| b.broker_id).collect::<BTreeSet<_>>();
        for id in &brokers(old) | &brokers(new) {
            if old.broker(id) != new.broker(id) {
                delta.brokers_changed.insert(id);
            }
        }
        let resources = |image: &Image| image.configs().map(|(r, _)| r.clone()).collect::<BTreeSet<_>>();
        for resource in &resources(old) | &resources(new) {
            if old.config(&resource) != new.config(&resource) {
                delta.configs_changed.insert(resource);
            }
        }
        delta.client_quotas_changed = !old.client_quotas().eq(new.client_quotas());
        delta.features_changed = old.features() != new.features();
        delta.producer_ids_changed = old.next_producer_id() != new.next_producer_id();
        delta
    }

    fn compare_topics(&mut self, old: &Image, new: &Image) {
        for topic in old.topics() {
            if new.topic(topic.id).is_none() {
                self.topics_removed.insert(topic.id, topic.name.clone());
            }
        }
        for topic in new.topics() {
            let before = old.topic(topic.id);
            if before.is_some_and(|before| Arc::ptr_eq(before, topic)) {
                continue;
            }
            let mut changed = before.is_none();
            for (index, partition) in topic.partitions.iter().enumerate() {
                let same = before.and_then(|b| b.partitions.get(index)).is_some_and(|b| b == partition);
                if !same {
                    changed = true;
                    self.partitions_changed.insert((topic.id, index as i32));
                }
            }
            if changed {
                self.topics_changed.insert(topic.id);
            }
        }
    }

    pub(super) fn topic_removed(&mut self, topic_id: Uuid, name: Arc<str>) {
        self.topics_changed.remove(&topic_id);
        self.partitions_changed.retain(|(id, _)| *id != topic_id);
        self.topics_removed.insert(topic_id, name);
    }

    pub(super) fn partition_changed(&mut self, topic_id: Uuid, partition_id: i32) {
        self.topics_changed.insert(topic_id);
        self.partitions_changed.insert((topic_id, partition_id));
    }
}
