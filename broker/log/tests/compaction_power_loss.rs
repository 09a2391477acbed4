//! The power fails at each operation of a pass: the log opens, and nothing that compaction must keep is lost.

mod support;

use std::path::Path;
use std::sync::Arc;

use milena_log::compaction::Failure;
use milena_log::memory_files::{Fault, Loss, MemoryFiles, Operation};
use milena_log::producers::Origin;
use milena_log::{AppendAs, Directory, Log};
use milena_protocol::records::control::EndTxnMarker;
use milena_protocol::records::{Builder, Compression};
use support::keyed::{self, Found, append, batch, records, settle};
use support::{FOLDER, NAME, NOW_MS, open_directory};

/// Several segments with duplicates, a tombstone, an aborted transaction and a segment of which nothing stays.
fn world() -> (MemoryFiles, Arc<Directory>, Log) {
    let files = MemoryFiles::new();
    let directory = open_directory(&files).expect("memory");
    let mut log = keyed::open(&directory, true).expect("memory");
    let one = |log: &mut Log, key: &str, value: Option<&str>| {
        append(log, &batch(&[(key, value)], Compression::None));
    };
    one(&mut log, "a", Some("1"));
    one(&mut log, "gone", None);
    let builder = Builder::new().producer(1, 0, 0).transactional(true);
    append(&mut log, &keyed::with(builder, &[("a", Some("aborted"))]));
    let marker = EndTxnMarker { committed: false, coordinator_epoch: 0 };
    let origin = Origin::Coordinator { transaction_version: 0 };
    let append_as = AppendAs::Leader { leader_epoch: 0, log_append_time: None, origin };
    log.append(&marker.batch(1, 0, 0, NOW_MS).expect("small"), append_as, NOW_MS).expect("valid");
    settle(&mut log, &directory).expect("memory");
    for _ in 0..2 {
        one(&mut log, "b", Some("nothing of this segment stays"));
        one(&mut log, "c", Some("nothing of this segment stays"));
        log.roll(NOW_MS).expect("memory");
    }
    for index in 0..12 {
        let key = ["b", "c", "d"][index % 3];
        one(&mut log, key, Some("a value that is long enough to fill a few segments of this log"));
    }
    settle(&mut log, &directory).expect("memory");
    one(&mut log, "d", Some("behind the pass"));
    log.sync().expect("memory");
    (files, directory, log)
}

/// Two passes: the second one works on what the first one left, and on what became of it when it was merged.
fn passes(log: &mut Log, directory: &Directory) -> Result<(), Failure> {
    keyed::compact_with(log, keyed::MAP_BYTES, NOW_MS)?;
    keyed::merge(log, NOW_MS)?.expect("a pass that leaves small segments");
    settle(log, directory)?;
    keyed::compact_with(log, keyed::MAP_BYTES, NOW_MS + 48 * 3_600_000)?;
    log.sync()?;
    Ok(())
}

/// The records that `read_committed` readers see.
fn committed(log: &mut Log) -> Vec<Found> {
    let all = records(log);
    let end = log.log_end_offset();
    let aborted = log.aborted_transactions(0, end).expect("readable");
    let is_aborted =
        |offset: i64| aborted.iter().any(|one| (one.first_offset..one.last_offset).contains(&offset));
    all.into_iter().filter(|found| !is_aborted(found.offset)).collect()
}

fn check(files: &MemoryFiles, compact: bool, before: &[Found], context: &str) {
    let directory = open_directory(files).unwrap_or_else(|error| panic!("{context}: {error}"));
    let mut log = keyed::open(&directory, compact).unwrap_or_else(|error| panic!("{context}: {error}"));
    let after = committed(&mut log);
    let end_offset = before.last().map_or(0, |last| last.offset + 1);
    assert_eq!(log.log_end_offset(), end_offset, "{context}");
    keyed::check_nothing_lost(before, &after, context);
    keyed::check_progress(&mut log, context);
    for path in files.paths_below(&Path::new(FOLDER).join(NAME)) {
        let name = path.to_string_lossy().into_owned();
        let is_left = [".cleaned", ".swap", ".deleted", ".tmp"].iter().any(|ending| name.ends_with(ending));
        assert!(!is_left, "{context}: {name}");
    }
    if compact {
        // And it can go on.
        settle(&mut log, &directory).expect("memory");
        let report = keyed::compact_with(&mut log, keyed::MAP_BYTES, NOW_MS).expect("cleanable");
        let after = committed(&mut log);
        keyed::check_nothing_lost(before, &after, context);
        if let Some(report) = report {
            keyed::check_compacted(&after, report.cleaned_upto, context);
        }
    }
}

fn losses() -> impl Iterator<Item = Loss> {
    [Loss::Unsynced, Loss::Nothing].into_iter().chain((0..12).map(Loss::Random))
}

#[test]
fn power_loss_at_every_operation_of_two_passes() {
    let (files, directory, mut log) = world();
    let before = committed(&mut log);
    let first = files.operations_count();
    passes(&mut log, &directory).expect("no fault yet");
    let operations = files.operations_count() - first;
    assert!(operations > 60, "{operations}");
    let after = committed(&mut log);
    assert!(after.len() < before.len() / 2, "the passes are worth the name: {after:?}");
    for at in 0..=operations {
        let (files, directory, mut log) = world();
        files.inject(Fault::power_loss(Operation::Any, at));
        let failed = passes(&mut log, &directory).is_err();
        assert_eq!(failed, at < operations, "at {at}");
        for loss in losses() {
            for compact in [true, false] {
                let context = format!("power loss at operation {at}, {loss:?}, compacted {compact}");
                check(&files.crash(loss), compact, &before, &context);
            }
        }
    }
}

#[test]
fn power_loss_at_every_operation_of_the_start_after_one() {
    let (files, directory, mut log) = world();
    let before = committed(&mut log);
    let first = files.operations_count();
    passes(&mut log, &directory).expect("no fault yet");
    let operations = files.operations_count() - first;
    for stop_at in 0..operations {
        let (files, directory, mut log) = world();
        files.inject(Fault::power_loss(Operation::Any, stop_at));
        assert!(passes(&mut log, &directory).is_err());
        let stopped = files.crash(Loss::Random(stop_at));
        for at in 0.. {
            let files = stopped.crash(Loss::Nothing);
            files.inject(Fault::power_loss(Operation::Any, at));
            let finished =
                open_directory(&files).is_ok_and(|directory| keyed::open(&directory, true).is_ok());
            let context = format!("power loss at operation {stop_at}, then at {at} of the start");
            check(&files.crash(Loss::Random(at)), true, &before, &context);
            if finished {
                break;
            }
        }
    }
}

/// Errors that are no power loss: the pass fails, the log is served on, or the directory is offline.
#[test]
fn failing_operation_of_a_pass_loses_nothing() {
    for errno in [libc::EMFILE, libc::EIO, libc::ENOSPC] {
        for at in 0.. {
            let (files, directory, mut log) = world();
            let before = committed(&mut log);
            files.inject(Fault::errno(Operation::Any, at, errno));
            let outcome = passes(&mut log, &directory);
            let struck = files.faults_count() == 0;
            let context = format!("errno {errno} at operation {at}: {outcome:?}");
            if directory.offline_reason().is_none() {
                keyed::check_nothing_lost(&before, &committed(&mut log), &context);
            }
            drop((log, directory));
            files.heal();
            check(&files.crash(Loss::Unsynced), true, &before, &context);
            if !struck {
                break;
            }
        }
    }
}
