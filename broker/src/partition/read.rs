//! Reading a partition: file ranges for fetches, and offsets by time and by epoch.

use milena_log::{Log, Read as LogRead, ReadError as LogReadError, Slice, TimestampOffset};
use milena_state::partition::leader::Leader;

use super::operations::{
    AbortedTransaction, EpochEnd, Isolation, OffsetAndTimestamp, Read, ReadError, Readout, Timestamp,
};
use super::partition::{Partition, storage_error};
use crate::server::FileSlice;

/// Bytes that one partition of a fetch returns at most, whatever was asked: lengths are 32 bits on the wire.
const READ_BYTES_MAX: usize = 1 << 30;

impl Partition {
    /// Finds the bytes for one partition of a fetch. They are sent after the lock is released.
    ///
    /// A read between the bound and the log end finds nothing and is no error: a consumer may know a record that is
    /// not committed any more.
    pub fn read(&self, read: Read) -> Result<Readout, ReadError> {
        let mut inner = self.lock();
        let (log, leader) = inner.leading_in(read.current_leader_epoch)?;
        let mut readout = readout(log, leader);
        if let Some(diverging) = diverging(log, &read, &readout)? {
            readout.diverging = Some(diverging);
            return Ok(readout);
        }
        if !(log.log_start_offset()..=log.log_end_offset()).contains(&read.offset) {
            return Err(out_of_range(&readout));
        }
        let upto_offset = bound(log, &readout, read.isolation);
        if read.isolation == Isolation::ReadCommitted {
            readout.aborted = Some(aborted(log, read.offset, upto_offset)?);
        }
        if read.offset < upto_offset {
            find(log, &read, upto_offset, &mut readout)?;
        }
        Ok(readout)
    }

    /// Looks an offset up by time (ListOffsets). A record that the reader may not see yet is not found.
    pub fn offset_for(
        &self,
        timestamp: Timestamp,
        isolation: Isolation,
        current_leader_epoch: i32,
    ) -> Result<OffsetAndTimestamp, ReadError> {
        let mut inner = self.lock();
        let (log, leader) = inner.leading_in(current_leader_epoch)?;
        let bound = bound(log, &readout(log, leader), isolation);
        if isolation != Isolation::LogEnd && timestamp != Timestamp::Earliest {
            leader.check_offsets_available()?;
        }
        let at = |offset: i64, epoch: Option<i32>| OffsetAndTimestamp {
            offset,
            timestamp: -1,
            leader_epoch: epoch.unwrap_or(-1),
        };
        let found = match timestamp {
            Timestamp::Earliest | Timestamp::EarliestLocal => {
                let start = log.log_start_offset();
                return Ok(at(start, log.epoch_at(start)));
            }
            Timestamp::Latest => return Ok(at(bound, Some(leader.leader_epoch()))),
            Timestamp::LatestTiered => return Ok(OffsetAndTimestamp::NONE),
            Timestamp::MaxTimestamp => log.max_timestamp(),
            Timestamp::At(timestamp) => log.offset_for_timestamp(timestamp),
        };
        let found = found.map_err(|error| storage_error(&error))?.filter(|found| found.offset < bound);
        Ok(found.map_or(OffsetAndTimestamp::NONE, |TimestampOffset { timestamp, offset, leader_epoch }| {
            OffsetAndTimestamp { offset, timestamp, leader_epoch: leader_epoch.unwrap_or(-1) }
        }))
    }

    /// Where `leader_epoch` ends in our history (OffsetForLeaderEpoch); both −1 when it is not known.
    pub fn end_of_epoch(&self, leader_epoch: i32, current_leader_epoch: i32) -> Result<EpochEnd, ReadError> {
        let mut inner = self.lock();
        let (log, _) = inner.leading_in(current_leader_epoch)?;
        let end = log.end_offset_for_epoch(leader_epoch);
        Ok(end.map_or(EpochEnd { leader_epoch: -1, end_offset: -1 }, |end| EpochEnd {
            leader_epoch: end.epoch,
            end_offset: end.end_offset,
        }))
    }
}

fn readout(log: &Log, leader: &Leader) -> Readout {
    let high_watermark = leader.high_watermark();
    Readout {
        records: None,
        high_watermark,
        last_stable_offset: log.last_stable_offset().min(high_watermark),
        log_start_offset: log.log_start_offset(),
        aborted: None,
        cold: None,
        diverging: None,
    }
}

fn bound(log: &Log, readout: &Readout, isolation: Isolation) -> i64 {
    match isolation {
        Isolation::LogEnd => log.log_end_offset(),
        Isolation::ReadUncommitted => readout.high_watermark,
        Isolation::ReadCommitted => readout.last_stable_offset,
    }
}

/// Where the reader's history leaves ours, when its last epoch says so (KIP-595).
fn diverging(log: &Log, read: &Read, readout: &Readout) -> Result<Option<EpochEnd>, ReadError> {
    if read.last_fetched_epoch < 0 {
        return Ok(None);
    }
    // An epoch that we never heard of: the reader is ahead of us, and only starting over helps.
    let end = log.end_offset_for_epoch(read.last_fetched_epoch).ok_or(out_of_range(readout))?;
    let diverges = end.epoch < read.last_fetched_epoch || end.end_offset < read.offset;
    Ok(diverges.then_some(EpochEnd { leader_epoch: end.epoch, end_offset: end.end_offset }))
}

fn aborted(log: &mut Log, from_offset: i64, upto_offset: i64) -> Result<Vec<AbortedTransaction>, ReadError> {
    if from_offset >= upto_offset {
        return Ok(Vec::new());
    }
    let aborted =
        log.aborted_transactions(from_offset, upto_offset).map_err(|error| storage_error(&error))?;
    let named = aborted.into_iter();
    Ok(named
        .map(|t| AbortedTransaction { producer_id: t.producer_id, first_offset: t.first_offset })
        .collect())
}

/// Puts the records, or what is cold on the way to them, into `readout`.
fn find(log: &mut Log, read: &Read, upto_offset: i64, readout: &mut Readout) -> Result<(), ReadError> {
    let asked = LogRead {
        from_offset: read.offset,
        upto_offset,
        max_bytes: read.bytes_max.min(READ_BYTES_MAX),
        min_one_batch: read.first_batch_whole,
        // The lock is held, and the thread has other connections: neither may wait for a disk.
        hot_only: true,
    };
    match log.read(asked) {
        Ok(slice) => {
            readout.records = slice.filter(|slice| !slice.first_batch_incomplete).and_then(file_slice)
        }
        Err(LogReadError::Cold(cold)) => readout.cold = Some(cold),
        Err(LogReadError::OutOfRange { .. }) => return Err(out_of_range(readout)),
        Err(LogReadError::Storage(error)) => return Err(storage_error(&error)),
    }
    Ok(())
}

/// `None` for an empty slice.
fn file_slice(slice: Slice) -> Option<FileSlice> {
    let length = u32::try_from(slice.length).expect("bounded by READ_BYTES_MAX or one batch of 31 bits");
    (length > 0).then_some(FileSlice { file: slice.file, position: slice.position, length })
}

fn out_of_range(readout: &Readout) -> ReadError {
    ReadError::OutOfRange {
        log_start_offset: readout.log_start_offset,
        high_watermark: readout.high_watermark,
    }
}
