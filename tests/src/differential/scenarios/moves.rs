//! Elections, reassignments and voters, as far as one node has any.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use super::topic;
use crate::script::Script;

pub fn all() -> Vec<Script> {
    vec![elections(), reassignments(), voters()]
}

fn elections() -> Script {
    let mut s = Script::new("moves/elections");
    topic(&mut s, "elected", 2, &[]);
    let asked = |name: &str, partitions: &[i32]| json!({"Topic": name, "Partitions": partitions});
    for (name, topics) in [
        ("a partition", json!([asked("elected", &[0])])),
        ("two partitions", json!([asked("elected", &[0, 1])])),
        ("no partition", json!([asked("elected", &[])])),
        ("no such partition", json!([asked("elected", &[7])])),
        ("no such topic", json!([asked("nowhere", &[0])])),
        ("nothing", json!([])),
    ] {
        for kind in [0, 1] {
            for version in 1..=2 {
                let body = json!({"ElectionType": kind, "TopicPartitions": topics, "TimeoutMs": 30_000});
                s.call(&format!("{name}, type {kind}"), ApiKey::ElectLeaders, version, body);
            }
        }
        let body = json!({"TopicPartitions": topics, "TimeoutMs": 30_000});
        s.call(name, ApiKey::ElectLeaders, 0, body);
    }
    s
}

fn reassignments() -> Script {
    let mut s = Script::new("moves/reassignments");
    topic(&mut s, "moved", 2, &[]);
    let asked = |name: &str, index: i32, replicas: Value| json!([{"Name": name, "Partitions": [{"PartitionIndex": index, "Replicas": replicas}]}]);
    for (name, topics) in [
        ("to where it is", asked("moved", 0, json!([1]))),
        ("to nobody", asked("moved", 0, json!([]))),
        ("to an unknown broker", asked("moved", 0, json!([7]))),
        ("to one broker twice", asked("moved", 0, json!([1, 1]))),
        ("to a negative broker", asked("moved", 0, json!([-1]))),
        ("cancelled", asked("moved", 0, Value::Null)),
        ("no such partition", asked("moved", 7, json!([1]))),
        ("no such topic", asked("nowhere", 0, json!([1]))),
        ("nothing", json!([])),
    ] {
        s.each(name, ApiKey::AlterPartitionReassignments, &json!({"Topics": topics, "TimeoutMs": 30_000}));
    }
    for (name, topics) in [
        ("all", Value::Null),
        ("one", json!([{"Name": "moved", "PartitionIndexes": [0]}])),
        ("no such", json!([{"Name": "nowhere", "PartitionIndexes": [0]}])),
    ] {
        s.each(name, ApiKey::ListPartitionReassignments, &json!({"Topics": topics, "TimeoutMs": 30_000}));
    }
    s
}

/// Of another cluster: nothing changes, whatever else is right.
fn voters() -> Script {
    let mut s = Script::new("moves/voters");
    let id = "AAAAAAAAAAAAAAAAAAAABw";
    let listeners = json!([{"Name": "CONTROLLER", "Host": "localhost", "Port": 1}]);
    s.each(
        "added to another cluster",
        ApiKey::AddRaftVoter,
        &json!({"ClusterId": "nope", "TimeoutMs": 1000, "VoterId": 9, "VoterDirectoryId": id, "Listeners": listeners}),
    );
    s.each(
        "removed from another cluster",
        ApiKey::RemoveRaftVoter,
        &json!({"ClusterId": "nope", "VoterId": 9, "VoterDirectoryId": id}),
    );
    s
}
