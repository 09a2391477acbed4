//! The quota on time: whom it has wait, how every kind of answer says so, and what counts it.

use std::time::{Duration, Instant};

use milena_client::connection::Connection;
use milena_protocol::Request;
use milena_protocol::messages::api_versions_request::ApiVersionsRequest;
use milena_protocol::messages::create_topics_request::CreateTopicsRequest;
use milena_protocol::messages::fetch_request::FetchRequest;
use milena_protocol::messages::metadata_request::MetadataRequest;
use milena_protocol::messages::offset_delete_request::OffsetDeleteRequest;

use crate::node::{BY_NAME, Node, batch, fetch_request, produce_request};
use crate::quotas::set;

/// So little of a thread that every request exceeds it.
const HARDLY: f64 = 1e-9;

/// Samples of this length have those who exceed the quota wait as long.
const LONG_WINDOW: [(&str, &str); 1] = [("quota.window.size.seconds", "20")];

/// How long the answer to a request has its client wait; on a connection of its own, that was opened before.
fn throttle<R: Request>(
    node: &mut Node,
    waiting: &mut Vec<Connection>,
    request: &R,
    version: i16,
    throttle_ms: impl Fn(&R::Response<'_>) -> i32,
) -> i32 {
    node.connection = waiting.pop().expect("enough were opened");
    let response = node.call(request, version);
    throttle_ms(&response.decode::<R>().expect("an answer"))
}

/// Opens connections before any quota is set: after that they would begin by waiting.
fn connections(node: &Node, count: usize) -> Vec<Connection> {
    (0..count).map(|_| node.connect()).collect()
}

#[test]
fn every_kind_of_answer_says_how_long_to_wait_and_no_longer_than_a_sample() {
    let mut node = Node::start(&[]);
    node.create("t", &[]);
    let mut free = connections(&node, 8);
    set(&node, "request_percentage", Some(HARDLY));
    let batch = batch(&["x"]);
    let versions =
        ApiVersionsRequest { client_software_name: "t".into(), client_software_version: "1".into() };
    // The field stands first, last, and in between.
    let said = [
        throttle(&mut node, &mut free, &MetadataRequest::default(), 12, |answer| answer.throttle_time_ms),
        throttle(&mut node, &mut free, &versions, 3, |answer| answer.throttle_time_ms),
        throttle(&mut node, &mut free, &OffsetDeleteRequest::default(), 0, |answer| answer.throttle_time_ms),
        throttle(&mut node, &mut free, &CreateTopicsRequest::default(), 7, |answer| answer.throttle_time_ms),
        throttle(&mut node, &mut free, &produce_request("t", 0, &batch, -1), 12, |answer| {
            answer.throttle_time_ms
        }),
        throttle(&mut node, &mut free, &produce_request("t", 0, &batch, 1), 7, |answer| {
            answer.throttle_time_ms
        }),
        throttle(&mut node, &mut free, &fetch_request("t", 0), BY_NAME, |answer| answer.throttle_time_ms),
    ];
    assert_eq!(said, [1000; 7]);
    // A version without the field has its client wait all the same.
    node.connection = free.pop().expect("enough were opened");
    let began = Instant::now();
    node.call(&MetadataRequest::default(), 2);
    node.call(&MetadataRequest::default(), 2);
    assert!(began.elapsed() >= Duration::from_millis(1000), "{:?}", began.elapsed());
}

#[test]
fn clients_below_the_quota_do_not_wait_and_those_beyond_it_do() {
    let node = Node::start(&[]);
    let said = |node: &Node| {
        let response = node.call(&MetadataRequest::default(), 12);
        response.decode::<MetadataRequest<'_>>().expect("Metadata").throttle_time_ms
    };
    set(&node, "request_percentage", Some(1e9));
    assert!((0..100).all(|_| said(&node) == 0));
    // A millisecond in ten seconds, which some requests take together.
    set(&node, "request_percentage", Some(0.01));
    let deadline = Instant::now() + Duration::from_secs(20);
    for count in 0.. {
        let began = Instant::now();
        let throttle_ms = said(&node);
        assert!((0..=1000).contains(&throttle_ms), "{throttle_ms}");
        if throttle_ms > 0 {
            node.call(&ApiVersionsRequest::default(), 0);
            assert!(began.elapsed() >= Duration::from_millis(throttle_ms.unsigned_abs().into()));
            return;
        }
        assert!(Instant::now() < deadline, "{count} requests took less than a millisecond");
    }
}

#[test]
fn fetch_beyond_the_quota_on_time_gets_nothing_and_uses_no_bytes() {
    let mut node = Node::start(&[]);
    node.create("t", &[]);
    node.produce("t", &batch(&[&"x".repeat(100_000)]));
    let mut free = connections(&node, 5);
    set(&node, "consumer_byte_rate", Some(10_500.0));
    set(&node, "request_percentage", Some(HARDLY));
    for _ in 0..3 {
        node.connection = free.pop().expect("enough were opened");
        let response = node.call(&fetch_request("t", 0), BY_NAME);
        let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
        assert_eq!((response.throttle_time_ms, response.responses.len()), (1000, 0));
    }
    node.connection = free.pop().expect("enough were opened");
    set(&node, "request_percentage", None);
    let said =
        throttle(&mut node, &mut free, &fetch_request("t", 0), BY_NAME, |answer| answer.throttle_time_ms);
    assert_eq!(said, 0, "one fetch is within the quota on bytes, two are not");
}

#[test]
fn longest_of_several_waits_is_said() {
    let mut node = Node::start(&[]);
    node.create("t", &[]);
    let mut free = connections(&node, 1);
    set(&node, "producer_byte_rate", Some(1.0));
    set(&node, "request_percentage", Some(HARDLY));
    let batch = batch(&[&"x".repeat(1000)]);
    let produce = produce_request("t", 0, &batch, -1);
    let said = throttle(&mut node, &mut free, &produce, BY_NAME, |answer| answer.throttle_time_ms);
    assert!(said > 900_000, "a thousand seconds less ten for the bytes, one for the time: {said}");
}

#[test]
fn nobody_waits_for_a_produce_without_an_answer_nor_for_a_quota_that_is_gone() {
    let mut node = Node::start(&LONG_WINDOW);
    node.create("t", &[]);
    let mut free = connections(&node, 2);
    set(&node, "request_percentage", Some(HARDLY));
    let began = Instant::now();
    node.connection = free.pop().expect("enough were opened");
    node.produce_without_answer("t", &batch(&["x"]));
    let response = node.call(&MetadataRequest::default(), 12);
    let said = response.decode::<MetadataRequest<'_>>().expect("Metadata").throttle_time_ms;
    assert_eq!(said, 20_000, "what came before it is exempt, and it is not");
    assert!(began.elapsed() < Duration::from_secs(20));

    let admin = free.pop().expect("enough were opened");
    let waiting = std::mem::replace(&mut node.connection, admin);
    set(&node, "request_percentage", None);
    node.block_on(waiting.call_at(&MetadataRequest::default(), 12)).expect("it is let go");
    assert!(began.elapsed() < Duration::from_secs(20), "long before its time was over");
}

/// A value of a metric that is told for each quota.
fn value(metrics: &str, name: &str, quota: &str) -> f64 {
    let line = format!("milena_quota_{name}{{quota=\"{quota}\"}} ");
    let value = metrics.lines().find_map(|found| found.strip_prefix(&line));
    value.unwrap_or_else(|| panic!("{line}in {metrics}")).parse().expect("a number")
}

/// How many clients each quota made wait, for what time, and how many it remembers.
fn told(node: &Node, quota: &str) -> (f64, bool, f64) {
    let metrics = node.metrics();
    let seconds = value(&metrics, "throttle_seconds_total", quota);
    (value(&metrics, "throttled_requests_total", quota), seconds > 0.0, value(&metrics, "clients", quota))
}

#[test]
fn metrics_tell_whom_each_quota_had_wait() {
    let batch = batch(&[&"x".repeat(1000)]);
    type Exceed<'a> = &'a dyn Fn(&Node);
    let cases: [(&str, f64, Exceed<'_>); 4] = [
        ("consumer_byte_rate", 1.0, &|node| drop(node.call(&fetch_request("t", 0), BY_NAME))),
        ("controller_mutation_rate", 0.01, &|node| {
            node.try_create("u", 1, &[]);
            node.try_create("v", 1, &[]);
        }),
        ("producer_byte_rate", 1.0, &|node| drop(node.call(&produce_request("t", 0, &batch, 1), BY_NAME))),
        ("request_percentage", HARDLY, &|node| drop(node.call(&MetadataRequest::default(), 12))),
    ];
    for (quota, limit, exceed) in cases {
        let mut node = Node::start(&[]);
        node.create("t", &[]);
        node.produce("t", &batch);
        assert_eq!(told(&node, quota), (0.0, false, 0.0), "{quota}");
        assert_eq!(value(&node.metrics(), "clients", "connection_creation_rate"), 0.0);
        let mut free = connections(&node, 1);
        set(&node, quota, Some(limit));
        node.connection = free.pop().expect("one was opened");
        exceed(&node);
        let (count, waited, clients) = told(&node, quota);
        assert!(count >= 1.0 && waited && clients == 1.0, "{quota}: {count} {waited} {clients}");
    }
}
