//! Checking one batch against its producer's state, before anything is written: sequences, producer epochs,
//! transactions and their markers. Pure: what is accepted changes a copy, kept in a [`Staged`].
//!
//! Source: KIP-98 (idempotence, transactions), KIP-360 (any first sequence without state), KIP-890 (markers of
//! transaction version 2).

use smallvec::SmallVec;

use crate::producer::{NO_EPOCH, NO_OFFSET, Producer, RememberedBatch};

/// Who appends, and so how much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A produce request: duplicates, epochs and sequences.
    Client,
    /// A coordinator: epochs only, since its records carry no sequences. Markers are checked by the rules
    /// of the transaction version (0 and 1: epoch not below the last; 2: above it).
    Coordinator { transaction_version: i16 },
    /// A leader's bytes, or our own file during recovery: somebody has checked them already.
    Replication,
}

/// The end of a transaction, as a control batch tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    pub committed: bool,
    pub coordinator_epoch: i32,
    pub timestamp: i64,
}

/// What a batch is to its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Data {
        transactional: bool,
    },
    /// `None`: compaction removed the marker's record, the batch remains to keep the epoch; it changes nothing.
    Marker(Option<Marker>),
}

/// One batch, reduced to what its producer's state depends on. Offsets are those it will have in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub base_offset: i64,
    pub last_offset: i64,
    pub max_timestamp: i64,
    pub kind: Kind,
}

/// Why a batch is refused. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// OUT_OF_ORDER_SEQUENCE_NUMBER
    #[error("out of order sequence {sequence} of producer {producer_id}, last was {last_sequence}")]
    OutOfOrderSequence { producer_id: i64, sequence: i32, last_sequence: i32 },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER
    #[error("epoch {epoch} of producer {producer_id} is new but starts with sequence {sequence}")]
    NewEpochNotFromZero { producer_id: i64, epoch: i16, sequence: i32 },
    /// INVALID_PRODUCER_EPOCH
    #[error("epoch {epoch} of producer {producer_id} is older than {current}")]
    InvalidEpoch { producer_id: i64, epoch: i16, current: i16 },
    /// INVALID_TXN_STATE
    #[error("producer {producer_id} wrote outside of its open transaction")]
    NotTransactional { producer_id: i64 },
    /// TRANSACTION_COORDINATOR_FENCED
    #[error("marker for producer {producer_id} is from coordinator epoch {epoch}, seen {current}")]
    CoordinatorFenced { producer_id: i64, epoch: i32, current: i32 },
}

/// What [`Producers::stage`](crate::producers::Producers::stage) found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staging {
    /// The batch may be written; `commit` when it is.
    Accepted,
    /// The batch is in the log already. Answer with these offsets and write nothing.
    Duplicate(RememberedBatch),
}

/// A transaction that ended in this partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Offset of the marker.
    pub last_offset: i64,
    pub committed: bool,
    /// The last stable offset this end leaves, before replication is considered: the start of the next
    /// open transaction of another producer, or the offset after the marker. The transaction index keeps it.
    pub last_stable_offset: i64,
}

/// Checked batches that wait for their bytes to be written. Almost always one producer.
#[derive(Debug, Default)]
pub struct Staged {
    pub(crate) producers: SmallVec<[StagedProducer; 1]>,
    pub(crate) started: SmallVec<[(i64, i64); 1]>,
    pub(crate) completed: SmallVec<[CompletedTransaction; 1]>,
}

#[derive(Debug)]
pub(crate) struct StagedProducer {
    pub id: i64,
    /// Whether the partition knew this producer before this append.
    pub known: bool,
    pub state: Producer,
}

impl Staged {
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }
}

pub(crate) fn stage_data(
    staged: &mut Staged,
    index: usize,
    origin: Origin,
    write: &Write,
    transactional: bool,
) -> Result<(), Refusal> {
    let StagedProducer { known, state, .. } = &mut staged.producers[index];
    if origin != Origin::Replication && write.producer_epoch < state.epoch {
        return Err(invalid_epoch(write, state));
    }
    if origin == Origin::Client {
        check_sequence(state, *known, write)?;
    }
    if state.open_transaction().is_some() && !transactional {
        return Err(Refusal::NotTransactional { producer_id: write.producer_id });
    }
    state.enter_epoch(write.producer_epoch);
    state.remember(RememberedBatch {
        last_sequence: write.last_sequence,
        // A batch spans at most `i32::MAX` offsets by its format; the checks before us hold it to that.
        offset_delta: (write.last_offset - write.base_offset) as i32,
        last_offset: write.last_offset,
        timestamp: write.max_timestamp,
    });
    state.last_timestamp = write.max_timestamp;
    if transactional && state.open_transaction().is_none() {
        state.transaction_first_offset = write.base_offset;
        staged.started.push((write.base_offset, write.producer_id));
    }
    Ok(())
}

pub(crate) fn stage_marker(
    staged: &mut Staged,
    index: usize,
    origin: Origin,
    write: &Write,
    marker: Marker,
) -> Result<(), Refusal> {
    let state = &mut staged.producers[index].state;
    if let Origin::Coordinator { transaction_version } = origin {
        check_marker_epoch(state, transaction_version, write)?;
    }
    if origin != Origin::Replication && state.coordinator_epoch > marker.coordinator_epoch {
        return Err(Refusal::CoordinatorFenced {
            producer_id: write.producer_id,
            epoch: marker.coordinator_epoch,
            current: state.coordinator_epoch,
        });
    }
    // A marker without data of its transaction moves no offset and needs no index entry.
    if let Some(first_offset) = state.open_transaction() {
        staged.completed.push(CompletedTransaction {
            producer_id: write.producer_id,
            first_offset,
            last_offset: write.base_offset,
            committed: marker.committed,
            last_stable_offset: NO_OFFSET,
        });
    }
    state.enter_epoch(write.producer_epoch);
    state.coordinator_epoch = marker.coordinator_epoch;
    state.last_timestamp = marker.timestamp;
    state.transaction_first_offset = NO_OFFSET;
    Ok(())
}

/// With transaction version 2 every end raises the epoch, so an equal one is late, unless no transaction
/// is open: then it repeats a marker that was written but whose answer got lost.
fn check_marker_epoch(state: &Producer, transaction_version: i16, write: &Write) -> Result<(), Refusal> {
    let late = if transaction_version >= 2 {
        write.producer_epoch < state.epoch
            || (write.producer_epoch == state.epoch && state.open_transaction().is_some())
    } else {
        write.producer_epoch < state.epoch
    };
    if late { Err(invalid_epoch(write, state)) } else { Ok(()) }
}

fn check_sequence(state: &Producer, known: bool, write: &Write) -> Result<(), Refusal> {
    if write.producer_epoch != state.epoch {
        // Without any state (retention took the records, or the producer expired) any start is accepted.
        if write.base_sequence == 0 || state.epoch == NO_EPOCH {
            return Ok(());
        }
        return Err(Refusal::NewEpochNotFromZero {
            producer_id: write.producer_id,
            epoch: write.producer_epoch,
            sequence: write.base_sequence,
        });
    }
    let last_sequence = state.last_sequence();
    if !known || follows(last_sequence, write.base_sequence) {
        return Ok(());
    }
    Err(Refusal::OutOfOrderSequence {
        producer_id: write.producer_id,
        sequence: write.base_sequence,
        last_sequence,
    })
}

fn invalid_epoch(write: &Write, state: &Producer) -> Refusal {
    Refusal::InvalidEpoch {
        producer_id: write.producer_id,
        epoch: write.producer_epoch,
        current: state.epoch,
    }
}

fn follows(last_sequence: i32, next_sequence: i32) -> bool {
    match last_sequence.checked_add(1) {
        Some(expected) => next_sequence == expected,
        None => next_sequence == 0,
    }
}
