//! Reassignments and elections, against a broker in memory that answers what a cluster of several would.

use std::collections::BTreeSet;

use milena_client::Error;
use milena_client::admin::{Election, Reassignment};
use milena_client::consumer::PartitionKey;
use milena_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use milena_protocol::messages::api_versions_response::ApiVersion;
use milena_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use milena_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use milena_protocol::messages::*;
use milena_protocol::{ApiKey, Decode, Encode, ErrorCode, Reader, Writer, header};

use crate::fake::network::{Answer, Brokers, Stateful};

/// What was asked, as the broker read it.
type Fake = Stateful<Vec<String>>;

impl Brokers for Fake {
    fn answer(&self, _: i32, request: &[u8]) -> Answer {
        let mut reader = Reader::new(request);
        let head = header::decode_request(&mut reader).expect("a request has a header");
        let (version, mut body) = (head.version, Writer::new());
        let note = |text: String| self.state().push(text);
        let id = head.correlation_id;
        match head.api {
            ApiKey::ApiVersions => frame(&mut body, head.api, version, id, &versions()),
            ApiKey::AlterPartitionReassignments => {
                let asked = AlterPartitionReassignmentsRequest::decode(&mut reader, version).expect("sound");
                for topic in &asked.topics {
                    let partitions = topic.partitions.iter().map(|p| (p.partition_index, &p.replicas));
                    note(format!("{} {:?}", topic.name, partitions.collect::<Vec<_>>()));
                }
                frame(&mut body, head.api, version, id, &altered(&asked));
            }
            ApiKey::ListPartitionReassignments => {
                let asked = ListPartitionReassignmentsRequest::decode(&mut reader, version).expect("sound");
                let topics = asked.topics.iter().flatten();
                let topics = topics.map(|topic| format!("{} {:?}", topic.name, topic.partition_indexes));
                let all = if asked.topics.is_none() { vec!["all".to_owned()] } else { Vec::new() };
                topics.chain(all).for_each(note);
                frame(&mut body, head.api, version, id, &listed());
            }
            ApiKey::ElectLeaders => {
                let asked = ElectLeadersRequest::decode(&mut reader, version).expect("sound");
                let topics = asked.topic_partitions.iter().flatten();
                let topics =
                    topics.map(|t| format!("{} {} {:?}", asked.election_type, t.topic, t.partitions));
                let all = format!("{} all", asked.election_type);
                let all = if asked.topic_partitions.is_none() { vec![all] } else { Vec::new() };
                topics.chain(all).for_each(note);
                frame(&mut body, head.api, version, id, &elected());
            }
            other => panic!("no test needs {other}"),
        }
        Answer::Frame(body.into_bytes().expect("nothing is detached"))
    }
}

fn frame(writer: &mut Writer, api: ApiKey, version: i16, correlation_id: i32, answer: &impl Encode) {
    header::response_frame(writer, api, version, correlation_id, answer).expect("it can be written");
}

fn versions() -> ApiVersionsResponse<'static> {
    let served = [
        ApiKey::ApiVersions,
        ApiKey::ElectLeaders,
        ApiKey::AlterPartitionReassignments,
        ApiKey::ListPartitionReassignments,
    ];
    let rows = served.into_iter().map(|api| {
        let (min_version, max_version) = api.versions().expect("it has versions");
        ApiVersion { api_key: api.as_i16(), min_version, max_version }
    });
    ApiVersionsResponse { api_keys: rows.collect(), ..Default::default() }
}

/// Partition 1 is refused, and of partition 2 nothing is said.
fn altered<'a>(asked: &'a AlterPartitionReassignmentsRequest<'_>) -> AlterPartitionReassignmentsResponse<'a> {
    let topics = asked.topics.iter().map(|topic| ReassignableTopicResponse {
        name: (&*topic.name).into(),
        partitions: topic
            .partitions
            .iter()
            .filter(|partition| partition.partition_index != 2)
            .map(|partition| ReassignablePartitionResponse {
                partition_index: partition.partition_index,
                error_code: match partition.partition_index {
                    1 => ErrorCode::InvalidReplicaAssignment.as_i16(),
                    _ => 0,
                },
                error_message: None,
            })
            .collect(),
    });
    AlterPartitionReassignmentsResponse { responses: topics.collect(), ..Default::default() }
}

fn listed() -> ListPartitionReassignmentsResponse<'static> {
    let partition = OngoingPartitionReassignment {
        partition_index: 3,
        replicas: vec![4, 2, 1],
        adding_replicas: vec![4],
        removing_replicas: vec![1],
    };
    let topic = OngoingTopicReassignment { name: "t".into(), partitions: vec![partition] };
    ListPartitionReassignmentsResponse { topics: vec![topic], ..Default::default() }
}

fn elected() -> ElectLeadersResponse<'static> {
    let result = |partition_id, error: ErrorCode| PartitionResult {
        partition_id,
        error_code: error.as_i16(),
        error_message: Some("so it is".into()),
    };
    let partition_result =
        vec![result(0, ErrorCode::None), result(1, ErrorCode::PreferredLeaderNotAvailable)];
    let topic = ReplicaElectionResult { topic: "t".into(), partition_result };
    ElectLeadersResponse { replica_election_results: vec![topic], ..Default::default() }
}

fn key(partition: i32) -> PartitionKey {
    ("t".to_owned(), partition)
}

#[tokio::test]
async fn partitions_are_reassigned_and_each_has_its_own_answer() {
    let fake = Fake::default();
    let targets = [(key(0), Some(vec![2, 3])), (key(1), Some(vec![9])), (key(2), None)].into();
    let results = fake.admin().alter_partition_reassignments(&targets).await.expect("it is answered");
    assert_eq!(fake.state().clone(), ["t [(0, Some([2, 3])), (1, Some([9])), (2, None)]"]);
    assert!(results[&key(0)].is_ok());
    let refused = results[&key(1)].as_ref().expect_err("refused");
    assert_eq!(refused.code(), Some(ErrorCode::InvalidReplicaAssignment));
    assert!(matches!(results[&key(2)], Err(Error::Corrupt(_))), "nothing was said of it");
}

#[tokio::test]
async fn what_is_under_way_is_listed_of_all_or_of_some() {
    let fake = Fake::default();
    let admin = fake.admin();
    let all = admin.list_partition_reassignments(None).await.expect("it is answered");
    let expected = Reassignment { replicas: vec![4, 2, 1], adding: vec![4], removing: vec![1] };
    assert_eq!(all, [(key(3), expected)].into());
    let some: BTreeSet<PartitionKey> = [key(3), key(5), ("u".to_owned(), 0)].into();
    admin.list_partition_reassignments(Some(&some)).await.expect("it is answered");
    assert_eq!(fake.state().clone(), ["all", "t [3, 5]", "u [0]"]);
}

#[tokio::test]
async fn leaders_are_elected_and_each_partition_has_its_own_answer() {
    let fake = Fake::default();
    let admin = fake.admin();
    let asked = BTreeSet::from([key(0), key(1), key(2)]);
    let results = admin.elect_leaders(Election::Preferred, Some(&asked)).await.expect("it is answered");
    assert!(results[&key(0)].is_ok());
    let refused = results[&key(1)].as_ref().expect_err("refused");
    assert_eq!(refused.code(), Some(ErrorCode::PreferredLeaderNotAvailable));
    assert!(matches!(results[&key(2)], Err(Error::Corrupt(_))), "nothing was said of it");
    let all = admin.elect_leaders(Election::Unclean, None).await.expect("it is answered");
    assert_eq!(all.len(), 2);
    assert_eq!(fake.state().clone(), ["0 t [0, 1, 2]", "1 all"]);
}
