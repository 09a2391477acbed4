//! What a follower asks its leader for next, and what an answer means.
//!
//! One plan is the memory of one connection to one leader: the partitions that are followed there with the place where
//! each stands, what the leader's incremental session (KIP-227) was told of them, and which of them pause after an
//! error. A request names what differs from what the session knows, so idle partitions cost nothing in it. The shell
//! dials, sends, appends, and says here what came of it.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::follower::DivergingEpoch;
use crate::fetch_session::INITIAL_EPOCH;

/// Topic id and partition.
pub type Key = (Uuid, i32);

/// Pause after the first error that a change of leaders explains: it is over in a moment. Each further one is twice as
/// long, up to `replica.fetch.backoff.ms`.
const PAUSE_MIN_MS: i64 = 20;

/// Where a replica stands, and under which leader epoch it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub leader_epoch: i32,
    /// Its log end offset; in durable mode all of it is synced.
    pub fetch_offset: i64,
    /// The epoch of its last record, −1 when it has none.
    pub last_fetched_epoch: i32,
    pub log_start_offset: i64,
    /// The leader remembers which one it said last, so that this alone is nothing to tell.
    pub high_watermark: i64,
}

impl Position {
    fn is_as_told(&self, told: Option<&Position>) -> bool {
        told.is_some_and(|told| Self { high_watermark: self.high_watermark, ..*told } == *self)
    }
}

/// A Fetch request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub session_id: i32,
    pub session_epoch: i32,
    pub wants: Vec<(Key, Position)>,
    pub forgotten: Vec<Key>,
}

/// What an answer says about one partition, but for the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    pub error: ErrorCode,
    pub diverging: Option<DivergingEpoch>,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It answers what would not be asked any more: nothing.
    Stale,
    /// Append the records, if any, and take over the ends.
    Append,
    /// The histories part: cut, then say where the replica stands.
    Cut(DivergingEpoch),
    /// Ask where the leader's log begins and ends, and start from there.
    StartOver,
    /// Not now: it pauses, and is asked for again.
    Paused,
}

/// The plan of one connection.
#[derive(Debug, Clone)]
pub struct FetchPlan {
    pause_max_ms: i64,
    session_id: i32,
    session_epoch: i32,
    partitions: BTreeMap<Key, Followed>,
    /// Those whose position the session does not know.
    untold: BTreeSet<Key>,
    /// Those that the session knows and that are not to be read now.
    forgotten: BTreeSet<Key>,
    /// Until when partitions pause, the earliest first.
    pauses: BTreeSet<(i64, Key)>,
}

#[derive(Debug, Clone)]
struct Followed {
    position: Position,
    /// What the session was told.
    told: Option<Position>,
    /// Errors in a row.
    failures: u32,
    paused_until_ms: Option<i64>,
}

impl FetchPlan {
    pub fn new(pause_max_ms: i64) -> Self {
        Self {
            pause_max_ms: pause_max_ms.max(PAUSE_MIN_MS),
            session_id: 0,
            session_epoch: INITIAL_EPOCH,
            partitions: BTreeMap::new(),
            untold: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            pauses: BTreeSet::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Follows a partition from this position on, or goes on with it from there.
    pub fn follow(&mut self, key: Key, position: Position) {
        self.wake(key);
        let followed = self.partitions.entry(key).or_insert(Followed {
            position,
            told: None,
            failures: 0,
            paused_until_ms: None,
        });
        (followed.position, followed.failures) = (position, 0);
        self.note(key);
    }

    pub fn unfollow(&mut self, key: Key) {
        self.wake(key);
        self.untold.remove(&key);
        if self.partitions.remove(&key).is_some_and(|followed| followed.told.is_some()) {
            self.forgotten.insert(key);
        }
    }

    /// The next request, or nothing to ask for.
    ///
    /// Behind one that is not answered yet a request may be sent when [`may_interrupt`](Self::may_interrupt): the
    /// leader ends its wait for the one before.
    pub fn request(&mut self, now_ms: i64) -> Option<Request> {
        self.end_pauses(now_ms);
        if self.partitions.len() == self.pauses.len() {
            return None;
        }
        if self.session_epoch == INITIAL_EPOCH {
            let asked = self.partitions.iter().filter(|(_, followed)| followed.paused_until_ms.is_none());
            self.untold = asked.map(|(key, _)| *key).collect();
            // A session that begins knows nothing that it could forget.
            self.forgotten.clear();
        }
        let mut wants = Vec::with_capacity(self.untold.len());
        for key in std::mem::take(&mut self.untold) {
            let Some(followed) = self.partitions.get_mut(&key) else { continue };
            followed.told = Some(followed.position);
            // What is named is not forgotten with the same request.
            self.forgotten.remove(&key);
            wants.push((key, followed.position));
        }
        let forgotten = std::mem::take(&mut self.forgotten).into_iter().collect();
        let (session_id, session_epoch) = (self.session_id, self.session_epoch);
        if self.session_epoch != INITIAL_EPOCH {
            self.session_epoch = if session_epoch == i32::MAX { 1 } else { session_epoch + 1 };
        }
        Some(Request { session_id, session_epoch, wants, forgotten })
    }

    /// Whether there is something to tell a session that waits for records.
    pub fn may_interrupt(&self) -> bool {
        self.session_epoch != INITIAL_EPOCH && !(self.untold.is_empty() && self.forgotten.is_empty())
    }

    /// An answer to a request that named `session_epoch` came, with this error and session.
    ///
    /// Errors: the error of the whole. The session is over, and what it was told is told again.
    pub fn answered(
        &mut self,
        session_epoch: i32,
        session_id: i32,
        error: ErrorCode,
    ) -> Result<(), ErrorCode> {
        if error != ErrorCode::None {
            if error == ErrorCode::FetchSessionIdNotFound {
                self.session_id = 0;
            }
            self.begin_anew();
            return Err(error);
        }
        if session_epoch == INITIAL_EPOCH {
            self.session_id = session_id;
            // A leader without room for a session is asked in full every time.
            self.session_epoch = if session_id == 0 { INITIAL_EPOCH } else { 1 };
        } else if session_id != self.session_id {
            self.begin_anew();
        }
        Ok(())
    }

    /// The connection is gone. What was asked on it will not be answered.
    pub fn disconnected(&mut self) {
        self.begin_anew();
    }

    /// What to do about one partition of an answer.
    pub fn judge(&mut self, key: Key, said: Said, now_ms: i64) -> Verdict {
        let Some(followed) = self.partitions.get(&key) else { return Verdict::Stale };
        if !followed.position.is_as_told(followed.told.as_ref()) || followed.paused_until_ms.is_some() {
            return Verdict::Stale;
        }
        match (said.error, said.diverging) {
            (ErrorCode::None, Some(diverging)) => Verdict::Cut(diverging),
            (ErrorCode::None, None) => Verdict::Append,
            (ErrorCode::OffsetOutOfRange, _) => Verdict::StartOver,
            (error, _) => {
                self.pause(key, is_of_leaders(error), now_ms);
                Verdict::Paused
            }
        }
    }

    /// The replica stands here now.
    pub fn moved(&mut self, key: Key, position: Position) {
        let Some(followed) = self.partitions.get_mut(&key) else { return };
        (followed.position, followed.failures) = (position, 0);
        self.note(key);
    }

    /// What was fetched could not be used; it is fetched again after a pause.
    pub fn failed(&mut self, key: Key, now_ms: i64) {
        self.pause(key, false, now_ms);
    }

    /// Holds a partition back until then: it is throttled. What the leader was asked for meanwhile is still taken, so that
    /// while something is `in_flight` only what is to be asked anew is held.
    pub fn hold(&mut self, key: Key, until_ms: i64, in_flight: bool) {
        let Some(followed) = self.partitions.get(&key) else { return };
        let is_asked = in_flight && !self.untold.contains(&key);
        if followed.paused_until_ms.is_none() && !is_asked {
            self.pause_until(key, until_ms);
        }
    }

    /// When a pause ends, the earliest.
    pub fn next_pause_end_ms(&self) -> Option<i64> {
        self.pauses.first().map(|(until_ms, _)| *until_ms)
    }

    /// A session that reads a partition with an error would answer at once, over and over: it is told to forget it.
    fn pause(&mut self, key: Key, is_short: bool, now_ms: i64) {
        let Some(followed) = self.partitions.get_mut(&key) else { return };
        let pause_ms = match is_short {
            true => (PAUSE_MIN_MS << followed.failures.min(16)).min(self.pause_max_ms),
            false => self.pause_max_ms,
        };
        followed.failures += 1;
        self.pause_until(key, now_ms + pause_ms);
    }

    fn pause_until(&mut self, key: Key, until_ms: i64) {
        let Some(followed) = self.partitions.get_mut(&key) else { return };
        if let Some(before_ms) = followed.paused_until_ms.replace(until_ms) {
            self.pauses.remove(&(before_ms, key));
        }
        self.pauses.insert((until_ms, key));
        self.untold.remove(&key);
        if followed.told.take().is_some() {
            self.forgotten.insert(key);
        }
    }

    /// Lets go of what has paused long enough.
    pub fn end_pauses(&mut self, now_ms: i64) {
        while let Some((until_ms, key)) = self.pauses.first().copied()
            && until_ms <= now_ms
        {
            self.wake(key);
            self.note(key);
        }
    }

    fn wake(&mut self, key: Key) {
        let Some(followed) = self.partitions.get_mut(&key) else { return };
        if let Some(until_ms) = followed.paused_until_ms.take() {
            self.pauses.remove(&(until_ms, key));
        }
    }

    fn note(&mut self, key: Key) {
        let Some(followed) = self.partitions.get(&key) else { return };
        if followed.paused_until_ms.is_none() && !followed.position.is_as_told(followed.told.as_ref()) {
            self.untold.insert(key);
        } else {
            self.untold.remove(&key);
        }
    }

    fn begin_anew(&mut self) {
        self.session_epoch = INITIAL_EPOCH;
        self.forgotten.clear();
        for followed in self.partitions.values_mut() {
            followed.told = None;
        }
    }
}

/// Whether the error is what a change of leaders looks like from here: either of us has not heard of it yet.
fn is_of_leaders(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
    )
}

#[cfg(test)]
#[path = "fetch_plan_test.rs"]
mod tests;
