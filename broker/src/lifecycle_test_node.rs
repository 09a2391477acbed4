//! A node for tests: a lifecycle in a runtime of its own, with the few calls that tests make.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;

use milena_protocol::records::{Batches, Builder};
use milena_state::metadata::ResourceKind;
use milena_state::metadata::configs::{Asked, Change, IncrementalAlterConfigs};
use milena_state::metadata::topics::{CreateTopics, NewTopic};
use tokio::runtime::Runtime;

use super::*;
use crate::broker::now_ms;
use crate::partition::{AppendAs, Appended, Isolation, Partition, Read};

/// The operation of IncrementalAlterConfigs that gives a property a value.
const SET: i8 = 0;

/// A node in a runtime of its own: dropping both without `stop` is what a crash leaves to the next start.
pub(super) struct Node {
    pub runtime: Runtime,
    pub lifecycle: Lifecycle,
}

impl Node {
    pub fn start(directory: &Path) -> Self {
        Self::start_on(Arc::new(RealFiles), &[("log.dirs", &directory.display().to_string())])
            .expect("starts")
    }

    pub fn start_on(files: Arc<dyn Files>, properties: &[(&str, &str)]) -> Result<Self, Error> {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        // Another test of this process may have been first.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = Arc::new(Settings::parse(&properties.collect::<BTreeMap<_, _>>()).expect("settings"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("runtime");
        let outside = Outside::alone(files);
        let lifecycle = runtime.block_on(async {
            Lifecycle::open(outside, settings, Arc::new(Metrics::new())).await?.join().await
        })?;
        Ok(Self { lifecycle, runtime })
    }

    pub fn stop(self) {
        self.runtime.block_on(self.lifecycle.stop());
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }

    pub fn crash(self) {
        drop(self.lifecycle);
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(30), work).await.expect("in time") })
    }

    pub fn submit(&self, command: Command) -> Reply {
        self.run(async {
            let committed = self.lifecycle.controller().submit(command).await.expect("committed");
            self.lifecycle.metadata().reached(committed.index).await.expect("published");
            committed.reply
        })
    }

    pub fn create(&self, name: &str, configs: &[(&str, &str)]) -> Uuid {
        let topic_id = new_id();
        let configs =
            configs.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
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

    /// Sets one property of a topic; its partitions go by it when this returns.
    pub fn set_topic(&self, topic: &str, name: &str, value: &str) {
        let change = Change { name: name.to_owned(), operation: SET, value: Some(value.to_owned()) };
        let resource_type = ResourceKind::Topic as i8;
        let asked = Asked { resource_type, name: topic.to_owned(), changes: vec![change] };
        let command = IncrementalAlterConfigs { resources: vec![asked], validate_only: false, receiver: 1 };
        let Reply::IncrementalAlterConfigs(outcomes) = self.submit(Command::IncrementalAlterConfigs(command))
        else {
            panic!("another reply");
        };
        outcomes[0].as_ref().expect("altered");
    }

    pub fn partition(&self, topic: &str) -> Arc<Partition> {
        self.lifecycle.partitions().by_name(topic, 0).expect("the partition is here")
    }

    pub fn produce(&self, topic: &str, value: &str) -> Appended {
        let partition = self.partition(topic);
        let append = AppendAs { acks_all: true, log_append_time: None };
        let appended = partition.append(&batch(value), append, now_ms()).expect("appended");
        self.run(partition.acknowledged(&appended, partition.awaited(-1))).expect("acknowledged");
        appended
    }

    /// The values of all committed records.
    pub fn consume(&self, topic: &str) -> Vec<String> {
        let partition = self.partition(topic);
        let (mut values, mut offset) = (Vec::new(), partition.log_start_offset());
        while offset < partition.high_watermark().get() {
            let readout = partition.read(read(offset)).expect("reads");
            let slice = readout.records.expect("there are records below the high watermark");
            let bytes = slice.read().expect("reads");
            for found in Batches::maybe_truncated(&bytes) {
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

pub(super) fn batch(value: &str) -> Vec<u8> {
    let mut batch = Builder::new();
    batch.append(now_ms(), None, Some(value.as_bytes()), &[]).expect("fits");
    batch.finish().expect("fits")
}

pub(super) fn read(offset: i64) -> Read {
    Read {
        offset,
        bytes_max: 1 << 20,
        first_batch_whole: true,
        isolation: Isolation::ReadUncommitted,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    }
}

/// Waits for something that happens in the background.
pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}
