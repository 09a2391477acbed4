//! What each state answers to members and strangers, of this generation, the last and the next, in every version.

use milena_protocol::ApiKey;
use serde_json::json;

use super::super::topic;
use super::{called, commit, join, joined, leave, member, script, shown, stable, sync};
use crate::script::Script;

pub fn all() -> Vec<Script> {
    vec![absent(), simple(), empty(), pending(), completing(), settled(), preparing()]
}

const TOPIC: &str = "groups-states";

fn begin(state: &str) -> Script {
    let mut s = script(&format!("groups/state-{state}"));
    topic(&mut s, TOPIC, 1, &[]);
    s
}

/// Heartbeats, syncs and commits; a sync of a member that the state would wait with is left out.
fn asked(s: &mut Script, group: &str, id: &str, generations: &[i32], syncs: bool) {
    let who = id.trim_start_matches('$');
    for &generation in generations {
        let step = format!("{who:?} of generation {generation}");
        s.each(&step, ApiKey::Heartbeat, &member(group, id, generation));
        s.each(&step, ApiKey::OffsetCommit, &commit(group, id, generation, TOPIC));
        if syncs {
            s.each(&step, ApiKey::SyncGroup, &sync(group, id, generation, &[]));
        }
    }
}

fn strangers(s: &mut Script, group: &str) {
    asked(s, group, "stranger", &[1, 0, -1], true);
    asked(s, group, "", &[1, 0, -2], true);
    s.each("a stranger leaves", ApiKey::LeaveGroup, &leave(group, "stranger"));
    s.each("nobody leaves", ApiKey::LeaveGroup, &leave(group, ""));
    s.each("a stranger joins", ApiKey::JoinGroup, &join(group, "stranger"));
    for version in 3..=5 {
        let members = json!([{"MemberId": "", "GroupInstanceId": "unheard-of"}, {"MemberId": "x", "GroupInstanceId": "unheard-of"}]);
        s.call("instances leave", ApiKey::LeaveGroup, version, json!({"GroupId": group, "Members": members}));
        s.call("none leave", ApiKey::LeaveGroup, version, json!({"GroupId": group}));
    }
    let nobody = commit(group, "", -1, TOPIC);
    s.each("nobody commits", ApiKey::OffsetCommit, &nobody);
}

fn absent() -> Script {
    let mut s = begin("absent");
    strangers(&mut s, "absent");
    s
}

fn simple() -> Script {
    let mut s = begin("simple");
    s.newest("commits", ApiKey::OffsetCommit, commit("simple", "", -1, TOPIC));
    strangers(&mut s, "simple");
    s
}

fn empty() -> Script {
    let mut s = begin("empty");
    stable(&mut s, "a", &join("empty", ""));
    s.newest("leaves", ApiKey::LeaveGroup, leave("empty", "$a"));
    shown(&mut s, "empty", "Empty");
    asked(&mut s, "empty", "$a", &[1, 0, 2, -1], true);
    strangers(&mut s, "empty");
    s
}

fn pending() -> Script {
    let mut s = begin("pending");
    s.newest("asks for an id", ApiKey::JoinGroup, join("pending", "")).learn("a", "/MemberId");
    asked(&mut s, "pending", "$a", &[1, 0, -1], true);
    s.each("no id beats", ApiKey::Heartbeat, &member("pending", "", 0));
    s.newest("an id leaves", ApiKey::LeaveGroup, leave("pending", "$a"));
    s.newest("it joins after that", ApiKey::JoinGroup, join("pending", "$a"));
    strangers(&mut s, "pending");
    s
}

fn completing() -> Script {
    let mut s = begin("completing");
    joined(&mut s, "a", &join("completing", ""));
    shown(&mut s, "completing", "CompletingRebalance");
    asked(&mut s, "completing", "$a", &[0, 2, -1], true);
    asked(&mut s, "completing", "$a", &[1], false);
    strangers(&mut s, "completing");
    shown(&mut s, "completing", "CompletingRebalance");
    s.each("joins again", ApiKey::JoinGroup, &join("completing", "$a"));
    s
}

fn settled() -> Script {
    let mut s = begin("stable");
    stable(&mut s, "a", &join("stable", ""));
    asked(&mut s, "stable", "$a", &[0, 1, 2, -1, i32::MAX, i32::MIN], true);
    strangers(&mut s, "stable");
    for (kind, name) in [
        (json!(null), json!(null)),
        (json!("consumer"), json!(null)),
        (json!(null), json!("range")),
        (json!("connect"), json!("range")),
        (json!("consumer"), json!("sticky")),
        (json!(""), json!("")),
    ] {
        let mut body = sync("stable", "$a", 1, &[]);
        (body["ProtocolType"], body["ProtocolName"]) = (kind.clone(), name.clone());
        s.each(&format!("syncs {kind} by {name}"), ApiKey::SyncGroup, &body);
    }
    s
}

fn preparing() -> Script {
    let mut s = begin("preparing");
    stable(&mut s, "a", &join("preparing", ""));
    s.on("b").newest("asks for an id", ApiKey::JoinGroup, join("preparing", "")).learn("b", "/MemberId");
    s.send("waits", ApiKey::JoinGroup, 9, join("preparing", "$b"));
    s.on("a");
    called(&mut s, "preparing", "$a", 1);
    shown(&mut s, "preparing", "PreparingRebalance");
    asked(&mut s, "preparing", "$a", &[0, 1, 2, -1], true);
    asked(&mut s, "preparing", "$b", &[0, 1, 2, -1], true);
    strangers(&mut s, "preparing");
    s.newest("joins", ApiKey::JoinGroup, join("preparing", "$a"));
    s.on("b").receive("joined");
    s
}
