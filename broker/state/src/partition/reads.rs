//! What a reader may see of a partition, and what it may ask of its leader.

use milena_protocol::ErrorCode;

use super::follower::DivergingEpoch;
use super::leader::Leader;

/// Up to where a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Consumers: below the high watermark.
    ReadUncommitted,
    /// Transactional consumers: below the last stable offset.
    ReadCommitted,
    /// Followers: everything.
    LogEnd,
}

impl Isolation {
    /// Of a request that names a replica (negative: a consumer) and an isolation level.
    pub fn of(replica_id: i32, isolation_level: i8) -> Self {
        match (replica_id, isolation_level) {
            (0.., _) => Self::LogEnd,
            (_, 1) => Self::ReadCommitted,
            _ => Self::ReadUncommitted,
        }
    }
}

/// The ends of a replica as its readers see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    pub log_end_offset: i64,
    /// The log's own last stable offset, of which only what is committed counts.
    pub stable_in_log: i64,
    pub high_watermark: i64,
}

impl Ends {
    /// The last stable offset as readers see it: of what is committed, whatever the log itself knows to be stable.
    pub fn last_stable_offset(self) -> i64 {
        self.stable_in_log.min(self.high_watermark)
    }

    /// First offset that the reader must not see.
    pub fn visible(self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::LogEnd => self.log_end_offset,
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset(),
        }
    }
}

impl Leader {
    /// First offset that the reader must not see. `stable_in_log` is the log's own last stable offset.
    pub fn visible_end(&self, isolation: Isolation, stable_in_log: i64) -> i64 {
        let (log_end_offset, high_watermark) = (self.log_end_offset(), self.high_watermark());
        Ends { log_end_offset, stable_in_log, high_watermark }.visible(isolation)
    }

    /// What ListOffsets says to "latest".
    ///
    /// Errors: `OFFSET_NOT_AVAILABLE` (KIP-207).
    pub fn latest_offset(&self, isolation: Isolation, stable_in_log: i64) -> Result<i64, ErrorCode> {
        self.check_available_to(isolation)?;
        Ok(self.visible_end(isolation, stable_in_log))
    }

    /// Whether ListOffsets may name the offset that was found by time. One that the reader must not see yet is as
    /// good as none, and having none to name is only sure when the high watermark has caught up.
    ///
    /// Errors: `OFFSET_NOT_AVAILABLE` (KIP-207).
    pub fn may_list(
        &self,
        found: Option<i64>,
        isolation: Isolation,
        stable_in_log: i64,
    ) -> Result<bool, ErrorCode> {
        if found.is_some_and(|offset| offset < self.visible_end(isolation, stable_in_log)) {
            return Ok(true);
        }
        self.check_available_to(isolation)?;
        Ok(false)
    }

    fn check_available_to(&self, isolation: Isolation) -> Result<(), ErrorCode> {
        if isolation == Isolation::LogEnd { Ok(()) } else { self.check_offsets_available() }
    }

    /// The offset below which DeleteRecords deletes: what was asked for, or all that is committed for −1.
    ///
    /// Errors: `POLICY_VIOLATION` on a topic that never deletes (`cleanup.policy` without `delete`),
    /// `OFFSET_OUT_OF_RANGE` for another negative offset and above the high watermark (KIP-107).
    pub fn delete_upto(&self, offset: i64, topic_deletes: bool) -> Result<i64, ErrorCode> {
        match offset {
            _ if !topic_deletes => Err(ErrorCode::PolicyViolation),
            -1 => Ok(self.high_watermark()),
            0.. if offset <= self.high_watermark() => Ok(offset),
            _ => Err(ErrorCode::OffsetOutOfRange),
        }
    }
}

/// Where the reader's history leaves ours, when the epoch of its last record says so. `ours` is the largest epoch
/// that we have not above `last_fetched_epoch`, and where it ends.
///
/// Errors: `OFFSET_OUT_OF_RANGE` when we have no such epoch: only starting over helps the reader.
///
/// Source: KIP-595.
pub fn diverging(
    last_fetched_epoch: i32,
    fetch_offset: i64,
    ours: Option<DivergingEpoch>,
) -> Result<Option<DivergingEpoch>, ErrorCode> {
    let ours = ours.ok_or(ErrorCode::OffsetOutOfRange)?;
    let diverges = ours.epoch < last_fetched_epoch || ours.end_offset < fetch_offset;
    Ok(diverges.then_some(ours))
}

#[cfg(test)]
#[path = "reads_test.rs"]
mod tests;
