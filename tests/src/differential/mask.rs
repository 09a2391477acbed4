//! What may differ between any two brokers, as named rules. Everything else must be equal.

use serde_json::{Value, json};

struct Rule {
    name: &'static str,
    fields: &'static [&'static str],
    hides: fn(&Value) -> bool,
}

/// Any time of this century in milliseconds; small numbers are offsets or what a scenario chose.
const TIME_FIRST: i64 = 1_600_000_000_000;

fn is_time(value: &Value) -> bool {
    value.as_i64().is_some_and(|number| (TIME_FIRST..4 * TIME_FIRST).contains(&number))
}

fn is_positive(value: &Value) -> bool {
    value.as_i64().is_some_and(|number| number > 0)
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && text != "NONE")
}

/// A listener of this machine: its port is another for each broker.
fn is_address(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("PLAINTEXT://127.0.0.1:"))
}

fn is_id(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| !text.is_empty() && text != "AAAAAAAAAAAAAAAAAAAAAA" && !text.starts_with('$'))
}

const RULES: &[Rule] = &[
    Rule {
        name: "<time>",
        fields: &[
            "Timestamp",
            "LogAppendTimeMs",
            "LastTimestamp",
            "MaxTimestamp",
            "LastFetchTimestamp",
            "LastCaughtUpTimestamp",
        ],
        hides: is_time,
    },
    Rule { name: "<id>", fields: &["TopicId", "ClusterId", "ReplicaDirectoryId", "LogDir"], hides: is_id },
    Rule {
        name: "<number>",
        fields: &["ProducerId", "SessionId"],
        hides: |value| value.as_i64().is_some_and(|number| number >= 0),
    },
    // Sentences are our own. Whether there is one, and on which element, must be equal.
    Rule {
        name: "<message>",
        fields: &["ErrorMessage", "BatchIndexErrorMessage", "Documentation"],
        hides: is_text,
    },
    Rule { name: "<address>", fields: &["Value"], hides: is_address },
    Rule { name: "<port>", fields: &["Port"], hides: is_positive },
    Rule {
        name: "<size>",
        fields: &["PartitionSize", "TotalBytes", "UsableBytes"],
        hides: |value| value.as_i64().is_some_and(|size| size >= 0),
    },
    Rule { name: "<metadata log>", fields: &["FinalizedFeaturesEpoch"], hides: is_positive },
];

const MEMBER_FIELDS: &[&str] = &["MemberId", "Leader"];

/// What the coordinator adds to the client id or the instance id when it names a member.
const MEMBER_SUFFIX: &str = "-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

/// A member id without its random part; ids that a request chose stay.
fn member_id(text: &str) -> Option<String> {
    let prefix = text.get(..text.len().checked_sub(MEMBER_SUFFIX.len())?)?;
    let suffix = &text[prefix.len()..];
    let fits =
        |(shape, digit): (char, char)| if shape == 'x' { digit.is_ascii_hexdigit() } else { digit == shape };
    MEMBER_SUFFIX.chars().zip(suffix.chars()).all(fits).then(|| format!("{prefix}-<id>"))
}

/// Answers that are read back from hash tables in Apache Kafka: their order means nothing.
const UNORDERED: &[&str] =
    &["Topics", "Partitions", "Configs", "Results", "Responses", "ConfigResources", "Groups", "ApiKeys"];

/// The answer without what may differ.
pub fn mask(value: &Value) -> Value {
    masked("", value)
}

fn masked(field: &str, value: &Value) -> Value {
    let hidden = RULES.iter().find(|rule| rule.fields.contains(&field) && (rule.hides)(value));
    if let Some(rule) = hidden {
        return json!(rule.name);
    }
    if let (true, Some(text)) = (MEMBER_FIELDS.contains(&field), value.as_str()) {
        return json!(member_id(text).as_deref().unwrap_or(text));
    }
    match value {
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), masked(name, value))).collect())
        }
        Value::Array(elements) => {
            let mut elements: Vec<Value> = elements.iter().map(|value| masked(field, value)).collect();
            // Whoever leaves is answered in the order of the request, each with its own error.
            let members = field == "Members" && elements.iter().all(|one| one.get("ErrorCode").is_none());
            if members || UNORDERED.contains(&field) {
                elements.sort_by_key(sort_key);
            }
            Value::Array(elements)
        }
        other => other.clone(),
    }
}

/// Fields that name an element of a list.
pub const NAMING: &[&str] = &[
    "Name",
    "Topic",
    "TopicName",
    "ResourceName",
    "GroupId",
    "MemberId",
    "Feature",
    "ApiKey",
    "PartitionIndex",
    "Partition",
];

/// What names an element; the rest must not decide, or one difference would move everything.
fn sort_key(value: &Value) -> String {
    let more = ["TopicId", "ResourceType", "ErrorCode"];
    let fields = NAMING.iter().chain(&more);
    fields.map(|field| format!("{}\u{1}", value.get(*field).unwrap_or(&Value::Null))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ids_are_hidden_but_not_their_absence() {
        let answer =
            json!({"Timestamp": 1_700_000_000_000_i64, "TopicId": "ASNFZ4mrze8BI0VniavN7w", "ErrorCode": 3});
        assert_eq!(mask(&answer), json!({"Timestamp": "<time>", "TopicId": "<id>", "ErrorCode": 3}));
        let absent =
            json!({"Timestamp": -1, "TopicId": "AAAAAAAAAAAAAAAAAAAAAA", "ProducerId": -1, "Port": -1});
        assert_eq!(mask(&absent), absent);
    }

    #[test]
    fn member_ids_lose_their_random_part_alone() {
        let answer = json!({"MemberId": "c-01234567-89ab-cdef-0123-456789abcdef", "Leader": "stranger"});
        assert_eq!(mask(&answer), json!({"MemberId": "c-<id>", "Leader": "stranger"}));
        let chosen = json!({"MemberId": "$a", "Leader": "c-01234567-89ab-cdef-0123-456789abcdeg"});
        assert_eq!(mask(&chosen), chosen);
    }

    #[test]
    fn members_are_sorted_unless_each_has_an_error_of_its_own() {
        let joined = json!({"Members": [{"MemberId": "b"}, {"MemberId": "a"}]});
        assert_eq!(mask(&joined), json!({"Members": [{"MemberId": "a"}, {"MemberId": "b"}]}));
        let left = json!({"Members": [{"MemberId": "b", "ErrorCode": 0}, {"MemberId": "a", "ErrorCode": 0}]});
        assert_eq!(mask(&left), left);
    }

    #[test]
    fn order_is_kept_where_it_means_something() {
        let answer = json!({"Topics": [{"Name": "b"}, {"Name": "a"}], "Partitions": [2, 1]});
        assert_eq!(mask(&answer), json!({"Topics": [{"Name": "a"}, {"Name": "b"}], "Partitions": [2, 1]}));
    }
}
