//! What the metadata publisher wants of one fetcher: said at any time, taken by its thread when it comes round.
//!
//! What is wanted is kept whole, so that a fetcher that was ended by a panic begins anew with it. It holds each
//! partition once, however often it is said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_state::partition::fetch_plan::Key;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::partition::Partition;

pub(super) struct Inbox {
    wanted: Mutex<Wanted>,
    changed: Notify,
}

#[derive(Default)]
struct Wanted {
    /// With the leader epoch under which each is to be followed.
    partitions: BTreeMap<Key, (Arc<Partition>, i32)>,
    /// Not taken yet.
    changed: BTreeSet<Key>,
    address: Option<Arc<str>>,
    is_stopped: bool,
}

/// What changed since the last look.
pub(super) struct Changes {
    /// None: not to be followed any more.
    pub partitions: Vec<(Key, Option<(Arc<Partition>, i32)>)>,
    pub address: Option<Arc<str>>,
    pub is_stopped: bool,
}

impl Inbox {
    pub fn new(address: Option<Arc<str>>) -> Self {
        let wanted = Wanted { address, ..Wanted::default() };
        Self { wanted: Mutex::new(wanted), changed: Notify::new() }
    }

    pub fn follow(&self, key: Key, partition: Arc<Partition>, leader_epoch: i32) {
        {
            let mut wanted = self.wanted.lock();
            let is_known = wanted
                .partitions
                .get(&key)
                .is_some_and(|(known, epoch)| *epoch == leader_epoch && Arc::ptr_eq(known, &partition));
            if is_known {
                return;
            }
            wanted.partitions.insert(key, (partition, leader_epoch));
            wanted.changed.insert(key);
        }
        self.changed.notify_one();
    }

    /// Whether nothing is left.
    pub fn unfollow(&self, key: Key) -> bool {
        let is_empty = {
            let mut wanted = self.wanted.lock();
            wanted.partitions.remove(&key);
            wanted.changed.insert(key);
            wanted.partitions.is_empty()
        };
        self.changed.notify_one();
        is_empty
    }

    pub fn set_address(&self, address: Option<Arc<str>>) {
        {
            let mut wanted = self.wanted.lock();
            if wanted.address == address {
                return;
            }
            wanted.address = address;
        }
        self.changed.notify_one();
    }

    pub fn stop(&self) {
        self.wanted.lock().is_stopped = true;
        self.changed.notify_one();
    }

    /// The partition and the leader epoch under which it is to be followed.
    pub fn wanted(&self, key: Key) -> Option<(Arc<Partition>, i32)> {
        self.wanted.lock().partitions.get(&key).cloned()
    }

    /// Waits until there may be something to take.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Who was told of a change leaves it to another to take.
    pub fn put_back(&self) {
        self.changed.notify_one();
    }

    pub fn take(&self) -> Changes {
        let mut wanted = self.wanted.lock();
        let changed = std::mem::take(&mut wanted.changed);
        let partitions = changed.into_iter().map(|key| (key, wanted.partitions.get(&key).cloned())).collect();
        Changes { partitions, address: wanted.address.clone(), is_stopped: wanted.is_stopped }
    }

    /// Lets the next look see everything.
    pub fn forget_taken(&self) {
        let mut wanted = self.wanted.lock();
        wanted.changed = wanted.partitions.keys().copied().collect();
    }
}
