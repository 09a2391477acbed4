//! Segments: batches, and the records in them.

use std::io::{self, Read};

use milena_protocol::records::control::{ControlType, EndTxnMarker};
use milena_protocol::records::{Batch, HEADER_SIZE, Limits, Record, RecordIter, TimestampType, compression};
use serde_json::{Value, json};

use super::kind::Values;
use super::lines::{Lines, Stop, bytes, unless_none};
use super::metadata;
use crate::time;

/// The dump of one segment.
pub struct Dump<'a> {
    pub lines: &'a mut Lines,
    pub values: Values,
    pub with_records: bool,
}

impl Dump<'_> {
    pub fn run(&mut self, reader: &mut impl Read, size: u64) -> Result<(), Stop> {
        let mut position = 0;
        let mut next_offset = i64::MIN;
        let (mut buffer, mut scratch) = (Vec::new(), Vec::new());
        while position < size {
            let left = size - position;
            read(reader, &mut buffer, left.min(HEADER_SIZE as u64) as usize)?;
            let batch_size = match Batch::peek_size(&buffer) {
                Ok(batch_size) if batch_size as u64 <= left => batch_size,
                Ok(batch_size) => {
                    let reason = format!("a batch of {batch_size} bytes, of which {left} are there");
                    return Ok(self.lines.damage(position, &reason)?);
                }
                Err(error) => return self.tail(reader, &buffer, position, left, &error.to_string()),
            };
            // The size was compared with the file's before memory is taken by it.
            extend(reader, &mut buffer, batch_size)?;
            match Batch::parse(&buffer) {
                Ok((batch, _)) => {
                    self.batch(&batch, position, next_offset, &mut scratch)?;
                    next_offset = batch.next_offset();
                }
                Err(error) => return Ok(self.lines.damage(position, &error.to_string())?),
            }
            position += batch_size as u64;
        }
        Ok(())
    }

    /// What follows the last batch: zeros where space was reserved, otherwise damage.
    fn tail(
        &mut self,
        reader: &mut impl Read,
        read: &[u8],
        position: u64,
        left: u64,
        reason: &str,
    ) -> Result<(), Stop> {
        let mut is_zero = read.iter().all(|byte| *byte == 0);
        let mut buffer = [0; 64 * 1024];
        while is_zero {
            match reader.read(&mut buffer)? {
                0 => {
                    return Ok(self
                        .lines
                        .entry("zeros", &[("position", json!(position)), ("size", json!(left))])?);
                }
                count => is_zero = buffer[..count].iter().all(|byte| *byte == 0),
            }
        }
        Ok(self.lines.damage(position, reason)?)
    }

    fn batch(
        &mut self,
        batch: &Batch<'_>,
        position: u64,
        next_offset: i64,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        let is_create_time = batch.timestamp_type() == TimestampType::CreateTime;
        let flag = |on: bool| if on { json!(true) } else { Value::Null };
        self.lines.entry(
            "batch",
            &[
                ("base_offset", json!(batch.base_offset)),
                ("last_offset", json!(batch.last_offset())),
                ("records", json!(batch.count)),
                ("position", json!(position)),
                ("size", json!(batch.size_bytes())),
                ("leader_epoch", json!(batch.leader_epoch)),
                (
                    "compression",
                    batch.attributes.compression().map_or(Value::Null, |codec| json!(codec.name())),
                ),
                ("max_timestamp", timestamp(batch.max_timestamp)),
                ("timestamp_type", json!(if is_create_time { "CreateTime" } else { "LogAppendTime" })),
                ("producer_id", unless_none(batch.producer_id)),
                ("producer_epoch", unless_none(batch.producer_epoch)),
                ("base_sequence", unless_none(batch.base_sequence)),
                ("last_sequence", unless_none(batch.last_sequence())),
                ("transactional", flag(batch.attributes.is_transactional())),
                ("control", flag(batch.attributes.is_control())),
                ("delete_horizon", batch.delete_horizon_ms().map_or(Value::Null, timestamp)),
                ("crc", json!(format!("{:08x}", batch.crc))),
            ],
        )?;
        if batch.base_offset < next_offset {
            self.lines.damage(
                position,
                &format!("offset {} where {next_offset} or more is due", batch.base_offset),
            )?;
        }
        if let Err(error) = batch.verify_crc() {
            return Ok(self.lines.damage(position, &error.to_string())?);
        }
        if self.with_records || self.values != Values::Plain {
            self.records(batch, position, scratch)?;
        }
        Ok(())
    }

    fn records(&mut self, batch: &Batch<'_>, position: u64, scratch: &mut Vec<u8>) -> Result<(), Stop> {
        let payload = match unpack(batch, scratch) {
            Ok(payload) => payload,
            Err(reason) => return Ok(self.lines.damage(position, &reason)?),
        };
        for record in RecordIter::new(payload, batch.count) {
            match record {
                Ok(record) => self.record(batch, &record)?,
                Err(error) => return Ok(self.lines.damage(position, &error.to_string())?),
            }
        }
        Ok(())
    }

    fn record(&mut self, batch: &Batch<'_>, record: &Record<'_>) -> Result<(), Stop> {
        let offset = ("offset", json!(batch.offset_of(record)));
        let time = ("timestamp", timestamp(batch.timestamp_of(record)));
        if batch.attributes.is_control() {
            let kind =
                ControlType::of(record).map_or_else(|| "unknown".to_owned(), |kind| format!("{kind:?}"));
            let epoch = EndTxnMarker::of_record(record).map(|marker| marker.coordinator_epoch);
            return Ok(self.lines.entry(
                "control",
                &[offset, time, ("type", json!(kind)), ("coordinator_epoch", json!(epoch))],
            )?);
        }
        let known = match self.values {
            Values::Plain => None,
            Values::MetadataLog => metadata::entry(record.value.unwrap_or_default()),
            Values::MetadataSnapshot => metadata::block(record.value.unwrap_or_default()),
        };
        if let Some(mut fields) = known {
            fields.insert(0, offset);
            return Ok(self.lines.entry("entry", &fields)?);
        }
        let size = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        let headers: Vec<Value> =
            record.headers.map(|header| json!([bytes(Some(header.key)), bytes(header.value)])).collect();
        let headers = if headers.is_empty() { Value::Null } else { Value::Array(headers) };
        Ok(self.lines.entry(
            "record",
            &[
                offset,
                time,
                ("key_size", json!(size(record.key))),
                ("value_size", json!(size(record.value))),
                ("headers", headers),
                ("key", bytes(record.key)),
                ("value", bytes(record.value)),
            ],
        )?)
    }
}

fn unpack<'a>(batch: &Batch<'a>, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], String> {
    if !batch.attributes.is_compressed() {
        return Ok(batch.payload());
    }
    let codec = batch.attributes.compression().map_err(|error| error.to_string())?;
    scratch.clear();
    compression::decompress(codec, batch.payload(), Limits::default(), scratch)
        .map_err(|error| error.to_string())?;
    Ok(scratch)
}

fn timestamp(timestamp_ms: i64) -> Value {
    if timestamp_ms < 0 { Value::Null } else { json!(time::format(timestamp_ms)) }
}

fn read(reader: &mut impl Read, buffer: &mut Vec<u8>, size: usize) -> io::Result<()> {
    buffer.clear();
    extend(reader, buffer, size)
}

/// Reads until `buffer` holds `size` bytes.
fn extend(reader: &mut impl Read, buffer: &mut Vec<u8>, size: usize) -> io::Result<()> {
    let filled = buffer.len();
    buffer.resize(size, 0);
    reader.read_exact(&mut buffer[filled..])
}

#[cfg(test)]
#[path = "segment_test.rs"]
mod tests;
