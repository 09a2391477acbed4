//! Record batches against those that Kafka's own classes made (`tests/golden/make Batches`).

use std::fmt::Write;
use std::io::Read;

use milena_protocol::records::control::{ControlType, EndTxnMarker};
use milena_protocol::records::{
    Batch, BatchHeader, Builder, Compression, Limits, Record, RecordIter, TimestampType, compression,
};

/// One line of the golden file: a batch and what Kafka's reader says about it.
struct Golden {
    name: String,
    bytes: Vec<u8>,
    header: String,
    records: Vec<String>,
}

impl Golden {
    fn batch(&self) -> Batch<'_> {
        let (batch, rest) = Batch::parse(&self.bytes).unwrap();
        assert!(rest.is_empty(), "{}", self.name);
        batch
    }
}

fn golden() -> Vec<Golden> {
    let packed = include_bytes!("golden/batches-4.3.1.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .expect("the golden file is sound");
    text.lines().map(parse_line).collect()
}

fn parse_line(line: &str) -> Golden {
    let mut columns = line.split('\t').map(str::to_owned);
    let mut column = || columns.next().expect("three columns before the records");
    let (name, bytes, header) = (column(), column(), column());
    let byte = |i: usize| u8::from_str_radix(&bytes[i..i + 2], 16).expect("hex");
    let bytes = (0..bytes.len()).step_by(2).map(byte).collect();
    Golden { name, bytes, header, records: columns.collect() }
}

fn find<'g>(golden: &'g [Golden], name: &str) -> &'g Golden {
    golden.iter().find(|golden| golden.name == name).unwrap_or_else(|| panic!("no golden batch {name}"))
}

fn payload_of(batch: &Batch<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    let codec = batch.attributes.compression().unwrap();
    compression::decompress(codec, batch.payload(), Limits::default(), &mut payload).unwrap();
    payload
}

fn describe_header(header: &BatchHeader) -> String {
    let flag = |on: bool, name| if on { name } else { "" };
    format!(
        "offsets {}-{} epoch {} codec {} time {} base {} max {} producer {}/{} sequence {}-{}{}{} horizon {} count {}",
        header.base_offset,
        header.last_offset(),
        header.leader_epoch,
        header.attributes.compression().unwrap(),
        if header.timestamp_type() == TimestampType::CreateTime { "create" } else { "append" },
        header.base_timestamp,
        header.max_timestamp,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.last_sequence(),
        flag(header.attributes.is_transactional(), " transactional"),
        flag(header.attributes.is_control(), " control"),
        header.delete_horizon_ms().map_or("none".to_owned(), |horizon| horizon.to_string()),
        header.count,
    )
}

fn describe_record(header: &BatchHeader, record: &Record<'_>) -> String {
    let (offset, timestamp) = (header.offset_of(record), header.timestamp_of(record));
    let mut out = format!("{offset}@{timestamp} {}={}", hex(record.key), hex(record.value));
    for header in record.headers {
        write!(out, " {}:{}", hex(Some(header.key)), hex(header.value)).unwrap();
    }
    out
}

/// Hex of a key or value, or length and CRC32 of a long one.
fn hex(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    if bytes.len() > 64 {
        return format!("{}#{:x}", bytes.len(), crc_fast::crc32_iso_hdlc(bytes));
    }
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

#[test]
fn headers_and_records_read_as_kafka_reads_them() {
    let golden = golden();
    assert_eq!(golden.len(), 31);
    for golden in &golden {
        let batch = golden.batch();
        batch.verify_crc().unwrap();
        assert_eq!(describe_header(&batch), golden.header, "{}", golden.name);
        assert_eq!(batch.to_bytes(), golden.bytes[..61], "{}", golden.name);
        let payload = payload_of(&batch);
        let records: Vec<String> = RecordIter::new(&payload, batch.count)
            .map(|record| describe_record(&batch, &record.unwrap()))
            .collect();
        assert!(records == golden.records, "records of {}", golden.name);
    }
}

#[test]
fn every_codec_unpacks_to_the_same_records() {
    let golden = golden();
    for (prefix, plain) in [("small-", "small-none"), ("large-", "large-none"), ("level-", "large-none")] {
        let plain = payload_of(&find(&golden, plain).batch());
        for other in golden.iter().filter(|golden| golden.name.starts_with(prefix)) {
            assert!(payload_of(&other.batch()) == plain, "{}", other.name);
        }
    }
}

/// Reads a batch and builds it again from what was read.
fn rebuild(batch: &Batch<'_>) -> Vec<u8> {
    let header = batch.header();
    let mut builder = Builder::new()
        .base_offset(header.base_offset)
        .leader_epoch(header.leader_epoch)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(header.attributes.is_transactional())
        .control(header.attributes.is_control())
        .last_offset(header.last_offset());
    if header.timestamp_type() == TimestampType::LogAppendTime {
        builder = builder.log_append_time(header.max_timestamp);
    }
    if let Some(horizon) = header.delete_horizon_ms() {
        builder = builder.delete_horizon_ms(horizon);
    }
    for record in batch.records().expect("an uncompressed batch") {
        let record = record.unwrap();
        // Deltas count from the producer's clock also where the broker's is shown.
        let timestamp = header.base_timestamp + record.timestamp_delta;
        builder
            .append_at(header.offset_of(&record), timestamp, record.key, record.value, record.headers)
            .unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn uncompressed_batches_are_built_byte_for_byte() {
    let golden = golden();
    let plain = golden.iter().filter(|golden| !golden.batch().attributes.is_compressed());
    // A batch that compaction emptied keeps a maximum timestamp that no record gives it.
    for golden in plain.filter(|golden| golden.name != "no-records") {
        assert!(rebuild(&golden.batch()) == golden.bytes, "{}", golden.name);
    }
}

#[test]
fn compressed_sizes_are_near_kafkas() {
    let golden = golden();
    let plain = payload_of(&find(&golden, "large-none").batch());
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let theirs = find(&golden, &format!("large-{codec}")).batch().payload().len();
        let mut ours = Vec::new();
        compression::compress(codec, None, &plain, &mut ours).unwrap();
        // Same format and level: sizes within a quarter of each other, or a level is not what it says.
        assert!(
            ours.len() * 4 < theirs * 5 && theirs * 4 < ours.len() * 5,
            "{codec}: {} {theirs}",
            ours.len()
        );
    }
}

#[test]
fn frame_headers_are_kafkas() {
    let golden = golden();
    let plain = payload_of(&find(&golden, "small-none").batch());
    for (codec, size) in [(Compression::Gzip, 8), (Compression::Snappy, 16), (Compression::Lz4, 7)] {
        let theirs = find(&golden, &format!("small-{codec}"));
        let mut ours = Vec::new();
        compression::compress(codec, None, &plain, &mut ours).unwrap();
        assert_eq!(ours[..size], theirs.batch().payload()[..size], "{codec}");
    }
}

#[test]
fn transaction_markers_are_kafkas_bytes() {
    let golden = golden();
    for (name, committed) in [("marker-commit", true), ("marker-abort", false)] {
        let theirs = find(&golden, name);
        let batch = theirs.batch();
        let marker = EndTxnMarker { committed, coordinator_epoch: 77 };
        assert_eq!(EndTxnMarker::of(&batch), Some(marker));
        let ours = marker.batch(4714, 6, 8, 1_700_000_000_123).unwrap();
        let ours = Batch::parse(&ours).unwrap().0;
        let stored = [&ours.patched_header(30, 8, None), ours.payload()].concat();
        assert!(stored == theirs.bytes, "{name}");
    }
}

#[test]
fn control_types_are_told_by_their_key() {
    let golden = golden();
    for (name, kind) in [
        ("marker-abort", ControlType::Abort),
        ("marker-commit", ControlType::Commit),
        ("leader-change", ControlType::LeaderChange),
        ("snapshot-header", ControlType::SnapshotHeader),
        ("snapshot-footer", ControlType::SnapshotFooter),
        ("kraft-version", ControlType::KRaftVersion),
    ] {
        let batch = find(&golden, name).batch();
        let record = batch.records().unwrap().next().unwrap().unwrap();
        assert_eq!(ControlType::of(&record), Some(kind));
        assert_eq!(record.key, Some(kind.key().as_slice()));
    }
    assert_eq!(EndTxnMarker::of(&find(&golden, "leader-change").batch()), None);
    assert_eq!(EndTxnMarker::of(&find(&golden, "small-none").batch()), None);
}
