//! AlterClientQuotas (key 49), versions 0–1 (KIP-546).
//!
//! Sets and removes quotas of users, client ids and addresses; each entity changes as a whole or not at all and answers
//! for itself. As in Kafka a type that stands twice in one entity counts once, with its last name, and an entity that
//! stands twice answers once. The answer waits until this broker acts on the new quotas. Names of hosts are resolved
//! here, because the controller decides without asking anybody. v1 is only the flexible encoding.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::messages::alter_client_quotas_request::{AlterClientQuotasRequest, EntryData as Asked};
use milena_protocol::messages::alter_client_quotas_response::{
    AlterClientQuotasResponse, EntityData, EntryData,
};
use milena_state::metadata::client_quotas::{AlterClientQuotas, Alteration, AskedEntity};
use milena_state::metadata::{Command, Reply as Decided};
use tokio::time::Instant;

use super::controller_call::{self, Refusal};
use crate::server::{Reply, RequestContext};

/// Host names of one request that are resolved; the rest counts as unknown.
const HOST_NAMES_MAX: usize = 100;

/// How long resolving all of them may take.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(10);

pub async fn handle(cx: &RequestContext, request: AlterClientQuotasRequest<'_>) -> Reply {
    let alterations: Vec<_> = request.entries.iter().map(alteration).collect();
    let entities: Vec<AskedEntity> = alterations.iter().map(|one| one.entity.clone()).collect();
    let unresolved = unresolved(&entities).await;
    let command = AlterClientQuotas { alterations, validate_only: request.validate_only, unresolved };
    let outcomes = match controller_call::decide_soon(cx, Command::AlterClientQuotas(command)).await {
        Ok(Decided::AlterClientQuotas(outcomes)) => {
            outcomes.into_iter().map(|(entity, outcome)| (entity, Refusal::of(outcome))).collect()
        }
        Ok(_) => failed(entities, ErrorCode::UnknownServerError),
        Err(error) => failed(entities, error),
    };
    let entries = outcomes.into_iter().map(|(entity, refusal)| EntryData {
        error_code: refusal.code.into(),
        error_message: refusal.message.map(Into::into),
        entity: entity.into_iter().map(part).collect(),
    });
    cx.reply(&AlterClientQuotasResponse { entries: entries.collect(), ..Default::default() })
}

fn alteration(asked: &Asked<'_>) -> Alteration {
    let name = |name: Option<&str>| name.map(str::to_owned);
    let entity =
        asked.entity.iter().map(|part| (part.entity_type.to_string(), name(part.entity_name.as_deref())));
    let changes = asked.ops.iter().map(|op| (op.key.to_string(), (!op.remove).then_some(op.value)));
    Alteration { entity: entity.collect(), changes: changes.collect() }
}

fn part((entity_type, entity_name): (String, Option<String>)) -> EntityData<'static> {
    EntityData { entity_type: entity_type.into(), entity_name: entity_name.map(Into::into) }
}

fn failed(entities: Vec<AskedEntity>, error: ErrorCode) -> Vec<(AskedEntity, Refusal)> {
    let refusals = Refusal::same(error, entities.len());
    entities.into_iter().zip(refusals).collect()
}

/// The addresses that are none and that no resolver knows.
async fn unresolved(entities: &[AskedEntity]) -> BTreeSet<String> {
    let hosts = entities.iter().filter_map(|entity| entity.get("ip")?.clone());
    let mut unresolved: BTreeSet<String> = hosts.filter(|host| host.parse::<IpAddr>().is_err()).collect();
    let deadline = Instant::now() + RESOLVE_TIME_MAX;
    for host in unresolved.iter().take(HOST_NAMES_MAX).cloned().collect::<Vec<_>>() {
        let found = tokio::time::timeout_at(deadline, tokio::net::lookup_host((host.as_str(), 0))).await;
        if found.is_ok_and(|found| found.is_ok_and(|mut addresses| addresses.next().is_some())) {
            unresolved.remove(&host);
        }
    }
    unresolved
}
