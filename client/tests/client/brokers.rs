//! The admin client's calls about brokers, the quorum, elections and reassignments, against two brokers in memory.
//!
//! Real ones are asked by the tests of the command line; this is for clusters of another age, for leaders that are missing for a
//! moment, and for answers of which only a part is an error.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use milena_client::Error;
use milena_client::admin::{Admin, ByPartition, Election, QuorumReplica, Reassignment};
use milena_protocol::messages::api_versions_response::ApiVersion;
use milena_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use milena_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use milena_protocol::messages::{
    alter_partition_reassignments_response, describe_quorum_response, elect_leaders_response, *,
};
use milena_protocol::{ApiKey, Decode, Encode, ErrorCode, Reader, Writer, header};

use crate::fake::network::{self, Answer, Brokers};

const SERVED: [ApiKey; 6] = [
    ApiKey::ApiVersions,
    ApiKey::DescribeCluster,
    ApiKey::DescribeQuorum,
    ApiKey::ElectLeaders,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
];

#[derive(Debug, Default)]
struct State {
    /// The newest version of DescribeCluster, where it is not ours.
    newest: Option<i16>,
    /// What the next questions for the quorum fail with.
    quorum_errors: VecDeque<ErrorCode>,
    requests: Vec<ApiKey>,
    /// What was asked for, by partition.
    targets: ByPartition<Option<Vec<i32>>>,
}

#[derive(Debug, Clone, Default)]
struct Fake(Arc<Mutex<State>>);

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics with it")
    }

    fn admin(&self) -> Admin {
        Admin::new(network::cluster(self, network::impatient()))
    }
}

impl Brokers for Fake {
    fn answer(&self, _: i32, request: &[u8]) -> Answer {
        Answer::Frame(answer(&mut self.state(), request))
    }
}

fn answer(state: &mut State, request: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(request);
    let head = header::decode_request(&mut reader).expect("a request has a header");
    state.requests.push(head.api);
    let mut body = Writer::new();
    let (reader, version, id) = (&mut reader, head.version, head.correlation_id);
    match head.api {
        ApiKey::ApiVersions => frame(&mut body, head.api, version, id, &versions(state)),
        ApiKey::DescribeCluster => {
            let request = DescribeClusterRequest::decode(reader, version).expect("sound");
            frame(&mut body, head.api, version, id, &cluster(&request, version));
        }
        ApiKey::DescribeQuorum => {
            let error = state.quorum_errors.pop_front().unwrap_or(ErrorCode::None);
            frame(&mut body, head.api, version, id, &quorum(error));
        }
        ApiKey::ElectLeaders => {
            let request = ElectLeadersRequest::decode(reader, version).expect("sound");
            frame(&mut body, head.api, version, id, &elected(&request));
        }
        ApiKey::AlterPartitionReassignments => {
            let request = AlterPartitionReassignmentsRequest::decode(reader, version).expect("sound");
            for topic in &request.topics {
                for partition in &topic.partitions {
                    let key = (topic.name.to_string(), partition.partition_index);
                    state.targets.insert(key, partition.replicas.clone());
                }
            }
            frame(&mut body, head.api, version, id, &reassigned(&request));
        }
        ApiKey::ListPartitionReassignments => {
            let request = ListPartitionReassignmentsRequest::decode(reader, version).expect("sound");
            frame(&mut body, head.api, version, id, &moving(request.topics.is_some()));
        }
        other => panic!("no test needs {other}"),
    }
    body.into_bytes().expect("nothing is detached")
}

fn frame(writer: &mut Writer, api: ApiKey, version: i16, correlation_id: i32, response: &impl Encode) {
    header::response_frame(writer, api, version, correlation_id, response).expect("it can be written");
}

fn versions(state: &State) -> ApiVersionsResponse<'static> {
    let rows = SERVED.into_iter().map(|api| {
        let (min_version, newest) = api.versions().expect("it has versions");
        let max_version = match api {
            ApiKey::DescribeCluster => state.newest.unwrap_or(newest),
            _ => newest,
        };
        ApiVersion { api_key: api.as_i16(), min_version, max_version }
    });
    ApiVersionsResponse { api_keys: rows.collect(), ..Default::default() }
}

/// Broker 2 is fenced.
fn cluster(request: &DescribeClusterRequest, version: i16) -> DescribeClusterResponse<'static> {
    let broker = |broker_id: i32| DescribeClusterBroker {
        broker_id,
        host: format!("broker-{broker_id}").into(),
        port: 9092,
        is_fenced: version >= 2 && broker_id == 2,
        ..Default::default()
    };
    let ids: &[i32] = if request.include_fenced_brokers { &[2, 1] } else { &[1] };
    DescribeClusterResponse {
        cluster_id: "c".into(),
        controller_id: 1,
        brokers: ids.iter().map(|id| broker(*id)).collect(),
        ..Default::default()
    }
}

fn quorum(error: ErrorCode) -> DescribeQuorumResponse<'static> {
    use describe_quorum_response::{PartitionData, ReplicaState, TopicData};
    let replica = |replica_id: i32, last_fetch_timestamp: i64| ReplicaState {
        replica_id,
        log_end_offset: 7,
        last_fetch_timestamp,
        last_caught_up_timestamp: last_fetch_timestamp,
        ..Default::default()
    };
    let partition = PartitionData {
        error_code: error.as_i16(),
        leader_id: 1,
        leader_epoch: 3,
        high_watermark: 6,
        current_voters: vec![replica(1, 100), replica(2, -1)],
        observers: vec![replica(3, 90)],
        ..Default::default()
    };
    let topic = TopicData { topic_name: "__cluster_metadata".into(), partitions: vec![partition] };
    DescribeQuorumResponse { topics: vec![topic], ..Default::default() }
}

/// Partition 0 is elected, 1 needs none, 2 has nobody.
fn elected<'a>(request: &'a ElectLeadersRequest<'_>) -> ElectLeadersResponse<'a> {
    use elect_leaders_response::{PartitionResult, ReplicaElectionResult};
    let error = |partition: i32| match partition {
        0 => ErrorCode::None,
        1 => ErrorCode::ElectionNotNeeded,
        _ => ErrorCode::PreferredLeaderNotAvailable,
    };
    let topics = request.topic_partitions.iter().flatten().map(|topic| ReplicaElectionResult {
        topic: (&*topic.topic).into(),
        partition_result: topic
            .partitions
            .iter()
            .map(|partition| PartitionResult {
                partition_id: *partition,
                error_code: error(*partition).as_i16(),
                ..Default::default()
            })
            .collect(),
    });
    ElectLeadersResponse { replica_election_results: topics.collect(), ..Default::default() }
}

/// Partition 2 is not there.
fn reassigned<'a>(
    request: &'a AlterPartitionReassignmentsRequest<'_>,
) -> AlterPartitionReassignmentsResponse<'a> {
    use alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse};
    let error = |partition: i32| match partition {
        2 => ErrorCode::UnknownTopicOrPartition,
        _ => ErrorCode::None,
    };
    let topics = request.topics.iter().map(|topic| ReassignableTopicResponse {
        name: (&*topic.name).into(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| ReassignablePartitionResponse {
                partition_index: partition.partition_index,
                error_code: error(partition.partition_index).as_i16(),
                ..Default::default()
            })
            .collect(),
    });
    AlterPartitionReassignmentsResponse { responses: topics.collect(), ..Default::default() }
}

/// One partition moves; of those that were asked for by name, none.
fn moving(is_by_name: bool) -> ListPartitionReassignmentsResponse<'static> {
    let partition = OngoingPartitionReassignment {
        partition_index: 4,
        replicas: vec![1, 2, 3],
        adding_replicas: vec![3],
        removing_replicas: vec![1],
    };
    let topic = OngoingTopicReassignment { name: "t".into(), partitions: vec![partition] };
    let topics = if is_by_name { Vec::new() } else { vec![topic] };
    ListPartitionReassignmentsResponse { topics, ..Default::default() }
}

fn keys(partitions: &[i32]) -> Vec<(String, i32)> {
    partitions.iter().map(|partition| ("t".to_owned(), *partition)).collect()
}

#[tokio::test]
async fn fenced_brokers_are_named_where_the_cluster_can() {
    let fake = Fake::default();
    let brokers = fake.admin().describe_brokers().await.expect("an answer");
    let said: Vec<_> = brokers.iter().map(|one| (one.broker.id, one.is_fenced)).collect();
    assert_eq!(said, [(1, false), (2, true)]);
    fake.state().newest = Some(1);
    let brokers = fake.admin().describe_brokers().await.expect("an answer");
    let said: Vec<_> = brokers.iter().map(|one| (one.broker.id, one.is_fenced)).collect();
    assert_eq!(said, [(1, false)]);
}

#[tokio::test]
async fn a_quorum_without_a_leader_is_asked_again() {
    let fake = Fake::default();
    fake.state().quorum_errors.extend([ErrorCode::NotLeaderOrFollower, ErrorCode::LeaderNotAvailable]);
    let quorum = fake.admin().describe_quorum().await.expect("it has one in the end");
    assert_eq!((quorum.leader_id, quorum.leader_epoch, quorum.high_watermark), (1, 3, 6));
    let second = QuorumReplica { id: 2, log_end_offset: 7, last_fetch_ms: None, last_caught_up_ms: None };
    assert_eq!(quorum.voters[1], second);
    assert_eq!(quorum.observers[0].last_caught_up_ms, Some(90));
    let asked = fake.state().requests.iter().filter(|api| **api == ApiKey::DescribeQuorum).count();
    assert_eq!(asked, 3);
    fake.state().quorum_errors.push_back(ErrorCode::ClusterAuthorizationFailed);
    let refused = fake.admin().describe_quorum().await.expect_err("it does not pass");
    assert_eq!(refused.code(), Some(ErrorCode::ClusterAuthorizationFailed));
}

#[tokio::test]
async fn an_election_that_is_not_needed_is_none_that_failed() {
    let admin = Fake::default().admin();
    let results = admin.elect_leaders(Election::Preferred, Some(&keys(&[0, 1, 2]))).await.expect("an answer");
    let codes: BTreeMap<i32, Option<ErrorCode>> = results
        .iter()
        .map(|((_, index), result)| (*index, result.as_ref().err().and_then(Error::code)))
        .collect();
    let expected = [(0, None), (1, None), (2, Some(ErrorCode::PreferredLeaderNotAvailable))];
    assert_eq!(codes, expected.into());
}

#[tokio::test]
async fn reassignments_are_begun_cancelled_and_listed() {
    let fake = Fake::default();
    let targets: ByPartition<_> =
        keys(&[0, 1, 2]).into_iter().zip([Some(vec![2, 1]), None, Some(vec![3])]).collect();
    let results = fake.admin().alter_partition_reassignments(&targets).await.expect("an answer");
    assert_eq!(fake.state().targets, targets);
    let failed: Vec<_> = results.iter().filter(|(_, result)| result.is_err()).map(|(key, _)| key.1).collect();
    assert_eq!(failed, [2]);
    let moving = fake.admin().list_partition_reassignments(None).await.expect("an answer");
    let expected = Reassignment { replicas: vec![1, 2, 3], adding: vec![3], removing: vec![1] };
    assert_eq!(moving, [(("t".to_owned(), 4), expected)].into());
    let of_some = fake.admin().list_partition_reassignments(Some(&keys(&[0]))).await.expect("an answer");
    assert!(of_some.is_empty());
}
