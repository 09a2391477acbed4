//! The broker under test: one for all inputs, with a topic that is always there.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use milena_broker::broker::Broker;
use milena_protocol::messages::{
    ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    delete_topics_request,
};
use milena_protocol::{Reader, Request, Uuid, decode_start, frame, header};
use milena_state::config::broker::Settings;

use crate::answers::{ask, connect};
use crate::requests;

pub const TOPIC: &str = "fuzz";
pub const PARTITIONS: i32 = 2;

/// Partitions that one request may create: 10,000 are allowed, and would be all that this target does.
const PARTITIONS_NEW_MAX: i32 = 16;

/// Topics above this are deleted.
const TOPICS_MAX: usize = 24;

/// Longer than any stall of a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Node {
    broker: Broker,
    /// Never dropped, as statics are not: `fuzz/run` removes it.
    _data: tempfile::TempDir,
}

pub fn running() -> &'static Node {
    static NODE: OnceLock<Node> = OnceLock::new();
    NODE.get_or_init(Node::start)
}

impl Node {
    fn start() -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        let properties = [
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("num.network.threads", "1"),
            ("log.segment.bytes", "1048576"),
            ("log.segment.delete.delay.ms", "0"),
            ("log.dirs", data.path().to_str().expect("a plain path")),
        ];
        let properties: BTreeMap<_, _> =
            properties.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let settings = Settings::parse(&properties).expect("valid settings");
        Node { broker: Broker::start(settings).expect("it starts"), _data: data }
    }

    pub fn address(&self) -> SocketAddr {
        self.broker.address()
    }

    /// Id of the topic, which is created when an input deleted it. Deletes topics when there are too many.
    pub fn topic_id(&self) -> Uuid {
        let metadata = &self.broker.node().metadata;
        if metadata.image_arc().topics_count() > TOPICS_MAX {
            self.delete_topics();
        }
        let began = Instant::now();
        loop {
            if let Some(topic) = metadata.image_arc().topic_by_name(TOPIC) {
                return topic.id;
            }
            assert!(began.elapsed() < PATIENCE, "the topic cannot be created");
            ask(&mut self.connect(), &requests::create_topics(), 7, |_| ());
        }
    }

    fn delete_topics(&self) {
        let image = self.broker.node().metadata.image_arc();
        let topics = image.topics().map(|topic| delete_topics_request::DeleteTopicState {
            name: Some(topic.name.to_string().into()),
            ..Default::default()
        });
        let topics = topics.collect();
        let request = DeleteTopicsRequest { topics, timeout_ms: 20_000, ..Default::default() };
        ask(&mut self.connect(), &request, 6, |_| ());
    }

    /// A client that comes now is served.
    pub fn check_health(&self) {
        let request = ApiVersionsRequest {
            client_software_name: "fuzz".into(),
            client_software_version: "1".into(),
            ..Default::default()
        };
        ask(&mut self.connect(), &request, 4, |answer| assert_eq!(answer.error_code, 0));
    }

    fn connect(&self) -> TcpStream {
        connect(self.address(), PATIENCE).expect("it listens")
    }
}

/// Whether the broker may be asked to do this thousands of times.
pub fn is_affordable(bytes: &[u8]) -> bool {
    let Some(bytes) = bytes.get(frame::PREFIX_SIZE..) else { return true };
    let mut r = Reader::new(bytes);
    let Ok(incoming) = header::decode_request(&mut r) else { return true };
    let (body, version) = (r.rest(), incoming.version);
    let is_few = |count: i32| count <= PARTITIONS_NEW_MAX;
    if incoming.api == CreateTopicsRequest::API
        && let Ok(request) = decode_start::<CreateTopicsRequest<'_>>(body, version)
    {
        return request.topics.iter().all(|topic| is_few(topic.num_partitions));
    }
    if incoming.api == CreatePartitionsRequest::API
        && let Ok(request) = decode_start::<CreatePartitionsRequest<'_>>(body, version)
    {
        return request.topics.iter().all(|topic| is_few(topic.count));
    }
    true
}
