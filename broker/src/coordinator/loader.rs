//! Reads a partition of `__consumer_offsets` from its start to its end into a machine.
//!
//! Runs where a disk may be waited for. Memory is one piece of the log and the state itself.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use milena_protocol::ErrorCode;
use milena_protocol::records::compression::decompress;
use milena_protocol::records::control::EndTxnMarker;
use milena_protocol::records::{Batch, BatchError, Batches, Limits, RecordIter};
use milena_state::config::coordinator::GroupCoordinator;
use milena_state::group::{Decoded, Groups, Record};

use crate::partition::{Appended, Isolation, Partition, Read, ReadError};

/// Unreadable records that one load names; the rest is a number.
const SKIPPED_LOGGED_MAX: u64 = 10;

/// How often one piece is brought into memory before the load is given up.
const WARM_ROUNDS_MAX: usize = 100;

/// What a partition's records add up to.
#[derive(Debug)]
pub struct Loaded {
    pub groups: Groups,
    /// The end of what was read: readers wait until it is committed.
    pub last: Option<Appended>,
    pub records: u64,
    pub skipped: u64,
}

/// Why a partition was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the leadership is over")]
    Over,
    #[error("the log cannot be read: {0:?}")]
    Read(ErrorCode),
    #[error("the log cannot be read: {0}")]
    File(#[from] std::io::Error),
    #[error("loading panicked")]
    Panicked,
    #[error("no batch can be read at offset {offset}")]
    Stuck { offset: i64 },
    #[error("at offset {offset}: {error}")]
    Batch { offset: i64, error: BatchError },
}

impl LoadError {
    /// Whether another attempt may go well: descriptors were short, or a disk was slow. What is wrong with the bytes
    /// or with this program stays wrong.
    pub fn may_pass(&self) -> bool {
        match self {
            LoadError::Read(_) | LoadError::File(_) => true,
            LoadError::Over | LoadError::Panicked | LoadError::Stuck { .. } | LoadError::Batch { .. } => {
                false
            }
        }
    }
}

/// Loads what is in the log now, as the leader in `leader_epoch`.
pub fn load(
    partition: &Partition,
    leader_epoch: i32,
    settings: &GroupCoordinator,
    is_over: &AtomicBool,
) -> Result<Loaded, LoadError> {
    let mut load = Load {
        partition,
        leader_epoch,
        bytes_max: settings.load_bytes_max,
        groups: Groups::new(settings.machine.clone()),
        records: 0,
        skipped: 0,
    };
    let end_offset = partition.log_end_offset().get();
    let mut offset = partition.log_start_offset();
    while offset < end_offset {
        if is_over.load(Ordering::Relaxed) {
            return Err(LoadError::Over);
        }
        offset = load.piece(offset)?;
    }
    if load.skipped > SKIPPED_LOGGED_MAX {
        tracing::error!(
            partition = partition.index(),
            skipped = load.skipped,
            "records of groups were skipped"
        );
    }
    Ok(Loaded {
        groups: load.groups,
        last: (end_offset > 0).then(|| end(partition, leader_epoch, end_offset)),
        records: load.records,
        skipped: load.skipped,
    })
}

/// The log's end as if one append had written all of it.
fn end(partition: &Partition, leader_epoch: i32, end_offset: i64) -> Appended {
    Appended {
        base_offset: partition.log_start_offset(),
        last_offset: end_offset - 1,
        leader_epoch,
        log_append_time_ms: -1,
        log_start_offset: partition.log_start_offset(),
        duplicate: false,
    }
}

/// What a read gave.
enum Piece {
    /// Of which the last may be cut.
    Batches(Vec<u8>),
    /// The log begins later by now.
    StartsAt(i64),
    /// The rest was compacted away.
    Nothing,
}

struct Load<'a> {
    partition: &'a Partition,
    leader_epoch: i32,
    bytes_max: usize,
    groups: Groups,
    records: u64,
    skipped: u64,
}

impl Load<'_> {
    /// Applies the batches from `offset` on that fit in one piece, and says where the next one begins.
    fn piece(&mut self, offset: i64) -> Result<i64, LoadError> {
        let bytes = match self.read(offset)? {
            Piece::Batches(bytes) => bytes,
            Piece::StartsAt(start_offset) => return Ok(start_offset),
            Piece::Nothing => return Ok(i64::MAX),
        };
        let mut next_offset = offset;
        for batch in Batches::maybe_truncated(&bytes) {
            let batch = batch.map_err(|error| LoadError::Batch { offset: next_offset, error })?;
            // The first batch may begin before the offset; what was deleted of it counts no more, what is twice in
            // the log counts once.
            self.batch(&batch, offset);
            next_offset = batch.last_offset() + 1;
        }
        if next_offset == offset {
            return Err(LoadError::Stuck { offset });
        }
        Ok(next_offset)
    }

    fn read(&self, offset: i64) -> Result<Piece, LoadError> {
        for _ in 0..WARM_ROUNDS_MAX {
            let read = Read {
                offset,
                bytes_max: self.bytes_max,
                first_batch_whole: true,
                isolation: Isolation::LogEnd,
                current_leader_epoch: self.leader_epoch,
                last_fetched_epoch: -1,
            };
            let mut readout = match self.partition.read(read) {
                Ok(readout) => readout,
                Err(ReadError::OutOfRange { log_start_offset, .. }) if log_start_offset > offset => {
                    return Ok(Piece::StartsAt(log_start_offset));
                }
                Err(ReadError::Code(ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch)) => {
                    return Err(LoadError::Over);
                }
                Err(error) => return Err(LoadError::Read(error.code())),
            };
            if let Some(missing) = readout.missing.take() {
                self.partition.bring(missing);
                continue;
            }
            let Some(slice) = readout.records else { return Ok(Piece::Nothing) };
            let bytes = slice.read().inspect_err(|error| self.partition.slice_failed(&slice, error))?;
            return Ok(Piece::Batches(bytes));
        }
        Err(LoadError::Read(ErrorCode::KafkaStorageError))
    }

    fn batch(&mut self, batch: &Batch<'_>, from_offset: i64) {
        if let Err(error) = batch.verify_crc() {
            return self.skip(batch.base_offset, &error);
        }
        if batch.attributes.is_control() {
            if let Some(marker) = EndTxnMarker::of(batch) {
                self.groups.end_transaction(batch.producer_id, marker.committed);
            }
            return;
        }
        let payload = match payload(batch) {
            Ok(payload) => payload,
            Err(error) => return self.skip(batch.base_offset, &error),
        };
        for record in RecordIter::new(&payload, batch.count) {
            let record = match record {
                Ok(record) => record,
                Err(error) => return self.skip(batch.base_offset, &error),
            };
            let offset = batch.offset_of(&record);
            if offset < from_offset {
                continue;
            }
            self.records += 1;
            match Record::decode(record.key, record.value) {
                Ok(Decoded::Record(decoded)) => self.apply(batch, &decoded, offset),
                Ok(Decoded::Other { .. }) => {}
                Err(error) => self.skip(offset, &error),
            }
        }
    }

    fn apply(&mut self, batch: &Batch<'_>, record: &Record, offset: i64) {
        if batch.attributes.is_transactional() {
            self.groups.apply_transactional(batch.producer_id, record, offset);
        } else {
            self.groups.apply(record, offset);
        }
    }

    fn skip(&mut self, offset: i64, error: &dyn std::fmt::Display) {
        self.skipped += 1;
        if self.skipped <= SKIPPED_LOGGED_MAX {
            let partition = self.partition.index();
            tracing::error!(partition, offset, %error, "unreadable record of a group was skipped");
        }
    }
}

fn payload<'a>(batch: &Batch<'a>) -> Result<Cow<'a, [u8]>, String> {
    let codec = batch.attributes.compression().map_err(|error| error.to_string())?;
    if !batch.attributes.is_compressed() {
        return Ok(Cow::Borrowed(batch.payload()));
    }
    let mut unpacked = Vec::new();
    decompress(codec, batch.payload(), Limits::default(), &mut unpacked)
        .map_err(|error| error.to_string())?;
    Ok(Cow::Owned(unpacked))
}
