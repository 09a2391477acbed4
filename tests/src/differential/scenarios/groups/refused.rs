//! Joins, syncs and leaves that are wrong in themselves.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use super::{join, joined, leave, member, script, shown, stable, subscription, sync, with};
use crate::script::Script;

pub fn all() -> Vec<Script> {
    vec![names(), timeouts(), protocols(), repeated_protocol(), instances(), leaves(), parts()]
}

fn names() -> Script {
    let mut s = script("groups/names");
    let long = "g".repeat(300);
    for group in ["", " ", "a b", "ż", "a/b", ".", "\u{0}", &long] {
        let step = if group.len() > 100 { "300 letters".to_owned() } else { format!("{group:?}") };
        for id in ["", "stranger"] {
            let step = format!("{step}, {id:?}");
            // Without the round for an id, the first version's member would make the others wait.
            let first = if group.is_empty() || !id.is_empty() { 0 } else { 4 };
            for version in first..=9 {
                s.call(&step, ApiKey::JoinGroup, version, join(group, id));
            }
            s.each(&step, ApiKey::SyncGroup, &sync(group, id, 1, &[]));
            s.each(&step, ApiKey::Heartbeat, &member(group, id, 1));
            s.each(&step, ApiKey::LeaveGroup, &leave(group, id));
        }
    }
    s
}

fn timeouts() -> Script {
    let mut s = script("groups/timeouts");
    for session in [0, -1, 99, 1_800_001, i32::MAX, i32::MIN] {
        let body = with(join("timeouts", ""), &[("SessionTimeoutMs", json!(session))]);
        s.each(&format!("session {session}"), ApiKey::JoinGroup, &body);
        let body = with(body, &[("MemberId", json!("stranger"))]);
        s.newest(&format!("session {session} of a stranger"), ApiKey::JoinGroup, body);
    }
    // A sync may be too late for the first two.
    for (index, rebalance) in [0, -1, i32::MAX].into_iter().enumerate() {
        let group = format!("timeouts-{index}");
        joined(&mut s, "a", &with(join(&group, ""), &[("RebalanceTimeoutMs", json!(rebalance))]));
    }
    s.newest("syncs", ApiKey::SyncGroup, sync("timeouts-2", "$a", 1, &["$a"]));
    shown(&mut s, "timeouts-2", "Stable");
    s
}

fn protocols() -> Script {
    let mut s = script("groups/protocols");
    let row = |name: &str| json!({"Name": name, "Metadata": subscription(&[])});
    let many: Vec<Value> = (0..100).map(|index| row(&format!("p{index}"))).collect();
    stable(&mut s, "a", &join("agreed", ""));
    for (step, kind, rows) in [
        ("no type", "", json!([row("range")])),
        ("no protocols", "consumer", json!([])),
        ("neither", "", json!([])),
        ("another type", "connect", json!([row("range")])),
        ("another protocol", "consumer", json!([row("sticky")])),
        ("protocol without a name", "consumer", json!([row("")])),
    ] {
        for group in ["agreed", "new"] {
            for id in ["", "stranger"] {
                // What a new group takes in would make it another for the next version.
                if group == "new" && !matches!(step, "no type" | "no protocols" | "neither") {
                    continue;
                }
                let body =
                    with(join(group, id), &[("ProtocolType", json!(kind)), ("Protocols", rows.clone())]);
                s.each(&format!("{step}, {group}, {id:?}"), ApiKey::JoinGroup, &body);
            }
        }
        let body = with(join("agreed", "$a"), &[("ProtocolType", json!(kind)), ("Protocols", rows)]);
        if step != "another protocol" && step != "protocol without a name" {
            s.each(&format!("{step}, the member"), ApiKey::JoinGroup, &body);
        }
    }
    for (group, rows) in [
        ("protocol-unnamed", json!([row("")])),
        ("protocol-null", json!([{"Name": "range", "Metadata": null}])),
        ("protocol-many", json!(many)),
    ] {
        let body = with(join(group, ""), &[("Protocols", rows)]);
        s.on(group);
        s.newest(group, ApiKey::JoinGroup, body.clone()).learn("p", "/MemberId");
        s.newest(group, ApiKey::JoinGroup, with(body, &[("MemberId", json!("$p"))]));
        s.newest(group, ApiKey::SyncGroup, sync(group, "$p", 1, &["$p"]));
        s.newest(group, ApiKey::DescribeGroups, json!({"Groups": [group]}));
    }
    // A member may bring a protocol that it alone knows; the group goes over to it.
    s.on("a");
    let body = with(join("agreed", "$a"), &[("Protocols", json!([row("sticky"), row("range")]))]);
    s.newest("other protocols", ApiKey::JoinGroup, body.clone());
    s.newest("syncs by the old one", ApiKey::SyncGroup, sync("agreed", "$a", 2, &["$a"]));
    s.newest(
        "syncs by the new one",
        ApiKey::SyncGroup,
        with(sync("agreed", "$a", 2, &["$a"]), &[("ProtocolName", json!("sticky"))]),
    );
    s
}

/// Apache Kafka never answers it, so one version must do.
fn repeated_protocol() -> Script {
    let mut s = script("groups/repeated-protocol");
    let row = json!({"Name": "range", "Metadata": subscription(&[])});
    let body = with(join("repeated-protocol", ""), &[("Protocols", json!([row, row]))]);
    s.newest("asks for an id", ApiKey::JoinGroup, body.clone()).learn("p", "/MemberId");
    s.newest("joins", ApiKey::JoinGroup, with(body, &[("MemberId", json!("$p"))]));
    s
}

fn instances() -> Script {
    let mut s = script("groups/instances");
    let long = "i".repeat(250);
    for (index, instance) in ["", ".", "..", "a b", "a/b", "ż", "i-1", &long].into_iter().enumerate() {
        let step = if instance.len() > 100 { "250 letters".to_owned() } else { format!("{instance:?}") };
        for version in 5..=9 {
            let group = format!("instances-{index}-{version}");
            let body = with(join(&group, ""), &[("GroupInstanceId", json!(instance))]);
            s.call(&step, ApiKey::JoinGroup, version, body).learn("i", "/MemberId");
            let body = with(member(&group, "$i", 1), &[("GroupInstanceId", json!(instance))]);
            s.newest(&step, ApiKey::Heartbeat, body);
            let body = with(join(&group, "stranger"), &[("GroupInstanceId", json!(instance))]);
            s.call(&format!("{step}, a stranger"), ApiKey::JoinGroup, version, body);
        }
    }
    for version in 5..=9 {
        let body = with(join("instances-new", "stranger"), &[("GroupInstanceId", json!("i"))]);
        s.call("a stranger in no group", ApiKey::JoinGroup, version, body);
    }
    s
}

fn leaves() -> Script {
    let mut s = script("groups/leaves");
    for version in 3..=5 {
        let group = format!("leaves-{version}");
        stable(&mut s, "a", &join(&group, ""));
        let identity =
            |id: &str, instance: Value| json!({"MemberId": id, "GroupInstanceId": instance, "Reason": "why"});
        let null = Value::Null;
        for (step, rows) in [
            ("nobody", json!([])),
            ("strangers", json!([identity("stranger", null.clone()), identity("", null.clone())])),
            (
                "instances",
                json!([identity("", json!("i")), identity("$a", json!("i")), identity("", json!(""))]),
            ),
            (
                "all of them",
                json!([
                    identity("stranger", null.clone()),
                    identity("$a", null.clone()),
                    identity("$a", null.clone())
                ]),
            ),
            ("again", json!([identity("$a", null.clone())])),
        ] {
            s.call(step, ApiKey::LeaveGroup, version, json!({"GroupId": group, "Members": rows}));
        }
        shown(&mut s, &group, "Empty");
    }
    s
}

/// What a leader may hand out, and to whom.
fn parts() -> Script {
    let mut s = script("groups/parts");
    for (name, rows) in [
        ("to-strangers", json!([{"MemberId": "stranger", "Assignment": "s"}])),
        ("twice", json!([{"MemberId": "$m", "Assignment": "1"}, {"MemberId": "$m", "Assignment": "2"}])),
        ("empty", json!([{"MemberId": "$m", "Assignment": ""}])),
        ("large", json!([{"MemberId": "$m", "Assignment": {"zeros": 100_000}}])),
    ] {
        let group = format!("parts-{name}");
        joined(&mut s, "m", &join(&group, ""));
        let body = with(sync(&group, "$m", 1, &[]), &[("Assignments", rows)]);
        s.newest(name, ApiKey::SyncGroup, body);
        s.newest(name, ApiKey::DescribeGroups, json!({"Groups": [group]}));
    }
    s
}
