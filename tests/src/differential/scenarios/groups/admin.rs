//! Groups as an operator sees them: described, listed, deleted.

use milena_protocol::ApiKey;
use serde_json::{Value, json};

use super::super::topic;
use super::{commit, join, leave, script, shown, stable, subscription, with};
use crate::script::{Script, versions};

pub fn all() -> Vec<Script> {
    vec![lists(), described(), deleted(), offsets_deleted()]
}

fn lists() -> Script {
    let mut s = script("groups/listed");
    topic(&mut s, "groups-listed", 1, &[]);
    s.each("nothing there", ApiKey::ListGroups, &json!({}));
    stable(&mut s, "a", &join("listed-stable", ""));
    stable(&mut s, "b", &with(join("listed-connect", ""), &[("ProtocolType", json!("connect"))]));
    s.newest("simple", ApiKey::OffsetCommit, commit("listed-simple", "", -1, "groups-listed"));
    s.on("c").newest("pending", ApiKey::JoinGroup, join("listed-pending", "")).learn("c", "/MemberId");
    stable(&mut s, "d", &join("listed-left", ""));
    s.newest("leaves", ApiKey::LeaveGroup, leave("listed-left", "$d"));
    for (group, state) in [
        ("listed-stable", "Stable"),
        ("listed-connect", "Stable"),
        ("listed-simple", "Empty"),
        ("listed-pending", "Empty"),
        ("listed-left", "Empty"),
    ] {
        shown(&mut s, group, state);
    }
    let none: [&str; 0] = [];
    for states in
        [&none[..], &["Stable"], &["stable", "EMPTY"], &["Dead"], &["Nonsense"], &[""], &["Assigning"]]
    {
        for kinds in [
            &none[..],
            &["classic"],
            &["Classic", "consumer"],
            &["consumer"],
            &["share"],
            &["nonsense"],
            &[""],
        ] {
            let step = format!("{states:?} of {kinds:?}");
            s.each(&step, ApiKey::ListGroups, &json!({"StatesFilter": states, "TypesFilter": kinds}));
        }
    }
    s
}

fn described() -> Script {
    let mut s = script("groups/described");
    topic(&mut s, "groups-described", 1, &[]);
    let instance = json!("instance");
    stable(&mut s, "a", &with(join("described", ""), &[("GroupInstanceId", instance)]));
    s.newest("simple", ApiKey::OffsetCommit, commit("described-simple", "", -1, "groups-described"));
    shown(&mut s, "described", "Stable");
    shown(&mut s, "described-simple", "Empty");
    for (step, groups) in [
        ("nothing", json!([])),
        ("one", json!(["described"])),
        ("unknown", json!(["unheard-of"])),
        ("no name", json!([""])),
        ("simple", json!(["described-simple"])),
        ("twice", json!(["described", "described"])),
        ("some", json!(["described-simple", "", "described", "unheard-of"])),
    ] {
        for operations in [false, true] {
            s.each(
                step,
                ApiKey::DescribeGroups,
                &json!({"Groups": groups, "IncludeAuthorizedOperations": operations}),
            );
        }
    }
    s
}

fn deleted() -> Script {
    let mut s = script("groups/deleted");
    topic(&mut s, "groups-deleted", 1, &[]);
    for version in versions(ApiKey::DeleteGroups) {
        let group = format!("deleted-{version}");
        let delete = |s: &mut Script, step: &str, groups: Value| {
            s.call(step, ApiKey::DeleteGroups, version, json!({"GroupsNames": groups}));
        };
        delete(&mut s, "nothing", json!([]));
        delete(&mut s, "unknown", json!(["unheard-of"]));
        delete(&mut s, "no name", json!([""]));
        stable(&mut s, "a", &join(&group, ""));
        s.newest("commits", ApiKey::OffsetCommit, commit(&group, "$a", 1, "groups-deleted"));
        delete(&mut s, "with a member", json!([group]));
        s.newest("leaves", ApiKey::LeaveGroup, leave(&group, "$a"));
        delete(&mut s, "some", json!([group, "unheard-of", "", "unheard-of"]));
        delete(&mut s, "again", json!([group]));
        let all = json!({"Groups": [{"GroupId": group, "Topics": null}]});
        s.newest("offsets after it", ApiKey::OffsetFetch, all);
        shown(&mut s, &group, "Dead");
        s.newest("simple", ApiKey::OffsetCommit, commit(&group, "", -1, "groups-deleted"));
        delete(&mut s, "twice at once", json!([group, group]));
        s.newest("asks for an id", ApiKey::JoinGroup, join(&group, "")).learn("p", "/MemberId");
        delete(&mut s, "with an id that was only asked for", json!([group]));
        s.newest("joins after it", ApiKey::JoinGroup, join(&group, "$p"));
    }
    s
}

fn offsets_deleted() -> Script {
    let mut s = script("groups/offsets-deleted");
    topic(&mut s, "groups-read", 2, &[]);
    topic(&mut s, "groups-unread", 2, &[]);
    let both = |group: &str, id: &str, generation: i32| {
        let partitions =
            json!([{"PartitionIndex": 0, "CommittedOffset": 1}, {"PartitionIndex": 1, "CommittedOffset": 2}]);
        let topics = json!([{"Name": "groups-read", "Partitions": partitions}, {"Name": "groups-unread", "Partitions": partitions}]);
        json!({"GroupId": group, "MemberId": id, "GenerationIdOrMemberEpoch": generation, "Topics": topics})
    };
    let protocols = |metadata: Value| ("Protocols", json!([{"Name": "range", "Metadata": metadata}]));
    for (name, group, body) in [
        (
            "a",
            "offsets-subscribed",
            with(join("offsets-subscribed", ""), &[protocols(subscription(&["groups-read"]))]),
        ),
        ("b", "offsets-nothing", join("offsets-nothing", "")),
        ("c", "offsets-connect", with(join("offsets-connect", ""), &[("ProtocolType", json!("connect"))])),
        ("d", "offsets-garbage", with(join("offsets-garbage", ""), &[protocols(json!("x"))])),
    ] {
        stable(&mut s, name, &body);
        s.call("commits", ApiKey::OffsetCommit, 9, both(group, &format!("${name}"), 1));
    }
    s.call("commits", ApiKey::OffsetCommit, 9, both("offsets-simple", "", -1));
    stable(&mut s, "e", &with(join("offsets-left", ""), &[protocols(subscription(&["groups-read"]))]));
    s.call("commits", ApiKey::OffsetCommit, 9, both("offsets-left", "$e", 1));
    s.newest("leaves", ApiKey::LeaveGroup, leave("offsets-left", "$e"));
    let groups = ["subscribed", "nothing", "connect", "garbage", "simple", "left"]
        .map(|name| format!("offsets-{name}"));
    for group in groups.iter().map(String::as_str).chain(["", "unheard-of"]) {
        for (step, topics) in [
            ("nothing", json!([])),
            ("no partition", json!([["groups-read", []]])),
            ("read", json!([["groups-read", [0]]])),
            ("unread", json!([["groups-unread", [0]]])),
            ("unread again", json!([["groups-unread", [0]]])),
            ("beyond", json!([["groups-unread", [7, -1]]])),
            ("unknown", json!([["unheard-of", [0]], ["", [0]]])),
            ("partition twice", json!([["groups-unread", [1, 1]]])),
            ("topic twice", json!([["groups-unread", [1]], ["groups-unread", [0]]])),
            ("some", json!([["groups-read", [0, 1]], ["unheard-of", [0]], ["groups-unread", [1, 9]]])),
        ] {
            let row = |row: &Value| {
                let partitions = row[1].as_array().into_iter().flatten();
                let partitions: Vec<Value> =
                    partitions.map(|index| json!({"PartitionIndex": index})).collect();
                json!({"Name": row[0], "Partitions": partitions})
            };
            let topics: Vec<Value> = topics.as_array().into_iter().flatten().map(row).collect();
            s.newest(
                &format!("{step} of {group:?}"),
                ApiKey::OffsetDelete,
                json!({"GroupId": group, "Topics": topics}),
            );
        }
        s.call(
            &format!("left in {group:?}"),
            ApiKey::OffsetFetch,
            9,
            json!({"Groups": [{"GroupId": group, "Topics": null}]}),
        );
    }
    s
}
