//! The fetch sessions of this broker (KIP-227). What a session remembers is [`milena_state::fetch_session`]'s to decide.
//!
//! A session is found by its id from any connection. The cache is bounded: when it is full, a new session may take the
//! slot of another ([`evicted`]), and otherwise its client goes on without one. The lock of the cache is
//! held for a look-up, that of a session for its own request; never both.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use milena_protocol::ErrorCode;
pub use milena_state::fetch_session::{Ask, Said, TopicKey, Want};
use milena_state::fetch_session::{
    FINAL_EPOCH, INITIAL_EPOCH, Place, Session, Standing, Tenant, Turn, evicted,
};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::metrics::{Limit, Metrics};
use crate::partition::Watermark;

/// Partitions that all sessions together may hold, at some 200 bytes each.
const CACHED_PARTITIONS_MAX: usize = 1_000_000;

/// What a request turns out to fetch.
#[derive(Debug)]
pub struct Begun {
    pub wants: Vec<Want>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sessionless,
    /// A full fetch that asks for a session, which is made when the answer is known.
    Full {
        is_privileged: bool,
    },
    Incremental {
        session_id: i32,
        slot: Arc<Slot>,
        places: Vec<Place>,
        /// Which of the session's requests it is.
        turn: i64,
    },
}

/// All sessions of this broker.
#[derive(Debug)]
pub struct Sessions {
    slots_max: usize,
    partitions_max: usize,
    cached_partitions: Arc<AtomicUsize>,
    cache: Mutex<Cache>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Cache {
    slots: FxHashMap<i32, Arc<Slot>>,
    next_id: i32,
}

/// A session, and what decides whether it keeps its slot.
#[derive(Debug)]
struct Slot {
    session: Mutex<Session>,
    is_privileged: bool,
    created_ms: i64,
    used_ms: AtomicI64,
    size: Share,
    /// Requests that began. One that waits is done with that when the next begins: its client has more to say.
    begun: Watermark,
}

/// The part of one session in the partitions that all of them hold; given back when dropped.
#[derive(Debug)]
struct Share {
    own: AtomicUsize,
    total: Arc<AtomicUsize>,
}

impl Begun {
    /// The session that goes on, 0 when there is none yet.
    pub fn session_id(&self) -> i32 {
        match &self.kind {
            Kind::Incremental { session_id, .. } => *session_id,
            Kind::Full { .. } | Kind::Sessionless => 0,
        }
    }

    /// Ends when another request of the session has begun behind this one, if ever.
    pub async fn overtaken(&self) {
        if let Kind::Incremental { slot, turn, .. } = &self.kind
            && slot.begun.reached(turn + 1).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

impl Sessions {
    pub fn new(slots_max: usize, metrics: Arc<Metrics>) -> Self {
        // Ids start at a number that differs between runs, so that a client that outlives a restart is not taken
        // for somebody else's session: FETCH_SESSION_ID_NOT_FOUND makes it start anew.
        let next_id = (uuid::Uuid::new_v4().as_u128() as i32 & i32::MAX).max(1);
        Self {
            slots_max,
            partitions_max: CACHED_PARTITIONS_MAX,
            cached_partitions: Arc::default(),
            cache: Mutex::new(Cache { slots: FxHashMap::default(), next_id }),
            metrics,
        }
    }

    pub fn count(&self) -> usize {
        self.cache.lock().slots.len()
    }

    /// Partitions in all sessions.
    pub fn cached_partitions(&self) -> usize {
        self.cached_partitions.load(Ordering::Relaxed)
    }

    /// Resolves a request into the partitions to read.
    ///
    /// Errors: FETCH_SESSION_ID_NOT_FOUND, also for a session that would outgrow its bounds, and those of
    /// [`Session::advance`].
    pub fn begin(&self, ask: Ask, now_ms: i64) -> Result<Begun, ErrorCode> {
        if ask.session_epoch == INITIAL_EPOCH || ask.session_epoch == FINAL_EPOCH {
            self.remove(ask.session_id);
            let is_privileged = ask.is_privileged;
            let is_full = ask.session_epoch == INITIAL_EPOCH;
            let kind = if is_full { Kind::Full { is_privileged } } else { Kind::Sessionless };
            return Ok(Begun { wants: ask.wants, kind });
        }
        let session_id = ask.session_id;
        let slot = self.cache.lock().slots.get(&session_id).cloned();
        let slot = slot.ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let (turn, size, number) = {
            let mut session = slot.session.lock();
            (session.advance(ask)?, session.partitions_count(), slot.begun.get() + 1)
        };
        slot.begun.advance(number);
        slot.used_ms.store(now_ms, Ordering::Relaxed);
        let has_grown = size > slot.size.set(size);
        match turn {
            Turn::Read(reads) if !(has_grown && self.is_over()) => {
                let (places, wants) = reads.into_iter().unzip();
                Ok(Begun { wants, kind: Kind::Incremental { session_id, slot, places, turn: number } })
            }
            Turn::Emptied => {
                self.remove(session_id);
                Ok(Begun { wants: Vec::new(), kind: Kind::Sessionless })
            }
            Turn::Read(_) | Turn::Overfull => {
                self.remove(session_id);
                self.metrics.refused(Limit::FetchSessionPartitions);
                Err(ErrorCode::FetchSessionIdNotFound)
            }
        }
    }

    /// Settles an answer: `said` holds one element for each of `begun.wants`, in that order. Gives the session id to
    /// answer with, and for each partition whether it is part of the answer.
    pub fn finish(&self, begun: &Begun, said: &[Said], by_id: bool, now_ms: i64) -> (i32, Vec<bool>) {
        debug_assert_eq!(begun.wants.len(), said.len(), "one result per partition");
        match &begun.kind {
            Kind::Sessionless => (0, vec![true; said.len()]),
            Kind::Full { is_privileged } => {
                (self.create(&begun.wants, said, (by_id, *is_privileged), now_ms), vec![true; said.len()])
            }
            // One that was evicted meanwhile is settled for nothing: its client learns it with its next request.
            Kind::Incremental { session_id, slot, places, .. } => {
                (*session_id, slot.session.lock().settle(places, said))
            }
        }
    }

    /// 0 when there is no slot to be had, nothing to remember or too much.
    fn create(
        &self,
        wants: &[Want],
        said: &[Said],
        (by_id, is_privileged): (bool, bool),
        now_ms: i64,
    ) -> i32 {
        if wants.is_empty() || self.slots_max == 0 {
            return 0;
        }
        let Some(session) = Session::begin(wants, said, by_id) else {
            self.metrics.refused(Limit::FetchSessionPartitions);
            return 0;
        };
        let size = session.partitions_count();
        let share = Share { own: AtomicUsize::new(0), total: Arc::clone(&self.cached_partitions) };
        share.set(size);
        if self.is_over() {
            self.metrics.refused(Limit::FetchSessionPartitions);
            return 0;
        }
        let slot = Slot {
            session: Mutex::new(session),
            is_privileged,
            created_ms: now_ms,
            used_ms: AtomicI64::new(now_ms),
            size: share,
            begun: Watermark::new(0),
        };
        let mut cache = self.cache.lock();
        let mut evicted = None;
        if cache.slots.len() >= self.slots_max {
            evicted = cache.evict(Standing { is_privileged, partitions_count: size }, now_ms);
            if evicted.is_none() {
                self.metrics.refused(Limit::FetchSessions);
                return 0;
            }
        }
        let id = cache.free_id();
        cache.slots.insert(id, Arc::new(slot));
        drop(cache);
        // It may be large: not under the lock.
        drop(evicted);
        id
    }

    fn remove(&self, session_id: i32) {
        // The session is dropped after the lock: it may be large.
        let removed = self.cache.lock().slots.remove(&session_id);
        drop(removed);
    }

    fn is_over(&self) -> bool {
        self.cached_partitions() > self.partitions_max
    }
}

impl Cache {
    fn free_id(&mut self) -> i32 {
        loop {
            let id = self.next_id;
            self.next_id = if id == i32::MAX { 1 } else { id + 1 };
            if !self.slots.contains_key(&id) {
                return id;
            }
        }
    }

    /// Frees a slot, if somebody has to give one up for the newcomer.
    fn evict(&mut self, newcomer: Standing, now_ms: i64) -> Option<Arc<Slot>> {
        let tenants = self.slots.iter().map(|(id, slot)| (*id, slot.tenant()));
        let id = evicted(newcomer, tenants, now_ms)?;
        self.slots.remove(&id)
    }
}

impl Slot {
    fn tenant(&self) -> Tenant {
        Tenant {
            standing: Standing { is_privileged: self.is_privileged, partitions_count: self.size.get() },
            created_ms: self.created_ms,
            used_ms: self.used_ms.load(Ordering::Relaxed),
        }
    }
}

impl Share {
    fn get(&self) -> usize {
        self.own.load(Ordering::Relaxed)
    }

    /// What it was before.
    fn set(&self, size: usize) -> usize {
        let before = self.own.swap(size, Ordering::Relaxed);
        // Wraps on the way down; the sum of all shares does not.
        self.total.fetch_add(size.wrapping_sub(before), Ordering::Relaxed);
        before
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;
