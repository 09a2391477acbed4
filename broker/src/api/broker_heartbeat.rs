//! BrokerHeartbeat (key 63), versions 0–2 (KIP-631), on the listeners of controllers.
//!
//! A broker lives, tells how far it has followed the metadata, and hears whether it is fenced and may stop. The session
//! is prolonged before the writer has time for the rest. The connection counts as well: when it breaks and no other
//! takes its place the broker is fenced after a moment (`milena.fence.on.disconnect`). v1 names directories that are
//! offline (KIP-858).

use milena_protocol::ErrorCode;
use milena_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use milena_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use milena_state::metadata::brokers::{Heartbeat, HeartbeatAnswer};
use milena_state::metadata::{Command, Reply as Decided};

use super::controller_call;
use crate::broker::now_ms;
use crate::controller::Presence;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: BrokerHeartbeatRequest) -> Reply {
    match beat(cx, &request).await {
        Ok((answer, metadata_index)) => cx.reply(&BrokerHeartbeatResponse {
            is_caught_up: answer.is_caught_up,
            is_fenced: answer.is_fenced,
            should_shut_down: answer.should_shut_down,
            metadata_index,
            ..Default::default()
        }),
        Err(error) => cx.reply(&BrokerHeartbeatResponse { error_code: error.into(), ..Default::default() }),
    }
}

async fn beat(
    cx: &RequestContext,
    request: &BrokerHeartbeatRequest,
) -> Result<(HeartbeatAnswer, i64), ErrorCode> {
    let controller = &cx.node.controller;
    if !controller.leads_here() {
        return Err(ErrorCode::NotController);
    }
    let heartbeat = Heartbeat {
        broker_id: request.broker_id,
        broker_epoch: request.broker_epoch,
        current_metadata_offset: request.current_metadata_offset,
        want_fence: request.want_fence,
        want_shut_down: request.want_shut_down,
        offline_log_dirs: request.offline_log_dirs.clone(),
        others_caught_up: false,
    };
    let image = cx.node.committed_image();
    let is_known = controller.heard().sessions().hear(&heartbeat, &image, now_ms());
    if is_known {
        note_presence(cx, request);
        note_observer(cx, request);
    }
    let command = Command::BrokerHeartbeat(heartbeat);
    let committed = controller_call::decide_here(cx, command).await?;
    match committed.reply {
        Decided::BrokerHeartbeat(Ok(answer)) => Ok((answer, committed.index)),
        Decided::BrokerHeartbeat(Err(error)) => Err(error.code),
        _ => Err(ErrorCode::UnknownServerError),
    }
}

/// A broker that does not vote observes the quorum, and its heartbeats tell how far it is, whomever it follows.
fn note_observer(cx: &RequestContext, request: &BrokerHeartbeatRequest) {
    let Some(quorum) = &cx.node.quorum else { return };
    if quorum.voter_directory(request.broker_id).is_some() {
        return;
    }
    let image = cx.node.metadata.image();
    let directory = image.broker(request.broker_id).and_then(|broker| broker.log_dirs.first().copied());
    let (end_offset, committed) = (request.current_metadata_offset + 1, cx.node.committed_index() + 1);
    quorum.observers().fetched(
        request.broker_id,
        directory.unwrap_or_default(),
        end_offset,
        committed,
        now_ms(),
    );
}

fn note_presence(cx: &RequestContext, request: &BrokerHeartbeatRequest) {
    let (broker_id, broker_epoch) = (request.broker_id, request.broker_epoch);
    let mut presence = cx.peer.presence.borrow_mut();
    let is_noted = presence.as_ref().is_some_and(|noted| noted.is_of(broker_id, broker_epoch));
    if is_noted || !cx.node.settings.fence_on_disconnect {
        return;
    }
    let (client, background) = (cx.node.controller.clone(), cx.node.background.clone());
    let noted = Presence::note(broker_id, broker_epoch, cx.peer.connection_id, client, background);
    // The one before is of another incarnation on the same connection, and no contact any more.
    let former = presence.replace(noted);
    drop(presence);
    drop(former);
}
