//! IncrementalAlterConfigs (key 44), versions 0–1 (KIP-339).
//!
//! Sets, deletes, appends to or subtracts from single values of topics, of this broker, of all brokers (an empty broker
//! name), of groups and of client metrics subscriptions. Each resource changes as a whole or not at all and answers for
//! itself. The answer waits until this broker acts on the new values. Loggers are changed here, everything else by the
//! controller.

use std::collections::BTreeMap;

use milena_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use milena_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use milena_protocol::{ErrorCode, decode_start};
use milena_state::metadata::command::ApiError;
use milena_state::metadata::configs::{Asked, Change, IncrementalAlterConfigs};
use milena_state::metadata::{Command, Reply as Decided};

use super::broker_loggers;
use super::controller_call::{self, Refusal};
use crate::controller::remote::opened;
use crate::server::{Reply, RequestContext, forward};

pub async fn handle(cx: &RequestContext, request: IncrementalAlterConfigsRequest<'_>) -> Reply {
    let asked: Vec<_> = request.resources.iter().map(asked).collect();
    let outcomes = match names_loggers(&request) {
        true => with_loggers(cx, asked, request.validate_only).await,
        false => by_controller(cx, asked, request.validate_only).await,
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

/// Whether the broker that is asked changes a part by itself.
pub fn has_loggers(cx: &RequestContext) -> bool {
    decode_start(cx.body(), cx.version).is_ok_and(|request| names_loggers(&request))
}

fn names_loggers(request: &IncrementalAlterConfigsRequest<'_>) -> bool {
    request.resources.iter().any(|resource| broker_loggers::is_about_loggers(resource.resource_type))
}

/// Loggers here, the rest by the controller, the outcomes in the order of the request.
async fn with_loggers(cx: &RequestContext, asked: Vec<Asked<Change>>, validate_only: bool) -> Vec<Refusal> {
    let is_ours = |one: &Asked<Change>| broker_loggers::is_about_loggers(one.resource_type);
    let order: Vec<bool> = asked.iter().map(is_ours).collect();
    let (ours, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_ours);
    let node_id = cx.node.settings.node_id;
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    ours.iter().for_each(|one| *named.entry(&one.name).or_default() += 1);
    let changed = ours.iter().map(|one| match named[one.name.as_str()] > 1 {
        true => Refusal::of(Err(ApiError::new(
            ErrorCode::InvalidRequest,
            "Each resource must appear at most once.",
        ))),
        false => Refusal::of(broker_loggers::alter(node_id, one, validate_only)),
    });
    let mut changed = changed.collect::<Vec<_>>().into_iter();
    let decided = if others.is_empty() { Vec::new() } else { as_part(cx, others, validate_only).await };
    let mut decided = decided.into_iter();
    order.into_iter().filter_map(|ours| if ours { changed.next() } else { decided.next() }).collect()
}

async fn by_controller(
    cx: &RequestContext,
    resources: Vec<Asked<Change>>,
    validate_only: bool,
) -> Vec<Refusal> {
    let count = resources.len();
    let receiver = controller_call::receiver(cx);
    let command =
        Command::IncrementalAlterConfigs(IncrementalAlterConfigs { resources, validate_only, receiver });
    match controller_call::decide_soon(cx, command).await {
        Ok(Decided::IncrementalAlterConfigs(outcomes)) => outcomes.into_iter().map(Refusal::of).collect(),
        Ok(_) => Refusal::same(ErrorCode::UnknownServerError, count),
        Err(error) => Refusal::same(error, count),
    }
}

/// The others alone, by a request of our own that goes the way of those that have no loggers.
async fn as_part(cx: &RequestContext, others: Vec<Asked<Change>>, validate_only: bool) -> Vec<Refusal> {
    let count = others.len();
    let resources = others.iter().map(resource).collect();
    let request = IncrementalAlterConfigsRequest { resources, validate_only };
    let Some(answered) = forward::run_part(cx, &request).await else {
        return Refusal::same(ErrorCode::NotController, count);
    };
    let response = opened::<IncrementalAlterConfigsResponse<'_>>(&answered, cx.api, cx.version);
    let Ok(response) = response else { return Refusal::same(ErrorCode::UnknownServerError, count) };
    let refusals = response.responses.iter().map(|one| Refusal {
        code: ErrorCode::from_i16(one.error_code).unwrap_or(ErrorCode::UnknownServerError),
        message: one.error_message.as_deref().map(str::to_owned),
    });
    refusals.collect()
}

fn resource(asked: &Asked<Change>) -> AlterConfigsResource<'_> {
    let configs = asked.changes.iter().map(|change| AlterableConfig {
        name: change.name.as_str().into(),
        config_operation: change.operation,
        value: change.value.as_deref().map(Into::into),
    });
    AlterConfigsResource {
        resource_type: asked.resource_type,
        resource_name: asked.name.as_str().into(),
        configs: configs.collect(),
    }
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

#[cfg(test)]
#[path = "incremental_alter_configs_test.rs"]
mod tests;
