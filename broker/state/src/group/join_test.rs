//! Dynamic members: how they get in, how a generation forms, and how they get out.

use milena_protocol::ErrorCode;

use super::Config;
use super::config::{NEW_MEMBER_JOIN_TIMEOUT_MS, PENDING_JOINS_MAX};
use super::effects::TimerKey;
use super::record::Record;
use super::scene_test::{GROUP, SESSION_MS, Scene, protocol};

fn delayed() -> Scene {
    Scene::new(Config { initial_rebalance_delay_ms: 3000, ..Config::default() })
}

#[test]
fn first_of_three_leads_and_alone_sees_everybody() {
    let mut scene = delayed();
    let tokens = [scene.join(""), scene.join(""), scene.join("")];
    scene.pass(3000);
    assert!(scene.waits(tokens[0]), "members that came in the delay prolong it");
    scene.pass(3000);
    let replies = tokens.map(|token| scene.joined(token).clone());
    for reply in &replies {
        assert_eq!((reply.error, reply.generation), (ErrorCode::None, 1));
        assert_eq!(reply.leader, replies[0].member_id);
        assert_eq!(reply.protocol.as_deref(), Some("range"));
        assert_eq!(reply.protocol_type.as_deref(), Some("consumer"));
        assert!(!reply.skip_assignment);
    }
    assert_eq!(replies.each_ref().map(|reply| reply.members.len()), [3, 0, 0]);
    assert_eq!(replies[0].members[0].metadata, protocol("range", &["t"]).metadata);
}

#[test]
fn initial_delay_ends_with_the_rebalance_timeout_however_many_come() {
    let mut scene = delayed();
    let first = scene.join_with(|join| join.rebalance_timeout_ms = 7000);
    for _ in 0..4 {
        scene.join_with(|join| join.rebalance_timeout_ms = 7000);
        scene.pass(2000);
    }
    assert_eq!(scene.joined(first).members.len(), 5);
    assert_eq!(scene.groups.describe(&GROUP.into(), true).members.len(), 5);
}

#[test]
fn member_that_must_know_its_id_comes_back_with_it() {
    let mut scene = Scene::quick();
    let first = scene.join_with(|join| join.requires_known_member_id = true);
    let reply = scene.joined(first).clone();
    assert_eq!(reply.error, ErrorCode::MemberIdRequired);
    assert_eq!(&*reply.member_id, "client-1");
    assert_eq!(scene.state(), "Empty");
    let second = scene.join(&reply.member_id);
    scene.pass(0);
    assert_eq!(scene.joined(second).member_id, reply.member_id);
    assert_eq!(scene.joined(second).generation, 1);
}

#[test]
fn id_that_is_not_used_in_time_is_forgotten() {
    let mut scene = Scene::quick();
    let first = scene.join_with(|join| join.requires_known_member_id = true);
    let member_id = scene.joined(first).member_id.clone();
    scene.pass(i64::from(SESSION_MS));
    let late = scene.join(&member_id);
    assert_eq!(scene.joined(late).error, ErrorCode::UnknownMemberId);
    assert!(scene.timers.is_empty(), "{:?}", scene.timers);
}

#[test]
fn join_phase_waits_for_ids_that_were_handed_out() {
    let mut scene = Scene::quick();
    let leader = scene.stable();
    let second = scene.join_with(|join| join.requires_known_member_id = true);
    let second_id = scene.joined(second).member_id.clone();
    let rejoined = scene.join(&leader);
    assert!(scene.waits(rejoined));
    let second = scene.join(&second_id);
    assert_eq!(scene.joined(rejoined).generation, 2);
    assert_eq!(scene.joined(second).generation, 2);
}

#[test]
fn group_is_stored_as_soon_as_somebody_asks_for_it() {
    let mut scene = Scene::quick();
    scene.join_with(|join| join.requires_known_member_id = true);
    let Some(Record::Group(record)) = scene.log.first() else { panic!("{:?}", scene.log) };
    let stored = record.value.as_deref().expect("a group");
    assert_eq!((stored.generation, &*stored.protocol_type, stored.members.len()), (0, "", 0));
    assert_eq!(stored.state_timestamp_ms, scene.now_ms);
}

#[test]
fn group_whose_first_record_is_refused_never_was() {
    let mut scene = Scene::quick();
    scene.refuses = Some(ErrorCode::NotEnoughReplicas);
    let waiting = scene.join("");
    assert_eq!(scene.joined(waiting).error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(scene.groups.describe(&GROUP.into(), true).error, ErrorCode::GroupIdNotFound);
    assert!(scene.timers.is_empty(), "{:?}", scene.timers);
}

#[test]
fn assignment_reaches_everybody_when_it_is_stored() {
    let mut scene = Scene::quick();
    scene.stable();
    let second = scene.join("");
    let leader = scene.join("client-1");
    let (leader_id, second_id) =
        (scene.joined(leader).member_id.clone(), scene.joined(second).member_id.clone());
    scene.commits = false;
    let follower = scene.sync(&second_id, 2, &[]);
    let leading = scene.sync(&leader_id, 2, &[(&leader_id, "a"), (&second_id, "b"), ("stranger", "c")]);
    assert!(scene.waits(follower) && scene.waits(leading));
    assert_eq!(scene.state(), "CompletingRebalance");
    scene.store_next(Ok(()));
    assert_eq!(&scene.synced(leading).assignment[..], b"a");
    assert_eq!(&scene.synced(follower).assignment[..], b"b");
    assert_eq!(scene.synced(follower).protocol.as_deref(), Some("range"));
    assert_eq!(scene.state(), "Stable");
    assert!(!scene.timers.contains_key(&TimerKey::Sync { group: GROUP.into() }));
    let again = scene.sync(&second_id, 2, &[]);
    assert_eq!(&scene.synced(again).assignment[..], b"b", "a stable group tells it once more");
}

#[test]
fn assignment_that_cannot_be_stored_starts_a_rebalance() {
    for (refused, told) in [
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator),
        (ErrorCode::MessageTooLarge, ErrorCode::UnknownServerError),
    ] {
        let mut scene = Scene::quick();
        let token = scene.join("");
        scene.pass(0);
        let member_id = scene.joined(token).member_id.clone();
        scene.commits = false;
        let sync = scene.sync(&member_id, 1, &[(&member_id, "a")]);
        scene.store_next(Err(refused));
        assert_eq!(scene.synced(sync).error, told);
        assert_eq!(scene.state(), "PreparingRebalance");
    }
}

#[test]
fn sync_of_another_protocol_is_inconsistent() {
    let mut scene = Scene::quick();
    let token = scene.join_with(|join| join.protocols = vec![protocol("sticky", &["t"])]);
    scene.pass(0);
    let member_id = scene.joined(token).member_id.clone();
    let sync = scene.sync(&member_id, 1, &[]);
    assert_eq!(scene.synced(sync).error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn protocol_is_the_one_all_support_with_the_most_votes() {
    let mut scene = delayed();
    let preferences: [&[&str]; 3] = [&["b", "c"], &["c", "b", "a"], &["c", "b"]];
    let tokens = preferences.map(|names| {
        scene.join_with(|join| join.protocols = names.iter().map(|name| protocol(name, &["t"])).collect())
    });
    scene.pass(6000);
    assert_eq!(scene.joined(tokens[0]).protocol.as_deref(), Some("c"));
}

#[test]
fn rebalance_sends_members_away_who_wait_for_an_assignment() {
    let mut scene = Scene::quick();
    scene.stable();
    let second = scene.join("");
    scene.join("client-1");
    let second_id = scene.joined(second).member_id.clone();
    let waiting = scene.sync(&second_id, 2, &[]);
    scene.join("");
    assert_eq!(scene.synced(waiting).error, ErrorCode::RebalanceInProgress);
    assert_eq!(scene.state(), "PreparingRebalance");
}

#[test]
fn member_that_misses_the_rebalance_is_removed() {
    let mut scene = Scene::quick();
    let leader = scene.stable();
    let second = scene.join("");
    // The old leader is alive, but does not rejoin.
    for _ in 0..12 {
        scene.pass(5000);
        scene.heartbeat(&leader, 1);
    }
    let reply = scene.joined(second).clone();
    assert_eq!((reply.generation, reply.members.len()), (2, 1));
    assert_eq!(reply.leader, reply.member_id, "somebody who is there leads");
    assert_eq!(scene.heartbeat(&leader, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn member_that_never_syncs_is_removed() {
    let mut scene = Scene::quick();
    let token = scene.join_with(|join| join.rebalance_timeout_ms = 8000);
    scene.pass(0);
    let member_id = scene.joined(token).member_id.clone();
    scene.pass(4000);
    assert_eq!(scene.heartbeat(&member_id, 1), ErrorCode::None);
    scene.pass(4000);
    assert_eq!(scene.state(), "Empty");
    assert_eq!(scene.heartbeat(&member_id, 1), ErrorCode::UnknownMemberId);
    assert_eq!(scene.groups.stored(GROUP).expect("stored").generation, 2);
}

#[test]
fn session_lasts_as_long_as_heartbeats_come() {
    let mut scene = Scene::quick();
    let member_id = scene.stable();
    for _ in 0..20 {
        scene.pass(i64::from(SESSION_MS) - 1);
        assert_eq!(scene.heartbeat(&member_id, 1), ErrorCode::None);
    }
    scene.pass(i64::from(SESSION_MS) - 1);
    assert_eq!(scene.state(), "Stable");
    scene.pass(1);
    assert_eq!(scene.state(), "Empty");
    assert!(scene.timers.is_empty(), "{:?}", scene.timers);
}

#[test]
fn heartbeat_sets_no_timer() {
    let mut scene = Scene::quick();
    let member_id = scene.stable();
    let timers = scene.timers.clone();
    scene.now_ms += 5000;
    scene.heartbeat(&member_id, 1);
    assert_eq!(scene.timers, timers);
}

#[test]
fn new_member_is_waited_for_no_longer_than_its_join_may_take() {
    let mut scene = Scene::new(Config { initial_rebalance_delay_ms: i32::MAX, ..Config::default() });
    let waiting = scene.join("");
    scene.pass(i64::from(NEW_MEMBER_JOIN_TIMEOUT_MS));
    assert_eq!(scene.joined(waiting).error, ErrorCode::UnknownMemberId);
}

#[test]
fn follower_that_joins_again_unchanged_gets_its_generation_without_a_rebalance() {
    let mut scene = Scene::quick();
    scene.stable();
    let second = scene.join("");
    scene.join("client-1");
    let second_id = scene.joined(second).member_id.clone();
    scene.sync("client-1", 2, &[]);
    scene.sync(&second_id, 2, &[]);
    let again = scene.join(&second_id);
    assert_eq!((scene.joined(again).generation, scene.state()), (2, "Stable"));
    let changed = scene.join_with(|join| {
        join.member_id = second_id.clone();
        join.protocols = vec![protocol("range", &["t", "u"])];
    });
    assert!(scene.waits(changed));
    assert_eq!(scene.state(), "PreparingRebalance");
}

#[test]
fn join_that_takes_the_place_of_a_waiting_one_ends_it() {
    let mut scene = delayed();
    let token = scene.join_with(|join| join.requires_known_member_id = true);
    let member_id = scene.joined(token).member_id.clone();
    let lost = scene.join(&member_id);
    let kept = scene.join(&member_id);
    assert_eq!(scene.joined(lost).error, ErrorCode::RebalanceInProgress);
    scene.pass(3000);
    assert_eq!(scene.joined(kept).generation, 1);
}

#[test]
fn full_group_refuses_newcomers() {
    let mut scene = Scene::new(Config { initial_rebalance_delay_ms: 0, members_max: 1, ..Config::default() });
    let member_id = scene.stable();
    let refused = scene.join("");
    assert_eq!(scene.joined(refused).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(&*scene.joined(refused).member_id, "");
    assert_eq!(scene.heartbeat(&member_id, 1), ErrorCode::None);
}

#[test]
fn ids_that_nobody_uses_have_a_bound() {
    let mut scene = Scene::quick();
    let ask = |scene: &mut Scene| scene.join_with(|join| join.requires_known_member_id = true);
    let first = ask(&mut scene);
    for _ in 1..PENDING_JOINS_MAX {
        ask(&mut scene);
    }
    let beyond = ask(&mut scene);
    assert_eq!(scene.joined(beyond).error, ErrorCode::GroupMaxSizeReached);
    let member_id = scene.joined(first).member_id.clone();
    scene.join(&member_id);
    assert_eq!(scene.state(), "PreparingRebalance");
}

#[test]
fn members_leave_in_one_request() {
    let mut scene = delayed();
    let tokens = [scene.join(""), scene.join("")];
    scene.pass(6000);
    let ids = tokens.map(|token| scene.joined(token).member_id.clone());
    scene.commits = false;
    let leaving = scene.leave(&[(&ids[0], None), ("stranger", None), (&ids[1], None)]);
    assert!(scene.waits(leaving), "the group's last members go when it is stored");
    scene.store_next(Ok(()));
    let errors: Vec<_> = scene.left(leaving).members.iter().map(|left| left.error).collect();
    assert_eq!(errors, [ErrorCode::None, ErrorCode::UnknownMemberId, ErrorCode::None]);
    assert_eq!(scene.state(), "Empty");
    let stored = scene.groups.stored(GROUP).expect("stored");
    assert_eq!((stored.generation, stored.protocol.as_deref(), stored.members.len()), (2, None, 0));
    assert_eq!(&*stored.protocol_type, "consumer");
}

#[test]
fn leave_that_cannot_be_stored_says_so() {
    let mut scene = Scene::quick();
    let member_id = scene.stable();
    scene.commits = false;
    let leaving = scene.leave(&[(&member_id, None)]);
    scene.store_next(Err(ErrorCode::RequestTimedOut));
    assert_eq!(scene.left(leaving).error, ErrorCode::CoordinatorNotAvailable);
}

#[test]
fn stable_group_survives_its_coordinator() {
    let mut scene = Scene::quick();
    let member_id = scene.stable();
    let mut groups = scene.reload();
    let effects = groups.loaded(scene.now_ms);
    let live = scene.groups.describe(&GROUP.into(), true);
    assert_eq!(groups.describe(&GROUP.into(), true), live);
    scene.groups = groups;
    scene.timers.clear();
    scene.carry_out(effects);
    assert_eq!(scene.heartbeat(&member_id, 1), ErrorCode::None);
    scene.pass(i64::from(SESSION_MS));
    assert_eq!(scene.state(), "Empty");
}

#[test]
fn coordinator_that_resigns_answers_everybody() {
    let mut scene = delayed();
    let joining = scene.join("");
    let effects = scene.groups.unload(scene.now_ms);
    scene.carry_out(effects);
    assert_eq!(scene.joined(joining).error, ErrorCode::NotCoordinator);

    let mut scene = Scene::quick();
    let member_id = scene.stable();
    scene.commits = false;
    let leaving = scene.leave(&[(&member_id, None)]);
    let effects = scene.groups.unload(scene.now_ms);
    scene.carry_out(effects);
    assert_eq!(scene.left(leaving).error, ErrorCode::NotCoordinator);
}
