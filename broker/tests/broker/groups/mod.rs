//! Groups of the classic protocol, through the wire.
//!
//! What these tests claim is what Apache Kafka 4.3.1 does. They say so of it too: start one with
//! `tests/apache-kafka start --set group.initial.rebalance.delay.ms=0 --set group.min.session.timeout.ms=1000` and run
//! them with `MILENA_TESTED_BROKER=127.0.0.1:22092 cargo test -p milena-broker --test broker groups::`.

mod admin;
mod bounded;
mod client;
pub mod commits;
mod life;
mod refused;
mod several;
pub mod versions;

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

use milena_protocol::ErrorCode;
use milena_protocol::messages::*;

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
        await_coordinator("any", || self.connect());
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

/// Waits until a group is coordinated. The first who asks has the topic for groups made.
pub fn await_coordinator(group: &str, connect: impl Fn() -> TcpStream) {
    eventually("a coordinator", || {
        let mut stream = connect();
        let request = FindCoordinatorRequest { key: group.to_owned().into(), ..Default::default() };
        let found = ask(&mut stream, 0, &request).error_code == NONE;
        found && describe(&mut stream, 5, group).error_code == NONE
    });
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
