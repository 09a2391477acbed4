use milena_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use milena_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use milena_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use milena_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use milena_protocol::messages::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use milena_protocol::{ErrorCode, Uuid};

use crate::node::{Node, batch};

#[test]
fn creating_answers_shape_id_and_settings() {
    let node = Node::start(&[]);
    let topic =
        CreatableTopic { name: "t".into(), num_partitions: 4, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let response = node.call(&request, 7);
    let response = response.decode::<CreateTopicsRequest<'_>>().expect("CreateTopics");
    let topic = &response.topics[0];
    assert_eq!((topic.error_code, topic.num_partitions, topic.replication_factor), (0, 4, 1));
    assert_ne!(topic.topic_id, Uuid::ZERO);
    let configs = topic.configs.as_ref().expect("settings from v5 on");
    assert!(
        configs
            .iter()
            .any(|config| config.name == "retention.ms" && config.value.as_deref() == Some("604800000"))
    );
}

#[test]
fn impossible_topics_are_refused_with_kafkas_codes() {
    let node = Node::start(&[]);
    node.create("taken", &[]);
    let check = |name: &str, partitions, configs: &[(&str, &str)], error| {
        assert_eq!(node.try_create(name, partitions, configs), error, "{name} {configs:?}");
    };
    check("taken", 1, &[], ErrorCode::TopicAlreadyExists);
    check("no/slash", 1, &[], ErrorCode::InvalidTopicException);
    check("", 1, &[], ErrorCode::InvalidTopicException);
    check(&"x".repeat(250), 1, &[], ErrorCode::InvalidTopicException);
    check("zero", 0, &[], ErrorCode::InvalidPartitions);
    check("bad", 1, &[("retention.ms", "soon")], ErrorCode::InvalidConfig);
    check("bad", 1, &[("no.such.property", "1")], ErrorCode::InvalidConfig);
    check("a.b", 1, &[], ErrorCode::None);
    check("a_b", 1, &[], ErrorCode::InvalidTopicException);
}

#[test]
fn validate_only_creates_nothing() {
    let node = Node::start(&[]);
    let topic =
        CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: true };
    let response = node.call(&request, 7);
    assert_eq!(response.decode::<CreateTopicsRequest<'_>>().expect("CreateTopics").topics[0].error_code, 0);
    assert_eq!(node.fetch("t", 0).0, ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn deleted_topic_is_gone_and_its_successor_starts_empty() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    node.produce("t", &batch(&["x"]));
    let delete = |topic: DeleteTopicState<'static>| {
        let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let response = node.call(&request, 6);
        let response = response.decode::<DeleteTopicsRequest<'_>>().expect("DeleteTopics");
        ErrorCode::from_i16(response.responses[0].error_code).expect("a known code")
    };
    let named = |name: &'static str| DeleteTopicState { name: Some(name.into()), topic_id: Uuid::ZERO };
    assert_eq!(delete(named("t")), ErrorCode::None);
    assert_eq!(delete(named("t")), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(
        delete(DeleteTopicState { name: None, topic_id: Uuid::from_u128(7) }),
        ErrorCode::UnknownTopicId
    );
    assert_eq!(
        delete(DeleteTopicState { topic_id: Uuid::from_u128(7), ..named("t") }),
        ErrorCode::InvalidRequest
    );
    assert_eq!(node.fetch("t", 0).0, ErrorCode::UnknownTopicOrPartition);
    node.create("t", &[]);
    assert_eq!(node.produce("t", &batch(&["y"])), (ErrorCode::None, 0));
}

/// Answers of CreatePartitions as `name: code`.
fn grow(
    node: &Node,
    topics: Vec<CreatePartitionsTopic<'_>>,
    timeout_ms: i32,
    validate_only: bool,
) -> Vec<String> {
    let request = CreatePartitionsRequest { topics, timeout_ms, validate_only };
    let response = node.call(&request, 3);
    let response = response.decode::<CreatePartitionsRequest<'_>>().expect("CreatePartitions");
    let known = |code| ErrorCode::from_i16(code).expect("a known code");
    response.results.iter().map(|result| format!("{}: {:?}", result.name, known(result.error_code))).collect()
}

fn more<'a>(name: &'a str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic<'a> {
    let assignments = assignments.map(|new| {
        new.iter().map(|brokers| CreatePartitionsAssignment { broker_ids: brokers.to_vec() }).collect()
    });
    CreatePartitionsTopic { name: name.into(), count, assignments }
}

fn partitions_count(node: &Node, name: &str) -> usize {
    let topics = vec![TopicRequest { name: name.to_owned().into() }];
    let request = DescribeTopicPartitionsRequest { topics, response_partition_limit: 100, cursor: None };
    let response = node.call(&request, 0);
    let response = response.decode::<DescribeTopicPartitionsRequest<'_>>().expect("DescribeTopicPartitions");
    response.topics[0].partitions.len()
}

/// Codes are those of a 4.3.1 node.
#[test]
fn partitions_grow_and_never_shrink() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let check = |count, assignments, expected: &str| {
        let said = grow(&node, vec![more("t", count, assignments)], 10_000, false);
        assert_eq!(said, [format!("t: {expected}")], "{count} {assignments:?}");
    };
    assert_eq!(grow(&node, vec![more("t", 3, None)], 10_000, true), ["t: None"], "only asked");
    for count in [1, 0, -1] {
        check(count, None, "InvalidPartitions");
    }
    let wrong: [(i32, &[&[i32]]); 6] =
        [(3, &[&[1]]), (2, &[&[99]]), (2, &[&[1, 1]]), (2, &[&[]]), (2, &[]), (2, &[&[1], &[1]])];
    for (count, assignments) in wrong {
        check(count, Some(assignments), "InvalidReplicaAssignment");
    }
    check(2, Some(&[&[1]]), "None");
    check(4, None, "None");
    assert_eq!(partitions_count(&node, "t"), 4);
}

#[test]
fn requests_for_partitions_that_make_no_sense_change_nothing() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    for unknown in ["u", "a/b", ""] {
        let said = grow(&node, vec![more(unknown, 2, None)], 10_000, false);
        assert_eq!(said, [format!("{unknown}: UnknownTopicOrPartition")]);
    }
    let twice = vec![more("t", 2, None), more("t", 3, None), more("u", 4, None)];
    assert_eq!(grow(&node, twice, 10_000, false), ["t: InvalidRequest", "u: UnknownTopicOrPartition"]);
    // Without time nothing is begun.
    for timeout_ms in [0, -1] {
        assert_eq!(grow(&node, vec![more("t", 2, None)], timeout_ms, false), ["t: RequestTimedOut"]);
    }
    assert_eq!(grow(&node, vec![more("t", i32::MAX, None)], 10_000, false), ["t: PolicyViolation"]);
    assert_eq!(partitions_count(&node, "t"), 1);
}

#[test]
fn partitions_are_described_in_pages() {
    let node = Node::start(&[]);
    assert_eq!(node.try_create("a", 3, &[]), ErrorCode::None);
    assert_eq!(node.try_create("b", 2, &[]), ErrorCode::None);
    let mut cursor = None;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let topics = ["b", "a"].map(|name| TopicRequest { name: name.into() }).to_vec();
        let request =
            DescribeTopicPartitionsRequest { topics, response_partition_limit: 2, cursor: cursor.take() };
        let response = node.call(&request, 0);
        let response =
            response.decode::<DescribeTopicPartitionsRequest<'_>>().expect("DescribeTopicPartitions");
        for topic in &response.topics {
            let name = topic.name.as_deref().expect("a name").to_owned();
            seen.extend(topic.partitions.iter().map(|partition| (name.clone(), partition.partition_index)));
        }
        cursor = response.next_cursor.map(|next| Cursor {
            topic_name: next.topic_name.into_owned().into(),
            partition_index: next.partition_index,
        });
    }
    assert!(cursor.is_none(), "{cursor:?}");
    let expected = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)];
    assert_eq!(seen, expected.map(|(name, index)| (name.to_owned(), index)));
}

#[test]
fn cluster_is_described_through_the_listener_that_was_asked() {
    let node = Node::start(&[]);
    let response = node.call(&DescribeClusterRequest::default(), 2);
    let response = response.decode::<DescribeClusterRequest>().expect("DescribeCluster");
    assert_eq!((response.error_code, response.brokers.len()), (0, 1));
    let address = format!("{}:{}", response.brokers[0].host, response.brokers[0].port);
    assert_eq!(address, node.connection.address());
    let controllers = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
    let response = node.call(&controllers, 2);
    let response = response.decode::<DescribeClusterRequest>().expect("DescribeCluster");
    assert_eq!(response.error_code, i16::from(ErrorCode::MismatchedEndpointType));
}
