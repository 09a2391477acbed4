//! Record batches as values: made from a description, good or damaged, and described again when fetched.
//!
//! A description is a list of batches. Each has `values` (text or null) and, where wanted, `keys`, `codec`,
//! `producer` `[id, epoch, sequence]`, `time` (added to now) or `at` (absolute), `base` (offset), `headers`,
//! `repeat` (how often each value is repeated), `transactional`, `control`, `append_time`, and `damage`,
//! one of the names in [`harm`].

use milena_protocol::records::crc::crc32c;
use milena_protocol::records::{
    Batch, Batches, Builder, Compression, Header, Limits, RecordIter, compression,
};
use serde_json::{Value, json};

use crate::wire::readable;

pub fn encode(description: &Value, now_ms: i64) -> Vec<u8> {
    let Some(batches) = description.as_array() else { return Vec::new() };
    batches.iter().flat_map(|batch| one(batch, now_ms)).collect()
}

fn one(batch: &Value, now_ms: i64) -> Vec<u8> {
    let codec = batch["codec"].as_str().map_or(Compression::None, |name| name.parse().expect("a codec"));
    let mut builder =
        Builder::new().compression(codec, None).base_offset(batch["base"].as_i64().unwrap_or(0));
    if let Some([id, epoch, sequence]) = batch["producer"].as_array().map(Vec::as_slice) {
        let number = |value: &Value| value.as_i64().unwrap_or(-1);
        builder = builder.producer(number(id), number(epoch) as i16, number(sequence) as i32);
    }
    builder = builder.transactional(batch["transactional"] == true).control(batch["control"] == true);
    if batch["append_time"] == true {
        builder = builder.log_append_time(now_ms);
    }
    let time = batch["at"].as_i64().unwrap_or_else(|| now_ms + batch["time"].as_i64().unwrap_or(0));
    let repeat = batch["repeat"].as_u64().unwrap_or(1) as usize;
    for (index, value) in batch["values"].as_array().into_iter().flatten().enumerate() {
        let value = value.as_str().map(|text| text.repeat(repeat));
        let key = batch["keys"][index].as_str();
        let header = batch["headers"].as_str().map(|name| Header { key: name.as_bytes(), value: Some(b"h") });
        let headers: Vec<Header<'_>> = header.into_iter().collect();
        let (key, value) = (key.map(str::as_bytes), value.as_deref().map(str::as_bytes));
        builder.append(time, key, value, &headers).expect("room in a batch");
    }
    let mut bytes = builder.finish().expect("a batch");
    if let Some(name) = batch["damage"].as_str() {
        harm(name, &mut bytes);
    }
    bytes
}

/// Places in a batch: the fields that damage changes.
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const COUNT: usize = 57;
const RECORDS: usize = 61;

fn harm(name: &str, bytes: &mut Vec<u8>) {
    match name {
        "crc" => bytes[CRC] ^= 0xff,
        "magic 0" => bytes[MAGIC] = 0,
        "magic 1" => bytes[MAGIC] = 1,
        "magic 3" => bytes[MAGIC] = 3,
        "magic -1" => bytes[MAGIC] = 0xff,
        "cut" => bytes.truncate(bytes.len() - 1),
        "header only" => bytes.truncate(LENGTH + 4),
        "half a header" => bytes.truncate(MAGIC),
        "length 0" => bytes[LENGTH..LENGTH + 4].fill(0),
        "length -1" => bytes[LENGTH..LENGTH + 4].fill(0xff),
        "length huge" => bytes[LENGTH..LENGTH + 4].copy_from_slice(&i32::MAX.to_be_bytes()),
        "trailing" => bytes.push(0),
        "count +1" => sealed(bytes, |bytes| bytes[COUNT + 3] += 1),
        "count -1" => sealed(bytes, |bytes| bytes[COUNT..COUNT + 4].fill(0xff)),
        "count 0" => sealed(bytes, |bytes| bytes[COUNT..COUNT + 4].fill(0)),
        "delta +1" => sealed(bytes, |bytes| bytes[LAST_OFFSET_DELTA + 3] += 1),
        "delta -1" => sealed(bytes, |bytes| bytes[LAST_OFFSET_DELTA..LAST_OFFSET_DELTA + 4].fill(0xff)),
        "codec 5" => sealed(bytes, |bytes| bytes[ATTRIBUTES + 1] |= 5),
        "codec 7" => sealed(bytes, |bytes| bytes[ATTRIBUTES + 1] |= 7),
        "gzip that is none" => sealed(bytes, |bytes| bytes[ATTRIBUTES + 1] |= 1),
        "record length" => sealed(bytes, |bytes| bytes[RECORDS] += 2),
        "record garbage" => sealed(bytes, |bytes| bytes[RECORDS..].fill(0xff)),
        "horizon" => sealed(bytes, |bytes| bytes[ATTRIBUTES + 1] |= 0x40),
        "unused bits" => sealed(bytes, |bytes| bytes[ATTRIBUTES] |= 0x40),
        other => panic!("no damage is named {other}"),
    }
}

/// Damage that the checksum covers, with the right checksum.
fn sealed(bytes: &mut [u8], change: impl Fn(&mut [u8])) {
    change(bytes);
    let crc = crc32c(&[&bytes[ATTRIBUTES..]]);
    bytes[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
}

/// Sizes are absent: two encoders may compress differently.
pub fn decode(bytes: &[u8]) -> Value {
    let mut out = Vec::new();
    for batch in Batches::new(bytes) {
        let Ok(batch) = batch else {
            // A fetch may end within a batch, where the limit of its size falls.
            out.push(json!("a part of a batch"));
            break;
        };
        out.push(describe(&batch));
    }
    Value::Array(out)
}

fn describe(batch: &Batch<'_>) -> Value {
    let limits = Limits { bytes_max: 64 << 20, ratio_max: usize::MAX };
    let codec = batch.attributes.compression().unwrap_or_default();
    let mut unpacked = Vec::new();
    let payload = match codec {
        Compression::None => batch.payload(),
        codec => match compression::decompress(codec, batch.payload(), limits, &mut unpacked) {
            Ok(()) => unpacked.as_slice(),
            Err(error) => return json!({"damaged": error.to_string()}),
        },
    };
    let records: Vec<Value> = RecordIter::new(payload, batch.count)
        .map(|record| match record {
            Ok(record) => json!([record.offset_delta, record.key.map(readable), record.value.map(short)]),
            Err(error) => json!(error.to_string()),
        })
        .collect();
    json!({
        "BaseOffset": batch.base_offset,
        "LastOffsetDelta": batch.last_offset_delta,
        "PartitionLeaderEpoch": batch.leader_epoch,
        "Attributes": batch.attributes.0,
        "MaxTimestamp": batch.max_timestamp,
        "ProducerId": batch.producer_id,
        "ProducerEpoch": batch.producer_epoch,
        "BaseSequence": batch.base_sequence,
        "Records": records,
    })
}

/// Long values are told apart by their length and first bytes.
fn short(value: &[u8]) -> Value {
    if value.len() <= 64 { readable(value) } else { json!([value.len(), readable(&value[..16])]) }
}
