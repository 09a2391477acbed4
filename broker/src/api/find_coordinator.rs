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

use futures_util::future::join_all;
use milena_protocol::ErrorCode;
use milena_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use milena_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

use crate::server::{Reply, RequestContext};

const GROUP: i8 = 0;

const BATCHED_FROM: i16 = 4;

/// Where to connect to.
struct Node {
    id: i32,
    host: String,
    port: i32,
}

pub async fn handle(cx: &RequestContext, request: FindCoordinatorRequest<'_>) -> Reply {
    if cx.version < BATCHED_FROM {
        return one(cx, &request).await;
    }
    let finding = request.coordinator_keys.iter().map(|key| find(cx, request.key_type, key));
    let found = join_all(finding).await;
    let coordinators = request.coordinator_keys.iter().zip(found).map(|(key, found)| {
        let (node, error) = apart(found);
        Coordinator {
            key: (&**key).into(),
            node_id: node.id,
            host: node.host.into(),
            port: node.port,
            error_code: error.into(),
            error_message: Some(message(error).into()),
        }
    });
    cx.reply(&FindCoordinatorResponse { coordinators: coordinators.collect(), ..Default::default() })
}

async fn one(cx: &RequestContext, request: &FindCoordinatorRequest<'_>) -> Reply {
    let (node, error) = apart(find(cx, request.key_type, &request.key).await);
    let message = if error == ErrorCode::None { "NONE" } else { message(error) };
    cx.reply(&FindCoordinatorResponse {
        error_code: error.into(),
        error_message: Some(message.into()),
        node_id: node.id,
        host: node.host.into(),
        port: node.port,
        ..Default::default()
    })
}

fn apart(found: Result<Node, ErrorCode>) -> (Node, ErrorCode) {
    match found {
        Ok(node) => (node, ErrorCode::None),
        Err(error) => (Node { id: -1, host: String::new(), port: -1 }, error),
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

async fn find(cx: &RequestContext, key_type: i8, key: &str) -> Result<Node, ErrorCode> {
    match key_type {
        GROUP => {
            cx.node.groups.ensure_topic().await?;
            endpoint(cx, cx.node.groups.coordinator_of(key)?)
        }
        // Transactions and share groups too.
        _ => Err(ErrorCode::InvalidRequest),
    }
}

/// The broker as the listener shows it that the client came in by.
fn endpoint(cx: &RequestContext, id: i32) -> Result<Node, ErrorCode> {
    let image = cx.node.metadata.image_arc();
    let broker = image.broker(id).filter(|broker| broker.is_active());
    let endpoint = broker.and_then(|broker| broker.endpoint(&cx.peer.listener));
    let endpoint = endpoint.ok_or(ErrorCode::CoordinatorNotAvailable)?;
    Ok(Node { id, host: endpoint.host.clone(), port: i32::from(endpoint.port) })
}
