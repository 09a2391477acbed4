//! Heartbeat (key 12), versions 0–4.
//!
//! A member is alive, and hears whether the group rebalances (REBALANCE_IN_PROGRESS). A coordinator that still loads
//! says nothing is wrong: nobody loses a place because the broker came up a moment ago.
//!
//! v3 brings static members (KIP-345).

use milena_protocol::messages::heartbeat_request::HeartbeatRequest;
use milena_protocol::messages::heartbeat_response::HeartbeatResponse;
use milena_state::group::request::Heartbeat;
use milena_state::group::{Event, reply};

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: HeartbeatRequest<'_>) -> Reply {
    let event = |token| {
        Event::Heartbeat(Heartbeat {
            token,
            group: (&*request.group_id).into(),
            generation: request.generation_id,
            member_id: (&*request.member_id).into(),
            instance_id: request.group_instance_id.as_deref().map(Into::into),
        })
    };
    let error = match cx.node.groups.event(&request.group_id, event).await {
        Ok(reply::Reply::Heartbeat(error)) | Err(error) => error,
        Ok(other) => panic!("a heartbeat is answered by {other:?}"),
    };
    cx.reply(&HeartbeatResponse { error_code: error.into(), ..Default::default() })
}
