//! Logs of keyed records, passes over them, and what compaction promises of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_log::compaction::{Compaction, Failure, OffsetMap, Progress, Report};
use milena_log::memory_files::MemoryFiles;
use milena_log::producers::Origin;
use milena_log::{AppendAs, Config, Directory, Error, Log, Read};
use milena_protocol::records::{Batch, Builder, Compression, Limits, RecordIter, compression};

use super::{NAME, NOW_MS, open_directory, read_all};

pub const MAP_BYTES: usize = 1 << 16;
const BUFFER_BYTES: usize = 200;

pub fn config(compact: bool) -> Arc<Config> {
    Arc::new(Config { compact, delete: false, ..Config::clone(&super::config()) })
}

/// An empty compacted log on a disk of its own.
pub fn new_log() -> (MemoryFiles, Arc<Directory>, Log) {
    let files = MemoryFiles::new();
    let directory = open_directory(&files).expect("memory");
    let log = open(&directory, true).expect("memory");
    (files, directory, log)
}

pub fn open(directory: &Arc<Directory>, compact: bool) -> Result<Log, Error> {
    Log::open(directory, NAME, config(compact), NOW_MS).map(|(log, _)| log)
}

/// A record with its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// Key and value of a record, `None` a tombstone.
pub type Keyed<'a> = (&'a str, Option<&'a str>);

/// A batch of these records.
pub fn batch(records: &[Keyed<'_>], codec: Compression) -> Vec<u8> {
    with(Builder::new().compression(codec, None), records)
}

pub fn with(mut builder: Builder, records: &[Keyed<'_>]) -> Vec<u8> {
    for (key, value) in records {
        let value = value.map(str::as_bytes);
        builder.append(NOW_MS, Some(key.as_bytes()), value, &[]).expect("small");
    }
    builder.finish().expect("small")
}

pub fn append(log: &mut Log, batch: &[u8]) {
    try_append(log, batch).expect("valid");
}

pub fn try_append(log: &mut Log, batch: &[u8]) -> Result<(), milena_log::AppendError> {
    let append_as = AppendAs::Leader { leader_epoch: 0, log_append_time: None, origin: Origin::Client };
    log.append(batch, append_as, NOW_MS).map(|_| ())
}

/// Seals what there is and lets a checkpoint vouch for it, as cleaning needs it.
pub fn settle(log: &mut Log, directory: &Directory) -> Result<(), Error> {
    log.roll(NOW_MS)?;
    log.sync()?;
    log.high_watermark_reached(log.log_end_offset());
    directory.checkpoint()
}

/// Begins a pass over all there is to clean; nothing when that is nothing.
pub fn begin(log: &mut Log, map_bytes: usize, now_ms: i64) -> Result<Option<Compaction>, Failure> {
    let stable_offset = log.last_stable_offset();
    let Some(mut view) = log.compaction_view(stable_offset) else { return Ok(None) };
    let dirty = view.status()?.dirty(now_ms);
    if dirty.cleanable_bytes == 0 {
        return Ok(None);
    }
    log.begin_compaction(dirty, OffsetMap::new(map_bytes, 0.9), BUFFER_BYTES, now_ms).map(Some)
}

pub fn finish(log: &mut Log, mut pass: Compaction) -> Result<Report, Failure> {
    loop {
        match pass.step()? {
            Progress::More(_) => {}
            Progress::NeedsLog => log.compaction_turn(&mut pass)?,
            Progress::Done => return Ok(*pass.report()),
        }
    }
}

/// A whole pass with room for so many bytes of keys.
pub fn compact_with(log: &mut Log, map_bytes: usize, now_ms: i64) -> Result<Option<Report>, Failure> {
    let Some(pass) = begin(log, map_bytes, now_ms)? else { return Ok(None) };
    finish(log, pass).map(Some)
}

pub fn compact(log: &mut Log, now_ms: i64) -> Report {
    compact_with(log, MAP_BYTES, now_ms).expect("cleanable").expect("dirty")
}

/// Merges the segments that passes have left small, if that is worth a pass.
pub fn merge(log: &mut Log, now_ms: i64) -> Result<Option<Report>, Failure> {
    let stable_offset = log.last_stable_offset();
    let Some(mut view) = log.compaction_view(stable_offset) else { return Ok(None) };
    let Some(merge) = view.status()?.merge() else { return Ok(None) };
    let pass = log.begin_compaction(merge, OffsetMap::new(MAP_BYTES, 0.9), BUFFER_BYTES, now_ms)?;
    finish(log, pass).map(Some)
}

/// All data records from the log start on.
pub fn records(log: &mut Log) -> Vec<Found> {
    let mut found = Vec::new();
    for bytes in read_all(log) {
        let (batch, _) = Batch::parse(&bytes).expect("whole");
        if batch.attributes.is_control() {
            continue;
        }
        let mut unpacked = Vec::new();
        let payload = if batch.attributes.is_compressed() {
            let codec = batch.attributes.compression().expect("known");
            compression::decompress(codec, batch.payload(), Limits::default(), &mut unpacked).expect("sound");
            &unpacked[..]
        } else {
            batch.payload()
        };
        for record in RecordIter::new(payload, batch.count) {
            let record = record.expect("sound");
            found.push(Found {
                offset: batch.offset_of(&record),
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
            });
        }
    }
    found
}

/// The last record of each key.
pub fn latest(records: &[Found]) -> BTreeMap<Vec<u8>, Found> {
    let keyed = records.iter().filter_map(|found| Some((found.key.clone()?, found.clone())));
    keyed.collect()
}

/// What holds at any time: no record is new or moved, and the last value of each key is there.
pub fn check_nothing_lost(before: &[Found], after: &[Found], context: &str) {
    let known: BTreeMap<i64, &Found> = before.iter().map(|found| (found.offset, found)).collect();
    for found in after {
        assert_eq!(known.get(&found.offset), Some(&found), "{context}: a record moved or changed");
    }
    assert!(after.is_sorted_by(|one, next| one.offset < next.offset), "{context}: offsets ascend");
    let there = latest(after);
    for (key, last) in latest(before) {
        match there.get(&key) {
            Some(found) => assert_eq!(*found, last, "{context}"),
            None => assert_eq!(last.value, None, "{context}: the value of {key:?} is lost"),
        }
    }
}

/// What holds below the dirty head besides: one record per key.
pub fn check_compacted(after: &[Found], cleaned_upto: i64, context: &str) {
    let last = latest(after);
    for found in after.iter().filter(|found| found.offset < cleaned_upto) {
        let key = found.key.as_ref().unwrap_or_else(|| panic!("{context}: {found:?} has no key"));
        let last = &last[key];
        let is_last = last.offset == found.offset || last.offset >= cleaned_upto;
        assert!(is_last, "{context}: {found:?} is followed by {last:?}");
    }
}

/// A reader at any offset gets to the end.
pub fn check_progress(log: &mut Log, context: &str) {
    let upto_offset = log.log_end_offset();
    for start in log.log_start_offset()..upto_offset {
        let mut from_offset = start;
        while from_offset < upto_offset {
            let read = Read { from_offset, upto_offset, max_bytes: 1, min_one_batch: true, hot_only: false };
            let slice = log.read(read).expect("readable");
            let slice = slice.unwrap_or_else(|| panic!("{context}: nothing from {from_offset} on"));
            let bytes = slice.read().expect("readable");
            let (batch, _) = Batch::parse(&bytes).expect("whole");
            let next_offset = batch.next_offset();
            assert!(next_offset > from_offset, "{context}: {next_offset} > {from_offset}");
            from_offset = next_offset;
        }
    }
}
