//! The admin client's calls about groups, against two brokers in memory of which the second coordinates them.
//!
//! Real brokers are asked by the tests of the command line; this is for coordinators that move, for brokers of another
//! age, and for answers of which only a part is an error.

use std::collections::{BTreeMap, VecDeque};

use milena_client::Error;
use milena_client::admin::ByPartition;
use milena_protocol::messages::api_versions_response::ApiVersion;
use milena_protocol::messages::delete_groups_response::DeletableGroupResult;
use milena_protocol::messages::find_coordinator_response::Coordinator;
use milena_protocol::messages::metadata_response::MetadataResponseBroker;
use milena_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use milena_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use milena_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use milena_protocol::messages::{consumer_group_describe_response, describe_groups_response, *};
use milena_protocol::{ApiKey, Decode, Encode, ErrorCode, Reader, Writer, header};

use crate::fake::network::{Answer, Brokers, Stateful};

const SERVED: [ApiKey; 9] = [
    ApiKey::ApiVersions,
    ApiKey::Metadata,
    ApiKey::FindCoordinator,
    ApiKey::OffsetFetch,
    ApiKey::OffsetCommit,
    ApiKey::OffsetDelete,
    ApiKey::DeleteGroups,
    ApiKey::DescribeGroups,
    ApiKey::ConsumerGroupDescribe,
];

#[derive(Debug, Default)]
struct State {
    /// Brokers that FindCoordinator names, one after the other; then it is the second.
    named: VecDeque<i32>,
    /// The newest version of an API, where it is not ours; none at all for −1.
    newest: BTreeMap<i16, i16>,
    /// Broker and API of each request.
    requests: Vec<(i32, ApiKey)>,
}

type Fake = Stateful<State>;

impl Fake {
    /// Brokers that were asked, request by request.
    fn asked(&self, api: ApiKey) -> Vec<i32> {
        let state = self.state();
        state.requests.iter().filter(|(_, asked)| *asked == api).map(|(broker, _)| *broker).collect()
    }
}

impl Brokers for Fake {
    fn answer(&self, broker: i32, request: &[u8]) -> Answer {
        Answer::Frame(answer(self, broker, request))
    }
}

fn answer(fake: &Fake, broker: i32, request: &[u8]) -> Vec<u8> {
    let mut state = fake.state();
    let mut reader = Reader::new(request);
    let head = header::decode_request(&mut reader).expect("a request has a header");
    state.requests.push((broker, head.api));
    let mut body = Writer::new();
    let moved = if broker == 2 { ErrorCode::None } else { ErrorCode::NotCoordinator };
    let (reader, version, moved) = (&mut reader, head.version, moved.as_i16());
    let mut reply = |answer: &dyn Encoded| answer.frame(&mut body, head.api, version, head.correlation_id);
    match head.api {
        ApiKey::ApiVersions => reply(&versions(&state)),
        ApiKey::Metadata => reply(&metadata()),
        ApiKey::FindCoordinator => {
            let request = FindCoordinatorRequest::decode(reader, version).expect("sound");
            let named = state.named.pop_front().unwrap_or(2);
            reply(&coordinators(&request, named));
        }
        ApiKey::OffsetFetch => {
            reply(&committed(&OffsetFetchRequest::decode(reader, version).expect("sound"), moved));
        }
        ApiKey::OffsetCommit => {
            reply(&commit(&OffsetCommitRequest::decode(reader, version).expect("sound"), moved));
        }
        ApiKey::OffsetDelete => {
            reply(&offsets_deleted(&OffsetDeleteRequest::decode(reader, version).expect("sound"), moved));
        }
        ApiKey::DeleteGroups => {
            reply(&deleted(&DeleteGroupsRequest::decode(reader, version).expect("sound"), moved));
        }
        ApiKey::DescribeGroups => {
            reply(&classic(&DescribeGroupsRequest::decode(reader, version).expect("sound")));
        }
        ApiKey::ConsumerGroupDescribe => {
            reply(&modern(&ConsumerGroupDescribeRequest::decode(reader, version).expect("sound")));
        }
        other => panic!("no test needs {other}"),
    }
    body.into_bytes().expect("nothing is detached")
}

/// A response of any kind.
trait Encoded {
    fn frame(&self, writer: &mut Writer, api: ApiKey, version: i16, correlation_id: i32);
}

impl<T: Encode> Encoded for T {
    fn frame(&self, writer: &mut Writer, api: ApiKey, version: i16, correlation_id: i32) {
        header::response_frame(writer, api, version, correlation_id, self).expect("it can be written");
    }
}

fn versions(state: &State) -> ApiVersionsResponse<'static> {
    let rows = SERVED.into_iter().filter_map(|api| {
        let (min_version, newest) = api.versions().expect("it has versions");
        let max_version = *state.newest.get(&api.as_i16()).unwrap_or(&newest);
        (max_version >= 0).then_some(ApiVersion { api_key: api.as_i16(), min_version, max_version })
    });
    ApiVersionsResponse { api_keys: rows.collect(), ..Default::default() }
}

fn metadata() -> MetadataResponse<'static> {
    let broker = |node_id: i32| MetadataResponseBroker {
        node_id,
        host: format!("broker-{node_id}").into(),
        port: 9092,
        ..Default::default()
    };
    MetadataResponse { brokers: vec![broker(1), broker(2)], ..Default::default() }
}

fn coordinators<'a>(request: &'a FindCoordinatorRequest<'_>, node_id: i32) -> FindCoordinatorResponse<'a> {
    let found = request.coordinator_keys.iter().map(|key| Coordinator {
        key: (&**key).into(),
        node_id,
        ..Default::default()
    });
    FindCoordinatorResponse { coordinators: found.collect(), ..Default::default() }
}

/// Every group has committed 5 in `t-0`, but for `closed`, which nobody may read.
fn committed<'a>(request: &'a OffsetFetchRequest<'_>, moved: i16) -> OffsetFetchResponse<'a> {
    let error_of = |group: &str| match group {
        _ if moved != 0 => moved,
        "closed" => ErrorCode::GroupAuthorizationFailed.as_i16(),
        _ => 0,
    };
    let groups = request.groups.iter().map(|group| OffsetFetchResponseGroup {
        group_id: (&*group.group_id).into(),
        error_code: error_of(&group.group_id),
        topics: vec![OffsetFetchResponseTopics {
            name: "t".into(),
            partitions: vec![OffsetFetchResponsePartitions { committed_offset: 5, ..Default::default() }],
            ..Default::default()
        }],
    });
    let partitions = vec![OffsetFetchResponsePartition { committed_offset: 5, ..Default::default() }];
    let is_old = request.groups.is_empty();
    OffsetFetchResponse {
        groups: groups.collect(),
        error_code: if is_old { error_of(&request.group_id) } else { 0 },
        topics: match is_old {
            true => vec![OffsetFetchResponseTopic { name: "t".into(), partitions }],
            false => Vec::new(),
        },
        ..Default::default()
    }
}

/// What a partition is answered: 1 is refused, 2 is gone (and brokers say of that that it may pass), nothing is said of 3.
fn of_partition(partition: i32, moved: i16) -> Option<i16> {
    match partition {
        _ if moved != 0 => Some(moved),
        1 => Some(ErrorCode::OffsetMetadataTooLarge.as_i16()),
        2 => Some(ErrorCode::UnknownTopicOrPartition.as_i16()),
        3 => None,
        _ => Some(0),
    }
}

fn commit<'a>(request: &'a OffsetCommitRequest<'_>, moved: i16) -> OffsetCommitResponse<'a> {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().filter_map(|partition| {
            let partition_index = partition.partition_index;
            let error_code = of_partition(partition_index, moved)?;
            Some(OffsetCommitResponsePartition { partition_index, error_code })
        });
        OffsetCommitResponseTopic {
            name: (&*topic.name).into(),
            partitions: partitions.collect(),
            ..Default::default()
        }
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

fn offsets_deleted<'a>(request: &'a OffsetDeleteRequest<'_>, moved: i16) -> OffsetDeleteResponse<'a> {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().filter_map(|partition| {
            let partition_index = partition.partition_index;
            let error_code = of_partition(partition_index, 0)?;
            Some(OffsetDeleteResponsePartition { partition_index, error_code })
        });
        OffsetDeleteResponseTopic { name: (&*topic.name).into(), partitions: partitions.collect() }
    });
    OffsetDeleteResponse { error_code: moved, topics: topics.collect(), ..Default::default() }
}

fn deleted<'a>(request: &'a DeleteGroupsRequest<'_>, moved: i16) -> DeleteGroupsResponse<'a> {
    let results = request.groups_names.iter().map(|group| DeletableGroupResult {
        group_id: (&**group).into(),
        error_code: match &**group {
            _ if moved != 0 => moved,
            "busy" => ErrorCode::NonEmptyGroup.as_i16(),
            _ => 0,
        },
    });
    DeleteGroupsResponse { results: results.collect(), ..Default::default() }
}

/// Only `classic` is known, and brokers before version 6 have no error for the others.
fn classic<'a>(request: &'a DescribeGroupsRequest<'_>) -> DescribeGroupsResponse<'a> {
    let groups = request.groups.iter().map(|group| describe_groups_response::DescribedGroup {
        group_id: (&**group).into(),
        group_state: if group == "classic" { "Stable".into() } else { "Dead".into() },
        ..Default::default()
    });
    DescribeGroupsResponse { groups: groups.collect(), ..Default::default() }
}

fn modern<'a>(request: &'a ConsumerGroupDescribeRequest<'_>) -> ConsumerGroupDescribeResponse<'a> {
    let groups = request.group_ids.iter().map(|group| consumer_group_describe_response::DescribedGroup {
        group_id: (&**group).into(),
        error_code: if group == "modern" { 0 } else { ErrorCode::GroupIdNotFound.as_i16() },
        group_state: "Stable".into(),
        ..Default::default()
    });
    ConsumerGroupDescribeResponse { groups: groups.collect(), ..Default::default() }
}

/// What partitions are refused with, in their order.
fn codes(results: &ByPartition<Result<(), Error>>) -> Vec<Option<ErrorCode>> {
    results.values().map(|result| result.as_ref().err().and_then(Error::code)).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn a_coordinator_that_moved_is_found_and_each_group_has_its_own_answer() {
    let fake = Fake::default();
    // Both groups are first said to be at a broker that no longer has them.
    fake.state().named = [1, 1].into();
    let mut committed = fake.admin().list_committed_offsets(&names(&["open", "closed"])).await;
    let offsets = committed.remove("open").expect("it is answered").expect("it may be read");
    let offset = offsets[&("t".to_owned(), 0)].as_ref().map(|committed| committed.offset);
    assert_eq!(offset.expect("it is committed"), 5);
    let closed = committed.remove("closed").expect("it is answered").expect_err("nobody may read it");
    assert_eq!(closed.code(), Some(ErrorCode::GroupAuthorizationFailed));
    assert_eq!(fake.asked(ApiKey::OffsetFetch), [1, 2], "both groups go in one request");
}

#[tokio::test]
async fn brokers_that_know_one_group_per_request_are_asked_group_by_group() {
    let fake = Fake::default();
    fake.state().newest.insert(ApiKey::OffsetFetch.as_i16(), 7);
    let committed = fake.admin().list_committed_offsets(&names(&["a", "b", "closed"])).await;
    let worked: Vec<_> = committed.iter().map(|(group, result)| (group.as_str(), result.is_ok())).collect();
    assert_eq!(worked, [("a", true), ("b", true), ("closed", false)]);
    assert_eq!(fake.asked(ApiKey::OffsetFetch), [2, 2, 2]);
}

#[tokio::test]
async fn a_partition_that_is_refused_hides_no_other() {
    let (fake, keys) = (Fake::default(), [0, 1, 4].map(|partition| ("t".to_owned(), partition)));
    let offsets = keys.map(|key| (key, 7)).into();
    let results = fake.admin().alter_committed_offsets("g", &offsets).await.expect("it is answered");
    assert_eq!(codes(&results), [None, Some(ErrorCode::OffsetMetadataTooLarge), None]);
}

#[tokio::test]
async fn what_one_partition_is_refused_for_is_asked_once_however_brokers_call_it() {
    let (fake, keys) = (Fake::default(), [0, 2, 4].map(|partition| ("t".to_owned(), partition)));
    // Where the group is not, it is asked for again, and elsewhere.
    fake.state().named = [1].into();
    let offsets = keys.clone().map(|key| (key, 7)).into();
    let results = fake.admin().alter_committed_offsets("g", &offsets).await.expect("it is answered");
    let expected = [None, Some(ErrorCode::UnknownTopicOrPartition), None];
    assert_eq!(codes(&results), expected);
    assert_eq!(fake.asked(ApiKey::OffsetCommit), [1, 2]);
    fake.state().named = [1].into();
    let results = fake.admin().delete_committed_offsets("g", &keys.into()).await.expect("it is answered");
    assert_eq!(codes(&results), expected);
    assert_eq!(fake.asked(ApiKey::OffsetDelete), [1, 2]);
}

#[tokio::test]
async fn a_partition_of_which_nothing_is_said_is_not_done() {
    let (fake, keys) = (Fake::default(), [0, 3].map(|partition| ("t".to_owned(), partition)));
    let offsets = keys.clone().map(|key| (key, 7)).into();
    let committed = fake.admin().alter_committed_offsets("g", &offsets).await.expect("it is answered");
    let deleted = fake.admin().delete_committed_offsets("g", &keys.into()).await.expect("it is answered");
    for results in [committed, deleted] {
        assert!(results[&("t".to_owned(), 0)].is_ok(), "{results:?}");
        let error = results[&("t".to_owned(), 3)].as_ref().expect_err("nothing is known of it");
        assert!(error.to_string().ends_with("in t-3: the answer leaves it out"), "{error}");
    }
}

#[tokio::test]
async fn a_group_that_cannot_be_deleted_hides_no_other() {
    let fake = Fake::default();
    fake.state().named = [2, 1].into();
    let deleted = fake.admin().delete_groups(&names(&["busy", "idle", "idle"])).await;
    assert_eq!(deleted["busy"].as_ref().err().and_then(|error| error.code()), Some(ErrorCode::NonEmptyGroup));
    assert!(deleted["idle"].is_ok(), "{deleted:?}");
    assert_eq!(fake.asked(ApiKey::DeleteGroups), [1, 2, 2], "only what moved is asked for again");
}

#[tokio::test]
async fn groups_of_both_protocols_are_described_and_dead_ones_are_not_there() {
    let fake = Fake::default();
    fake.state().newest.insert(ApiKey::DescribeGroups.as_i16(), 5);
    let described = fake.admin().describe_groups(&names(&["classic", "modern", "gone"])).await;
    let group_type = |group: &str| described[group].as_ref().map(|group| group.group_type).ok();
    assert_eq!((group_type("classic"), group_type("modern")), (Some("Classic"), Some("Consumer")));
    let gone = described["gone"].as_ref().expect_err("it is dead");
    assert_eq!(gone.code(), Some(ErrorCode::GroupIdNotFound));
    assert_eq!(described["modern"].as_ref().map(|group| group.coordinator_id).ok(), Some(2));
    // Without the newer request the older one is all there is.
    let fake = Fake::default();
    fake.state().newest.insert(ApiKey::ConsumerGroupDescribe.as_i16(), -1);
    let described = fake.admin().describe_groups(&names(&["classic"])).await;
    assert!(described["classic"].is_ok(), "{described:?}");
    assert_eq!(fake.asked(ApiKey::ConsumerGroupDescribe), Vec::<i32>::new());
}
