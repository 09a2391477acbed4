//! Where two answers differ.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::mask::{NAMING, mask};
use crate::run::Exchange;

/// One difference, in all the versions that show it.
#[derive(Debug)]
pub struct Difference {
    /// `scenario: step`.
    pub case: String,
    /// The API and the path in its answer, without indices.
    pub field: String,
    pub kafka: String,
    pub milena: String,
    pub versions: Vec<i16>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, field, kafka, milena, versions } = self;
        write!(f, "{case} | {field} | {kafka} | {milena} | versions {versions:?}")
    }
}

pub fn compare(kafka: &[Exchange], milena: &[Exchange]) -> Vec<Difference> {
    assert_eq!(kafka.len(), milena.len(), "both ran the same steps");
    let mut found: BTreeMap<(String, String, String, String), Vec<i16>> = BTreeMap::new();
    for (one, other) in kafka.iter().zip(milena) {
        let case = format!("{}: {}", one.scenario, one.step);
        let api = one.api.map_or("raw", |api| api.name());
        let mut pairs = Vec::new();
        walk(api, &mask(&one.answer), &mask(&other.answer), &mut pairs);
        for (field, kafka, milena) in pairs {
            let versions = found.entry((case.clone(), field, kafka, milena)).or_default();
            if !versions.contains(&one.version) {
                versions.push(one.version);
            }
        }
    }
    let differences = found.into_iter();
    let named =
        |((case, field, kafka, milena), versions)| Difference { case, field, kafka, milena, versions };
    differences.map(named).collect()
}

fn walk(path: &str, kafka: &Value, milena: &Value, out: &mut Vec<(String, String, String)>) {
    match (kafka, milena) {
        (Value::Object(one), Value::Object(other)) => {
            // Where one refuses and the other does not, all the rest follows from that.
            let code = |fields: &serde_json::Map<String, Value>| fields.get("ErrorCode").cloned();
            if let (Some(kafka), Some(milena)) = (code(one), code(other))
                && kafka != milena
            {
                return out.push((format!("{path}.ErrorCode"), kafka.to_string(), milena.to_string()));
            }
            let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let absent = Value::String("absent".into());
                let get = |fields: &serde_json::Map<String, Value>| {
                    fields.get(name).cloned().unwrap_or(absent.clone())
                };
                walk(&format!("{path}.{name}"), &get(one), &get(other), out);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (one, other) in one.iter().zip(other) {
                walk(path, one, other, out);
            }
        }
        (one, other) if one == other => {}
        (Value::Array(one), Value::Array(other))
            if let (Some(one), Some(other)) = (by_name(one), by_name(other)) =>
        {
            let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                match (one.get(name), other.get(name)) {
                    (Some(one), Some(other)) => walk(path, one, other, out),
                    (one, _) => {
                        let told = |there: bool| if there { "present" } else { "absent" }.to_owned();
                        out.push((format!("{path}[{name}]"), told(one.is_some()), told(one.is_none())));
                    }
                }
            }
        }
        (one, other) => out.push((path.to_owned(), one.to_string(), other.to_string())),
    }
}

/// The elements of a list by what names each, where all have such a name and no two the same.
fn by_name(elements: &[Value]) -> Option<BTreeMap<String, &Value>> {
    let mut out = BTreeMap::new();
    for element in elements {
        let name = NAMING.iter().find_map(|field| element.get(*field))?;
        let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
        if out.insert(name, element).is_some() {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use milena_protocol::ApiKey;
    use serde_json::json;

    use super::*;

    fn exchange(version: i16, answer: Value) -> Exchange {
        let (scenario, step) = ("s".to_owned(), "a".to_owned());
        Exchange { scenario, step, api: Some(ApiKey::Metadata), version, answer }
    }

    #[test]
    fn one_difference_of_two_versions_is_told_once() {
        let kafka = [
            exchange(1, json!({"Topics": [{"ErrorCode": 3}]})),
            exchange(2, json!({"Topics": [{"ErrorCode": 3}]})),
        ];
        let milena = [
            exchange(1, json!({"Topics": [{"ErrorCode": 5}]})),
            exchange(2, json!({"Topics": [{"ErrorCode": 5}]})),
        ];
        let found = compare(&kafka, &milena);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].case.as_str(), found[0].field.as_str()), ("s: a", "Metadata.Topics.ErrorCode"));
        assert_eq!((found[0].kafka.as_str(), found[0].milena.as_str()), ("3", "5"));
        assert_eq!(found[0].versions, [1, 2]);
    }

    #[test]
    fn equal_answers_and_masked_ones_do_not_differ() {
        let [kafka, milena] = ["ASNFZ4mrze8BI0VniavN7w", "BSNFZ4mrze8BI0VniavN7w"]
            .map(|id| [exchange(1, json!({"TopicId": id}))]);
        assert!(compare(&kafka, &milena).is_empty());
    }

    #[test]
    fn element_that_only_one_has_is_named() {
        let kafka = [exchange(1, json!({"Topics": [{"Name": "a", "ErrorCode": 1}, {"Name": "b"}]}))];
        let milena = [exchange(1, json!({"Topics": [{"Name": "a", "ErrorCode": 2}]}))];
        let found = compare(&kafka, &milena);
        let told: Vec<_> =
            found.iter().map(|one| (one.field.as_str(), one.kafka.as_str(), one.milena.as_str())).collect();
        assert_eq!(
            told,
            [("Metadata.Topics.ErrorCode", "1", "2"), ("Metadata.Topics[b]", "present", "absent")]
        );
    }
}
