//! Offsets: committed by members and by nobody, read back one by one and all at once.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use super::super::topic;
use super::{commit, join, script, stable};
use crate::script::{Script, versions};

pub fn all() -> Vec<Script> {
    vec![simple(), identities(), deleted_topic()]
}

const TOPIC: &str = "groups-committed";
const UNKNOWN_ID: &str = "ASNFZ4mrze8BI0VniavN7w";

/// A commit of nobody with these topics: name, id, and partitions with their offsets.
fn body(group: &str, topics: &[(&str, &str, Value)]) -> Value {
    let row = |(name, id, partitions): &(&str, &str, Value)| json!({"Name": name, "TopicId": id, "Partitions": partitions});
    let rows: Vec<Value> = topics.iter().map(row).collect();
    json!({"GroupId": group, "Topics": rows})
}

fn offset(partition: i32, offset: i64) -> Value {
    json!({"PartitionIndex": partition, "CommittedOffset": offset})
}

fn simple() -> Script {
    let mut s = script("groups/commits");
    topic(&mut s, TOPIC, 3, &[]);
    let known = |partitions: Value| vec![(TOPIC, "$id", partitions)];
    let described = |field: &str, value: Value| {
        let mut row = offset(0, 5);
        row[field] = value;
        known(json!([row]))
    };
    let mut cases = vec![
        ("nothing", vec![]),
        ("no partitions", known(json!([]))),
        ("partitions beyond", known(json!([offset(9, 1), offset(0, 1), offset(-1, 1)]))),
        ("unknown topic", vec![("unheard-of", UNKNOWN_ID, json!([offset(0, 1), offset(1, 1)]))]),
        ("no topic", vec![("", "", json!([offset(0, 1)]))]),
        ("topic twice", [known(json!([offset(0, 2)])), known(json!([offset(1, 2)]))].concat()),
        ("partition twice", known(json!([offset(0, 3), offset(0, 4)]))),
        (
            "known and not",
            [vec![("unheard-of", UNKNOWN_ID, json!([offset(0, 1)]))], known(json!([offset(2, 9)]))].concat(),
        ),
        ("internal topic", vec![("__consumer_offsets", UNKNOWN_ID, json!([offset(0, 1)]))]),
        ("name with another id", vec![(TOPIC, UNKNOWN_ID, json!([offset(0, 1)]))]),
        ("metadata null", described("CommittedMetadata", json!(null))),
        ("metadata", described("CommittedMetadata", json!("note"))),
        ("longest metadata", described("CommittedMetadata", json!("m".repeat(4096)))),
        ("metadata too long", described("CommittedMetadata", json!("m".repeat(4097)))),
        ("wide letters", described("CommittedMetadata", json!("ż".repeat(4096)))),
    ];
    for epoch in [0, 5, -2, i32::MAX] {
        cases.push(("epoch", described("CommittedLeaderEpoch", json!(epoch))));
    }
    for value in [0, -1, -2, i64::MAX, i64::MIN] {
        cases.push(("offset", described("CommittedOffset", json!(value))));
    }
    for version in versions(ApiKey::OffsetCommit) {
        let group = format!("commits-{version}");
        for (step, topics) in &cases {
            s.call(step, ApiKey::OffsetCommit, version, body(&group, topics));
            s.call(
                &format!("{step}, read"),
                ApiKey::OffsetFetch,
                9,
                json!({"Groups": [{"GroupId": group, "Topics": null}]}),
            );
        }
        for retention in [1000, 0, -5] {
            let mut body = body(&group, &known(json!([offset(1, 6)])));
            body["RetentionTimeMs"] = json!(retention);
            s.call(&format!("retention {retention}"), ApiKey::OffsetCommit, version, body);
        }
    }
    s
}

/// Who commits.
fn identities() -> Script {
    let mut s = script("groups/commits-of");
    topic(&mut s, TOPIC, 3, &[]);
    stable(&mut s, "a", &join("commits-of", ""));
    for group in ["", "commits-of", "commits-new", " "] {
        for (id, generation) in [
            ("", -1),
            ("", 0),
            ("", 5),
            ("", -2),
            ("x", -1),
            ("x", 0),
            ("x", 5),
            ("$a", -1),
            ("$a", 1),
            ("$a", 2),
        ] {
            // What creates a group would make it another for the next version.
            if group == "commits-new" && id.is_empty() && generation < 0 {
                continue;
            }
            let step = format!("{group:?}, {:?}, {generation}", id.trim_start_matches('$'));
            s.each(&step, ApiKey::OffsetCommit, &commit(group, id, generation, TOPIC));
            let mut named = commit(group, id, generation, TOPIC);
            named["GroupInstanceId"] = json!("i");
            for version in 7..=10 {
                s.call(&format!("{step}, an instance"), ApiKey::OffsetCommit, version, named.clone());
            }
        }
    }
    s
}

fn deleted_topic() -> Script {
    let mut s = script("groups/commits-deleted");
    topic(&mut s, "groups-gone", 1, &[]);
    s.newest("commits", ApiKey::OffsetCommit, commit("commits-gone", "", -1, "groups-gone"));
    s.newest(
        "deleted",
        ApiKey::DeleteTopics,
        json!({"Topics": [{"Name": "groups-gone"}], "TimeoutMs": 5000}),
    );
    s.each("commits after it", ApiKey::OffsetCommit, &commit("commits-gone", "", -1, "groups-gone"));
    let all = json!({"Groups": [{"GroupId": "commits-gone", "Topics": null}]});
    s.until("its offsets are gone", ApiKey::OffsetFetch, all, "/Groups/0/Topics", json!([]));
    s
}
