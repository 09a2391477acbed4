use std::path::Path;
use std::sync::Arc;

use milena_log::directory::Options;
use milena_log::memory_files::{Loss, MemoryFiles};
use milena_log::{Config, Directory};
use milena_protocol::records::Builder;
use milena_protocol::types::Uuid;
use milena_state::config::topic::{Flush, Settings};
use milena_state::metadata::Partition as Assigned;
use milena_state::metadata::record::RecoveryState;
use milena_state::partition::leader::Fetched;

use super::super::partition::Myself;
use super::super::{AppendAs as LeaderAppend, Isolation, Read};
use super::*;

const NOW_MS: i64 = 1_000;
const ME: Myself = Myself { broker_id: 2, broker_epoch: 20, replica_lag_time_max_ms: 1_000 };

/// A partition of broker 2 in memory, whose syncs are done by who asks.
fn partition(flush: Flush) -> Arc<Partition> {
    partition_on(&MemoryFiles::new(), flush)
}

fn partition_on(files: &MemoryFiles, flush: Flush) -> Arc<Partition> {
    let options = Options { flusher_thread: false, ..Options::default() };
    let directory = Directory::open(Arc::new(files.clone()), Path::new("/d"), options).expect("memory");
    let (log, _) = Log::open(&directory, "t-0", Arc::new(Config::default()), 0).expect("memory");
    let mut settings = Settings::kafka_defaults();
    settings.flush = flush;
    Partition::new("t".into(), Uuid::from_u128(7), 0, directory, log, Arc::new(settings))
}

fn follower(leader_epoch: i32) -> Arc<Partition> {
    let partition = partition(Flush::PageCache);
    follow(&partition, leader_epoch);
    partition
}

fn assigned(leader: i32, leader_epoch: i32) -> Assigned {
    Assigned {
        replicas: vec![1, 2],
        isr: vec![1, 2],
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        leader: Some(leader),
        leader_recovery_state: RecoveryState::Recovered,
        leader_epoch,
        partition_epoch: leader_epoch,
        directories: vec![Uuid::ZERO; 2],
        eligible_leader_replicas: Vec::new(),
        last_known_elr: Vec::new(),
    }
}

fn follow(partition: &Partition, leader_epoch: i32) {
    partition.assign(&assigned(1, leader_epoch), ME, NOW_MS);
}

fn lead(partition: &Partition, leader_epoch: i32) {
    partition.assign(&assigned(2, leader_epoch), ME, NOW_MS);
}

/// A batch of `count` records from `base_offset` on.
fn batch(leader_epoch: i32, base_offset: i64, count: usize) -> Vec<u8> {
    let mut batch = Builder::new().base_offset(base_offset).leader_epoch(leader_epoch);
    for _ in 0..count {
        batch.append(NOW_MS, None, Some(b"value"), &[]).expect("fits");
    }
    batch.finish().expect("fits")
}

fn brought(leader_epoch: i32, records: &[u8], high_watermark: i64) -> Brought<'_> {
    Brought { leader_epoch, records, high_watermark, log_start_offset: 0 }
}

/// Log end, epoch of the last record, high watermark.
fn ends(standing: Result<Standing, FollowError>) -> (i64, i32, i64) {
    let position = standing.expect("is taken").position;
    (position.fetch_offset, position.last_fetched_epoch, position.high_watermark)
}

fn refusal(standing: Result<Standing, FollowError>) -> String {
    match standing {
        Err(FollowError::Unfit(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn read(offset: i64, current_leader_epoch: i32) -> Read {
    Read {
        offset,
        bytes_max: 1 << 20,
        first_batch_whole: true,
        isolation: Isolation::ReadUncommitted,
        current_leader_epoch,
        last_fetched_epoch: -1,
    }
}

#[test]
fn a_follower_stores_what_came_and_knows_what_of_it_is_committed() {
    let partition = follower(5);
    assert_eq!(ends(partition.standing(5)), (0, -1, 0));
    let records = [batch(3, 0, 4), batch(5, 4, 2)].concat();
    assert_eq!(ends(partition.replicate(brought(5, &records, 3), NOW_MS)), (6, 5, 3));
    assert_eq!((partition.log_end_offset().get(), partition.high_watermark().get()), (6, 3));
    assert_eq!(ends(partition.replicate(brought(5, &[], 9), NOW_MS)), (6, 5, 6), "not above its own end");
    assert_eq!(ends(partition.replicate(brought(5, &[], 2), NOW_MS)), (6, 5, 6), "never back");
    let stored = partition.with_log(|log| {
        let asked = milena_log::Read {
            from_offset: 0,
            upto_offset: 6,
            max_bytes: 1 << 20,
            min_one_batch: true,
            hot_only: false,
        };
        log.read(asked).expect("reads").expect("something").read().expect("reads")
    });
    assert_eq!(stored, records, "byte for byte");
}

#[test]
fn a_batch_that_was_cut_off_waits_for_the_next_answer() {
    let partition = follower(5);
    let records = [batch(5, 0, 2), batch(5, 2, 2)].concat();
    let cut = &records[..records.len() - 1];
    assert_eq!(ends(partition.replicate(brought(5, cut, 0), NOW_MS)).0, 2);
    assert_eq!(ends(partition.replicate(brought(5, &cut[..9], 0), NOW_MS)).0, 2, "not even a header");
    assert_eq!(ends(partition.replicate(brought(5, &batch(5, 2, 2), 0), NOW_MS)).0, 4);
}

#[test]
fn batches_that_do_not_fit_are_refused_and_change_nothing() {
    let partition = follower(5);
    let _ = partition.replicate(brought(5, &batch(4, 0, 3), 0), NOW_MS);
    let mut damaged = batch(5, 3, 1);
    *damaged.last_mut().expect("bytes") ^= 1;
    for (records, reason) in [
        (damaged, "crc mismatch"),
        (batch(5, 2, 2), "offset"),
        (batch(3, 3, 1), "epoch"),
        (batch(6, 3, 1), "leader epoch 6"),
    ] {
        let refused = refusal(partition.replicate(brought(5, &records, 4), NOW_MS));
        assert!(refused.contains(reason), "{reason}: {refused}");
        assert_eq!(ends(partition.standing(5)), (3, 4, 0), "{reason}");
    }
    assert!(!partition.is_offline());
}

#[test]
fn holes_of_compaction_are_kept() {
    let partition = follower(5);
    assert_eq!(ends(partition.replicate(brought(5, &batch(5, 7, 1), 100), NOW_MS)), (8, 5, 8));
    assert_eq!(ends(partition.replicate(brought(5, &batch(5, 20, 2), 100), NOW_MS)), (22, 5, 22));
}

#[test]
fn answers_to_another_leadership_are_not_taken() {
    let partition = follower(5);
    let records = batch(5, 0, 1);
    follow(&partition, 6);
    assert!(matches!(partition.replicate(brought(5, &records, 1), NOW_MS), Err(FollowError::Over)));
    lead(&partition, 7);
    assert!(matches!(partition.replicate(brought(7, &records, 1), NOW_MS), Err(FollowError::Over)));
    assert!(matches!(partition.restart(7, (0, 0)), Err(FollowError::Over)));
    assert_eq!(partition.log_end_offset().get(), 0);
}

#[test]
fn what_the_leader_deleted_is_deleted_here_once_it_is_committed() {
    let partition = follower(5);
    let deleted = |records: &[u8], log_start_offset, high_watermark| {
        let brought = Brought { leader_epoch: 5, records, high_watermark, log_start_offset };
        partition.replicate(brought, NOW_MS).expect("is taken").position.log_start_offset
    };
    let records = batch(5, 0, 10);
    assert_eq!(deleted(&records, 4, 2), 2);
    assert_eq!((deleted(&[], 4, 6), partition.log_start_offset()), (4, 4));
    assert_eq!(deleted(&[], 3, 6), 4, "never back");
}

/// The leader deleted records up to the middle of a batch: what it sends from there is the batch whole.
#[test]
fn a_replica_that_begins_within_a_batch_takes_it_whole_and_starts_where_its_leader_does() {
    let partition = follower(5);
    assert_eq!(ends(partition.restart(5, (6, 20))), (6, -1, 6));
    let records = [batch(3, 0, 10), batch(5, 10, 10)].concat();
    let brought = Brought { leader_epoch: 5, records: &records, high_watermark: 15, log_start_offset: 6 };
    let position = partition.replicate(brought, NOW_MS).expect("is taken").position;
    assert_eq!((position.log_start_offset, position.fetch_offset, position.high_watermark), (6, 20, 15));
    assert_eq!(partition.log_start_offset(), 6);
    let marks = (partition.log_end_offset().get(), partition.high_watermark().get());
    assert_eq!(marks, (20, 15));
    let refused = |offset| partition.read_any(read(offset, 5)).is_err();
    assert!(refused(5) && !refused(6));
}

/// The leader has deleted all that is here, up to the middle of a batch of another history, and knows of no epoch by which
/// to tell.
#[test]
fn a_replica_of_which_nothing_is_left_at_the_leader_takes_the_batch_that_it_ends_within() {
    let partition = follower(5);
    let records = [batch(3, 0, 4), batch(3, 4, 2)].concat();
    assert_eq!(ends(partition.replicate(brought(5, &records, 4), NOW_MS)), (6, 3, 4));
    takes_the_batch_around_6(&partition);
}

/// The leader's epochs begin where its log does, so ours is cut there: of what was here before nothing stays, not even below.
#[test]
fn a_replica_that_is_cut_where_its_leader_starts_begins_there_anew() {
    let partition = follower(5);
    let records = [batch(3, 0, 4), batch(3, 4, 2), batch(3, 6, 3)].concat();
    let _ = partition.replicate(brought(5, &records, 4), NOW_MS);
    let diverging = DivergingEpoch { epoch: 3, end_offset: 6 };
    assert_eq!(ends(partition.cut(5, diverging, 6)), (6, -1, 6));
    takes_the_batch_around_6(&partition);
}

/// Of a leader whose log starts within that batch.
fn takes_the_batch_around_6(partition: &Partition) {
    let records = batch(5, 4, 6);
    let brought = Brought { leader_epoch: 5, records: &records, high_watermark: 10, log_start_offset: 6 };
    let position = partition.replicate(brought, NOW_MS).expect("is taken").position;
    assert_eq!((position.log_start_offset, position.fetch_offset, position.high_watermark), (6, 10, 10));
}

#[test]
fn a_history_that_parts_from_the_leaders_is_cut_where_they_part() {
    let partition = follower(5);
    let records = [batch(1, 0, 4), batch(3, 4, 4)].concat();
    let _ = partition.replicate(brought(5, &records, 6), NOW_MS);
    let waits = partition.log_end_offset();
    // The leader has epoch 1 up to 6, and nothing of epoch 3.
    let diverging = DivergingEpoch { epoch: 1, end_offset: 6 };
    assert_eq!(ends(partition.cut(5, diverging, 0)), (4, 1, 4), "the watermark too: an unclean election");
    assert_eq!((partition.log_end_offset().get(), waits.get()), (4, 8), "numbers of their own");
    assert_eq!(ends(partition.replicate(brought(5, &batch(5, 4, 1), 5), NOW_MS)), (5, 5, 5));
}

#[test]
fn without_a_common_epoch_everything_is_fetched_anew() {
    let partition = follower(5);
    let _ = partition.replicate(brought(5, &batch(3, 0, 4), 0), NOW_MS);
    let none = DivergingEpoch { epoch: -1, end_offset: 40 };
    assert_eq!(ends(partition.cut(5, none, 30)), (30, -1, 30));
    assert_eq!(partition.log_start_offset(), 30);
    assert_eq!(ends(partition.restart(5, (10, 50))), (10, -1, 10), "its log begins earlier after all");
    assert_eq!(partition.log_start_offset(), 10);
}

/// The leader of epoch 4 wrote nothing: its epoch must not stand in the way of records that it lacked.
#[test]
fn the_epoch_of_a_leader_that_wrote_nothing_is_forgotten() {
    let partition = follower(3);
    let _ = partition.replicate(brought(3, &batch(2, 0, 4), 0), NOW_MS);
    lead(&partition, 4);
    follow(&partition, 5);
    assert_eq!(ends(partition.standing(5)), (4, 2, 0));
    assert_eq!(ends(partition.replicate(brought(5, &batch(3, 4, 1), 0), NOW_MS)), (5, 3, 0));
}

#[test]
fn in_durable_mode_a_follower_stands_where_it_is_synced() {
    let partition = partition(Flush::Durable);
    follow(&partition, 5);
    let standing = partition.replicate(brought(5, &batch(5, 0, 4), 0), NOW_MS).expect("is taken");
    assert!(standing.is_unsynced);
    partition.with_log(|log| log.sync()).expect("syncs");
    assert!(!partition.standing(5).expect("follows").is_unsynced);
}

#[test]
fn consumers_read_from_a_follower_below_what_it_knows_to_be_committed() {
    let partition = follower(5);
    let _ = partition.replicate(brought(5, &[batch(5, 0, 2), batch(5, 2, 2)].concat(), 2), NOW_MS);
    let bytes = |offset| partition.read_any(read(offset, 5)).map(|readout| readout.bytes()).expect("reads");
    assert!(bytes(0) > 0);
    assert_eq!((bytes(2), bytes(4)), (0, 0), "held, and not known to be committed");
    let code = |outcome: Result<super::super::Readout, super::super::ReadError>| {
        outcome.map(|_| ()).map_err(super::super::ReadError::code)
    };
    use milena_protocol::ErrorCode;
    assert_eq!(code(partition.read_any(read(5, 5))), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(code(partition.read_any(read(0, 4))), Err(ErrorCode::FencedLeaderEpoch));
    assert_eq!(code(partition.read_any(read(0, 6))), Err(ErrorCode::UnknownLeaderEpoch));
    assert_eq!(code(partition.read(read(0, 5))), Err(ErrorCode::NotLeaderOrFollower), "as before version 11");
}

#[test]
fn a_followers_fetch_commits_what_it_has_and_only_that() {
    let partition = partition(Flush::PageCache);
    lead(&partition, 1);
    let append = LeaderAppend { acks_all: true, log_append_time: None };
    let _ = partition.append(&batch(0, 0, 4), append, NOW_MS).expect("appends");
    assert_eq!(partition.high_watermark().get(), 0);
    let fetch = |fetch_offset, last_fetched_epoch| {
        let read = Read { isolation: Isolation::LogEnd, last_fetched_epoch, ..read(fetch_offset, 1) };
        let fetched = Fetched { broker_id: 1, broker_epoch: 10, fetch_offset, log_start_offset: 0 };
        partition.read_as_replica(read, fetched, false, NOW_MS)
    };
    let readout = fetch(3, 1).expect("reads");
    assert_eq!((readout.high_watermark, partition.high_watermark().get()), (3, 3));
    assert!(readout.bytes() > 0, "a follower reads what is not committed");
    let diverges = fetch(4, 0).expect("reads");
    assert!(diverges.diverging.is_some());
    assert_eq!(partition.high_watermark().get(), 3, "records of another history do not count");
    assert!(fetch(5, 1).expect("reads").diverging.is_some(), "more than there is");
    assert_eq!(fetch(4, 1).expect("reads").high_watermark, 4);
}

/// What ended below the high watermark that an earlier process noted is decided, though nothing rises any more.
#[test]
fn a_leader_that_starts_with_a_noted_high_watermark_holds_back_no_transaction_that_has_ended() {
    let files = MemoryFiles::new();
    let first = partition_on(&files, Flush::PageCache);
    follow(&first, 5);
    let transactional = || Builder::new().leader_epoch(5).producer(7, 0, 0).transactional(true);
    let mut data = transactional();
    data.append(NOW_MS, None, Some(b"value"), &[]).expect("fits");
    let mut marker = transactional().base_offset(1).producer(7, 0, -1).control(true);
    // Version 0, commit; version 0, coordinator epoch 0.
    marker.append(NOW_MS, Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 0, 0, 0]), &[]).expect("fits");
    let records = [data.finish().expect("fits"), marker.finish().expect("fits")].concat();
    assert_eq!(ends(first.replicate(brought(5, &records, 2), NOW_MS)), (2, 5, 2));
    drop(first.take_log());
    first.directory().checkpoint_high_watermarks().expect("memory");

    let second = partition_on(&files.crash(Loss::Nothing), Flush::PageCache);
    lead(&second, 6);
    assert_eq!(second.high_watermark().get(), 2);
    assert_eq!(second.with_log(|log| log.last_stable_offset()), 2);
}
