//! ConsumerGroupDescribe (KIP-848) and DescribeGroups: state and members of a group of either protocol.
//!
//! A broker does not say which of the two a group speaks, so the newer request comes first and the groups that it does
//! not find are asked for with the older one, as Kafka's admin client does.

use std::collections::BTreeMap;

use milena_protocol::messages::ConsumerProtocolAssignment;
use milena_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use milena_protocol::messages::consumer_group_describe_response as consumer;
use milena_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use milena_protocol::messages::describe_groups_response as classic;
use milena_protocol::{Decode, ErrorCode, Reader};

use super::ask::Coordinator;
use super::{Assignment, ByGroup};
use crate::admin::Admin;
use crate::error::{Error, Result};

/// The state of a group that is not there, in versions that have no error for it.
const DEAD: &str = "Dead";

/// Member types of ConsumerGroupDescribe: a member of a consumer group that speaks the older protocol.
const CLASSIC_MEMBER: i8 = 0;

/// A group as its coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    pub group_id: String,
    /// `Classic` or `Consumer`.
    pub group_type: &'static str,
    pub state: String,
    /// `consumer` for consumers; empty where only offsets are left.
    pub protocol_type: String,
    /// The assignor that the group chose; empty without members.
    pub assignor: String,
    /// Of the consumer protocol.
    pub group_epoch: Option<i32>,
    pub assignment_epoch: Option<i32>,
    pub coordinator: String,
    pub coordinator_id: i32,
    pub members: Vec<GroupMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    pub member_id: String,
    /// Of a static member (KIP-345).
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    pub assignment: Assignment,
    /// What the member is to have, in the consumer protocol.
    pub target: Option<Assignment>,
    pub epoch: Option<i32>,
    /// Whether a member of a consumer group speaks the consumer protocol; none where the broker does not say.
    pub is_upgraded: Option<bool>,
}

impl GroupDescription {
    /// Whether nobody is in the group, so that its offsets may be changed from outside.
    pub fn is_inactive(&self) -> bool {
        matches!(self.state.as_str(), "Empty" | DEAD)
    }
}

impl Admin {
    /// Groups with their members. One that is not there is GROUP_ID_NOT_FOUND.
    pub async fn describe_groups(&self, groups: &[String]) -> ByGroup<GroupDescription> {
        let ask = async |coordinator: Coordinator, groups: Vec<String>| {
            let mut described = consumer_groups(&coordinator, &groups).await?;
            let is_open = |group: &&String| match described.get(*group) {
                Some(Err(error)) => is_of_the_other_protocol(error),
                Some(Ok(_)) => false,
                None => true,
            };
            let open: Vec<String> = groups.iter().filter(is_open).cloned().collect();
            if !open.is_empty() {
                described.extend(classic_groups(&coordinator, &open).await?);
            }
            Ok(described)
        };
        self.ask_coordinators(groups, ask).await
    }
}

fn is_of_the_other_protocol(error: &Error) -> bool {
    matches!(error.code(), Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion))
}

/// Nothing at all from a broker that does not know the consumer protocol.
async fn consumer_groups(coordinator: &Coordinator, groups: &[String]) -> Result<ByGroup<GroupDescription>> {
    if coordinator.connection.version_of::<ConsumerGroupDescribeRequest<'_>>(i16::MAX).is_err() {
        return Ok(ByGroup::new());
    }
    let request = ConsumerGroupDescribeRequest {
        group_ids: groups.iter().map(|group| group.as_str().into()).collect(),
        include_authorized_operations: false,
    };
    let response = coordinator.connection.call(&request).await?;
    let decoded = response.decode::<ConsumerGroupDescribeRequest<'_>>()?;
    let described = decoded.groups.iter().map(|group| {
        let checked = Error::check(group.error_code, group.error_message.as_deref(), || {
            format!("group {}", group.group_id)
        });
        (group.group_id.to_string(), checked.map(|()| consumer_group(coordinator, group)))
    });
    Ok(described.collect())
}

fn consumer_group(coordinator: &Coordinator, group: &consumer::DescribedGroup<'_>) -> GroupDescription {
    let members = group.members.iter().map(|member| GroupMember {
        member_id: member.member_id.to_string(),
        instance_id: member.instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assignment: assignment(&member.assignment),
        target: Some(assignment(&member.target_assignment)),
        epoch: Some(member.member_epoch),
        is_upgraded: (member.member_type >= 0).then_some(member.member_type != CLASSIC_MEMBER),
    });
    GroupDescription {
        group_id: group.group_id.to_string(),
        group_type: "Consumer",
        state: group.group_state.to_string(),
        protocol_type: "consumer".to_owned(),
        assignor: group.assignor_name.to_string(),
        group_epoch: Some(group.group_epoch),
        assignment_epoch: Some(group.assignment_epoch),
        coordinator: coordinator.connection.address().to_owned(),
        coordinator_id: coordinator.id,
        members: members.collect(),
    }
}

fn assignment(assignment: &consumer::Assignment<'_>) -> Assignment {
    let topics = assignment.topic_partitions.iter();
    sorted(topics.map(|topic| (topic.topic_name.to_string(), topic.partitions.clone())))
}

async fn classic_groups(coordinator: &Coordinator, groups: &[String]) -> Result<ByGroup<GroupDescription>> {
    let request = DescribeGroupsRequest {
        groups: groups.iter().map(|group| group.as_str().into()).collect(),
        include_authorized_operations: false,
    };
    let response = coordinator.connection.call(&request).await?;
    let decoded = response.decode::<DescribeGroupsRequest<'_>>()?;
    let described = decoded.groups.iter().map(|group| {
        let context = || format!("group {}", group.group_id);
        let checked = match Error::check(group.error_code, group.error_message.as_deref(), context) {
            Ok(()) if group.group_state == DEAD => {
                Err(Error::Broker { context: context(), code: ErrorCode::GroupIdNotFound, message: None })
            }
            Ok(()) => Ok(classic_group(coordinator, group)),
            Err(error) => Err(error),
        };
        (group.group_id.to_string(), checked)
    });
    Ok(described.collect())
}

fn classic_group(coordinator: &Coordinator, group: &classic::DescribedGroup<'_>) -> GroupDescription {
    let members = group.members.iter().map(|member| GroupMember {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assignment: match &*group.protocol_type {
            "consumer" => opaque_assignment(&member.member_assignment),
            _ => Assignment::new(),
        },
        target: None,
        epoch: None,
        is_upgraded: None,
    });
    GroupDescription {
        group_id: group.group_id.to_string(),
        group_type: "Classic",
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        assignor: group.protocol_data.to_string(),
        group_epoch: None,
        assignment_epoch: None,
        coordinator: coordinator.connection.address().to_owned(),
        coordinator_id: coordinator.id,
        members: members.collect(),
    }
}

/// The partitions in the bytes that one client wrote for another. Brokers never read them, so they may be anything: what
/// cannot be read is shown as nothing. All versions begin alike.
fn opaque_assignment(bytes: &[u8]) -> Assignment {
    let mut reader = Reader::new(bytes);
    let decoded = reader.i16().and_then(|_version| ConsumerProtocolAssignment::decode(&mut reader, 0));
    let Ok(decoded) = decoded else { return Assignment::new() };
    let topics = decoded.assigned_partitions.iter();
    sorted(topics.map(|topic| (topic.topic.to_string(), topic.partitions.clone())))
}

fn sorted(topics: impl Iterator<Item = (String, Vec<i32>)>) -> Assignment {
    let mut sorted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, mut partitions) in topics {
        let all = sorted.entry(topic).or_default();
        all.append(&mut partitions);
        all.sort_unstable();
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_of_any_version_are_read_and_others_are_nothing() {
        let body = b"\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x02\0\0\0\0\xff\xff\xff\xff";
        for version in [0u8, 1, 3, 9] {
            let bytes = [&[0, version], &body[..]].concat();
            let expected = Assignment::from([("t".to_owned(), vec![0, 2])]);
            assert_eq!(opaque_assignment(&bytes), expected, "{version}");
            assert_eq!(opaque_assignment(&bytes[..12]), Assignment::new());
        }
        assert_eq!(opaque_assignment(b""), Assignment::new());
    }
}
