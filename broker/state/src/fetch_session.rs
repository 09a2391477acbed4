//! One incremental fetch session (KIP-227): what a client fetches, remembered between its requests.
//!
//! A client names its partitions once; later requests carry only changes, and answers only partitions that have
//! something to say. Which sessions there are is the business of the broker; which of them must go when all slots are
//! taken is decided here.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use crate::metadata::topics;

/// Partitions that one session may hold. A client with more is served without a session.
pub const SESSION_PARTITIONS_MAX: usize = 50_000;

/// Epoch of a request that wants no session, or no longer.
pub const FINAL_EPOCH: i32 = -1;
/// Epoch of a request that starts a session.
pub const INITIAL_EPOCH: i32 = 0;

/// A topic as the client names it: by id from Fetch v13 on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicKey {
    Id(Uuid),
    Name(Arc<str>),
}

impl TopicKey {
    /// Whether a topic can have this name. A session remembers no other: it would do so for nothing, at up to 32 KiB
    /// each.
    fn is_possible(&self) -> bool {
        match self {
            Self::Id(_) => true,
            Self::Name(name) => topics::check_name(name).is_ok(),
        }
    }
}

/// One partition that a client wants to read.
#[derive(Debug, Clone, PartialEq)]
pub struct Want {
    pub topic: TopicKey,
    pub partition: i32,
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    pub last_fetched_epoch: i32,
    /// Where the log of the follower that asks begins, −1 from a consumer.
    pub log_start_offset: i64,
    /// The high watermark that the follower was told last: with a higher one it is answered at once (KIP-1166).
    /// `i64::MAX` when it does not matter to who asks.
    pub high_watermark: i64,
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
    /// Whether a follower asks: see [`evicted`].
    pub is_privileged: bool,
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

/// A session that was not used for this long, or is this old and smaller than a newcomer, may lose its slot.
pub const EVICTION_MS: i64 = 120_000;

/// Who may take a slot from whom. Those of followers count for more, then larger ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    pub is_privileged: bool,
    pub partitions_count: usize,
}

/// A session that holds a slot.
#[derive(Debug, Clone, Copy)]
pub struct Tenant {
    pub standing: Standing,
    pub created_ms: i64,
    pub used_ms: i64,
}

/// Who gives its slot to a newcomer when all are taken, as in Kafka: first who is idle, whoever it is. Else one of less
/// standing that was there for long; a follower does not wait for that with a consumer, because without a session it asks
/// for everything each time, which the whole partition waits for.
pub fn evicted<T>(newcomer: Standing, tenants: impl Iterator<Item = (T, Tenant)>, now_ms: i64) -> Option<T> {
    let may_go = |(_, tenant): &(T, Tenant)| {
        let is_long_there = now_ms - tenant.created_ms > EVICTION_MS;
        let must_yield = newcomer.is_privileged && !tenant.standing.is_privileged;
        tenant.is_idle(now_ms) || ((is_long_there || must_yield) && tenant.standing < newcomer)
    };
    let first = |(_, tenant): &(T, Tenant)| {
        let idle_since = if tenant.is_idle(now_ms) { tenant.used_ms } else { i64::MAX };
        (idle_since, tenant.standing)
    };
    tenants.filter(may_go).min_by_key(first).map(|(found, _)| found)
}

impl Tenant {
    fn is_idle(&self, now_ms: i64) -> bool {
        now_ms - self.used_ms > EVICTION_MS
    }
}

/// What a request of a session turns out to be.
#[derive(Debug, PartialEq)]
pub enum Turn {
    /// These partitions are read, each with its place in the session.
    Read(Vec<(Place, Want)>),
    /// Nothing is left: the session is over, and the request is served without one.
    Emptied,
    /// More than a session may hold: it is over, and the client is to start anew.
    Overfull,
}

/// Where a partition stands in its session: they are read by ascending place.
pub type Place = u64;

/// The partitions of one client and what they were answered last.
#[derive(Debug, Default)]
pub struct Session {
    epoch: i32,
    by_id: bool,
    order: BTreeMap<Place, Entry>,
    places: BTreeMap<(TopicKey, i32), Place>,
    next_place: Place,
}

#[derive(Debug)]
struct Entry {
    want: Want,
    /// Last answered, −1 before the first answer and after an error.
    high_watermark: i64,
    log_start_offset: i64,
}

impl Session {
    /// The session of a full fetch that was answered so; `None` when there is nothing to remember or too much.
    pub fn begin(wants: &[Want], said: &[Said], by_id: bool) -> Option<Self> {
        let mut session = Self { epoch: 1, by_id, ..Self::default() };
        for want in wants {
            session.add(want.clone())?;
        }
        if session.order.is_empty() {
            return None;
        }
        let places: Vec<Place> = session.order.keys().copied().collect();
        // A partition that was named twice is remembered once, and speaks again next time.
        if places.len() == said.len() {
            session.settle(&places, said);
        }
        Some(session)
    }

    pub fn partitions_count(&self) -> usize {
        self.order.len()
    }

    /// Takes the changes of the next request.
    ///
    /// Errors, which change nothing: INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR (the session was made
    /// with the other way to name topics).
    pub fn advance(&mut self, ask: Ask) -> Result<Turn, ErrorCode> {
        if self.epoch != ask.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if self.by_id != ask.by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
        for want in ask.wants {
            if self.add(want).is_none() {
                return Ok(Turn::Overfull);
            }
        }
        ask.forgotten.iter().for_each(|partition| self.forget(partition));
        if self.order.is_empty() {
            return Ok(Turn::Emptied);
        }
        Ok(Turn::Read(self.order.iter().map(|(place, entry)| (*place, entry.want.clone())).collect()))
    }

    /// Remembers what was said and tells which partitions an incremental answer names.
    ///
    /// Partitions that got records are read last next time, so that a small response limit starves nobody.
    pub fn settle(&mut self, places: &[Place], said: &[Said]) -> Vec<bool> {
        debug_assert_eq!(places.len(), said.len(), "one result per partition");
        let settle_one = |(place, said): (&Place, &Said)| {
            // Forgotten meanwhile by a request behind this one, which still gets its answer.
            let Some(entry) = self.order.get_mut(place) else { return true };
            let is_named = entry.settle(said);
            if said.has_records {
                self.move_back(*place);
            }
            is_named
        };
        places.iter().zip(said).map(settle_one).collect()
    }

    /// `None` when the session may not hold it.
    fn add(&mut self, want: Want) -> Option<()> {
        let key = (want.topic.clone(), want.partition);
        if let Some(entry) = self.places.get(&key).and_then(|place| self.order.get_mut(place)) {
            entry.want = want;
            return Some(());
        }
        if self.order.len() == SESSION_PARTITIONS_MAX || !want.topic.is_possible() {
            return None;
        }
        let place = self.take_place();
        self.places.insert(key, place);
        self.order.insert(place, Entry { want, high_watermark: -1, log_start_offset: -1 });
        Some(())
    }

    fn forget(&mut self, partition: &(TopicKey, i32)) {
        if let Some(place) = self.places.remove(partition) {
            self.order.remove(&place);
        }
    }

    fn move_back(&mut self, place: Place) {
        let Some(entry) = self.order.remove(&place) else { return };
        let behind = self.take_place();
        if let Some(known) = self.places.get_mut(&(entry.want.topic.clone(), entry.want.partition)) {
            *known = behind;
        }
        self.order.insert(behind, entry);
    }

    fn take_place(&mut self) -> Place {
        self.next_place += 1;
        self.next_place
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
        if self.want.high_watermark != i64::MAX {
            self.want.high_watermark = said.high_watermark;
        }
        said.has_records || said.notice || changed
    }
}

#[cfg(test)]
#[path = "fetch_session_test.rs"]
mod tests;
