use milena_protocol::ErrorCode;
use milena_state::metadata::ConfigResource;
use milena_state::metadata::configs::{IncrementalAlterConfigs, Operation};
use milena_state::metadata::topics::{DeleteTopics, TopicRef};

use super::test_node::{Node, batch, eventually, read};
use super::*;
use crate::broker::now_ms;
use crate::partition::AppendAs;

#[test]
fn a_created_topic_can_be_used_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    let id = node.create("events", &[]);
    assert_eq!(node.produce("events", "a").base_offset, 0);
    assert_eq!(node.produce("events", "b").base_offset, 1);
    assert_eq!(node.consume("events"), ["a", "b"]);
    let partitions = node.lifecycle.partitions();
    assert_eq!(partitions.by_id(id, 1).expect("is here").index(), 1);
    assert_eq!(partitions.by_id(id, 2).err(), Some(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(partitions.by_id(new_id(), 0).err(), Some(ErrorCode::UnknownTopicId));
    assert_eq!(partitions.by_name("other", 0).err(), Some(ErrorCode::UnknownTopicOrPartition));
    node.stop();
}

#[test]
fn topics_and_records_survive_a_clean_restart_and_a_crash() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    let id = node.create("events", &[]);
    let cluster_id = node.lifecycle.cluster_id().to_owned();
    node.produce("events", "before the stop");
    node.stop();

    let node = Node::start(directory.path());
    assert_eq!(
        (node.lifecycle.cluster_id(), node.consume("events")),
        (&*cluster_id, vec!["before the stop".to_owned()])
    );
    node.create("late", &[]);
    node.produce("events", "before the crash");
    node.produce("late", "also");
    node.crash();

    let node = Node::start(directory.path());
    assert_eq!(node.partition("events").topic_id(), id);
    assert_eq!(node.consume("events"), ["before the stop", "before the crash"]);
    assert_eq!(node.consume("late"), ["also"]);
    node.produce("events", "after");
    node.stop();
}

#[test]
fn the_image_is_rebuilt_from_a_snapshot_and_the_log_behind_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    node.create("in-snapshot", &[("retention.ms", "12345")]);
    node.run(node.lifecycle.quorum().snapshot()).expect("asked for");
    let log = directory.path().join(LOG_NAME);
    let is_checkpoint =
        |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".checkpoint");
    eventually("a snapshot is written", || {
        std::fs::read_dir(&log).expect("is there").flatten().any(is_checkpoint)
    });
    node.create("in-log", &[]);
    let before = node.lifecycle.metadata().image_arc();
    node.crash();

    let node = Node::start(directory.path());
    let after = node.lifecycle.metadata().image_arc();
    let names = |image: &milena_state::metadata::Image| {
        image.topics().map(|topic| (topic.name.clone(), topic.id)).collect::<Vec<_>>()
    };
    assert_eq!(names(&before), names(&after));
    assert_eq!(node.partition("in-snapshot").settings().retention_ms, Some(12345));
    node.stop();
}

#[test]
fn deleted_topics_go_and_changed_settings_hold_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    let id = node.create("events", &[]);
    node.produce("events", "a");
    let partition = node.partition("events");
    let set = vec![("max.message.bytes".to_owned(), Operation::Set("4321".to_owned()))];
    node.submit(Command::IncrementalAlterConfigs(IncrementalAlterConfigs {
        resources: vec![(ConfigResource::topic("events"), set)],
        validate_only: false,
    }));
    assert_eq!(partition.settings().max_message_bytes, 4321);

    node.submit(Command::DeleteTopics(DeleteTopics { topics: vec![TopicRef::Id(id)] }));
    assert_eq!(node.lifecycle.partitions().by_id(id, 0).err(), Some(ErrorCode::UnknownTopicId));
    let refused =
        partition.append(&batch("b"), AppendAs { acks_all: false, log_append_time: None }, now_ms());
    assert_eq!(refused.expect_err("deleted").code, ErrorCode::NotLeaderOrFollower);
    // The name is free again, and nothing of the old topic is left under it.
    node.create("events", &[]);
    assert_eq!(node.consume("events"), Vec::<String>::new());
    node.stop();
}

#[test]
fn durable_topics_acknowledge_what_is_synced() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    node.create("safe", &[("milena.flush", "durable")]);
    let partition = node.partition("safe");
    let append = AppendAs { acks_all: false, log_append_time: None };
    let appended = partition.append(&batch("a"), append, now_ms()).expect("appended");
    node.run(partition.acknowledged(&appended, false)).expect("synced");
    // With one replica, what is synced is committed.
    node.run(partition.high_watermark().reached(1)).expect("committed");
    node.stop();
}

#[test]
fn producer_ids_are_never_given_twice() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let node = Node::start(directory.path());
        for _ in 0..2_500 {
            let id = node.run(node.lifecycle.producer_ids().next()).expect("an id");
            assert!(seen.insert(id), "{id} was given twice");
        }
        node.crash();
    }
}

#[test]
fn records_below_a_deleted_offset_are_out_of_range() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    node.create("events", &[]);
    for value in ["a", "b", "c"] {
        node.produce("events", value);
    }
    let partition = node.partition("events");
    assert_eq!(partition.delete_records(4), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(partition.delete_records(2), Ok(2));
    assert_eq!(partition.delete_records(1), Ok(2));
    assert_eq!(partition.read(read(1)).expect_err("deleted").code(), ErrorCode::OffsetOutOfRange);
    assert_eq!(node.consume("events"), ["c"]);
    assert_eq!(partition.delete_records(-1), Ok(3));
    node.stop();
}
