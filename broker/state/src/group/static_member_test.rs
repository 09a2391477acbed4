//! Static members (KIP-345): a restart is no rebalance, and an instance is one member.

use std::sync::Arc;

use milena_protocol::ErrorCode;

use super::config::ABSENT_ROUND_MS_MIN;
use super::record::{GroupMetadata, GroupRecord};
use super::request::{Heartbeat, Token};
use super::scene_test::{GROUP, SESSION_MS, Scene, protocol};
use super::{Config, Event, Record, TimerKey};

fn join(scene: &mut Scene, instance: &str) -> Token {
    scene.join_with(|join| {
        join.instance_id = Some(instance.into());
        join.requires_known_member_id = true;
    })
}

/// Two static members, `a` leading, stable: their ids.
fn pair() -> (Scene, Arc<str>, Arc<str>) {
    let mut scene = Scene::new(Config { initial_rebalance_delay_ms: 100, ..Config::default() });
    let tokens = [join(&mut scene, "a"), join(&mut scene, "b")];
    scene.pass(200);
    let [a, b] = tokens.map(|token| scene.joined(token).member_id.clone());
    scene.sync(&a, 1, &[(&a, "A"), (&b, "B")]);
    scene.sync(&b, 1, &[]);
    assert_eq!(scene.state(), "Stable");
    (scene, a, b)
}

#[test]
fn static_member_needs_no_round_trip_for_its_id() {
    let (_, a, b) = pair();
    assert!(a.starts_with("a-") && b.starts_with("b-"), "{a} {b}");
}

#[test]
fn follower_that_restarts_gets_its_place_back_when_it_is_stored() {
    let (mut scene, a, b) = pair();
    scene.commits = false;
    let back = join(&mut scene, "b");
    assert!(scene.waits(back));
    scene.store_next(Ok(()));
    let reply = scene.joined(back).clone();
    assert_eq!((reply.error, reply.generation, &reply.leader), (ErrorCode::None, 1, &a));
    assert_ne!(reply.member_id, b);
    assert!(!reply.skip_assignment && reply.members.is_empty());
    let sync = scene.sync(&reply.member_id, 1, &[]);
    assert_eq!(&scene.synced(sync).assignment[..], b"B");
    assert_eq!(scene.state(), "Stable");
    assert_eq!(scene.heartbeat(&b, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn leader_that_restarts_is_told_to_skip_the_assignment() {
    let (mut scene, a, _) = pair();
    let back = join(&mut scene, "a");
    let reply = scene.joined(back).clone();
    assert!(reply.skip_assignment);
    assert_eq!((reply.members.len(), &reply.leader), (2, &reply.member_id));
    // An old client would assign: it is told the leader that was.
    let back = scene.join_with(|join| {
        join.instance_id = Some("a".into());
        join.supports_skipping_assignment = false;
    });
    let older = scene.joined(back).clone();
    assert!(!older.skip_assignment && older.members.is_empty());
    assert_eq!(older.leader, reply.member_id);
    assert_ne!(older.leader, a);
}

#[test]
fn restart_that_cannot_be_stored_is_taken_back() {
    let (mut scene, a, b) = pair();
    scene.commits = false;
    let back = join(&mut scene, "b");
    scene.store_next(Err(ErrorCode::NotEnoughReplicas));
    let reply = scene.joined(back).clone();
    assert_eq!(reply.error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!((&*reply.member_id, &reply.leader), ("", &a));
    assert_eq!(scene.heartbeat(&b, 1), ErrorCode::None);
}

#[test]
fn restart_with_other_protocols_is_a_rebalance_if_they_change_the_choice() {
    let mut scene = Scene::quick();
    let both = || vec![protocol("range", &["t"]), protocol("sticky", &["t"])];
    let static_join = |scene: &mut Scene, protocols| {
        scene.join_with(|join| {
            join.instance_id = Some("a".into());
            join.protocols = protocols;
        })
    };
    let first = static_join(&mut scene, both());
    scene.pass(0);
    let id = scene.joined(first).member_id.clone();
    scene.sync(&id, 1, &[]);
    let back = static_join(&mut scene, vec![protocol("sticky", &["t"])]);
    assert_eq!((scene.joined(back).generation, scene.joined(back).protocol.as_deref()), (2, Some("sticky")));
}

#[test]
fn former_self_is_fenced() {
    let (mut scene, _, b) = pair();
    let back = join(&mut scene, "b");
    let new_id = scene.joined(back).member_id.clone();
    let token = scene.token();
    scene.send(Event::Heartbeat(Heartbeat {
        token,
        group: GROUP.into(),
        generation: 1,
        member_id: b.clone(),
        instance_id: Some("b".into()),
    }));
    assert_eq!(scene.replies[&token], super::reply::Reply::Heartbeat(ErrorCode::FencedInstanceId));
    let fenced = scene.join_with(|join| {
        join.member_id = b;
        join.instance_id = Some("b".into());
    });
    assert_eq!(scene.joined(fenced).error, ErrorCode::FencedInstanceId);
    assert_eq!(scene.joined(fenced).protocol, None);
    assert_eq!(scene.heartbeat(&new_id, 1), ErrorCode::None);
}

#[test]
fn what_the_former_self_waits_for_is_fenced() {
    let mut scene = Scene::new(Config { initial_rebalance_delay_ms: 100, ..Config::default() });
    let first = join(&mut scene, "a");
    let second = join(&mut scene, "a");
    assert_eq!(scene.joined(first).error, ErrorCode::FencedInstanceId);
    scene.pass(200);
    let id = scene.joined(second).member_id.clone();
    assert_eq!(scene.joined(second).leader, id);
    // A follower's sync, of one that restarts while the assignment is awaited.
    let third = join(&mut scene, "b");
    let rejoined = scene.join_with(|join| {
        join.member_id = id.clone();
        join.instance_id = Some("a".into());
    });
    assert_eq!(scene.joined(rejoined).generation, 2);
    let sync = scene.sync(&scene.joined(third).member_id.clone(), 2, &[]);
    join(&mut scene, "b");
    assert_eq!(scene.synced(sync).error, ErrorCode::FencedInstanceId);
    assert_eq!(scene.state(), "PreparingRebalance");
}

#[test]
fn static_member_that_misses_a_rebalance_keeps_its_place_until_its_session_ends() {
    let (mut scene, a, b) = pair();
    let dynamic = scene.join("");
    let rejoined = scene.join_with(|join| {
        join.member_id = a.clone();
        join.instance_id = Some("a".into());
    });
    for _ in 0..12 {
        scene.pass(5000);
        scene.heartbeat(&b, 1);
    }
    assert_eq!(scene.joined(dynamic).generation, 2);
    assert_eq!(scene.joined(rejoined).members.len(), 3, "b is assigned something all the same");
    scene.sync(&a, 2, &[]);
    scene.sync(&scene.joined(dynamic).member_id.clone(), 2, &[]);
    scene.pass(i64::from(SESSION_MS));
    assert_eq!(scene.heartbeat(&b, 2), ErrorCode::UnknownMemberId);
}

#[test]
fn static_member_is_removed_by_its_instance_id() {
    let (mut scene, a, b) = pair();
    let leaving = scene.leave(&[("", Some("b")), ("", Some("c")), (&a, Some("b")), ("", None)]);
    let errors: Vec<_> = scene.left(leaving).members.iter().map(|left| left.error).collect();
    let unknown = ErrorCode::UnknownMemberId;
    assert_eq!(errors, [ErrorCode::None, unknown, unknown, unknown]);
    assert_eq!(scene.heartbeat(&b, 1), ErrorCode::UnknownMemberId);
    assert_eq!(scene.heartbeat(&a, 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn member_that_names_anothers_instance_is_fenced() {
    let (mut scene, a, _) = pair();
    let leaving = scene.leave(&[(&a, Some("b"))]);
    assert_eq!(scene.left(leaving).members[0].error, ErrorCode::FencedInstanceId);
    assert_eq!(scene.state(), "Stable");
}

#[test]
fn somebody_who_is_there_leads_for_a_static_leader_that_is_not() {
    let (mut scene, a, b) = pair();
    let dynamic = scene.join("");
    let rejoined = scene.join_with(|join| {
        join.member_id = b.clone();
        join.instance_id = Some("b".into());
    });
    for _ in 0..12 {
        scene.pass(5000);
        scene.heartbeat(&a, 1);
    }
    assert_eq!(scene.joined(rejoined).leader, b);
    assert_eq!([scene.joined(rejoined).members.len(), scene.joined(dynamic).members.len()], [3, 0]);
}

#[test]
fn restart_that_a_rebalance_overtakes_takes_part_in_it() {
    let (mut scene, _, _) = pair();
    scene.commits = false;
    let back = join(&mut scene, "b");
    scene.join("");
    assert_eq!(scene.state(), "PreparingRebalance");
    scene.store_next(Ok(()));
    assert!(scene.waits(back));
}

#[test]
fn session_of_a_restarted_member_begins_with_its_answer() {
    let (mut scene, a, _) = pair();
    scene.commits = false;
    let back = join(&mut scene, "b");
    scene.pass(9000);
    scene.heartbeat(&a, 1);
    scene.pass(3000);
    scene.store_next(Ok(()));
    let new_id = scene.joined(back).member_id.clone();
    scene.pass(2000);
    assert_eq!(scene.heartbeat(&new_id, 1), ErrorCode::None);
    assert!(scene.timers.contains_key(&TimerKey::Member { group: GROUP.into(), member: new_id }));
}

/// Found by `fuzz/run group_records`: with rebalance timeouts of 0 the coordinator did nothing but wait for them.
#[test]
fn absent_members_without_rebalance_time_are_waited_for_in_rounds() {
    let (mut scene, ..) = pair();
    for instance in ["a", "b"] {
        scene.join_with(|join| {
            join.instance_id = Some(instance.into());
            join.rebalance_timeout_ms = 0;
        });
    }
    assert_eq!(scene.state(), "Stable");
    scene.leave(&[("", Some("b"))]);
    scene.pass(0);
    let (key, at_ms) = scene.next_timer().expect("the next round");
    assert_eq!(key, TimerKey::Join { group: GROUP.into() });
    assert_eq!(at_ms, scene.now_ms + i64::from(ABSENT_ROUND_MS_MIN));
    scene.pass(i64::from(SESSION_MS));
    assert_eq!(scene.state(), "Empty");
}

/// Found by `fuzz/run group_records`.
#[test]
fn members_that_stand_twice_in_a_record_are_loaded_once() {
    let (mut scene, a, b) = pair();
    let Some(Record::Group(GroupRecord { group, value: Some(value) })) = scene.log.last().cloned() else {
        panic!("the assignment is stored last");
    };
    let members = value.members.iter().chain(&value.members).cloned().collect();
    scene.log.push(Record::group(&group, Some(GroupMetadata { members, ..(*value).clone() })));
    scene.fail_over(false);
    assert_eq!(scene.heartbeat(&a, 1), ErrorCode::None);
    let newcomer = scene.join("");
    assert_eq!(scene.heartbeat(&b, 1), ErrorCode::RebalanceInProgress, "its protocols are those of all");
    scene.leave(&[("", Some("a")), ("", Some("b"))]);
    assert_eq!(scene.joined(newcomer).members.len(), 1);
}

/// Found by a random history.
#[test]
fn two_restarts_that_cannot_be_stored_are_taken_back_to_who_was_there() {
    let (mut scene, a, b) = pair();
    scene.commits = false;
    scene.refuses = Some(ErrorCode::NotEnoughReplicas);
    join(&mut scene, "a");
    join(&mut scene, "a");
    scene.store_next(Ok(()));
    scene.store_next(Ok(()));
    scene.refuses = None;
    scene.commits = true;
    assert_eq!(scene.heartbeat(&a, 1), ErrorCode::None);
    assert_eq!(scene.heartbeat(&b, 1), ErrorCode::None);
    let newcomer = scene.join("");
    assert!(scene.waits(newcomer), "the leader has to join again");
    scene.leave(&[(&a, None), (&b, None)]);
    assert_eq!(scene.joined(newcomer).members.len(), 1);
}
