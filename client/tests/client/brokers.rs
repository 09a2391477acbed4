//! The admin client's calls about brokers and the quorum, against two brokers in memory.
//!
//! Real ones are asked by the tests of the command line; this is for clusters of another age, and for leaders that are missing
//! for a moment.

use std::collections::VecDeque;

use milena_client::admin::QuorumReplica;
use milena_protocol::messages::api_versions_response::ApiVersion;
use milena_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use milena_protocol::messages::describe_quorum_response::{PartitionData, ReplicaState, TopicData};
use milena_protocol::messages::*;
use milena_protocol::{ApiKey, Decode, Encode, ErrorCode, Reader, Writer, header};

use crate::fake::network::{Answer, Brokers, Stateful};

const SERVED: [ApiKey; 3] = [ApiKey::ApiVersions, ApiKey::DescribeCluster, ApiKey::DescribeQuorum];

#[derive(Debug, Default)]
struct State {
    /// The newest version of DescribeCluster, where it is not ours.
    newest: Option<i16>,
    /// What the next questions for the quorum fail with.
    quorum_errors: VecDeque<ErrorCode>,
    requests: Vec<ApiKey>,
}

type Fake = Stateful<State>;

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
