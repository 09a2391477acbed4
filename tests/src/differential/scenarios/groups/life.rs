//! Members from their first join to their last word, alone and two of them.

use milena_protocol::ApiKey;
use serde_json::json;

use super::super::topic;
use super::{called, commit, join, leave, member, script, shown, sync, up_to, with};
use crate::script::{Script, versions};

pub fn all() -> Vec<Script> {
    versions(ApiKey::JoinGroup).map(life).collect()
}

/// Everything in one version, or in the newest where an API has fewer.
fn life(version: i16) -> Script {
    let mut s = script(&format!("groups/life-{version}"));
    topic(&mut s, "groups-life", 1, &[]);
    alone(&mut s, version);
    second(&mut s, version);
    ends(&mut s, version);
    s
}

const GROUP: &str = "life";

fn group(version: i16) -> String {
    format!("{GROUP}-{version}")
}

fn ask(s: &mut Script, step: &str, api: ApiKey, version: i16, body: serde_json::Value) {
    s.call(step, api, up_to(api, version), body);
}

fn beats(s: &mut Script, version: i16, id: &str, generation: i32) {
    ask(s, "beats", ApiKey::Heartbeat, version, member(&group(version), id, generation));
}

fn commits(s: &mut Script, version: i16, id: &str, generation: i32) {
    // Commits begin with version 2.
    ask(
        s,
        "commits",
        ApiKey::OffsetCommit,
        version.max(2),
        commit(&group(version), id, generation, "groups-life"),
    );
}

fn alone(s: &mut Script, version: i16) {
    let group = group(version);
    s.on("a").call("joins", ApiKey::JoinGroup, version, join(&group, "")).learn("a", "/MemberId");
    if version >= 4 {
        shown(s, &group, "Empty");
        beats(s, version, "$a", 0);
        commits(s, version, "$a", 0);
        ask(s, "syncs with an id only", ApiKey::SyncGroup, version, sync(&group, "$a", 0, &[]));
        s.call("joins with its id", ApiKey::JoinGroup, version, join(&group, "$a"));
    }
    shown(s, &group, "CompletingRebalance");
    beats(s, version, "$a", 1);
    commits(s, version, "$a", 1);
    s.call("joins again", ApiKey::JoinGroup, version, join(&group, "$a"));
    beats(s, version, "$a", 1);
    ask(s, "syncs the past", ApiKey::SyncGroup, version, sync(&group, "$a", 0, &["$a"]));
    ask(s, "syncs", ApiKey::SyncGroup, version, sync(&group, "$a", 1, &["$a", "stranger"]));
    shown(s, &group, "Stable");
    ask(s, "syncs again", ApiKey::SyncGroup, version, sync(&group, "$a", 1, &[]));
    beats(s, version, "$a", 1);
    commits(s, version, "$a", 1);
    s.call("the leader joins again", ApiKey::JoinGroup, version, join(&group, "$a"));
    beats(s, version, "$a", 1);
    commits(s, version, "$a", 1);
    beats(s, version, "$a", 2);
    ask(s, "syncs without parts", ApiKey::SyncGroup, version, sync(&group, "$a", 2, &[]));
    shown(s, &group, "Stable");
}

/// A second member waits until the first has joined again.
fn second(s: &mut Script, version: i16) {
    let group = group(version);
    if version >= 4 {
        s.on("b")
            .call("asks for an id", ApiKey::JoinGroup, version, join(&group, ""))
            .learn("b", "/MemberId");
    }
    let more = json!([{"Name": "sticky", "Metadata": "b"}, {"Name": "range", "Metadata": "b"}]);
    let id = if version >= 4 { "$b" } else { "" };
    s.on("b").send("waits", ApiKey::JoinGroup, version, with(join(&group, id), &[("Protocols", more)]));
    s.on("a");
    called(s, &group, "$a", 2);
    shown(s, &group, "PreparingRebalance");
    beats(s, version, "$a", 2);
    beats(s, version, "$a", 1);
    commits(s, version, "$a", 2);
    ask(s, "syncs in the rebalance", ApiKey::SyncGroup, version, sync(&group, "$a", 2, &[]));
    s.call("joins with the other", ApiKey::JoinGroup, version, join(&group, "$a"));
    s.on("b").receive("joined").learn("b", "/MemberId");
    s.send(
        "waits for its part",
        ApiKey::SyncGroup,
        up_to(ApiKey::SyncGroup, version),
        sync(&group, "$b", 3, &[]),
    );
    s.on("a");
    ask(s, "gives the parts", ApiKey::SyncGroup, version, sync(&group, "$a", 3, &["$b", "$a"]));
    s.on("b").receive("has its part");
    shown(s, &group, "Stable");
    beats(s, version, "$b", 3);
    commits(s, version, "$b", 3);
    s.on("b").call(
        "a follower joins again",
        ApiKey::JoinGroup,
        version,
        with(
            join(&group, "$b"),
            &[(
                "Protocols",
                json!([{"Name": "sticky", "Metadata": "b"}, {"Name": "range", "Metadata": "b"}]),
            )],
        ),
    );
    shown(s, &group, "Stable");
}

fn ends(s: &mut Script, version: i16) {
    let group = group(version);
    s.on("b");
    ask(s, "leaves", ApiKey::LeaveGroup, version, leave(&group, "$b"));
    ask(s, "leaves again", ApiKey::LeaveGroup, version, leave(&group, "$b"));
    beats(s, version, "$b", 3);
    s.on("a");
    called(s, &group, "$a", 3);
    s.call("joins alone", ApiKey::JoinGroup, version, join(&group, "$a"));
    ask(s, "syncs alone", ApiKey::SyncGroup, version, sync(&group, "$a", 4, &["$a"]));
    ask(s, "leaves", ApiKey::LeaveGroup, version, leave(&group, "$a"));
    shown(s, &group, "Empty");
    beats(s, version, "$a", 4);
    commits(s, version, "$a", 4);
    commits(s, version, "", -1);
    ask(s, "syncs after the end", ApiKey::SyncGroup, version, sync(&group, "$a", 4, &[]));
    s.call("joins after the end", ApiKey::JoinGroup, version, join(&group, "$a"));
    let all = json!({"Groups": [{"GroupId": group, "Topics": null}]});
    s.newest("offsets", ApiKey::OffsetFetch, all);
    s.newest("deleted", ApiKey::DeleteGroups, json!({"GroupsNames": [group]}));
    shown(s, &group, "Dead");
}
