use super::super::leader::{Fetched, LogEnds, Rules};
use super::*;
use crate::metadata::Partition;
use crate::metadata::record::RecoveryState;

/// A leader whose epoch began at 10 and whose only follower has everything below `high_watermark`.
fn leader(log_end_offset: i64, high_watermark: i64) -> Leader {
    let partition = Partition {
        replicas: vec![1, 2],
        isr: vec![1, 2],
        removing_replicas: vec![],
        adding_replicas: vec![],
        leader: Some(1),
        leader_recovery_state: RecoveryState::Recovered,
        leader_epoch: 5,
        partition_epoch: 9,
        directories: vec![milena_protocol::types::Uuid::ZERO; 2],
        eligible_leader_replicas: vec![],
        last_known_elr: vec![],
    };
    let ends = LogEnds { log_start_offset: 0, log_end_offset: 10, synced_offset: 0, high_watermark };
    let rules = Rules { min_insync_replicas: 1, durable: false, replica_lag_time_max_ms: 1000 };
    let (mut leader, _) = Leader::new(1, 77, &partition, ends, rules, 0);
    let _ = leader.appended(log_end_offset, 0);
    if high_watermark > 10 {
        let fetched =
            Fetched { broker_id: 2, broker_epoch: 70, fetch_offset: high_watermark, log_start_offset: 0 };
        let _ = leader.fetched(fetched, 0).unwrap();
    }
    leader
}

#[test]
fn isolation_is_that_of_a_follower_or_of_the_level() {
    for (replica_id, level, isolation) in [
        (-1, 0, Isolation::ReadUncommitted),
        (-1, 1, Isolation::ReadCommitted),
        (-1, 7, Isolation::ReadUncommitted),
        (-2, 0, Isolation::ReadUncommitted),
        (0, 1, Isolation::LogEnd),
        (3, 0, Isolation::LogEnd),
    ] {
        assert_eq!(Isolation::of(replica_id, level), isolation, "{replica_id} {level}");
    }
}

#[test]
fn each_reader_sees_below_its_own_end() {
    let leader = leader(20, 12);
    for (isolation, stable, end) in [
        (Isolation::LogEnd, 8, 20),
        (Isolation::ReadUncommitted, 8, 12),
        (Isolation::ReadCommitted, 8, 8),
        // The log calls stable what is not committed yet.
        (Isolation::ReadCommitted, 20, 12),
    ] {
        assert_eq!(leader.visible_end(isolation, stable), end, "{isolation:?} {stable}");
    }
}

#[test]
fn offsets_wait_for_the_watermark_to_reach_the_start_of_the_epoch() {
    let behind = leader(20, 9);
    let not_yet = Err(ErrorCode::OffsetNotAvailable);
    assert_eq!(behind.latest_offset(Isolation::ReadUncommitted, 20), not_yet);
    assert_eq!(behind.latest_offset(Isolation::LogEnd, 20), Ok(20), "followers may know");
    assert_eq!(behind.may_list(Some(8), Isolation::ReadUncommitted, 20), Ok(true), "it is committed");
    assert_eq!(behind.may_list(Some(9), Isolation::ReadUncommitted, 20), not_yet.map(|_: i64| true));
    assert_eq!(behind.may_list(None, Isolation::ReadUncommitted, 20), not_yet.map(|_: i64| true));
    assert_eq!(behind.may_list(None, Isolation::LogEnd, 20), Ok(false));
    let level = leader(20, 10);
    assert_eq!(level.latest_offset(Isolation::ReadUncommitted, 20), Ok(10));
    assert_eq!(level.may_list(Some(9), Isolation::ReadUncommitted, 20), Ok(true));
    assert_eq!(level.may_list(Some(10), Isolation::ReadUncommitted, 20), Ok(false));
}

#[test]
fn records_are_deleted_up_to_the_high_watermark_at_most() {
    let leader = leader(20, 12);
    let refused = Err(ErrorCode::OffsetOutOfRange);
    for (asked, answer) in [(-1, Ok(12)), (0, Ok(0)), (12, Ok(12)), (13, refused), (-2, refused)] {
        assert_eq!(leader.delete_upto(asked, true), answer, "{asked}");
        assert_eq!(leader.delete_upto(asked, false), Err(ErrorCode::PolicyViolation), "{asked}");
    }
}

#[test]
fn a_history_diverges_where_its_last_epoch_ends_earlier_here() {
    let ours = |epoch, end_offset| Some(DivergingEpoch { epoch, end_offset });
    assert_eq!(diverging(3, 10, ours(3, 10)), Ok(None));
    assert_eq!(diverging(3, 10, ours(3, 15)), Ok(None));
    assert_eq!(diverging(3, 10, ours(3, 9)), Ok(ours(3, 9)));
    assert_eq!(diverging(3, 10, ours(2, 12)), Ok(ours(2, 12)));
    assert_eq!(diverging(3, 10, None), Err(ErrorCode::OffsetOutOfRange));
}
