//! Levels of this broker's loggers (KIP-412): resources of type 8 in DescribeConfigs and IncrementalAlterConfigs.
//!
//! They are this process's own: no controller is asked, nothing is kept, and AlterConfigs refuses them.

use std::collections::BTreeSet;

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use milena_state::metadata::ResourceKind;
use milena_state::metadata::command::ApiError;
use milena_state::metadata::configs::{Asked, Change};
use tracing_subscriber::filter::LevelFilter;

use crate::telemetry::{self, levels};

/// Kafka's number of where the value comes from: DYNAMIC_BROKER_LOGGER_CONFIG.
const SOURCE: i8 = 6;
const SET: i8 = 0;
const DELETE: i8 = 1;

pub fn is_about_loggers(resource_type: i8) -> bool {
    ResourceKind::from_number(resource_type) == Some(ResourceKind::BrokerLogger)
}

/// Each logger and its level; `keys` picks some, an empty list all.
///
/// Errors: INVALID_REQUEST for another broker.
pub fn describe(
    node_id: i32,
    name: &str,
    keys: Option<&[String]>,
) -> Result<Vec<DescribeConfigsResourceResult<'static>>, ApiError> {
    check_broker(node_id, name)?;
    let is_asked =
        |logger: &str| keys.is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| key == logger));
    let all = telemetry::levels().all();
    let asked = all.into_iter().filter(|(logger, _)| is_asked(logger));
    let results = asked.map(|(logger, level)| DescribeConfigsResourceResult {
        name: logger.into(),
        value: Some(level.into()),
        config_source: SOURCE,
        ..Default::default()
    });
    Ok(results.collect())
}

/// Changes all that one resource asks for, or nothing.
///
/// Errors: INVALID_REQUEST for another broker, a level of root that is taken away, an operation that levels do not have
/// and a logger that is named twice; INVALID_CONFIG for a logger or a level that does not exist.
pub fn alter(node_id: i32, asked: &Asked<Change>, validate_only: bool) -> Result<(), ApiError> {
    check_broker(node_id, &asked.name)?;
    let mut named = BTreeSet::new();
    if !asked.changes.iter().all(|change| named.insert(change.name.as_str())) {
        return Err(request("Error due to duplicate config keys"));
    }
    let steps = asked.changes.iter().map(|change| Ok((change.name.as_str(), target(change)?)));
    let steps = steps.collect::<Result<Vec<_>, ApiError>>()?;
    if !validate_only {
        telemetry::change(|levels| {
            for (logger, level) in steps {
                match level {
                    Some(level) => levels.set(logger, level),
                    None => levels.unset(logger),
                }
            }
        });
        let changes = asked.changes.iter();
        let changes = changes.map(|c| format!("{}={}", c.name, c.value.as_deref().unwrap_or("")));
        tracing::info!(changes = changes.collect::<Vec<_>>().join(","), "levels of loggers changed");
    }
    Ok(())
}

fn check_broker(node_id: i32, name: &str) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(request("Broker id must not be empty"));
    }
    let id = name.parse::<i32>();
    let id = id.map_err(|_| request(format!("Node id must be an integer, but it is: {name}")))?;
    if id != node_id {
        return Err(request(format!("Unexpected broker id, expected {node_id} but received {id}")));
    }
    Ok(())
}

/// The level that a logger is to have; `None` for the one that it started with.
fn target(change: &Change) -> Result<Option<LevelFilter>, ApiError> {
    let logger = &change.name;
    match change.operation {
        SET | DELETE if !levels::is_logger(logger) => Err(config(format!("Logger {logger} does not exist!"))),
        SET => {
            let level = change.value.as_deref().unwrap_or_default();
            let unknown = || {
                let valid = levels::words();
                config(format!(
                    "Cannot set the log level of {logger} to {level} as it is not a supported log level. Valid log \
                     levels are {valid}"
                ))
            };
            levels::parse(level).map(Some).ok_or_else(unknown)
        }
        DELETE if logger == levels::ROOT => {
            Err(request("Removing the log level of the root logger is not allowed"))
        }
        DELETE => Ok(None),
        _ => Err(request("Levels of loggers are set and deleted, and hold no lists")),
    }
}

fn request(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, message)
}

fn config(message: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use milena_protocol::ErrorCode;
    use milena_state::metadata::configs::{Asked, Change};

    use super::{DELETE, SET, alter, describe};

    const NODE: i32 = 7;

    fn outcome(broker: &str, name: &str, operation: i8, value: Option<&str>) -> ErrorCode {
        let change = Change { name: name.to_owned(), operation, value: value.map(str::to_owned) };
        let asked = Asked { resource_type: 8, name: broker.to_owned(), changes: vec![change] };
        alter(NODE, &asked, true).map_or_else(|error| error.code, |()| ErrorCode::None)
    }

    #[test]
    fn answers_are_those_of_kafka() {
        for (broker, name, operation, value, code) in [
            ("7", "root", SET, Some("INFO"), ErrorCode::None),
            ("7", "milena_log", DELETE, None, ErrorCode::None),
            ("7", "root", SET, Some("ZAP"), ErrorCode::InvalidConfig),
            ("7", "root", SET, Some("info"), ErrorCode::InvalidConfig),
            ("7", "root", SET, None, ErrorCode::InvalidConfig),
            ("7", "no.such", SET, Some("INFO"), ErrorCode::InvalidConfig),
            ("7", "no.such", DELETE, None, ErrorCode::InvalidConfig),
            ("7", "root", DELETE, None, ErrorCode::InvalidRequest),
            ("7", "root", 2, Some("INFO"), ErrorCode::InvalidRequest),
            ("7", "root", 3, Some("INFO"), ErrorCode::InvalidRequest),
            ("8", "root", SET, Some("INFO"), ErrorCode::InvalidRequest),
            ("", "root", SET, Some("INFO"), ErrorCode::InvalidRequest),
            ("x", "root", SET, Some("INFO"), ErrorCode::InvalidRequest),
        ] {
            let found = outcome(broker, name, operation, value);
            assert_eq!(found, code, "{name} {operation} {value:?} of {broker:?}");
        }
    }

    #[test]
    fn a_logger_is_changed_once_in_a_request() {
        let change = Change { name: "root".to_owned(), operation: SET, value: Some("INFO".to_owned()) };
        let asked = Asked { resource_type: 8, name: "7".to_owned(), changes: vec![change.clone(), change] };
        assert_eq!(alter(NODE, &asked, true).unwrap_err().code, ErrorCode::InvalidRequest);
    }

    #[test]
    fn keys_pick_loggers() {
        let root = describe(NODE, "7", Some(&["root".to_owned(), "no.such".to_owned()])).unwrap();
        assert_eq!(root.len(), 1);
        assert_eq!(root[0].config_source, 6);
        assert!(describe(NODE, "7", None).unwrap().len() > 10);
        assert!(describe(NODE, "8", None).is_err());
    }
}
