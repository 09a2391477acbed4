//! The walk over the records of a batch: what each of them must have.

use milena_protocol::ErrorCode;
use milena_protocol::records::{Batch, NO_TIMESTAMP, Record, RecordIter, TimestampType, skim};

use super::{RECORD_ERRORS_MAX, Rejection, Rules};

/// What the records of an acceptable batch say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walk {
    /// The latest timestamp, `NO_TIMESTAMP` when no record has one.
    pub max_timestamp: i64,
    /// The offset deltas are 0, 1, 2 ….
    pub offsets_count_up: bool,
}

/// Checks every record, and that the payload holds as many as the header says.
///
/// Nearly every batch is sound, so a first walk looks only whether it is. What it does not like is walked again,
/// record by record, to name what is wrong.
pub(super) fn walk(batch: &Batch<'_>, payload: &[u8], rules: &Rules, now_ms: i64) -> Result<Walk, Rejection> {
    match look(batch, payload, rules, now_ms) {
        Some(walk) => Ok(walk),
        None => examine(batch, payload, rules, now_ms),
    }
}

/// The walk over a payload without any fault; `None` when there is one.
fn look(batch: &Batch<'_>, payload: &[u8], rules: &Rules, now_ms: i64) -> Option<Walk> {
    if batch.timestamp_type() != TimestampType::CreateTime {
        return None;
    }
    let low = now_ms.saturating_sub(rules.timestamp_before_max_ms);
    let high = now_ms.saturating_add(rules.timestamp_after_max_ms);
    let any_time = rules.timestamp_type != TimestampType::CreateTime;
    let mut walk = Walk { max_timestamp: NO_TIMESTAMP, offsets_count_up: true };
    let mut is_sound = true;
    let is_whole = skim(payload, batch.count, |index, record| {
        let timestamp = batch.base_timestamp.wrapping_add(record.timestamp_delta);
        let is_in_time = any_time || (low..=high).contains(&timestamp) || timestamp == NO_TIMESTAMP;
        is_sound &= is_in_time & (record.has_key | !rules.compacted);
        walk.max_timestamp = walk.max_timestamp.max(timestamp);
        walk.offsets_count_up &= record.offset_delta == index;
    });
    (is_whole && is_sound).then_some(walk)
}

/// The same walk for a payload that may be at fault: every field is read, and each fault is told.
fn examine(batch: &Batch<'_>, payload: &[u8], rules: &Rules, now_ms: i64) -> Result<Walk, Rejection> {
    let mut walk = Walk { max_timestamp: NO_TIMESTAMP, offsets_count_up: true };
    let mut faults = Faults::default();
    for (index, record) in (0..).zip(RecordIter::new(payload, batch.count)) {
        let record = record.map_err(Rejection::invalid)?;
        let timestamp = batch.timestamp_of(&record);
        if let Some(fault) = find_fault(batch, &record, timestamp, rules, now_ms) {
            faults.add(index, fault, rules, now_ms);
        }
        walk.max_timestamp = walk.max_timestamp.max(timestamp);
        walk.offsets_count_up &= record.offset_delta == index;
    }
    faults.finish().map_or(Ok(walk), Err)
}

/// Whether a record may have this timestamp. Wide arithmetic, because both ends come from outside.
pub(super) fn is_in_bounds(timestamp: i64, rules: &Rules, now_ms: i64) -> bool {
    let age = i128::from(now_ms) - i128::from(timestamp);
    timestamp == NO_TIMESTAMP
        || (age <= i128::from(rules.timestamp_before_max_ms)
            && -age <= i128::from(rules.timestamp_after_max_ms))
}

enum Fault {
    NoKey,
    Timestamp(i64),
    TimestampType,
}

fn find_fault(
    batch: &Batch<'_>,
    record: &Record<'_>,
    timestamp: i64,
    rules: &Rules,
    now_ms: i64,
) -> Option<Fault> {
    if rules.compacted && record.key.is_none() {
        return Some(Fault::NoKey);
    }
    if rules.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
        return (!is_in_bounds(timestamp, rules, now_ms)).then_some(Fault::Timestamp(timestamp));
    }
    (batch.timestamp_type() == TimestampType::LogAppendTime).then_some(Fault::TimestampType)
}

/// The faults found so far.
#[derive(Default)]
struct Faults {
    count: usize,
    has_timestamp: bool,
    errors: Vec<(i32, String)>,
}

impl Faults {
    fn add(&mut self, index: i32, fault: Fault, rules: &Rules, now_ms: i64) {
        self.count += 1;
        self.has_timestamp |= !matches!(fault, Fault::NoKey);
        if self.errors.len() < RECORD_ERRORS_MAX {
            self.errors.push((index, describe(fault, rules, now_ms)));
        }
    }

    /// One bad timestamp makes it a matter of timestamps, whatever else is wrong.
    fn finish(self) -> Option<Rejection> {
        let Self { count, has_timestamp, errors: record_errors } = self;
        if count == 0 {
            return None;
        }
        let (error, message) = if has_timestamp {
            (ErrorCode::InvalidTimestamp, format!("{count} records rejected, some for their timestamp"))
        } else {
            (ErrorCode::InvalidRecord, format!("{count} records rejected for a missing key"))
        };
        Some(Rejection { error, record_errors, message })
    }
}

fn describe(fault: Fault, rules: &Rules, now_ms: i64) -> String {
    match fault {
        Fault::NoKey => "a compacted topic takes no record without a key".to_owned(),
        Fault::Timestamp(timestamp) => {
            let low = now_ms.saturating_sub(rules.timestamp_before_max_ms);
            let high = now_ms.saturating_add(rules.timestamp_after_max_ms);
            format!("timestamp {timestamp} is outside {low} to {high}")
        }
        Fault::TimestampType => "a producer may not set the timestamp type LogAppendTime".to_owned(),
    }
}

#[cfg(test)]
#[path = "inner_test.rs"]
mod tests;
