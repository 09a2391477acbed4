use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;

use milena_protocol::ErrorCode;
use milena_protocol::records::{Batches, Builder};
use milena_state::metadata::ConfigResource;
use milena_state::metadata::configs::{IncrementalAlterConfigs, Operation};
use milena_state::metadata::topics::{CreateTopics, DeleteTopics, NewTopic, TopicRef};
use tokio::runtime::Runtime;

use super::*;
use crate::broker::now_ms;
use crate::partition::{AppendAs, Appended, Isolation, Partition, Read};

/// A node in a runtime of its own: dropping both without `stop` is what a crash leaves to the next start.
struct Node {
    runtime: Runtime,
    lifecycle: Lifecycle,
}

impl Node {
    fn start(directory: &Path) -> Self {
        Self::start_with(directory, &[])
    }

    fn start_with(directory: &Path, properties: &[(&str, &str)]) -> Self {
        let mut all = BTreeMap::from([("log.dirs".to_owned(), directory.display().to_string())]);
        all.extend(properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let settings = Arc::new(Settings::parse(&all).expect("settings"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        let started = runtime.block_on(Lifecycle::start(settings, Arc::new(Metrics::new())));
        Self { lifecycle: started.expect("starts"), runtime }
    }

    fn stop(self) {
        self.runtime.block_on(self.lifecycle.stop());
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }

    fn crash(self) {
        drop(self.lifecycle);
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), work).await.expect("in time") })
    }

    fn submit(&self, command: Command) -> Reply {
        self.run(async {
            let committed = self.lifecycle.controller().submit(command).await.expect("committed");
            self.lifecycle.metadata().reached(committed.index).await.expect("published");
            committed.reply
        })
    }

    fn create(&self, name: &str, configs: &[(&str, &str)]) -> Uuid {
        let topic_id = new_id();
        let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
        let topic = NewTopic {
            name: name.to_owned(),
            topic_id,
            num_partitions: 2,
            replication_factor: 1,
            assignments: Vec::new(),
            configs,
        };
        let Reply::CreateTopics(outcomes) =
            self.submit(Command::CreateTopics(CreateTopics { topics: vec![topic], validate_only: false }))
        else {
            panic!("another reply");
        };
        outcomes[0].result.as_ref().expect("created");
        topic_id
    }

    fn partition(&self, topic: &str) -> Arc<Partition> {
        self.lifecycle.partitions().by_name(topic, 0).expect("the partition is here")
    }

    fn produce(&self, topic: &str, value: &str) -> Appended {
        let partition = self.partition(topic);
        let append = AppendAs { acks_all: true, log_append_time: None };
        let appended = partition.append(&batch(value), append, now_ms()).expect("appended");
        self.run(partition.acknowledged(&appended, true)).expect("acknowledged");
        appended
    }

    /// The values of all committed records.
    fn consume(&self, topic: &str) -> Vec<String> {
        let partition = self.partition(topic);
        let (mut values, mut offset) = (Vec::new(), partition.log_start_offset());
        while offset < partition.high_watermark().get() {
            let readout = partition.read(read(offset)).expect("reads");
            let slice = readout.records.expect("there are records below the high watermark");
            let mut bytes = vec![0; slice.length as usize];
            milena_log::files::read_exact_at(&*slice.file, &mut bytes, slice.position).expect("reads");
            for found in Batches::new(&bytes) {
                let found = found.expect("a valid batch");
                for record in found.records().expect("not compressed") {
                    let value = record.expect("a valid record").value.expect("a value").to_vec();
                    values.push(String::from_utf8(value).expect("text"));
                }
                offset = found.header().next_offset();
            }
        }
        values
    }
}

fn batch(value: &str) -> Vec<u8> {
    let mut batch = Builder::new();
    batch.append(now_ms(), None, Some(value.as_bytes()), &[]).expect("fits");
    batch.finish().expect("fits")
}

fn read(offset: i64) -> Read {
    Read {
        offset,
        bytes_max: 1 << 20,
        first_batch_whole: true,
        isolation: Isolation::ReadUncommitted,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    }
}

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
    assert_eq!((node.lifecycle.cluster_id(), node.consume("events")), (&*cluster_id, vec!["before the stop".to_owned()]));
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
    let is_checkpoint = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".checkpoint");
    eventually("a snapshot is written", || {
        std::fs::read_dir(&log).expect("is there").flatten().any(is_checkpoint)
    });
    node.create("in-log", &[]);
    let before = node.lifecycle.metadata().image_arc();
    node.crash();

    let node = Node::start(directory.path());
    let after = node.lifecycle.metadata().image_arc();
    let names = |image: &milena_state::metadata::Image| image.topics().map(|topic| (topic.name.clone(), topic.id)).collect::<Vec<_>>();
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
    let refused = partition.append(&batch("b"), AppendAs { acks_all: false, log_append_time: None }, now_ms());
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
    assert_eq!(partition.high_watermark().get(), 1);
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
    assert_eq!(partition.delete_records(4, now_ms()), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(partition.delete_records(2, now_ms()), Ok(2));
    assert_eq!(partition.delete_records(1, now_ms()), Ok(2));
    assert_eq!(partition.read(read(1)).expect_err("deleted").code(), ErrorCode::OffsetOutOfRange);
    assert_eq!(node.consume("events"), ["c"]);
    assert_eq!(partition.delete_records(-1, now_ms()), Ok(3));
    node.stop();
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}
