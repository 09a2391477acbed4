//! What the operations of IncrementalAlterConfigs make of the values that are set.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, definition, invalid, request};
use crate::config::definition::{Kind, list};
use crate::metadata::command::ApiError;
use crate::metadata::image::{ConfigResource, ResourceKind};

type Values = BTreeMap<String, String>;

/// Kafka's operations, by their numbers on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
enum Operation {
    Set = 0,
    Delete = 1,
    /// Adds elements to a list.
    Append = 2,
    /// Takes elements from a list.
    Subtract = 3,
}

impl Operation {
    fn from_number(number: i8) -> Option<Self> {
        use Operation::{Append, Delete, Set, Subtract};
        [Set, Delete, Append, Subtract].into_iter().find(|operation| *operation as i8 == number)
    }
}

/// A name may stand once.
pub(super) fn check_names<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    if names.all(|name| seen.insert(name)) {
        Ok(())
    } else {
        Err(request("Error due to duplicate config keys"))
    }
}

/// Refuses the names whose value is missing.
pub(super) fn check_nulls<'a>(without_value: impl Iterator<Item = &'a str>) -> Result<(), ApiError> {
    let names: Vec<&str> = without_value.collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(request(format!("Null value not supported for : {}", names.join(", "))))
}

/// The values after the changes, starting from those that are set now.
pub(super) fn combine(
    resource: &ConfigResource,
    present: &Values,
    changes: &[Change],
) -> Result<Values, ApiError> {
    let is_delete = |change: &Change| change.operation == Operation::Delete as i8;
    let nulls = changes.iter().filter(|change| change.value.is_none() && !is_delete(change));
    check_nulls(nulls.map(|change| change.name.as_str()))?;
    let mut values = present.clone();
    for Change { name, operation, value } in changes {
        let operation = Operation::from_number(*operation)
            .ok_or_else(|| request(format!("Unknown operations type {operation}")))?;
        let value = value.as_deref().unwrap_or_default();
        match operation {
            Operation::Set => drop(values.insert(name.clone(), value.to_owned())),
            Operation::Delete => drop(values.remove(name)),
            Operation::Append => {
                let mut parts = list_of(resource, &values, name, "APPEND")?;
                for element in list(value) {
                    if !parts.iter().any(|part| part == element) {
                        parts.push(element.to_owned());
                    }
                }
                values.insert(name.clone(), parts.join(","));
            }
            Operation::Subtract => {
                let mut parts = list_of(resource, &values, name, "SUBTRACT")?;
                parts.retain(|part| !list(value).any(|element| element == part));
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
    // Kafka knows no lists of subscriptions here, although it describes some as such.
    let has_lists = resource.kind != ResourceKind::ClientMetrics;
    let Some(row) = definition(resource, name).filter(|row| has_lists && row.kind == Kind::List) else {
        return Err(invalid(format!("Can't {verb} to key {name} because its type is not LIST.")));
    };
    let present = values.get(name).map(String::as_str).or(row.default).unwrap_or("");
    Ok(list(present).map(str::to_owned).collect())
}
