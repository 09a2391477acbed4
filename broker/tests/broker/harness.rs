//! A broker in this process, and the little that a test needs to talk to it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use milena_broker::broker::Broker;
use milena_broker::server::limits::Limits;
use milena_protocol::messages::*;
use milena_protocol::records::Builder;
use milena_protocol::{Reader, Request, Uuid, Writer, decode_exact, header};
use milena_state::config::broker::Settings;

/// Longer than any of the deadlines that the tests set, shorter than anybody's patience.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// `group.min.session.timeout.ms`: so long a test waits for a member that is silent.
pub const SESSION_MS_MIN: &str = "1000";

/// A broker on ports that the system chose, with data of its own, stopped when dropped.
pub struct Running {
    pub broker: Option<Broker>,
    _data: tempfile::TempDir,
}

impl Running {
    pub fn with(limits: Limits) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        let properties = [
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("milena.http.listener", "127.0.0.1:0"),
            ("num.network.threads", "2"),
            // Groups answer at once, and their topic is made in a moment.
            ("group.initial.rebalance.delay.ms", "0"),
            ("group.min.session.timeout.ms", SESSION_MS_MIN),
            ("offsets.topic.num.partitions", "3"),
            ("log.dirs", data.path().to_str().expect("a plain path")),
        ];
        let properties: BTreeMap<_, _> =
            properties.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let settings = Settings::parse(&properties).expect("valid settings");
        Self { broker: Some(Broker::start_with(settings, limits).expect("it starts")), _data: data }
    }

    pub fn start() -> Self {
        Self::with(Limits::default())
    }

    pub fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it runs until it is dropped")
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.broker().address())
    }

    pub fn metrics(&self) -> String {
        http(self.broker().http_address().expect("HTTP is on"), "/metrics").1
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_nodelay(true).expect("nodelay can be set");
    stream
}

/// One frame without its length.
pub fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).expect("the rest of the answer");
    frame
}

pub fn http(address: SocketAddr, path: &str) -> (u16, String) {
    try_http(address, path).expect("it answers")
}

/// An error while one server gives the port to the next: who has connected and not asked yet is sent away.
pub fn try_http(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    if text.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    let body = text.split_once("\r\n\r\n").expect("a body").1.to_owned();
    Ok((status, body))
}

/// Polls until `condition` holds.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come true");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a request and reads its response, which must be whole and nothing more.
pub fn ask<R: Request>(stream: &mut TcpStream, version: i16, request: &R) -> R::Response<'static> {
    send(stream, version, request);
    receive::<R>(stream, version)
}

pub fn send<R: Request>(stream: &mut TcpStream, version: i16, request: &R) {
    let mut w = Writer::new();
    header::request_frame(&mut w, R::API, version, i32::from(version), Some("test"), request)
        .unwrap_or_else(|error| panic!("{} {version}: {error}", R::NAME));
    stream.write_all(&w.into_bytes().expect("nothing is detached")).expect("the connection is open");
}

/// Reads the response to a request that was sent in `version`.
pub fn receive<R: Request>(stream: &mut TcpStream, version: i16) -> R::Response<'static> {
    // Tests are short: what they decode may live as long as the process.
    let frame: &'static [u8] = read_frame(stream).leak();
    let mut r = Reader::new(frame);
    assert_eq!(header::decode_response(&mut r, R::API, version), Ok(i32::from(version)));
    decode_exact(r.rest(), version).unwrap_or_else(|error| panic!("answer to {} {version}: {error}", R::NAME))
}

/// A request that creates one topic.
pub fn creation(name: &str, partitions: i32) -> CreateTopicsRequest<'static> {
    let topic = create_topics_request::CreatableTopic {
        name: name.to_owned().into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() }
}

/// Creates a topic that can be used when this returns, and gives its id.
pub fn create_topic(stream: &mut TcpStream, name: &str, partitions: i32) -> Uuid {
    let created = ask(stream, 7, &creation(name, partitions)).topics.remove(0);
    assert_eq!(created.error_code, 0, "{name}");
    // Apache Kafka answers before this broker follows.
    eventually("the topic", || {
        let asked = metadata_request::MetadataRequestTopic {
            name: Some(name.to_owned().into()),
            ..Default::default()
        };
        let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        let mut stream = stream.try_clone().expect("a socket can be cloned");
        ask(&mut stream, 12, &request).topics[0].error_code == 0
    });
    created.topic_id
}

/// A request that brings records of this time to partition 0 of a topic.
pub fn production(topic: &str, timestamp_ms: i64, count: usize) -> ProduceRequest<'static> {
    let mut batch = Builder::new();
    for _ in 0..count {
        batch.append(timestamp_ms, None, Some(b"value"), &[]).expect("room");
    }
    let records = batch.finish().expect("a batch");
    let topic = produce_request::TopicProduceData {
        name: topic.to_owned().into(),
        partition_data: vec![produce_request::PartitionProduceData {
            index: 0,
            records: Some(records.into()),
        }],
        ..Default::default()
    };
    ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() }
}

pub fn produce(stream: &mut TcpStream, topic: &str, timestamp_ms: i64, count: usize) {
    let response = ask(stream, 9, &production(topic, timestamp_ms, count));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "{response:?}");
}
