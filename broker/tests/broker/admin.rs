//! Administration in every version, for [`crate::versions`], and what it changes in a broker that runs.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::messages::*;

use crate::harness::{Running, ask, eventually};
use crate::versions::{ABSENT, NONE, TOPIC};

const TOPICS: i8 = 2;
const BROKERS: i8 = 4;
const METRICS: i8 = 16;

pub fn incremental_alter_configs(stream: &mut TcpStream, version: i16) {
    let resource = |name: &str| incremental_alter_configs_request::AlterConfigsResource {
        resource_type: TOPICS,
        resource_name: name.to_owned().into(),
        configs: vec![incremental_alter_configs_request::AlterableConfig {
            name: "retention.bytes".into(),
            config_operation: 0,
            value: Some("1000000000".into()),
        }],
    };
    let resources = vec![resource(TOPIC), resource(ABSENT)];
    let response = ask(stream, version, &IncrementalAlterConfigsRequest { resources, validate_only: false });
    let codes: Vec<_> = response.responses.iter().map(|r| (&*r.resource_name, r.error_code)).collect();
    let unknown = ErrorCode::UnknownTopicOrPartition.as_i16();
    assert_eq!(codes, [(TOPIC, NONE), (ABSENT, unknown)], "{version}");
    assert_eq!(response.responses[0].error_message, None, "{version}");
}

pub fn alter_configs(stream: &mut TcpStream, version: i16) {
    let resource = |name: &str, value: Option<&str>| alter_configs_request::AlterConfigsResource {
        resource_type: TOPICS,
        resource_name: name.to_owned().into(),
        configs: vec![alter_configs_request::AlterableConfig {
            name: "retention.bytes".into(),
            value: value.map(|value| value.to_owned().into()),
        }],
    };
    let resources = vec![resource(TOPIC, Some("1000000000")), resource(ABSENT, None)];
    let response = ask(stream, version, &AlterConfigsRequest { resources, validate_only: version == 0 });
    let codes: Vec<_> = response.responses.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [NONE, ErrorCode::InvalidRequest.as_i16()], "{version}");
}

pub fn alter_client_quotas(stream: &mut TcpStream, version: i16) {
    let entry = |entity_type: &str, value| alter_client_quotas_request::EntryData {
        entity: vec![alter_client_quotas_request::EntityData {
            entity_type: entity_type.to_owned().into(),
            entity_name: Some("versions".into()),
        }],
        ops: vec![alter_client_quotas_request::OpData {
            key: "producer_byte_rate".into(),
            value,
            remove: false,
        }],
    };
    let entries = vec![entry("client-id", 1e9), entry("group", 1e9), entry("user", -1.0)];
    let response = ask(stream, version, &AlterClientQuotasRequest { entries, validate_only: false });
    let codes: Vec<_> = response.entries.iter().map(|entry| entry.error_code).collect();
    let invalid = ErrorCode::InvalidRequest.as_i16();
    assert_eq!(codes, [NONE, invalid, invalid], "{version}");
}

pub fn describe_client_quotas(stream: &mut TcpStream, version: i16) {
    alter_client_quotas(stream, version);
    let component = |match_type, name: Option<&str>| describe_client_quotas_request::ComponentData {
        entity_type: "client-id".into(),
        match_type,
        r#match: name.map(|name| name.to_owned().into()),
    };
    let mut request =
        DescribeClientQuotasRequest { components: vec![component(0, Some("versions"))], strict: true };
    let response = ask(stream, version, &request);
    let found = response.entries.as_ref().expect("entries");
    assert_eq!((response.error_code, found[0].values[0].value), (NONE, 1e9), "{version}");
    request.components = vec![component(1, Some("versions"))];
    let refused = ask(stream, version, &request);
    assert_eq!(refused.error_code, ErrorCode::InvalidRequest.as_i16(), "{version}");
    assert!(refused.entries.is_none(), "{version}");
}

/// There is one directory, where every replica is.
pub fn alter_replica_log_dirs(stream: &mut TcpStream, version: i16) {
    use alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
    let described = ask(stream, 1, &DescribeLogDirsRequest { topics: Some(Vec::new()) });
    let path = described.results[0].log_dir.to_string();
    let mut moved = |path: &str, topic: &str| {
        let topics = vec![AlterReplicaLogDirTopic { name: topic.to_owned().into(), partitions: vec![0] }];
        let dirs = vec![AlterReplicaLogDir { path: path.to_owned().into(), topics }];
        let response = ask(stream, version, &AlterReplicaLogDirsRequest { dirs });
        let [result] = response.results.as_slice() else { panic!("{version}: {response:?}") };
        assert_eq!((&*result.topic_name, result.partitions[0].partition_index), (topic, 0), "{version}");
        result.partitions[0].error_code
    };
    assert_eq!(moved(&path, TOPIC), NONE, "{version}");
    assert_eq!(moved(&path, ABSENT), ErrorCode::UnknownTopicOrPartition.as_i16(), "{version}");
    assert_eq!(moved("/nowhere", TOPIC), ErrorCode::LogDirNotFound.as_i16(), "{version}");
}

pub fn describe_log_dirs(stream: &mut TcpStream, version: i16) {
    let topic = |name: &str, partitions| describe_log_dirs_request::DescribableLogDirTopic {
        topic: name.to_owned().into(),
        partitions,
    };
    let request =
        DescribeLogDirsRequest { topics: Some(vec![topic(TOPIC, vec![0, 9]), topic(ABSENT, vec![0])]) };
    let response = ask(stream, version, &request);
    let [directory] = response.results.as_slice() else { panic!("{version}: {response:?}") };
    assert_eq!((directory.error_code, directory.topics.len()), (NONE, 1), "{version}");
    let [partition] = directory.topics[0].partitions.as_slice() else { panic!("{version}: {directory:?}") };
    assert!(partition.partition_size > 0 && !partition.is_future_key, "{version}: {partition:?}");
    assert_eq!((partition.partition_index, partition.offset_lag), (0, 0), "{version}");
    assert!(directory.log_dir.starts_with('/'), "{version}");
    if version >= 4 {
        assert!(directory.total_bytes > directory.usable_bytes && directory.usable_bytes > 0, "{version}");
    }
    let none = ask(stream, version, &DescribeLogDirsRequest { topics: Some(Vec::new()) });
    assert!(none.results[0].topics.is_empty(), "{version}");
    let all = ask(stream, version, &DescribeLogDirsRequest { topics: None });
    assert!(all.results[0].topics.iter().any(|topic| topic.name == TOPIC), "{version}");
}

pub fn describe_quorum(stream: &mut TcpStream, version: i16) {
    let topic = |name: &str, partitions: &[i32]| describe_quorum_request::TopicData {
        topic_name: name.to_owned().into(),
        partitions: partitions
            .iter()
            .map(|index| describe_quorum_request::PartitionData { partition_index: *index })
            .collect(),
    };
    let metadata = DescribeQuorumRequest { topics: vec![topic("__cluster_metadata", &[0])] };
    let response = ask(stream, version, &metadata);
    assert_eq!(response.error_code, NONE, "{version}");
    let quorum = &response.topics[0].partitions[0];
    assert_eq!((quorum.error_code, quorum.leader_id), (NONE, 1), "{version}");
    assert!(quorum.high_watermark > 0 && quorum.leader_epoch > 0, "{version}: {quorum:?}");
    let [voter] = quorum.current_voters.as_slice() else { panic!("{version}: {quorum:?}") };
    assert!(voter.replica_id == 1 && voter.log_end_offset >= quorum.high_watermark, "{version}: {voter:?}");
    assert!(quorum.observers.is_empty(), "{version}");
    assert_eq!(voter.last_caught_up_timestamp > 0, version >= 1, "{version}");
    // As Kafka answers whatever is not exactly that partition.
    for others in [vec![topic("x", &[0])], vec![topic("__cluster_metadata", &[0, 1])]] {
        let response = ask(stream, version, &DescribeQuorumRequest { topics: others });
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        let unknown = ErrorCode::UnknownTopicOrPartition.as_i16();
        assert!(partitions.map(|partition| partition.error_code).all(|code| code == unknown), "{version}");
    }
}

pub fn update_features(stream: &mut TcpStream, version: i16) {
    let update = |name: &str, level| update_features_request::FeatureUpdateKey {
        feature: name.to_owned().into(),
        max_version_level: level,
        ..Default::default()
    };
    let mut request = |updates| {
        let request =
            UpdateFeaturesRequest { timeout_ms: 10_000, feature_updates: updates, ..Default::default() };
        let response = ask(stream, version, &request);
        let message = response.error_message.as_deref().unwrap_or_default().to_owned();
        (response.error_code, message, response.results.len())
    };
    let done = usize::from(version <= 1);
    assert_eq!(request(vec![update("metadata.version", 30)]), (NONE, String::new(), done), "{version}");
    assert_eq!(request(Vec::new()).0, NONE, "{version}");
    // Codes and reasons are those of a 4.3.1 node.
    for (name, level, reason) in [
        ("nope", 1, "Local controller 1 does not support this feature."),
        ("metadata.version", 99, "Local controller 1 only supports versions 7-30"),
        ("metadata.version", 29, "Can't downgrade the version of this feature without setting"),
        ("metadata.version", -1, "A feature version cannot be less than 0."),
        ("eligible.leader.replicas.version", 2, "Local controller 1 only supports versions 0-1"),
    ] {
        let (code, message, results) = request(vec![update(name, level)]);
        assert_eq!(
            (code, results),
            (ErrorCode::InvalidUpdateVersion.as_i16(), 0),
            "{version} {name} {level}"
        );
        assert!(message.contains(reason), "{version} {name} {level}: {message}");
    }
}

pub fn describe_producers(stream: &mut TcpStream, version: i16) {
    let topic = |name: &str, indexes: &[i32]| describe_producers_request::TopicRequest {
        name: name.to_owned().into(),
        partition_indexes: indexes.to_vec(),
    };
    let topics = vec![topic(TOPIC, &[0, 9]), topic(ABSENT, &[0]), topic("a/b", &[0])];
    let response = ask(stream, version, &DescribeProducersRequest { topics });
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let codes: Vec<_> = partitions.map(|partition| partition.error_code).collect();
    let unknown = ErrorCode::UnknownTopicOrPartition.as_i16();
    assert_eq!(codes, [NONE, unknown, unknown, ErrorCode::InvalidTopicException.as_i16()], "{version}");
}

pub fn unregister_broker(stream: &mut TcpStream, version: i16) {
    let mut unregister = |broker_id| ask(stream, version, &UnregisterBrokerRequest { broker_id });
    let unknown = unregister(99);
    assert_eq!(unknown.error_code, ErrorCode::BrokerIdNotRegistered.as_i16());
    assert_eq!(unknown.error_message.as_deref(), Some("Broker ID 99 is not currently registered"));
    // Kafka would let it go, and has a broker that leads nothing until it is restarted; ours would register again.
    assert_eq!(unregister(1).error_code, ErrorCode::InvalidRequest.as_i16());
}

pub fn list_config_resources(stream: &mut TcpStream, version: i16) {
    let set = set(METRICS, "subscription", "interval.ms", Some("1000"));
    assert_eq!(ask(stream, 1, &set).responses[0].error_code, NONE);
    let mut list = |types: &[i8]| {
        let response = ask(stream, version, &ListConfigResourcesRequest { resource_types: types.to_vec() });
        let listed = response.config_resources.iter().map(|r| (r.resource_type, r.resource_name.to_string()));
        (response.error_code, listed.collect::<Vec<_>>())
    };
    let subscription = (METRICS, "subscription".to_owned());
    if version == 0 {
        assert_eq!(list(&[]), (NONE, vec![subscription]));
        return;
    }
    let (code, all) = list(&[]);
    assert_eq!(code, NONE);
    assert!(all.contains(&subscription) && all.contains(&(TOPICS, TOPIC.to_owned())), "{all:?}");
    assert_eq!(list(&[BROKERS, METRICS]), (NONE, vec![subscription, (BROKERS, "1".to_owned())]));
    assert_eq!(list(&[77]), (ErrorCode::UnsupportedVersion.as_i16(), vec![]));
}

/// Sets one value of a resource, or takes it away.
fn set(
    resource_type: i8,
    name: &str,
    config: &str,
    value: Option<&str>,
) -> IncrementalAlterConfigsRequest<'static> {
    let config = incremental_alter_configs_request::AlterableConfig {
        name: config.to_owned().into(),
        config_operation: i8::from(value.is_none()),
        value: value.map(|value| value.to_owned().into()),
    };
    let resource = incremental_alter_configs_request::AlterConfigsResource {
        resource_type,
        resource_name: name.to_owned().into(),
        configs: vec![config],
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

#[test]
fn connections_per_address_are_bounded_while_the_broker_runs() {
    let running = Running::start();
    let mut stream = running.connect();
    let mut bound = |value| {
        let response = ask(&mut stream, 1, &set(BROKERS, "", "max.connections.per.ip", value));
        assert_eq!(response.responses[0].error_code, NONE);
    };
    bound(Some("1"));
    // Whoever is one too many is accepted and closed at once.
    eventually("the bound", || is_closed(&running));
    bound(None);
    eventually("the end of the bound", || !is_closed(&running));
}

/// Whether the broker closes a new connection without a word.
fn is_closed(running: &Running) -> bool {
    let mut stream = running.connect();
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout can be set");
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}
