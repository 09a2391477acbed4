//! Plays on our log what `golden/CleanerHistory.java` played on Apache Kafka's, and compares the segments and
//! transaction indexes after each pass, byte for byte, with those that Kafka's cleaner left.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_log::compaction::{OffsetMap, Settings};
use milena_log::memory_files::MemoryFiles;
use milena_log::producers::Origin;
use milena_log::{AppendAs, Config, Directory, Log};
use support::{FOLDER, NAME, NOW_MS, keyed, open_directory};

fn config() -> Arc<Config> {
    Arc::new(Config {
        segment_bytes: 1_500,
        segment_ms: i64::MAX,
        index_interval_bytes: 300,
        compact: true,
        delete: false,
        producer_id_expiration_ms: i64::MAX,
        compaction: Settings { delete_retention_ms: 10_000, ..Settings::default() },
        ..Config::default()
    })
}

fn golden(seed: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/cleaner-{seed}"))
}

type Contents = BTreeMap<String, Vec<u8>>;

/// The files of a pass as Kafka left them: for each a line of name and size, and its bytes.
fn kafkas(folder: &Path, now_ms: i64) -> Contents {
    let bytes = std::fs::read(folder.join(format!("after-{now_ms}.bin"))).expect("golden");
    let (mut rest, mut contents) = (&bytes[..], Contents::new());
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').expect("a line");
        let line = std::str::from_utf8(&rest[..end]).expect("text");
        let (name, size) = line.split_once(' ').expect("name and size");
        let (file, behind) = rest[end + 1..].split_at(size.parse().expect("a number"));
        contents.insert(name.to_owned(), file.to_vec());
        rest = behind;
    }
    contents
}

fn ours(files: &MemoryFiles) -> Contents {
    let mut contents = Contents::new();
    for path in files.paths_below(&Path::new(FOLDER).join(NAME)) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
        let bytes = files.contents(&path);
        if !bytes.is_empty() && (name.ends_with(".log") || name.ends_with(".txnindex")) {
            contents.insert(name, bytes);
        }
    }
    contents
}

fn append(log: &mut Log, origin: &str, batch: &[u8], end_offset: i64) {
    let origin = match origin {
        "CLIENT" => Origin::Client,
        _ => Origin::Coordinator { transaction_version: 0 },
    };
    let append_as = AppendAs::Leader { leader_epoch: 0, log_append_time: None, origin };
    log.append(batch, append_as, NOW_MS).expect("Kafka took it");
    assert_eq!(log.log_end_offset(), end_offset);
}

/// Numbers are time, first dirty offset, first uncleanable offset, end of what was cleaned, clean and cleanable bytes.
fn clean(log: &mut Log, directory: &Directory, numbers: &[i64], context: &str) {
    log.sync().expect("memory");
    directory.checkpoint().expect("memory");
    log.high_watermark_reached(log.log_end_offset());
    let stable_offset = log.last_stable_offset();
    let mut view = log.compaction_view(stable_offset).expect("compacted");
    let dirty = view.status().expect("readable").dirty(numbers[0]);
    let (clean_bytes, cleanable_bytes) = (dirty.clean_bytes as i64, dirty.cleanable_bytes as i64);
    let range = [dirty.first_dirty_offset, dirty.end_offset];
    assert_eq!(range, numbers[1..3], "{context}");
    assert_eq!([clean_bytes, cleanable_bytes], numbers[4..6], "{context}");
    let map = OffsetMap::new(1 << 16, 0.9);
    let pass = log.begin_compaction(dirty, map, 1 << 14, numbers[0]).expect("dirty");
    let report = keyed::finish(log, pass).expect("cleanable");
    assert_eq!(report.cleaned_upto, numbers[3], "{context}");
}

fn play(seed: u32) {
    let folder = golden(seed);
    let text = std::fs::read_to_string(folder.join("history.txt")).expect("golden");
    let batches = std::fs::read(folder.join("batches.bin")).expect("golden");
    let mut batches = &batches[..];
    let files = MemoryFiles::new();
    let directory = open_directory(&files).expect("memory");
    let (mut log, _) = Log::open(&directory, NAME, config(), NOW_MS).expect("memory");
    let mut passes = 0;
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let numbers: Vec<i64> = words.iter().skip(1).filter_map(|word| word.parse().ok()).collect();
        match words[0] {
            "append" => {
                let (batch, rest) = batches.split_at(numbers[0] as usize);
                append(&mut log, words[1], batch, numbers[1]);
                batches = rest;
            }
            "roll" => log.roll(NOW_MS).expect("memory"),
            _ => {
                clean(&mut log, &directory, &numbers, line);
                passes += 1;
                let (ours, kafkas) = (ours(&files), kafkas(&folder, numbers[0]));
                assert_eq!(ours.keys().collect::<Vec<_>>(), kafkas.keys().collect::<Vec<_>>(), "{line}");
                for (name, bytes) in &kafkas {
                    assert!(ours[name] == *bytes, "{line}: {name} differs");
                }
            }
        }
    }
    assert!(passes >= 4, "{passes}");
}

#[test]
fn first_history_is_cleaned_to_kafkas_bytes() {
    play(1);
}

#[test]
fn second_history_is_cleaned_to_kafkas_bytes() {
    play(2);
}
