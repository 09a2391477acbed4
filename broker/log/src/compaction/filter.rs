//! What stays of one batch.
//!
//! A batch of which everything stays is copied as it is. Otherwise it is built again from the records that stay, with
//! its codec, its offsets, its sequences and its last offset; or, when none stays but its header is still needed, as a
//! batch without records.
//!
//! Source: KIP-98 (aborted data, markers), KIP-534 (delete horizon).

use std::collections::BTreeMap;

use milena_protocol::records::{
    Batch, BatchHeader, Builder, Compression, HEADER_SIZE, LENGTH_PREFIX_SIZE, Limits, NO_TIMESTAMP, Record,
    RecordIter, TimestampType, compression,
};

use super::map::OffsetMap;
use super::transactions::Fates;
use crate::producers::Producers;

/// What a pass goes by, apart from the keys.
#[derive(Debug)]
pub(super) struct Rules {
    pub now_ms: i64,
    pub delete_retention_ms: i64,
    /// The pass ends here. The last batch before it stays, so that its offset is not forgotten.
    pub end_offset: i64,
    pub producers: BTreeMap<i64, LastOfProducer>,
}

/// The batch that remembers a producer's last sequence or, after a new epoch's marker, its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastOfProducer {
    Data { last_offset: i64 },
    Marker { epoch: i16 },
}

impl LastOfProducer {
    pub fn of_all(producers: &Producers) -> BTreeMap<i64, LastOfProducer> {
        let of = |producer: &crate::producers::Producer| match producer.last_batch() {
            Some(batch) => LastOfProducer::Data { last_offset: batch.last_offset },
            None => LastOfProducer::Marker { epoch: producer.epoch },
        };
        producers.iter().map(|(id, producer)| (id, of(producer))).collect()
    }

    fn is(self, batch: &Batch<'_>) -> bool {
        match self {
            LastOfProducer::Data { last_offset } => batch.last_offset() == last_offset,
            LastOfProducer::Marker { epoch } => {
                batch.attributes.is_control() && batch.producer_epoch == epoch
            }
        }
    }
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Whole,
    Nothing,
    Rewritten(Vec<u8>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filtered {
    pub kept: Kept,
    pub records_kept: u64,
    /// Records without a key, from before the topic was compacted: they go.
    pub keyless: u64,
}

impl Filtered {
    fn whole(batch: &Batch<'_>) -> Self {
        Filtered { kept: Kept::Whole, records_kept: records_of(batch), keyless: 0 }
    }
}

/// Records of a batch as its header says.
pub(super) fn records_of(batch: &BatchHeader) -> u64 {
    u64::try_from(batch.count).unwrap_or(0)
}

/// Says what stays of `batch`, which follows those asked about before.
///
/// Errors: in words, when the batch cannot be read or written again.
pub(super) fn filter(
    batch: &Batch<'_>,
    map: &OffsetMap,
    fates: &mut Fates,
    rules: &Rules,
) -> Result<Filtered, String> {
    let is_needed = is_needed(batch, rules);
    if batch.attributes.is_control() {
        return control(batch, fates.is_marker_done(batch), is_needed, rules);
    }
    if fates.is_aborted(batch) {
        return Ok(without_records(batch, is_needed, 0));
    }
    if batch.base_offset > map.latest_offset() {
        // The keys did not fit: the next pass sees to it, its tombstones too.
        return Ok(Filtered::whole(batch));
    }
    data(batch, map, is_needed, rules)
}

/// Everything stays of a batch that was compacted before and is merged. `fates` are told of it all the same: they say which
/// entries the transaction index needs.
pub(super) fn merged(batch: &Batch<'_>, fates: &mut Fates) -> Filtered {
    if batch.attributes.is_control() {
        fates.is_marker_done(batch);
    } else {
        fates.is_aborted(batch);
    }
    Filtered::whole(batch)
}

/// Whether the header stays even without records.
fn is_needed(batch: &Batch<'_>, rules: &Rules) -> bool {
    let is_last_of_producer =
        batch.has_producer_id() && rules.producers.get(&batch.producer_id).is_some_and(|last| last.is(batch));
    is_last_of_producer || batch.next_offset() == rules.end_offset
}

/// A marker that nobody needs stays until readers had the time that tombstones are given.
fn control(batch: &Batch<'_>, is_done: bool, is_needed: bool, rules: &Rules) -> Result<Filtered, String> {
    let horizon_ms = batch.delete_horizon_ms();
    let is_over = is_done && horizon_ms.is_some_and(|horizon_ms| horizon_ms <= rules.now_ms);
    if is_over || batch.count == 0 {
        return Ok(without_records(batch, is_needed, 0));
    }
    if !is_done || horizon_ms.is_some() {
        return Ok(Filtered::whole(batch));
    }
    let records = RecordIter::new(batch.payload(), batch.count).collect::<Result<Vec<_>, _>>();
    let records = records.map_err(|error| error.to_string())?;
    let bytes = built_again(batch, &records, Some(rules.horizon_ms()))?;
    Ok(Filtered { kept: Kept::Rewritten(bytes), records_kept: records.len() as u64, keyless: 0 })
}

fn data(batch: &Batch<'_>, map: &OffsetMap, is_needed: bool, rules: &Rules) -> Result<Filtered, String> {
    let mut unpacked = Vec::new();
    let payload = payload_of(batch, &mut unpacked)?;
    let is_over = batch.delete_horizon_ms().is_some_and(|horizon_ms| horizon_ms <= rules.now_ms);
    let mut kept = Vec::new();
    let (mut keyless, mut has_tombstone) = (0, false);
    for record in RecordIter::new(payload, batch.count) {
        let record = record.map_err(|error| error.to_string())?;
        let Some(key) = record.key else {
            keyless += 1;
            continue;
        };
        let is_latest = map.get(key).is_none_or(|latest| batch.offset_of(&record) >= latest);
        let is_tombstone = record.value.is_none();
        if is_latest && !(is_tombstone && is_over) {
            has_tombstone |= is_tombstone;
            kept.push(record);
        }
    }
    if kept.is_empty() {
        return Ok(without_records(batch, is_needed, keyless));
    }
    let horizon_ms = batch.delete_horizon_ms().or(has_tombstone.then(|| rules.horizon_ms()));
    if kept.len() as u64 == records_of(batch) && horizon_ms == batch.delete_horizon_ms() {
        return Ok(Filtered { keyless, ..Filtered::whole(batch) });
    }
    let bytes = built_again(batch, &kept, horizon_ms)?;
    Ok(Filtered { kept: Kept::Rewritten(bytes), records_kept: kept.len() as u64, keyless })
}

impl Rules {
    /// Tombstones that this pass is the first to see stay until then.
    fn horizon_ms(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }
}

/// The records of a batch, unpacked into `unpacked` if need be.
pub(super) fn payload_of<'a>(batch: &Batch<'a>, unpacked: &'a mut Vec<u8>) -> Result<&'a [u8], String> {
    if !batch.attributes.is_compressed() {
        return Ok(batch.payload());
    }
    let codec = batch.attributes.compression().map_err(|error| error.to_string())?;
    compression::decompress(codec, batch.payload(), Limits::default(), unpacked)
        .map_err(|error| error.to_string())?;
    Ok(unpacked)
}

fn without_records(batch: &Batch<'_>, is_needed: bool, keyless: u64) -> Filtered {
    let kept = match (is_needed, batch.count) {
        (false, _) => Kept::Nothing,
        (true, 0) => Kept::Whole,
        (true, _) => Kept::Rewritten(header_alone(batch.header()).to_vec()),
    };
    Filtered { kept, records_kept: 0, keyless }
}

/// The batch without its records, as Kafka leaves it.
fn header_alone(header: &BatchHeader) -> [u8; HEADER_SIZE] {
    let attributes = header.attributes.with_compression(Compression::None).with_delete_horizon(false);
    let header = BatchHeader {
        batch_length: (HEADER_SIZE - LENGTH_PREFIX_SIZE) as i32,
        attributes,
        base_timestamp: NO_TIMESTAMP,
        count: 0,
        ..*header
    };
    header.sealed(&[])
}

fn built_again(
    batch: &Batch<'_>,
    records: &[Record<'_>],
    horizon_ms: Option<i64>,
) -> Result<Vec<u8>, String> {
    let codec = batch.attributes.compression().map_err(|error| error.to_string())?;
    let mut builder = Builder::new()
        .base_offset(batch.base_offset)
        .leader_epoch(batch.leader_epoch)
        .compression(codec, None)
        .producer(batch.producer_id, batch.producer_epoch, batch.base_sequence)
        .transactional(batch.attributes.is_transactional())
        .control(batch.attributes.is_control())
        .last_offset(batch.last_offset());
    if batch.timestamp_type() == TimestampType::LogAppendTime {
        builder = builder.log_append_time(batch.max_timestamp);
    }
    if let Some(horizon_ms) = horizon_ms {
        builder = builder.delete_horizon_ms(horizon_ms);
    }
    for record in records {
        let (offset, timestamp) = (batch.offset_of(record), batch.timestamp_of(record));
        let appended = builder.append_at(offset, timestamp, record.key, record.value, record.headers);
        appended.map_err(|error| error.to_string())?;
    }
    builder.finish().map_err(|error| error.to_string())
}

#[cfg(test)]
#[path = "filter_test.rs"]
mod tests;
