//! Segments that a pass left small become fewer, and nothing else changes.

mod support;

use std::path::Path;

use milena_log::producers::Origin;
use milena_log::{AppendAs, Log};
use milena_protocol::records::control::EndTxnMarker;
use milena_protocol::records::{Builder, Compression};
use support::keyed::{self, append, batch, compact, new_log, records, settle};
use support::{FOLDER, NAME, NOW_MS, open_directory, read_all};

/// More than half a segment: no two of them fit one.
const LONG: &str = concat!(
    "a value that is more than half of a segment long: it goes on, and on, and on, and on, and on, and on, and on, ",
    "and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, ",
    "and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on"
);
const DAY_MS: i64 = 24 * 3_600_000;

/// Ten segments, each full and each of one key; some have a record of another key besides.
fn fill(log: &mut Log) {
    for index in 0..10 {
        append(log, &batch(&[("a", Some(LONG))], Compression::None));
        if index % 3 == 0 {
            append(log, &batch(&[(&format!("own {index}"), Some("1"))], Compression::None));
        }
        log.roll(NOW_MS).expect("memory");
    }
}

#[test]
fn segments_that_a_pass_left_small_become_few_and_stay_so() {
    let (files, directory, mut log) = new_log();
    append(&mut log, &keyed::with(Builder::new().producer(7, 0, 0), &[("a", Some("by a producer"))]));
    append(&mut log, &batch(&[("gone", None)], Compression::None));
    fill(&mut log);
    settle(&mut log, &directory).expect("memory");
    assert!(keyed::merge(&mut log, NOW_MS).expect("readable").is_none(), "what is dirty is not merged");
    compact(&mut log, NOW_MS);
    let (before, stored) = (records(&mut log), read_all(&mut log));
    assert_eq!(log.segments_count(), 11, "as Kafka leaves them");

    // What a pass would take now, a merge does not touch.
    let report = keyed::merge(&mut log, NOW_MS + 2 * DAY_MS).expect("readable").expect("too many");
    assert_eq!((report.segments_before, report.segments_after), (10, 2));
    assert_eq!((report.cleaned_upto, report.dirty_ratio), (log.log_end_offset(), 0.0));
    assert_eq!(report.records_dropped(), 0);
    assert_eq!(log.segments_count(), 3);
    assert_eq!(read_all(&mut log), stored, "each batch byte for byte");
    keyed::check_progress(&mut log, "merged");
    assert!(keyed::merge(&mut log, NOW_MS).expect("readable").is_none(), "one follows no other");
    let checkpoint = files.contents(&Path::new(FOLDER).join("cleaner-offset-checkpoint"));
    assert_eq!(
        checkpoint,
        format!("0\n1\n{} {}\n", NAME.replace('-', " "), log.log_end_offset()).into_bytes()
    );

    let found = log.offset_for_timestamp(NOW_MS).expect("readable").expect("there");
    assert_eq!(found.offset, before[0].offset);
    drop((log, directory));
    let mut log = keyed::open(&open_directory(&files).expect("memory"), true).expect("readable");
    assert_eq!(read_all(&mut log), stored);
    assert_eq!(log.segments_count(), 3);
}

#[test]
fn segments_are_left_that_do_not_fit_together() {
    let (_, directory, mut log) = new_log();
    for key in ["a", "b", "c", "d"] {
        append(&mut log, &batch(&[(key, Some(LONG))], Compression::None));
        log.roll(NOW_MS).expect("memory");
    }
    settle(&mut log, &directory).expect("memory");
    compact(&mut log, NOW_MS);
    assert_eq!(log.segments_count(), 5);
    assert!(keyed::merge(&mut log, NOW_MS).expect("readable").is_none());
}

#[test]
fn dirty_head_and_what_a_partial_pass_ended_in_are_not_merged() {
    let (_, directory, mut log) = new_log();
    fill(&mut log);
    settle(&mut log, &directory).expect("memory");
    compact(&mut log, NOW_MS);
    let bound = log.log_end_offset();
    fill(&mut log);
    settle(&mut log, &directory).expect("memory");
    let before = read_all(&mut log);
    let report = keyed::merge(&mut log, NOW_MS).expect("readable").expect("too many");
    assert_eq!((report.cleaned_upto, report.segments_before, report.segments_after), (bound, 10, 1));
    assert_eq!(read_all(&mut log), before);
    compact(&mut log, NOW_MS);
    assert_eq!(records(&mut log).len(), 5, "the dirty part is cleaned as ever");
}

fn end(log: &mut Log, producer_id: i64, committed: bool) {
    let bytes = EndTxnMarker { committed, coordinator_epoch: 0 }.batch(producer_id, 0, 0, NOW_MS);
    let origin = Origin::Coordinator { transaction_version: 0 };
    let append_as = AppendAs::Leader { leader_epoch: 0, log_append_time: None, origin };
    log.append(&bytes.expect("small"), append_as, NOW_MS).expect("valid");
    log.high_watermark_reached(log.log_end_offset());
}

/// The pass took the data of the aborted transaction and left its marker: a merge changes neither, nor the entry of the
/// marker in the index, also when the index is built again.
#[test]
fn markers_of_aborted_transactions_keep_their_index_entries() {
    let (files, directory, mut log) = new_log();
    fill(&mut log);
    let transactional = |producer_id: i64, key: &str| {
        let builder = Builder::new().producer(producer_id, 0, 0).transactional(true);
        keyed::with(builder, &[(key, Some("in a transaction"))])
    };
    append(&mut log, &transactional(1, "a"));
    append(&mut log, &transactional(2, "b"));
    log.roll(NOW_MS).expect("memory");
    end(&mut log, 1, false);
    log.roll(NOW_MS).expect("memory");
    end(&mut log, 2, true);
    settle(&mut log, &directory).expect("memory");
    compact(&mut log, NOW_MS);
    let stored = read_all(&mut log);
    let aborted = log.aborted_transactions(0, 100).expect("readable");
    assert_eq!(aborted.len(), 1);
    keyed::merge(&mut log, NOW_MS + 2 * DAY_MS).expect("readable").expect("too many");
    assert_eq!(read_all(&mut log), stored);
    assert_eq!(log.aborted_transactions(0, 100).expect("readable"), aborted);
    drop((log, directory));
    let mut log = keyed::open(&open_directory(&files).expect("memory"), true).expect("readable");
    assert_eq!(log.aborted_transactions(0, 100).expect("readable"), aborted);
    assert_eq!(read_all(&mut log), stored);
}
