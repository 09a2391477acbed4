//! What partitions of a running node answer to reads and lookups.

use milena_log::leader_epochs::EpochEnd;
use milena_protocol::ErrorCode;
use milena_protocol::records::Builder;

use super::test_node::{Node, batch, read};
use super::*;
use crate::broker::now_ms;
use crate::partition::upkeep;
use crate::partition::{
    AppendAs, Isolation, Mark, Myself, OffsetAndTimestamp, Read, ReadError, Timestamp, WaitAny,
};

const APPEND: AppendAs = AppendAs { acks_all: false, log_append_time: None };

fn at(timestamp: i64) -> Vec<u8> {
    let mut batch = Builder::new();
    batch.append(timestamp, None, Some(b"value"), &[]).expect("fits");
    batch.finish().expect("fits")
}

#[test]
fn offsets_are_found_by_time() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    node.create("events", &[]);
    let partition = node.partition("events");
    for timestamp in [1_000, 3_000, 2_000] {
        partition.append(&at(timestamp), APPEND, now_ms()).expect("appended");
    }
    let epoch = partition.leader_epoch().expect("leads");
    let found = |offset, timestamp| Ok(OffsetAndTimestamp { offset, timestamp, leader_epoch: epoch });
    let cases = [
        (Timestamp::Earliest, found(0, -1)),
        (Timestamp::EarliestLocal, found(0, -1)),
        (Timestamp::Latest, found(3, -1)),
        (Timestamp::MaxTimestamp, found(1, 3_000)),
        (Timestamp::At(1_500), found(1, 3_000)),
        (Timestamp::At(0), found(0, 1_000)),
        (Timestamp::At(3_001), Ok(OffsetAndTimestamp::NONE)),
        (Timestamp::LatestTiered, Ok(OffsetAndTimestamp::NONE)),
    ];
    for (timestamp, expected) in cases {
        let answer = match partition.offset_by_name(timestamp, Isolation::ReadUncommitted, -1) {
            Ok(None) => partition.offset_by_time(timestamp, Isolation::ReadUncommitted, -1),
            named => named.map(|offset| offset.expect("has a name")),
        };
        assert_eq!(answer, expected, "{timestamp:?}");
    }
    node.stop();
}

#[test]
fn a_wrong_leader_epoch_is_told_before_anything_else() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    node.create("events", &[]);
    node.produce("events", "a");
    node.stop();
    // A restart is a new leader epoch, so that there is an older one.
    let node = Node::start(directory.path());
    let partition = node.partition("events");
    let epoch = partition.leader_epoch().expect("leads");
    assert!(epoch > 0, "{epoch}");
    let in_epoch = |current_leader_epoch| Read { current_leader_epoch, offset: 99, ..read(0) };
    let code = |current| partition.read(in_epoch(current)).expect_err("refused").code();
    assert_eq!(code(epoch + 1), ErrorCode::UnknownLeaderEpoch);
    assert_eq!(code(epoch - 1), ErrorCode::FencedLeaderEpoch);
    assert_eq!(code(epoch), ErrorCode::OffsetOutOfRange);
    node.stop();
}

#[test]
fn a_diverging_history_is_told_where_it_leaves_ours() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    node.create("events", &[]);
    node.produce("events", "a");
    let first = node.partition("events").leader_epoch().expect("leads");
    node.stop();
    // A restart is a new leader epoch.
    let node = Node::start(directory.path());
    node.produce("events", "b");
    let partition = node.partition("events");
    let second = partition.leader_epoch().expect("leads");
    assert!(second > first, "{second} > {first}");
    assert_eq!(partition.end_of_epoch(first, -1), Ok(Some(EpochEnd { epoch: first, end_offset: 1 })));
    assert_eq!(partition.end_of_epoch(second, -1), Ok(Some(EpochEnd { epoch: second, end_offset: 2 })));
    assert_eq!(partition.end_of_epoch(second + 1, -1), Ok(None));
    let last = |last_fetched_epoch, offset| partition.read(Read { last_fetched_epoch, ..read(offset) });
    let readout = last(first, 2).expect("answers");
    assert_eq!(readout.diverging, Some(EpochEnd { epoch: first, end_offset: 1 }));
    assert!(readout.records.is_none());
    assert_eq!(last(second, 1).expect("answers").diverging, None);
    assert!(matches!(last(second + 1, 1), Err(ReadError::OutOfRange { .. })));
    node.stop();
}

#[test]
fn a_read_obeys_its_limit_but_gives_the_first_batch_when_asked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    node.create("events", &[]);
    node.produce("events", "a");
    node.produce("events", "b");
    let partition = node.partition("events");
    let size = batch("a").len();
    let bytes = |bytes_max, first_batch_whole| {
        partition.read(Read { bytes_max, first_batch_whole, ..read(0) }).expect("reads").bytes()
    };
    assert_eq!((bytes(1, true), bytes(1, false), bytes(0, false)), (size, 0, 0));
    assert_eq!(bytes(1 << 20, false), 2 * size);
    node.stop();
}

#[test]
fn a_long_poll_wakes_for_the_first_partition_that_gets_records() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    node.create("quiet", &[]);
    node.create("busy", &[]);
    let (quiet, busy) = (node.partition("quiet"), node.partition("busy"));
    let mut wait = WaitAny::new();
    for partition in [&quiet, &busy] {
        wait.add(partition, Mark::HighWatermark, &partition.read(read(0)).expect("reads"));
    }
    let produced = node.runtime.spawn_blocking({
        let busy = Arc::clone(&busy);
        move || busy.append(&batch("a"), APPEND, now_ms()).expect("appended")
    });
    node.run(wait.any());
    assert_eq!((quiet.high_watermark().get(), busy.high_watermark().get()), (0, 1));
    node.run(produced).expect("no panic");
    node.stop();
}

#[test]
fn an_append_between_the_read_and_the_wait_is_not_waited_past() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    node.create("events", &[]);
    let partition = node.partition("events");
    for (isolation, mark) in [
        (Isolation::LogEnd, Mark::LogEnd),
        (Isolation::ReadUncommitted, Mark::HighWatermark),
        (Isolation::ReadCommitted, Mark::LastStable),
    ] {
        let readout = partition.read(Read { isolation, ..read(0) }).expect("reads");
        partition.append(&batch("a"), APPEND, now_ms()).expect("appended");
        let mut wait = WaitAny::new();
        wait.add(&partition, mark, &readout);
        node.run(wait.any());
    }
    node.stop();
}

/// Leads the log as far as three records, loses it, is cut to one, and leads again.
#[test]
fn a_new_leadership_has_numbers_of_its_own() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    let id = node.create("events", &[]);
    let partition = node.partition("events");
    for value in ["a", "b"] {
        node.produce("events", value);
    }
    let lost = partition.append(&batch("c"), APPEND, now_ms()).expect("appended");
    let of_before = partition.high_watermark();
    assert_eq!(of_before.get(), 3);
    let led = node.lifecycle.metadata().image().partition(id, 0).expect("is known").as_ref().clone();
    let myself = Myself {
        broker_id: led.leader.expect("has a leader"),
        broker_epoch: 1,
        replica_lag_time_max_ms: 30_000,
    };
    let in_epoch = |leader, more| milena_state::metadata::Partition {
        leader,
        leader_epoch: led.leader_epoch + more,
        partition_epoch: led.partition_epoch + more,
        ..led.clone()
    };
    partition.assign(&in_epoch(Some(myself.broker_id + 1), 1), myself, now_ms());
    assert!(node.run(of_before.reached(4)).is_err(), "who waited is sent away");
    partition.with_log(|log| log.truncate_to(1)).expect("is cut");
    partition.assign(&in_epoch(led.leader, 2), myself, now_ms());
    assert_eq!((partition.log_end_offset().get(), partition.high_watermark().get()), (1, 1));
    // Other records at the same offsets acknowledge nothing of before.
    for _ in 0..3 {
        partition.append(&batch("d"), APPEND, now_ms()).expect("appended");
    }
    let outcome = node.run(partition.acknowledged(&lost, partition.awaited(-1)));
    assert_eq!(outcome, Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(node.consume("events"), ["a", "d", "d", "d"]);
    node.crash();
}

#[test]
fn a_minimum_of_in_sync_replicas_is_bounded_by_the_replicas() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    // With one replica the effective minimum is one, whatever is asked (KIP-966).
    node.create("events", &[("min.insync.replicas", "2")]);
    node.produce("events", "a");
    assert_eq!(node.consume("events"), ["a"]);
    node.stop();
}

#[test]
fn retention_raises_the_log_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    node.create("events", &[("retention.bytes", "1"), ("segment.bytes", "1048576")]);
    let value = "x".repeat(700 << 10);
    for _ in 0..3 {
        node.produce("events", &value);
    }
    let partition = node.partition("events");
    assert!(partition.extent().expect("is open").segments_count > 1);
    partition.delete_old_segments(now_ms());
    let start = partition.log_start_offset();
    assert!(start > 0 && start <= 3, "log start offset {start}");
    assert_eq!(partition.read(read(start - 1)).expect_err("deleted").code(), ErrorCode::OffsetOutOfRange);
    assert_eq!(node.consume("events").len() as i64, 3 - start);
    node.stop();
}

/// The next checkpoint on time is a minute away.
#[test]
fn files_of_deleted_segments_wait_for_their_delay_and_no_longer() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    let config = [("retention.bytes", "1"), ("segment.bytes", "1048576"), ("file.delete.delay.ms", "0")];
    node.create("events", &config);
    let value = "x".repeat(700 << 10);
    for _ in 0..3 {
        node.produce("events", &value);
    }
    upkeep::delete_old_segments(node.lifecycle.partitions(), node.lifecycle.directories());
    let waiting = || {
        let entries = std::fs::read_dir(directory.path().join("events-0")).expect("it is there");
        let names = entries.map(|entry| entry.expect("readable").file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".deleted")).count()
    };
    let partition = node.partition("events");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while waiting() > 0 {
        assert!(std::time::Instant::now() < deadline, "{} files wait", waiting());
        // The names are synced by another thread.
        partition.maintain(now_ms());
        std::thread::yield_now();
    }
    node.stop();
}

/// 10,000 of them have to be affordable.
#[test]
fn an_idle_partition_is_small() {
    let sizes =
        [size_of::<crate::partition::Partition>(), size_of::<milena_state::partition::leader::Leader>()];
    assert!(sizes.iter().sum::<usize>() <= 1_536, "{sizes:?}");
}
