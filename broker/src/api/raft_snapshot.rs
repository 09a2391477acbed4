//! RaftSnapshot (key 122), version 0, Milena's own, between controllers.
//!
//! A chunk of a snapshot, for a controller that is so far behind that the log does not reach back. The last chunk is answered
//! when the snapshot is installed.

use milena_protocol::ErrorCode;
use milena_protocol::messages::{RaftSnapshotRequest, RaftSnapshotResponse};

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: RaftSnapshotRequest<'_>) -> Reply {
    match &cx.node.quorum {
        Some(quorum) => cx.reply(&quorum.receive_snapshot(&request).await),
        None => cx.reply(&RaftSnapshotResponse {
            error_code: ErrorCode::NotController.into(),
            ..Default::default()
        }),
    }
}
