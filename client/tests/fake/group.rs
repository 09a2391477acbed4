//! The coordinator's side of the fake: a group of one member, as far as that can tell.
//!
//! The only member is its own leader, unless a test says what it is given. What a test scripts goes before all rules.

use std::collections::BTreeMap;

use milena_protocol::header::Incoming;
use milena_protocol::messages::find_coordinator_response::Coordinator;
use milena_protocol::messages::join_group_response::JoinGroupResponseMember;
use milena_protocol::messages::leave_group_response::MemberResponse;
use milena_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use milena_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use milena_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use milena_protocol::messages::*;
use milena_protocol::{ApiKey, Decode, ErrorCode, Reader, encode_to_vec};

use super::{State, TOPIC};

pub const SERVED: [ApiKey; 8] = [
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::ListOffsets,
];

/// A commit as it was asked for, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub member_id: String,
    pub generation: i32,
    pub offset: i64,
}

#[derive(Debug)]
pub struct Group {
    /// The broker that coordinates.
    pub coordinator: i32,
    pub generation: i32,
    /// The one member; none when the group knows nobody.
    pub member: Option<String>,
    /// The committed offset of the partition.
    pub committed: Option<i64>,
    /// Partitions that the member is given, whatever it assigned itself.
    pub given: Option<Vec<i32>>,
    /// Member ids of the joins, in order.
    pub joins: Vec<String>,
    pub commits: Vec<Commit>,
    /// Members that left.
    pub left: Vec<String>,
    /// The group as it was named in requests.
    pub id: String,
    ids: u32,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            coordinator: 1,
            generation: 0,
            member: None,
            committed: None,
            given: None,
            joins: Vec::new(),
            commits: Vec::new(),
            left: Vec::new(),
            id: String::new(),
            ids: 0,
        }
    }
}

/// An answer of the coordinator.
pub enum Body {
    Find(FindCoordinatorResponse<'static>),
    Join(JoinGroupResponse<'static>),
    Sync(SyncGroupResponse<'static>),
    Heartbeat(HeartbeatResponse),
    Leave(LeaveGroupResponse<'static>),
    Commit(OffsetCommitResponse<'static>),
    Committed(OffsetFetchResponse<'static>),
    Offsets(ListOffsetsResponse<'static>),
}

pub fn answer(
    state: &mut State,
    broker: i32,
    head: &Incoming<'_>,
    reader: &mut Reader<'_>,
    scripted: Option<ErrorCode>,
) -> Body {
    let version = head.version;
    let moved = (broker != state.group.coordinator).then_some(ErrorCode::NotCoordinator);
    let error = scripted.or(moved);
    match head.api {
        ApiKey::FindCoordinator => {
            let request = FindCoordinatorRequest::decode(reader, version).expect("a sound request");
            Body::Find(find(state, &request, version, scripted))
        }
        ApiKey::JoinGroup => {
            let request = JoinGroupRequest::decode(reader, version).expect("a sound request");
            Body::Join(join(state, &request, version, error))
        }
        ApiKey::SyncGroup => {
            let request = SyncGroupRequest::decode(reader, version).expect("a sound request");
            Body::Sync(sync(state, &request, error))
        }
        ApiKey::Heartbeat => {
            let request = HeartbeatRequest::decode(reader, version).expect("a sound request");
            let code = judged(state, error, &request.member_id, request.generation_id);
            Body::Heartbeat(HeartbeatResponse { error_code: code, ..Default::default() })
        }
        ApiKey::LeaveGroup => {
            let request = LeaveGroupRequest::decode(reader, version).expect("a sound request");
            Body::Leave(leave(state, &request, version, error))
        }
        ApiKey::OffsetCommit => {
            let request = OffsetCommitRequest::decode(reader, version).expect("a sound request");
            Body::Commit(commit(state, &request, error))
        }
        ApiKey::OffsetFetch => {
            let request = OffsetFetchRequest::decode(reader, version).expect("a sound request");
            Body::Committed(committed(state, &request, version, error))
        }
        ApiKey::ListOffsets => {
            let request = ListOffsetsRequest::decode(reader, version).expect("a sound request");
            Body::Offsets(offsets(state, &request, scripted))
        }
        other => panic!("no test needs {other}"),
    }
}

fn code(error: Option<ErrorCode>) -> i16 {
    error.map_or(0, ErrorCode::as_i16)
}

/// Whether the group knows the member in this generation.
fn judged(state: &State, error: Option<ErrorCode>, member_id: &str, generation: i32) -> i16 {
    let group = &state.group;
    let unknown = (group.member.as_deref() != Some(member_id)).then_some(ErrorCode::UnknownMemberId);
    let old = (group.generation != generation).then_some(ErrorCode::IllegalGeneration);
    code(error.or(unknown).or(old))
}

fn find(
    state: &mut State,
    request: &FindCoordinatorRequest<'_>,
    version: i16,
    error: Option<ErrorCode>,
) -> FindCoordinatorResponse<'static> {
    let id = state.group.coordinator;
    let (host, port) = (format!("broker-{id}"), 9092);
    if version < 4 {
        return FindCoordinatorResponse {
            node_id: id,
            host: host.into(),
            port,
            error_code: code(error),
            ..Default::default()
        };
    }
    let key = request.coordinator_keys[0].to_string();
    let found = Coordinator {
        key: key.into(),
        node_id: id,
        host: host.into(),
        port,
        error_code: code(error),
        ..Default::default()
    };
    FindCoordinatorResponse { coordinators: vec![found], ..Default::default() }
}

fn join(
    state: &mut State,
    request: &JoinGroupRequest<'_>,
    version: i16,
    error: Option<ErrorCode>,
) -> JoinGroupResponse<'static> {
    let group = &mut state.group;
    group.joins.push(request.member_id.to_string());
    group.id = request.group_id.to_string();
    let mut answer = JoinGroupResponse { generation_id: -1, ..Default::default() };
    // The name may only be null in later versions.
    answer.protocol_name = Some("".into());
    let is_new = request.member_id.is_empty();
    let unknown = (!is_new && group.member.as_deref() != Some(&request.member_id))
        .then_some(ErrorCode::UnknownMemberId);
    if let Some(error) = error.or(unknown) {
        answer.error_code = error.as_i16();
        return answer;
    }
    if is_new {
        group.ids += 1;
        let id = format!("member-{}", group.ids);
        group.member = Some(id.clone());
        answer.member_id = id.into();
        if version >= 4 && request.group_instance_id.is_none() {
            answer.error_code = ErrorCode::MemberIdRequired.as_i16();
            return answer;
        }
    } else {
        answer.member_id = request.member_id.to_string().into();
    }
    group.generation += 1;
    answer.generation_id = group.generation;
    answer.protocol_type = Some("consumer".into());
    answer.protocol_name = Some(request.protocols[0].name.to_string().into());
    answer.leader = answer.member_id.clone();
    answer.members = vec![JoinGroupResponseMember {
        member_id: answer.member_id.clone(),
        group_instance_id: request.group_instance_id.as_ref().map(|id| id.to_string().into()),
        metadata: request.protocols[0].metadata.to_vec().into(),
    }];
    answer
}

fn sync(
    state: &mut State,
    request: &SyncGroupRequest<'_>,
    error: Option<ErrorCode>,
) -> SyncGroupResponse<'static> {
    let error_code = judged(state, error, &request.member_id, request.generation_id);
    let mut answer = SyncGroupResponse { error_code, ..Default::default() };
    if error_code != 0 {
        return answer;
    }
    answer.protocol_type = Some("consumer".into());
    answer.protocol_name = request.protocol_name.as_ref().map(|name| name.to_string().into());
    answer.assignment = match &state.group.given {
        None => request.assignments[0].assignment.to_vec().into(),
        Some(partitions) => assignment(partitions).into(),
    };
    answer
}

fn assignment(partitions: &[i32]) -> Vec<u8> {
    let topic =
        consumer_protocol_assignment::TopicPartition { topic: TOPIC.into(), partitions: partitions.to_vec() };
    let assigned_partitions = if partitions.is_empty() { Vec::new() } else { vec![topic] };
    let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
    let mut bytes = vec![0, 0];
    bytes.extend(encode_to_vec(&assignment, 0).expect("it can be written"));
    bytes
}

fn leave(
    state: &mut State,
    request: &LeaveGroupRequest<'_>,
    version: i16,
    error: Option<ErrorCode>,
) -> LeaveGroupResponse<'static> {
    let member_id = if version < 3 { &request.member_id } else { &request.members[0].member_id };
    let member_id = member_id.to_string();
    if error.is_none() {
        state.group.left.push(member_id.clone());
        state.group.member = None;
    }
    let member = MemberResponse { member_id: member_id.into(), ..Default::default() };
    let members = if version < 3 { Vec::new() } else { vec![member] };
    LeaveGroupResponse { error_code: code(error), members, ..Default::default() }
}

fn commit(
    state: &mut State,
    request: &OffsetCommitRequest<'_>,
    error: Option<ErrorCode>,
) -> OffsetCommitResponse<'static> {
    let generation = request.generation_id_or_member_epoch;
    let error = error.or(state.is_gone.then_some(ErrorCode::UnknownTopicOrPartition));
    let error_code = judged(state, error, &request.member_id, generation);
    let offset = request.topics[0].partitions[0].committed_offset;
    let commit = Commit { member_id: request.member_id.to_string(), generation, offset };
    state.group.commits.push(commit);
    if error_code == 0 {
        state.group.committed = Some(offset);
    }
    let asked = request.topics[0].partitions.iter();
    let partitions = asked
        .map(|asked| OffsetCommitResponsePartition { partition_index: asked.partition_index, error_code })
        .collect();
    let topic = OffsetCommitResponseTopic { name: TOPIC.into(), partitions, ..Default::default() };
    OffsetCommitResponse { topics: vec![topic], ..Default::default() }
}

fn committed(
    state: &State,
    request: &OffsetFetchRequest<'_>,
    version: i16,
    error: Option<ErrorCode>,
) -> OffsetFetchResponse<'static> {
    // What is committed is the group's place in the one partition that has records.
    let offset = |index: i32| state.group.committed.filter(|_| index == 0).unwrap_or(-1);
    if version < 8 {
        let partition = |index: &i32| OffsetFetchResponsePartition {
            partition_index: *index,
            committed_offset: offset(*index),
            metadata: Some("".into()),
            ..Default::default()
        };
        let asked = request.topics.iter().flatten().flat_map(|topic| &topic.partition_indexes);
        let topic =
            OffsetFetchResponseTopic { name: TOPIC.into(), partitions: asked.map(partition).collect() };
        return OffsetFetchResponse { topics: vec![topic], error_code: code(error), ..Default::default() };
    }
    let partition = |index: &i32| OffsetFetchResponsePartitions {
        partition_index: *index,
        committed_offset: offset(*index),
        metadata: Some("".into()),
        ..Default::default()
    };
    let asked = request.groups[0].topics.iter().flatten().flat_map(|topic| &topic.partition_indexes);
    let topic = OffsetFetchResponseTopics {
        name: TOPIC.into(),
        partitions: asked.map(partition).collect(),
        ..Default::default()
    };
    let group = OffsetFetchResponseGroup {
        group_id: request.groups[0].group_id.to_string().into(),
        topics: vec![topic],
        error_code: code(error),
    };
    OffsetFetchResponse { groups: vec![group], ..Default::default() }
}

fn offsets(
    state: &State,
    request: &ListOffsetsRequest<'_>,
    error: Option<ErrorCode>,
) -> ListOffsetsResponse<'static> {
    let end = state.log.last().map_or(0, |last| last.base_offset + i64::from(last.records));
    let places: BTreeMap<i64, i64> = [(-1, end), (-2, 0)].into();
    let partition = |asked: &list_offsets_request::ListOffsetsPartition| ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        error_code: code(error),
        offset: if asked.partition_index == 0 { places[&asked.timestamp] } else { 0 },
        ..Default::default()
    };
    let partitions = request.topics[0].partitions.iter().map(partition).collect();
    let topic = ListOffsetsTopicResponse { name: TOPIC.into(), partitions };
    ListOffsetsResponse { topics: vec![topic], ..Default::default() }
}
