use milena_client::net::Tcp;
use milena_protocol::ErrorCode;
use milena_state::metadata::topics::{CreateTopics, DeleteTopics, NewTopic, TopicRef};
use milena_state::metadata::{Delta, Image};

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
    node.run(node.lifecycle.quorum().expect("a controller").snapshot()).expect("asked for");
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
    node.set_topic("events", "max.message.bytes", "4321");
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
    node.run(partition.acknowledged(&appended, partition.awaited(1))).expect("synced");
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

/// 70 MB of settings in one request, more than a segment of the metadata log: numbers that are padded, and the
/// coordinators' topic, which takes any setting.
#[test]
fn the_controller_survives_a_request_larger_than_its_log_takes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    let names = ["retention.ms", "segment.ms", "flush.ms", "flush.messages", "file.delete.delay.ms"];
    let padded = format!("{}60000", "0".repeat(32_000));
    let topic = |name: String, configs: Vec<(String, Option<String>)>| NewTopic {
        name,
        topic_id: new_id(),
        num_partitions: 1,
        replication_factor: 1,
        configs,
        ..NewTopic::default()
    };
    let numbers = || names.iter().map(|name| ((*name).to_owned(), Some(padded.clone()))).collect();
    let texts = (0..2_200).map(|i| (format!("text.{i}"), Some(padded.clone()))).collect();
    let mut topics: Vec<_> = (0..20).map(|i| topic(format!("padded-{i}"), numbers())).collect();
    topics.push(topic("__consumer_offsets".to_owned(), texts));
    let Reply::CreateTopics(outcomes) =
        node.submit(Command::CreateTopics(CreateTopics { topics, validate_only: false }))
    else {
        panic!("another reply");
    };
    let (refused, created) = outcomes.split_last().expect("answers");
    assert!(created.iter().all(|outcome| outcome.result.is_ok()), "{created:?}");
    assert_eq!(refused.result.as_ref().expect_err("too large").code, ErrorCode::PolicyViolation);
    assert_eq!(node.partition("padded-7").settings().retention_ms, Some(60_000));
    node.create("after", &[]);
    node.produce("after", "a");
    assert_eq!(node.lifecycle.quorum().and_then(|quorum| quorum.stopped()), None);
    node.stop();
}

/// Where nobody is yet that a lagging broker could be asked for: the publisher alone.
#[test]
fn only_a_complete_image_sets_partitions_aside() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Node::start(directory.path());
    node.create("events", &[]);
    node.produce("events", "a");
    let (complete, settings) = (node.lifecycle.metadata().image_arc(), Arc::clone(&node.lifecycle.settings));
    node.stop();
    // Those of another node, which has stopped: nothing is coordinated here.
    let files = Arc::new(milena_log::memory_files::MemoryFiles::new());
    let other = Node::start_on(files, &[("log.dirs", "/data")]).expect("starts");
    let groups = Arc::clone(other.lifecycle.groups());
    other.stop();
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let publisher = |table: &Arc<Table>| {
        let (directories, _) = open_directories(&settings, None, Arc::new(RealFiles)).expect("opens");
        let (table, groups) = (Arc::clone(table), Arc::clone(&groups));
        let quotas = Arc::new(Quotas::new(&settings));
        let replication = Replication::new(Arc::clone(&settings), Arc::new(Tcp), Arc::new(Metrics::new()));
        Publisher::new(
            Arc::clone(&settings),
            new_id(),
            table,
            Arc::new(directories),
            groups,
            quotas,
            replication,
        )
    };
    let strays = || {
        let names = std::fs::read_dir(directory.path()).expect("is there").flatten();
        names.filter(|entry| entry.file_name().to_string_lossy().ends_with("-stray")).count()
    };

    let table = Arc::new(Table::new());
    runtime.block_on(async {
        let publisher = publisher(&table).first(Arc::default()).await.expect("no panic");
        assert_eq!(strays(), 0, "the image may lag");
        let delta = Delta::between(&Image::default(), &complete);
        let publisher = publisher.apply(complete, delta).await.expect("no panic");
        publisher.caught_up().await.expect("no panic");
    });
    assert_eq!(strays(), 0);
    let partition = table.by_name("events", 0).expect("the partition is here");
    assert_eq!(partition.log_end_offset().get(), 1);
    drop((partition, table));

    runtime.block_on(async {
        let publisher = publisher(&Arc::default()).first(Arc::default()).await.expect("no panic");
        publisher.caught_up().await.expect("no panic");
    });
    assert_eq!(strays(), 2);
}
