//! What partitions of a running node answer to reads and lookups.

use milena_protocol::ErrorCode;
use milena_protocol::records::Builder;

use super::test_node::{Node, batch, read};
use super::*;
use crate::broker::now_ms;
use crate::partition::{
    AppendAs, EpochEnd, Isolation, OffsetAndTimestamp, Read, ReadError, Timestamp, WaitAny,
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
        let answer = partition.offset_for(timestamp, Isolation::ReadUncommitted, -1);
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
    // A new topic begins with epoch 0, below which there is none: a restart is a new one.
    let node = Node::start(directory.path());
    let partition = node.partition("events");
    let epoch = partition.leader_epoch().expect("leads");
    assert!(epoch > 0, "{epoch} > 0");
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
    assert_eq!(partition.end_of_epoch(first, -1), Ok(EpochEnd { leader_epoch: first, end_offset: 1 }));
    assert_eq!(partition.end_of_epoch(second, -1), Ok(EpochEnd { leader_epoch: second, end_offset: 2 }));
    assert_eq!(partition.end_of_epoch(second + 1, -1), Ok(EpochEnd { leader_epoch: -1, end_offset: -1 }));
    let last = |last_fetched_epoch, offset| partition.read(Read { last_fetched_epoch, ..read(offset) });
    let readout = last(first, 2).expect("answers");
    assert_eq!(readout.diverging, Some(EpochEnd { leader_epoch: first, end_offset: 1 }));
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
    wait.add(&quiet, crate::partition::Mark::HighWatermark, 1);
    wait.add(&busy, crate::partition::Mark::HighWatermark, 1);
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

/// 10,000 of them have to be affordable.
#[test]
fn an_idle_partition_is_small() {
    let sizes =
        [size_of::<crate::partition::Partition>(), size_of::<milena_state::partition::leader::Leader>()];
    assert!(sizes.iter().sum::<usize>() <= 1_536, "{sizes:?}");
}
