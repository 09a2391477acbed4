//! Static members: they return, and fence who they were.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use super::super::topic;
use super::{called, commit, join, member, script, shown, sync, up_to, with};
use crate::script::Script;

pub fn all() -> Vec<Script> {
    let mut out: Vec<Script> = (5..=9).map(returning).collect();
    out.extend([followers(), changed()]);
    out
}

fn instance(name: &str) -> (&'static str, Value) {
    ("GroupInstanceId", json!(name))
}

/// The leader returns, in one version of JoinGroup.
fn returning(version: i16) -> Script {
    let mut s = script(&format!("groups/static-{version}"));
    topic(&mut s, "groups-static", 1, &[]);
    let group = format!("static-{version}");
    let first = with(join(&group, ""), &[instance("i")]);
    s.call("joins", ApiKey::JoinGroup, version, first.clone()).learn("old", "/MemberId");
    s.newest("syncs", ApiKey::SyncGroup, with(sync(&group, "$old", 1, &["$old"]), &[instance("i")]));
    shown(&mut s, &group, "Stable");
    s.call("returns", ApiKey::JoinGroup, version, first).learn("new", "/MemberId");
    shown(&mut s, &group, "Stable");
    s.newest("syncs", ApiKey::SyncGroup, with(sync(&group, "$new", 1, &[]), &[instance("i")]));
    for (step, id, name) in [
        ("old", "$old", json!("i")),
        ("old without its instance", "$old", json!(null)),
        ("another instance", "$new", json!("j")),
        ("stranger as the instance", "stranger", json!("i")),
        ("nobody as the instance", "", json!("i")),
        ("new without its instance", "$new", json!(null)),
        ("new", "$new", json!("i")),
    ] {
        let named = [("GroupInstanceId", name.clone())];
        for version in 3..=4 {
            s.call(step, ApiKey::Heartbeat, version, with(member(&group, id, 1), &named));
        }
        for version in 3..=5 {
            s.call(step, ApiKey::SyncGroup, version, with(sync(&group, id, 1, &[]), &named));
        }
        for version in 7..=10 {
            s.call(step, ApiKey::OffsetCommit, version, with(commit(&group, id, 1, "groups-static"), &named));
        }
        s.newest(&format!("{step}, of the past"), ApiKey::Heartbeat, with(member(&group, id, 0), &named));
    }
    s.call("old joins", ApiKey::JoinGroup, version, with(join(&group, "$old"), &[instance("i")]));
    s.call("a stranger joins", ApiKey::JoinGroup, version, with(join(&group, "stranger"), &[instance("i")]));
    let rows = json!([
        {"MemberId": "$old", "GroupInstanceId": "i"},
        {"MemberId": "", "GroupInstanceId": "j"},
        {"MemberId": "stranger", "GroupInstanceId": "i"},
        {"MemberId": "", "GroupInstanceId": "i"},
        {"MemberId": "", "GroupInstanceId": "i"},
    ]);
    s.call(
        "leaves",
        ApiKey::LeaveGroup,
        up_to(ApiKey::LeaveGroup, version),
        json!({"GroupId": group, "Members": rows}),
    );
    shown(&mut s, &group, "Empty");
    s
}

/// Two static members; the follower returns, is removed by its instance, and a waiting join is fenced.
fn followers() -> Script {
    let mut s = script("groups/static-followers");
    let group = "static-followers";
    let as_one = |id: &str| with(join(group, id), &[instance("one")]);
    let as_two = |id: &str| with(join(group, id), &[instance("two")]);
    s.on("a").newest("joins", ApiKey::JoinGroup, as_one("")).learn("a", "/MemberId");
    s.newest("syncs", ApiKey::SyncGroup, sync(group, "$a", 1, &["$a"]));
    s.on("b").send("waits", ApiKey::JoinGroup, 9, as_two(""));
    s.on("a");
    called(&mut s, group, "$a", 1);
    // The same instance once more, while the first waits.
    s.on("c").send("waits as the same", ApiKey::JoinGroup, 9, as_two(""));
    s.on("b").receive("fenced").learn("b", "/MemberId");
    s.on("a").newest("joins again", ApiKey::JoinGroup, as_one("$a"));
    s.on("c").receive("joined").learn("c", "/MemberId");
    s.send("waits for its part", ApiKey::SyncGroup, 5, sync(group, "$c", 2, &[]));
    s.on("a").newest("gives the parts", ApiKey::SyncGroup, sync(group, "$a", 2, &["$a", "$c"]));
    s.on("c").receive("has its part");
    shown(&mut s, group, "Stable");
    s.on("d").newest("the follower returns", ApiKey::JoinGroup, as_two("")).learn("d", "/MemberId");
    s.newest("syncs", ApiKey::SyncGroup, sync(group, "$d", 2, &[]));
    shown(&mut s, group, "Stable");
    s.newest(
        "removed by its instance",
        ApiKey::LeaveGroup,
        json!({"GroupId": group, "Members": [{"MemberId": "", "GroupInstanceId": "two"}]}),
    );
    s.on("a");
    called(&mut s, group, "$a", 2);
    s.newest("joins alone", ApiKey::JoinGroup, as_one("$a"));
    s.newest("syncs alone", ApiKey::SyncGroup, sync(group, "$a", 3, &["$a"]));
    shown(&mut s, group, "Stable");
    s
}

/// A static member that returns otherwise: with other metadata, with other protocols, before its first sync.
fn changed() -> Script {
    let mut s = script("groups/static-changed");
    let group = "static-changed";
    let subscribed = |name: &str, metadata: &str| {
        with(join(group, ""), &[instance("i"), ("Protocols", json!([{"Name": name, "Metadata": metadata}]))])
    };
    s.newest("joins", ApiKey::JoinGroup, subscribed("range", "x")).learn("a", "/MemberId");
    s.newest("returns before it syncs", ApiKey::JoinGroup, subscribed("range", "x")).learn("b", "/MemberId");
    shown(&mut s, group, "CompletingRebalance");
    s.newest("syncs", ApiKey::SyncGroup, sync(group, "$b", 1, &["$b"]));
    s.newest("returns with other metadata", ApiKey::JoinGroup, subscribed("range", "y"))
        .learn("c", "/MemberId");
    s.newest("described", ApiKey::DescribeGroups, json!({"Groups": [group]}));
    s.newest("returns by another protocol", ApiKey::JoinGroup, subscribed("sticky", "y"))
        .learn("d", "/MemberId");
    s.newest("described", ApiKey::DescribeGroups, json!({"Groups": [group]}));
    s.newest(
        "joins as a stranger of another type",
        ApiKey::JoinGroup,
        with(subscribed("sticky", "y"), &[("ProtocolType", json!("connect"))]),
    );
    s
}
