//! ControllerRegistration (key 70), version 0 (KIP-919), on the listeners of controllers.
//!
//! A controller tells the active one which levels of features it supports and where it is reached, each time it starts.
//! UNSUPPORTED_VERSION below the metadata version that has the record.

use milena_protocol::ErrorCode;
use milena_protocol::messages::controller_registration_request::ControllerRegistrationRequest;
use milena_protocol::messages::controller_registration_response::ControllerRegistrationResponse;
use milena_state::metadata::record::{Endpoint, RegisterController, SupportedFeature};
use milena_state::metadata::{Command, Reply as Decided};

use super::controller_call::{self, Refusal};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: ControllerRegistrationRequest<'_>) -> Reply {
    let refusal = match request.controller_id {
        ..0 => Refusal { code: ErrorCode::InvalidRequest, message: None },
        _ => register(cx, asked(&request)).await,
    };
    cx.reply(&ControllerRegistrationResponse {
        error_code: refusal.code.into(),
        error_message: refusal.message.map(Into::into),
        ..Default::default()
    })
}

async fn register(cx: &RequestContext, controller: RegisterController) -> Refusal {
    match controller_call::decide_here(cx, Command::RegisterController(controller))
        .await
        .map(|done| done.reply)
    {
        Ok(Decided::RegisterController(outcome)) => Refusal::of(outcome),
        Ok(_) => Refusal { code: ErrorCode::UnknownServerError, message: None },
        Err(code) => Refusal { code, message: None },
    }
}

fn asked(request: &ControllerRegistrationRequest<'_>) -> RegisterController {
    let endpoints = request.listeners.iter().map(|listener| Endpoint {
        name: listener.name.to_string(),
        host: listener.host.to_string(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    });
    let features = request.features.iter().map(|feature| SupportedFeature {
        name: feature.name.to_string(),
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    });
    RegisterController {
        controller_id: request.controller_id,
        incarnation_id: request.incarnation_id,
        endpoints: endpoints.collect(),
        features: features.collect(),
    }
}
