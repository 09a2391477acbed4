//! Groups of the classic protocol and their offsets. Each version works on groups of its own.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use crate::script::{Script, versions};

mod admin;
mod commits;
mod coordinator;
mod fetches;
mod life;
mod refused;
mod states;
mod statics;
mod waits;

pub fn all() -> Vec<Script> {
    let mut out = Vec::new();
    out.extend(coordinator::all());
    // It lists every group, so nobody may have made one before.
    out.extend(admin::all());
    out.extend(life::all());
    out.extend(states::all());
    out.extend(refused::all());
    out.extend(statics::all());
    out.extend(waits::all());
    out.extend(commits::all());
    out.extend(fetches::all());
    out
}

/// A scenario that starts when each partition of `__consumer_offsets` has a coordinator that serves.
fn script(name: &str) -> Script {
    let mut s = Script::new(name);
    serving(&mut s);
    s
}

fn serving(s: &mut Script) {
    let found = json!({"CoordinatorKeys": ["a"]});
    s.until("coordinator", ApiKey::FindCoordinator, found, "/Coordinators/0/ErrorCode", json!(0));
    // Of three partitions, these ids have one each. Version 6 and later call a group that is absent an error.
    for id in ["a", "b", "c"] {
        let body = json!({"Groups": [id]});
        s.until("it serves", ApiKey::DescribeGroups, body, "/Groups/0/ErrorCode", json!(69));
    }
}

/// The newest version of `api` that is not above `version`.
fn up_to(api: ApiKey, version: i16) -> i16 {
    version.min(*versions(api).end())
}

/// A consumer's subscription in version 0 of its encoding.
fn subscription(topics: &[&str]) -> Value {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    json!({"hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()})
}

/// A join with long timeouts: nobody is removed because the machine was slow.
fn join(group: &str, member: &str) -> Value {
    json!({
        "GroupId": group, "MemberId": member, "SessionTimeoutMs": 60_000, "RebalanceTimeoutMs": 60_000,
        "ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": subscription(&[])}],
    })
}

/// A heartbeat, or with more fields a sync.
fn member(group: &str, member: &str, generation: i32) -> Value {
    json!({"GroupId": group, "MemberId": member, "GenerationId": generation})
}

fn sync(group: &str, id: &str, generation: i32, assigned: &[&str]) -> Value {
    let rows = assigned
        .iter()
        .map(|id| json!({"MemberId": id, "Assignment": format!("part of {}", id.trim_start_matches('$'))}));
    let mut body = member(group, id, generation);
    body["Assignments"] = rows.collect();
    (body["ProtocolType"], body["ProtocolName"]) = (json!("consumer"), json!("range"));
    body
}

/// A leave of one member, which older versions name otherwise.
fn leave(group: &str, id: &str) -> Value {
    json!({"GroupId": group, "MemberId": id, "Members": [{"MemberId": id}]})
}

fn with(mut body: Value, changes: &[(&str, Value)]) -> Value {
    for (field, value) in changes {
        body[*field] = value.clone();
    }
    body
}

/// Waits until the group is shown in a state: Apache Kafka shows a new one a moment after the answer.
fn shown(s: &mut Script, group: &str, state: &str) {
    let body = json!({"Groups": [group], "IncludeAuthorizedOperations": true});
    s.until(&format!("shown {state}"), ApiKey::DescribeGroups, body, "/Groups/0/GroupState", json!(state));
}

/// Waits until a member hears that the group rebalances.
fn called(s: &mut Script, group: &str, id: &str, generation: i32) {
    s.until("called", ApiKey::Heartbeat, member(group, id, generation), "/ErrorCode", json!(27));
}

/// A member alone in generation 1, whose id is `$name`; the group waits for its sync.
fn joined(s: &mut Script, name: &str, body: &Value) {
    s.on(name).newest("asks for an id", ApiKey::JoinGroup, body.clone()).learn(name, "/MemberId");
    let body = with(body.clone(), &[("MemberId", json!(format!("${name}")))]);
    s.newest("joins", ApiKey::JoinGroup, body);
}

fn stable(s: &mut Script, name: &str, body: &Value) {
    joined(s, name, body);
    let (id, group) = (format!("${name}"), body["GroupId"].as_str().expect("a group").to_owned());
    let kind = [
        ("ProtocolType", body["ProtocolType"].clone()),
        ("ProtocolName", body["Protocols"][0]["Name"].clone()),
    ];
    s.newest("syncs", ApiKey::SyncGroup, with(sync(&group, &id, 1, &[&id]), &kind));
}

/// One partition of `topic`, whose id is `$id`, in a commit of the group's `id`.
fn commit(group: &str, id: &str, generation: i32, topic: &str) -> Value {
    json!({
        "GroupId": group, "MemberId": id, "GenerationIdOrMemberEpoch": generation,
        "Topics": [{"Name": topic, "TopicId": "$id", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 7}]}],
    })
}
