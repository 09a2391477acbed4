//! Incremental fetch sessions (KIP-227): what a consumer fetches, remembered between its requests.
//!
//! A client names its partitions once; later requests carry only changes, and answers only partitions that have
//! something to say. A session is found by its id from any connection. The cache is bounded: when it is full, a new
//! session may take the slot of one that is idle or smaller and old, and otherwise its client goes on without one.

use std::collections::HashMap;
use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// A session that was not used for this long, or is this old and smaller than a newcomer, may lose its slot.
const EVICTION_MS: i64 = 120_000;

/// Epoch of a request that wants no session, or no longer.
const FINAL_EPOCH: i32 = -1;
/// Epoch of a request that starts a session.
const INITIAL_EPOCH: i32 = 0;

/// A topic as the client names it: by id from Fetch v13 on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicKey {
    Id(Uuid),
    Name(Arc<str>),
}

/// One partition that a client wants to read.
#[derive(Debug, Clone, PartialEq)]
pub struct Want {
    pub topic: TopicKey,
    pub partition: i32,
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    pub last_fetched_epoch: i32,
    pub bytes_max: i32,
}

/// The session part of a Fetch request.
#[derive(Debug, Default)]
pub struct Ask {
    pub session_id: i32,
    pub session_epoch: i32,
    /// Whether topics are named by id.
    pub by_id: bool,
    pub wants: Vec<Want>,
    pub forgotten: Vec<(TopicKey, i32)>,
}

/// What a request turns out to fetch.
#[derive(Debug)]
pub struct Begun {
    pub wants: Vec<Want>,
    kind: Kind,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Sessionless,
    /// A full fetch that asks for a session, which is made when the answer is known.
    Full,
    Incremental {
        session_id: i32,
    },
}

/// What an answer says about one partition, as far as a session must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    pub has_records: bool,
    pub error: bool,
    /// A diverging epoch or a preferred replica: always worth an answer.
    pub notice: bool,
    pub high_watermark: i64,
    pub log_start_offset: i64,
}

/// All sessions of this broker.
#[derive(Debug)]
pub struct Sessions {
    slots_max: usize,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    sessions: FxHashMap<i32, Session>,
    next_id: i32,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    created_ms: i64,
    used_ms: i64,
    /// In the order in which they are read: who got records goes to the end.
    order: Vec<Entry>,
    index: HashMap<(TopicKey, i32), usize>,
}

#[derive(Debug, Clone)]
struct Entry {
    want: Want,
    /// Last answered, −1 before the first answer and after an error.
    high_watermark: i64,
    log_start_offset: i64,
}

impl Sessions {
    pub fn new(slots_max: usize) -> Self {
        // Ids start at a number that differs between runs, so that a client that outlives a restart is not taken
        // for somebody else's session: FETCH_SESSION_ID_NOT_FOUND makes it start anew.
        let next_id = (uuid::Uuid::new_v4().as_u128() as i32 & i32::MAX).max(1);
        Self { slots_max, cache: Mutex::new(Cache { sessions: FxHashMap::default(), next_id }) }
    }

    pub fn count(&self) -> usize {
        self.cache.lock().sessions.len()
    }

    /// Resolves a request into the partitions to read.
    ///
    /// Errors: FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR (the session was
    /// made with the other way to name topics).
    pub fn begin(&self, ask: Ask, now_ms: i64) -> Result<Begun, ErrorCode> {
        let mut cache = self.cache.lock();
        if ask.session_epoch == INITIAL_EPOCH || ask.session_epoch == FINAL_EPOCH {
            cache.sessions.remove(&ask.session_id);
            let kind = if ask.session_epoch == INITIAL_EPOCH { Kind::Full } else { Kind::Sessionless };
            return Ok(Begun { wants: ask.wants, kind });
        }
        let session = cache.sessions.get_mut(&ask.session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != ask.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        let names_topics = !ask.wants.is_empty() || !ask.forgotten.is_empty();
        if names_topics && session.by_id != ask.by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.epoch = next_epoch(session.epoch);
        session.used_ms = now_ms;
        session.update(ask.wants, &ask.forgotten);
        let wants = session.order.iter().map(|entry| entry.want.clone()).collect();
        Ok(Begun { wants, kind: Kind::Incremental { session_id: ask.session_id } })
    }

    /// Settles an answer: `said` holds one element for each of `begun.wants`, in that order. Gives the session id to
    /// answer with, and for each partition whether it is part of the answer.
    pub fn finish(&self, begun: &Begun, said: &[Said], by_id: bool, now_ms: i64) -> (i32, Vec<bool>) {
        debug_assert_eq!(begun.wants.len(), said.len(), "one result per partition");
        match begun.kind {
            Kind::Sessionless => (0, vec![true; said.len()]),
            Kind::Full => (self.create(begun, said, by_id, now_ms), vec![true; said.len()]),
            Kind::Incremental { session_id } => {
                let mut cache = self.cache.lock();
                let include = match cache.sessions.get_mut(&session_id) {
                    Some(session) => session.settle(&begun.wants, said),
                    // Evicted meanwhile: the client learns it with its next request.
                    None => vec![true; said.len()],
                };
                (session_id, include)
            }
        }
    }

    /// 0 when there is no slot to be had or nothing to remember.
    fn create(&self, begun: &Begun, said: &[Said], by_id: bool, now_ms: i64) -> i32 {
        if begun.wants.is_empty() || self.slots_max == 0 {
            return 0;
        }
        let mut cache = self.cache.lock();
        if cache.sessions.len() >= self.slots_max && !cache.evict(begun.wants.len(), now_ms) {
            return 0;
        }
        let mut session = Session {
            epoch: 1,
            by_id,
            created_ms: now_ms,
            used_ms: now_ms,
            order: Vec::with_capacity(begun.wants.len()),
            index: HashMap::with_capacity(begun.wants.len()),
        };
        session.update(begun.wants.clone(), &[]);
        session.settle(&begun.wants, said);
        let id = cache.free_id();
        cache.sessions.insert(id, session);
        id
    }
}

impl Cache {
    fn free_id(&mut self) -> i32 {
        loop {
            let id = self.next_id;
            self.next_id = if id == i32::MAX { 1 } else { id + 1 };
            if !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    /// Frees a slot for a session of `partitions_count`, if one is idle, or old and smaller.
    fn evict(&mut self, partitions_count: usize, now_ms: i64) -> bool {
        let may_go = |session: &Session| {
            let idle = now_ms - session.used_ms > EVICTION_MS;
            idle || (now_ms - session.created_ms > EVICTION_MS && session.order.len() < partitions_count)
        };
        let candidates = self.sessions.iter().filter(|(_, session)| may_go(session));
        let Some(id) = candidates.min_by_key(|(_, session)| session.used_ms).map(|(id, _)| *id) else {
            return false;
        };
        self.sessions.remove(&id);
        true
    }
}

impl Session {
    fn update(&mut self, wants: Vec<Want>, forgotten: &[(TopicKey, i32)]) {
        for want in wants {
            let key = (want.topic.clone(), want.partition);
            match self.index.get(&key) {
                Some(&at) => self.order[at].want = want,
                None => {
                    self.index.insert(key, self.order.len());
                    self.order.push(Entry { want, high_watermark: -1, log_start_offset: -1 });
                }
            }
        }
        if !forgotten.is_empty() {
            let gone: std::collections::HashSet<_> = forgotten.iter().cloned().collect();
            self.order.retain(|entry| !gone.contains(&(entry.want.topic.clone(), entry.want.partition)));
            self.reindex();
        }
    }

    /// Remembers what was said and tells which partitions an incremental answer names.
    fn settle(&mut self, wants: &[Want], said: &[Said]) -> Vec<bool> {
        let mut served = false;
        let include = wants.iter().zip(said).map(|(want, said)| {
            let Some(&at) = self.index.get(&(want.topic.clone(), want.partition)) else { return true };
            served |= said.has_records;
            self.order[at].settle(said)
        });
        let include: Vec<bool> = include.collect();
        if served {
            self.rotate(wants, said);
        }
        include
    }

    /// Partitions that got records are read last next time, so that a small response limit starves nobody.
    fn rotate(&mut self, wants: &[Want], said: &[Said]) {
        let mut has_records = vec![false; self.order.len()];
        for (want, said) in wants.iter().zip(said) {
            if let Some(&at) = self.index.get(&(want.topic.clone(), want.partition)) {
                has_records[at] = said.has_records;
            }
        }
        let entries = std::mem::take(&mut self.order);
        let (served, waiting): (Vec<_>, Vec<_>) =
            entries.into_iter().zip(has_records).partition(|(_, served)| *served);
        self.order.extend(waiting.into_iter().chain(served).map(|(entry, _)| entry));
        self.reindex();
    }

    fn reindex(&mut self) {
        let keys = self.order.iter().map(|entry| (entry.want.topic.clone(), entry.want.partition));
        self.index = keys.enumerate().map(|(at, key)| (key, at)).collect();
    }
}

impl Entry {
    /// Whether the partition has anything to say to a client that knows its last answer.
    fn settle(&mut self, said: &Said) -> bool {
        if said.error {
            // The next good answer is said even if its numbers are those from before the error.
            (self.high_watermark, self.log_start_offset) = (-1, -1);
            return true;
        }
        let changed =
            self.high_watermark != said.high_watermark || self.log_start_offset != said.log_start_offset;
        (self.high_watermark, self.log_start_offset) = (said.high_watermark, said.log_start_offset);
        said.has_records || said.notice || changed
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;
