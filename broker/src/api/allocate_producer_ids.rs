//! AllocateProducerIds (key 67), version 0 (KIP-730), on the listeners of controllers.
//!
//! A block of producer ids that no broker had before.

use milena_protocol::ErrorCode;
use milena_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use milena_protocol::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use milena_state::metadata::producer_ids::{AllocateProducerIds, Block};
use milena_state::metadata::{Command, Reply as Decided};

use super::controller_call;
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: AllocateProducerIdsRequest) -> Reply {
    cx.reply(&match allocate(cx, &request).await {
        Ok(block) => AllocateProducerIdsResponse {
            producer_id_start: block.first,
            producer_id_len: block.count,
            ..Default::default()
        },
        Err(error) => AllocateProducerIdsResponse { error_code: error.into(), ..Default::default() },
    })
}

async fn allocate(cx: &RequestContext, request: &AllocateProducerIdsRequest) -> Result<Block, ErrorCode> {
    let (broker_id, broker_epoch) = (request.broker_id, request.broker_epoch);
    let command = Command::AllocateProducerIds(AllocateProducerIds { broker_id, broker_epoch });
    match controller_call::decide_here(cx, command).await?.reply {
        Decided::AllocateProducerIds(outcome) => outcome.map_err(|error| error.code),
        _ => Err(ErrorCode::UnknownServerError),
    }
}
