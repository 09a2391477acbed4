//! Quotas over a socket: what is told to a client that exceeded one, and that its connection is read no more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_protocol::ErrorCode;
use milena_protocol::messages::alter_client_quotas_request::{
    AlterClientQuotasRequest, EntityData, EntryData, OpData,
};
use milena_protocol::messages::api_versions_request::ApiVersionsRequest;
use milena_protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use milena_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use milena_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use milena_protocol::messages::describe_client_quotas_request::DescribeClientQuotasRequest;
use milena_protocol::messages::fetch_request::FetchRequest;
use milena_protocol::messages::produce_request::ProduceRequest;

use crate::node::{BY_NAME, Node, batch, fetch_request, produce_request};

/// Sets a quota of all who did not log in, or takes it away with none; it acts when this returns.
pub fn set(node: &Node, key: &str, value: Option<f64>) {
    set_on(node, ("user", "ANONYMOUS"), key, value);
}

/// As [`set`], for somebody.
pub fn set_on(node: &Node, (entity_type, name): (&str, &str), key: &str, value: Option<f64>) {
    let entity = vec![EntityData { entity_type: entity_type.into(), entity_name: Some(name.into()) }];
    let op = OpData { key: key.into(), value: value.unwrap_or(0.0), remove: value.is_none() };
    let entries = vec![EntryData { entity, ops: vec![op] }];
    let response = node.call(&AlterClientQuotasRequest { entries, validate_only: false }, 1);
    let response = response.decode::<AlterClientQuotasRequest<'_>>().expect("AlterClientQuotas");
    assert_eq!(response.entries[0].error_code, 0, "{key}={value:?}");
}

/// The time that the answer to a produce names.
fn produce(node: &Node, bytes: usize) -> i32 {
    let batch = batch(&[&"x".repeat(bytes)]);
    let response = node.call(&produce_request("t", 0, &batch, 1), BY_NAME);
    let response = response.decode::<ProduceRequest<'_>>().expect("Produce");
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    response.throttle_time_ms
}

/// The time that the answer to a fetch names, its error, and how many partitions it has.
fn fetch(node: &Node) -> (i32, i16, usize) {
    let response = node.call(&fetch_request("t", 0), BY_NAME);
    let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
    (response.throttle_time_ms, response.error_code, response.responses.len())
}

#[test]
fn producer_beyond_its_quota_is_told_and_then_not_read_for_that_long() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    assert_eq!(produce(&node, 100_000), 0, "nobody has a quota");
    set(&node, "producer_byte_rate", Some(100_000.0));
    let began = Instant::now();
    assert_eq!(produce(&node, 500_000), 0, "ten seconds are allowed at once");
    let answered = Instant::now();
    let throttle_ms = produce(&node, 600_000);
    // 1,100,000 bytes and a little are a second more than ten. The time since the first request is taken off it, less
    // the whole seconds of it, and we saw at least as much of that time as the broker.
    let least = 1000_u128.saturating_sub(began.elapsed().as_millis()).max(1);
    assert!((least..1020).contains(&(throttle_ms as u128)), "{least} ..= {throttle_ms}");
    node.call(&ApiVersionsRequest::default(), 0);
    let waited = answered.elapsed();
    assert!(waited >= Duration::from_millis(throttle_ms as u64), "{waited:?} >= {throttle_ms} ms");
}

#[test]
fn quota_that_is_taken_away_bounds_nobody_without_a_restart() {
    let mut node = Node::start(&[]);
    node.create("t", &[]);
    set(&node, "producer_byte_rate", Some(1.0));
    assert!(produce(&node, 100_000) > 90_000_000, "the time has no bound");
    node.reconnect();
    set(&node, "producer_byte_rate", None);
    assert_eq!(produce(&node, 100_000), 0);
}

#[test]
fn consumer_beyond_its_quota_gets_an_empty_answer_and_used_nothing() {
    let mut node = Node::start(&[]);
    node.create("t", &[]);
    produce(&node, 100_000);
    set(&node, "consumer_byte_rate", Some(1.0));
    for _ in 0..2 {
        let (throttle_ms, error, partitions) = fetch(&node);
        assert!((90_000_000..110_000_000).contains(&throttle_ms), "{throttle_ms}");
        assert_eq!((error, partitions), (0, 0));
        node.reconnect();
    }
    set(&node, "consumer_byte_rate", Some(100_000.0));
    assert_eq!(fetch(&node), (0, 0, 1));
}

/// The quota that acted when the fetch began must not judge what it brings.
#[test]
fn fetch_that_waits_is_held_to_the_quota_of_its_answer() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    set(&node, "consumer_byte_rate", Some(1.0));
    let waiting = Arc::new(node.connect());
    let request = FetchRequest { max_wait_ms: 20_000, min_bytes: 1, ..fetch_request("t", 0) };
    let answer = node.spawn({
        let waiting = Arc::clone(&waiting);
        async move { waiting.call_at(&request, BY_NAME).await.expect("an answer") }
    });
    // Each of these takes a commit of the metadata log, long after the fetch has begun.
    set(&node, "producer_byte_rate", Some(1e9));
    set(&node, "consumer_byte_rate", None);
    produce(&node, 100_000);
    let response = node.block_on(answer).expect("it ends");
    let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
    assert_eq!((response.throttle_time_ms, response.responses.len()), (0, 1));
    node.block_on(waiting.call_at(&ApiVersionsRequest::default(), 0)).expect("the connection is read");
}

/// The codes of two topics of 12 partitions and the time to wait.
fn create(node: &Node, prefix: &str, version: i16) -> (Vec<ErrorCode>, i32) {
    let topic = |name: String| CreatableTopic {
        name: name.into(),
        num_partitions: 12,
        replication_factor: 1,
        ..Default::default()
    };
    let topics = vec![topic(format!("{prefix}-1")), topic(format!("{prefix}-2"))];
    let request = CreateTopicsRequest { topics, timeout_ms: 20_000, validate_only: true };
    let response = node.call(&request, version);
    let response = response.decode::<CreateTopicsRequest<'_>>().expect("CreateTopics");
    let codes = response.topics.iter().map(|t| ErrorCode::from_i16(t.error_code).expect("known"));
    (codes.collect(), response.throttle_time_ms)
}

#[test]
fn changes_beyond_their_quota_are_refused_for_clients_that_know_it_and_told_to_others() {
    let mut node = Node::start(&[]);
    set(&node, "controller_mutation_rate", Some(1.0));
    // 11 are allowed at once; the first topic takes one more.
    let (codes, throttle_ms) = create(&node, "new", 6);
    assert_eq!(codes, [ErrorCode::None, ErrorCode::ThrottlingQuotaExceeded]);
    assert!((500..=1000).contains(&throttle_ms), "{throttle_ms}");
    node.reconnect();
    let (codes, throttle_ms) = create(&node, "old", 5);
    assert_eq!(codes, [ErrorCode::None, ErrorCode::None]);
    assert!((20_000..=25_000).contains(&throttle_ms), "{throttle_ms}");
}

#[test]
fn what_one_change_took_bounds_the_others_and_what_cannot_be_done_takes_nothing() {
    let mut node = Node::start(&[]);
    node.create("t", &[]);
    set(&node, "controller_mutation_rate", Some(1.0));
    let large = CreatableTopic {
        name: "large".into(),
        num_partitions: 100,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![large], timeout_ms: 20_000, validate_only: true };
    let response = node.call(&request, 7);
    let response = response.decode::<CreateTopicsRequest<'_>>().expect("CreateTopics");
    assert_eq!((response.topics[0].error_code, response.throttle_time_ms), (0, 0), "let through as a whole");

    let (throttled, known) = (ErrorCode::ThrottlingQuotaExceeded, 60_000..=89_000);
    let topics = ["t", "nowhere"].map(|name| CreatePartitionsTopic {
        name: name.into(),
        count: 50,
        ..Default::default()
    });
    let request = CreatePartitionsRequest { topics: topics.into(), timeout_ms: 20_000, ..Default::default() };
    let response = node.call(&request, 3);
    let response = response.decode::<CreatePartitionsRequest<'_>>().expect("CreatePartitions");
    let codes: Vec<_> = response.results.iter().map(|topic| (&*topic.name, topic.error_code)).collect();
    let unknown = ErrorCode::UnknownTopicOrPartition.as_i16();
    assert_eq!(codes, [("nowhere", unknown), ("t", throttled.as_i16())]);
    assert!(known.contains(&response.throttle_time_ms), "{}", response.throttle_time_ms);

    node.reconnect();
    // No time to ask the controller in, which with nothing to ask is not needed.
    let request = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 0, ..Default::default() };
    let response = node.call(&request, 5);
    let response = response.decode::<DeleteTopicsRequest<'_>>().expect("DeleteTopics");
    assert_eq!(response.responses[0].error_code, throttled.as_i16());
    assert!(known.contains(&response.throttle_time_ms), "{}", response.throttle_time_ms);
}

#[test]
fn quotas_act_again_after_a_restart() {
    let mut node = Node::start(&[]);
    node.create("t", &[]);
    set(&node, "producer_byte_rate", Some(1.0));
    node.restart(&[]);
    assert!(produce(&node, 100_000) > 90_000_000, "nothing was used since, and this is too much");
}

#[test]
fn who_waits_is_let_go_when_the_quota_is_taken_away() {
    let mut node = Node::start(&[]);
    node.create("t", &[]);
    set(&node, "producer_byte_rate", Some(1.0));
    assert!(produce(&node, 100_000) > 90_000_000);
    let waiting = node.reconnect();
    set(&node, "producer_byte_rate", None);
    // A day would be longer than the client waits for an answer.
    node.block_on(waiting.call_at(&ApiVersionsRequest::default(), 0)).expect("it is let go");
}

#[test]
fn quotas_are_described_as_they_were_set() {
    let node = Node::start(&[]);
    set(&node, "request_percentage", Some(12.5));
    set(&node, "producer_byte_rate", Some(1e9));
    for version in [0, 1] {
        let response = node.call(&DescribeClientQuotasRequest::default(), version);
        let response = response.decode::<DescribeClientQuotasRequest<'_>>().expect("DescribeClientQuotas");
        let entries = response.entries.as_ref().expect("entries");
        let values: Vec<_> = entries[0].values.iter().map(|value| (&*value.key, value.value)).collect();
        assert_eq!(values, [("producer_byte_rate", 1e9), ("request_percentage", 12.5)]);
        assert_eq!(entries[0].entity[0].entity_name.as_deref(), Some("ANONYMOUS"));
    }
}

#[test]
fn windows_are_as_many_and_as_long_as_the_properties_say() {
    let windows = [("quota.window.num", "2"), ("quota.window.size.seconds", "1")];
    let node = Node::start(&windows);
    node.create("t", &[]);
    set(&node, "producer_byte_rate", Some(100_000.0));
    // Eleven windows, the default, would allow it.
    assert!(produce(&node, 300_000) > 0, "one second is allowed at once");

    let windows = [("controller.quota.window.num", "2"), ("controller.quota.window.size.seconds", "1")];
    let node = Node::start(&windows);
    set(&node, "controller_mutation_rate", Some(5.0));
    // The first topic takes two more than the ten that two windows hold; eleven would allow both.
    let (codes, _) = create(&node, "windows", 7);
    assert_eq!(codes, [ErrorCode::None, ErrorCode::ThrottlingQuotaExceeded]);
}
