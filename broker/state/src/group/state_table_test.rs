//! Every request in every state of a group, against the answers of Apache Kafka 4.3.1.

use std::sync::Arc;

use milena_protocol::ErrorCode::{self, *};
use milena_protocol::types::Uuid;

use super::reply::Reply;
use super::request::{Commit, CommitPartition, CommitTopic, DeleteOffsets, Token};
use super::scene_test::{GROUP, Scene, protocol};
use super::{Command, CommandReply, Config};

/// A group in a state, with a member in it where the state has one.
struct Case {
    name: &'static str,
    scene: Scene,
    member_id: Arc<str>,
    generation: i32,
}

fn cases() -> Vec<Case> {
    let case = |name, scene: Scene, member_id: Arc<str>, generation| {
        let found = scene.state();
        assert_eq!(found, if name == "absent" { "Dead" } else { name });
        Case { name, scene, member_id, generation }
    };
    let absent = Scene::quick();

    let mut empty = Scene::quick();
    let left = empty.stable();
    empty.leave(&[(&left, Option::None)]);

    let mut preparing = Scene::new(Config { initial_rebalance_delay_ms: 3000, ..Config::default() });
    preparing.join("");

    let mut completing = Scene::quick();
    let token = completing.join("");
    completing.pass(0);
    let joined = completing.joined(token).member_id.clone();

    let mut stable = Scene::quick();
    let leader = stable.stable();

    let mut dead = Scene::quick();
    let gone = dead.stable();
    let effects = dead.groups.unload(dead.now_ms);
    dead.carry_out(effects);
    vec![
        case("absent", absent, "stranger".into(), 1),
        case("Empty", empty, left, 2),
        case("PreparingRebalance", preparing, "client-1".into(), 0),
        case("CompletingRebalance", completing, joined, 1),
        case("Stable", stable, leader, 1),
        case("Dead", dead, gone, 1),
    ]
}

/// Runs one request against each state. Answers are in the order of `cases()`.
fn check(what: &str, expected: [ErrorCode; 6], ask: impl Fn(&mut Case) -> ErrorCode) {
    let found: Vec<_> = cases().into_iter().map(|mut case| (case.name, ask(&mut case))).collect();
    let expected: Vec<_> = found.iter().map(|(name, _)| *name).zip(expected).collect();
    assert_eq!(found, expected, "{what}");
}

/// A join that waits is accepted.
fn join_error(scene: &Scene, token: Token) -> ErrorCode {
    match scene.replies.get(&token) {
        Option::None => None,
        Some(Reply::Join(reply)) => reply.error,
        other => panic!("{other:?} is no answer to a join"),
    }
}

fn commit(group: &str, member_id: &str, generation: i32, knows_group_id_not_found: bool) -> Command {
    Command::Commit(Commit {
        group: group.into(),
        generation,
        member_id: member_id.into(),
        instance_id: Option::None,
        retention_time_ms: -1,
        knows_group_id_not_found,
        topics: vec![CommitTopic {
            name: "t".into(),
            topic_id: Uuid::ZERO,
            partitions: vec![CommitPartition {
                partition: 0,
                offset: 5,
                leader_epoch: -1,
                metadata: Option::None,
            }],
        }],
    })
}

fn command_error(scene: &mut Scene, command: Command) -> ErrorCode {
    match scene.decide(command) {
        CommandReply::Commit(Ok(outcomes)) | CommandReply::DeleteOffsets(Ok(outcomes)) => {
            outcomes[0].partitions[0].1
        }
        CommandReply::Commit(Err(error)) | CommandReply::DeleteOffsets(Err(error)) => error,
        CommandReply::DeleteGroups(outcomes) => outcomes[0].1,
        other => panic!("{other:?}"),
    }
}

#[test]
fn join_without_a_member_id() {
    check("join", [None, None, None, None, None, CoordinatorNotAvailable], |case| {
        let token = case.scene.join("");
        join_error(&case.scene, token)
    });
}

#[test]
fn join_that_must_know_its_member_id_first() {
    let required = MemberIdRequired;
    let expected = [required, required, required, required, required, CoordinatorNotAvailable];
    check("join", expected, |case| {
        let token = case.scene.join_with(|join| join.requires_known_member_id = true);
        join_error(&case.scene, token)
    });
}

#[test]
fn join_of_a_member() {
    check("join", [UnknownMemberId, UnknownMemberId, None, None, None, CoordinatorNotAvailable], |case| {
        let token = case.scene.join(&case.member_id.clone());
        join_error(&case.scene, token)
    });
}

#[test]
fn join_of_a_stranger() {
    let unknown = UnknownMemberId;
    check("join", [unknown, unknown, unknown, unknown, unknown, CoordinatorNotAvailable], |case| {
        let token = case.scene.join("stranger");
        join_error(&case.scene, token)
    });
}

#[test]
fn join_with_other_protocols() {
    let other = InconsistentGroupProtocol;
    check("join", [None, None, other, other, other, CoordinatorNotAvailable], |case| {
        let token = case.scene.join_with(|join| join.protocols = vec![protocol("sticky", &["t"])]);
        join_error(&case.scene, token)
    });
    check("join", [None, None, other, other, other, CoordinatorNotAvailable], |case| {
        let token = case.scene.join_with(|join| join.protocol_type = "connect".into());
        join_error(&case.scene, token)
    });
}

#[test]
fn join_without_protocols() {
    let none = InconsistentGroupProtocol;
    check("join", [none, none, none, none, none, CoordinatorNotAvailable], |case| {
        let token = case.scene.join_with(|join| join.protocols = vec![]);
        join_error(&case.scene, token)
    });
}

#[test]
fn sync_of_a_member() {
    let unknown = UnknownMemberId;
    check("sync", [unknown, unknown, RebalanceInProgress, None, None, CoordinatorNotAvailable], |case| {
        let token = case.scene.sync(&case.member_id.clone(), case.generation, &[]);
        case.scene.synced(token).error
    });
}

#[test]
fn sync_of_another_generation() {
    let other = IllegalGeneration;
    let expected = [UnknownMemberId, UnknownMemberId, other, other, other, CoordinatorNotAvailable];
    check("sync", expected, |case| {
        let token = case.scene.sync(&case.member_id.clone(), case.generation + 1, &[]);
        case.scene.synced(token).error
    });
}

#[test]
fn sync_of_a_stranger() {
    let unknown = UnknownMemberId;
    check("sync", [unknown, unknown, unknown, unknown, unknown, CoordinatorNotAvailable], |case| {
        let token = case.scene.sync("stranger", case.generation, &[]);
        case.scene.synced(token).error
    });
}

#[test]
fn heartbeat_of_a_member() {
    let unknown = UnknownMemberId;
    check(
        "heartbeat",
        [unknown, unknown, RebalanceInProgress, None, None, CoordinatorNotAvailable],
        |case| case.scene.heartbeat(&case.member_id.clone(), case.generation),
    );
}

#[test]
fn heartbeat_of_another_generation() {
    let other = IllegalGeneration;
    let expected = [UnknownMemberId, UnknownMemberId, other, other, other, CoordinatorNotAvailable];
    check("heartbeat", expected, |case| case.scene.heartbeat(&case.member_id.clone(), case.generation + 1));
}

#[test]
fn leave_of_a_member() {
    let unknown = UnknownMemberId;
    check("leave", [unknown, unknown, None, None, None, CoordinatorNotAvailable], |case| {
        let token = case.scene.leave(&[(&case.member_id.clone(), Option::None)]);
        let reply = case.scene.left(token);
        reply.members.first().map_or(reply.error, |left| left.error)
    });
}

#[test]
fn commit_of_a_member() {
    let expected =
        [GroupIdNotFound, UnknownMemberId, None, RebalanceInProgress, None, CoordinatorNotAvailable];
    check("commit", expected, |case| {
        let command = commit(GROUP, &case.member_id, case.generation, true);
        command_error(&mut case.scene, command)
    });
}

#[test]
fn commit_of_another_generation() {
    let other = IllegalGeneration;
    check("commit", [other, UnknownMemberId, other, other, other, CoordinatorNotAvailable], |case| {
        let command = commit(GROUP, &case.member_id, case.generation + 1, false);
        command_error(&mut case.scene, command)
    });
}

#[test]
fn commit_without_a_member() {
    let members = UnknownMemberId;
    check("commit", [None, None, members, members, members, CoordinatorNotAvailable], |case| {
        command_error(&mut case.scene, commit(GROUP, "", -1, true))
    });
}

#[test]
fn deletion_of_offsets() {
    let subscribed = GroupSubscribedToTopic;
    let delete = |topic: &str| {
        let topics = vec![(Arc::from(topic), vec![0])];
        Command::DeleteOffsets(DeleteOffsets { group: GROUP.into(), topics })
    };
    // Before the first generation nobody knows what a consumer group reads.
    let expected = [GroupIdNotFound, None, subscribed, subscribed, subscribed, GroupIdNotFound];
    check("delete", expected, |case| command_error(&mut case.scene, delete("t")));
    let expected = [GroupIdNotFound, None, subscribed, None, None, GroupIdNotFound];
    check("delete", expected, |case| command_error(&mut case.scene, delete("unread")));
}

#[test]
fn deletion_of_the_group() {
    let members = NonEmptyGroup;
    check("delete", [GroupIdNotFound, None, members, members, members, GroupIdNotFound], |case| {
        command_error(&mut case.scene, Command::DeleteGroups(vec![GROUP.into()]))
    });
}

#[test]
fn description_of_the_group() {
    let states: Vec<_> = cases().iter().map(|case| case.scene.state()).collect();
    let all = ["Dead", "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"];
    assert_eq!(states, all);
    check("describe", [GroupIdNotFound, None, None, None, None, None], |case| {
        case.scene.groups.describe(&GROUP.into(), true).error
    });
    check("describe before version 6", [None; 6], |case| {
        case.scene.groups.describe(&GROUP.into(), false).error
    });
}

#[test]
fn list_by_state_and_type() {
    for case in cases() {
        let listed = |states: &[&str], kinds: &[&str]| case.scene.groups.list(states, kinds).len();
        let there = usize::from(case.name != "absent");
        assert_eq!(listed(&[], &[]), there);
        assert_eq!(listed(&[&format!(" {} ", case.name.to_uppercase())], &["Classic"]), there);
        assert_eq!(listed(&["Assigning"], &[]), 0);
        assert_eq!(listed(&[], &["consumer"]), 0);
        assert_eq!(listed(&[], &["nonsense"]), 0);
    }
}

#[test]
fn requests_without_a_group_id_are_invalid() {
    let mut scene = Scene::quick();
    let token = scene.join_with(|join| join.group = "".into());
    assert_eq!(scene.joined(token).error, InvalidGroupId);
    let delete = Command::DeleteOffsets(DeleteOffsets { group: "".into(), topics: vec![] });
    assert_eq!(command_error(&mut scene, delete), InvalidGroupId);
    // Simple consumers commit without one.
    assert_eq!(command_error(&mut scene, commit("", "", -1, true)), None);
}

#[test]
fn session_timeouts_outside_the_limits_are_refused() {
    for (timeout_ms, expected) in [
        (5_999, InvalidSessionTimeout),
        (6_000, MemberIdRequired),
        (1_800_000, MemberIdRequired),
        (1_800_001, InvalidSessionTimeout),
    ] {
        let mut scene = Scene::quick();
        let token = scene.join_with(|join| {
            join.session_timeout_ms = timeout_ms;
            join.requires_known_member_id = true;
        });
        assert_eq!(scene.joined(token).error, expected, "{timeout_ms}");
    }
}
