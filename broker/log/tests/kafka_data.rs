//! Reads a data directory that Apache Kafka 4.3.1 wrote and left by a clean stop: every record, both
//! isolation levels, and each kind of file beside the segments. `golden/make-data-dir` makes it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_log::checkpoint;
use milena_log::directory::Options;
use milena_log::leader_epochs::LeaderEpochs;
use milena_log::{Config, Directory, Log, Read, RealFiles, producer_snapshot, transaction_index};
use milena_protocol::records::compression::decompress;
use milena_protocol::records::{Batch, Batches, Limits, Record, RecordIter, TimestampType};

const NOW_MS: i64 = 1_800_000_000_000;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/broker")
}

fn copied_data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&golden().join("data"), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("writable");
        }
    }
}

fn open(directory: &Arc<Directory>, name: &str) -> Log {
    let config = Config { producer_id_expiration_ms: i64::MAX, retention_ms: None, ..Config::default() };
    let (log, opened) = Log::open(directory, name, Arc::new(config), NOW_MS).expect("a readable log");
    assert_eq!(opened.recovered_bytes, 0, "{name}: a clean stop needs no recovery");
    assert_eq!(opened.truncated_bytes, 0, "{name}");
    log
}

fn open_directory(folder: &Path) -> Arc<Directory> {
    Directory::open(Arc::new(RealFiles), folder, Options::default()).expect("a usable folder")
}

fn hex(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "null".into(),
        Some(bytes) => format!("x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

fn line(topic: &str, batch: &Batch<'_>, record: &Record<'_>) -> String {
    let timestamp = match batch.timestamp_type() {
        TimestampType::LogAppendTime => batch.max_timestamp,
        TimestampType::CreateTime => batch.base_timestamp + record.timestamp_delta,
    };
    let offset = batch.base_offset + i64::from(record.offset_delta);
    let (key, value) = (hex(record.key), hex(record.value));
    let mut line = format!("{topic} {offset} {timestamp} {} {key} {value}", batch.leader_epoch);
    for header in record.headers {
        line += &format!(" {}={}", String::from_utf8_lossy(header.key), hex(header.value));
    }
    line
}

/// Everything in `from..upto`, as a consumer prints it, without the records of `aborted` producers.
fn consume(topic: &str, log: &mut Log, upto_offset: i64, committed: bool) -> Vec<String> {
    let from_offset = log.log_start_offset();
    let aborted = if committed {
        log.aborted_transactions(from_offset, upto_offset).expect("readable")
    } else {
        Vec::new()
    };
    let mut lines = Vec::new();
    let mut next_offset = from_offset;
    loop {
        let read = Read {
            from_offset: next_offset,
            upto_offset,
            max_bytes: 1 << 20,
            min_one_batch: true,
            hot_only: false,
        };
        let Some(slice) = log.read(read).expect("readable") else { return lines };
        let bytes = slice.read().expect("readable");
        for batch in Batches::new(&bytes) {
            let batch = batch.expect("whole batches");
            batch.verify_crc().expect("as Kafka wrote it");
            next_offset = batch.next_offset();
            let is_aborted = batch.attributes.is_transactional()
                && aborted.iter().any(|aborted| {
                    aborted.producer_id == batch.producer_id
                        && (aborted.first_offset..=aborted.last_offset).contains(&batch.base_offset)
                });
            if batch.attributes.is_control() || is_aborted {
                continue;
            }
            let codec = batch.attributes.compression().expect("as Kafka wrote it");
            let mut payload = Vec::new();
            decompress(codec, batch.payload(), Limits::default(), &mut payload).expect("as Kafka wrote it");
            for record in RecordIter::new(&payload, batch.count) {
                lines.push(line(topic, &batch, &record.expect("as Kafka wrote it")));
            }
        }
    }
}

/// Lines of a topic, and the end offset that the consumer saw.
fn expected(file: &str, topic: &str) -> (Vec<String>, i64) {
    let text = fs::read_to_string(golden().join(file)).expect("a golden file");
    let of_topic = text.lines().filter(|line| line.starts_with(&format!("{topic} ")));
    let (ends, lines): (Vec<&str>, Vec<&str>) =
        of_topic.partition(|line| line.starts_with(&format!("{topic} end ")));
    let end = ends[0].rsplit(' ').next().and_then(|end| end.parse().ok()).expect("an end offset");
    (lines.into_iter().map(str::to_owned).collect(), end)
}

#[test]
fn every_record_is_read_as_kafkas_consumer_reads_it() {
    let folder = copied_data();
    let directory = open_directory(folder.path());
    for topic in ["codecs", "stamped", "segments", "transactions"] {
        let mut log = open(&directory, &format!("{topic}-0"));
        let (all, end) = expected("all.txt", topic);
        assert_eq!(log.log_end_offset(), end, "{topic}");
        assert_eq!(consume(topic, &mut log, end, false), all, "{topic}");

        let (committed, stable) = expected("committed.txt", topic);
        log.high_watermark_reached(end);
        assert_eq!(log.last_stable_offset(), stable, "{topic}");
        assert_eq!(consume(topic, &mut log, stable, true), committed, "{topic}");
    }
}

#[test]
fn the_directory_tells_its_identity_and_its_clean_stop() {
    let folder = copied_data();
    let directory = open_directory(folder.path());
    let identity = directory.identity().expect("Kafka wrote meta.properties");
    assert_eq!(identity.node_id, 1);
    assert!(directory.clean_stop().is_some());
    let mut found: Vec<String> = directory
        .list()
        .expect("readable")
        .into_iter()
        .map(|found| {
            assert!(found.topic_id.is_some(), "{} has partition.metadata", found.name);
            found.name
        })
        .collect();
    found.sort();
    assert_eq!(found, ["codecs-0", "segments-0", "stamped-0", "transactions-0"]);
}

#[test]
fn a_directory_without_its_clean_stop_is_recovered_to_the_same_records() {
    let folder = copied_data();
    fs::remove_file(folder.path().join(".kafka_cleanshutdown")).expect("Kafka wrote it");
    fs::remove_file(folder.path().join("recovery-point-offset-checkpoint")).expect("Kafka wrote it");
    let directory = open_directory(folder.path());
    for topic in ["codecs", "stamped", "segments", "transactions"] {
        let config = Config { producer_id_expiration_ms: i64::MAX, retention_ms: None, ..Config::default() };
        let name = format!("{topic}-0");
        let (mut log, opened) =
            Log::open(&directory, &name, Arc::new(config), NOW_MS).expect("a readable log");
        assert!(opened.recovered_bytes > 0, "{topic}: nothing vouches for it");
        assert_eq!(opened.truncated_bytes, 0, "{topic}");
        let (committed, stable) = expected("committed.txt", topic);
        let end = log.log_end_offset();
        log.high_watermark_reached(end);
        assert_eq!(log.last_stable_offset(), stable, "{topic}");
        assert_eq!(consume(topic, &mut log, stable, true), committed, "{topic}");
    }
}

/// Damages the transaction index of the golden log; whoever reads with `read_committed` must not notice.
fn damaged_transaction_index(damage: impl Fn(&Path), crashed: bool) {
    let folder = copied_data();
    if crashed {
        fs::remove_file(folder.path().join(".kafka_cleanshutdown")).expect("Kafka wrote it");
        fs::remove_file(folder.path().join("recovery-point-offset-checkpoint")).expect("Kafka wrote it");
        for snapshot in files_below(folder.path(), ".snapshot") {
            fs::remove_file(snapshot).expect("Kafka wrote it");
        }
    }
    let index = files_below(&folder.path().join("transactions-0"), ".txnindex");
    assert_eq!(index.len(), 1);
    damage(&index[0]);
    let directory = open_directory(folder.path());
    let config = Config { producer_id_expiration_ms: i64::MAX, retention_ms: None, ..Config::default() };
    let (mut log, _) =
        Log::open(&directory, "transactions-0", Arc::new(config), NOW_MS).expect("a readable log");
    let (committed, stable) = expected("committed.txt", "transactions");
    let end = log.log_end_offset();
    log.high_watermark_reached(end);
    assert_eq!(consume("transactions", &mut log, stable, true), committed);
}

#[test]
fn a_damaged_transaction_index_is_made_again() {
    let change = |path: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let mut contents = fs::read(path).expect("readable");
        change(&mut contents);
        fs::write(path, contents).expect("writable");
    };
    for crashed in [true, false] {
        damaged_transaction_index(|path| change(path, &|contents| contents.truncate(50)), crashed);
        damaged_transaction_index(|path| change(path, &|contents| contents[1] = 7), crashed);
        damaged_transaction_index(|path| change(path, &|contents| contents.extend([0; 34])), crashed);
        damaged_transaction_index(|path| change(path, &|contents| contents[34..].fill(0)), crashed);
    }
    damaged_transaction_index(|path| fs::remove_file(path).expect("there"), true);
    damaged_transaction_index(|path| change(path, &|contents| contents.truncate(34)), true);
}

/// Files of the golden folders whose names end so.
fn files_ending(suffix: &str) -> Vec<PathBuf> {
    files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"), suffix)
}

fn files_below(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(suffix) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no file ends with {suffix}");
    found
}

#[test]
fn producer_snapshots_are_read_and_written_alike() {
    for path in files_ending(".snapshot") {
        let bytes = fs::read(&path).expect("readable");
        let mut entries = producer_snapshot::decode(&bytes).expect("Kafka wrote it");
        // Kafka's order is that of its hash map; ours is by id.
        let encoded = producer_snapshot::encode(entries.iter().map(|(id, producer)| (*id, producer)));
        assert!(encoded == bytes, "{}", path.display());
        entries.sort_by_key(|(id, _)| *id);
        entries.dedup_by_key(|(id, _)| *id);
        let again = producer_snapshot::encode(entries.iter().map(|(id, producer)| (*id, producer)));
        assert_eq!(again.len(), bytes.len(), "{}", path.display());
    }
}

#[test]
fn transaction_indexes_are_read_and_written_alike() {
    for path in files_ending(".txnindex") {
        let bytes = fs::read(&path).expect("readable");
        let name = path.file_stem().and_then(|name| name.to_str()).expect("Kafka's names are text");
        let base_offset = name.parse().expect("an offset");
        let entries = transaction_index::decode(&bytes, base_offset).expect("Kafka wrote it");
        assert_eq!(transaction_index::encode(&entries), bytes, "{}", path.display());
    }
}

#[test]
fn text_files_are_read_and_written_alike() {
    for path in files_ending("leader-epoch-checkpoint") {
        let text = fs::read_to_string(&path).expect("readable");
        let epochs = LeaderEpochs::parse(&text).expect("Kafka wrote it");
        assert_eq!(epochs.to_text(), text, "{}", path.display());
    }
    for path in files_ending("-offset-checkpoint") {
        let offsets = checkpoint::read_offsets(&RealFiles, &path).expect("Kafka wrote it");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let copy = folder.path().join("copy");
        let entries = offsets.iter().map(|((topic, partition), offset)| (&**topic, *partition, *offset));
        checkpoint::write_offsets(&RealFiles, &copy, entries).expect("writable");
        let sorted = |path: &Path| {
            let text = fs::read_to_string(path).expect("readable");
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&copy), sorted(&path), "{}", path.display());
    }
}
