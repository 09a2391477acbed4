//! All partitions of this broker, found by topic id or name without a lock.
//!
//! Topics are spread over shards, each an immutable map behind an atomic pointer: a lookup takes no lock, and a
//! change copies one small map. Only the metadata publisher changes the table; it is the one writer.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwap;
use milena_log::Config;
use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use milena_state::config::topic::Settings;
use rustc_hash::FxBuildHasher;
use tokio::sync::watch;

use super::partition::Partition;

/// Maps per index. With 10,000 topics a change copies about 160 entries.
const SHARDS: usize = 64;

/// One topic as this broker serves it.
pub struct Topic {
    pub id: Uuid,
    pub name: Arc<str>,
    /// Shared by all partitions of the topic.
    pub settings: Arc<Settings>,
    pub log_config: Arc<Config>,
    /// By partition index, without gaps.
    pub slots: Box<[Slot]>,
}

/// What this broker has of one partition.
#[derive(Clone)]
pub enum Slot {
    Here(Arc<Partition>),
    /// Other brokers have its replicas.
    Elsewhere,
    /// Its replica is here and cannot be used: the directory is offline or the log is damaged.
    Failed,
    /// Its replica could not be opened for want of descriptors, and will be tried again.
    Awaited,
}

/// The partitions that have a replica on this broker.
pub struct Table {
    // Names are chosen by clients, so their hash must not be predictable; ids are random.
    names: Index<Arc<str>, RandomState>,
    ids: Index<Uuid, FxBuildHasher>,
    /// Topics whose logs are compacted. Who compacts them waits here while there are none.
    compacted: watch::Sender<BTreeSet<Uuid>>,
}

struct Index<K, S> {
    hasher: S,
    shards: Box<[Shard<K, S>]>,
}

type Shard<K, S> = ArcSwap<HashMap<K, Arc<Topic>, S>>;

impl Default for Table {
    fn default() -> Self {
        Self {
            names: Index::new(RandomState::new()),
            ids: Index::new(FxBuildHasher),
            compacted: watch::Sender::default(),
        }
    }
}

impl Table {
    pub fn new() -> Self {
        Self::default()
    }

    /// The partition of a topic name, or what the client is told: UNKNOWN_TOPIC_OR_PARTITION,
    /// NOT_LEADER_OR_FOLLOWER (the partition exists but not here), KAFKA_STORAGE_ERROR (its directory is offline).
    pub fn by_name(&self, topic: &str, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        let shard = self.names.shard(self.names.hasher.hash_one(topic)).load();
        shard.get(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?.partition(index)
    }

    /// As [`by_name`](Self::by_name), by topic id: UNKNOWN_TOPIC_ID when there is no such topic.
    pub fn by_id(&self, topic: Uuid, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        let shard = self.ids.shard(self.ids.hasher.hash_one(topic)).load();
        shard.get(&topic).ok_or(ErrorCode::UnknownTopicId)?.partition(index)
    }

    /// The topic as it is served here.
    pub fn topic(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.ids.shard(self.ids.hasher.hash_one(id)).load().get(&id).map(Arc::clone)
    }

    /// Every partition that is here and usable, for metrics and background work.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics();
        topics.iter().flat_map(|topic| topic.partitions()).map(Arc::clone).collect()
    }

    /// Visits every partition that is here and usable, without a copy of the whole table.
    pub fn each(&self, mut visit: impl FnMut(&Arc<Partition>)) {
        for shard in &self.ids.shards {
            shard.load().values().for_each(|topic| topic.partitions().for_each(&mut visit));
        }
    }

    /// Every topic, in no particular order.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        let shards = self.ids.shards.iter();
        shards.flat_map(|shard| shard.load().values().map(Arc::clone).collect::<Vec<_>>()).collect()
    }

    /// The topics whose logs are compacted, and every change of them.
    pub fn compacted(&self) -> watch::Receiver<BTreeSet<Uuid>> {
        self.compacted.subscribe()
    }

    /// The partitions of these topics that are here.
    pub fn compacted_partitions(&self) -> Vec<Arc<Partition>> {
        let ids = self.compacted.borrow().clone();
        let topics: Vec<_> = ids.into_iter().filter_map(|id| self.topic(id)).collect();
        topics.iter().flat_map(|topic| topic.partitions()).map(Arc::clone).collect()
    }

    /// Adds a topic or replaces it by its newer state.
    pub(crate) fn put(&self, topic: Topic) {
        let topic = Arc::new(topic);
        self.ids.change(&topic.id, |map| drop(map.insert(topic.id, Arc::clone(&topic))));
        self.names.change(&topic.name, |map| drop(map.insert(Arc::clone(&topic.name), Arc::clone(&topic))));
        self.compacted.send_if_modified(|ids| match topic.log_config.compact {
            true => ids.insert(topic.id),
            false => ids.remove(&topic.id),
        });
    }

    /// Takes a topic out; its partitions are not found any more.
    pub(crate) fn remove(&self, id: Uuid) -> Option<Arc<Topic>> {
        let topic = self.topic(id)?;
        self.compacted.send_if_modified(|ids| ids.remove(&id));
        self.ids.change(&id, |map| drop(map.remove(&id)));
        self.names.change(&topic.name, |map| {
            // A topic of the same name may have been created again meanwhile.
            if map.get(&topic.name).is_some_and(|named| named.id == id) {
                map.remove(&topic.name);
            }
        });
        Some(topic)
    }
}

impl Topic {
    /// The partitions of the topic that are here and usable.
    pub fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Here(partition) => Some(partition),
            Slot::Elsewhere | Slot::Failed | Slot::Awaited => None,
        })
    }

    /// Partitions that are here and will not be with these slots.
    pub(crate) fn gone(&self, slots: &[Slot]) -> Vec<Arc<Partition>> {
        let now = |index: usize| slots.get(index);
        let gone = self.slots.iter().enumerate().filter_map(|(index, slot)| match (slot, now(index)) {
            (Slot::Here(partition), Some(Slot::Elsewhere) | None) => Some(Arc::clone(partition)),
            _ => None,
        });
        gone.collect()
    }

    /// Whether a partition has to be opened again.
    pub fn is_awaited(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot, Slot::Awaited))
    }

    fn partition(&self, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        let slot = usize::try_from(index).ok().and_then(|index| self.slots.get(index));
        match slot.ok_or(ErrorCode::UnknownTopicOrPartition)? {
            Slot::Here(partition) if partition.is_offline() => Err(ErrorCode::KafkaStorageError),
            Slot::Here(partition) => Ok(Arc::clone(partition)),
            Slot::Elsewhere => Err(ErrorCode::NotLeaderOrFollower),
            Slot::Failed | Slot::Awaited => Err(ErrorCode::KafkaStorageError),
        }
    }
}

impl<K: Clone + Eq + std::hash::Hash, S: BuildHasher + Clone> Index<K, S> {
    fn new(hasher: S) -> Self {
        let empty = || ArcSwap::from_pointee(HashMap::with_hasher(hasher.clone()));
        Self { shards: (0..SHARDS).map(|_| empty()).collect(), hasher }
    }

    fn shard(&self, hash: u64) -> &Shard<K, S> {
        // The upper bits: a map takes its bucket from the lower ones.
        &self.shards[(hash >> 58) as usize % SHARDS]
    }

    fn change(&self, key: &K, change: impl FnOnce(&mut HashMap<K, Arc<Topic>, S>)) {
        let shard = self.shard(self.hasher.hash_one(key));
        let mut map = HashMap::clone(&shard.load());
        change(&mut map);
        shard.store(Arc::new(map));
    }
}
