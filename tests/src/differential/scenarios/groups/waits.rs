//! Members that are late: sessions end, rebalances go on without them. These wait for real time, so timeouts
//! are short, and only the end of each wait is compared.

use milena_protocol::ApiKey;
use serde_json::json;

use super::{called, join, joined, leave, member, script, shown, stable, sync, with};
use crate::script::Script;

pub fn all() -> Vec<Script> {
    vec![sessions(), late_syncs(), late_joins(), leaves_while_waiting()]
}

fn sessions() -> Script {
    let mut s = script("groups/session-ends");
    let group = "session-ends";
    stable(&mut s, "a", &with(join(group, ""), &[("SessionTimeoutMs", json!(1000))]));
    shown(&mut s, group, "Empty");
    s.each("beats", ApiKey::Heartbeat, &member(group, "$a", 1));
    s.newest("joins", ApiKey::JoinGroup, join(group, "$a"));
    s
}

fn late_syncs() -> Script {
    let mut s = script("groups/sync-never-comes");
    let group = "sync-never-comes";
    joined(&mut s, "a", &with(join(group, ""), &[("RebalanceTimeoutMs", json!(500))]));
    shown(&mut s, group, "Empty");
    s.newest("syncs", ApiKey::SyncGroup, sync(group, "$a", 1, &["$a"]));
    s
}

/// The group goes on without the member that does not join again.
fn late_joins() -> Script {
    let mut s = script("groups/join-never-comes");
    let group = "join-never-comes";
    let quick = |id: &str| with(join(group, id), &[("RebalanceTimeoutMs", json!(500))]);
    stable(&mut s, "a", &quick(""));
    s.on("b").newest("asks for an id", ApiKey::JoinGroup, quick("")).learn("b", "/MemberId");
    s.newest("joins without the other", ApiKey::JoinGroup, quick("$b"));
    s.newest("syncs", ApiKey::SyncGroup, sync(group, "$b", 2, &["$b"]));
    shown(&mut s, group, "Stable");
    s.on("a").newest("beats", ApiKey::Heartbeat, member(group, "$a", 1));
    s.newest("joins", ApiKey::JoinGroup, quick("$a"));
    s
}

/// Others leave while a join and a sync wait.
fn leaves_while_waiting() -> Script {
    let mut s = script("groups/leaves-while-waiting");
    let group = "leaves-while-waiting";
    stable(&mut s, "a", &join(group, ""));
    s.on("b").newest("asks for an id", ApiKey::JoinGroup, join(group, "")).learn("b", "/MemberId");
    s.send("waits", ApiKey::JoinGroup, 9, join(group, "$b"));
    s.on("a");
    called(&mut s, group, "$a", 1);
    s.newest("leaves", ApiKey::LeaveGroup, leave(group, "$a"));
    s.on("b").receive("joined alone, and leads");
    s.newest("syncs", ApiKey::SyncGroup, sync(group, "$b", 2, &["$b"]));
    s.on("c").newest("asks for an id", ApiKey::JoinGroup, join(group, "")).learn("c", "/MemberId");
    s.send("waits", ApiKey::JoinGroup, 9, join(group, "$c"));
    s.on("b");
    called(&mut s, group, "$b", 2);
    s.newest("joins", ApiKey::JoinGroup, join(group, "$b"));
    s.on("c").receive("joined");
    s.send("waits for its part", ApiKey::SyncGroup, 5, sync(group, "$c", 3, &[]));
    s.on("b").newest("the leader leaves", ApiKey::LeaveGroup, leave(group, "$b"));
    s.on("c").receive("its part does not come");
    s.newest("joins again", ApiKey::JoinGroup, join(group, "$c"));
    s.newest("syncs", ApiKey::SyncGroup, sync(group, "$c", 4, &["$c"]));
    shown(&mut s, group, "Stable");
    s.newest("leaves", ApiKey::LeaveGroup, leave(group, "$c"));
    shown(&mut s, group, "Empty");
    s
}
