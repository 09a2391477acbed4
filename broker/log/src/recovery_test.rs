use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::records::{Batch, Builder};

use super::*;
use crate::config::Config;
use crate::directory::Directory;
use crate::directory::Options;
use crate::log::AppendAs;
use crate::memory_files::MemoryFiles;
use crate::producers::Origin;
use crate::read::Read;

const NOW_MS: i64 = 1_700_000_000_000;
const BATCHES: i64 = 40;

fn config() -> Arc<Config> {
    Arc::new(Config { segment_bytes: 1000, index_interval_bytes: 100, ..Config::default() })
}

fn directory(files: &MemoryFiles) -> Arc<Directory> {
    let options = Options { flusher_thread: false, ..Options::default() };
    Directory::open(Arc::new(files.clone()), Path::new("/data"), options).expect("usable")
}

fn open(files: &MemoryFiles) -> Result<(Log, Opened), Error> {
    Log::open(&directory(files), "t-0", config(), NOW_MS)
}

fn path(base_offset: i64, kind: Kind) -> PathBuf {
    kind.path(Path::new("/data/t-0"), base_offset)
}

/// A log of several segments, all of it synced, that was never closed; the recovery point is `vouched`.
fn crashed(vouched: i64) -> (MemoryFiles, Vec<Segment>) {
    let files = MemoryFiles::new();
    let directory = directory(&files);
    let (mut log, _) = Log::open(&directory, "t-0", config(), NOW_MS).expect("new");
    for offset in 0..BATCHES {
        if offset == vouched {
            log.sync().expect("writable");
            directory.checkpoint().expect("writable");
        }
        let mut builder = Builder::new();
        let value = format!("the value of record {offset:04}");
        builder.append(NOW_MS + offset, None, Some(value.as_bytes()), &[]).expect("small");
        let append_as = AppendAs::Leader { leader_epoch: 2, log_append_time: None, origin: Origin::Client };
        log.append(&builder.finish().expect("small"), append_as, NOW_MS).expect("valid");
    }
    log.sync().expect("writable");
    assert!(log.segments.len() >= 4);
    (files, log.segments.clone())
}

/// Every record can be found by offset and by time, so the indexes do not lead astray.
fn check_whole(log: &mut Log, log_end_offset: i64) {
    assert_eq!(log.log_end_offset(), log_end_offset);
    for offset in log.log_start_offset()..log_end_offset {
        let read = Read {
            from_offset: offset,
            upto_offset: offset + 1,
            max_bytes: 1 << 20,
            min_one_batch: true,
            hot_only: false,
        };
        let slice = log.read(read).expect("in range").expect("something");
        let bytes = slice.read().expect("readable");
        let (batch, rest) = Batch::parse(&bytes).expect("whole");
        assert_eq!((batch.base_offset, rest.len()), (offset, 0));
        let found = log.offset_for_timestamp(NOW_MS + offset).expect("readable").expect("found");
        assert_eq!(found.offset, offset);
    }
}

#[test]
fn unclean_stop_checks_only_what_the_checkpoint_does_not_vouch_for() {
    let (files, segments) = crashed(35);
    let (mut log, opened) = open(&files).expect("undamaged");
    let size: u64 = segments.iter().map(|segment| u64::from(segment.size)).sum();
    assert_eq!(opened.recovered_bytes, size / BATCHES as u64 * 5);
    assert_eq!(opened.truncated_bytes, 0);
    check_whole(&mut log, BATCHES);
}

#[test]
fn torn_tail_is_cut_where_it_is_torn() {
    let (files, segments) = crashed(35);
    let last = segments[segments.len() - 1];
    let batch_size = u64::from(segments[0].size) / (segments[1].base_offset as u64);
    for cut in [1, batch_size / 2, batch_size - 1] {
        let files = files.crash(crate::memory_files::Loss::Nothing);
        let size = u64::from(last.size) - cut;
        files.damage(&path(last.base_offset, Kind::Log), |bytes| bytes.truncate(size as usize));
        let (mut log, opened) = open(&files).expect("a torn tail is no damage");
        assert_eq!(opened.truncated_bytes, batch_size - cut);
        check_whole(&mut log, BATCHES - 1);
        assert_eq!(log.latest_epoch(), Some(2));
    }
}

#[test]
fn changed_bit_behind_the_recovery_point_ends_the_log_there() {
    let (files, segments) = crashed(3);
    // In the second batch of the third segment: everything behind goes, later segments too.
    let third = segments[2];
    let batch_size = segments[0].size as usize / segments[1].base_offset as usize;
    files.flip_bit(&path(third.base_offset, Kind::Log), (batch_size + 70) * 8);
    let (mut log, opened) = open(&files).expect("nothing durable is gone");
    check_whole(&mut log, third.base_offset + 1);
    assert_eq!(log.segments_count(), 3);
    let gone: u64 = segments[2..].iter().map(|segment| u64::from(segment.size)).sum();
    assert_eq!(opened.truncated_bytes, gone - batch_size as u64);
    drop(log);
    let (mut log, opened) = open(&files).expect("recovered before");
    assert_eq!(opened.truncated_bytes, 0);
    check_whole(&mut log, third.base_offset + 1);
}

#[test]
fn segment_shorter_than_the_recovery_point_is_damage() {
    let (files, segments) = crashed(BATCHES - 1);
    let last = segments[segments.len() - 1];
    let file = path(last.base_offset, Kind::Log);
    let before = files.contents(&file);
    files.damage(&file, |bytes| bytes.truncate(100));
    let error = open(&files).expect_err("durable bytes are gone");
    let Error::Damaged { file: found, position, reason } = &error else { panic!("{error}") };
    assert_eq!(found, &file);
    assert!(*position <= 100 && reason.contains("was durable"), "{error}");
    assert_eq!(files.contents(&file).len(), 100, "nothing is cut");
    files.put(&file, &before);
    check_whole(&mut open(&files).expect("as before").0, BATCHES);
}

#[test]
fn sealed_segment_that_was_cut_is_damage_and_names_the_place() {
    let (files, segments) = crashed(BATCHES - 1);
    let file = path(segments[1].base_offset, Kind::Log);
    files.damage(&file, |bytes| bytes.truncate(bytes.len() - 10));
    let error = open(&files).expect_err("durable bytes are gone");
    assert!(matches!(&error, Error::Damaged { file: found, .. } if *found == file), "{error}");
}

#[test]
fn sealed_segment_that_holds_the_recovery_point_and_ends_below_it_is_damage() {
    let (files, segments) = crashed(12);
    let index = segments.iter().rposition(|segment| segment.base_offset < 12).expect("the first");
    assert!(index + 1 < segments.len(), "it is not the last");
    let base_offset = segments[index].base_offset;
    let batch_size = segments[0].size as usize / segments[1].base_offset as usize;
    // Between two batches: every batch that is left is whole.
    files.damage(&path(base_offset, Kind::Log), |bytes| bytes.truncate(batch_size));
    let error = open(&files).expect_err("durable bytes are gone");
    assert!(matches!(&error, Error::Damaged { .. }), "{error}");
    assert!(
        !files.contents(&path(segments[index + 1].base_offset, Kind::Log)).is_empty(),
        "nothing is removed"
    );
}

#[test]
fn damaged_log_is_still_damaged_after_a_clean_stop() {
    let (files, segments) = crashed(BATCHES - 1);
    let file = path(segments[1].base_offset, Kind::Log);
    files.damage(&file, |bytes| bytes.truncate(bytes.len() - 10));
    for stop in 0..2 {
        let directory = directory(&files);
        assert_eq!(directory.clean_stop().is_some(), stop > 0);
        let error = Log::open(&directory, "t-0", config(), NOW_MS).expect_err("damaged");
        assert!(matches!(&error, Error::Damaged { .. }), "{error}");
        directory.close_clean(7).expect("writable");
    }
}

#[test]
fn clean_stop_does_not_speak_for_a_log_that_was_not_closed_or_not_opened() {
    let (files, _) = crashed(3);
    // Opened and left, then not opened at all.
    for opens in [true, false] {
        let directory = directory(&files);
        assert!(!directory.checkpointed("t-0").clean);
        let left = opens.then(|| Log::open(&directory, "t-0", config(), NOW_MS).expect("undamaged"));
        directory.close_clean(7).expect("writable");
        drop(left);
    }
    {
        let directory = directory(&files);
        assert!(directory.clean_stop().is_some() && !directory.checkpointed("t-0").clean);
        let (log, _) = Log::open(&directory, "t-0", config(), NOW_MS).expect("undamaged");
        log.close_clean().expect("writable");
        directory.close_clean(7).expect("writable");
    }
    assert!(directory(&files).checkpointed("t-0").clean, "closed and believed");
}

#[test]
fn missing_last_segment_is_damage() {
    let (files, segments) = crashed(BATCHES - 1);
    let last = segments[segments.len() - 1];
    crate::files::Files::remove_file(&files, &path(last.base_offset, Kind::Log)).expect("there");
    let error = open(&files).expect_err("durable bytes are gone");
    assert!(matches!(&error, Error::Damaged { reason, .. } if reason.contains("was durable")), "{error}");
}

#[test]
fn changed_header_is_damage_when_somebody_reads_it() {
    let (files, segments) = crashed(BATCHES - 1);
    // The magic byte of the first batch of a segment that the checkpoint vouches for.
    let file = path(segments[1].base_offset, Kind::Log);
    files.flip_bit(&file, 16 * 8 + 4);
    let (mut log, _) = match open(&files) {
        Ok(opened) => opened,
        Err(error) => panic!("only the end of a sealed segment is looked at: {error}"),
    };
    let from_offset = segments[1].base_offset;
    let upto_offset = from_offset + 1;
    let read = Read { from_offset, upto_offset, max_bytes: 100, min_one_batch: true, hot_only: false };
    let error = log.read(read).expect_err("damaged");
    assert!(error.to_string().contains("damaged at 0"), "{error}");
}

/// Any index may be missing or wrong: records are found all the same.
#[test]
fn wrong_indexes_are_built_again() {
    let (whole, segments) = crashed(BATCHES - 1);
    let (first, second) = (segments[0].base_offset, segments[1].base_offset);
    let last = segments[segments.len() - 1].base_offset;
    for kind in [Kind::OffsetIndex, Kind::TimeIndex] {
        let other = whole.contents(&path(second, kind));
        let damages: [(&str, Vec<u8>); 6] = [
            ("empty", Vec::new()),
            ("odd", other[..other.len() - 3].to_vec()),
            ("zeros", vec![0; 120]),
            ("ones", vec![0xff; 120]),
            ("another's", other.iter().rev().copied().collect()),
            ("too long", [other.clone(), vec![0; 24]].concat()),
        ];
        for base_offset in [first, second, last] {
            for (name, bytes) in &damages {
                let files = whole.crash(crate::memory_files::Loss::Nothing);
                files.put(&path(base_offset, kind), bytes);
                let context = format!("{kind:?} of {base_offset} is {name}");
                let (mut log, _) = open(&files).unwrap_or_else(|error| panic!("{context}: {error}"));
                println!("{context}");
                check_whole(&mut log, BATCHES);
            }
            let files = whole.crash(crate::memory_files::Loss::Nothing);
            let _ = crate::files::Files::remove_file(&files, &path(base_offset, kind));
            check_whole(&mut open(&files).expect("an index is only a hint").0, BATCHES);
        }
    }
}

#[test]
fn epochs_are_read_from_the_log_when_their_file_is_lost() {
    let (files, _) = crashed(BATCHES - 1);
    for damage in [&b""[..], b"0\n1\nnonsense\n", b"1\n0\n"] {
        files.put(Path::new("/data/t-0/leader-epoch-checkpoint"), damage);
        let (log, _) = open(&files).expect("it is derived");
        assert_eq!(log.epoch_at(0), Some(2));
    }
}

#[test]
fn damage_concerns_one_log_only() {
    let (files, segments) = crashed(BATCHES - 1);
    let last = segments[segments.len() - 1];
    files.damage(&path(last.base_offset, Kind::Log), |bytes| bytes.truncate(100));
    let directory = directory(&files);
    Log::open(&directory, "t-0", config(), NOW_MS).expect_err("damaged");
    let (log, _) = Log::open(&directory, "t-1", config(), NOW_MS).expect("not concerned");
    assert_eq!(log.log_end_offset(), 0);
    assert_eq!(directory.offline_reason(), None);
}

#[test]
fn start_that_is_beyond_what_is_left_begins_there() {
    let (files, _) = crashed(3);
    files.put(Path::new("/data/log-start-offset-checkpoint"), b"0\n1\nt 0 50\n");
    let (log, _) = open(&files).expect("readable");
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (50, 50));
}
