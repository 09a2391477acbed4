//! RaftVote (key 121), version 0, Milena's own, between controllers.
//!
//! A candidate asks for the vote of this controller; as pre-vote, whether it would get it.

use milena_protocol::ErrorCode;
use milena_protocol::messages::{RaftVoteRequest, RaftVoteResponse};

use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: RaftVoteRequest<'_>) -> Reply {
    match &cx.node.quorum {
        Some(quorum) => cx.reply(&quorum.vote(&request).await),
        None => {
            cx.reply(&RaftVoteResponse { error_code: ErrorCode::NotController.into(), ..Default::default() })
        }
    }
}
