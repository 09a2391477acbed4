//! FindCoordinator (key 10), versions 0–6.
//!
//! Which broker keeps a group: the leader of its partition of `__consumer_offsets`, a topic that the first such
//! request brings into being.
//!
//! Keys of transactions and of share groups have no coordinator here. COORDINATOR_NOT_AVAILABLE, which Kafka says
//! while one is on its way, makes clients ask for ever; INVALID_REQUEST ends a Java producer at once, with an error that
//! names the coordinator it asked for (ADR 42). It is also what Kafka says to a key type that nobody
//! knows.
//!
//! v1 brings key types, v4 several keys at once (KIP-699), v6 share groups (KIP-932).

use milena_protocol::ErrorCode;
use milena_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use milena_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

use super::current_leader::{self, NodeEndpoint};
use crate::server::{Reply, RequestContext};

const GROUP: i8 = 0;

const BATCHED_FROM: i16 = 4;

pub async fn handle(cx: &RequestContext, request: FindCoordinatorRequest<'_>) -> Reply {
    if cx.version < BATCHED_FROM {
        return one(cx, &request).await;
    }
    let keys = &request.coordinator_keys;
    // Once for all keys: a second attempt beside the first is refused. Without keys nobody needs the topic.
    let prepared = if keys.is_empty() { Ok(()) } else { prepare(cx, request.key_type).await };
    let coordinators = keys.iter().map(|key| {
        let (node, error) = apart(prepared.and_then(|()| find(cx, key)));
        Coordinator {
            key: (&**key).into(),
            node_id: node.node_id,
            host: node.host.into(),
            port: node.port,
            error_code: error.into(),
            error_message: Some(message(error).into()),
        }
    });
    cx.reply(&FindCoordinatorResponse { coordinators: coordinators.collect(), ..Default::default() })
}

async fn one(cx: &RequestContext, request: &FindCoordinatorRequest<'_>) -> Reply {
    let prepared = prepare(cx, request.key_type).await;
    let (node, error) = apart(prepared.and_then(|()| find(cx, &request.key)));
    let message = if error == ErrorCode::None { "NONE" } else { message(error) };
    cx.reply(&FindCoordinatorResponse {
        error_code: error.into(),
        error_message: Some(message.into()),
        node_id: node.node_id,
        host: node.host.into(),
        port: node.port,
        ..Default::default()
    })
}

fn apart(found: Result<NodeEndpoint, ErrorCode>) -> (NodeEndpoint, ErrorCode) {
    match found {
        Ok(node) => (node, ErrorCode::None),
        Err(error) => (NodeEndpoint { node_id: -1, host: String::new(), port: -1, rack: None }, error),
    }
}

fn message(error: ErrorCode) -> &'static str {
    match error {
        ErrorCode::InvalidRequest => {
            "this broker coordinates groups of consumers, and neither transactions nor share groups"
        }
        _ => "",
    }
}

/// Sees to it that keys of that type can have a coordinator.
async fn prepare(cx: &RequestContext, key_type: i8) -> Result<(), ErrorCode> {
    match key_type {
        GROUP => cx.node.groups.ensure_topic().await,
        // Transactions and share groups too.
        _ => Err(ErrorCode::InvalidRequest),
    }
}

/// The coordinator of a group.
fn find(cx: &RequestContext, group: &str) -> Result<NodeEndpoint, ErrorCode> {
    let id = cx.node.groups.coordinator_of(group)?;
    let endpoint = current_leader::endpoints(cx, std::iter::once(id)).pop();
    endpoint.ok_or(ErrorCode::CoordinatorNotAvailable)
}
