//! State of one producer in one partition: its epoch, its last batches, its open transaction.

use crate::staging::Write;

/// Batches remembered per producer, and so the most requests a client may have in flight.
pub const BATCHES_REMEMBERED: usize = 5;

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

    pub(crate) fn duplicate_of(&self, write: &Write) -> Option<RememberedBatch> {
        if write.producer_epoch != self.epoch {
            return None;
        }
        let same = |batch: &&RememberedBatch| {
            batch.base_sequence() == write.base_sequence && batch.last_sequence == write.last_sequence
        };
        self.batches().iter().find(same).copied()
    }

    pub(crate) fn remember(&mut self, batch: RememberedBatch) {
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
    pub(crate) fn enter_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches_count = 0;
        }
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
