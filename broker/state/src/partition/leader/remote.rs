//! What a leader knows of one follower.

use super::Fetched;

/// Long before anything, and far enough from the ends of the type to count with.
const NEVER_MS: i64 = i64::MIN / 2;

/// All of it but the eligibility is from the follower's fetches in this leader epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Follower {
    pub broker_id: i32,
    /// −1 until it fetched.
    pub broker_epoch: i64,
    /// None until it fetched in this leader epoch.
    pub log_end_offset: Option<i64>,
    /// −1 until it said so.
    pub log_start_offset: i64,
    /// As far as is known; long ago for one that never was.
    pub last_caught_up_ms: i64,
    last_fetch_ms: i64,
    /// Our log end offset at its last fetch.
    leader_end_at_last_fetch: i64,
    /// The epoch of its registration, while the image says that it is neither fenced nor shutting down.
    pub eligible_epoch: Option<i64>,
}

impl Follower {
    /// One that is in sync counts as caught up at first, or a new leader would drop it before its first fetch. Any other
    /// has yet to copy the log, and the high watermark must not wait for that.
    pub fn new(broker_id: i32, is_in_sync: bool, now_ms: i64, leader_end: i64) -> Self {
        Self {
            broker_id,
            broker_epoch: -1,
            log_end_offset: None,
            log_start_offset: -1,
            last_caught_up_ms: if is_in_sync { now_ms } else { NEVER_MS },
            last_fetch_ms: now_ms,
            leader_end_at_last_fetch: leader_end,
            eligible_epoch: None,
        }
    }

    /// Whether a fetch comes from a process of the broker that was followed by another since (KIP-903).
    pub fn is_past(&self, broker_epoch: i64) -> bool {
        broker_epoch >= 0 && broker_epoch < self.broker_epoch
    }

    /// Whether it may join the ISR: the process that fetches is the one that the image finds fit (KIP-841, KIP-903).
    pub fn is_eligible(&self) -> bool {
        self.eligible_epoch.is_some_and(|epoch| self.broker_epoch == -1 || self.broker_epoch == epoch)
    }

    pub fn note_fetch(&mut self, fetched: Fetched, leader_end: i64, now_ms: i64) {
        // Reaching our end of one fetch ago means it was caught up then: a follower under constant
        // load never reaches the end of now.
        if fetched.fetch_offset >= leader_end {
            self.last_caught_up_ms = self.last_caught_up_ms.max(now_ms);
        } else if fetched.fetch_offset >= self.leader_end_at_last_fetch {
            self.last_caught_up_ms = self.last_caught_up_ms.max(self.last_fetch_ms);
        }
        self.broker_epoch = fetched.broker_epoch;
        self.log_end_offset = Some(fetched.fetch_offset);
        self.log_start_offset = fetched.log_start_offset;
        self.last_fetch_ms = now_ms;
        self.leader_end_at_last_fetch = leader_end;
    }

    /// Our log, which ended at `leader_end` until now, grows.
    pub fn note_append(&mut self, leader_end: i64, now_ms: i64) {
        if self.log_end_offset == Some(leader_end) {
            self.last_caught_up_ms = self.last_caught_up_ms.max(now_ms);
        }
    }

    pub fn is_lagging(&self, leader_end: i64, lag_time_max_ms: i64, now_ms: i64) -> bool {
        self.log_end_offset != Some(leader_end) && now_ms - self.last_caught_up_ms > lag_time_max_ms
    }
}
