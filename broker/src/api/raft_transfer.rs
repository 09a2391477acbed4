//! RaftTransfer (key 123), version 0, Milena's own, between controllers.
//!
//! The leader is about to stop and says who shall lead next: that one stands for election at once, the others let it.

use milena_protocol::ErrorCode;
use milena_protocol::messages::{RaftTransferRequest, RaftTransferResponse};

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: RaftTransferRequest<'_>) -> Reply {
    match &cx.node.quorum {
        Some(quorum) => cx.reply(&quorum.accept_transfer(&request).await),
        None => cx.reply(&RaftTransferResponse {
            error_code: ErrorCode::NotController.into(),
            ..Default::default()
        }),
    }
}
