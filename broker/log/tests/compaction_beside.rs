//! What happens beside a pass: appends, rolls, readers and lookups without the lock; and a pass on a real disk.

mod support;

use std::sync::Arc;

use milena_log::compaction::{Failure, Progress};
use milena_log::directory::Options;
use milena_log::memory_files::MemoryFiles;
use milena_log::{Directory, Log, Read, RealFiles};
use milena_protocol::records::{Batches, Compression};
use support::keyed::{self, append, batch, compact, records, settle};
use support::{NAME, NOW_MS, open_directory};

fn filled(directory: &Directory, log: &mut Log) {
    for round in 0..10 {
        for key in ["a", "b", "c", "d"] {
            let value = format!("the value of round {round}");
            append(log, &batch(&[(key, Some(&value))], Compression::None));
        }
    }
    settle(log, directory).expect("memory");
}

fn log() -> (MemoryFiles, Arc<Directory>, Log) {
    let files = MemoryFiles::new();
    let directory = open_directory(&files).expect("memory");
    let mut log = keyed::open(&directory, true).expect("memory");
    filled(&directory, &mut log);
    (files, directory, log)
}

#[test]
fn log_is_written_and_read_between_the_steps_of_a_pass() {
    let (_, directory, mut log) = log();
    let mut pass = keyed::begin(&mut log, keyed::MAP_BYTES, NOW_MS).expect("dirty").expect("dirty");
    let mut steps = 0;
    loop {
        append(&mut log, &batch(&[("a", Some("meanwhile"))], Compression::None));
        if steps % 7 == 0 {
            settle(&mut log, &directory).expect("memory");
        }
        assert_eq!(records(&mut log).last().map(|found| found.offset), Some(40 + steps));
        steps += 1;
        match pass.step().expect("cleanable") {
            // A buffer and a batch read, and as much written.
            Progress::More(bytes) => assert!(bytes < 800, "{bytes}"),
            Progress::NeedsLog => log.compaction_turn(&mut pass).expect("nothing was cut"),
            Progress::Done => break,
        }
    }
    assert!(steps > 20, "{steps}");
    let offsets: Vec<i64> = records(&mut log).iter().map(|found| found.offset).collect();
    assert_eq!(offsets, (36..40 + steps).collect::<Vec<i64>>(), "what came meanwhile is for the next pass");
    drop(pass);
    settle(&mut log, &directory).expect("memory");
    compact(&mut log, NOW_MS);
    let offsets: Vec<i64> = records(&mut log).iter().map(|found| found.offset).collect();
    assert_eq!(offsets, [37, 38, 39, 39 + steps]);
}

#[test]
fn reader_that_has_a_file_range_reads_on_after_its_segment_was_replaced() {
    let (_, _directory, mut log) = log();
    let read = Read { from_offset: 0, upto_offset: 40, max_bytes: 500, min_one_batch: true, hot_only: false };
    let slice = log.read(read).expect("readable").expect("records");
    let before = slice.read().expect("readable");
    compact(&mut log, NOW_MS);
    assert_eq!(slice.read().expect("still open"), before);
    let next = Batches::maybe_truncated(&before).last().expect("a batch").expect("whole").next_offset();
    let read = Read { from_offset: next, ..read };
    let bytes = log.read(read).expect("readable").expect("records").read().expect("readable");
    let first = Batches::maybe_truncated(&bytes).next().expect("a batch").expect("whole").base_offset;
    assert_eq!(first, 36, "the reader goes on with what is left");
}

#[test]
fn pass_leaves_a_log_alone_that_was_opened_again() {
    let (files, directory, mut log) = log();
    let mut old = keyed::begin(&mut log, keyed::MAP_BYTES, NOW_MS).expect("dirty").expect("dirty");
    // The first group is written and waits for the log.
    while old.step().expect("cleanable") != Progress::NeedsLog {}
    log.close_clean().expect("memory");
    directory.close_clean(0).expect("memory");
    let mut log = keyed::open(&directory, true).expect("readable");
    let mut new = keyed::begin(&mut log, keyed::MAP_BYTES, NOW_MS).expect("dirty").expect("dirty");
    while new.step().expect("cleanable") != Progress::NeedsLog {
        let _ = old.step();
    }
    assert!(matches!(log.compaction_turn(&mut old), Err(Failure::Overtaken)));
    drop(old);
    keyed::finish(&mut log, new).expect("cleanable");
    assert_eq!(records(&mut log).iter().map(|found| found.offset).collect::<Vec<_>>(), [36, 37, 38, 39]);
    let paths = files.paths_below(std::path::Path::new(support::FOLDER));
    assert!(paths.iter().all(|path| !path.to_string_lossy().ends_with(".cleaned")), "{paths:?}");
}

#[test]
fn lookup_that_saw_the_segments_before_is_told_to_begin_anew() {
    let (_, _directory, mut log) = log();
    let mut lookup = log.lookup();
    compact(&mut log, NOW_MS);
    // Whatever it finds in files that changed under it, damage included, counts for nothing.
    let _ = lookup.offset_for_timestamp(NOW_MS);
    assert!(!log.learn(lookup).expect("nothing to read"));
    let found = log.offset_for_timestamp(NOW_MS).expect("readable").expect("there");
    assert_eq!(found.offset, 36);
}

#[test]
fn compacted_log_on_a_real_disk_is_read_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || {
        let options = Options { flusher_thread: true, ..Options::default() };
        let directory = Directory::open(Arc::new(RealFiles), folder.path(), options).expect("a directory");
        let log = keyed::open(&directory, true).expect("readable");
        (directory, log)
    };
    let (directory, mut log) = open();
    filled(&directory, &mut log);
    compact(&mut log, NOW_MS);
    let after = records(&mut log);
    assert_eq!(after.iter().map(|found| found.offset).collect::<Vec<_>>(), [36, 37, 38, 39]);
    drop((log, directory));
    let (directory, mut log) = open();
    assert_eq!(records(&mut log), after);
    let names = std::fs::read_dir(folder.path().join(NAME)).expect("a folder");
    for name in names.map(|entry| entry.expect("readable").file_name().into_string().expect("text")) {
        let is_left = [".cleaned", ".swap", ".deleted"].iter().any(|ending| name.ends_with(ending));
        assert!(!is_left, "{name}");
    }
    log.close_clean().expect("a disk");
    directory.close_clean(0).expect("a disk");
    drop(directory);
    let (_directory, mut log) = open();
    assert_eq!(records(&mut log), after);
}
