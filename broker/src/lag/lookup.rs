//! The timestamp of one record, from the header of its batch.

use milena_protocol::records::{BatchHeader, HEADER_SIZE};
use milena_state::partition::reads::Isolation;

use crate::partition::{Partition, Read};

/// How often a read begins anew after what it lacked was brought.
const ROUNDS_MAX: usize = 3;

/// When the batch with the record at `offset`, or the next one that compaction left, was written; none when it
/// says no time or cannot be read. Waits for the disk.
///
/// A batch of a client's clock is as old as its first record: a group that has consumed a part of it is told a
/// lag that is too old by the time the batch took to fill.
pub fn timestamp_at(partition: &Partition, offset: i64) -> Option<i64> {
    let read = Read {
        offset,
        bytes_max: HEADER_SIZE,
        // Nothing but the header is read of it.
        first_batch_whole: true,
        isolation: Isolation::ReadUncommitted,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    };
    for _ in 0..ROUNDS_MAX {
        let readout = partition.read(read).ok()?;
        if let Some(missing) = readout.missing {
            partition.bring(missing);
            continue;
        }
        let mut slice = readout.records?;
        slice.length = HEADER_SIZE.min(slice.length);
        let bytes = slice.read().inspect_err(|error| partition.slice_failed(&slice, error)).ok()?;
        return timestamp_of(&BatchHeader::from_bytes(bytes.as_slice().try_into().ok()?));
    }
    None
}

fn timestamp_of(header: &BatchHeader) -> Option<i64> {
    let is_stamped_by_broker =
        header.timestamp_type() == milena_protocol::records::TimestampType::LogAppendTime;
    // The first field is no time of a record when it is the delete horizon.
    let takes_largest = is_stamped_by_broker || header.attributes.has_delete_horizon();
    let timestamp_ms = if takes_largest { header.max_timestamp } else { header.base_timestamp };
    (timestamp_ms >= 0).then_some(timestamp_ms)
}
