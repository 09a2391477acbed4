//! Compaction against a plain map: the last record of each key stays, offsets never change.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_log::compaction::{Failure, Progress, Settings};
use milena_log::memory_files::MemoryFiles;
use milena_log::producers::Origin;
use milena_log::{AppendAs, Config, Error, Log};
use milena_protocol::records::control::EndTxnMarker;
use milena_protocol::records::{Batch, Builder, Compression};
use proptest::prelude::*;
use support::keyed::{self, Found, append, batch, compact, new_log, records, settle};
use support::{FOLDER, NAME, NOW_MS, open_directory, read_all};

const DAY_MS: i64 = 24 * 3_600_000;

fn offsets(log: &mut Log) -> Vec<i64> {
    records(log).iter().map(|found| found.offset).collect()
}

fn one(log: &mut Log, key: &str, value: Option<&str>) {
    append(log, &batch(&[(key, value)], Compression::None));
}

fn checkpoint(files: &MemoryFiles) -> String {
    let bytes = files.contents(&Path::new(FOLDER).join("cleaner-offset-checkpoint"));
    String::from_utf8(bytes).expect("text")
}

#[test]
fn last_record_of_each_key_stays_where_it_was() {
    let (files, directory, mut log) = new_log();
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("a", "3"), ("b", "2")] {
        one(&mut log, key, Some(value));
    }
    settle(&mut log, &directory).expect("memory");
    one(&mut log, "c", Some("in the active segment"));
    let report = compact(&mut log, NOW_MS);
    assert_eq!(offsets(&mut log), [3, 4, 5, 6]);
    assert_eq!((report.records_read, report.records_kept, report.records_dropped()), (6, 3, 3));
    assert_eq!((report.cleaned_upto, report.is_partial, report.dirty_ratio), (6, false, 1.0));
    assert_eq!(checkpoint(&files), "0\n1\nt 0 6\n");
    assert!(keyed::compact_with(&mut log, 4096, NOW_MS).expect("readable").is_none(), "nothing is dirty");
    keyed::check_progress(&mut log, "after compaction");
}

#[test]
fn batches_are_copied_whole_or_built_again_with_their_codec_and_range() {
    for codec in Compression::ALL {
        let (_, directory, mut log) = new_log();
        let whole = batch(&[("a", Some("1")), ("b", Some("1"))], codec);
        append(&mut log, &whole);
        append(&mut log, &batch(&[("c", Some("1")), ("d", Some("1")), ("c", Some("2"))], codec));
        append(&mut log, &batch(&[("e", Some("1")), ("d", Some("2"))], codec));
        append(&mut log, &batch(&[("e", Some("2"))], codec));
        let before = records(&mut log);
        let stored = read_all(&mut log);
        settle(&mut log, &directory).expect("memory");
        compact(&mut log, NOW_MS);
        let after = read_all(&mut log);
        assert_eq!(after[0], stored[0], "{codec}");
        let ranges: Vec<(i64, i64)> = after
            .iter()
            .map(|bytes| {
                let (batch, _) = Batch::parse(bytes).expect("whole");
                assert_eq!(batch.attributes.compression().expect("known"), codec);
                (batch.base_offset, batch.last_offset())
            })
            .collect();
        assert_eq!(ranges, [(0, 1), (2, 4), (5, 6), (7, 7)], "{codec}");
        keyed::check_nothing_lost(&before, &records(&mut log), codec.name());
        assert_eq!(offsets(&mut log), [0, 1, 4, 6, 7], "{codec}");
    }
}

#[test]
fn tombstones_go_when_readers_had_their_time() {
    let (_, directory, mut log) = new_log();
    one(&mut log, "a", Some("1"));
    one(&mut log, "b", Some("1"));
    one(&mut log, "a", None);
    one(&mut log, "c", Some("1"));
    settle(&mut log, &directory).expect("memory");
    compact(&mut log, NOW_MS);
    assert_eq!(offsets(&mut log), [1, 2, 3], "the tombstone stays");
    let mut later = |now_ms: i64| {
        one(&mut log, "d", Some("1"));
        settle(&mut log, &directory).expect("memory");
        compact(&mut log, now_ms);
        records(&mut log).iter().any(|found| found.value.is_none())
    };
    assert!(later(NOW_MS + DAY_MS - 1));
    assert!(!later(NOW_MS + DAY_MS));
    assert_eq!(offsets(&mut log), [1, 3, 5]);
}

#[test]
fn small_segments_become_one() {
    let (files, directory, mut log) = new_log();
    for round in 0..12 {
        for key in ["a", "b", "c", "d"] {
            one(&mut log, key, Some(&format!("the value of round {round}")));
        }
    }
    settle(&mut log, &directory).expect("memory");
    let before = log.segments_count();
    let report = compact(&mut log, NOW_MS);
    assert!(before > 6, "{before}");
    assert_eq!((report.segments_before, report.segments_after), (before - 1, log.segments_count() - 1));
    assert_eq!(offsets(&mut log), [44, 45, 46, 47]);
    one(&mut log, "e", Some("1"));
    settle(&mut log, &directory).expect("memory");
    compact(&mut log, NOW_MS);
    assert_eq!(log.segments_count(), 2, "what is left of all of them fits one");
    let named = |ending: &str| -> Vec<PathBuf> {
        let paths = files.paths_below(&Path::new(FOLDER).join(NAME)).into_iter();
        paths.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
    };
    assert_eq!(named(".log").len(), 2);
    for ending in [".cleaned", ".swap", ".deleted"] {
        assert_eq!(named(ending), Vec::<PathBuf>::new());
    }
}

#[test]
fn keys_that_do_not_fit_the_map_are_left_to_the_next_pass() {
    let (files, directory, mut log) = new_log();
    for round in 0..3 {
        for key in 0..20 {
            one(&mut log, &format!("key {key}"), Some(&format!("{round}")));
        }
    }
    let before = records(&mut log);
    settle(&mut log, &directory).expect("memory");
    let room_for_ten = 24 * 12;
    let mut passes = 0;
    while let Some(report) = keyed::compact_with(&mut log, room_for_ten, NOW_MS).expect("cleanable") {
        passes += 1;
        let after = records(&mut log);
        keyed::check_nothing_lost(&before, &after, "partial");
        assert_eq!(report.is_partial, report.cleaned_upto < 60);
        assert_eq!(checkpoint(&files), format!("0\n1\nt 0 {}\n", report.cleaned_upto));
    }
    assert!((4..10).contains(&passes), "{passes}");
    assert_eq!(offsets(&mut log), (40..60).collect::<Vec<i64>>());
}

#[test]
fn batch_with_more_keys_than_the_map_takes_is_named() {
    let (_, directory, mut log) = new_log();
    append(&mut log, &batch(&[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))], Compression::None));
    settle(&mut log, &directory).expect("memory");
    let failure = keyed::compact_with(&mut log, 0, NOW_MS).expect_err("one key at most");
    assert!(matches!(&failure, Failure::Uncleanable { reason } if reason.contains("offset 0")), "{failure}");
    assert!(failure.is_lasting());
    assert!(!log.is_being_compacted());
    assert_eq!(offsets(&mut log), [0, 1, 2]);
}

#[test]
fn producers_keep_their_last_sequence_and_a_round_its_last_offset() {
    let (files, directory, mut log) = new_log();
    let idempotent = |sequence: i32, key: &str| {
        keyed::with(Builder::new().producer(7, 0, sequence), &[(key, Some("by a producer"))])
    };
    append(&mut log, &idempotent(0, "a"));
    append(&mut log, &idempotent(1, "b"));
    one(&mut log, "a", Some("1"));
    one(&mut log, "b", Some("1"));
    one(&mut log, "x", Some("1"));
    settle(&mut log, &directory).expect("memory");
    one(&mut log, "x", Some("2"));
    settle(&mut log, &directory).expect("memory");
    compact(&mut log, NOW_MS);
    assert_eq!(offsets(&mut log), [2, 3, 5]);
    let batches = read_all(&mut log);
    let empty: Vec<(i64, i64, i32)> = batches
        .iter()
        .map(|bytes| Batch::parse(bytes).expect("whole").0)
        .filter(|batch| batch.count == 0)
        .map(|batch| (batch.last_offset(), batch.producer_id, batch.last_sequence()))
        .collect();
    assert_eq!(empty, [(1, 7, 1)]);
    drop((log, directory));
    // Without the snapshots only the batches tell.
    for path in files.paths_below(&Path::new(FOLDER).join(NAME)) {
        if path.extension().is_some_and(|ending| ending == "snapshot") {
            milena_log::files::Files::remove_file(&files, &path).expect("there");
        }
    }
    let mut log = keyed::open(&open_directory(&files).expect("memory"), true).expect("readable");
    append(&mut log, &idempotent(2, "c"));
    assert_eq!(log.log_end_offset(), 7);
}

fn transactional(producer_id: i64, sequence: i32, key: &str) -> Vec<u8> {
    let builder = Builder::new().producer(producer_id, 0, sequence).transactional(true);
    keyed::with(builder, &[(key, Some("in a transaction"))])
}

fn end(log: &mut Log, producer_id: i64, committed: bool) {
    let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
    let bytes = marker.batch(producer_id, 0, 0, NOW_MS).expect("small");
    let origin = Origin::Coordinator { transaction_version: 0 };
    let append_as = AppendAs::Leader { leader_epoch: 0, log_append_time: None, origin };
    log.append(&bytes, append_as, NOW_MS).expect("valid");
    log.high_watermark_reached(log.log_end_offset());
}

#[test]
fn aborted_data_goes_at_once_and_its_marker_after_its_time() {
    let (_, directory, mut log) = new_log();
    one(&mut log, "a", Some("1"));
    append(&mut log, &transactional(1, 0, "a"));
    append(&mut log, &transactional(2, 0, "b"));
    end(&mut log, 1, false);
    end(&mut log, 2, true);
    append(&mut log, &transactional(1, 1, "c"));
    end(&mut log, 1, true);
    settle(&mut log, &directory).expect("memory");
    let controls = |log: &mut Log| -> Vec<i64> {
        let batches = read_all(log);
        let parsed = batches.iter().map(|bytes| Batch::parse(bytes).expect("whole").0);
        parsed.filter(|batch| batch.attributes.is_control()).map(|batch| batch.base_offset).collect()
    };
    compact(&mut log, NOW_MS);
    assert_eq!(offsets(&mut log), [0, 2, 5], "an aborted value replaces none");
    assert_eq!(controls(&mut log), [3, 4, 6]);
    let aborted = log.aborted_transactions(0, 10).expect("readable");
    assert_eq!(aborted.iter().map(|one| (one.producer_id, one.last_offset)).collect::<Vec<_>>(), [(1, 3)]);
    let mut later = |now_ms: i64| {
        one(&mut log, "d", Some("1"));
        settle(&mut log, &directory).expect("memory");
        compact(&mut log, now_ms);
        controls(&mut log)
    };
    // The second pass meets nothing of it, and begins its time.
    assert_eq!(later(NOW_MS), [3, 4, 6]);
    assert_eq!(later(NOW_MS + DAY_MS - 1), [3, 4, 6]);
    assert_eq!(later(NOW_MS + DAY_MS), [4, 6]);
    assert_eq!(log.aborted_transactions(0, 10).expect("readable"), []);
}

#[test]
fn open_transaction_and_what_no_checkpoint_vouches_for_are_left_alone() {
    let (_, directory, mut log) = new_log();
    for _ in 0..3 {
        one(&mut log, "a", Some("1"));
    }
    settle(&mut log, &directory).expect("memory");
    append(&mut log, &transactional(1, 0, "t"));
    for _ in 0..3 {
        one(&mut log, "a", Some("2"));
    }
    settle(&mut log, &directory).expect("memory");
    assert_eq!(compact(&mut log, NOW_MS).cleaned_upto, 3);
    assert!(keyed::compact_with(&mut log, 4096, NOW_MS).expect("readable").is_none());
    end(&mut log, 1, true);
    log.roll(NOW_MS).expect("memory");
    log.sync().expect("memory");
    assert_eq!(compact(&mut log, NOW_MS).cleaned_upto, 7, "the marker's segment is not checkpointed");
}

#[test]
fn cut_or_deleted_log_overtakes_a_pass_and_retention_waits_for_it() {
    for delete in [false, true] {
        let (files, directory, mut log) = new_log();
        for _ in 0..40 {
            one(&mut log, "a", Some("a value that fills segments"));
        }
        settle(&mut log, &directory).expect("memory");
        let mut pass = keyed::begin(&mut log, 4096, NOW_MS).expect("dirty").expect("dirty");
        while pass.step().expect("readable") != Progress::NeedsLog {}
        assert!(log.is_being_compacted());
        assert!(log.compaction_view(40).is_none(), "one pass at a time");
        log.set_log_start_offset(30);
        assert_eq!(log.delete_old_segments(40, NOW_MS).expect("memory"), 0);
        if delete {
            log.delete("0f").expect("memory");
            drop(pass);
        } else {
            log.truncate_to(35).expect("memory");
            let failure = log.compaction_turn(&mut pass).expect_err("cut");
            assert!(matches!(failure, Failure::Overtaken) && !failure.is_lasting());
            drop(pass);
            assert!(log.delete_old_segments(35, NOW_MS).expect("memory") > 0);
            assert_eq!(offsets(&mut log), (30..35).collect::<Vec<i64>>());
        }
        directory.checkpoint().expect("memory");
        assert_eq!(checkpoint(&files), if delete { "0\n0\n" } else { "0\n1\nt 0 0\n" });
    }
}

#[test]
fn cut_lowers_how_far_the_log_is_compacted() {
    let (files, directory, mut log) = new_log();
    for _ in 0..10 {
        one(&mut log, "a", Some("1"));
    }
    settle(&mut log, &directory).expect("memory");
    compact(&mut log, NOW_MS);
    log.truncate_to(4).expect("memory");
    assert_eq!(checkpoint(&files), "0\n1\nt 0 4\n");
}

#[test]
fn damaged_batch_is_named_and_the_log_stays_as_it_is() {
    let (files, directory, mut log) = new_log();
    for _ in 0..4 {
        one(&mut log, "a", Some("a value"));
    }
    settle(&mut log, &directory).expect("memory");
    let path = Path::new(FOLDER).join(NAME).join("00000000000000000000.log");
    files.flip_bit(&path, 75 * 8);
    let before = files.contents(&path);
    let failure = keyed::compact_with(&mut log, 4096, NOW_MS).expect_err("damaged");
    assert!(matches!(&failure, Failure::Storage(Error::Damaged { file, .. }) if *file == path), "{failure}");
    assert!(failure.is_lasting());
    assert_eq!(files.contents(&path), before);
}

#[test]
fn lags_bound_what_is_cleaned_and_when() {
    let (_, directory, mut log) = new_log();
    let compaction = Settings { min_lag_ms: 1000, max_lag_ms: 5000, ..Settings::default() };
    log.take_config(Arc::new(Config { compaction, ..Config::clone(log.config()) }));
    one(&mut log, "a", Some("1"));
    settle(&mut log, &directory).expect("memory");
    let mut view = log.compaction_view(1).expect("compacted");
    let status = view.status().expect("readable");
    assert_eq!(status.dirty(NOW_MS + 999).cleanable_bytes, 0);
    assert!(status.dirty(NOW_MS + 1000).cleanable_bytes > 0);
    assert_eq!(status.dirty(NOW_MS + 5000).late_ms, 0);
    assert_eq!(status.dirty(NOW_MS + 5007).late_ms, 7);
    assert!(log.learn(view.into_lookup()).expect("readable"));
}

/// One thing that happens to a compacted log.
#[derive(Debug, Clone)]
enum Step {
    Append { records: Vec<(u8, Option<u8>)>, codec: u8, producer: u8 },
    Settle,
    Compact { keys: usize, hours: i64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0_u8..12, proptest::option::weighted(0.8, any::<u8>()));
    prop_oneof![
        6 => (proptest::collection::vec(record, 1..6), 0_u8..5, 0_u8..3)
            .prop_map(|(records, codec, producer)| Step::Append { records, codec, producer }),
        2 => Just(Step::Settle),
        2 => (6_usize..40, 0_i64..20).prop_map(|(keys, hours)| Step::Compact { keys, hours }),
        1 => Just(Step::Restart),
    ]
}

/// Plays the steps and compares with everything that was ever appended.
fn play(steps: &[Step]) {
    let (files, directory, log) = new_log();
    let (mut directory, mut log) = (directory, log);
    let mut all: Vec<Found> = Vec::new();
    let mut now_ms = NOW_MS;
    let mut sequences = [0_i32; 3];
    for (index, step) in steps.iter().enumerate() {
        let context = format!("step {index} of {steps:?}");
        match step {
            Step::Append { records, codec, producer } => {
                let codec = Compression::from_code(*codec).expect("a codec");
                let mut builder = Builder::new().compression(codec, None);
                if *producer > 0 {
                    let sequence = &mut sequences[usize::from(*producer)];
                    builder = builder.producer(i64::from(*producer), 0, *sequence);
                    *sequence += records.len() as i32;
                }
                for (key, value) in records {
                    let offset = log.log_end_offset() + i64::from(builder.count());
                    let (key, value) = (vec![*key], value.map(|value| vec![value; usize::from(value % 50)]));
                    builder.append(NOW_MS, Some(&key), value.as_deref(), &[]).expect("small");
                    all.push(Found { offset, key: Some(key), value });
                }
                append(&mut log, &builder.finish().expect("small"));
            }
            Step::Settle => settle(&mut log, &directory).expect("memory"),
            Step::Compact { keys, hours } => {
                now_ms += hours * 3_600_000;
                let report = keyed::compact_with(&mut log, keys * 27 + 48, now_ms).expect("cleanable");
                let after = records(&mut log);
                keyed::check_nothing_lost(&all, &after, &context);
                if let Some(report) = report {
                    keyed::check_compacted(&after, report.cleaned_upto, &context);
                }
                keyed::check_progress(&mut log, &context);
                if keyed::merge(&mut log, now_ms).expect("readable").is_some() {
                    assert_eq!(records(&mut log), after, "{context}: merged");
                    keyed::check_progress(&mut log, &context);
                }
            }
            Step::Restart => {
                let end_offset = log.log_end_offset();
                log.close_clean().expect("memory");
                directory.close_clean(0).expect("memory");
                drop(directory);
                directory = open_directory(&files).expect("memory");
                log = keyed::open(&directory, true).expect("readable");
                assert_eq!(log.log_end_offset(), end_offset, "{context}");
            }
        }
    }
    keyed::check_nothing_lost(&all, &records(&mut log), "at the end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn compacted_log_is_a_map_whose_offsets_never_change(steps in proptest::collection::vec(step(), 1..40)) {
        play(&steps);
    }
}
