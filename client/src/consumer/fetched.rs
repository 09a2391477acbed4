//! The batches of one partition as they came, and the walk over their records.

use std::collections::BTreeSet;

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::records::control::EndTxnMarker;
use milena_protocol::records::{Batch, Batches, Limits, Record, RecordIter, TimestampType, compression};

use crate::error::{Error, Result};

/// What one fetch brought of one partition.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub topic: String,
    pub partition: i32,
    /// The position that was asked for: records below it are in the first batch but not wanted.
    pub from_offset: i64,
    pub high_watermark: i64,
    pub log_start_offset: i64,
    pub(super) error: Option<ErrorCode>,
    /// Producer id and first offset of each transaction that was aborted within.
    pub(super) aborted: Vec<(i64, i64)>,
    pub(super) bytes: Bytes,
}

/// A record with what its batch says about it.
#[derive(Debug, Clone, Copy)]
pub struct ConsumedRecord<'a> {
    pub offset: i64,
    /// Milliseconds since 1970; −1 for none.
    pub timestamp: i64,
    pub timestamp_type: TimestampType,
    pub record: Record<'a>,
}

impl Fetched {
    /// No bytes came.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes as they came over the wire.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The position after the last whole batch.
    pub fn next_offset(&self) -> Result<i64> {
        let mut next = self.from_offset;
        let mut batches = Batches::maybe_truncated(&self.bytes);
        for batch in &mut batches {
            next = next.max(batch.map_err(|error| self.corrupt(error))?.next_offset());
        }
        if next == self.from_offset && !self.bytes.is_empty() {
            return Err(self.corrupt("no whole batch beyond the position"));
        }
        Ok(next)
    }

    /// Calls `each` with every record from the position on, in order, until it returns false. `scratch` holds unpacked
    /// batches and is worth keeping between calls.
    pub fn for_each(
        &self,
        check_crc: bool,
        scratch: &mut Vec<u8>,
        mut each: impl FnMut(ConsumedRecord<'_>) -> bool,
    ) -> Result<()> {
        let mut aborted = Aborted::new(&self.aborted);
        for batch in Batches::maybe_truncated(&self.bytes) {
            let batch = batch.map_err(|error| self.corrupt(error))?;
            if check_crc {
                batch.verify_crc().map_err(|error| self.corrupt(error))?;
            }
            if aborted.hides(&batch) || batch.last_offset() < self.from_offset {
                continue;
            }
            if !self.walk(&batch, scratch, &mut each)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn walk(
        &self,
        batch: &Batch<'_>,
        scratch: &mut Vec<u8>,
        each: &mut impl FnMut(ConsumedRecord<'_>) -> bool,
    ) -> Result<bool> {
        let compression = batch.attributes.compression().map_err(|error| self.corrupt(error))?;
        let payload = if batch.attributes.is_compressed() {
            scratch.clear();
            compression::decompress(compression, batch.payload(), Limits::default(), scratch)
                .map_err(|error| self.corrupt(error))?;
            &scratch[..]
        } else {
            batch.payload()
        };
        for record in RecordIter::new(payload, batch.count) {
            let record = record.map_err(|error| self.corrupt(error))?;
            let offset = batch.offset_of(&record);
            if offset < self.from_offset {
                continue;
            }
            let timestamp = batch.timestamp_of(&record);
            let timestamp_type = batch.timestamp_type();
            if !each(ConsumedRecord { offset, timestamp, timestamp_type, record }) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn corrupt(&self, error: impl std::fmt::Display) -> Error {
        Error::Corrupt(format!("{}-{} at offset {}: {error}", self.topic, self.partition, self.from_offset))
    }
}

/// Which batches belong to aborted transactions, found while walking in offset order (KIP-98).
struct Aborted {
    /// By first offset, the next one last.
    due: Vec<(i64, i64)>,
    open: BTreeSet<i64>,
}

impl Aborted {
    fn new(aborted: &[(i64, i64)]) -> Self {
        let mut due: Vec<_> =
            aborted.iter().map(|(producer_id, first_offset)| (*first_offset, *producer_id)).collect();
        due.sort_unstable_by(|a, b| b.cmp(a));
        Self { due, open: BTreeSet::new() }
    }

    /// Control batches are never shown; data of an aborted transaction is not either.
    fn hides(&mut self, batch: &Batch<'_>) -> bool {
        while let Some((first_offset, producer_id)) = self.due.last().copied()
            && first_offset <= batch.last_offset()
        {
            self.open.insert(producer_id);
            self.due.pop();
        }
        if batch.attributes.is_control() {
            if EndTxnMarker::of(batch).is_some_and(|marker| !marker.committed) {
                self.open.remove(&batch.producer_id);
            }
            return true;
        }
        batch.attributes.is_transactional() && self.open.contains(&batch.producer_id)
    }
}
