//! Groups of the classic protocol, through the wire.
//!
//! What these tests claim is what Apache Kafka 4.3.1 does. They say so of it too: start one with
//! `tests/apache-kafka start --set group.initial.rebalance.delay.ms=0` and run them with
//! `MILENA_TESTED_BROKER=127.0.0.1:22092 cargo test -p milena-broker --test broker groups::`.

mod admin;
mod bounded;
mod client;
mod commits;
mod life;
mod refused;
mod several;
pub mod versions;

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

use milena_protocol::messages::*;
use milena_protocol::{ErrorCode, Uuid};

use crate::harness::{self, Running, ask, eventually};
use client::Client;

/// The broker that a test is about: one of ours, or the one that the environment names.
enum Place {
    Ours(Box<Running>),
    Judge(SocketAddr),
}

impl Place {
    /// With a coordinator that serves.
    fn start() -> Self {
        let place = match std::env::var("MILENA_TESTED_BROKER") {
            Ok(address) => Place::Judge(address.parse().expect("an address")),
            Err(_) => Place::Ours(Box::new(Running::start())),
        };
        place.serves();
        place
    }

    fn serves(&self) {
        eventually("a coordinator", || {
            let mut stream = self.connect();
            let request = FindCoordinatorRequest { key: "any".into(), ..Default::default() };
            let found = ask(&mut stream, 0, &request).error_code == NONE;
            found && describe(&mut stream, 5, "any").error_code == NONE
        });
    }

    fn is_judge(&self) -> bool {
        matches!(self, Place::Judge(_))
    }

    fn connect(&self) -> TcpStream {
        match self {
            Place::Ours(running) => running.connect(),
            Place::Judge(address) => harness::connect(*address),
        }
    }

    fn client(&self) -> Client {
        Client { stream: self.connect() }
    }
}

const NONE: i16 = ErrorCode::None as i16;

fn code(error: ErrorCode) -> i16 {
    error.as_i16()
}

/// A name that no other test, run or version uses.
fn unique(name: &str) -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{number}", std::process::id())
}

fn create_topic(stream: &mut TcpStream, name: &str, partitions: i32) -> Uuid {
    let topic = create_topics_request::CreatableTopic {
        name: name.to_owned().into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let created = ask(stream, 7, &request).topics.remove(0);
    assert_eq!(created.error_code, NONE, "{name}");
    // Apache Kafka answers before this broker follows.
    eventually("the topic", || {
        let asked = metadata_request::MetadataRequestTopic {
            name: Some(name.to_owned().into()),
            ..Default::default()
        };
        let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        let mut stream = stream.try_clone().expect("a socket can be cloned");
        ask(&mut stream, 12, &request).topics[0].error_code == NONE
    });
    created.topic_id
}

fn describe(
    stream: &mut TcpStream,
    version: i16,
    group: &str,
) -> describe_groups_response::DescribedGroup<'static> {
    let request = DescribeGroupsRequest {
        groups: vec![group.to_owned().into()],
        include_authorized_operations: version >= 3,
    };
    ask(stream, version, &request).groups.remove(0)
}
