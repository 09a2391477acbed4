//! A broker for one test, and a connection to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use milena_broker::broker::Broker;
use milena_broker::partition::Partition;
use milena_broker::server::limits::Limits;
use milena_client::connection::{Connection, Options, Response};
use milena_client::net::Tcp;
use milena_log::files::Files;
use milena_log::memory_files::MemoryFiles;
use milena_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use milena_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use milena_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_protocol::records::{Builder, Compression};
use milena_protocol::{ErrorCode, Records, Request};
use milena_state::config::broker::Settings;
use milena_tests::http;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Topics are named by id from this Produce and Fetch version on; the tests mostly name them.
pub const BY_NAME: i16 = 12;

pub struct Node {
    // Fields are dropped in this order: the connection before the broker, the broker before its files.
    pub connection: Connection,
    runtime: Runtime,
    broker: Option<Broker>,
    directory: TempDir,
}

impl Node {
    pub fn start(properties: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        Self::of(start(&directory, properties), directory)
    }

    /// Stops the broker and starts it again on its data, and connects anew.
    pub fn restart(&mut self, properties: &[(&str, &str)]) {
        self.broker.take().expect("is running").stop();
        self.broker = Some(start(&self.directory, properties));
        self.reconnect();
    }

    /// A broker whose disk is in memory, so that a test can make it fail.
    pub fn start_on(files: &MemoryFiles, properties: &[(&str, &str)]) -> Self {
        Self::start_with(Arc::new(files.clone()), properties)
    }

    /// As [`start_on`](Self::start_on), on any disk with a directory `/data`.
    pub fn start_with(files: Arc<dyn Files>, properties: &[(&str, &str)]) -> Self {
        let own = [
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("log.dirs", "/data"),
            ("milena.http.listener", "127.0.0.1:0"),
            ("num.network.threads", "1"),
        ];
        let all: BTreeMap<String, String> =
            own.iter().chain(properties).map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let settings = Settings::parse(&all).expect("valid properties");
        let limits = Limits::of(&settings);
        let broker = Broker::start_on(files, settings, limits).expect("a broker");
        Self::of(broker, TempDir::new().expect("a temporary directory"))
    }

    fn of(broker: Broker, directory: TempDir) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let connection = runtime.block_on(connect(&broker.address().to_string()));
        Self { connection, runtime, broker: Some(broker), directory }
    }

    /// Where a listener listens.
    pub fn address_of(&self, listener: &str) -> SocketAddr {
        let addresses = self.broker.as_ref().expect("is running").addresses();
        let (_, address) = addresses.iter().find(|(name, _)| **name == *listener).expect("it listens");
        *address
    }

    /// Connects anew; gives the connection that there was.
    pub fn reconnect(&mut self) -> Connection {
        let connection = self.connect();
        std::mem::replace(&mut self.connection, connection)
    }

    /// One more connection, which has already asked for the versions.
    pub fn connect(&self) -> Connection {
        let address = self.broker.as_ref().expect("is running").address().to_string();
        self.runtime.block_on(connect(&address))
    }

    /// Where the log directory is, unless the disk is in memory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where it listens for clients.
    pub fn address(&self) -> SocketAddr {
        self.broker.as_ref().expect("is running").address()
    }

    /// Everything that `/metrics` says.
    pub fn metrics(&self) -> String {
        let address = self.broker.as_ref().expect("is running").http_address().expect("HTTP is on");
        http::get(address.port(), "/metrics").expect("metrics").1
    }

    /// Sum of the series of a metric with this label (`""`: all of them); 0 while there is none.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        http::metric(&self.metrics(), name, label).unwrap_or(0.0)
    }

    /// The broker's own side of a partition.
    pub fn partition(&self, topic: &str) -> Arc<Partition> {
        let node = self.broker.as_ref().expect("is running").node();
        node.partitions.by_name(topic, 0).expect("the partition is here")
    }

    /// What the logs of a topic act on.
    pub fn log_config(&self, topic: &str) -> Arc<milena_log::Config> {
        let node = self.broker.as_ref().expect("is running").node();
        let served = node.partitions.topic(self.partition(topic).topic_id()).expect("the topic is here");
        Arc::clone(&served.log_config)
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Begins what goes on while this thread waits for something else.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.spawn(future)
    }

    pub fn call<R: Request>(&self, request: &R, version: i16) -> Response {
        self.block_on(self.connection.call_at(request, version)).expect("an answer")
    }

    /// Creates a topic with one partition and these properties.
    pub fn create(&self, name: &str, configs: &[(&str, &str)]) {
        assert_eq!(self.try_create(name, 1, configs), ErrorCode::None, "creating {name}");
    }

    pub fn try_create(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> ErrorCode {
        let configs = configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: -1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let response = self.call(&request, 7);
        let response = response.decode::<CreateTopicsRequest<'_>>().expect("CreateTopics");
        ErrorCode::from_i16(response.topics[0].error_code).expect("a known code")
    }

    /// Produces a batch with acks=all and gives the error and the base offset.
    pub fn produce(&self, topic: &str, batch: &[u8]) -> (ErrorCode, i64) {
        let answer = self.produce_at(topic, batch, -1, BY_NAME);
        (answer.error, answer.base_offset)
    }

    pub fn produce_at(&self, topic: &str, batch: &[u8], acks: i16, version: i16) -> Produced {
        let response = self.call(&produce_request(topic, 0, batch, acks), version);
        let response = response.decode::<ProduceRequest<'_>>().expect("Produce");
        let answer = &response.responses[0].partition_responses[0];
        let records = answer.record_errors.iter().map(|record| record.batch_index);
        Produced {
            error: ErrorCode::from_i16(answer.error_code).expect("a known code"),
            base_offset: answer.base_offset,
            message: answer.error_message.as_deref().unwrap_or_default().to_owned(),
            log_append_time: answer.log_append_time_ms,
            record_errors: records.collect(),
        }
    }

    /// Produces a batch with acks=0, to which there is no answer.
    pub fn produce_without_answer(&self, topic: &str, batch: &[u8]) {
        let request = produce_request(topic, 0, batch, 0);
        self.block_on(self.connection.send_unanswered(&request, BY_NAME)).expect("it is sent");
    }

    /// The bytes that a consumer gets from an offset on, and the error.
    pub fn fetch(&self, topic: &str, offset: i64) -> (ErrorCode, Vec<u8>) {
        let response = self.call(&fetch_request(topic, offset), BY_NAME);
        let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
        let data = &response.responses[0].partitions[0];
        let Some(Records::Bytes(bytes)) = &data.records else { panic!("records are never null") };
        (ErrorCode::from_i16(data.error_code).expect("a known code"), bytes.to_vec())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
    }
}

fn start(directory: &TempDir, properties: &[(&str, &str)]) -> Broker {
    let logs = directory.path().to_string_lossy().into_owned();
    let own = [
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", logs.as_str()),
        ("milena.http.listener", "127.0.0.1:0"),
        ("num.network.threads", "1"),
    ];
    let all: BTreeMap<String, String> =
        own.iter().chain(properties).map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Broker::start(Settings::parse(&all).expect("valid properties")).expect("a broker")
}

async fn connect(address: &str) -> Connection {
    let options = Options {
        client_id: "api-test".to_owned(),
        connect_timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(30),
        response_bytes_max: 64 << 20,
    };
    let dialer: milena_client::net::Dialer = Arc::new(Tcp);
    Connection::open(&dialer, address, options).await.expect("a connection")
}

/// What Produce says about one partition.
#[derive(Debug)]
pub struct Produced {
    pub error: ErrorCode,
    pub base_offset: i64,
    pub message: String,
    pub log_append_time: i64,
    pub record_errors: Vec<i32>,
}

pub fn produce_request<'a>(topic: &'a str, partition: i32, batch: &'a [u8], acks: i16) -> ProduceRequest<'a> {
    let data = PartitionProduceData { index: partition, records: Some(Records::Bytes(batch.into())) };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() }
}

/// A full fetch of partition 0 that does not wait.
pub fn fetch_request(topic: &str, offset: i64) -> FetchRequest<'_> {
    let partition =
        FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    FetchRequest { max_bytes: 50 << 20, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

pub fn now_ms() -> i64 {
    milena_broker::broker::now_ms()
}

/// A batch of these values, with the time of now.
pub fn batch(values: &[&str]) -> Vec<u8> {
    compressed(values, Compression::None)
}

pub fn compressed(values: &[&str], compression: Compression) -> Vec<u8> {
    let mut builder = Builder::new().compression(compression, None);
    for value in values {
        builder.append(now_ms(), None, Some(value.as_bytes()), &[]).expect("room");
    }
    builder.finish().expect("a batch")
}
