//! RaftAppend (key 120), version 0, Milena's own, between controllers.
//!
//! Entries of the leader, as the record batches of its metadata log, or a heartbeat when there are none. Answered when they
//! are on the disk.

use milena_protocol::ErrorCode;
use milena_protocol::messages::{RaftAppendRequest, RaftAppendResponse};

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: RaftAppendRequest<'_>) -> Reply {
    match &cx.node.quorum {
        Some(quorum) => cx.reply(&quorum.append(&request).await),
        None => cx
            .reply(&RaftAppendResponse { error_code: ErrorCode::NotController.into(), ..Default::default() }),
    }
}
