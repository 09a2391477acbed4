//! The numbers of one leadership that others wait for.
//!
//! They only rise, which a log does not: a follower cuts it. So each leadership has a set of its own, and the one
//! before is closed: whoever waited there looks again, and nobody takes the old leader's numbers for the new one's.

use std::sync::Arc;

use milena_log::Log;

use super::watermark::{Reached, Watermark};

/// Which number of a partition is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    LogEnd,
    HighWatermark,
    LastStable,
    /// Below this the log is synced; kept up to date in durable mode only.
    Synced,
}

/// The numbers of one leadership, or of the time between two.
#[derive(Debug)]
pub(super) struct Progress {
    /// Counts the changes of role in this process; a leader epoch alone may be led, lost and followed.
    pub term: u64,
    /// Of the leader in this term, whoever that is.
    pub leader_epoch: i32,
    log_end: Watermark,
    high_watermark: Watermark,
    last_stable: Watermark,
    synced: Watermark,
}

/// Numbers to tell the waiters after the lock was released.
#[must_use]
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    pub term: u64,
    pub log_end: i64,
    pub high_watermark: i64,
    pub last_stable: i64,
}

impl Marks {
    /// The numbers of a log whose committed part ends at `high_watermark`.
    pub fn of(term: u64, log: &Log, high_watermark: i64) -> Self {
        let last_stable = log.last_stable_offset().min(high_watermark);
        Self { term, log_end: log.log_end_offset(), high_watermark, last_stable }
    }
}

impl Progress {
    pub fn new(leader_epoch: i32, marks: Marks, synced: i64) -> Arc<Self> {
        Arc::new(Self {
            term: marks.term,
            leader_epoch,
            log_end: Watermark::new(marks.log_end),
            high_watermark: Watermark::new(marks.high_watermark),
            last_stable: Watermark::new(marks.last_stable),
            synced: Watermark::new(synced),
        })
    }

    pub fn watermark(&self, mark: Mark) -> &Watermark {
        match mark {
            Mark::LogEnd => &self.log_end,
            Mark::HighWatermark => &self.high_watermark,
            Mark::LastStable => &self.last_stable,
            Mark::Synced => &self.synced,
        }
    }

    /// Numbers of another term are not taken: they were found under a lock that was released since.
    pub fn tell(&self, marks: Marks) {
        if marks.term == self.term {
            self.log_end.advance(marks.log_end);
            self.high_watermark.advance(marks.high_watermark);
            self.last_stable.advance(marks.last_stable);
        }
    }

    /// Sends everyone who waits here away, for good.
    pub fn close(&self) {
        for mark in [Mark::LogEnd, Mark::HighWatermark, Mark::LastStable, Mark::Synced] {
            self.watermark(mark).close();
        }
    }
}

/// One number of one leadership.
#[derive(Debug, Clone)]
pub struct Level {
    pub(super) progress: Arc<Progress>,
    pub(super) mark: Mark,
}

impl Level {
    pub fn get(&self) -> i64 {
        self.watermark().get()
    }

    /// Waits until the number is at least `at`, or the leadership ends.
    pub fn reached(&self, at: i64) -> Reached<'_> {
        self.watermark().reached(at)
    }

    pub(super) fn watermark(&self) -> &Watermark {
        self.progress.watermark(self.mark)
    }
}
