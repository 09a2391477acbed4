use std::path::PathBuf;
use std::sync::Arc;

use milena_protocol::records::Builder;

use super::*;
use crate::config::Config;
use crate::directory::{Directory, Options};
use crate::files::Files;
use crate::log::{AppendAs, Log};
use crate::memory_files::{Fault, Loss, MemoryFiles, Operation};
use crate::producers::Origin;

const NOW_MS: i64 = 1_700_000_000_000;
const LEADER: AppendAs = AppendAs::Leader { leader_epoch: 0, log_append_time: None, origin: Origin::Client };
const BATCHES: i64 = 20;

fn open_directory(files: &MemoryFiles) -> Result<Arc<Directory>, Error> {
    let options = Options { flusher_thread: false, ..Options::default() };
    Directory::open(Arc::new(files.clone()), Path::new("/data"), options)
}

fn open_log(directory: &Arc<Directory>, compact: bool) -> Result<Log, Error> {
    let config = Config { segment_bytes: 400, index_interval_bytes: 100, compact, ..Config::default() };
    Log::open(directory, "t-0", Arc::new(config), NOW_MS).map(|(log, _)| log)
}

fn open(files: &MemoryFiles, compact: bool) -> Result<(Arc<Directory>, Log), Error> {
    let directory = open_directory(files)?;
    let log = open_log(&directory, compact)?;
    Ok((directory, log))
}

fn append(log: &mut Log, count: i64) {
    for _ in 0..count {
        let mut builder = Builder::new();
        builder.append(NOW_MS, None, Some(b"the value of a record"), &[]).expect("small");
        log.append(&builder.finish().expect("small"), LEADER, NOW_MS).expect("valid");
    }
}

/// How the process before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Clean,
    Kill,
    /// A clean stop, a start, and a kill.
    CleanThenKill,
    /// Clean, as Kafka leaves it: without our list.
    Kafka,
}

const STOPS: [Stop; 4] = [Stop::Clean, Stop::Kill, Stop::CleanThenKill, Stop::Kafka];

/// A log of several segments, everything synced and checkpointed, and the base offsets of its segments.
fn stopped(stop: Stop) -> (MemoryFiles, Vec<i64>) {
    let files = MemoryFiles::new();
    let (directory, mut log) = open(&files, false).expect("memory");
    append(&mut log, BATCHES);
    let bases: Vec<i64> = log.segments.iter().map(|segment| segment.base_offset).collect();
    assert!(bases.len() >= 4, "{bases:?}");
    log.sync().expect("memory");
    directory.checkpoint().expect("memory");
    if stop != Stop::Kill {
        log.close_clean().expect("memory");
        directory.close_clean(7).expect("memory");
        drop(directory);
        if stop == Stop::CleanThenKill {
            drop(open(&files, false).expect("whole"));
        }
        if stop == Stop::Kafka {
            files.put(Path::new("/data/.kafka_cleanshutdown"), b"{\"version\":0,\"brokerEpoch\":7}");
        }
    }
    (files.crash(Loss::Nothing), bases)
}

fn file(base_offset: i64, kind: Kind) -> PathBuf {
    kind.path(Path::new("/data/t-0"), base_offset)
}

fn remove(files: &MemoryFiles, base_offset: i64, kinds: &[Kind]) {
    for kind in kinds {
        let _ = files.remove_file(&file(base_offset, *kind));
    }
}

/// Opens it again and again, with a clean stop between: damage stays until a person has dealt with it.
fn damage(files: &MemoryFiles, compact: bool, context: &str) -> (PathBuf, String) {
    let mut found = Vec::new();
    for start in 0..3 {
        let directory = open_directory(files).expect("usable");
        let Err(error) = open_log(&directory, compact) else {
            panic!("{context}: not noticed at start {start}")
        };
        let Error::Damaged { file, reason, .. } = error else { panic!("{context}: {error}") };
        found.push((file, reason));
        directory.close_clean(8).expect("writable");
    }
    found.swap_remove(0)
}

#[test]
fn segment_whose_index_is_left_is_missed_and_named() {
    for stop in STOPS {
        for compact in [false, true] {
            for index in 0..4 {
                let (files, bases) = stopped(stop);
                remove(&files, bases[index], &[Kind::Log]);
                let context = format!("{stop:?}, compact {compact}, segment {index}");
                let (named, reason) = damage(&files, compact, &context);
                assert_eq!(named, file(bases[index], Kind::Log), "{context}");
                assert!(reason.contains("the file is gone"), "{context}: {reason}");
            }
        }
    }
}

#[test]
fn first_segment_that_is_missing_without_a_trace_is_told_by_the_log_start() {
    for stop in STOPS {
        let (files, bases) = stopped(stop);
        remove(&files, bases[0], &Kind::ALL);
        let (named, reason) = damage(&files, false, &format!("{stop:?}"));
        assert_eq!(named, file(bases[1], Kind::Log));
        assert!(reason.contains("offset 0 was durable"), "{reason}");
    }
}

#[test]
fn segment_that_is_missing_without_a_trace_is_missed() {
    for stop in STOPS {
        let (files, bases) = stopped(stop);
        remove(&files, bases[2], &Kind::ALL);
        let (named, _) = damage(&files, false, &format!("{stop:?}"));
        assert_eq!(named, file(bases[1], Kind::Log), "the one before it ends too early");
    }
    // Compaction explains a hole, but not that there is less than when the log was closed.
    let (files, bases) = stopped(Stop::Clean);
    remove(&files, bases[2], &Kind::ALL);
    let (named, reason) = damage(&files, true, "compacted");
    assert_eq!(named, Path::new("/data/t-0"));
    assert!(reason.contains("when it was closed it had"), "{reason}");
}

#[test]
fn sealed_segment_that_was_emptied_or_cut_is_damage_after_any_stop() {
    for stop in STOPS {
        for size in [0, 100, 150] {
            let (files, bases) = stopped(stop);
            let victim = file(bases[1], Kind::Log);
            files.damage(&victim, |bytes| bytes.truncate(size));
            let context = format!("{stop:?}, cut to {size}");
            let (named, _) = damage(&files, false, &context);
            assert_eq!(named, victim, "{context}");
        }
    }
}

#[test]
fn log_start_below_the_first_segment_is_legal_while_the_deletion_is_told() {
    for stop in [Stop::Clean, Stop::Kill] {
        let (files, bases) = stopped(stop);
        let (_directory, mut log) = open(&files, false).expect("whole");
        log.set_log_start_offset(bases[2]);
        log.delete_old_segments(BATCHES, NOW_MS).expect("writable");
        log.sync().expect("writable");
        // The delay is over, but no checkpoint was written: again and again.
        log.maintain(i64::MAX).expect("writable");
        for _ in 0..3 {
            let files = files.crash(Loss::Unsynced);
            let (_directory, mut log) = open(&files, false).expect("deleted, not lost");
            log.maintain(i64::MAX).expect("writable");
            assert_eq!(log.local_log_start_offset(), bases[2]);
        }
        log.directory.checkpoint().expect("writable");
        log.maintain(i64::MAX).expect("writable");
        let paths = files.paths_below(Path::new("/data/t-0"));
        assert!(!paths.iter().any(|path| path.to_string_lossy().ends_with(".deleted")), "{paths:?}");
        assert_eq!(open(&files.crash(Loss::Nothing), false).expect("whole").1.log_start_offset(), bases[2]);
    }
}

#[test]
fn log_that_always_deletes_keeps_no_files_that_a_checkpoint_knows() {
    let (files, bases) = stopped(Stop::Clean);
    let (_directory, mut log) = open(&files, false).expect("whole");
    let deleted = || {
        let paths = files.paths_below(Path::new("/data/t-0"));
        paths.into_iter().filter(|path| path.to_string_lossy().ends_with(".log.deleted")).count()
    };
    for base in &bases[1..] {
        // A newer deletion than the checkpoint each time.
        log.directory.checkpoint().expect("writable");
        log.set_log_start_offset(*base);
        log.delete_old_segments(BATCHES, NOW_MS).expect("writable");
        log.sync().expect("writable");
        log.maintain(i64::MAX).expect("writable");
        assert!(deleted() <= 1, "{} files wait at {base}", deleted());
    }
    assert_eq!(
        open(&files.crash(Loss::Nothing), false).expect("deleted, not lost").1.log_start_offset(),
        log.log_start_offset()
    );
}

#[test]
fn index_above_the_recovery_point_is_nobodys_and_removed() {
    let (files, _) = stopped(Stop::Clean);
    files.put(&file(BATCHES, Kind::OffsetIndex), &[0; 16]);
    let (_directory, log) = open(&files, false).expect("whole");
    assert_eq!(log.log_end_offset(), BATCHES);
    assert!(!files.paths_below(Path::new("/data")).contains(&file(BATCHES, Kind::OffsetIndex)));
}

#[test]
fn log_that_is_created_anew_is_not_measured_by_its_predecessor() {
    let (files, _) = stopped(Stop::Clean);
    let (directory, log) = open(&files, false).expect("whole");
    log.delete("0f").expect("writable");
    let open_again = || Log::open(&directory, "t-0", Arc::new(Config::default()), NOW_MS);
    assert_eq!(open_again().expect("new").0.log_end_offset(), 0);
    drop(directory.clone());
    assert_eq!(open_again().expect("still new").0.log_end_offset(), 0);
}

#[test]
fn power_loss_while_a_log_begins_elsewhere_is_no_damage() {
    for at in 0.. {
        let (files, _) = stopped(Stop::Clean);
        files.inject(Fault::power_loss(Operation::Any, at));
        let begin_again = || -> Result<(), Error> {
            let (directory, mut log) = open(&files, false)?;
            for offset in [100, 50, 400] {
                log.truncate_fully_and_start_at(offset)?;
                directory.checkpoint()?;
            }
            log.close_clean()?;
            directory.close_clean(9)
        };
        let finished = begin_again().is_ok();
        for loss in [Loss::Unsynced, Loss::Nothing].into_iter().chain((0..20).map(Loss::Random)) {
            let context = format!("power loss at operation {at}, {loss:?}");
            let (_, log) =
                open(&files.crash(loss), false).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!([BATCHES, 50, 100, 400].contains(&log.log_end_offset()) || !finished, "{context}");
        }
        if finished {
            break;
        }
    }
}
