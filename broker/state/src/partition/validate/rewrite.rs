//! The accepted batch in the form that is stored.

use milena_protocol::ErrorCode;
use milena_protocol::records::compression;
use milena_protocol::records::{
    Batch, BatchHeader, BuildError, Builder, Compression, HEADER_SIZE, LENGTH_PREFIX_SIZE, RecordIter,
    TimestampType,
};

use super::{Rejection, Rules, Verdict};

/// A batch whose payload stays: as sent where that is possible, else with a header put right.
pub(super) fn accept(
    batch: &Batch<'_>,
    max_timestamp: i64,
    is_alone: bool,
    rules: &Rules,
    now_ms: i64,
) -> Verdict {
    let header = stored_header(batch, max_timestamp, rules, now_ms);
    match rules.timestamp_type {
        TimestampType::LogAppendTime if is_alone => Verdict::Stamp { log_append_time: now_ms },
        TimestampType::CreateTime if is_alone && header == *batch.header() => Verdict::AsSent,
        // A wrong maximum would mislead the time index and retention, and what stands behind the batch
        // is no batch.
        _ => Verdict::Rewritten([&header.sealed(batch.payload()), batch.payload()].concat()),
    }
}

/// The same records under another codec. Base timestamp, producer fields and flags stay.
pub(super) fn recompress(
    batch: &Batch<'_>,
    payload: &[u8],
    max_timestamp: i64,
    (codec, level): (Compression, Option<i32>),
    rules: &Rules,
    now_ms: i64,
) -> Result<Vec<u8>, Rejection> {
    let mut out = Vec::with_capacity(HEADER_SIZE + payload.len() / 2);
    out.resize(HEADER_SIZE, 0);
    compression::compress(codec, level, payload, &mut out).map_err(not_built)?;
    let mut header = stored_header(batch, max_timestamp, rules, now_ms);
    header.attributes = header.attributes.with_compression(codec);
    header.batch_length = i32::try_from(out.len() - LENGTH_PREFIX_SIZE)
        .map_err(|_| Rejection::new(ErrorCode::MessageTooLarge, "batch exceeds 2 GiB"))?;
    let sealed = header.sealed(&out[HEADER_SIZE..]);
    out[..HEADER_SIZE].copy_from_slice(&sealed);
    Ok(out)
}

/// The records with the offset deltas 0, 1, 2 …: some clients number them wrongly, and a log whose
/// offsets do not count up cannot be read by offset.
pub(super) fn renumber(
    batch: &Batch<'_>,
    payload: &[u8],
    (codec, level): (Compression, Option<i32>),
    rules: &Rules,
    now_ms: i64,
) -> Result<Vec<u8>, Rejection> {
    let mut builder = Builder::new()
        .compression(codec, level)
        .producer(batch.producer_id, batch.producer_epoch, batch.base_sequence)
        .transactional(batch.attributes.is_transactional())
        .control(batch.attributes.is_control());
    if rules.timestamp_type == TimestampType::LogAppendTime {
        builder = builder.log_append_time(now_ms);
    }
    for record in RecordIter::new(payload, batch.count) {
        let record = record.map_err(Rejection::invalid)?;
        let (offset, timestamp) = (builder.next_offset(), batch.timestamp_of(&record));
        builder
            .append_at(offset, timestamp, record.key, record.value, record.headers)
            .map_err(|error| not_built(&error))?;
    }
    builder.finish().map_err(|error: BuildError| not_built(&error))
}

fn stored_header(batch: &Batch<'_>, max_timestamp: i64, rules: &Rules, now_ms: i64) -> BatchHeader {
    let mut header = *batch.header();
    header.attributes = header.attributes.with_timestamp_type(rules.timestamp_type);
    header.max_timestamp = match rules.timestamp_type {
        TimestampType::CreateTime => max_timestamp,
        TimestampType::LogAppendTime => now_ms,
    };
    header
}

fn not_built(error: impl std::fmt::Display) -> Rejection {
    Rejection::invalid(error)
}
