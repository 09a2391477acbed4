//! SyncGroup (key 14), versions 0–5.
//!
//! The leader says who reads what, and everybody else waits to hear it. v3 brings static members (KIP-345), v5 the
//! protocol that the member believes in, which must be named then (KIP-559): INCONSISTENT_GROUP_PROTOCOL.

use std::borrow::Cow;

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::messages::sync_group_request::SyncGroupRequest;
use milena_protocol::messages::sync_group_response::SyncGroupResponse;
use milena_state::group::Event;
use milena_state::group::reply::{self, SyncReply};
use milena_state::group::request::{Sync, Token};

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: SyncGroupRequest<'_>) -> Reply {
    let synced = sync(cx, &request).await.unwrap_or_else(SyncReply::error);
    cx.reply(&SyncGroupResponse {
        error_code: synced.error.into(),
        protocol_type: synced.protocol_type.as_deref().map(Into::into),
        protocol_name: synced.protocol.as_deref().map(Into::into),
        assignment: Cow::Borrowed(&synced.assignment),
        ..Default::default()
    })
}

async fn sync(cx: &RequestContext, request: &SyncGroupRequest<'_>) -> Result<SyncReply, ErrorCode> {
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if cx.version >= 5 && !names_protocol {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    match cx.node.groups.event(&request.group_id, |token| Event::Sync(taken(request, token))).await? {
        reply::Reply::Sync(synced) => Ok(synced),
        other => panic!("a sync is answered by {other:?}"),
    }
}

fn taken(request: &SyncGroupRequest<'_>, token: Token) -> Sync {
    // Copied: a slice of the frame would keep all of it for as long as the assignment is in force.
    let assignments = request
        .assignments
        .iter()
        .map(|assigned| ((&*assigned.member_id).into(), Bytes::copy_from_slice(&assigned.assignment)));
    Sync {
        token,
        group: (&*request.group_id).into(),
        generation: request.generation_id,
        member_id: (&*request.member_id).into(),
        instance_id: request.group_instance_id.as_deref().map(Into::into),
        protocol_type: request.protocol_type.as_deref().map(Into::into),
        protocol: request.protocol_name.as_deref().map(Into::into),
        assignments: assignments.collect(),
    }
}
