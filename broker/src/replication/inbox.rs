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
    state: Mutex<State>,
    changed: Notify,
    /// Besides `changed`: it is heard in the middle of whatever is waited for.
    stopped: Notify,
}

/// A partition, with the leader epoch under which it is to be followed.
pub(super) type Wanted = (Arc<Partition>, i32);

#[derive(Default)]
struct State {
    partitions: BTreeMap<Key, Wanted>,
    /// Not taken yet.
    changed: BTreeSet<Key>,
    address: Option<Arc<str>>,
    is_stopped: bool,
}

/// What changed since the last look.
pub(super) struct Changes {
    /// None: not to be followed any more.
    pub partitions: Vec<(Key, Option<Wanted>)>,
    pub address: Option<Arc<str>>,
    pub is_stopped: bool,
}

impl Inbox {
    pub fn new(address: Option<Arc<str>>) -> Self {
        let state = State { address, ..State::default() };
        Self { state: Mutex::new(state), changed: Notify::new(), stopped: Notify::new() }
    }

    pub fn follow(&self, key: Key, partition: Arc<Partition>, leader_epoch: i32) {
        {
            let mut state = self.state.lock();
            let is_known = state
                .partitions
                .get(&key)
                .is_some_and(|(known, epoch)| *epoch == leader_epoch && Arc::ptr_eq(known, &partition));
            if is_known {
                return;
            }
            state.partitions.insert(key, (partition, leader_epoch));
            state.changed.insert(key);
        }
        self.changed.notify_one();
    }

    /// Whether nothing is left.
    pub fn unfollow(&self, key: Key) -> bool {
        let is_empty = {
            let mut state = self.state.lock();
            state.partitions.remove(&key);
            state.changed.insert(key);
            state.partitions.is_empty()
        };
        self.changed.notify_one();
        is_empty
    }

    pub fn set_address(&self, address: Option<Arc<str>>) {
        {
            let mut state = self.state.lock();
            if state.address == address {
                return;
            }
            state.address = address;
        }
        self.changed.notify_one();
    }

    pub fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.changed.notify_one();
        self.stopped.notify_one();
    }

    /// Waits for the end; told once.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
    }

    /// The partition and the leader epoch under which it is to be followed.
    pub fn wanted(&self, key: Key) -> Option<Wanted> {
        self.state.lock().partitions.get(&key).cloned()
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
        let mut state = self.state.lock();
        let changed = std::mem::take(&mut state.changed);
        let partitions = changed.into_iter().map(|key| (key, state.partitions.get(&key).cloned())).collect();
        Changes { partitions, address: state.address.clone(), is_stopped: state.is_stopped }
    }

    /// Lets the next look see everything.
    pub fn forget_taken(&self) {
        let mut state = self.state.lock();
        state.changed = state.partitions.keys().copied().collect();
    }
}
