//! Every API in every version that is advertised: each is answered, with fields that the version has.

use std::net::TcpStream;

use milena_broker::api::{Audience, ROUTES, Route};
use milena_protocol::messages::*;
use milena_protocol::{ApiKey, ErrorCode, Uuid};

use crate::harness::{Running, ask, create_topic, creation, production};
use crate::{admin, groups};

pub const NONE: i16 = ErrorCode::None as i16;
pub const TOPIC: &str = "present";
pub const ABSENT: &str = "absent";

/// A topic with one partition and a few records.
struct Topic {
    id: Uuid,
}

#[test]
fn every_advertised_version_is_answered() {
    let running = Running::start();
    let mut stream = running.connect();
    let topic = Topic { id: create_topic(&mut stream, TOPIC, 1) };
    produce(&mut stream, 12, &topic);
    for route in ROUTES.iter().filter(|route| route.scope.includes(Audience::Clients)) {
        let (first, last) = route.versions;
        for version in first..=last {
            check(&mut stream, route, version, &topic);
        }
    }
}

fn check(stream: &mut TcpStream, route: &Route, version: i16, topic: &Topic) {
    match route.key {
        ApiKey::Produce => produce(stream, version, topic),
        ApiKey::Fetch => fetch(stream, version, topic),
        ApiKey::ListOffsets => list_offsets(stream, version),
        ApiKey::Metadata => metadata(stream, version),
        ApiKey::ApiVersions => api_versions(stream, version),
        ApiKey::OffsetCommit => groups::versions::offset_commit(stream, version, topic.id),
        ApiKey::OffsetFetch => groups::versions::offset_fetch(stream, version, topic.id),
        ApiKey::FindCoordinator => groups::versions::find_coordinator(stream, version),
        ApiKey::JoinGroup => groups::versions::join_group(stream, version),
        ApiKey::Heartbeat => groups::versions::heartbeat(stream, version),
        ApiKey::LeaveGroup => groups::versions::leave_group(stream, version),
        ApiKey::SyncGroup => groups::versions::sync_group(stream, version),
        ApiKey::DescribeGroups => groups::versions::describe_groups(stream, version),
        ApiKey::ListGroups => groups::versions::list_groups(stream, version),
        ApiKey::DeleteGroups => groups::versions::delete_groups(stream, version),
        ApiKey::OffsetDelete => groups::versions::offset_delete(stream, version),
        ApiKey::CreateTopics => {
            create(stream, version, &format!("created-{version}"));
        }
        ApiKey::DeleteTopics => delete_topics(stream, version),
        ApiKey::DeleteRecords => delete_records(stream, version),
        ApiKey::InitProducerId => init_producer_id(stream, version),
        ApiKey::OffsetForLeaderEpoch => offset_for_leader_epoch(stream, version),
        ApiKey::DescribeConfigs => describe_configs(stream, version),
        ApiKey::CreatePartitions => create_partitions(stream, version),
        ApiKey::DescribeCluster => describe_cluster(stream, version),
        ApiKey::DescribeTopicPartitions => describe_topic_partitions(stream, version),
        ApiKey::DescribeClientQuotas => admin::describe_client_quotas(stream, version),
        ApiKey::AlterClientQuotas => admin::alter_client_quotas(stream, version),
        ApiKey::AlterConfigs => admin::alter_configs(stream, version),
        ApiKey::IncrementalAlterConfigs => admin::incremental_alter_configs(stream, version),
        ApiKey::AlterReplicaLogDirs => admin::alter_replica_log_dirs(stream, version),
        ApiKey::DescribeLogDirs => admin::describe_log_dirs(stream, version),
        ApiKey::DescribeQuorum => admin::describe_quorum(stream, version),
        ApiKey::UpdateFeatures => admin::update_features(stream, version),
        ApiKey::DescribeProducers => admin::describe_producers(stream, version),
        ApiKey::UnregisterBroker => admin::unregister_broker(stream, version),
        ApiKey::ElectLeaders => elect_leaders(stream, version),
        ApiKey::AlterPartitionReassignments => alter_partition_reassignments(stream, version),
        ApiKey::ListPartitionReassignments => list_partition_reassignments(stream, version),
        ApiKey::AddRaftVoter => add_raft_voter(stream, version),
        ApiKey::RemoveRaftVoter => remove_raft_voter(stream, version),
        ApiKey::ListConfigResources => admin::list_config_resources(stream, version),
        other => panic!("{other} is served and this test does not ask for it"),
    }
}

/// The one replica leads already.
fn elect_leaders(stream: &mut TcpStream, version: i16) {
    let asked = elect_leaders_request::TopicPartitions { topic: TOPIC.into(), partitions: vec![0] };
    let request = ElectLeadersRequest { topic_partitions: Some(vec![asked]), ..Default::default() };
    let response = ask(stream, version, &request);
    let elected = &response.replica_election_results[0];
    let code = elected.partition_result[0].error_code;
    assert_eq!((&*elected.topic, code), (TOPIC, ErrorCode::ElectionNotNeeded.as_i16()), "{version}");
}

/// There is no broker 7.
fn alter_partition_reassignments(stream: &mut TcpStream, version: i16) {
    use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    let partition = ReassignablePartition { partition_index: 0, replicas: Some(vec![7]) };
    let topic = ReassignableTopic { name: TOPIC.into(), partitions: vec![partition] };
    let request = AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() };
    let response = ask(stream, version, &request);
    let code = response.responses[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::InvalidReplicaAssignment.as_i16(), "{version}");
}

fn list_partition_reassignments(stream: &mut TcpStream, version: i16) {
    let response = ask(stream, version, &ListPartitionReassignmentsRequest::default());
    assert_eq!((response.error_code, response.topics.len()), (NONE, 0), "{version}");
}

/// A voter without a directory is none.
fn add_raft_voter(stream: &mut TcpStream, version: i16) {
    let request =
        AddRaftVoterRequest { cluster_id: None, voter_id: 2, timeout_ms: 1_000, ..Default::default() };
    let response = ask(stream, version, &request);
    assert_eq!(response.error_code, ErrorCode::InvalidRequest.as_i16(), "{version}");
}

fn remove_raft_voter(stream: &mut TcpStream, version: i16) {
    let request =
        RemoveRaftVoterRequest { cluster_id: None, voter_id: 2, voter_directory_id: Uuid::from_u128(9) };
    let response = ask(stream, version, &request);
    assert_eq!(response.error_code, ErrorCode::VoterNotFound.as_i16(), "{version}");
}

/// Creates a topic with one partition; creating it again is refused.
fn create(stream: &mut TcpStream, version: i16, name: &str) -> Uuid {
    let request = creation(name, 1);
    let created = ask(stream, version, &request).topics.remove(0);
    assert_eq!((created.error_code, &*created.name), (NONE, name), "{version}");
    let again = ask(stream, version, &request).topics.remove(0);
    assert_eq!(again.error_code, ErrorCode::TopicAlreadyExists.as_i16(), "{version}");
    created.topic_id
}

fn produce(stream: &mut TcpStream, version: i16, topic: &Topic) {
    let mut request = production(TOPIC, 1_000, 1);
    let known = request.topic_data[0].clone();
    request.topic_data.push(produce_request::TopicProduceData { name: ABSENT.into(), ..known });
    if version >= 13 {
        for (data, topic_id) in request.topic_data.iter_mut().zip([topic.id, Uuid::from_bytes([7; 16])]) {
            (data.name, data.topic_id) = (Default::default(), topic_id);
        }
    }
    let response = ask(stream, version, &request);
    let codes: Vec<_> = response.responses.iter().map(|t| t.partition_responses[0].error_code).collect();
    let refused = if version < 13 { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId };
    assert_eq!(codes, [NONE, refused.as_i16()], "{version}");
}

fn fetch(stream: &mut TcpStream, version: i16, topic: &Topic) {
    let asked = |name: &str, topic_id, partition| fetch_request::FetchTopic {
        topic: if version < 13 { name.to_owned().into() } else { Default::default() },
        topic_id: if version < 13 { Uuid::default() } else { topic_id },
        partitions: vec![fetch_request::FetchPartition {
            partition,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        }],
    };
    let request = FetchRequest {
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![asked(TOPIC, topic.id, 0), asked(ABSENT, Uuid::from_bytes([7; 16]), 0)],
        ..Default::default()
    };
    let response = ask(stream, version, &request);
    assert_eq!(response.error_code, NONE, "{version}");
    let found = &response.responses[0].partitions[0];
    assert_eq!(found.error_code, NONE, "{version}");
    assert!(found.high_watermark > 0, "{version}");
    assert!(found.records.as_ref().is_some_and(|records| !records.is_empty()), "{version}");
    let refused = if version < 13 { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId };
    assert_eq!(response.responses[1].partitions[0].error_code, refused.as_i16(), "{version}");
}

/// Found by `fuzz/run connection`: only newer versions can name the leader, and the answers of all others were lost.
#[test]
fn every_fetch_version_can_say_that_it_is_not_the_leader() {
    let running = Running::start();
    let mut stream = running.connect();
    let topic = Topic { id: create_topic(&mut stream, TOPIC, 1) };
    for version in 4..=18 {
        let asked = fetch_request::FetchTopic {
            topic: if version < 13 { TOPIC.into() } else { Default::default() },
            topic_id: if version < 13 { Uuid::default() } else { topic.id },
            partitions: vec![fetch_request::FetchPartition::default()],
        };
        let mut request = FetchRequest { session_epoch: -1, topics: vec![asked], ..Default::default() };
        // A broker that holds no replica.
        match version {
            ..=14 => request.replica_id = 7,
            _ => request.replica_state.replica_id = 7,
        }
        let response = ask(&mut stream, version, &request);
        let refused = &response.responses[0].partitions[0];
        assert_eq!(refused.error_code, ErrorCode::NotLeaderOrFollower.as_i16(), "{version}");
        assert_eq!(refused.current_leader.leader_id, if version >= 16 { 1 } else { -1 }, "{version}");
    }
}

fn list_offsets(stream: &mut TcpStream, version: i16) {
    for timestamp in [-1, -2, 0, i64::MAX] {
        let topic = |name: &str| list_offsets_request::ListOffsetsTopic {
            name: name.to_owned().into(),
            partitions: vec![list_offsets_request::ListOffsetsPartition { timestamp, ..Default::default() }],
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![topic(TOPIC), topic(ABSENT)],
            ..Default::default()
        };
        let response = ask(stream, version, &request);
        let found = &response.topics[0].partitions[0];
        assert_eq!(found.error_code, NONE, "{version}");
        assert_eq!(found.offset >= 0, timestamp != i64::MAX, "{version} {timestamp}");
        let refused = ErrorCode::UnknownTopicOrPartition.as_i16();
        assert_eq!(response.topics[1].partitions[0].error_code, refused, "{version}");
    }
}

fn metadata(stream: &mut TcpStream, version: i16) {
    let all = if version == 0 { Some(Vec::new()) } else { None };
    let response = ask(stream, version, &MetadataRequest { topics: all, ..Default::default() });
    assert_eq!(response.brokers.len(), 1, "{version}");
    let present =
        response.topics.iter().find(|topic| topic.name.as_deref() == Some(TOPIC)).expect("the topic");
    assert_eq!((present.error_code, present.partitions.len()), (NONE, 1), "{version}");
    assert_eq!(present.partitions[0].leader_id, 1, "{version}");
    if version >= 4 {
        let absent =
            metadata_request::MetadataRequestTopic { name: Some(ABSENT.into()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![absent]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let response = ask(stream, version, &request);
        assert_eq!(response.topics[0].error_code, ErrorCode::UnknownTopicOrPartition.as_i16(), "{version}");
    }
}

fn api_versions(stream: &mut TcpStream, version: i16) {
    let mut request = ApiVersionsRequest::default();
    if version >= 3 {
        request.client_software_name = "test".into();
        request.client_software_version = "1".into();
    }
    let response = ask(stream, version, &request);
    let served = ROUTES.iter().filter(|route| route.scope.includes(Audience::Clients)).count();
    assert_eq!((response.error_code, response.api_keys.len()), (NONE, served), "{version}");
    let produce = &response.api_keys[0];
    assert_eq!((produce.api_key, produce.min_version), (0, 0), "librdkafka needs Produce from 0");
    if version >= 3 {
        assert!(response.finalized_features.iter().any(|f| f.name == "metadata.version"), "{version}");
        assert!(version >= 4 || response.supported_features.iter().all(|f| f.min_version > 0), "{version}");
    }
}

fn delete_topics(stream: &mut TcpStream, version: i16) {
    let name = format!("deleted-{version}");
    create_topic(stream, &name, 1);
    let mut request = DeleteTopicsRequest { timeout_ms: 10_000, ..Default::default() };
    if version >= 6 {
        let topic = |name: &str| delete_topics_request::DeleteTopicState {
            name: Some(name.to_owned().into()),
            ..Default::default()
        };
        request.topics = vec![topic(&name), topic(ABSENT)];
    } else {
        request.topic_names = vec![name.into(), ABSENT.into()];
    }
    let response = ask(stream, version, &request);
    let mut codes: Vec<_> = response.responses.iter().map(|topic| topic.error_code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [NONE, ErrorCode::UnknownTopicOrPartition.as_i16()], "{version}");
}

fn delete_records(stream: &mut TcpStream, version: i16) {
    let topic = |name: &str| delete_records_request::DeleteRecordsTopic {
        name: name.to_owned().into(),
        partitions: vec![delete_records_request::DeleteRecordsPartition { partition_index: 0, offset: 0 }],
    };
    let request = DeleteRecordsRequest { topics: vec![topic(TOPIC), topic(ABSENT)], timeout_ms: 10_000 };
    let response = ask(stream, version, &request);
    assert_eq!(response.topics[0].partitions[0].error_code, NONE, "{version}");
    let refused = ErrorCode::UnknownTopicOrPartition.as_i16();
    assert_eq!(response.topics[1].partitions[0].error_code, refused, "{version}");
}

fn init_producer_id(stream: &mut TcpStream, version: i16) {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let response = ask(stream, version, &request);
    assert_eq!((response.error_code, response.producer_epoch), (NONE, 0), "{version}");
    assert!(response.producer_id >= 0, "{version}");
    if version >= 3 {
        for (producer_id, producer_epoch) in [(7, -1), (-1, 0)] {
            let half = InitProducerIdRequest { producer_id, producer_epoch, ..request.clone() };
            let refused = ErrorCode::InvalidRequest.as_i16();
            assert_eq!(ask(stream, version, &half).error_code, refused, "{version}");
        }
    }
}

fn offset_for_leader_epoch(stream: &mut TcpStream, version: i16) {
    let topic = |name: &str| offset_for_leader_epoch_request::OffsetForLeaderTopic {
        topic: name.to_owned().into(),
        partitions: vec![offset_for_leader_epoch_request::OffsetForLeaderPartition {
            current_leader_epoch: -1,
            ..Default::default()
        }],
    };
    let mut request =
        OffsetForLeaderEpochRequest { topics: vec![topic(TOPIC), topic(ABSENT)], ..Default::default() };
    if version >= 3 {
        request.replica_id = -1;
    }
    let response = ask(stream, version, &request);
    let found =
        |name: &str| response.topics.iter().find(|topic| topic.topic == name).expect("it was asked for");
    let present = &found(TOPIC).partitions[0];
    assert_eq!((present.error_code, present.leader_epoch), (NONE, 0), "{version}");
    assert!(present.end_offset > 0, "{version}");
    let refused = ErrorCode::UnknownTopicOrPartition.as_i16();
    assert_eq!(found(ABSENT).partitions[0].error_code, refused, "{version}");
}

fn describe_configs(stream: &mut TcpStream, version: i16) {
    let resource = |resource_type, name: &str| describe_configs_request::DescribeConfigsResource {
        resource_type,
        resource_name: name.to_owned().into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource(2, TOPIC), resource(4, "1"), resource(2, ABSENT)],
        include_synonyms: true,
        include_documentation: version >= 3,
    };
    let response = ask(stream, version, &request);
    let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [NONE, NONE, ErrorCode::UnknownTopicOrPartition.as_i16()], "{version}");
    assert!(response.results[0].configs.iter().any(|config| config.name == "retention.ms"), "{version}");
    assert!(response.results[1].configs.iter().any(|config| config.name == "node.id"), "{version}");
}

fn create_partitions(stream: &mut TcpStream, version: i16) {
    let name = format!("grown-{version}");
    create_topic(stream, &name, 1);
    let topic = |name: &str| create_partitions_request::CreatePartitionsTopic {
        name: name.to_owned().into(),
        count: 3,
        assignments: None,
    };
    let topics = vec![topic(&name), topic(ABSENT)];
    let request = CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only: false };
    let response = ask(stream, version, &request);
    let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [NONE, ErrorCode::UnknownTopicOrPartition.as_i16()], "{version}");
}

fn describe_cluster(stream: &mut TcpStream, version: i16) {
    let response = ask(stream, version, &DescribeClusterRequest::default());
    assert_eq!((response.error_code, response.brokers.len()), (NONE, 1), "{version}");
    assert!(!response.cluster_id.is_empty(), "{version}");
}

fn describe_topic_partitions(stream: &mut TcpStream, version: i16) {
    let topic = |name: &str| describe_topic_partitions_request::TopicRequest { name: name.to_owned().into() };
    let request = DescribeTopicPartitionsRequest {
        topics: vec![topic(ABSENT), topic(TOPIC)],
        response_partition_limit: 100,
        cursor: None,
    };
    let response = ask(stream, version, &request);
    let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [ErrorCode::UnknownTopicOrPartition.as_i16(), NONE], "{version}");
}
