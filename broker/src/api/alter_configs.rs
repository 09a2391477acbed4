//! AlterConfigs (key 33), versions 0–2 (KIP-133).
//!
//! Replaces all values of a resource: what the request does not name falls back to its default. Otherwise as
//! IncrementalAlterConfigs, which clients should use instead.

use milena_protocol::ErrorCode;
use milena_protocol::messages::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource};
use milena_protocol::messages::alter_configs_response::{AlterConfigsResourceResponse, AlterConfigsResponse};
use milena_state::metadata::configs::{AlterConfigs, Asked};
use milena_state::metadata::{Command, Reply as Decided};

use super::controller_call::{self, Refusal};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: AlterConfigsRequest<'_>) -> Reply {
    let command = Command::AlterConfigs(AlterConfigs {
        resources: request.resources.iter().map(asked).collect(),
        validate_only: request.validate_only,
        receiver: controller_call::receiver(cx),
    });
    let outcomes = match controller_call::decide_soon(cx, command).await {
        Ok(Decided::AlterConfigs(outcomes)) => outcomes.into_iter().map(Refusal::of).collect(),
        Ok(_) => Refusal::same(ErrorCode::UnknownServerError, request.resources.len()),
        Err(error) => Refusal::same(error, request.resources.len()),
    };
    let responses =
        request.resources.iter().zip(outcomes).map(|(resource, refusal)| AlterConfigsResourceResponse {
            error_code: refusal.code.into(),
            error_message: refusal.message.map(Into::into),
            resource_type: resource.resource_type,
            resource_name: (&*resource.resource_name).into(),
        });
    cx.reply(&AlterConfigsResponse { responses: responses.collect(), ..Default::default() })
}

fn asked(resource: &AlterConfigsResource<'_>) -> Asked<(String, Option<String>)> {
    let values = resource
        .configs
        .iter()
        .map(|config| (config.name.to_string(), config.value.as_deref().map(str::to_owned)));
    Asked {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_string(),
        changes: values.collect(),
    }
}
