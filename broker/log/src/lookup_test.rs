use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::records::Builder;

use super::*;
use crate::config::Config;
use crate::directory::{Directory, Options};
use crate::error::ReadError;
use crate::log::AppendAs;
use crate::memory_files::{Fault, MemoryFiles, Operation};
use crate::names::Kind;
use crate::producers::Origin;
use crate::read::Read;

const NOW_MS: i64 = 1_700_000_000_000;
const BATCHES: i64 = 40;

fn append(log: &mut Log, offset: i64) {
    let mut builder = Builder::new();
    let value = format!("the value of record {offset:04}");
    builder.append(NOW_MS + offset, None, Some(value.as_bytes()), &[]).expect("small");
    let append_as = AppendAs::Leader { leader_epoch: 2, log_append_time: None, origin: Origin::Client };
    log.append(&builder.finish().expect("small"), append_as, NOW_MS).expect("valid");
}

/// A log of several segments, one record in a batch.
fn log() -> (MemoryFiles, Log) {
    let files = MemoryFiles::new();
    let options = Options { flusher_thread: false, ..Options::default() };
    let directory = Directory::open(Arc::new(files.clone()), Path::new("/data"), options).expect("usable");
    let config = Config { segment_bytes: 1000, index_interval_bytes: 100, ..Config::default() };
    let (mut log, _) = Log::open(&directory, "t-0", Arc::new(config), NOW_MS).expect("new");
    (0..BATCHES).for_each(|offset| append(&mut log, offset));
    assert!(log.segments.len() >= 4);
    (files, log)
}

fn path(base_offset: i64, kind: Kind) -> PathBuf {
    kind.path(Path::new("/data/t-0"), base_offset)
}

fn hot(from_offset: i64) -> Read {
    Read { from_offset, upto_offset: BATCHES, max_bytes: 100, min_one_batch: true, hot_only: true }
}

/// Cuts the index of a sealed segment so that it cannot be right.
fn break_index(files: &MemoryFiles, log: &Log, segment: usize, kind: Kind) {
    let base_offset = log.segments[segment].base_offset;
    files.damage(&path(base_offset, kind), |bytes| bytes.truncate(5));
    log.forget_files(base_offset);
}

#[test]
fn a_read_that_may_not_wait_leaves_the_building_of_an_index_to_its_caller() {
    let (files, mut log) = log();
    break_index(&files, &log, 1, Kind::OffsetIndex);
    let last = log.segments[2].base_offset - 1;
    let Err(ReadError::NeedsIndex(mut lookup)) = log.read(hot(last)) else { panic!("it needs the index") };
    append(&mut log, BATCHES);
    lookup.build_index().expect("the log is not damaged");
    assert!(log.learn(*lookup).expect("writable"));
    let slice = log.read(hot(last)).expect("in memory").expect("something");
    assert_eq!(slice.first_base_offset, last);
}

#[test]
fn a_lookup_goes_on_while_the_log_grows_and_what_it_found_out_is_kept() {
    let (files, mut log) = log();
    break_index(&files, &log, 1, Kind::TimeIndex);
    for segment in &mut log.segments {
        segment.largest = None;
    }
    let mut lookup = log.lookup();
    (BATCHES..2 * BATCHES).for_each(|offset| append(&mut log, offset));
    for offset in 0..BATCHES {
        let found = lookup.offset_for_timestamp(NOW_MS + offset).expect("readable").expect("found");
        assert_eq!((found.offset, found.leader_epoch), (offset, Some(2)));
    }
    assert_eq!(lookup.offset_for_timestamp(NOW_MS + BATCHES).expect("readable"), None, "it came later");
    assert_eq!(lookup.max_timestamp().expect("readable").map(|found| found.offset), Some(BATCHES - 1));
    assert!(log.learn(lookup).expect("writable"));
    // Nothing of it has to be read again.
    files.inject(Fault::errno(Operation::Read, 0, 5).on_paths(".timeindex").lasting());
    assert_eq!(log.largest(1).expect("known").timestamp, NOW_MS + log.segments[2].base_offset - 1);
    let after = log.lookup().max_timestamp().expect("readable");
    assert_eq!(after.map(|found| found.offset), Some(2 * BATCHES - 1));
}

#[test]
fn what_retention_took_away_under_a_lookup_is_no_damage() {
    let (_, mut log) = log();
    log.segments.iter_mut().for_each(|segment| segment.largest = None);
    let mut lookup = log.lookup();
    let kept = log.segments[2].base_offset;
    assert!(log.set_log_start_offset(kept));
    assert_eq!(log.delete_old_segments(BATCHES, NOW_MS).expect("writable"), 2);
    log.maintain(NOW_MS + 1_000_000).expect("writable");
    let found = lookup.offset_for_timestamp(NOW_MS + 1);
    assert!(matches!(found, Err(Error::Damaged { .. })), "{found:?}");
    assert!(!log.learn(lookup).expect("writable"), "somebody else took the file");
    let found = log.lookup().offset_for_timestamp(NOW_MS + 1).expect("readable").expect("found");
    assert_eq!(found.offset, kept);
}

#[test]
fn retention_reads_the_timestamps_that_it_needs_without_the_log() {
    let (files, mut log) = log();
    let kept = log.segments[2].base_offset;
    log.segments.iter_mut().for_each(|segment| segment.largest = None);
    let retention_ms = Some(1000);
    log.take_config(Arc::new(Config { retention_ms, ..(**log.config()).clone() }));
    // The third segment has a timestamp that is just young enough.
    let now_ms = NOW_MS + kept + 1000;
    let mut lookups = 0;
    while let Some(mut lookup) = log.lookup_for_retention(now_ms) {
        lookup.find_largest().expect("readable");
        assert!(log.learn(lookup).expect("writable"));
        lookups += 1;
    }
    assert_eq!(lookups, 3);
    files.inject(Fault::errno(Operation::Read, 0, 5).lasting());
    assert_eq!(log.delete_old_segments(BATCHES, now_ms).expect("reads nothing"), 2);
    assert_eq!(log.log_start_offset(), kept);
}

#[test]
fn a_lookup_keeps_no_file_open_that_the_log_does_not_know_of() {
    let (_, mut log) = log();
    log.segments.iter().for_each(|segment| log.forget_files(segment.base_offset));
    let before = log.disk.open_files.len();
    let mut lookup = log.lookup();
    lookup.offset_for_timestamp(NOW_MS).expect("readable").expect("found");
    assert_eq!(log.disk.open_files.len(), before);
    log.learn(lookup).expect("writable");
}
