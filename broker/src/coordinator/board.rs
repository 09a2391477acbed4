//! Which partitions this broker coordinates: begins with a published leadership, ends with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use milena_protocol::types::Uuid;
use milena_state::group::partition_of;
use milena_state::metadata::{Delta, Image};
use parking_lot::Mutex;

use super::coordinator::Coordinator;
use super::desk::Desk;
use super::loader::{self, LoadError, Loaded};
use super::writer::Writer;
use super::{Coordinators, OFFSETS_TOPIC, keeper};
use crate::broker::now_ms;
use crate::partition::Partition;

/// Topics that are remembered for a partition that is being loaded; with more, offsets of the others wait for their
/// expiry.
const DELETED_TOPICS_MAX: usize = 10_000;

/// Between two attempts to load a partition that could not be read for a reason that may pass: the first pause and
/// the longest, to which it doubles.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// What is known of each partition of `__consumer_offsets`.
#[derive(Debug, Default, Clone)]
pub struct Board {
    topic_id: Uuid,
    /// As many as the topic had when this broker first saw it: more partitions would move the groups.
    pub slots: Vec<Slot>,
}

#[derive(Clone)]
pub enum Slot {
    Elsewhere,
    Loading(Arc<Loading>),
    Serving(Arc<Coordinator>),
    /// The log cannot be read, and trying again would not help.
    Failed {
        leader_epoch: i32,
    },
}

/// A load under way.
#[derive(Debug)]
pub struct Loading {
    leader_epoch: i32,
    is_over: AtomicBool,
    deleted_topics: Mutex<Vec<(Arc<str>, Uuid)>>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot({:?})", self.leader_epoch())
    }
}

impl Board {
    pub fn partition_of(&self, group: &str) -> Option<i32> {
        let count = i32::try_from(self.slots.len()).unwrap_or(i32::MAX);
        (count > 0).then(|| partition_of(group, count))
    }

    pub fn serving(&self) -> impl Iterator<Item = &Arc<Coordinator>> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Serving(coordinator) => Some(coordinator),
            Slot::Elsewhere | Slot::Loading(_) | Slot::Failed { .. } => None,
        })
    }

    pub fn is_loading(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot, Slot::Loading(_)))
    }
}

impl Slot {
    /// The leadership that the slot is of; none when there is none.
    fn leader_epoch(&self) -> Option<i32> {
        match self {
            Slot::Elsewhere => None,
            Slot::Loading(loading) => Some(loading.leader_epoch),
            Slot::Serving(coordinator) => Some(coordinator.writer.leader_epoch),
            Slot::Failed { leader_epoch } => Some(*leader_epoch),
        }
    }

    fn end(&self) {
        match self {
            Slot::Loading(loading) => loading.is_over.store(true, Ordering::Relaxed),
            Slot::Serving(coordinator) => coordinator.end(now_ms()),
            Slot::Elsewhere | Slot::Failed { .. } => {}
        }
    }

    fn topics_deleted(&self, topics: &[(Arc<str>, Uuid)]) {
        match self {
            Slot::Loading(loading) => {
                let mut noted = loading.deleted_topics.lock();
                let room = DELETED_TOPICS_MAX.saturating_sub(noted.len());
                noted.extend(topics.iter().take(room).cloned());
            }
            Slot::Serving(coordinator) => coordinator.topics_deleted(topics),
            Slot::Elsewhere | Slot::Failed { .. } => {}
        }
    }
}

impl Coordinators {
    /// Follows the image, whose leaderships the partitions have taken up already.
    pub(crate) fn publish(self: &Arc<Self>, image: &Image, delta: &Delta) {
        let is_stopped = self.board_change.lock();
        if *is_stopped {
            return;
        }
        let mut board = Board::clone(&self.board.load());
        let topic = image.topic_by_name(OFFSETS_TOPIC);
        let topic_id = topic.map_or(Uuid::ZERO, |topic| topic.id);
        if topic_id != board.topic_id {
            board.slots.iter().for_each(Slot::end);
            let count = topic.map_or(0, |topic| topic.partitions.len());
            board = Board { topic_id, slots: vec![Slot::Elsewhere; count] };
        }
        for (index, slot) in board.slots.iter_mut().enumerate() {
            self.follow(topic_id, index as i32, slot);
        }
        let deleted: Vec<_> = delta.topics_removed.iter().map(|(id, name)| (name.clone(), *id)).collect();
        if !deleted.is_empty() {
            board.slots.iter().for_each(|slot| slot.topics_deleted(&deleted));
        }
        self.board.store(Arc::new(board));
    }

    /// The broker stops: whoever waits hears NOT_COORDINATOR, and nothing begins any more.
    pub fn stop(&self) {
        let mut is_stopped = self.board_change.lock();
        *is_stopped = true;
        let board = self.board.load_full();
        self.board.store(Arc::new(Board {
            topic_id: board.topic_id,
            slots: vec![Slot::Elsewhere; board.slots.len()],
        }));
        board.slots.iter().for_each(Slot::end);
    }

    /// Brings one slot in step with the partition's leadership.
    fn follow(self: &Arc<Self>, topic_id: Uuid, index: i32, slot: &mut Slot) {
        let led = self.partitions.by_id(topic_id, index).ok();
        let led = led.and_then(|partition| Some((partition.leader_epoch().ok()?, partition)));
        let leader_epoch = led.as_ref().map(|(leader_epoch, _)| *leader_epoch);
        if leader_epoch == slot.leader_epoch() {
            return;
        }
        slot.end();
        *slot = match led {
            Some((leader_epoch, partition)) => self.begin(partition, leader_epoch),
            None => Slot::Elsewhere,
        };
    }

    fn begin(self: &Arc<Self>, partition: Arc<Partition>, leader_epoch: i32) -> Slot {
        let loading = Arc::new(Loading {
            leader_epoch,
            is_over: AtomicBool::new(false),
            deleted_topics: Mutex::default(),
        });
        // A topic that was just created is served at once: there is nothing to read.
        if partition.extent().is_some_and(|extent| extent.log_end_offset == 0) {
            let loaded = self.load(&partition, &loading);
            if !matches!(&loaded, Err(error) if error.may_pass()) {
                return self.loaded(partition, &loading, loaded);
            }
        }
        let slot = Slot::Loading(Arc::clone(&loading));
        self.background.spawn(Arc::clone(self).load_at_last(partition, loading));
        slot
    }

    /// Loads, as often as it takes while the partition is led and what is in the way may pass. Meanwhile its groups
    /// hear COORDINATOR_LOAD_IN_PROGRESS.
    async fn load_at_last(self: Arc<Self>, partition: Arc<Partition>, loading: Arc<Loading>) {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let loaded = self.load_in_background(&partition, &loading).await;
            let is_led = partition.leader_epoch() == Ok(loading.leader_epoch);
            match loaded {
                Err(error) if error.may_pass() && is_led => {
                    let index = partition.index();
                    tracing::warn!(partition = index, %error, ?pause, "groups are loaded again after a pause");
                }
                loaded => return self.finish(partition, &loading, loaded),
            }
            self.metrics.groups_not_loaded();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// One load, where a disk may be waited for.
    async fn load_in_background(
        self: &Arc<Self>,
        partition: &Arc<Partition>,
        loading: &Arc<Loading>,
    ) -> Result<(Loaded, Duration), LoadError> {
        let _permit = self.loads.acquire().await.map_err(|_| LoadError::Over)?;
        let (this, partition, loading) = (Arc::clone(self), Arc::clone(partition), Arc::clone(loading));
        let loaded = tokio::task::spawn_blocking(move || this.load(&partition, &loading)).await;
        loaded
            .unwrap_or_else(|ended| Err(if ended.is_panic() { LoadError::Panicked } else { LoadError::Over }))
    }

    fn load(&self, partition: &Partition, loading: &Loading) -> Result<(Loaded, Duration), LoadError> {
        let began = Instant::now();
        let settings = &self.settings.group_coordinator;
        let loaded = loader::load(partition, loading.leader_epoch, settings, &loading.is_over)?;
        Ok((loaded, began.elapsed()))
    }

    /// Puts what was loaded in the place of its load, unless the leadership is over.
    fn finish(
        self: &Arc<Self>,
        partition: Arc<Partition>,
        loading: &Arc<Loading>,
        loaded: Result<(Loaded, Duration), LoadError>,
    ) {
        let _changing = self.board_change.lock();
        let mut board = Board::clone(&self.board.load());
        let index = partition.index() as usize;
        let is_ours = |slot: &Slot| matches!(slot, Slot::Loading(ours) if Arc::ptr_eq(ours, loading));
        let Some(slot) = board.slots.get_mut(index).filter(|slot| is_ours(slot)) else { return };
        *slot = self.loaded(partition, loading, loaded);
        self.board.store(Arc::new(board));
    }

    fn loaded(
        &self,
        partition: Arc<Partition>,
        loading: &Loading,
        loaded: Result<(Loaded, Duration), LoadError>,
    ) -> Slot {
        let (index, leader_epoch) = (partition.index(), loading.leader_epoch);
        let (loaded, took) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                if !matches!(error, LoadError::Over) {
                    self.metrics.groups_not_loaded();
                    tracing::error!(partition = index, leader_epoch, %error, "groups could not be loaded");
                }
                return Slot::Failed { leader_epoch };
            }
        };
        self.metrics.groups_loaded(took, loaded.skipped);
        if loaded.records > 0 {
            tracing::info!(partition = index, leader_epoch, records = loaded.records, ?took, "groups loaded");
        }
        let settings = &self.settings.group_coordinator;
        let writer = Writer { partition, leader_epoch, compression: settings.compression };
        let deleted_topics = std::mem::take(&mut *loading.deleted_topics.lock());
        let desk = Desk::new(loaded.groups, loaded.last, deleted_topics);
        let metrics = Arc::clone(&self.metrics);
        let coordinator = Arc::new(Coordinator::begin(writer, desk, settings, metrics, now_ms()));
        let expiry_interval = Duration::from_millis(settings.expiry_interval_ms);
        self.background.spawn(keeper::run(Arc::clone(&coordinator), expiry_interval));
        Slot::Serving(coordinator)
    }
}
