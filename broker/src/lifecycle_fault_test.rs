//! What is left of a node's promises when disks fail and the power goes.

use std::path::Path;

use milena_log::memory_files::{Fault, Loss, MemoryFiles, Operation};
use milena_protocol::ErrorCode;
use milena_state::metadata::topics::{CreateTopics, NewTopic};

use super::test_node::{Node, batch};
use super::*;
use crate::broker::now_ms;
use crate::partition::AppendAs;

const EIO: i32 = 5;
const ONE: &[(&str, &str)] = &[("log.dirs", "/data")];
const TWO: &[(&str, &str)] = &[("log.dirs", "/data,/more"), ("metadata.log.dir", "/meta")];
const APPEND: AppendAs = AppendAs { acks_all: true, log_append_time: None };

/// What clients were told had happened.
#[derive(Debug, Default)]
struct Acknowledged {
    topics: Vec<String>,
    records: usize,
}

/// Starts a node, creates topics and appends to a durable one until something fails.
fn short_history(files: &MemoryFiles) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let Ok(node) = Node::start_on(Arc::new(files.clone()), ONE) else { return acknowledged };
    for round in 0..3 {
        let name = format!("topic-{round}");
        if !try_create(&node, &name) {
            break;
        }
        acknowledged.topics.push(name);
        if round > 0 && !try_append(&node, "topic-0") {
            break;
        }
        acknowledged.records += usize::from(round > 0);
    }
    node.crash();
    acknowledged
}

fn try_create(node: &Node, name: &str) -> bool {
    let topic = NewTopic {
        name: name.to_owned(),
        topic_id: new_id(),
        num_partitions: 1,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: vec![("milena.flush".to_owned(), Some("durable".to_owned()))],
    };
    let command = Command::CreateTopics(CreateTopics { topics: vec![topic], validate_only: false });
    node.run(async {
        let Ok(committed) = node.lifecycle.controller().submit(command).await else { return false };
        node.lifecycle.metadata().reached(committed.index).await.is_ok()
    })
}

fn try_append(node: &Node, topic: &str) -> bool {
    let Ok(partition) = node.lifecycle.partitions().by_name(topic, 0) else { return false };
    let Ok(appended) = partition.append(&batch("x"), APPEND, now_ms()) else { return false };
    node.run(partition.acknowledged(&appended, partition.awaited(-1))).is_ok()
}

/// The power fails at every single operation that changes the disk, and takes a random part of what was not synced.
#[test]
fn nothing_acknowledged_is_lost_when_the_power_fails_at_any_write() {
    let whole = MemoryFiles::new();
    let all = short_history(&whole);
    assert_eq!((all.topics.len(), all.records), (3, 2));
    for at in 0..whole.operations_count() {
        let files = MemoryFiles::new();
        files.inject(Fault::power_loss(Operation::Any, at));
        let acknowledged = short_history(&files);
        let files = files.crash(Loss::Random(at));
        let left: Vec<_> = files
            .paths_below(Path::new("/data/topic-0"))
            .into_iter()
            .map(|path| (path.clone(), files.contents(&path).len()))
            .collect();
        let node = Node::start_on(Arc::new(files), ONE)
            .unwrap_or_else(|error| panic!("power loss at operation {at}: does not start: {error}"));
        for topic in &acknowledged.topics {
            assert!(
                node.lifecycle.partitions().by_name(topic, 0).is_ok(),
                "power loss at operation {at}: {topic} is lost"
            );
        }
        if acknowledged.records > 0 {
            let partition = node.partition("topic-0");
            let records = partition.log_end_offset().get();
            assert!(
                records >= acknowledged.records as i64,
                "power loss at operation {at}: {records} of {acknowledged:?} {left:?}"
            );
            node.run(partition.high_watermark().reached(records)).expect("what was recovered is served");
            assert_eq!(node.consume("topic-0").len() as i64, records);
        }
        node.crash();
    }
}

#[test]
fn a_failed_directory_fails_its_partitions_and_no_others() {
    let files = MemoryFiles::new();
    let node = Node::start_on(Arc::new(files.clone()), TWO).expect("starts");
    // Two topics of two partitions over two directories: partition by partition where there are fewest.
    node.create("events", &[]);
    let partitions: Vec<_> = node.lifecycle.partitions().all();
    let in_data =
        |partition: &crate::partition::Partition| partition.directory().path() == Path::new("/data");
    assert!(partitions.iter().any(|p| in_data(p)) && partitions.iter().any(|p| !in_data(p)));
    files.inject(
        Fault::errno(Operation::Write, 0, EIO).on_paths("/data/events-0/00000000000000000000.log").lasting(),
    );
    files.inject(
        Fault::errno(Operation::Write, 0, EIO).on_paths("/data/events-1/00000000000000000000.log").lasting(),
    );
    for partition in &partitions {
        let outcome = partition.append(&batch("a"), APPEND, now_ms());
        if in_data(partition) {
            assert_eq!(outcome.expect_err("the disk fails").code, ErrorCode::KafkaStorageError);
            let found = node.lifecycle.partitions().by_name("events", partition.index());
            assert_eq!(found.err(), Some(ErrorCode::KafkaStorageError));
        } else {
            outcome.expect("another disk");
        }
    }
    assert!(try_create(&node, "new"), "metadata is in neither directory");
    assert!(try_append(&node, "new"), "new partitions go where the disk works");
    node.stop();
}

#[test]
fn without_its_metadata_directory_a_node_serves_what_it_has() {
    let files = MemoryFiles::new();
    let node = Node::start_on(Arc::new(files.clone()), TWO).expect("starts");
    node.create("events", &[]);
    files.inject(
        Fault::errno(Operation::Sync, 0, EIO)
            .on_paths("/__cluster_metadata-0/00000000000000000000.log")
            .lasting(),
    );
    let topic = NewTopic {
        name: "late".to_owned(),
        topic_id: new_id(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    for _ in 0..2 {
        let command =
            Command::CreateTopics(CreateTopics { topics: vec![topic.clone()], validate_only: false });
        let refused =
            node.run(node.lifecycle.controller().submit(command)).expect_err("nothing can be committed");
        assert_eq!(refused, SubmitError::Storage);
    }
    node.produce("events", "a");
    assert_eq!(node.consume("events"), ["a"]);
    node.crash();
}

#[test]
fn a_partition_in_a_directory_that_cannot_be_opened_does_not_begin_anew() {
    let files = MemoryFiles::new();
    let node = Node::start_on(Arc::new(files.clone()), TWO).expect("starts");
    node.create("events", &[]);
    for partition in node.lifecycle.partitions().all() {
        partition.append(&batch("a"), APPEND, now_ms()).expect("appended");
    }
    node.stop();
    files.inject(Fault::errno(Operation::Open, 0, EIO).on_paths("/more/meta.properties").lasting());
    let node = Node::start_on(Arc::new(files.clone()), TWO).expect("starts with one directory less");
    let codes: Vec<_> =
        (0..2).map(|index| node.lifecycle.partitions().by_name("events", index).err()).collect();
    assert!(codes.contains(&None) && codes.contains(&Some(ErrorCode::KafkaStorageError)), "{codes:?}");
    node.stop();
    files.heal();
    let node = Node::start_on(Arc::new(files), TWO).expect("starts");
    for index in 0..2 {
        let partition = node.lifecycle.partitions().by_name("events", index).expect("is back");
        assert_eq!(partition.high_watermark().get(), 1);
    }
    node.stop();
}

#[test]
fn damaged_partition_is_still_failed_after_a_clean_stop() {
    let files = MemoryFiles::new();
    let node = Node::start_on(Arc::new(files.clone()), ONE).expect("starts");
    assert!(try_create(&node, "events") && try_append(&node, "events") && try_append(&node, "events"));
    node.lifecycle.directories().checkpoint();
    node.crash();
    let files = files.crash(Loss::Nothing);
    files.damage(Path::new("/data/events-0/00000000000000000000.log"), |bytes| bytes.truncate(10));
    for start in 0..3 {
        let node = Node::start_on(Arc::new(files.clone()), ONE).expect("starts");
        let found = node.lifecycle.partitions().by_name("events", 0).map(|_| ());
        assert_eq!(found, Err(ErrorCode::KafkaStorageError), "start {start}");
        node.stop();
    }
}

#[test]
fn shortage_of_descriptors_delays_a_durable_acknowledgement_and_fails_nothing() {
    const EMFILE: i32 = 24;
    let files = MemoryFiles::new();
    let node = Node::start_on(Arc::new(files.clone()), ONE).expect("starts");
    assert!(try_create(&node, "events"));
    // The folder's name is synced with the first append.
    (0..4)
        .for_each(|at| files.inject(Fault::errno(Operation::SyncDir, at, EMFILE).on_paths("/data/events-0")));
    assert!(try_append(&node, "events"));
    assert_eq!(files.faults_count(), 0, "the sync was refused");
    assert!(try_append(&node, "events"));
    node.stop();
}

#[test]
fn panic_under_the_lock_fails_the_partition_and_the_next_start_checks_it() {
    let files = MemoryFiles::new();
    let node = Node::start_on(Arc::new(files.clone()), ONE).expect("starts");
    assert!(try_create(&node, "events") && try_append(&node, "events"));
    let partition = node.lifecycle.partitions().by_name("events", 0).expect("here");
    files.inject(Fault::panic(Operation::Write, 0).on_paths("/data/events-0/00000000000000000000.log"));
    let append = std::panic::AssertUnwindSafe(|| partition.append(&batch("x"), APPEND, now_ms()));
    std::panic::catch_unwind(append).expect_err("injected");
    let found = node.lifecycle.partitions().by_name("events", 0).map(|_| ());
    assert_eq!(found, Err(ErrorCode::KafkaStorageError));
    assert!(node.run(partition.high_watermark().reached(9)).is_err(), "nobody waits there");
    drop(partition);
    node.stop();
    let node = Node::start_on(Arc::new(files), ONE).expect("starts");
    assert!(try_append(&node, "events"), "it was checked");
    node.stop();
}
