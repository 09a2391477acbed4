//! What a leader checks in the batch that it is about to append, and what it must change.
//!
//! The order and the answers are those of Apache Kafka 4.3.1. Two things are deliberately different
//! and have a page in `docs/adr` (0017): a compressed batch that needs no change is judged by its header
//! where the header can answer ([`Inner::WhenNeeded`]), and records whose offset deltas do not count
//! up from 0 are renumbered in every batch, not only in compressed ones.
//!
//! Absent: producer sequences and epochs, which the log compares with what it holds.

mod inner;
mod rewrite;
mod transaction;

use std::borrow::Cow;

use milena_protocol::ErrorCode;
use milena_protocol::records::compression;
use milena_protocol::records::{Batch, BatchError, Compression, Limits, TimestampType};

use crate::config::topic;
use crate::metadata::image::is_internal_topic;
use inner::Walk;
pub use transaction::may_be_transactional;

/// Errors of single records that one answer carries at most; a batch may hold a hundred thousand
/// records, all of them wrong.
pub const RECORD_ERRORS_MAX: usize = 1000;

/// The first Produce version whose clients know zstd (KIP-110).
const ZSTD_VERSION_MIN: i16 = 7;

/// What a topic demands of its batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub compression: Target,
    pub timestamp_type: TimestampType,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    pub message_bytes_max: i32,
    /// Compaction needs a key in each record.
    pub compacted: bool,
    pub inner: Inner,
    /// What a compressed batch may unpack to, where it must be unpacked.
    pub unpack: Limits,
}

impl From<&topic::Settings> for Rules {
    fn from(settings: &topic::Settings) -> Self {
        Self {
            compression: Target::from(settings.compression),
            timestamp_type: match settings.message_timestamp_type {
                topic::TimestampType::CreateTime => TimestampType::CreateTime,
                topic::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            },
            timestamp_before_max_ms: settings.message_timestamp_before_max_ms,
            timestamp_after_max_ms: settings.message_timestamp_after_max_ms,
            message_bytes_max: settings.max_message_bytes,
            compacted: settings.cleanup.compact,
            inner: Inner::WhenNeeded,
            unpack: Limits::default(),
        }
    }
}

/// `compression.type` of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// As the producer chose.
    Producer,
    Codec {
        compression: Compression,
        /// `None` is the codec's default.
        level: Option<i32>,
    },
}

impl From<topic::Compression> for Target {
    fn from(setting: topic::Compression) -> Self {
        let (compression, level) = match setting {
            topic::Compression::Producer => return Self::Producer,
            topic::Compression::Uncompressed => (Compression::None, None),
            topic::Compression::Gzip(-1) => (Compression::Gzip, None),
            topic::Compression::Gzip(level) => (Compression::Gzip, Some(level)),
            topic::Compression::Snappy => (Compression::Snappy, None),
            topic::Compression::Lz4(level) => (Compression::Lz4, Some(level)),
            topic::Compression::Zstd(level) => (Compression::Zstd, Some(level)),
        };
        Self::Codec { compression, level }
    }
}

/// When the records inside a compressed batch are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Inner {
    /// Where a rule needs them: compacted topics (keys), a bound on old timestamps, another codec, and
    /// a header that does not pass by itself. Otherwise the header's word is taken for the record count,
    /// the maximum timestamp and the offset deltas, and a payload that does not unpack is the
    /// consumer's to find.
    #[default]
    WhenNeeded,
    /// In every batch, as Apache Kafka does.
    Always,
}

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A Produce request of this version.
    Client { produce_version: i16 },
    /// This broker's own coordinators, which also write control batches.
    Coordinator,
}

/// What to do with the batch. In each accepted form the header's `max_timestamp` is the true one (or
/// the producer's word, see [`Inner`]), so that the log takes it from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Append the bytes; only base offset and leader epoch change.
    AsSent,
    /// Append the bytes with this time as the batch's.
    Stamp { log_append_time: i64 },
    /// Append these bytes instead; they carry the append time already where the topic has it.
    Rewritten(Vec<u8>),
    Rejected {
        error: ErrorCode,
        /// Index of a record in the batch, and what is wrong with it; ascending, at most
        /// [`RECORD_ERRORS_MAX`].
        record_errors: Vec<(i32, String)>,
        message: String,
    },
}

/// Judges the records that one partition of a request carries.
///
/// `batches` is the field as it came. More than one batch is refused; an incomplete batch behind the
/// first is dropped, as Kafka does.
///
/// Source: KIP-98, KIP-390, KIP-467, KIP-937.
pub fn validate(batches: &[u8], rules: &Rules, origin: Origin, now_ms: i64) -> Verdict {
    judge(batches, rules, origin, now_ms).unwrap_or_else(|rejection| Verdict::Rejected {
        error: rejection.error,
        record_errors: rejection.record_errors,
        message: rejection.message,
    })
}

fn judge(batches: &[u8], rules: &Rules, origin: Origin, now_ms: i64) -> Result<Verdict, Rejection> {
    let (batch, is_alone) = only_batch(batches)?;
    if let Origin::Client { produce_version } = origin {
        check_request(&batch, produce_version)?;
    }
    check_size(batch.size_bytes(), rules)?;
    batch.verify_crc().map_err(|error| Rejection::new(ErrorCode::CorruptMessage, error))?;
    let source = batch
        .attributes
        .compression()
        .map_err(|error| Rejection::new(ErrorCode::UnsupportedCompressionType, error))?;
    if matches!(origin, Origin::Client { .. }) {
        check_client_batch(&batch)?;
    }

    let (target, level) = target(&batch, source, rules);
    if source == target && source != Compression::None && header_suffices(&batch, rules, now_ms) {
        return Ok(rewrite::accept(&batch, batch.max_timestamp, is_alone, rules, now_ms));
    }
    let payload = unpack(&batch, source, rules)?;
    let walk = inner::walk(&batch, &payload, rules, now_ms)?;
    if source == target && walk.offsets_count_up {
        return Ok(rewrite::accept(&batch, walk.max_timestamp, is_alone, rules, now_ms));
    }
    let rewritten = rebuild(&batch, &payload, walk, (target, level), rules, now_ms)?;
    check_size(rewritten.len(), rules)?;
    Ok(Verdict::Rewritten(rewritten))
}

/// Whether clients may write to this topic: not where the coordinators keep what only they can read.
///
/// Errors: INVALID_TOPIC_EXCEPTION.
pub fn may_write(topic: &str) -> Result<(), ErrorCode> {
    if is_internal_topic(topic) { Err(ErrorCode::InvalidTopicException) } else { Ok(()) }
}

/// The client id by which Kafka knows its own tools.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// As [`may_write`], for a client that produces: who calls itself an admin client may mend what the coordinators keep.
pub fn may_produce(topic: &str, client_id: &str) -> Result<(), ErrorCode> {
    if client_id == ADMIN_CLIENT_ID { Ok(()) } else { may_write(topic) }
}

/// Why a batch is refused.
#[derive(Debug)]
struct Rejection {
    error: ErrorCode,
    record_errors: Vec<(i32, String)>,
    message: String,
}

impl Rejection {
    fn new(error: ErrorCode, message: impl std::fmt::Display) -> Self {
        Self { error, record_errors: Vec::new(), message: message.to_string() }
    }

    fn invalid(message: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::InvalidRecord, message)
    }
}

/// The one batch of a partition, and whether nothing stands behind it.
fn only_batch(batches: &[u8]) -> Result<(Batch<'_>, bool), Rejection> {
    let (batch, rest) = match Batch::parse(batches) {
        Ok(parsed) => parsed,
        Err(BatchError::Truncated { .. }) => return Err(Rejection::invalid("no whole record batch")),
        Err(error) => return Err(unreadable(error)),
    };
    match Batch::parse(rest) {
        Ok(_) => Err(Rejection::invalid("more than one record batch for a partition")),
        Err(BatchError::Truncated { .. }) => Ok((batch, rest.is_empty())),
        Err(error) => Err(unreadable(error)),
    }
}

fn unreadable(error: BatchError) -> Rejection {
    match error {
        BatchError::OldMagic(_) => Rejection::invalid(error),
        _ => Rejection::new(ErrorCode::CorruptMessage, error),
    }
}

fn check_request(batch: &Batch<'_>, produce_version: i16) -> Result<(), Rejection> {
    if produce_version < ZSTD_VERSION_MIN && batch.attributes.compression() == Ok(Compression::Zstd) {
        let message =
            format!("zstd needs produce version {ZSTD_VERSION_MIN}, the request has {produce_version}");
        return Err(Rejection::new(ErrorCode::UnsupportedCompressionType, message));
    }
    if batch.base_offset != 0 {
        return Err(Rejection::invalid(format_args!(
            "base offset is {} where a producer sends 0",
            batch.base_offset
        )));
    }
    transaction::check(batch)
}

fn check_size(size_bytes: usize, rules: &Rules) -> Result<(), Rejection> {
    let max = rules.message_bytes_max;
    if size_bytes > max.max(0) as usize {
        let message = format!("batch of {size_bytes} bytes exceeds max.message.bytes {max}");
        return Err(Rejection::new(ErrorCode::MessageTooLarge, message));
    }
    Ok(())
}

fn check_client_batch(batch: &Batch<'_>) -> Result<(), Rejection> {
    batch.check_count().map_err(Rejection::invalid)?;
    if batch.attributes.is_control() {
        return Err(Rejection::invalid("clients may not write control batches"));
    }
    if batch.has_producer_id() && batch.base_sequence < 0 {
        let (sequence, producer_id) = (batch.base_sequence, batch.producer_id);
        let message = format!("invalid sequence {sequence} in a batch of producer {producer_id}");
        return Err(Rejection::invalid(message));
    }
    Ok(())
}

/// The codec to store the batch with. Control batches are never compressed on the way.
fn target(batch: &Batch<'_>, source: Compression, rules: &Rules) -> (Compression, Option<i32>) {
    match rules.compression {
        Target::Producer => (source, None),
        Target::Codec { .. } if source == Compression::None && batch.attributes.is_control() => {
            (source, None)
        }
        Target::Codec { compression, level } => (compression, level),
    }
}

/// The header alone shows that no record can break a rule, if the producer wrote it honestly. What it
/// cannot show is asked from the records, which also finds the exact errors.
fn header_suffices(batch: &Batch<'_>, rules: &Rules, now_ms: i64) -> bool {
    if rules.inner == Inner::Always || rules.compacted || batch.timestamp_type() != TimestampType::CreateTime
    {
        return false;
    }
    match rules.timestamp_type {
        TimestampType::LogAppendTime => true,
        // The header has no minimum, so a bound on old records needs them all.
        TimestampType::CreateTime => {
            rules.timestamp_before_max_ms == i64::MAX
                && inner::is_in_bounds(batch.max_timestamp, rules, now_ms)
        }
    }
}

/// The records, unpacked where they are compressed.
fn unpack<'a>(batch: &Batch<'a>, source: Compression, rules: &Rules) -> Result<Cow<'a, [u8]>, Rejection> {
    if source == Compression::None {
        return Ok(Cow::Borrowed(batch.payload()));
    }
    let mut payload = Vec::new();
    compression::decompress(source, batch.payload(), rules.unpack, &mut payload).map_err(|error| {
        let code = match error {
            // Producers answer this by splitting the batch, which helps an honest one.
            compression::Error::Limit { .. } => ErrorCode::MessageTooLarge,
            _ => ErrorCode::InvalidRecord,
        };
        Rejection::new(code, error)
    })?;
    Ok(Cow::Owned(payload))
}

fn rebuild(
    batch: &Batch<'_>,
    payload: &[u8],
    walk: Walk,
    codec: (Compression, Option<i32>),
    rules: &Rules,
    now_ms: i64,
) -> Result<Vec<u8>, Rejection> {
    if walk.offsets_count_up {
        rewrite::recompress(batch, payload, walk.max_timestamp, codec, rules, now_ms)
    } else {
        rewrite::renumber(batch, payload, codec, rules, now_ms)
    }
}

#[cfg(test)]
#[path = "validate_test.rs"]
mod tests;
