//! The admin client's calls about brokers and the quorum, against two brokers in memory.
//!
//! Real ones are asked by the tests of the command line; this is for clusters of another age, and for leaders that are missing
//! for a moment.

use std::collections::VecDeque;
use std::time::Duration;

use milena_client::admin::{QuorumReplica, QuorumView};
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
    /// What all of them fail with.
    lasting_error: Option<ErrorCode>,
    /// Whether nobody answers them.
    is_silent: bool,
    /// When the voters fetched last, after each question as they are then; the last ones stay.
    fetched: VecDeque<Vec<i64>>,
    requests: Vec<ApiKey>,
}

type Fake = Stateful<State>;

impl Brokers for Fake {
    fn answer(&self, _: i32, request: &[u8]) -> Answer {
        let mut state = self.state();
        let frame = answer(&mut state, request);
        let is_last = state.requests.last() == Some(&ApiKey::DescribeQuorum);
        if state.is_silent && is_last { Answer::None } else { Answer::Frame(frame) }
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
            let error = state.quorum_errors.pop_front().or(state.lasting_error).unwrap_or(ErrorCode::None);
            let fetched = state.fetched.front().cloned().unwrap_or(vec![100, -1]);
            if state.fetched.len() > 1 {
                state.fetched.pop_front();
            }
            frame(&mut body, head.api, version, id, &quorum(error, &fetched));
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

/// Voters from 1 on, who fetched last at these times.
fn quorum(error: ErrorCode, fetched: &[i64]) -> DescribeQuorumResponse<'static> {
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
        current_voters: (1..).zip(fetched).map(|(id, fetched_ms)| replica(id, *fetched_ms)).collect(),
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

/// Longer than any answer takes; in virtual time.
const TIME_MAX: Duration = Duration::from_secs(5);

async fn seen(fetched: &[&[i64]]) -> QuorumView {
    let fake = Fake::default();
    fake.state().fetched.extend(fetched.iter().map(|times| times.to_vec()));
    fake.admin().view_quorum(TIME_MAX).await.expect("an answer")
}

fn heard(view: &QuorumView) -> Option<usize> {
    match view {
        QuorumView::NoMajority { heard, .. } => Some(*heard),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_a_majority_is_told_from_one_that_has_one() {
    let whole = |view: QuorumView| matches!(view, QuorumView::Whole(_));
    assert!(whole(seen(&[&[20_000, 19_900, 4_000]]).await), "two of three are a majority");
    assert!(whole(seen(&[&[20_000]]).await), "a quorum of one");
    assert!(whole(seen(&[&[-1, -1, -1]]).await), "nothing is known where no times are told");
    assert_eq!(heard(&seen(&[&[20_000, 4_000, 4_000]]).await), Some(1));
    assert_eq!(heard(&seen(&[&[20_000, 19_000, 4_000, 4_000]]).await), Some(2), "half is no majority");
    // One that has only just begun to lead has not heard of anybody yet.
    assert!(whole(seen(&[&[20_000, -1, -1], &[20_100, -1, 20_090]]).await));
    assert_eq!(heard(&seen(&[&[20_000, -1, -1]]).await), Some(1), "not without end");
}

#[tokio::test(start_paused = true)]
async fn a_quorum_without_a_leader_is_waited_for_a_bounded_time() {
    let fake = Fake::default();
    fake.state().lasting_error = Some(ErrorCode::NotLeaderOrFollower);
    let began = tokio::time::Instant::now();
    let no_leader = |view: QuorumView| matches!(view, QuorumView::NoLeader(_));
    assert!(no_leader(fake.admin().view_quorum(TIME_MAX).await.expect("an answer")));
    fake.state().is_silent = true;
    assert!(no_leader(fake.admin().view_quorum(TIME_MAX).await.expect("an answer")));
    assert!(began.elapsed() <= 2 * TIME_MAX + Duration::from_secs(1), "{:?}", began.elapsed());
    // What does not pass is no matter of the quorum.
    let fake = Fake::default();
    fake.state().lasting_error = Some(ErrorCode::ClusterAuthorizationFailed);
    let refused = fake.admin().view_quorum(TIME_MAX).await.expect_err("it does not pass");
    assert_eq!(refused.code(), Some(ErrorCode::ClusterAuthorizationFailed));
}
