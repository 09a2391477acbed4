//! Requests that name a thing twice, by two names, or without saying what of it: answered as a 4.3.1 node does.

use milena_protocol::ErrorCode;
use milena_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use milena_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_protocol::messages::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use milena_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use milena_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use milena_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use milena_protocol::types::Uuid;

use crate::node::{Node, batch};

type Asked<'a> = (Option<&'a str>, Uuid);

/// What an answer says of the topics: code, name and id; and how many brokers it names.
struct Shown {
    codes: Vec<ErrorCode>,
    names: Vec<Option<String>>,
    ids: Vec<Uuid>,
    brokers: usize,
    controller_id: i32,
    names_cluster: bool,
}

fn metadata(node: &Node, version: i16, asked: &[Asked<'_>]) -> Shown {
    let topic = |(name, topic_id): &Asked<'_>| MetadataRequestTopic {
        name: name.map(|name| name.to_owned().into()),
        topic_id: *topic_id,
    };
    let topics = Some(asked.iter().map(topic).collect());
    let request = MetadataRequest { topics, ..Default::default() };
    let response = node.call(&request, version);
    let response = response.decode::<MetadataRequest<'_>>().expect("Metadata");
    let code = |code| ErrorCode::from_i16(code).expect("a known code");
    Shown {
        codes: response.topics.iter().map(|topic| code(topic.error_code)).collect(),
        names: response.topics.iter().map(|topic| topic.name.as_deref().map(str::to_owned)).collect(),
        ids: response.topics.iter().map(|topic| topic.topic_id).collect(),
        brokers: response.brokers.len(),
        controller_id: response.controller_id,
        names_cluster: response.cluster_id.is_some(),
    }
}

#[test]
fn ids_are_refused_by_versions_that_do_not_know_them() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let id = metadata(&node, 12, &[(Some("t"), Uuid::ZERO)]).ids[0];
    for version in [10, 11] {
        let refused = metadata(&node, version, &[(Some("t"), id), (Some("t"), Uuid::ZERO)]);
        assert_eq!(refused.codes, [ErrorCode::InvalidRequest; 2], "{version}");
        assert_eq!((refused.brokers, refused.controller_id), (0, -1), "{version}");
        assert!(!refused.names_cluster, "{version}");
        assert_eq!(metadata(&node, version, &[(Some("t"), Uuid::ZERO)]).brokers, 1, "{version}");
    }
}

#[test]
fn topic_is_shown_once_and_by_its_id_whatever_name_stands_there() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let named = (Some("t"), Uuid::ZERO);
    let id = metadata(&node, 12, &[named]).ids[0];
    for version in [0, 9, 12, 13] {
        assert_eq!(metadata(&node, version, &[named, named]).codes, [ErrorCode::None], "{version}");
    }
    for version in [12, 13] {
        let found = metadata(&node, version, &[(Some("other"), id), (None, id), (Some("third"), Uuid::ZERO)]);
        assert_eq!(found.codes, [ErrorCode::None], "{version}");
        assert_eq!(found.names[0].as_deref(), Some("t"), "{version}");
        let unknown = metadata(&node, version, &[(Some("t"), Uuid::from_u128(7))]);
        assert_eq!(unknown.codes, [ErrorCode::UnknownTopicId], "{version}");
        assert_eq!(unknown.names[0], None, "{version}");
    }
}

#[test]
fn partition_that_stands_twice_is_refused_once_and_topics_without_any_are_left_out() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let latest = || ListOffsetsPartition { timestamp: -1, ..Default::default() };
    let topic = |name: &'static str, partitions| ListOffsetsTopic { name: name.into(), partitions };
    let list = |topics| {
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let response = node.call(&request, 7);
        let response = response.decode::<ListOffsetsRequest<'_>>().expect("ListOffsets");
        let answer = |topic: &milena_protocol::messages::list_offsets_response::ListOffsetsTopicResponse<
            '_,
        >| {
            (topic.name.to_string(), topic.partitions.iter().map(|one| one.error_code).collect::<Vec<_>>())
        };
        response.topics.iter().map(answer).collect::<Vec<_>>()
    };
    let twice = [ErrorCode::InvalidRequest.as_i16()].to_vec();
    assert_eq!(list(vec![topic("t", vec![latest(), latest()])]), [("t".to_owned(), twice.clone())]);
    let apart = vec![topic("t", vec![latest()]), topic("none", Vec::new()), topic("t", vec![latest()])];
    assert_eq!(list(apart), [("t".to_owned(), twice)]);
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic { name: "t".into(), partitions: Vec::new() }],
        timeout_ms: 1000,
    };
    let response = node.call(&request, 2);
    assert!(response.decode::<DeleteRecordsRequest<'_>>().expect("DeleteRecords").topics.is_empty());
}

#[test]
fn fetch_with_an_epoch_below_zero_knows_none() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    node.produce("t", &batch(&["x"]));
    for (epoch, error) in [(-2, ErrorCode::None), (0, ErrorCode::None), (7, ErrorCode::UnknownLeaderEpoch)] {
        let partition = FetchPartition {
            current_leader_epoch: epoch,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let topics =
            vec![FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() }];
        let request = FetchRequest { max_bytes: 1 << 20, min_bytes: 1, topics, ..Default::default() };
        let response = node.call(&request, 12);
        let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
        assert_eq!(response.responses[0].partitions[0].error_code, error.as_i16(), "{epoch}");
    }
}

#[test]
fn page_that_begins_at_a_topic_nobody_asked_for_is_refused() {
    let node = Node::start(&[]);
    node.create("a", &[]);
    node.create("b", &[]);
    let page = |asked: &[&'static str], from: &'static str| {
        let topics = asked.iter().map(|name| TopicRequest { name: (*name).into() }).collect();
        let cursor = Some(Cursor { topic_name: from.into(), partition_index: 0 });
        let request = DescribeTopicPartitionsRequest { topics, response_partition_limit: 100, cursor };
        let response = node.call(&request, 0);
        let response =
            response.decode::<DescribeTopicPartitionsRequest<'_>>().expect("DescribeTopicPartitions");
        response.topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>()
    };
    let refused = ErrorCode::InvalidRequest.as_i16();
    assert_eq!(page(&["a", "b"], "aa"), [refused; 2]);
    assert_eq!(page(&["a", "b"], "c"), [refused; 2]);
    assert_eq!(page(&["a", "b"], "b"), [0]);
    assert_eq!(page(&[], "aa"), [0], "of all topics, the next one");
}

#[test]
fn internal_topic_that_is_not_there_is_unknown_and_internal() {
    let node = Node::start(&[]);
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: 0 }];
    let topics = vec![DeleteRecordsTopic { name: "__transaction_state".into(), partitions }];
    let response = node.call(&DeleteRecordsRequest { topics, timeout_ms: 1000 }, 2);
    let response = response.decode::<DeleteRecordsRequest<'_>>().expect("DeleteRecords");
    let unknown = ErrorCode::UnknownTopicOrPartition.as_i16();
    assert_eq!(response.topics[0].partitions[0].error_code, unknown);
    let topics = vec![TopicRequest { name: "__transaction_state".into() }];
    let request = DescribeTopicPartitionsRequest { topics, response_partition_limit: 100, cursor: None };
    let response = node.call(&request, 0);
    let response = response.decode::<DescribeTopicPartitionsRequest<'_>>().expect("DescribeTopicPartitions");
    assert_eq!((response.topics[0].error_code, response.topics[0].is_internal), (unknown, true));
}

#[test]
fn resource_of_an_unknown_kind_spoils_the_request() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let described = |kinds: &[i8]| {
        let resource = |kind: &i8| DescribeConfigsResource {
            resource_type: *kind,
            resource_name: if *kind == 2 { "t".into() } else { "".into() },
            configuration_keys: None,
        };
        let resources = kinds.iter().map(resource).collect();
        let request = DescribeConfigsRequest { resources, ..Default::default() };
        let response = node.call(&request, 4);
        let response = response.decode::<DescribeConfigsRequest<'_>>().expect("DescribeConfigs");
        response.results.iter().map(|result| result.error_code).collect::<Vec<_>>()
    };
    let refused = ErrorCode::InvalidRequest.as_i16();
    assert_eq!(described(&[2, 4]), [0, 0]);
    assert_eq!(described(&[2, -1, 4, 4]), [refused; 4]);
    // Known, but without a name there is none.
    assert_eq!(described(&[2, 32]), [0, refused]);
}

#[test]
fn empty_list_of_properties_asks_for_all_of_them() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let described = |keys| {
        let resource =
            DescribeConfigsResource { resource_type: 2, resource_name: "t".into(), configuration_keys: keys };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let response = node.call(&request, 4);
        response.decode::<DescribeConfigsRequest<'_>>().expect("DescribeConfigs").results[0].configs.len()
    };
    assert_eq!(described(Some(vec!["retention.ms".into()])), 1);
    assert_eq!(described(Some(Vec::new())), described(None));
}
