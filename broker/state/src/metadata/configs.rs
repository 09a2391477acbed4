//! Dynamic configuration of topics, brokers, groups and client metrics subscriptions.
//!
//! A resource changes as a whole or not at all. Values are checked against the tables in
//! [`crate::config`] before they become records, so whoever applies the records may trust them.

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;

use super::batch_size::BatchSize;
use super::command::{ApiError, Context, Decision, Reply};
use super::features::ELIGIBLE_LEADER_REPLICAS;
use super::image::{ConfigResource, Image, ResourceKind};
use super::record::{ClearElr, Record};
use super::topics;
use crate::config::definition::{ConfigError, Definition, Update};
use crate::config::{broker, client_metrics, group, topic};

mod operations;

const MIN_ISR: &str = "min.insync.replicas";

/// A resource as a request names it, and what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked<C> {
    pub resource_type: i8,
    pub name: String,
    pub changes: Vec<C>,
}

/// A receiver that has been checked by another node, which is not told: it changes whichever broker is named.
pub const ANY_RECEIVER: i32 = -1;

/// What to do with one value: Kafka's number of the operation, and what it works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub name: String,
    pub operation: i8,
    pub value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncrementalAlterConfigs {
    pub resources: Vec<Asked<Change>>,
    pub validate_only: bool,
    /// The broker that was asked: of all brokers it changes itself only.
    pub receiver: i32,
}

/// As [`IncrementalAlterConfigs`], with all values that each resource has afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfigs {
    pub resources: Vec<Asked<(String, Option<String>)>>,
    pub validate_only: bool,
    pub receiver: i32,
}

/// One for each resource of the request, in its order.
pub type Outcomes = Vec<Result<(), ApiError>>;

type Values = BTreeMap<String, String>;

/// Errors of a resource: `INVALID_CONFIG`, `INVALID_REQUEST`, `INVALID_TOPIC_EXCEPTION`,
/// `UNKNOWN_TOPIC_OR_PARTITION`, `POLICY_VIOLATION`.
pub fn incremental_alter(image: &Image, command: &IncrementalAlterConfigs, context: Context<'_>) -> Decision {
    let mut batch = Batch::new(image, context, command.receiver);
    batch.take_all(&command.resources, |resource, present, changes| {
        operations::check_names(changes.iter().map(|change| change.name.as_str()))?;
        operations::combine(resource, present, changes)
    });
    let (records, outcomes) = batch.finish(command.validate_only);
    Decision::new(records, Reply::IncrementalAlterConfigs(outcomes))
}

/// Errors: as [`incremental_alter`].
pub fn alter(image: &Image, command: &AlterConfigs, context: Context<'_>) -> Decision {
    let mut batch = Batch::new(image, context, command.receiver);
    batch.take_all(&command.resources, |_, _, values| {
        operations::check_names(values.iter().map(|(name, _)| name.as_str()))?;
        operations::check_nulls(
            values.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.as_str()),
        )?;
        Ok(values.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect())
    });
    let (records, outcomes) = batch.finish(command.validate_only);
    Decision::new(records, Reply::AlterConfigs(outcomes))
}

/// What the resources of one request come to.
struct Batch<'a> {
    image: &'a Image,
    context: Context<'a>,
    receiver: i32,
    size: BatchSize,
    records: Vec<Record>,
    outcomes: Outcomes,
}

impl<'a> Batch<'a> {
    fn new(image: &'a Image, context: Context<'a>, receiver: i32) -> Self {
        let size = BatchSize::default();
        Self { image, context, receiver, size, records: Vec::new(), outcomes: Vec::new() }
    }

    /// Each resource for itself; `target` says which values it is to have, given those that it has.
    fn take_all<C>(
        &mut self,
        asked: &[Asked<C>],
        target: impl Fn(&ConfigResource, &Values, &[C]) -> Result<Values, ApiError>,
    ) {
        let mut named: BTreeMap<(i8, &str), usize> = BTreeMap::new();
        for one in asked {
            *named.entry((one.resource_type, &one.name)).or_default() += 1;
        }
        for one in asked {
            let outcome = match named[&(one.resource_type, one.name.as_str())] {
                1 => self.take(one, &target),
                // Nobody could say which of them was meant to be the last.
                _ => Err(request("Each resource must appear at most once.")),
            };
            self.outcomes.push(outcome);
        }
    }

    fn take<C>(
        &mut self,
        asked: &Asked<C>,
        target: impl Fn(&ConfigResource, &Values, &[C]) -> Result<Values, ApiError>,
    ) -> Result<(), ApiError> {
        let resource = self.resource(asked.resource_type, &asked.name)?;
        let present = self.image.config(&resource).cloned().unwrap_or_default();
        let target = canonical(&resource, &present, target(&resource, &present, &asked.changes)?);
        check_name(&resource)?;
        check_values(self.image, &resource, &present, &target, self.context)?;
        check_existence(self.image, &resource)?;
        let more = difference(self.image, &resource, &present, &target);
        self.size = self.size.with(&more)?;
        self.records.extend(more);
        Ok(())
    }

    fn resource(&self, resource_type: i8, name: &str) -> Result<ConfigResource, ApiError> {
        let kind = ResourceKind::from_number(resource_type)
            .filter(|kind| *kind != ResourceKind::BrokerLogger)
            .ok_or_else(|| request(format!("Unknown resource type {resource_type}")))?;
        if kind == ResourceKind::Broker && !name.is_empty() {
            let id = name.parse::<i32>();
            let id = id.map_err(|_| request(format!("Node id must be an integer, but it is: {name}")))?;
            if id != self.receiver && self.receiver != ANY_RECEIVER {
                let own = self.receiver;
                return Err(request(format!("Unexpected broker id, expected {own}, but received {name}")));
            }
        }
        Ok(ConfigResource { kind, name: name.to_owned() })
    }

    fn finish(self, validate_only: bool) -> (Vec<Record>, Outcomes) {
        let records = if validate_only { Vec::new() } else { self.records };
        (records, self.outcomes)
    }
}

/// One spelling for each value that is set anew: what is kept must not be longer than what it says.
fn canonical(resource: &ConfigResource, present: &Values, mut target: Values) -> Values {
    for (name, value) in &mut target {
        if present.get(name) != Some(value)
            && let Some(row) = definition(resource, name)
        {
            *value = row.canonical(value);
        }
    }
    target
}

fn check_name(resource: &ConfigResource) -> Result<(), ApiError> {
    match resource.kind {
        ResourceKind::Topic if resource.name.is_empty() => {
            Err(request("Default topic resources are not allowed."))
        }
        ResourceKind::Topic => topics::check_name(&resource.name)
            .map_err(|message| ApiError::new(ErrorCode::InvalidTopicException, message)),
        ResourceKind::Group if resource.name.is_empty() => {
            Err(request("Default group resources are not allowed."))
        }
        ResourceKind::ClientMetrics if resource.name.is_empty() => {
            Err(request("Subscription name can't be empty"))
        }
        _ => Ok(()),
    }
}

fn check_existence(image: &Image, resource: &ConfigResource) -> Result<(), ApiError> {
    if resource.kind == ResourceKind::Topic && image.topic_by_name(&resource.name).is_none() {
        let message = format!("The topic '{}' does not exist.", resource.name);
        return Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, message));
    }
    Ok(())
}

fn definition(resource: &ConfigResource, name: &str) -> Option<&'static Definition> {
    match resource.kind {
        ResourceKind::Topic => topic::definition(name),
        ResourceKind::Broker => broker::definition(name),
        ResourceKind::Group => group::definition(name),
        ResourceKind::ClientMetrics => client_metrics::definition(name),
        ResourceKind::BrokerLogger => None,
    }
}

/// Only what changes is checked: a value set by an older version must not block other changes.
fn check_values(
    image: &Image,
    resource: &ConfigResource,
    present: &Values,
    target: &Values,
    context: Context<'_>,
) -> Result<(), ApiError> {
    let changed: Values = target
        .iter()
        .filter(|(name, value)| present.get(*name) != Some(*value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let config_error = |error: ConfigError| invalid(error.to_string());
    match resource.kind {
        ResourceKind::Topic => {
            topic::check(&changed).and_then(|()| topic::check_pairs(&changed, target)).map_err(config_error)
        }
        ResourceKind::Group => group::check(&changed, context.settings)
            .and_then(|()| group::check_pairs(&changed, target, context.settings))
            .map_err(config_error),
        ResourceKind::ClientMetrics => client_metrics::check(&changed).map_err(|error| match error {
            ConfigError::Unknown { .. } | ConfigError::OutOfRange { .. } => request(error.to_string()),
            _ => invalid(error.to_string()),
        }),
        ResourceKind::Broker | ResourceKind::BrokerLogger => {
            check_broker_values(image, resource, (present, &changed, target), context)
        }
    }
}

/// Kafka says INVALID_REQUEST for what brokers refuse.
fn check_broker_values(
    image: &Image,
    resource: &ConfigResource,
    (present, changed, target): (&Values, &Values, &Values),
    context: Context<'_>,
) -> Result<(), ApiError> {
    let one_broker = !resource.name.is_empty();
    check_dynamic(changed, one_broker)?;
    check_min_isr(image, resource, present, target)?;
    // Together with everything else that is set: an impossible pair must not reach the brokers.
    let layers = if one_broker { vec![image.cluster_config(), target] } else { vec![target] };
    let next = context.settings.with_dynamic(&layers).map_err(|error| request(error.to_string()))?;
    let now = if one_broker { vec![image.cluster_config(), present] } else { vec![present] };
    // What is in force already must not block its repair.
    let Ok(now) = context.settings.with_dynamic(&now) else { return Ok(()) };
    now.cleaner.check_change(&next.cleaner).map_err(|error| request(error.to_string()))
}

fn check_dynamic(changed: &Values, one_broker: bool) -> Result<(), ApiError> {
    let those = |wanted: fn(&Definition) -> bool| {
        let is = |name: &&String| broker::definition(name).is_some_and(wanted);
        changed.keys().filter(is).map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let read_only = those(|row| !broker::is_dynamic(row));
    if !read_only.is_empty() {
        return Err(request(format!("Cannot update these configs dynamically: [{read_only}]")));
    }
    let single = those(|row| row.update == Update::PerBroker);
    if !one_broker && !single.is_empty() {
        return Err(request(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{single}]"
        )));
    }
    let check = |(name, value): (&String, &String)| {
        broker::check(name, value).and_then(|()| broker::check_dynamic(name, value))
    };
    changed.iter().try_for_each(check).map_err(|error| request(error.to_string()))
}

/// With eligible leader replicas the minimum must be the same wherever a leader lands (KIP-966).
fn check_min_isr(
    image: &Image,
    resource: &ConfigResource,
    present: &Values,
    target: &Values,
) -> Result<(), ApiError> {
    if image.feature_level(ELIGIBLE_LEADER_REPLICAS) == 0 {
        return Ok(());
    }
    let changes = present.get(MIN_ISR) != target.get(MIN_ISR);
    if changes && !resource.name.is_empty() {
        return Err(invalid(format!("Broker-level {MIN_ISR} cannot be altered while ELR is enabled.")));
    }
    if changes && !target.contains_key(MIN_ISR) {
        return Err(invalid(format!("Cluster-level {MIN_ISR} cannot be removed while ELR is enabled.")));
    }
    Ok(())
}

fn difference(image: &Image, resource: &ConfigResource, present: &Values, target: &Values) -> Vec<Record> {
    let mut records = Vec::new();
    for name in present.keys().filter(|name| !target.contains_key(*name)) {
        records.push(resource.record(name, None));
    }
    for (name, value) in target.iter().filter(|(name, value)| present.get(*name) != Some(*value)) {
        records.push(resource.record(name, Some(value.clone())));
    }
    let min_isr_changes = present.get(MIN_ISR) != target.get(MIN_ISR);
    if min_isr_changes && image.feature_level(ELIGIBLE_LEADER_REPLICAS) >= 1 {
        // Who is eligible was judged by the old minimum.
        let topic_name = match resource.kind {
            ResourceKind::Topic => resource.name.clone(),
            _ => String::new(),
        };
        records.push(Record::ClearElr(ClearElr { topic_name }));
    }
    records
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidConfig, message)
}

fn request(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, message)
}

#[cfg(test)]
#[path = "configs_test.rs"]
mod tests;
