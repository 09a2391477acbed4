//! What a partition remembers of each producer that wrote to it: enough to drop a repeated batch, to
//! refuse a gap or a zombie, and to know which transactions are still open.
//!
//! Appending is two steps, because nothing may change before the bytes are in the file:
//! [`Producers::stage`] checks one batch against a copy of its producer's state, kept in a [`Staged`];
//! [`Producers::commit`] makes the copies the truth after the write. A stage that is dropped leaves no
//! trace.
//!
//! Owned here: sequences, producer epochs, open and completed transactions, expiry. Deliberately absent:
//! files (see `producer_snapshot`), and the verification of transactions with their coordinator
//! (KIP-890), which happens before the append.
//!
//! Source: KIP-98 (idempotence, transactions), KIP-360 (any first sequence without state), KIP-890
//! (markers of transaction version 2).

use std::collections::BTreeMap;

use smallvec::SmallVec;

/// Batches remembered per producer, and so the most requests a client may have in flight.
pub const BATCHES_REMEMBERED: usize = 5;

/// Time between two looks for expired producers: Kafka's `producer.id.expiration.check.interval.ms`.
const EXPIRY_INTERVAL_MS: i64 = 600_000;

/// "No epoch yet", as in a batch without a producer.
pub const NO_EPOCH: i16 = -1;
/// "No sequence", as in a batch without a producer.
pub const NO_SEQUENCE: i32 = -1;
/// "No offset": no open transaction, or no batch since the producer became known by a marker.
pub const NO_OFFSET: i64 = -1;

/// One remembered batch. The first sequence and first offset follow from the last and the delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RememberedBatch {
    pub last_sequence: i32,
    pub offset_delta: i32,
    pub last_offset: i64,
    /// Largest timestamp of the batch, repeated in the answer to a duplicate.
    pub timestamp: i64,
}

impl RememberedBatch {
    pub fn base_sequence(&self) -> i32 {
        decrement_sequence(self.last_sequence, self.offset_delta)
    }

    pub fn base_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// State of one producer id in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    pub epoch: i16,
    /// Epoch of the coordinator that sent the last marker, -1 before the first.
    pub coordinator_epoch: i32,
    /// Timestamp of the last batch or marker; expiry counts from it.
    pub last_timestamp: i64,
    /// First offset of the open transaction, or [`NO_OFFSET`].
    pub transaction_first_offset: i64,
    // Oldest first. Inline, because a heap block per producer would double its cost.
    batches: [RememberedBatch; BATCHES_REMEMBERED],
    batches_count: u8,
}

impl Producer {
    const EMPTY_BATCH: RememberedBatch = RememberedBatch {
        last_sequence: NO_SEQUENCE,
        offset_delta: 0,
        last_offset: NO_OFFSET,
        timestamp: -1,
    };

    /// A producer of which nothing is known.
    pub fn unknown() -> Self {
        Producer {
            epoch: NO_EPOCH,
            coordinator_epoch: -1,
            last_timestamp: -1,
            transaction_first_offset: NO_OFFSET,
            batches: [Self::EMPTY_BATCH; BATCHES_REMEMBERED],
            batches_count: 0,
        }
    }

    /// A producer as a snapshot tells it: at most the last batch is known.
    pub fn restored(
        epoch: i16,
        coordinator_epoch: i32,
        last_timestamp: i64,
        transaction_first_offset: i64,
        last_batch: Option<RememberedBatch>,
    ) -> Self {
        let mut producer = Producer {
            epoch,
            coordinator_epoch,
            last_timestamp,
            transaction_first_offset: transaction_first_offset.max(NO_OFFSET),
            ..Producer::unknown()
        };
        if let Some(batch) = last_batch {
            producer.remember(batch);
        }
        producer
    }

    /// Puts batches, oldest first, before the last one, which a snapshot tells apart.
    pub(crate) fn remember_older(&mut self, older: &[RememberedBatch]) {
        let Some(last) = self.last_batch().copied() else { return };
        self.batches_count = 0;
        older.iter().chain([&last]).for_each(|batch| self.remember(*batch));
    }

    /// The remembered batches, oldest first.
    pub fn batches(&self) -> &[RememberedBatch] {
        &self.batches[..usize::from(self.batches_count)]
    }

    pub fn last_batch(&self) -> Option<&RememberedBatch> {
        self.batches().last()
    }

    pub fn last_sequence(&self) -> i32 {
        self.last_batch().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    pub fn open_transaction(&self) -> Option<i64> {
        (self.transaction_first_offset >= 0).then_some(self.transaction_first_offset)
    }

    fn duplicate_of(&self, write: &Write) -> Option<RememberedBatch> {
        if write.producer_epoch != self.epoch {
            return None;
        }
        let same = |batch: &&RememberedBatch| {
            batch.base_sequence() == write.base_sequence && batch.last_sequence == write.last_sequence
        };
        self.batches().iter().find(same).copied()
    }

    fn remember(&mut self, batch: RememberedBatch) {
        let count = usize::from(self.batches_count);
        if count == BATCHES_REMEMBERED {
            self.batches.copy_within(1.., 0);
            self.batches[BATCHES_REMEMBERED - 1] = batch;
        } else {
            self.batches[count] = batch;
            self.batches_count += 1;
        }
    }

    /// A new epoch starts its sequences at 0, so the batches of the old one mean nothing any more.
    fn enter_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches_count = 0;
        }
    }
}

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

/// What [`Producers::stage`] found.
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
    producers: SmallVec<[StagedProducer; 1]>,
    started: SmallVec<[(i64, i64); 1]>,
    completed: SmallVec<[CompletedTransaction; 1]>,
}

#[derive(Debug)]
struct StagedProducer {
    id: i64,
    /// Whether the partition knew this producer before this append.
    known: bool,
    state: Producer,
}

impl Staged {
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }
}

/// All producers of one partition.
#[derive(Debug, Default)]
pub struct Producers {
    // Ordered, so that snapshots and expiry do not depend on a hash; boxed, so that a partition with one
    // producer does not pay for a whole tree node of them.
    producers: BTreeMap<i64, Box<Producer>>,
    /// First offset → producer id.
    open: BTreeMap<i64, i64>,
    /// First offset → marker's offset, of ended transactions whose marker is not below the high watermark.
    unreplicated: BTreeMap<i64, i64>,
    end_offset: i64,
    expiry_checked_ms: Option<i64>,
}

impl Producers {
    /// No producers, at a log that starts at `start_offset`.
    pub fn new(start_offset: i64) -> Self {
        Producers { end_offset: start_offset, ..Producers::default() }
    }

    /// Checks `write` after everything already in `staged`, and adds it there.
    pub fn stage(&self, staged: &mut Staged, origin: Origin, write: &Write) -> Result<Staging, Refusal> {
        debug_assert!(write.producer_id >= 0, "only batches with a producer id are staged");
        if origin == Origin::Client
            && let Some(batch) = self.get(write.producer_id).and_then(|producer| producer.duplicate_of(write))
        {
            return Ok(Staging::Duplicate(batch));
        }
        let index = self.staged_index(staged, write.producer_id);
        match write.kind {
            Kind::Data { transactional } => stage_data(staged, index, origin, write, transactional)?,
            Kind::Marker(Some(marker)) => stage_marker(staged, index, origin, write, marker)?,
            Kind::Marker(None) => {}
        }
        Ok(Staging::Accepted)
    }

    /// Makes `staged` the truth. Call it when its batches are in the file, then write the aborted ones of
    /// what it returns to the transaction index.
    pub fn commit(&mut self, staged: Staged) -> SmallVec<[CompletedTransaction; 1]> {
        for StagedProducer { id, state, .. } in staged.producers {
            // An emptied marker batch stages a producer without having anything to say about it.
            if state.epoch == NO_EPOCH {
                continue;
            }
            match self.producers.get_mut(&id) {
                Some(producer) => **producer = state,
                None => {
                    self.producers.insert(id, Box::new(state));
                }
            }
        }
        self.open.extend(staged.started);
        let mut completed = staged.completed;
        for transaction in &mut completed {
            transaction.last_stable_offset = self.stable_after(transaction);
            self.open.remove(&transaction.first_offset);
            self.unreplicated.insert(transaction.first_offset, transaction.last_offset);
        }
        completed
    }

    pub fn get(&self, producer_id: i64) -> Option<&Producer> {
        self.producers.get(&producer_id).map(|producer| &**producer)
    }

    /// All producers by ascending id, as DescribeProducers and snapshots want them.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.producers.iter().map(|(id, producer)| (*id, &**producer))
    }

    pub fn len(&self) -> usize {
        self.producers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Log end offset up to which this state is complete.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Everything below `end_offset` is taken in (batches without a producer too).
    pub fn advance_to(&mut self, end_offset: i64) {
        debug_assert!(self.end_offset <= end_offset, "{} <= {end_offset}", self.end_offset);
        self.end_offset = end_offset;
    }

    /// First offset that a `read_committed` reader must not see: the start of the oldest transaction that
    /// is open, or ended by a marker not yet below the high watermark.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        let open = self.first_open_offset();
        let unreplicated = self.unreplicated.first_key_value().map(|(first, _)| *first);
        [open, unreplicated].into_iter().flatten().min()
    }

    /// Start of the oldest open transaction.
    pub fn first_open_offset(&self) -> Option<i64> {
        self.open.first_key_value().map(|(first, _)| *first)
    }

    /// Last timestamp of the producer with the oldest open transaction, to find hanging ones.
    pub fn oldest_open_timestamp(&self) -> Option<i64> {
        let (_, producer_id) = self.open.first_key_value()?;
        self.get(*producer_id).map(|producer| producer.last_timestamp)
    }

    /// Transactions whose marker is below `high_watermark` are decided for good.
    pub fn high_watermark_reached(&mut self, high_watermark: i64) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, last_offset| *last_offset >= high_watermark);
        }
    }

    /// Records below `log_start_offset` are gone. Producers stay: their sequences still count.
    pub fn log_start_moved(&mut self, log_start_offset: i64) {
        self.high_watermark_reached(log_start_offset);
        self.end_offset = self.end_offset.max(log_start_offset);
    }

    /// Forgets expired producers, ten minutes after the last time at the earliest. Expiry goes by the clients'
    /// timestamps, which may be old, so a producer must have some time to repeat its last batches.
    pub fn expire_now_and_then(&mut self, now_ms: i64, expiration_ms: i64) {
        let checked_ms = *self.expiry_checked_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(checked_ms) >= EXPIRY_INTERVAL_MS {
            self.expiry_checked_ms = Some(now_ms);
            self.remove_expired(now_ms, expiration_ms);
        }
    }

    /// Forgets producers without an open transaction that were idle for `expiration_ms`; says how many.
    pub fn remove_expired(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        let before = self.producers.len();
        self.producers.retain(|_, producer| !is_expired(producer, now_ms, expiration_ms));
        before - self.producers.len()
    }

    /// Replaces everything by a snapshot taken at `end_offset`, without those that expired meanwhile.
    pub fn restore(
        &mut self,
        entries: impl IntoIterator<Item = (i64, Producer)>,
        end_offset: i64,
        now_ms: i64,
        expiration_ms: i64,
    ) {
        self.reset(end_offset);
        for (id, producer) in entries {
            if is_expired(&producer, now_ms, expiration_ms) {
                continue;
            }
            if let Some(first_offset) = producer.open_transaction() {
                self.open.insert(first_offset, id);
            }
            self.producers.insert(id, Box::new(producer));
        }
    }

    /// Forgets everything: the log is empty from `end_offset` on, or will be read again from there.
    pub fn reset(&mut self, end_offset: i64) {
        *self = Producers::new(end_offset);
    }

    fn staged_index(&self, staged: &mut Staged, id: i64) -> usize {
        if let Some(index) = staged.producers.iter().position(|producer| producer.id == id) {
            return index;
        }
        let known = self.get(id);
        let state = known.copied().unwrap_or_else(Producer::unknown);
        staged.producers.push(StagedProducer { id, known: known.is_some(), state });
        staged.producers.len() - 1
    }

    fn stable_after(&self, transaction: &CompletedTransaction) -> i64 {
        let other = self.open.iter().find(|(_, producer_id)| **producer_id != transaction.producer_id);
        other.map_or(transaction.last_offset + 1, |(first_offset, _)| *first_offset)
    }
}

fn is_expired(producer: &Producer, now_ms: i64, expiration_ms: i64) -> bool {
    producer.open_transaction().is_none() && now_ms.saturating_sub(producer.last_timestamp) >= expiration_ms
}

fn stage_data(
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

fn stage_marker(
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

/// Sequences wrap from `i32::MAX` to 0; counting back does so the other way.
fn decrement_sequence(sequence: i32, by: i32) -> i32 {
    if sequence < by {
        i32::MAX.wrapping_sub(by.wrapping_sub(sequence)).wrapping_add(1)
    } else {
        sequence.wrapping_sub(by)
    }
}

#[cfg(test)]
#[path = "producers_test.rs"]
mod tests;
