use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};

use crate::node::Node;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Error, and value and source by name.
fn describe(
    node: &Node,
    resource_type: i8,
    name: &str,
) -> (ErrorCode, BTreeMap<String, (Option<String>, i8)>) {
    let resource =
        DescribeConfigsResource { resource_type, resource_name: name.into(), configuration_keys: None };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    let response = node.call(&request, 4);
    let response = response.decode::<DescribeConfigsRequest<'_>>().expect("DescribeConfigs");
    let result = &response.results[0];
    let rows = result.configs.iter();
    let rows =
        rows.map(|row| (row.name.to_string(), (row.value.as_deref().map(str::to_owned), row.config_source)));
    (ErrorCode::from_i16(result.error_code).expect("a known code"), rows.collect())
}

#[test]
fn topic_settings_come_with_their_source() {
    let node = Node::start(&[("log.retention.hours", "1")]);
    node.create("t", &[("segment.bytes", "2097152")]);
    let (error, rows) = describe(&node, TOPIC, "t");
    assert_eq!(error, ErrorCode::None);
    assert_eq!(rows["segment.bytes"], (Some("2097152".to_owned()), 1));
    assert_eq!(rows["retention.ms"].0.as_deref(), Some("3600000"), "follows the broker's hours");
    assert_eq!(rows["compression.type"], (Some("producer".to_owned()), 5));
}

#[test]
fn broker_describes_itself_only() {
    let node = Node::start(&[("num.partitions", "3")]);
    let (error, rows) = describe(&node, BROKER, "1");
    assert_eq!(error, ErrorCode::None);
    assert_eq!(rows["num.partitions"], (Some("3".to_owned()), 4));
    assert_eq!(describe(&node, BROKER, "2").0, ErrorCode::InvalidRequest);
    assert_eq!(describe(&node, TOPIC, "nope").0, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(describe(&node, TOPIC, "no/slash").0, ErrorCode::InvalidTopicException);
    assert_eq!(describe(&node, 77, "x").0, ErrorCode::InvalidRequest);
}

#[test]
fn resource_that_is_named_many_times_is_described_once() {
    let node = Node::start(&[]);
    let resource = DescribeConfigsResource {
        resource_type: BROKER,
        resource_name: "1".into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource; 5_000],
        include_synonyms: true,
        include_documentation: true,
    };
    let response = node.call(&request, 4);
    let response = response.decode::<DescribeConfigsRequest<'_>>().expect("DescribeConfigs");
    assert_eq!(response.results.len(), 1);
    assert!(response.results[0].configs.len() > 100);
}
