//! Values that are set while the broker runs: what they change, and where DescribeConfigs says that they come from.

use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use milena_protocol::records::{Batch, Builder, Compression};
use milena_tests::wait;

use crate::node::{BY_NAME, Node, batch, now_ms};

pub const TOPIC: i8 = 2;
pub const BROKER: i8 = 4;
pub const METRICS: i8 = 16;
pub const GROUP: i8 = 32;

/// Sets a value, or takes it away with none; it acts when this returns.
pub fn set(node: &Node, (resource_type, name): (i8, &str), config: &str, value: Option<&str>) {
    let answer = answer(node, (resource_type, name), config, value);
    assert_eq!(answer, (ErrorCode::None, String::new()), "{config}={value:?}");
}

pub fn try_set(node: &Node, resource: (i8, &str), config: &str, value: Option<&str>) -> ErrorCode {
    answer(node, resource, config, value).0
}

/// The error of an attempt to set a value, and what is said of it.
pub fn answer(
    node: &Node,
    (resource_type, name): (i8, &str),
    config: &str,
    value: Option<&str>,
) -> (ErrorCode, String) {
    let config = AlterableConfig {
        name: config.into(),
        config_operation: i8::from(value.is_none()),
        value: value.map(Into::into),
    };
    let resource = AlterConfigsResource { resource_type, resource_name: name.into(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let response = node.call(&request, 1);
    let response = response.decode::<IncrementalAlterConfigsRequest<'_>>().expect("IncrementalAlterConfigs");
    let answer = &response.responses[0];
    let message = answer.error_message.as_deref().unwrap_or_default().to_owned();
    (ErrorCode::from_i16(answer.error_code).expect("a known code"), message)
}

/// The value of a property, its source, and all places that have one as `name=value@source`.
pub fn described(node: &Node, (resource_type, name): (i8, &str), config: &str) -> (String, i8, Vec<String>) {
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: Some(vec![config.into()]),
    };
    let request =
        DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() };
    let response = node.call(&request, 4);
    let response = response.decode::<DescribeConfigsRequest<'_>>().expect("DescribeConfigs");
    let found = &response.results[0].configs[0];
    let synonyms = found.synonyms.iter();
    let synonyms =
        synonyms.map(|s| format!("{}={}@{}", s.name, s.value.as_deref().unwrap_or("null"), s.source));
    (found.value.as_deref().unwrap_or("null").to_owned(), found.config_source, synonyms.collect())
}

fn old_batch(age_ms: i64) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.append(now_ms() - age_ms, None, Some(b"old"), &[]).expect("room");
    builder.finish().expect("a batch")
}

/// Each produces before and after; what is refused or stored differently shows that the value acts.
#[test]
fn topic_values_act_on_the_next_produce() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let topic = (TOPIC, "t");
    let small = batch(&["x"]);
    assert_eq!(node.produce("t", &small).0, ErrorCode::None);

    set(&node, topic, "max.message.bytes", Some("10"));
    assert_eq!(node.produce("t", &small).0, ErrorCode::MessageTooLarge);
    set(&node, topic, "max.message.bytes", None);
    assert_eq!(node.produce("t", &small).0, ErrorCode::None);

    assert_eq!(node.produce("t", &old_batch(60_000)).0, ErrorCode::None);
    set(&node, topic, "message.timestamp.before.max.ms", Some("30000"));
    assert_eq!(node.produce("t", &old_batch(60_000)).0, ErrorCode::InvalidTimestamp);
    set(&node, topic, "message.timestamp.before.max.ms", None);
    assert_eq!(node.produce("t", &old_batch(-1_800_000)).0, ErrorCode::None);
    set(&node, topic, "message.timestamp.after.max.ms", Some("60000"));
    assert_eq!(node.produce("t", &old_batch(-1_800_000)).0, ErrorCode::InvalidTimestamp);
    set(&node, topic, "message.timestamp.after.max.ms", None);

    set(&node, topic, "message.timestamp.type", Some("LogAppendTime"));
    assert!(node.produce_at("t", &small, -1, BY_NAME).log_append_time > 0);
    set(&node, topic, "message.timestamp.type", None);
    assert_eq!(node.produce_at("t", &small, -1, BY_NAME).log_append_time, -1);

    set(&node, topic, "compression.type", Some("gzip"));
    let (_, offset) = node.produce("t", &small);
    let (_, stored) = node.fetch("t", offset);
    let (stored, _) = Batch::parse(&stored).expect("a batch");
    assert_eq!(stored.attributes.compression(), Ok(Compression::Gzip));
}

#[test]
fn segments_are_rolled_by_values_of_now() {
    let node = Node::start(&[]);
    let half = "x".repeat(600 << 10);
    let segments = |topic| node.partition(topic).extent().expect("open").segments_count;
    node.create("size", &[]);
    node.produce("size", &batch(&[&half]));
    node.produce("size", &batch(&[&half]));
    assert_eq!(segments("size"), 1);
    set(&node, (TOPIC, "size"), "segment.bytes", Some("1048576"));
    node.produce("size", &batch(&[&half]));
    assert_eq!(segments("size"), 2);

    node.create("time", &[]);
    node.produce("time", &old_batch(60_000));
    node.produce("time", &batch(&["new"]));
    assert_eq!(segments("time"), 1);
    set(&node, (TOPIC, "time"), "segment.ms", Some("1000"));
    node.produce("time", &batch(&["newer"]));
    assert_eq!(segments("time"), 2);
}

#[test]
fn retention_of_now_deletes_what_was_written_before() {
    let node = Node::start(&[("log.retention.check.interval.ms", "20")]);
    let full = "x".repeat(600 << 10);
    for topic in ["time", "size"] {
        node.create(topic, &[("segment.bytes", "1048576")]);
        (0..4).for_each(|_| assert_eq!(node.produce(topic, &batch(&[&full])).0, ErrorCode::None));
        assert_eq!(node.partition(topic).log_start_offset(), 0);
    }
    let begins_later = |topic: &str| {
        let partition = node.partition(topic);
        wait::eventually("old segments go", Duration::from_secs(10), || partition.log_start_offset() > 0);
    };
    set(&node, (TOPIC, "time"), "retention.ms", Some("1"));
    begins_later("time");
    set(&node, (TOPIC, "size"), "retention.bytes", Some("1048576"));
    begins_later("size");
}

/// What has no effect that a client sees at once: the log has the values.
#[test]
fn every_other_topic_value_reaches_the_running_log() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let partition = node.partition("t");
    for (name, value) in [
        ("cleanup.policy", ""),
        ("file.delete.delay.ms", "1234"),
        ("flush.messages", "5"),
        ("flush.ms", "6"),
        ("index.interval.bytes", "77"),
        ("segment.index.bytes", "8888"),
        ("segment.jitter.ms", "99"),
        ("unclean.leader.election.enable", "true"),
        ("milena.flush", "durable"),
        // Never more than there are replicas, so a single node accepts produces all the same.
        ("min.insync.replicas", "2"),
        ("compression.gzip.level", "9"),
    ] {
        set(&node, (TOPIC, "t"), name, Some(value));
    }
    let settings = partition.settings();
    assert!(!settings.cleanup.delete && settings.unclean_leader_election && partition.is_durable());
    assert_eq!((settings.flush_messages, settings.flush_ms, settings.min_insync_replicas), (5, 6, 2));
    let log = node.log_config("t");
    assert_eq!((log.file_delete_delay_ms, log.index_interval_bytes), (1234, 77));
    assert_eq!((log.segment_index_bytes, log.segment_jitter_ms, log.delete), (8888, 99, false));
    assert_eq!(node.produce("t", &batch(&["durable now"])).0, ErrorCode::None);
}

#[test]
fn broker_values_are_defaults_of_topics_and_the_nearest_wins() {
    let node = Node::start(&[("message.max.bytes", "1000000")]);
    node.create("t", &[]);
    let (all, one, topic) = ((BROKER, ""), (BROKER, "1"), (TOPIC, "t"));
    set(&node, all, "message.max.bytes", Some("10"));
    assert_eq!(node.produce("t", &batch(&["x"])).0, ErrorCode::MessageTooLarge);
    set(&node, one, "message.max.bytes", Some("2000"));
    assert_eq!(node.produce("t", &batch(&["x"])).0, ErrorCode::None);
    set(&node, topic, "max.message.bytes", Some("20"));
    assert_eq!(node.produce("t", &batch(&["x"])).0, ErrorCode::MessageTooLarge);

    let behind = [
        "message.max.bytes=2000@2",
        "message.max.bytes=10@3",
        "message.max.bytes=1000000@4",
        "message.max.bytes=1048588@5",
    ];
    assert_eq!(
        described(&node, one, "message.max.bytes"),
        ("2000".to_owned(), 2, behind.map(String::from).to_vec())
    );
    let (value, source, synonyms) = described(&node, topic, "max.message.bytes");
    assert_eq!((value.as_str(), source, &synonyms[1..]), ("20", 1, &behind.map(String::from)[..]));
    let of_all = ("10".to_owned(), 3, vec!["message.max.bytes=10@3".to_owned()]);
    assert_eq!(described(&node, all, "message.max.bytes"), of_all);

    set(&node, topic, "max.message.bytes", None);
    set(&node, one, "message.max.bytes", None);
    set(&node, all, "message.max.bytes", None);
    assert_eq!(node.produce("t", &batch(&["x"])).0, ErrorCode::None);
    assert_eq!(described(&node, one, "message.max.bytes").1, 4);
}

#[test]
fn values_of_groups_are_described_with_the_brokers_default_behind_them() {
    let node = Node::start(&[]);
    let (group, name) = ((GROUP, "g"), "consumer.session.timeout.ms");
    assert_eq!(described(&node, group, name).1, 5);
    set(&node, group, name, Some("50000"));
    let synonyms = ["consumer.session.timeout.ms=50000@8", "group.consumer.session.timeout.ms=45000@5"];
    assert_eq!(described(&node, group, name), ("50000".to_owned(), 8, synonyms.map(String::from).to_vec()));
    assert_eq!(try_set(&node, (GROUP, ""), name, Some("50000")), ErrorCode::InvalidRequest);
}

#[test]
fn what_only_a_restart_changes_is_refused() {
    let node = Node::start(&[]);
    for (name, value) in [
        ("num.partitions", "3"),
        ("listeners", "PLAINTEXT://:1"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,MORE:PLAINTEXT"),
        ("num.network.threads", "2"),
    ] {
        assert_eq!(try_set(&node, (BROKER, "1"), name, Some(value)), ErrorCode::InvalidRequest, "{name}");
    }
}
