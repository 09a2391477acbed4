//! Acts on what changed between two images: creates, assigns, configures and removes the partitions of this broker,
//! puts dynamic settings and quotas in force, and tells the group coordinators.
//!
//! Runs before the image is published, so that whoever sees a topic in the image can use it. The work blocks on the
//! disk and runs on the blocking pool; logs are opened by a few threads at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_log::Config;
use milena_protocol::types::Uuid;
use milena_state::config::broker::Settings;
use milena_state::config::topic;
use milena_state::metadata::{self, ConfigResource, Delta, Image, ResourceKind};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::awaited::Awaited;
use crate::broker::now_ms;
use crate::coordinator::Coordinators;
use crate::partition::directories::{SYNCING_THREADS, in_parallel};
use crate::partition::table::{Slot, Topic};
use crate::partition::{Directories, Myself, Partition, Table};
use crate::quota::Quotas;
use crate::replication::Replication;

/// Keeps the partition table in step with the image.
pub struct Publisher {
    settings: Arc<Settings>,
    /// The settings with the dynamic broker configuration laid over them.
    in_force: watch::Sender<Arc<Settings>>,
    /// Topic defaults as they are in force; shared by all topics that set nothing.
    defaults: (Arc<topic::Settings>, Arc<Config>),
    quotas: Arc<Quotas>,
    incarnation_id: Uuid,
    awaited: Awaited,
    /// The image has our own registration: while it has it may make us a leader.
    is_registered: bool,
    /// Until the image is known to hold everything that was committed before this start, a partition that it names
    /// may exist already, and one that it does not name may only be later than it.
    is_catching_up: bool,
    table: Arc<Table>,
    directories: Arc<Directories>,
    groups: Arc<Coordinators>,
    replication: Arc<Replication>,
}

impl Publisher {
    pub fn new(
        settings: Arc<Settings>,
        incarnation_id: Uuid,
        table: Arc<Table>,
        directories: Arc<Directories>,
        groups: Arc<Coordinators>,
        quotas: Arc<Quotas>,
        replication: Arc<Replication>,
    ) -> Self {
        let defaults = shared(settings.topic.clone(), &settings);
        Self {
            in_force: watch::Sender::new(Arc::clone(&settings)),
            quotas,
            settings,
            defaults,
            incarnation_id,
            awaited: Awaited::default(),
            is_registered: false,
            is_catching_up: true,
            table,
            directories,
            groups,
            replication,
        }
    }

    /// The settings as they are in force, and every change of them.
    pub fn in_force(&self) -> watch::Receiver<Arc<Settings>> {
        self.in_force.subscribe()
    }

    /// Opens everything that the first image gives to this broker.
    pub async fn first(self, image: Arc<Image>) -> Result<Self, Ended> {
        let delta = Delta::between(&Image::default(), &image);
        self.apply(image, delta).await
    }

    /// Whether the image that was applied last has the registration of this process: it was committed after the start,
    /// and so everything that was committed before is in that image.
    pub fn is_registered(&self) -> bool {
        self.is_registered
    }

    /// Whether this process is a broker, and the image that was applied last does not have its registration.
    pub fn awaits_registration(&self) -> bool {
        self.settings.quorum.roles.broker && !self.is_registered
    }

    /// Whether `image` has the registration of this process.
    pub fn is_registered_in(&self, image: &Image) -> bool {
        let own = image.broker(self.settings.node_id);
        own.is_some_and(|broker| broker.incarnation_id == self.incarnation_id)
    }

    /// Whether [`caught_up`](Self::caught_up) has still to be called.
    pub fn is_catching_up(&self) -> bool {
        self.is_catching_up
    }

    /// The image that was applied last is known to hold everything that was committed before this start: what was
    /// found on disk and is not in it belongs to no topic, and is set aside.
    ///
    /// By an image that lags, partitions that live would be set aside and begun anew.
    pub async fn caught_up(mut self) -> Result<Self, Ended> {
        self.is_catching_up = false;
        let directories = Arc::clone(&self.directories);
        tokio::task::spawn_blocking(move || directories.set_strays_aside()).await.map_err(|_| Ended)?;
        Ok(self)
    }

    /// When to call [`open_again`](Self::open_again): partitions wait for that.
    pub fn open_again_at(&self) -> Option<Instant> {
        self.awaited.at()
    }

    /// Tries again to open what could not be opened for want of descriptors.
    ///
    /// Errors: as [`apply`](Self::apply).
    pub async fn open_again(self, image: Arc<Image>) -> Result<Self, Ended> {
        let topics_changed = self.awaited.topics().clone();
        self.apply(image, Delta { topics_changed, ..Delta::default() }).await
    }

    /// Brings the table to the state of `image`, in which `delta` changed.
    ///
    /// Errors: the work panicked, and nobody knows what it left undone.
    pub async fn apply(mut self, image: Arc<Image>, delta: Delta) -> Result<Self, Ended> {
        if delta.client_quotas_changed {
            self.quotas.publish(&image);
        }
        if delta.topics_changed.is_empty()
            && delta.topics_removed.is_empty()
            && delta.configs_changed.is_empty()
            && delta.brokers_changed.is_empty()
        {
            return Ok(self);
        }
        let work = tokio::task::spawn_blocking(move || {
            self.apply_blocking(&image, &delta);
            self
        });
        work.await.map_err(|_| Ended)
    }

    fn apply_blocking(&mut self, image: &Image, delta: &Delta) {
        self.remove_topics(delta);
        let mut topics = delta.topics_changed.clone();
        let mut configured = self.configured_topics(image, delta);
        if self.registration_changed(image) {
            topics.extend(image.topics().map(|topic| topic.id));
        }
        configured.retain(|id| !topics.contains(id));
        let myself = self.myself(image);
        if !delta.brokers_changed.is_empty() {
            // Before anybody is followed: where they are.
            self.replication.take_brokers(image, myself.broker_epoch);
        }
        let placed: Vec<_> =
            topics.iter().filter_map(|id| image.topic(*id)).map(|t| self.plan(image, t)).collect();
        self.open_all(&placed);
        for plan in placed {
            self.put(plan, image, myself);
        }
        if !delta.brokers_changed.is_empty() {
            self.judge_brokers(image);
        }
        let awaited =
            topics.iter().filter(|id| self.table.topic(**id).is_some_and(|topic| topic.is_awaited()));
        self.awaited.tried(&topics, awaited.copied().collect());
        self.awaited.forget(delta.topics_removed.keys());
        for id in configured {
            self.configure(image, id, myself);
        }
        self.groups.publish(image, delta);
    }

    /// Whether our registration has come into the image with this change, or is not there any more.
    fn registration_changed(&mut self, image: &Image) -> bool {
        let was_registered = self.is_registered;
        self.is_registered = self.is_registered_in(image);
        self.is_registered != was_registered
    }

    fn myself(&self, image: &Image) -> Myself {
        // An image without our registration names our predecessor, or who has followed us: nobody leads or fetches under
        // its epoch.
        let own = image.broker(self.settings.node_id).filter(|_| self.is_registered);
        Myself {
            broker_id: own.map_or(-1, |broker| broker.broker_id),
            broker_epoch: own.map_or(-1, |broker| broker.broker_epoch),
            replica_lag_time_max_ms: self.settings.replica_lag_time_max_ms,
        }
    }

    fn remove_topics(&self, delta: &Delta) {
        for id in delta.topics_removed.keys() {
            let Some(topic) = self.table.remove(*id) else { continue };
            self.delete(&topic.partitions().map(Arc::clone).collect::<Vec<_>>());
            tracing::info!(topic = %topic.name, id = %topic.id, "topic deleted");
        }
    }

    /// Deletes the logs of partitions that are not to be here any more.
    fn delete(&self, partitions: &[Arc<Partition>]) {
        partitions.iter().for_each(|partition| self.replication.unfollow(key_of(partition)));
        // Together: each waits for a sync of its directory while all metadata waits for them.
        in_parallel(SYNCING_THREADS, partitions, |partition| {
            partition.stay();
            let Some(log) = partition.take_log() else { return };
            let directory = Arc::clone(log.directory());
            let unique = uuid::Uuid::new_v4().simple().to_string();
            let delay_ms = log.config().file_delete_delay_ms;
            match log.delete(&unique) {
                Ok(folder) => self.directories.deleted(&directory, folder, delay_ms),
                Err(error) => {
                    let (topic, partition) = (partition.topic(), partition.index());
                    tracing::error!(%topic, partition, %error, "log of a deleted replica remains");
                }
            }
        });
    }

    /// Who may join the in-sync replicas of what is led here.
    fn judge_brokers(&self, image: &Image) {
        let now_ms = now_ms();
        self.table.each(|partition| partition.set_eligible(&|id| eligible_epoch(image, id), now_ms));
    }

    /// Topics whose settings may have changed.
    fn configured_topics(&mut self, image: &Image, delta: &Delta) -> BTreeSet<Uuid> {
        let own = [ConfigResource::all_brokers(), ConfigResource::broker(self.settings.node_id)];
        if own.iter().any(|resource| delta.configs_changed.contains(resource)) {
            let dynamic = [image.cluster_config(), image.broker_config(self.settings.node_id)];
            match self.settings.with_dynamic(&dynamic) {
                Ok(mut dynamic) => {
                    // The ports that the system chose are in no property.
                    dynamic.listeners.clone_from(&self.settings.listeners);
                    dynamic.advertised_listeners.clone_from(&self.settings.advertised_listeners);
                    self.defaults = shared(dynamic.topic.clone(), &dynamic);
                    self.replication.set_fetchers(dynamic.replication.fetchers);
                    self.replication.throttles().set_rates(&dynamic.replication);
                    self.in_force.send_replace(Arc::new(dynamic));
                }
                Err(error) => {
                    tracing::error!(%error, "dynamic broker configuration is not usable and was passed over")
                }
            }
            return image.topics().map(|topic| topic.id).collect();
        }
        let topics = delta.configs_changed.iter().filter(|resource| resource.kind == ResourceKind::Topic);
        topics.filter_map(|resource| image.topic_by_name(&resource.name)).map(|topic| topic.id).collect()
    }

    fn settings_of(&self, image: &Image, topic: &str) -> (Arc<topic::Settings>, Arc<Config>) {
        let overrides = image.topic_config(topic);
        if overrides.is_empty() {
            return self.defaults.clone();
        }
        shared(topic::Settings::resolve(overrides, &self.defaults.0), &self.in_force.borrow())
    }

    /// What becomes of one topic: the partitions it has here, and those still to be opened.
    fn plan(&self, image: &Image, assigned: &Arc<metadata::Topic>) -> Plan {
        let (settings, log_config) = self.settings_of(image, &assigned.name);
        let known = self.table.topic(assigned.id);
        let slots = assigned.partitions.iter().enumerate().map(|(index, partition)| {
            if !partition.replicas.contains(&self.settings.node_id) {
                return Planned::Known(Slot::Elsewhere);
            }
            match known.as_ref().and_then(|topic| topic.slots.get(index)) {
                Some(slot @ (Slot::Here(_) | Slot::Failed)) => Planned::Known(slot.clone()),
                Some(Slot::Elsewhere | Slot::Awaited) | None => Planned::ToOpen(Mutex::new(Slot::Failed)),
            }
        });
        Plan { assigned: Arc::clone(assigned), settings, log_config, slots: slots.collect() }
    }

    /// Opens what the plans lack: at the start by as many threads as `num.recovery.threads.per.data.dir` allows, later
    /// by as many as keep the disk busy with the syncs that new folders need.
    fn open_all(&self, plans: &[Plan]) {
        let to_open: Vec<(&Plan, usize, &Mutex<Slot>)> = plans.iter().flat_map(Plan::to_open).collect();
        let per_directory = self.in_force.borrow().num_recovery_threads_per_data_dir;
        let recovering = per_directory * self.directories.online().len();
        let threads = if self.is_catching_up { recovering } else { SYNCING_THREADS };
        in_parallel(threads, &to_open, |(plan, index, slot)| *slot.lock() = self.open(plan, *index));
    }

    fn open(&self, plan: &Plan, index: usize) -> Slot {
        let topic = &plan.assigned;
        if self.is_catching_up && self.directories.may_be_offline(topic.id, index as i32) {
            tracing::error!(topic = %topic.name, partition = index, "partition is in a log directory that is offline");
            return Slot::Failed;
        }
        let preferred = topic.partitions[index].directory_of(self.settings.node_id);
        let opened = self.directories.open_partition(
            (&topic.name, topic.id),
            index as i32,
            preferred,
            &plan.settings,
            &plan.log_config,
        );
        match opened {
            Ok(partition) => Slot::Here(partition),
            Err(error) if error.is_retriable() => {
                tracing::error!(topic = %topic.name, partition = index, %error, "partition cannot be opened and will be tried again");
                Slot::Awaited
            }
            Err(error) => {
                tracing::error!(topic = %topic.name, partition = index, %error, "partition cannot be opened");
                Slot::Failed
            }
        }
    }

    fn put(&self, plan: Plan, image: &Image, myself: Myself) {
        let now_ms = now_ms();
        let Plan { assigned, settings, log_config, slots } = plan;
        let slots: Box<[Slot]> = slots.into_iter().map(Planned::into_slot).collect();
        let known = self.table.topic(assigned.id);
        let gone = known.as_ref().map(|known| known.gone(&slots)).unwrap_or_default();
        let is_changed =
            known.is_some_and(|known| *known.settings != *settings || *known.log_config != *log_config);
        for (slot, assigned) in slots.iter().zip(&assigned.partitions) {
            if let Slot::Here(partition) = slot {
                if is_changed {
                    partition.configure(&settings, &log_config, myself, now_ms);
                }
                partition.propose_to(self.replication.proposals());
                partition.assign(assigned, myself, now_ms);
                partition.set_eligible(&|id| eligible_epoch(image, id), now_ms);
                self.follow(partition, assigned, myself);
            }
        }
        self.table.put(Topic {
            id: assigned.id,
            name: Arc::clone(&assigned.name),
            settings,
            log_config,
            slots,
        });
        if !gone.is_empty() {
            self.delete(&gone);
            tracing::info!(topic = %assigned.name, count = gone.len(), "replicas were taken from this broker and deleted");
        }
    }

    /// Fetches from the leader, when that is another broker. Nobody is followed before our registration: the image may
    /// be of long ago.
    fn follow(&self, partition: &Arc<Partition>, assigned: &metadata::Partition, myself: Myself) {
        match assigned.leader {
            Some(leader) if self.is_registered && leader != myself.broker_id => {
                self.replication.follow(partition, leader, assigned.leader_epoch);
            }
            _ => self.replication.unfollow(key_of(partition)),
        }
    }

    fn configure(&self, image: &Image, id: Uuid, myself: Myself) {
        let Some(topic) = self.table.topic(id) else { return };
        let (settings, log_config) = self.settings_of(image, &topic.name);
        if *settings == *topic.settings && *log_config == *topic.log_config {
            return;
        }
        topic.partitions().for_each(|partition: &Arc<Partition>| {
            partition.configure(&settings, &log_config, myself, now_ms());
        });
        let name = Arc::clone(&topic.name);
        self.table.put(Topic { id, name, settings, log_config, slots: topic.slots.clone() });
    }
}

/// The publisher is gone for good: applying an image panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("applying an image panicked")]
pub struct Ended;

/// A topic on its way into the table.
struct Plan {
    assigned: Arc<metadata::Topic>,
    settings: Arc<topic::Settings>,
    log_config: Arc<Config>,
    slots: Vec<Planned>,
}

enum Planned {
    Known(Slot),
    /// Filled in by the thread that opens it.
    ToOpen(Mutex<Slot>),
}

impl Plan {
    fn to_open(&self) -> impl Iterator<Item = (&Plan, usize, &Mutex<Slot>)> {
        self.slots.iter().enumerate().filter_map(move |(index, planned)| match planned {
            Planned::ToOpen(slot) => Some((self, index, slot)),
            Planned::Known(_) => None,
        })
    }
}

impl Planned {
    fn into_slot(self) -> Slot {
        match self {
            Self::Known(slot) => slot,
            Self::ToOpen(slot) => slot.into_inner(),
        }
    }
}

fn key_of(partition: &Partition) -> (Uuid, i32) {
    (partition.topic_id(), partition.index())
}

/// The broker epoch under which a broker may join an ISR.
fn eligible_epoch(image: &Image, broker_id: i32) -> Option<i64> {
    image.broker(broker_id).filter(|broker| broker.is_active()).map(|broker| broker.broker_epoch)
}

fn shared(topic: topic::Settings, broker: &Settings) -> (Arc<topic::Settings>, Arc<Config>) {
    let config = log_config(&topic, broker.producer_id_expiration_ms);
    (Arc::new(topic), Arc::new(config))
}

/// The part of a topic's settings that its logs act on.
pub fn log_config(settings: &topic::Settings, producer_id_expiration_ms: i64) -> Config {
    let unsigned = |number: i32| u32::try_from(number).unwrap_or(0);
    Config {
        segment_bytes: unsigned(settings.segment_bytes),
        segment_ms: settings.segment_ms,
        segment_jitter_ms: settings.segment_jitter_ms,
        index_interval_bytes: unsigned(settings.index_interval_bytes),
        segment_index_bytes: unsigned(settings.segment_index_bytes),
        preallocate: settings.preallocate,
        retention_ms: settings.retention_ms,
        retention_bytes: settings.retention_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
        delete: settings.cleanup.delete,
        compact: settings.cleanup.compact,
        file_delete_delay_ms: settings.file_delete_delay_ms,
        producer_id_expiration_ms,
        compaction: milena_log::compaction::Settings {
            delete_retention_ms: settings.delete_retention_ms,
            min_lag_ms: settings.min_compaction_lag_ms,
            max_lag_ms: settings.max_compaction_lag_ms,
            min_dirty_ratio: settings.min_cleanable_dirty_ratio,
        },
    }
}
