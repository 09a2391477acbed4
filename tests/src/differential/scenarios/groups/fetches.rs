//! OffsetFetch in every version: of one group and of several, of some partitions and of all.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use super::super::topic;
use super::{called, join, script, stable};
use crate::script::Script;

pub fn all() -> Vec<Script> {
    vec![of_one(), of_several()]
}

const TOPIC: &str = "groups-fetched";
const UNKNOWN_ID: &str = "ASNFZ4mrze8BI0VniavN7w";

fn fill(s: &mut Script) {
    topic(s, TOPIC, 3, &[]);
    let row = |partition: i32, offset: i64, epoch: i32, note: Value| json!({"PartitionIndex": partition, "CommittedOffset": offset, "CommittedLeaderEpoch": epoch, "CommittedMetadata": note});
    let rows = json!([row(0, 5, 0, json!("note")), row(1, 0, -1, json!(null))]);
    for group in ["fetched", ""] {
        let body = json!({"GroupId": group, "Topics": [{"Name": TOPIC, "Partitions": rows}]});
        s.call("fill", ApiKey::OffsetCommit, 9, body);
    }
}

/// One group, which older versions name beside their topics.
fn asked(group: &str, topics: &Value, stable: bool) -> Value {
    json!({
        "GroupId": group, "RequireStable": stable, "Groups": [{"GroupId": group, "Topics": topics_with_ids(topics)}],
        "Topics": topics,
    })
}

fn topics_with_ids(topics: &Value) -> Value {
    let Some(rows) = topics.as_array() else { return Value::Null };
    let row = |row: &Value| {
        let mut row = row.clone();
        row["TopicId"] = json!(match row["Name"].as_str() {
            Some(TOPIC) => "$id",
            Some("") => "",
            _ => UNKNOWN_ID,
        });
        row
    };
    rows.iter().map(row).collect()
}

fn of_one() -> Script {
    let mut s = script("groups/fetches");
    fill(&mut s);
    let row = |name: &str, indexes: &[i32]| json!({"Name": name, "PartitionIndexes": indexes});
    for (step, topics) in [
        ("all", json!(null)),
        ("nothing", json!([])),
        ("no partitions", json!([row(TOPIC, &[])])),
        ("some", json!([row(TOPIC, &[1, 0])])),
        ("not committed", json!([row(TOPIC, &[2])])),
        ("beyond", json!([row(TOPIC, &[9, -1])])),
        ("unknown", json!([row("unheard-of", &[0, 1])])),
        ("no name", json!([row("", &[0])])),
        ("partition twice", json!([row(TOPIC, &[0, 0])])),
        ("topic twice", json!([row(TOPIC, &[0]), row(TOPIC, &[1])])),
        ("known and not", json!([row("unheard-of", &[0]), row(TOPIC, &[0])])),
    ] {
        for group in ["fetched", "", "unheard-of"] {
            for stable in [false, true] {
                for version in 1..=10 {
                    // Version 1 has no way to ask for all.
                    if version > 1 || !topics.is_null() {
                        let step = format!("{step} of {group:?}");
                        s.call(&step, ApiKey::OffsetFetch, version, asked(group, &topics, stable));
                    }
                }
            }
        }
    }
    s
}

/// Several groups, and who asks.
fn of_several() -> Script {
    let mut s = script("groups/fetches-of");
    fill(&mut s);
    stable(&mut s, "a", &join("fetched-with-members", ""));
    let some = json!([{"Name": TOPIC, "TopicId": "$id", "PartitionIndexes": [0, 2]}]);
    let group = |id: &str, topics: &Value| json!({"GroupId": id, "Topics": topics});
    let all = Value::Null;
    for (step, groups) in [
        ("no group", json!([])),
        ("several", json!([group("fetched", &all), group("unheard-of", &some), group("", &some)])),
        ("twice", json!([group("fetched", &all), group("fetched", &some)])),
        ("with members", json!([group("fetched-with-members", &some)])),
    ] {
        for version in 8..=10 {
            s.call(step, ApiKey::OffsetFetch, version, json!({"Groups": groups}));
        }
    }
    for name in ["fetched", "fetched-with-members", "unheard-of"] {
        for (id, epoch) in [
            (json!(null), 0),
            (json!(""), -1),
            (json!("x"), -1),
            (json!("x"), 0),
            (json!("$a"), 1),
            (json!("$a"), 9),
        ] {
            let told = id.as_str().map(|id| id.trim_start_matches('$'));
            let mut body = group(name, &some);
            (body["MemberId"], body["MemberEpoch"]) = (id.clone(), json!(epoch));
            for version in 9..=10 {
                s.call(
                    &format!("{name:?} as {told:?}, {epoch}"),
                    ApiKey::OffsetFetch,
                    version,
                    json!({"Groups": [body]}),
                );
            }
        }
    }
    s.on("b")
        .newest("asks for an id", ApiKey::JoinGroup, join("fetched-with-members", ""))
        .learn("b", "/MemberId");
    s.send("waits", ApiKey::JoinGroup, 9, join("fetched-with-members", "$b"));
    s.on("a");
    called(&mut s, "fetched-with-members", "$a", 1);
    for version in 8..=10 {
        let body = json!({"Groups": [group("fetched-with-members", &some)], "RequireStable": true});
        s.call("in a rebalance", ApiKey::OffsetFetch, version, body);
    }
    s
}
