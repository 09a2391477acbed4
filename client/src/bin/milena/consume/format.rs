//! Records as bytes of the output. Appends to one buffer and allocates nothing per record, JSON aside.

use std::io::Write;

use clap::ValueEnum;
use milena_client::consumer::ConsumedRecord;
use milena_protocol::records::{Record, TimestampType};

use super::RecordFormat;
use crate::json::{Blob, Consumed, Header};
use crate::time;

/// What can stand before the value of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Field {
    Timestamp,
    Topic,
    Partition,
    Offset,
    Key,
    Headers,
}

/// How records are shown.
#[derive(Debug)]
pub struct Formatter {
    pub format: RecordFormat,
    pub show: Vec<Field>,
    pub key_separator: Option<Vec<u8>>,
    pub delimiter: Vec<u8>,
    pub null: Vec<u8>,
}

impl Formatter {
    pub fn write(&self, out: &mut Vec<u8>, topic: &str, partition: i32, record: &ConsumedRecord<'_>) {
        match self.format {
            RecordFormat::Raw => out.extend_from_slice(record.record.value.unwrap_or_default()),
            RecordFormat::Text => self.write_text(out, topic, partition, record),
            RecordFormat::Json => write_json(out, topic, partition, record),
        }
        out.extend_from_slice(&self.delimiter);
    }

    fn write_text(&self, out: &mut Vec<u8>, topic: &str, partition: i32, record: &ConsumedRecord<'_>) {
        for field in &self.show {
            match field {
                // Writing to memory cannot fail.
                Field::Timestamp if record.timestamp < 0 => out.extend_from_slice(&self.null),
                Field::Timestamp => out.extend_from_slice(time::format(record.timestamp).as_bytes()),
                Field::Topic => out.extend_from_slice(topic.as_bytes()),
                Field::Partition => drop(write!(out, "{partition}")),
                Field::Offset => drop(write!(out, "{}", record.offset)),
                Field::Key => self.write_bytes(out, record.record.key),
                Field::Headers => self.write_headers(out, &record.record),
            }
            out.push(b'\t');
        }
        if let Some(separator) = &self.key_separator {
            self.write_bytes(out, record.record.key);
            out.extend_from_slice(separator);
        }
        self.write_bytes(out, record.record.value);
    }

    fn write_bytes(&self, out: &mut Vec<u8>, bytes: Option<&[u8]>) {
        out.extend_from_slice(bytes.unwrap_or(&self.null));
    }

    /// `name=value,name=value`.
    fn write_headers(&self, out: &mut Vec<u8>, record: &Record<'_>) {
        for (index, header) in record.headers.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(header.key);
            out.push(b'=');
            self.write_bytes(out, header.value);
        }
    }
}

fn write_json(out: &mut Vec<u8>, topic: &str, partition: i32, record: &ConsumedRecord<'_>) {
    let headers = record.record.headers;
    let shown = Consumed {
        topic,
        partition,
        offset: record.offset,
        timestamp: (record.timestamp >= 0).then_some(record.timestamp),
        timestamp_type: match record.timestamp_type {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        },
        key: record.record.key.map(Blob::of),
        value: record.record.value.map(Blob::of),
        headers: headers
            .map(|header| Header { key: Blob::of(header.key), value: header.value.map(Blob::of) })
            .collect(),
    };
    serde_json::to_writer(&mut *out, &shown).expect("strings and numbers can be written to memory");
}

#[cfg(test)]
mod tests {
    use milena_protocol::records::{self, Batch, Builder};

    use super::*;

    /// What is written of one record with key `k`, value null or `v`, and a header.
    fn written(formatter: &Formatter, value: Option<&[u8]>) -> String {
        let mut builder = Builder::new();
        let header = records::Header { key: b"h", value: Some(b"x") };
        builder.append(1_000_000_000_123, Some(b"k"), value, &[header]).expect("it fits");
        let bytes = builder.finish().expect("it can be built");
        let (batch, _) = Batch::parse(&bytes).expect("it can be read");
        let record = batch.records().expect("not compressed").next().expect("one").expect("sound");
        let timestamp = batch.timestamp_of(&record);
        let consumed =
            ConsumedRecord { offset: 7, timestamp, timestamp_type: TimestampType::CreateTime, record };
        let mut out = Vec::new();
        formatter.write(&mut out, "t", 2, &consumed);
        String::from_utf8(out).expect("text")
    }

    fn formatter(format: RecordFormat) -> Formatter {
        Formatter {
            format,
            show: Vec::new(),
            key_separator: None,
            delimiter: b"\n".to_vec(),
            null: b"NULL".to_vec(),
        }
    }

    #[test]
    fn text_shows_what_was_asked_for_in_that_order() {
        assert_eq!(written(&formatter(RecordFormat::Text), Some(b"v")), "v\n");
        let keyed = Formatter { key_separator: Some(b": ".to_vec()), ..formatter(RecordFormat::Text) };
        assert_eq!(written(&keyed, None), "k: NULL\n");
        let show =
            vec![Field::Topic, Field::Offset, Field::Partition, Field::Timestamp, Field::Headers, Field::Key];
        let all = Formatter { show, ..formatter(RecordFormat::Text) };
        assert_eq!(written(&all, Some(b"v")), "t\t7\t2\t2001-09-09T01:46:40.123Z\th=x\tk\tv\n");
    }

    #[test]
    fn raw_is_values_and_the_delimiter() {
        let raw = Formatter { delimiter: b"\0".to_vec(), ..formatter(RecordFormat::Raw) };
        assert_eq!(written(&raw, Some(b"v")), "v\0");
        assert_eq!(written(&raw, None), "\0");
    }

    #[test]
    fn json_is_one_object_per_line() {
        let expected = concat!(
            r#"{"topic":"t","partition":2,"offset":7,"timestamp":1000000000123,"timestamp_type":"CreateTime","#,
            r#""key":"k","value":null,"headers":[{"key":"h","value":"x"}]}"#,
            "\n"
        );
        assert_eq!(written(&formatter(RecordFormat::Json), None), expected);
    }
}
