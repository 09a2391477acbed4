//! JoinGroup (key 11), versions 0–9.
//!
//! A member says what it can do and waits until all have: the answer comes when the rebalance is complete, which may
//! take the rebalance timeout. The leader's answer names everybody.
//!
//! v0 has no rebalance timeout: the session's counts for both. v4 tells a new member its id first (KIP-394), v5 brings
//! static members (KIP-345), v7 the protocol type and a protocol name that may be null, v8 a reason (KIP-800), which
//! is not kept, v9 leaders that shall not assign (KIP-814).

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::messages::join_group_request::JoinGroupRequest;
use milena_protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use milena_state::group::reply::JoinReply;
use milena_state::group::request::{Join, Protocol, Token};

use super::client_host;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: JoinGroupRequest<'_>) -> Reply {
    let joined = cx.node.groups.join(&request.group_id, |token| join(cx, &request, token)).await;
    let joined = joined.unwrap_or_else(|error| JoinReply::error("".into(), error));
    // Version 7 is the first in which the name may be null.
    let nameless = if cx.version < 7 { Some(Cow::Borrowed("")) } else { None };
    // A protocol may be called nothing, and is then null where that can be said.
    let protocol = joined.protocol.as_deref().filter(|name| !name.is_empty());
    cx.reply(&JoinGroupResponse {
        error_code: joined.error.into(),
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.as_deref().map(Into::into),
        protocol_name: protocol.map(Into::into).or(nameless),
        leader: (&*joined.leader).into(),
        skip_assignment: joined.skip_assignment,
        member_id: (&*joined.member_id).into(),
        members: members(&joined),
        ..Default::default()
    })
}

fn members(joined: &JoinReply) -> Vec<JoinGroupResponseMember<'_>> {
    let members = joined.members.iter().map(|member| JoinGroupResponseMember {
        member_id: (&*member.id).into(),
        group_instance_id: member.instance_id.as_deref().map(Into::into),
        metadata: Cow::Borrowed(&member.metadata),
    });
    members.collect()
}

fn join(cx: &RequestContext, request: &JoinGroupRequest<'_>, token: Token) -> Join {
    // Copied: a slice of the frame would keep all of it for as long as the member lives.
    let protocols = request.protocols.iter().map(|protocol| Protocol {
        name: (&*protocol.name).into(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    let rebalance_timeout_ms =
        if cx.version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
    Join {
        token,
        group: (&*request.group_id).into(),
        member_id: (&*request.member_id).into(),
        unique: uuid::Uuid::new_v4().to_string(),
        instance_id: request.group_instance_id.as_deref().map(Arc::from),
        client_id: cx.client_id().into(),
        client_host: client_host::of(cx),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: (&*request.protocol_type).into(),
        protocols: protocols.collect(),
        requires_known_member_id: cx.version >= 4,
        supports_skipping_assignment: cx.version >= 9,
    }
}
