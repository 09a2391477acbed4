//! A config value as people write it in YAML: text, or a number without quotes.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Text or a 64-bit integer.
///
/// Kubernetes' own int-or-string type holds 32 bits: a `retention.ms` of 90 days written as a number would make the
/// whole list of topics undecodable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ConfigValue {
    Integer(i64),
    Text(String),
}

impl fmt::Display for ConfigValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl JsonSchema for ConfigValue {
    fn schema_name() -> Cow<'static, str> {
        "ConfigValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true })
    }
}

#[cfg(test)]
mod tests {
    use super::ConfigValue;

    #[test]
    fn ninety_days_in_milliseconds_is_a_number() {
        let value: ConfigValue = serde_yaml::from_str("7776000000").expect("a number");
        assert_eq!(value, ConfigValue::Integer(7_776_000_000));
        assert_eq!(value.to_string(), "7776000000");
    }
}
