//! InitProducerId (key 22), versions 0–5.
//!
//! A producer without a transactional id gets a fresh producer id with epoch 0, whatever id and epoch it had before
//! (KIP-98, KIP-360): nothing is fenced by it. Ids come from blocks that the controller hands out (KIP-730).
//!
//! Transactions need a coordinator, which this broker does not have: FindCoordinator already says so with INVALID_REQUEST
//! (ADR 42), and so does this to a client that asks all the same.

use milena_protocol::ErrorCode;
use milena_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use milena_protocol::messages::init_producer_id_response::InitProducerIdResponse;

use crate::server::{Reply, RequestContext};

/// The producer has no id, or no epoch.
const NONE: i64 = -1;

pub async fn handle(cx: &RequestContext, request: InitProducerIdRequest<'_>) -> Reply {
    // An id without an epoch, or an epoch without an id, names nobody.
    let is_half = (request.producer_id == NONE) != (i64::from(request.producer_epoch) == NONE);
    let allocated = match request.transactional_id {
        Some(_) => Err(ErrorCode::InvalidRequest),
        None if is_half => Err(ErrorCode::InvalidRequest),
        None => cx.node.producer_ids.next().await,
    };
    cx.reply(&match allocated {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(error) => InitProducerIdResponse {
            error_code: error.into(),
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    })
}
