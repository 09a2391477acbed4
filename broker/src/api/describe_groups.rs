//! DescribeGroups (key 15), versions 0–6.
//!
//! Groups with their members, as an operator sees them. A group that is not there is Dead; from version 6 on that is
//! GROUP_ID_NOT_FOUND, with a message (KIP-1043). v3 adds authorized operations (KIP-430), v4 static members.
//!
//! A group may be named often and has much to tell: what would come behind the answer's room is INVALID_REQUEST.

use std::borrow::Cow;
use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use milena_protocol::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use milena_state::group::reply::{Described, DescribedMember};

use super::authorized_operations;
use super::room::Room;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: DescribeGroupsRequest<'_>) -> Reply {
    let mut room = Room::default();
    let mut described = Vec::with_capacity(request.groups.len());
    for id in &request.groups {
        let found = describe(cx, id).await;
        described.push(match room.take(size_bytes(&found)) {
            Ok(()) => found,
            Err(error) => refused(found.group, error),
        });
    }
    let groups = described.iter().map(|group| answer(group, request.include_authorized_operations));
    cx.reply(&DescribeGroupsResponse { groups: groups.collect(), ..Default::default() })
}

async fn describe(cx: &RequestContext, id: &str) -> Described {
    let group: Arc<str> = id.into();
    let tells_missing = cx.version >= 6;
    let described = cx.node.groups.read(id, |groups| groups.describe(&group, tells_missing)).await;
    described.unwrap_or_else(|error| refused(group, error))
}

fn refused(group: Arc<str>, error: ErrorCode) -> Described {
    Described {
        group,
        error,
        message: None,
        state: "",
        protocol_type: "".into(),
        protocol: "".into(),
        members: Vec::new(),
    }
}

/// About what a group takes in the answer: its texts and blobs, and a few bytes for each field.
fn size_bytes(group: &Described) -> usize {
    const FIELDS: usize = 32;
    let members = group.members.iter().map(|member| {
        let instance = member.instance_id.as_ref().map_or(0, |id| id.len());
        let texts = member.id.len() + instance + member.client_id.len() + member.client_host.len();
        FIELDS + texts + member.metadata.len() + member.assignment.len()
    });
    FIELDS + group.group.len() + group.protocol_type.len() + group.protocol.len() + members.sum::<usize>()
}

fn answer(group: &Described, operations: bool) -> DescribedGroup<'_> {
    let knows_it = group.error == ErrorCode::None;
    DescribedGroup {
        error_code: group.error.into(),
        error_message: group.message.as_deref().map(Into::into),
        group_id: (&*group.group).into(),
        group_state: group.state.into(),
        protocol_type: (&*group.protocol_type).into(),
        protocol_data: (&*group.protocol).into(),
        members: group.members.iter().map(member).collect(),
        authorized_operations: authorized_operations::on_group(operations && knows_it),
    }
}

fn member(member: &DescribedMember) -> DescribedGroupMember<'_> {
    DescribedGroupMember {
        member_id: (&*member.id).into(),
        group_instance_id: member.instance_id.as_deref().map(Into::into),
        client_id: (&*member.client_id).into(),
        client_host: (&*member.client_host).into(),
        member_metadata: Cow::Borrowed(&member.metadata),
        member_assignment: Cow::Borrowed(&member.assignment),
    }
}
