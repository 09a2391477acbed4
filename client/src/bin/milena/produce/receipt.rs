//! What became of the records: counted by partition, the first failure kept.

use std::collections::VecDeque;

use milena_client::producer::{Delivery, RecordMetadata};
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::output;

/// Deliveries in the order of sending. How many are open is bounded by the producer's memory.
#[derive(Default)]
pub struct Receipts {
    open: VecDeque<Delivery>,
    partitions: Vec<Written>,
}

/// Records of one partition.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    records: u64,
    first_offset: Option<i64>,
    last_offset: Option<i64>,
}

impl Written {
    fn add(&mut self, record: &RecordMetadata) {
        self.records += 1;
        self.first_offset = self.first_offset.or(record.offset);
        self.last_offset = record.offset.or(self.last_offset);
    }
}

impl Receipts {
    pub fn expect(&mut self, delivery: Delivery) {
        self.open.push_back(delivery);
    }

    /// Counts what is known. Errors: the first record that is not stored; those behind it stay open.
    pub fn settle(&mut self) -> Result<()> {
        while let Some(result) = self.open.front().and_then(Delivery::result) {
            self.open.pop_front();
            let record = result.map_err(Error::Client)?;
            let index = usize::try_from(record.partition).unwrap_or_default();
            if self.partitions.len() <= index {
                self.partitions.resize(index + 1, Written::default());
            }
            self.partitions[index].add(&record);
        }
        Ok(())
    }

    /// Records by partition. Without any there is no table; JSON always says so, unless there is an error to say it.
    pub fn show(&self, context: &Context, topic: &str, failed: bool) -> Result<()> {
        if self.partitions.is_empty() && (failed || !context.is_json()) {
            return Ok(());
        }
        let written = self.partitions.iter().enumerate().filter(|(_, written)| written.records > 0);
        if context.is_json() {
            let partitions = written.map(|(partition, written)| {
                json!({
                    "partition": partition,
                    "records": written.records,
                    "first_offset": written.first_offset,
                    "last_offset": written.last_offset,
                })
            });
            return output::json(&json!({ "topic": topic, "partitions": partitions.collect::<Vec<_>>() }));
        }
        let rows = written.map(|(partition, written)| {
            let offsets = [written.first_offset, written.last_offset].map(output::or_dash);
            let [first, last] = offsets;
            vec![partition.to_string(), written.records.to_string(), first, last]
        });
        output::table(&["PARTITION", "RECORDS", "FIRST OFFSET", "LAST OFFSET"], &rows.collect::<Vec<_>>())
    }
}
