//! IncrementalAlterConfigs (key 44), versions 0–1 (KIP-339).
//!
//! Sets, deletes, appends to or subtracts from single values of topics, of this broker, of all brokers (an empty broker
//! name), of groups and of client metrics subscriptions. Each resource changes as a whole or not at all and answers for
//! itself. The answer waits until this broker acts on the new values.

use milena_protocol::ErrorCode;
use milena_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, IncrementalAlterConfigsRequest,
};
use milena_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use milena_state::metadata::configs::{Asked, Change, IncrementalAlterConfigs};
use milena_state::metadata::{Command, Reply as Decided};

use super::controller_call::{self, Refusal};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: IncrementalAlterConfigsRequest<'_>) -> Reply {
    let command = Command::IncrementalAlterConfigs(IncrementalAlterConfigs {
        resources: request.resources.iter().map(asked).collect(),
        validate_only: request.validate_only,
        receiver: cx.node.settings.node_id,
    });
    let outcomes = match controller_call::decide_soon(cx, command).await {
        Ok(Decided::IncrementalAlterConfigs(outcomes)) => outcomes.into_iter().map(Refusal::of).collect(),
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
    cx.reply(&IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() })
}

fn asked(resource: &AlterConfigsResource<'_>) -> Asked<Change> {
    let changes = resource.configs.iter().map(|config| Change {
        name: config.name.to_string(),
        operation: config.config_operation,
        value: config.value.as_deref().map(str::to_owned),
    });
    Asked {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_string(),
        changes: changes.collect(),
    }
}
