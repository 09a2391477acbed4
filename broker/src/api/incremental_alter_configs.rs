//! IncrementalAlterConfigs (key 44), versions 0–1 (KIP-339).
//!
//! Sets, deletes, appends to or subtracts from single values of topics, of this broker, of all brokers (an empty broker
//! name), of groups and of client metrics subscriptions. Each resource changes as a whole or not at all and answers for
//! itself. The answer waits until this broker acts on the new values. Loggers are changed here, everything else by the
//! controller.

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, IncrementalAlterConfigsRequest,
};
use milena_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use milena_state::metadata::command::ApiError;
use milena_state::metadata::configs::{Asked, Change, IncrementalAlterConfigs};
use milena_state::metadata::{Command, Reply as Decided};

use super::broker_loggers;
use super::controller_call::{self, Refusal};
use crate::server::{Reply, RequestContext};

pub async fn handle(cx: &RequestContext, request: IncrementalAlterConfigsRequest<'_>) -> Reply {
    let asked: Vec<_> = request.resources.iter().map(asked).collect();
    let outcomes = match asked.iter().any(|one| broker_loggers::is_about_loggers(one.resource_type)) {
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
    let decided = if others.is_empty() { Vec::new() } else { by_controller(cx, others, validate_only).await };
    let mut decided = decided.into_iter();
    order.into_iter().filter_map(|ours| if ours { changed.next() } else { decided.next() }).collect()
}

async fn by_controller(
    cx: &RequestContext,
    resources: Vec<Asked<Change>>,
    validate_only: bool,
) -> Vec<Refusal> {
    let count = resources.len();
    let receiver = cx.node.settings.node_id;
    let command =
        Command::IncrementalAlterConfigs(IncrementalAlterConfigs { resources, validate_only, receiver });
    match controller_call::decide_soon(cx, command).await {
        Ok(Decided::IncrementalAlterConfigs(outcomes)) => outcomes.into_iter().map(Refusal::of).collect(),
        Ok(_) => Refusal::same(ErrorCode::UnknownServerError, count),
        Err(error) => Refusal::same(error, count),
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
