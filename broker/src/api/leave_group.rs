//! LeaveGroup (key 13), versions 0–5.
//!
//! Members go, and the rest rebalances at once. Before version 3 the request names one member, whose error is the
//! answer's. v3 names several, static ones by their instance id alone (KIP-345), v5 a reason (KIP-800), which is not
//! kept.

use milena_protocol::ErrorCode;
use milena_protocol::messages::leave_group_request::LeaveGroupRequest;
use milena_protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use milena_state::group::Event;
use milena_state::group::reply::{self, LeaveReply, Left};
use milena_state::group::request::{Leave, Leaver};

use crate::server::{Reply, RequestContext};

const BATCHED_FROM: i16 = 3;

pub async fn handle(cx: &RequestContext, request: LeaveGroupRequest<'_>) -> Reply {
    let event = |token| {
        let members = leavers(cx.version, &request);
        Event::Leave(Leave { token, group: (&*request.group_id).into(), members })
    };
    let left = match cx.node.groups.event(&request.group_id, event).await {
        Ok(reply::Reply::Leave(left)) => left,
        Ok(other) => panic!("a leave is answered by {other:?}"),
        Err(error) => LeaveReply { error, members: Vec::new() },
    };
    let batched = cx.version >= BATCHED_FROM;
    cx.reply(&LeaveGroupResponse {
        error_code: if batched { left.error } else { only_error(&left) }.into(),
        members: left.members.iter().filter(|_| batched).map(member).collect(),
        ..Default::default()
    })
}

fn leavers(version: i16, request: &LeaveGroupRequest<'_>) -> Vec<Leaver> {
    if version < BATCHED_FROM {
        return vec![Leaver { member_id: (&*request.member_id).into(), instance_id: None }];
    }
    let leavers = request.members.iter().map(|member| Leaver {
        member_id: (&*member.member_id).into(),
        instance_id: member.group_instance_id.as_deref().map(Into::into),
    });
    leavers.collect()
}

fn only_error(left: &LeaveReply) -> ErrorCode {
    match left.error {
        ErrorCode::None => left.members.first().map_or(ErrorCode::None, |member| member.error),
        error => error,
    }
}

fn member(left: &Left) -> MemberResponse<'_> {
    MemberResponse {
        member_id: (&*left.member_id).into(),
        group_instance_id: left.instance_id.as_deref().map(Into::into),
        error_code: left.error.into(),
    }
}
