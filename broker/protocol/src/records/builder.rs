//! Builds batches: producers, coordinators, compaction and recompression.

use super::batch::{
    Attributes, BatchHeader, HEADER_SIZE, LENGTH_PREFIX_SIZE, NO_LEADER_EPOCH, NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TimestampType,
};
use super::compression::{self, Compression};
use super::record::Header;
use super::varint;

/// Why a batch cannot take a record or cannot be finished.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("offset {offset} is not within reach above the batch's offsets {base_offset}..{next_offset}")]
    Offset { offset: i64, base_offset: i64, next_offset: i64 },
    #[error("timestamp {timestamp} is too far from the batch's base timestamp {base_timestamp}")]
    Timestamp { timestamp: i64, base_timestamp: i64 },
    #[error("batch would exceed {max} bytes")]
    TooLarge { max: usize },
    #[error(transparent)]
    Compress(#[from] compression::Error),
}

/// A batch in the making. Settings first, then records in offset order, then [`Builder::finish`].
#[derive(Clone, Debug)]
pub struct Builder {
    header: BatchHeader,
    compression: Compression,
    level: Option<i32>,
    log_append_time: Option<i64>,
    next_offset: i64,
    last_offset: Option<i64>,
    payload: Vec<u8>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// An empty, uncompressed batch with CreateTime and without producer, starting at offset 0.
    pub fn new() -> Self {
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            leader_epoch: NO_LEADER_EPOCH,
            magic: 2,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: -1,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            count: 0,
        };
        Self {
            header,
            compression: Compression::None,
            level: None,
            log_append_time: None,
            next_offset: 0,
            last_offset: None,
            payload: Vec::new(),
        }
    }

    #[must_use]
    pub fn base_offset(mut self, base_offset: i64) -> Self {
        self.header.base_offset = base_offset;
        self.next_offset = base_offset;
        self
    }

    #[must_use]
    pub fn leader_epoch(mut self, leader_epoch: i32) -> Self {
        self.header.leader_epoch = leader_epoch;
        self
    }

    /// `level` as KIP-390 counts it for the codec; `None` is the codec's default.
    #[must_use]
    pub fn compression(mut self, compression: Compression, level: Option<i32>) -> Self {
        (self.compression, self.level) = (compression, level);
        self
    }

    /// Stamps the batch with the broker's clock instead of the producer's.
    #[must_use]
    pub fn log_append_time(mut self, now_ms: i64) -> Self {
        self.log_append_time = Some(now_ms);
        self
    }

    #[must_use]
    pub fn producer(mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = producer_id;
        self.header.producer_epoch = producer_epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    #[must_use]
    pub fn transactional(mut self, on: bool) -> Self {
        self.header.attributes = self.header.attributes.with_transactional(on);
        self
    }

    #[must_use]
    pub fn control(mut self, on: bool) -> Self {
        self.header.attributes = self.header.attributes.with_control(on);
        self
    }

    /// When tombstones in this batch may go (KIP-534); it takes the place of the base timestamp.
    #[must_use]
    pub fn delete_horizon_ms(mut self, horizon_ms: i64) -> Self {
        self.header.attributes = self.header.attributes.with_delete_horizon(true);
        self.header.base_timestamp = horizon_ms;
        self
    }

    /// Ends the batch at this offset though later records are missing: compaction keeps the range of
    /// a batch, so that sequences and offsets stay covered.
    #[must_use]
    pub fn last_offset(mut self, last_offset: i64) -> Self {
        self.last_offset = Some(last_offset);
        self
    }

    /// Appends a record at the next offset.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), BuildError> {
        self.append_at(self.next_offset, timestamp, key, value, headers.iter().copied())
    }

    /// Appends a record at `offset`, which may leave a gap behind the record before.
    pub fn append_at<'h>(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = Header<'h>> + Clone,
    ) -> Result<(), BuildError> {
        let offset_delta = self.offset_delta(offset)?;
        let timestamp_delta = self.timestamp_delta(timestamp)?;
        let size = record_size(timestamp_delta, offset_delta, key, value, headers.clone());
        if size > i32::MAX as usize - self.size_estimate() {
            return Err(BuildError::TooLarge { max: i32::MAX as usize });
        }
        if self.header.count == 0 && !self.header.attributes.has_delete_horizon() {
            self.header.base_timestamp = timestamp;
        }
        let out = &mut self.payload;
        varint::write_i32(out, size as i32);
        out.push(0);
        varint::write_i64(out, timestamp_delta);
        varint::write_i32(out, offset_delta);
        write_bytes(out, key);
        write_bytes(out, value);
        varint::write_i32(out, headers.len() as i32);
        for header in headers {
            write_bytes(out, Some(header.key));
            write_bytes(out, header.value);
        }
        self.header.count += 1;
        self.header.last_offset_delta = offset_delta;
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        self.next_offset = offset + 1;
        Ok(())
    }

    pub fn count(&self) -> i32 {
        self.header.count
    }

    pub fn is_empty(&self) -> bool {
        self.header.count == 0
    }

    /// Offset that [`Builder::append`] gives to the next record.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Bytes of the finished batch before compression.
    pub fn size_estimate(&self) -> usize {
        HEADER_SIZE + self.payload.len()
    }

    /// The finished batch.
    pub fn finish(mut self) -> Result<Vec<u8>, BuildError> {
        if let Some(last_offset) = self.last_offset {
            self.header.last_offset_delta = self.offset_delta_to(last_offset)?;
        }
        let attributes = self.header.attributes.with_compression(self.compression);
        self.header.attributes = attributes;
        if let Some(now_ms) = self.log_append_time {
            self.header.attributes = attributes.with_timestamp_type(TimestampType::LogAppendTime);
            self.header.max_timestamp = now_ms;
        }
        let mut out = vec![0; HEADER_SIZE];
        match self.compression {
            Compression::None => out.append(&mut self.payload),
            compression => compression::compress(compression, self.level, &self.payload, &mut out)?,
        }
        self.header.batch_length = i32::try_from(out.len() - LENGTH_PREFIX_SIZE)
            .map_err(|_| BuildError::TooLarge { max: i32::MAX as usize })?;
        let header = self.header.sealed(&out[HEADER_SIZE..]);
        out[..HEADER_SIZE].copy_from_slice(&header);
        Ok(out)
    }

    fn offset_delta(&self, offset: i64) -> Result<i32, BuildError> {
        if offset < self.next_offset { Err(self.offset_error(offset)) } else { self.offset_delta_to(offset) }
    }

    fn offset_delta_to(&self, offset: i64) -> Result<i32, BuildError> {
        offset
            .checked_sub(self.header.base_offset)
            .and_then(|delta| i32::try_from(delta).ok())
            .filter(|&delta| delta >= self.header.last_offset_delta)
            .ok_or_else(|| self.offset_error(offset))
    }

    fn offset_error(&self, offset: i64) -> BuildError {
        let (base_offset, next_offset) = (self.header.base_offset, self.next_offset);
        BuildError::Offset { offset, base_offset, next_offset }
    }

    fn timestamp_delta(&self, timestamp: i64) -> Result<i64, BuildError> {
        if self.header.count == 0 && !self.header.attributes.has_delete_horizon() {
            return Ok(0);
        }
        let base_timestamp = self.header.base_timestamp;
        timestamp.checked_sub(base_timestamp).ok_or(BuildError::Timestamp { timestamp, base_timestamp })
    }
}

/// Bytes of a record behind its length.
fn record_size<'h>(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl ExactSizeIterator<Item = Header<'h>>,
) -> usize {
    let fixed = 1 + varint::size_i64(timestamp_delta) + varint::size_i32(offset_delta);
    let count = varint::size_i32(headers.len() as i32);
    let headers: usize = headers.map(|header| bytes_size(Some(header.key)) + bytes_size(header.value)).sum();
    fixed + bytes_size(key) + bytes_size(value) + count + headers
}

fn bytes_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::size_i32(bytes.len() as i32) + bytes.len())
}

fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return varint::write_i32(out, -1) };
    varint::write_i32(out, bytes.len() as i32);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
#[path = "builder_test.rs"]
mod tests;
