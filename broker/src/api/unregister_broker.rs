//! UnregisterBroker (key 64), version 0 (KIP-631).
//!
//! Takes a broker that is gone for good out of the cluster. One that lives is refused: it would go on serving under a
//! registration that does not exist.

use milena_protocol::ErrorCode;
use milena_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use milena_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;
use milena_state::metadata::brokers::UnregisterBroker;
use milena_state::metadata::{Command, Reply as Decided};

use super::controller_call::{self, Refusal};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: UnregisterBrokerRequest) -> Reply {
    let command = Command::UnregisterBroker(UnregisterBroker { broker_id: request.broker_id });
    let refusal = match controller_call::decide_soon(cx, command).await {
        Ok(Decided::UnregisterBroker(outcome)) => Refusal::of(outcome),
        Ok(_) => Refusal { code: ErrorCode::UnknownServerError, message: None },
        Err(code) => Refusal { code, message: None },
    };
    cx.reply(&UnregisterBrokerResponse {
        error_code: refusal.code.into(),
        error_message: refusal.message.map(Into::into),
        ..Default::default()
    })
}
