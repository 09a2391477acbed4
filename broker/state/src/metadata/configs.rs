//! Dynamic configuration of topics and brokers.
//!
//! A resource changes as a whole or not at all. Values are checked against the tables in
//! [`crate::config`] before they become records, so whoever applies the records may trust them.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::ErrorCode;

use super::batch_size::BatchSize;
use super::command::{ApiError, Context, Decision, Reply};
use super::features::ELIGIBLE_LEADER_REPLICAS;
use super::image::{ConfigResource, Image, ResourceKind};
use super::record::{ClearElr, Record};
use crate::config::definition::{Definition, Kind, Update, list};
use crate::config::{broker, topic};

const MIN_ISR: &str = "min.insync.replicas";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncrementalAlterConfigs {
    pub resources: Vec<(ConfigResource, Vec<(String, Operation)>)>,
    pub validate_only: bool,
}

/// What to do with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Set(String),
    Delete,
    /// Adds elements to a list.
    Append(String),
    /// Takes elements from a list.
    Subtract(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfigs {
    /// All values that each resource has afterwards.
    pub resources: Vec<(ConfigResource, BTreeMap<String, String>)>,
    pub validate_only: bool,
}

/// Errors of a resource: `INVALID_CONFIG`, `INVALID_REQUEST`, `UNKNOWN_TOPIC_OR_PARTITION`,
/// `BROKER_ID_NOT_REGISTERED`, `POLICY_VIOLATION`.
pub fn incremental_alter(image: &Image, command: &IncrementalAlterConfigs, context: Context<'_>) -> Decision {
    let mut seen = BTreeSet::new();
    let outcomes = command.resources.iter().map(|(resource, operations)| {
        let target = check_once(&mut seen, resource).and_then(|()| combine(image, resource, operations));
        (resource, target)
    });
    let (records, answers) = alter_all(image, outcomes, command.validate_only, context);
    Decision::new(records, Reply::IncrementalAlterConfigs(answers))
}

/// Errors: as [`incremental_alter`].
pub fn alter(image: &Image, command: &AlterConfigs, context: Context<'_>) -> Decision {
    let mut seen = BTreeSet::new();
    let outcomes = command
        .resources
        .iter()
        .map(|(resource, values)| (resource, check_once(&mut seen, resource).map(|()| values.clone())));
    let (records, answers) = alter_all(image, outcomes, command.validate_only, context);
    Decision::new(records, Reply::AlterConfigs(answers))
}

type Values = BTreeMap<String, String>;
type Answers = Vec<(ConfigResource, Result<(), ApiError>)>;

/// Turns the values that each resource is to have into records.
fn alter_all<'a>(
    image: &Image,
    targets: impl Iterator<Item = (&'a ConfigResource, Result<Values, ApiError>)>,
    validate_only: bool,
    context: Context<'_>,
) -> (Vec<Record>, Answers) {
    let mut size = BatchSize::default();
    let mut records = Vec::new();
    let mut answers = Vec::new();
    for (resource, target) in targets {
        let result = target.and_then(|target| {
            check_resource(image, resource)?;
            let present = image.config(resource).cloned().unwrap_or_default();
            let target = canonical(resource, &present, target);
            check_values(image, resource, &present, &target, context)?;
            let more = difference(image, resource, &present, &target);
            size = size.with(&more)?;
            records.extend(more);
            Ok(())
        });
        answers.push((resource.clone(), result));
    }
    if validate_only {
        records.clear();
    }
    (records, answers)
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

fn check_once(seen: &mut BTreeSet<ConfigResource>, resource: &ConfigResource) -> Result<(), ApiError> {
    if seen.insert(resource.clone()) {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate resource in the request."))
}

fn check_resource(image: &Image, resource: &ConfigResource) -> Result<(), ApiError> {
    match resource.kind {
        ResourceKind::Topic if image.topic_by_name(&resource.name).is_none() => Err(ApiError::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic '{}' does not exist.", resource.name),
        )),
        ResourceKind::Broker if !resource.name.is_empty() => match resource.name.parse::<i32>() {
            Ok(id) if image.broker(id).is_some() => Ok(()),
            Ok(id) => {
                Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, format!("No broker with id {id} found.")))
            }
            Err(_) => Err(ApiError::new(
                ErrorCode::InvalidRequest,
                format!("Broker id must be an integer, but it is: {}", resource.name),
            )),
        },
        ResourceKind::Topic | ResourceKind::Broker => Ok(()),
        ResourceKind::BrokerLogger | ResourceKind::ClientMetrics | ResourceKind::Group => Err(ApiError::new(
            ErrorCode::InvalidRequest,
            "Configuration of this resource type is not supported yet.",
        )),
    }
}

/// The values after the operations, starting from those that are set now.
fn combine(
    image: &Image,
    resource: &ConfigResource,
    operations: &[(String, Operation)],
) -> Result<Values, ApiError> {
    let mut values = image.config(resource).cloned().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for (name, operation) in operations {
        if !seen.insert(name) {
            return Err(invalid(format!("Duplicate configuration key '{name}' in the request.")));
        }
        match operation {
            Operation::Set(value) => {
                values.insert(name.clone(), value.clone());
            }
            Operation::Delete => {
                values.remove(name);
            }
            Operation::Append(elements) => {
                let mut parts = list_of(resource, &values, name, "APPEND")?;
                for element in list(elements) {
                    if !parts.iter().any(|part| part == element) {
                        parts.push(element.to_owned());
                    }
                }
                values.insert(name.clone(), parts.join(","));
            }
            Operation::Subtract(elements) => {
                let mut parts = list_of(resource, &values, name, "SUBTRACT")?;
                parts.retain(|part| !list(elements).any(|element| element == part));
                values.insert(name.clone(), parts.join(","));
            }
        }
    }
    Ok(values)
}

/// The present elements of a list value, those of the default when none is set.
fn list_of(
    resource: &ConfigResource,
    values: &Values,
    name: &str,
    verb: &str,
) -> Result<Vec<String>, ApiError> {
    let row = definition(resource, name).filter(|row| row.kind == Kind::List);
    let Some(row) = row else {
        return Err(invalid(format!("Can't {verb} to key {name} because its type is not LIST.")));
    };
    let present = values.get(name).map(String::as_str).or(row.default).unwrap_or("");
    Ok(list(present).map(str::to_owned).collect())
}

fn definition(resource: &ConfigResource, name: &str) -> Option<&'static Definition> {
    match resource.kind {
        ResourceKind::Topic => topic::definition(name),
        ResourceKind::Broker => broker::definition(name),
        ResourceKind::BrokerLogger | ResourceKind::ClientMetrics | ResourceKind::Group => None,
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
    check_min_isr(image, resource, present, target)?;
    if resource.kind == ResourceKind::Topic {
        return topic::check(&changed).map_err(|error| invalid(error.to_string()));
    }
    let one_broker = !resource.name.is_empty();
    check_dynamic(&changed, one_broker)?;
    // Together with everything else that is set: an impossible pair must not reach the brokers.
    let layers = if one_broker { vec![image.cluster_config(), target] } else { vec![target] };
    context.settings.with_dynamic(&layers).map(|_| ()).map_err(|error| invalid(error.to_string()))
}

fn check_dynamic(changed: &Values, one_broker: bool) -> Result<(), ApiError> {
    let updates = |wanted: Update| {
        let is = |name: &&String| broker::definition(name).is_some_and(|row| row.update == wanted);
        changed.keys().filter(is).map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let refuse = |message: String| Err(ApiError::new(ErrorCode::InvalidRequest, message));
    let read_only = updates(Update::ReadOnly);
    if !read_only.is_empty() {
        return refuse(format!("Cannot update these configs dynamically: [{read_only}]"));
    }
    let single = updates(Update::PerBroker);
    if !one_broker && !single.is_empty() {
        return refuse(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{single}]"
        ));
    }
    let check = |(name, value): (&String, &String)| broker::check(name, value);
    changed.iter().try_for_each(check).map_err(|error| invalid(error.to_string()))
}

/// With eligible leader replicas the minimum must be the same wherever a leader lands (KIP-966).
fn check_min_isr(
    image: &Image,
    resource: &ConfigResource,
    present: &Values,
    target: &Values,
) -> Result<(), ApiError> {
    if resource.kind != ResourceKind::Broker || image.feature_level(ELIGIBLE_LEADER_REPLICAS) == 0 {
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

fn invalid(message: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidConfig, message)
}

#[cfg(test)]
#[path = "configs_test.rs"]
mod tests;
