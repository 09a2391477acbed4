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

pub use crate::producer::{BATCHES_REMEMBERED, NO_EPOCH, NO_OFFSET, NO_SEQUENCE, Producer, RememberedBatch};
pub use crate::staging::{CompletedTransaction, Kind, Marker, Origin, Refusal, Staged, Staging, Write};
use crate::staging::{StagedProducer, stage_data, stage_marker};

/// Time between two looks for expired producers: Kafka's `producer.id.expiration.check.interval.ms`.
const EXPIRY_INTERVAL_MS: i64 = 600_000;

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

#[cfg(test)]
#[path = "producers_test.rs"]
mod tests;
