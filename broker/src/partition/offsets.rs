//! Finding offsets: by time (ListOffsets) and by leader epoch (OffsetForLeaderEpoch).

use milena_log::leader_epochs::EpochEnd;
use milena_log::{Error, Lookup, TimestampOffset};
use milena_protocol::ErrorCode;
use milena_state::partition::reads::Isolation;

use super::partition::Partition;
use super::read::ReadError;

/// What ListOffsets asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamp {
    /// −2
    Earliest,
    /// −1
    Latest,
    /// −3
    MaxTimestamp,
    /// −4
    EarliestLocal,
    /// −5: nothing is tiered, so there is none.
    LatestTiered,
    /// First record with a timestamp of at least this.
    At(i64),
}

impl Timestamp {
    /// Whether only records can tell, which may be on a disk.
    fn is_in_records(self) -> bool {
        matches!(self, Timestamp::MaxTimestamp | Timestamp::At(_))
    }
}

/// Answer of a ListOffsets lookup; all −1 when no record matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    pub offset: i64,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

impl OffsetAndTimestamp {
    pub const NONE: Self = Self { offset: -1, timestamp: -1, leader_epoch: -1 };

    fn at(offset: i64, leader_epoch: Option<i32>) -> Self {
        Self { offset, timestamp: -1, leader_epoch: leader_epoch.unwrap_or(-1) }
    }
}

/// How often a lookup begins anew because retention took a segment away under it.
const LOOKUP_ROUNDS_MAX: usize = 3;

/// Segments whose timestamps one retention run reads; the others wait for the next.
const RETENTION_LOOKUPS_MAX: usize = 1000;

impl Partition {
    /// The offset that a timestamp stands for, when no record has to be looked at; otherwise nothing, and
    /// [`offset_by_time`](Self::offset_by_time) finds it.
    pub fn offset_by_name(
        &self,
        timestamp: Timestamp,
        isolation: Isolation,
        current_leader_epoch: i32,
    ) -> Result<Option<OffsetAndTimestamp>, ReadError> {
        let mut inner = self.lock();
        let (log, leader) = inner.leading_in(current_leader_epoch)?;
        Ok(match timestamp {
            Timestamp::Earliest | Timestamp::EarliestLocal => {
                let start = log.log_start_offset();
                Some(OffsetAndTimestamp::at(start, log.epoch_at(start)))
            }
            Timestamp::Latest => {
                let latest = leader.latest_offset(isolation, log.last_stable_offset())?;
                Some(OffsetAndTimestamp::at(latest, Some(leader.leader_epoch())))
            }
            Timestamp::LatestTiered => Some(OffsetAndTimestamp::NONE),
            Timestamp::MaxTimestamp | Timestamp::At(_) => None,
        })
    }

    /// Looks an offset up in the records. Waits for the disk, without the lock. A record that the reader may not
    /// see yet is not found.
    pub fn offset_by_time(
        &self,
        timestamp: Timestamp,
        isolation: Isolation,
        current_leader_epoch: i32,
    ) -> Result<OffsetAndTimestamp, ReadError> {
        debug_assert!(timestamp.is_in_records(), "{timestamp:?} has a name");
        for _ in 0..LOOKUP_ROUNDS_MAX {
            let mut lookup = self.lock().leading_in(current_leader_epoch)?.0.lookup();
            let found = walk(&mut lookup, timestamp);
            let mut inner = self.lock();
            let (log, leader) = inner.leading_in(current_leader_epoch)?;
            let is_current = match log.learn(lookup) {
                Ok(is_current) => is_current,
                Err(error) => return Err(self.storage_failed(&error).into()),
            };
            let found = match found {
                // What was looked at is gone meanwhile, and that is no damage.
                Err(Error::Damaged { .. }) if !is_current => continue,
                Err(error) => return Err(self.storage_failed(&error).into()),
                Ok(found) => found,
            };
            let offset = found.map(|found| found.offset);
            let may_list = leader.may_list(offset, isolation, log.last_stable_offset())?;
            return Ok(found.filter(|_| may_list).map_or(OffsetAndTimestamp::NONE, named));
        }
        Err(ErrorCode::OffsetNotAvailable.into())
    }

    /// Reads the timestamps that retention asks for, without the lock. What fails is met again, and told, under it.
    pub(super) fn find_timestamps(&self, now_ms: i64) {
        for _ in 0..RETENTION_LOOKUPS_MAX {
            let lookup = self.lock().log.as_ref().and_then(|log| log.lookup_for_retention(now_ms));
            let Some(mut lookup) = lookup else { return };
            if lookup.find_largest().is_err() {
                return;
            }
            if self.lock().log.as_mut().is_none_or(|log| log.learn(lookup).is_err()) {
                return;
            }
        }
    }

    /// Where `leader_epoch` ends in our history (OffsetForLeaderEpoch); nothing when it is not known.
    pub fn end_of_epoch(
        &self,
        leader_epoch: i32,
        current_leader_epoch: i32,
    ) -> Result<Option<EpochEnd>, ReadError> {
        let mut inner = self.lock();
        let (log, _) = inner.leading_in(current_leader_epoch)?;
        Ok(log.end_offset_for_epoch(leader_epoch))
    }
}

fn walk(lookup: &mut Lookup, timestamp: Timestamp) -> Result<Option<TimestampOffset>, Error> {
    match timestamp {
        Timestamp::At(timestamp) => lookup.offset_for_timestamp(timestamp),
        _ => lookup.max_timestamp(),
    }
}

fn named(found: TimestampOffset) -> OffsetAndTimestamp {
    let TimestampOffset { timestamp, offset, leader_epoch } = found;
    OffsetAndTimestamp { offset, timestamp, leader_epoch: leader_epoch.unwrap_or(-1) }
}
