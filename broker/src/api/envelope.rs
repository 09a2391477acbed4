//! Envelope (key 58), version 0 (KIP-590), on the listeners of controllers.
//!
//! A request of a client that its broker passed on, decided by the active controller as if the client had asked here:
//! its id and its host count for quotas. Nobody is authenticated yet, so that the principal is not looked at. The
//! answer tells at which index of the metadata log the outcome holds, so that the broker can wait until it serves it.
//!
//! NOT_CONTROLLER here and in the request inside are the same: the broker looks for the active controller again.
//! INVALID_REQUEST is for what is never passed on, UNSUPPORTED_VERSION for versions that this node does not know.

use std::net::IpAddr;

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::messages::envelope_request::EnvelopeRequest;
use milena_protocol::messages::envelope_response::EnvelopeResponse;

use crate::server::{Reply, RequestContext, dispatch, forward};

pub async fn handle(cx: &RequestContext, request: EnvelopeRequest<'_>) -> Reply {
    match answer(cx, &request).await {
        Ok(response) => cx.reply(&EnvelopeResponse {
            response_data: Some((&*response).into()),
            metadata_index: cx.node.committed_index(),
            ..Default::default()
        }),
        Err(error) => cx.reply(&EnvelopeResponse { error_code: error.into(), ..Default::default() }),
    }
}

async fn answer(cx: &RequestContext, request: &EnvelopeRequest<'_>) -> Result<Bytes, ErrorCode> {
    if !cx.node.controller.leads_here() {
        return Err(ErrorCode::NotController);
    }
    let client = address(&request.client_host_address).ok_or(ErrorCode::InvalidRequest)?;
    let frame = Bytes::copy_from_slice(&request.request_data);
    let passed_on = dispatch::passed_on(cx, frame, client).map_err(|error| {
        tracing::debug!(%error, "request that a broker passed on is refused");
        error.code()
    })?;
    let answered = forward::answer_for(passed_on).await.map_err(|_| ErrorCode::InvalidRequest)?;
    answered.ok_or(ErrorCode::NotController)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(octets).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(octets).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_from_their_octets() {
        assert_eq!(address(&[10, 0, 0, 7]), Some(IpAddr::from([10, 0, 0, 7])));
        assert_eq!(address(&[0; 16]), Some(IpAddr::from([0; 16])));
        assert_eq!(address(&[]), None);
        assert_eq!(address(&[1; 5]), None);
    }
}
