//! Compaction: of the records with one key the last one stays, offsets never change.
//!
//! A pass first reads the dirty part of a log and notes the last offset of each key ([`OffsetMap`]); then it writes all
//! segments below its end again, without the records that have a later one with their key, in groups of neighbours
//! that fit one segment; each group takes the place of its segments at once. Tombstones stay for
//! `delete.retention.ms` after the first pass that met them. A pass that has nothing to clean may merge segments that
//! others have left small.
//!
//! The log's owner drives a pass in bounded steps and holds the log's lock only where one says so:
//!
//! ```text
//! view = log.compaction_view(stable_offset)     under the lock
//! status = view.status()                        reads timestamps, if lags are set
//! next_to_clean(statuses, now)                  pure
//! pass = log.begin_compaction(dirty, map, …)    under the lock
//! loop pass.step(): More(bytes) → throttle; NeedsLog → log.compaction_turn(pass) under the lock; Done
//! ```
//!
//! Retention leaves a log alone while a pass is under way; a cut, and closing the log, ends the pass
//! ([`Failure::Overtaken`]). Deliberately absent: threads, waiting, and which logs could not be cleaned (the caller
//! keeps that).
//!
//! Source: KIP-58 (min lag), KIP-354 (max lag), KIP-534 (tombstones), ADR 23, ADR 39.

mod choice;
mod filter;
mod groups;
mod map;
mod pass;
mod swap;
mod throttle;
mod transactions;
mod writer;

pub use choice::{Dirty, SealedSegment, Status, View, next_to_clean};
pub use map::OffsetMap;
pub use pass::Compaction;
pub use throttle::Throttle;

use crate::error::Error;

/// The settings of a log that compaction goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`; 0 is none.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`; `i64::MAX` is none.
    pub max_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`
    pub min_dirty_ratio: f64,
}

impl Default for Settings {
    /// Kafka's defaults.
    fn default() -> Self {
        Settings {
            delete_retention_ms: 24 * 3_600_000,
            min_lag_ms: 0,
            max_lag_ms: i64::MAX,
            min_dirty_ratio: 0.5,
        }
    }
}

/// What a step has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do; so many bytes were read and written.
    More(u64),
    /// [`Log::compaction_turn`](crate::Log::compaction_turn) is to be called under the log's lock.
    NeedsLog,
    Done,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Report {
    /// The log is compacted below this offset.
    pub cleaned_upto: i64,
    /// Not all keys of the dirty part fitted the map.
    pub is_partial: bool,
    /// Share of dirty bytes before the pass.
    pub dirty_ratio: f64,
    /// Share of the map's bound that the keys took.
    pub map_utilization: f64,
    pub segments_before: usize,
    pub segments_after: usize,
    /// Both readings together.
    pub bytes_read: u64,
    pub bytes_written: u64,
    /// Of the segments that were written again.
    pub records_read: u64,
    pub records_kept: u64,
    /// Records that went because they have no key.
    pub records_keyless: u64,
}

impl Report {
    pub fn records_dropped(&self) -> u64 {
        self.records_read - self.records_kept
    }
}

/// Why a pass ended before its end. The log is as before, or partly compacted, and readable in any case.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The log was cut, closed, deleted or taken by another pass meanwhile. The next one begins anew.
    #[error("the log changed while it was compacted")]
    Overtaken,
    /// Compaction can do nothing for this log as it is.
    #[error("{reason}")]
    Uncleanable { reason: String },
    #[error(transparent)]
    Storage(#[from] Error),
}

impl Failure {
    /// Whether another pass would fail like this one: the log should be left out, and a person told.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Failure::Uncleanable { .. } | Failure::Storage(Error::Damaged { .. }))
    }
}
