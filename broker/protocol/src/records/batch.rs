//! One batch as bytes: the 61 byte header, the checks that cost nothing, and runs of batches.
//!
//! Parsing checks lengths and the magic byte, not the CRC: the log and the replicas parse far more
//! often than they must verify. Nothing here allocates.

use std::ops::Deref;

use super::compression::{self, Compression};
use super::crc::crc32c;
use super::record::{Record, RecordError, RecordIter};

/// Bytes of a batch header, base offset and length included.
pub const HEADER_SIZE: usize = 61;
/// Base offset and batch length: what the length field does not count.
pub const LENGTH_PREFIX_SIZE: usize = 12;
/// The first byte that the CRC covers (attributes); what stands before it may change freely.
const CRC_START: usize = 21;
const MAGIC_POSITION: usize = 16;

pub const NO_TIMESTAMP: i64 = -1;
pub const NO_PRODUCER_ID: i64 = -1;
pub const NO_PRODUCER_EPOCH: i16 = -1;
pub const NO_SEQUENCE: i32 = -1;
pub const NO_LEADER_EPOCH: i32 = -1;

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("batch ends early: needs {needed} bytes, has {available}")]
    Truncated { needed: usize, available: usize },
    #[error("batch length {length} is smaller than a header")]
    TooSmall { length: i32 },
    /// The message formats before 2017, which Kafka 4 no longer reads either.
    #[error("message format with magic {0} is not supported any more")]
    OldMagic(i8),
    #[error("unknown magic {0}")]
    UnknownMagic(i8),
    #[error("crc mismatch: stored {stored:#010x}, computed {computed:#010x}")]
    Crc { stored: u32, computed: u32 },
    #[error("unknown compression codec {0}")]
    UnknownCompression(u8),
    #[error("record count {count} does not match last offset delta {last_offset_delta}")]
    Count { count: i32, last_offset_delta: i32 },
    #[error("record {index}: {error}")]
    Record { index: i32, error: RecordError },
    #[error("{left} bytes left behind the last of {count} records")]
    TrailingBytes { count: i32, left: usize },
    #[error(transparent)]
    Decompress(#[from] compression::Error),
}

/// Whose clock the timestamps of a batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    #[default]
    CreateTime,
    LogAppendTime,
}

/// The 16 attribute bits of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION_MASK: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The codec bits; 5 to 7 mean nothing.
    pub fn compression(self) -> Result<Compression, BatchError> {
        let code = (self.0 & Self::COMPRESSION_MASK) as u8;
        Compression::from_code(code).ok_or(BatchError::UnknownCompression(code))
    }

    pub fn is_compressed(self) -> bool {
        self.0 & Self::COMPRESSION_MASK != 0
    }

    pub fn timestamp_type(self) -> TimestampType {
        match self.0 & Self::LOG_APPEND_TIME {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !Self::COMPRESSION_MASK | i16::from(compression.code()))
    }

    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(Self::LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppendTime)
    }

    #[must_use]
    pub fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    #[must_use]
    pub fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    #[must_use]
    pub fn with_delete_horizon(self, on: bool) -> Self {
        self.with(Self::DELETE_HORIZON, on)
    }

    fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// All fields of a batch header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes behind this field: the batch without its first [`LENGTH_PREFIX_SIZE`] bytes.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; not covered by the CRC.
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: Attributes,
    /// Offset of the last record minus the base offset; also the last sequence minus the base one.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas count from; the delete horizon where that bit is set.
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
}

impl BatchHeader {
    pub fn from_bytes(bytes: &[u8; HEADER_SIZE]) -> Self {
        Self {
            base_offset: i64::from_be_bytes(part(bytes, 0)),
            batch_length: i32::from_be_bytes(part(bytes, 8)),
            leader_epoch: i32::from_be_bytes(part(bytes, 12)),
            magic: i8::from_be_bytes(part(bytes, MAGIC_POSITION)),
            crc: u32::from_be_bytes(part(bytes, 17)),
            attributes: Attributes(i16::from_be_bytes(part(bytes, CRC_START))),
            last_offset_delta: i32::from_be_bytes(part(bytes, 23)),
            base_timestamp: i64::from_be_bytes(part(bytes, 27)),
            max_timestamp: i64::from_be_bytes(part(bytes, 35)),
            producer_id: i64::from_be_bytes(part(bytes, 43)),
            producer_epoch: i16::from_be_bytes(part(bytes, 51)),
            base_sequence: i32::from_be_bytes(part(bytes, 53)),
            count: i32::from_be_bytes(part(bytes, 57)),
        }
    }

    pub fn to_bytes(&self) -> [u8; HEADER_SIZE] {
        let mut out = [0; HEADER_SIZE];
        out[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.leader_epoch.to_be_bytes());
        out[16..17].copy_from_slice(&self.magic.to_be_bytes());
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.count.to_be_bytes());
        out
    }

    /// The header with the CRC that belongs to it and `payload`.
    pub fn sealed(mut self, payload: &[u8]) -> [u8; HEADER_SIZE] {
        let mut out = self.to_bytes();
        self.crc = crc32c(&[&out[CRC_START..], payload]);
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out
    }

    /// Offset of the last record. Wraps on a hostile header, which a debug build would otherwise
    /// turn into a panic; the log assigns base offsets itself and never gets there.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Offset of the record that follows the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// Sequence of the last record; sequences go from `i32::MAX` back to 0.
    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence {
            NO_SEQUENCE => NO_SEQUENCE,
            base => sequence_add(base, self.last_offset_delta),
        }
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// When tombstones and markers in the batch may go (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    pub fn offset_of(&self, record: &Record<'_>) -> i64 {
        self.base_offset.wrapping_add(i64::from(record.offset_delta))
    }

    /// When the record was made or, in a batch with LogAppendTime, appended.
    pub fn timestamp_of(&self, record: &Record<'_>) -> i64 {
        match self.timestamp_type() {
            TimestampType::CreateTime => self.base_timestamp.wrapping_add(record.timestamp_delta),
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }

    /// Bytes of the whole batch.
    pub fn size_bytes(&self) -> usize {
        LENGTH_PREFIX_SIZE + self.batch_length.max(0) as usize
    }

    /// Every offset of the batch has its record, which holds for what a producer sends and no longer
    /// for what compaction leaves.
    pub fn check_count(&self) -> Result<(), BatchError> {
        let (count, last_offset_delta) = (self.count, self.last_offset_delta);
        if last_offset_delta < 0 || count <= 0 || last_offset_delta != count - 1 {
            return Err(BatchError::Count { count, last_offset_delta });
        }
        Ok(())
    }
}

/// `sequence` moved on by `delta`, from `i32::MAX` on to 0.
pub fn sequence_add(sequence: i32, delta: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(delta);
    (sum & i64::from(i32::MAX)) as i32
}

/// A batch, borrowed from the bytes it was read from. Header fields and methods are reached through
/// the batch itself: `batch.base_offset`, `batch.last_offset()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl Deref for Batch<'_> {
    type Target = BatchHeader;

    fn deref(&self) -> &BatchHeader {
        &self.header
    }
}

impl<'a> Batch<'a> {
    /// The first batch of `bytes`, and what follows it.
    ///
    /// Errors: [`BatchError::Truncated`] when the bytes end before the batch does, which in a Fetch
    /// response or at the end of a file is not damage. The CRC is not looked at.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        let size = Self::peek_size(bytes)?;
        if bytes.len() < size {
            return Err(BatchError::Truncated { needed: size, available: bytes.len() });
        }
        let (bytes, rest) = bytes.split_at(size);
        let header = bytes.first_chunk().expect("a batch has at least a header");
        Ok((Self { header: BatchHeader::from_bytes(header), bytes }, rest))
    }

    /// Bytes of the batch that starts here, after checking its length and magic. Needs the first 17
    /// bytes only, so that a reader knows how much to fetch.
    pub fn peek_size(bytes: &[u8]) -> Result<usize, BatchError> {
        if bytes.len() <= MAGIC_POSITION {
            return Err(BatchError::Truncated { needed: HEADER_SIZE, available: bytes.len() });
        }
        match bytes[MAGIC_POSITION] as i8 {
            2 => {}
            old @ 0..=1 => return Err(BatchError::OldMagic(old)),
            unknown => return Err(BatchError::UnknownMagic(unknown)),
        }
        let length = i32::from_be_bytes(part(bytes, 8));
        if length < (HEADER_SIZE - LENGTH_PREFIX_SIZE) as i32 {
            return Err(BatchError::TooSmall { length });
        }
        Ok(LENGTH_PREFIX_SIZE + length as usize)
    }

    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header: the records, compressed or not.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_SIZE..]
    }

    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let (stored, computed) = (self.crc, crc32c(&[&self.bytes[CRC_START..]]));
        if stored == computed { Ok(()) } else { Err(BatchError::Crc { stored, computed }) }
    }

    /// The header that a leader stores: with its offset and epoch and, in a topic with LogAppendTime,
    /// with that time as maximum and the bit that says so. Only the latter changes what the CRC
    /// covers, so only then the payload is read.
    pub fn patched_header(
        &self,
        base_offset: i64,
        leader_epoch: i32,
        log_append_time: Option<i64>,
    ) -> [u8; HEADER_SIZE] {
        let mut header = BatchHeader { base_offset, leader_epoch, ..self.header };
        let Some(now_ms) = log_append_time else { return header.to_bytes() };
        header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        header.max_timestamp = now_ms;
        header.sealed(self.payload())
    }

    /// The records of an uncompressed batch; a compressed one is decompressed first and walked with
    /// [`RecordIter::new`].
    pub fn records(&self) -> Option<RecordIter<'a>> {
        (!self.attributes.is_compressed()).then(|| RecordIter::new(self.payload(), self.count))
    }
}

/// The batches of a run of bytes, in order. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
    truncation_allowed: bool,
}

impl<'a> Batches<'a> {
    /// All bytes must be whole batches.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, truncation_allowed: false }
    }

    /// The last batch may be cut, as in a Fetch response or at the end of a segment after a crash; it
    /// is then left in [`Batches::rest`].
    pub fn maybe_truncated(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, truncation_allowed: true }
    }

    /// Bytes not yet walked.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Batch::parse(self.rest) {
            Ok((batch, rest)) => {
                self.rest = rest;
                Some(Ok(batch))
            }
            Err(BatchError::Truncated { .. }) if self.truncation_allowed => None,
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

impl std::iter::FusedIterator for Batches<'_> {}

fn part<const N: usize>(bytes: &[u8], start: usize) -> [u8; N] {
    *bytes[start..].first_chunk().expect("the caller checked the length")
}

#[cfg(test)]
#[path = "batch_test.rs"]
mod tests;
