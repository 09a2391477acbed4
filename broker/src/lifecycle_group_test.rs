//! Committed offsets of a running node: kept, loaded again, refused, expired.

use milena_log::memory_files::{Fault, Loss, MemoryFiles, Operation};
use milena_protocol::ErrorCode;
use milena_protocol::records::Builder;
use milena_state::group::reply::Reply as GroupReply;
use milena_state::group::request::{Commit, CommitPartition};
use milena_state::group::{Command as GroupCommand, CommandReply};
use milena_state::metadata::topics::{DeleteTopics, TopicRef};

use super::group_scene::{EMFILE, GROUP, commit, node, partition_of, segment_of};
use super::test_node::{Node, eventually};
use super::*;
use crate::broker::now_ms;
use crate::coordinator::OFFSETS_TOPIC;
use crate::partition::AppendAs;

const EIO: i32 = 5;

#[test]
fn an_answered_commit_is_there_after_a_crash() {
    let files = MemoryFiles::new();
    let before = node(&files, &[]);
    for offset in 1..=3 {
        before.commit(commit(GROUP, "orders", 0, offset)).expect("committed");
    }
    before.commit(commit("other", "orders", 1, 9)).expect("committed");
    before.crash();
    let after = node(&files, &[]);
    assert_eq!((after.committed(GROUP, "orders", 0), after.committed("other", "orders", 1)), (3, 9));
    assert_eq!(after.committed(GROUP, "orders", 1), -1);
    after.stop();
}

#[test]
fn in_durable_mode_an_answered_commit_is_there_after_the_power_failed() {
    let files = MemoryFiles::new();
    let durable = [("milena.flush", "durable")];
    let before = node(&files, &durable);
    before.commit(commit(GROUP, "orders", 0, 42)).expect("committed");
    before.crash();
    let after = node(&files.crash(Loss::Unsynced), &durable);
    assert_eq!(after.committed(GROUP, "orders", 0), 42);
    after.crash();
}

#[test]
fn compressed_records_are_read_again() {
    let files = MemoryFiles::new();
    let before = node(&files, &[("offsets.topic.compression.codec", "4")]);
    before.commit(commit(GROUP, "orders", 0, 42)).expect("committed");
    before.crash();
    let after = node(&files, &[("offsets.load.buffer.size", "1")]);
    assert_eq!(after.committed(GROUP, "orders", 0), 42);
    after.stop();
}

fn append(partition: &Partition, key: Option<&[u8]>, value: Option<&[u8]>) {
    let mut batch = Builder::new();
    batch.append(now_ms(), key, value, &[]).expect("fits");
    let append = AppendAs { acks_all: true, log_append_time: None };
    partition.append(&batch.finish().expect("fits"), append, now_ms()).expect("appended");
}

#[test]
fn garbage_on_the_log_is_skipped_and_counted() {
    let files = MemoryFiles::new();
    let before = node(&files, &[]);
    before.commit(commit(GROUP, "orders", 0, 1)).expect("committed");
    let partition = partition_of(&before, GROUP);
    append(&partition, None, Some(b"no key"));
    append(&partition, Some(b"x"), Some(b"short"));
    append(&partition, Some(&[0, 1, 0xff, 0xff]), Some(b"bad key"));
    // A record type of a later Kafka is none of ours, and no garbage.
    append(&partition, Some(&[0, 77, 1]), Some(b"later"));
    before.commit(commit(GROUP, "orders", 0, 2)).expect("committed");
    drop(partition);
    before.stop();
    let after = node(&files, &[]);
    assert_eq!(after.committed(GROUP, "orders", 0), 2);
    assert_eq!(after.lifecycle.groups().metrics().group_records_skipped(), 3);
    after.stop();
}

/// Another group of the same coordinator.
fn neighbour_of(node: &Node, group: &str) -> String {
    let groups = node.lifecycle.groups();
    let mut names = (0..).map(|number| format!("neighbour-{number}"));
    names
        .find(|name| groups.partition_of(name) == groups.partition_of(group))
        .expect("there are two partitions")
}

#[test]
fn a_failed_disk_is_answered_as_another_coordinator_and_ends_this_one() {
    let files = MemoryFiles::new();
    let node = node(&files, &[("group.initial.rebalance.delay.ms", "600000")]);
    let waiting = node.joining(GROUP, "");
    node.wait_for_waiting(GROUP, 1);
    files.inject(Fault::errno(Operation::Write, 0, EIO).on_paths(&segment_of(&node, GROUP)).lasting());
    let neighbour = neighbour_of(&node, GROUP);
    let refused = node.commit(commit(&neighbour, "orders", 0, 1));
    assert_eq!(refused, Err(ErrorCode::NotCoordinator));
    let Ok(GroupReply::Join(reply)) = node.answer(waiting) else { panic!("another reply") };
    assert_eq!(reply.error, ErrorCode::NotCoordinator);
    assert_eq!(node.fetched(&neighbour, "orders", 0).map(|_| ()), Err(ErrorCode::NotCoordinator));
    node.crash();
}

#[test]
fn a_commit_that_is_not_replicated_in_time_is_no_commit_yet() {
    let files = MemoryFiles::new();
    let node = node(&files, &[("milena.flush", "durable"), ("offsets.commit.timeout.ms", "50")]);
    // The sync is repeated for as long as descriptors are short.
    let folder = format!("/data/{OFFSETS_TOPIC}-{}", partition_of(&node, GROUP).index());
    files.inject(Fault::errno(Operation::SyncDir, 0, EMFILE).on_paths(&folder).lasting());
    let late = node.commit(commit(GROUP, "orders", 0, 1));
    assert_eq!(late, Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(node.fetched(GROUP, "orders", 0).map(|_| ()), Err(ErrorCode::CoordinatorNotAvailable));
    files.heal();
    eventually("it is synced after all", || {
        node.fetched(GROUP, "orders", 0).is_ok_and(|found| found.offset == 1)
    });
    node.stop();
}

#[test]
fn offsets_expire() {
    let files = MemoryFiles::new();
    let node = node(&files, &[("offsets.retention.check.interval.ms", "1")]);
    node.commit(commit("stays", "orders", 0, 1)).expect("committed");
    node.commit(Commit { retention_time_ms: 1, ..commit(GROUP, "orders", 0, 1) }).expect("committed");
    eventually("the offset is gone", || node.committed(GROUP, "orders", 0) == -1);
    eventually("so is the group", || node.state(GROUP) == "Dead");
    assert_eq!(node.committed("stays", "orders", 0), 1);
    node.stop();
}

#[test]
fn offsets_go_with_their_topic_and_not_with_another_of_its_name() {
    let files = MemoryFiles::new();
    let node = node(&files, &[]);
    let id = node.create("orders", &[]);
    let with_id = |topic_id| {
        let mut commit = commit(GROUP, "orders", 0, 1);
        commit.topics[0].topic_id = topic_id;
        commit
    };
    node.commit(with_id(id)).expect("committed");
    let mut newer = with_id(new_id());
    newer.topics[0].partitions[0].partition = 1;
    node.commit(newer).expect("committed");
    node.commit(commit("other", "payments", 0, 7)).expect("committed");
    let command = DeleteTopics { topics: vec![TopicRef::Name("orders".to_owned())] };
    node.submit(Command::DeleteTopics(command));
    eventually("the offset is gone", || node.committed(GROUP, "orders", 0) == -1);
    assert_eq!((node.committed(GROUP, "orders", 1), node.committed("other", "payments", 0)), (1, 7));
    node.stop();
}

/// A commit of many partitions, with so much text that they fill several batches of the least size.
fn large(partitions: std::ops::Range<i32>) -> Commit {
    let mut commit = commit(GROUP, "orders", 0, 1);
    let partition = |partition| CommitPartition {
        partition,
        offset: 1,
        leader_epoch: -1,
        metadata: Some("x".repeat(200).into()),
    };
    commit.topics[0].partitions = partitions.map(partition).collect();
    commit
}

#[test]
fn a_commit_is_one_batch_and_a_deletion_as_many_as_it_takes() {
    let files = MemoryFiles::new();
    let small = [("max.message.bytes", "1024"), ("cleanup.policy", "compact")];
    let before = super::group_scene::bare_node(&files, &[]);
    before.create(OFFSETS_TOPIC, &small);
    let refused = before.commit(large(0..5));
    assert_eq!(refused, Err(ErrorCode::UnknownServerError), "MESSAGE_TOO_LARGE is nothing to a consumer");
    assert_eq!(before.committed(GROUP, "orders", 0), -1, "nothing of it is committed");
    for first in (0..60).step_by(3) {
        before.commit(large(first..first + 3)).expect("committed");
    }
    let end = || partition_of(&before, GROUP).log_end_offset().get();
    let committed_end = end();
    let delete = GroupCommand::DeleteGroups(vec![GROUP.into()]);
    let deleted = before.run(before.lifecycle.groups().command(GROUP, delete)).expect("deleted");
    assert_eq!(deleted, CommandReply::DeleteGroups(vec![(GROUP.into(), ErrorCode::None)]));
    assert_eq!(end() - committed_end, 61, "a tombstone for each offset and one for the group");
    before.crash();
    let after = node(&files, &[]);
    assert_eq!((after.committed(GROUP, "orders", 59), after.state(GROUP)), (-1, "Dead"));
    after.stop();
}

#[test]
fn a_panic_in_a_step_ends_the_coordinator_alone() {
    let files = MemoryFiles::new();
    let node = node(&files, &[]);
    node.commit(commit(GROUP, "orders", 0, 1)).expect("committed");
    files.inject(Fault::panic(Operation::Write, 0).on_paths(&segment_of(&node, GROUP)));
    let groups = Arc::clone(node.lifecycle.groups());
    let next = GroupCommand::Commit(commit(GROUP, "orders", 0, 2));
    let panicked = node.runtime.spawn(async move { groups.command(GROUP, next).await });
    assert!(node.run(panicked).is_err_and(|error| error.is_panic()));
    assert_eq!(node.fetched(GROUP, "orders", 0).map(|_| ()), Err(ErrorCode::NotCoordinator));
    let groups = node.lifecycle.groups();
    let mut names = (0..).map(|number| format!("far-{number}"));
    let far =
        names.find(|name| groups.partition_of(name) != groups.partition_of(GROUP)).expect("two partitions");
    node.commit(commit(&far, "orders", 0, 1)).expect("another coordinator");
    node.crash();
    let after = super::group_scene::node(&files, &[]);
    assert_eq!(after.committed(GROUP, "orders", 0), 1);
    after.stop();
}

#[test]
fn a_panic_in_a_look_leaves_the_coordinator_at_work() {
    let files = MemoryFiles::new();
    let node = node(&files, &[]);
    node.commit(commit(GROUP, "orders", 0, 1)).expect("committed");
    let groups = Arc::clone(node.lifecycle.groups());
    let panicked = node.runtime.spawn(async move { groups.read(GROUP, |_| panic!("injected")).await });
    assert!(node.run(panicked).is_err_and(|error| error.is_panic()));
    assert_eq!(node.committed(GROUP, "orders", 0), 1);
    node.stop();
}

#[test]
fn groups_that_cannot_be_read_for_now_are_loaded_later() {
    let files = MemoryFiles::new();
    let node = node(&files, &[]);
    node.commit(commit(GROUP, "orders", 0, 7)).expect("committed");
    files.inject(Fault::errno(Operation::Read, 0, EMFILE).on_paths(&segment_of(&node, GROUP)).lasting());
    node.elect(GROUP, 1);
    node.publish_groups();
    eventually("a load has failed", || node.lifecycle.groups().metrics().group_loads_failed() > 0);
    assert_eq!(node.commit(commit(GROUP, "orders", 0, 8)), Err(ErrorCode::CoordinatorLoadInProgress));
    files.heal();
    eventually("it is loaded", || node.fetched(GROUP, "orders", 0).is_ok_and(|found| found.offset == 7));
    node.crash();
}
