//! When offsets and groups go.

use super::super::request::{Commit, CommitPartition, CommitTopic, Fetch};
use super::super::scene_test::{GROUP, Scene};
use super::super::{Command, Config};
use super::*;

const RETENTION_MS: i64 = 60_000;
const ID: Uuid = Uuid::from_bytes([7; 16]);

fn scene() -> Scene {
    let config =
        Config { initial_rebalance_delay_ms: 0, offsets_retention_ms: RETENTION_MS, ..Config::default() };
    Scene::new(config)
}

fn commit(scene: &mut Scene, member: Option<&Arc<str>>, topic: &str, retention_time_ms: i64) {
    let partition = CommitPartition { partition: 0, offset: 5, leader_epoch: -1, metadata: None };
    let reply = scene.decide(Command::Commit(Commit {
        group: GROUP.into(),
        generation: member.map_or(-1, |_| 1),
        member_id: member.cloned().unwrap_or_else(|| "".into()),
        instance_id: None,
        retention_time_ms,
        knows_group_id_not_found: true,
        topics: vec![CommitTopic { name: topic.into(), topic_id: Uuid::ZERO, partitions: vec![partition] }],
    }));
    assert!(matches!(reply, CommandReply::Commit(Ok(_))), "{reply:?}");
}

fn topics(scene: &Scene) -> Vec<String> {
    let all = Fetch { group: GROUP.into(), topics: None, require_stable: true };
    scene.groups.fetch(&all).iter().map(|topic| topic.name.to_string()).collect()
}

fn expire(scene: &mut Scene) {
    let mut from = None;
    while let CommandReply::Expired { next: Some(next) } = scene.decide(Command::Expire { from }) {
        from = Some(next);
    }
}

#[test]
fn offsets_outlive_the_last_member_by_the_retention() {
    let mut scene = scene();
    let member_id = scene.stable();
    commit(&mut scene, Some(&member_id), "t", -1);
    for _ in 0..12 {
        scene.pass(9_000);
        scene.heartbeat(&member_id, 1);
    }
    expire(&mut scene);
    assert_eq!(topics(&scene), ["t"], "the group lives");
    scene.leave(&[(&member_id, None)]);
    scene.pass(RETENTION_MS - 1);
    expire(&mut scene);
    assert_eq!(topics(&scene), ["t"]);
    scene.pass(1);
    expire(&mut scene);
    assert_eq!(topics(&scene), [""; 0]);
    assert_eq!(scene.state(), "Dead");
    assert_eq!(scene.reload().group_ids().count(), 0, "a load finds nothing either");
}

#[test]
fn topic_that_nobody_reads_any_more_expires_while_the_group_lives() {
    let mut scene = scene();
    let member_id = scene.stable();
    commit(&mut scene, Some(&member_id), "t", -1);
    commit(&mut scene, Some(&member_id), "former", -1);
    for _ in 0..8 {
        scene.pass(9_000);
        scene.heartbeat(&member_id, 1);
    }
    expire(&mut scene);
    assert_eq!(topics(&scene), ["t"]);
}

#[test]
fn offsets_of_a_simple_group_expire_one_by_one() {
    let mut scene = scene();
    commit(&mut scene, None, "first", -1);
    scene.pass(1000);
    commit(&mut scene, None, "second", -1);
    scene.pass(RETENTION_MS - 1000);
    expire(&mut scene);
    assert_eq!((topics(&scene), scene.state()), (vec!["second".to_owned()], "Empty"));
}

#[test]
fn retention_that_the_client_named_counts_instead() {
    let mut scene = scene();
    commit(&mut scene, None, "short", 1000);
    commit(&mut scene, None, "long", 10 * RETENTION_MS);
    scene.pass(1000);
    expire(&mut scene);
    assert_eq!(topics(&scene), ["long"]);
    scene.pass(RETENTION_MS);
    expire(&mut scene);
    assert_eq!(topics(&scene), ["long"]);
}

#[test]
fn group_without_members_and_offsets_goes_with_the_next_round() {
    let mut scene = scene();
    let member_id = scene.stable();
    scene.leave(&[(&member_id, None)]);
    assert_eq!(scene.state(), "Empty");
    expire(&mut scene);
    assert_eq!(scene.state(), "Dead");
}

#[test]
fn offsets_of_an_open_transaction_keep_the_group() {
    let mut scene = scene();
    let record = Record::offset(&GROUP.into(), &"t".into(), 0, Some(value()));
    scene.groups.apply_transactional(7, &record, 0);
    scene.pass(10 * RETENTION_MS);
    expire(&mut scene);
    assert_eq!(scene.state(), "Empty");
    scene.groups.end_transaction(7, false);
    expire(&mut scene);
    assert_eq!(scene.state(), "Dead");
}

fn value() -> super::super::record::CommittedOffset {
    super::super::record::CommittedOffset {
        offset: 1,
        leader_epoch: -1,
        metadata: "".into(),
        commit_timestamp_ms: 0,
        expire_timestamp_ms: None,
        topic_id: ID,
    }
}

#[test]
fn expiry_of_many_offsets_comes_in_rounds() {
    let mut scene = scene();
    let count = EXPIRY_RECORDS_MAX * 2 + 10;
    for partition in 0..count as i32 {
        let group: Arc<str> = format!("g{}", partition % 3).into();
        scene.groups.apply(&Record::offset(&group, &"t".into(), partition, Some(value())), 0);
    }
    let (mut from, mut rounds) = (None, 0);
    loop {
        let decision = scene.groups.decide(&Command::Expire { from }, scene.now_ms);
        assert!(decision.records.len() <= EXPIRY_RECORDS_MAX + 1, "{}", decision.records.len());
        decision.records.iter().for_each(|record| scene.groups.apply(record, 0));
        rounds += 1;
        let CommandReply::Expired { next } = decision.reply else { panic!("{:?}", decision.reply) };
        if next.is_none() {
            break;
        }
        from = next;
    }
    assert_eq!((rounds, scene.groups.offsets().count(), scene.groups.group_ids().count()), (3, 0, 0));
}

#[test]
fn deletion_of_a_group_takes_its_offsets_along() {
    let mut scene = scene();
    commit(&mut scene, None, "t", -1);
    let pending = Record::offset(&GROUP.into(), &"pending".into(), 0, Some(value()));
    scene.groups.apply_transactional(7, &pending, 9);
    let reply = scene.decide(Command::DeleteGroups(vec![GROUP.into(), "absent".into()]));
    let expected = vec![(GROUP.into(), ErrorCode::None), ("absent".into(), ErrorCode::GroupIdNotFound)];
    assert_eq!(reply, CommandReply::DeleteGroups(expected));
    scene.groups.end_transaction(7, true);
    assert_eq!((topics(&scene), scene.state()), (vec![], "Dead"));
}

#[test]
fn deletion_of_offsets_writes_tombstones_of_what_was_committed() {
    let mut scene = scene();
    commit(&mut scene, None, "t", -1);
    let before = scene.log.len();
    let topics_asked = vec![("t".into(), vec![0, 1]), ("u".into(), vec![0])];
    let reply =
        scene.decide(Command::DeleteOffsets(DeleteOffsets { group: GROUP.into(), topics: topics_asked }));
    let CommandReply::DeleteOffsets(Ok(outcomes)) = reply else { panic!("{reply:?}") };
    assert!(outcomes.iter().flat_map(|topic| &topic.partitions).all(|(_, error)| error.is_none()));
    assert_eq!(scene.log[before..], [Record::offset(&GROUP.into(), &"t".into(), 0, None)]);
    assert_eq!(scene.state(), "Empty", "the group itself stays");
}

#[test]
fn deleted_topic_takes_its_offsets_along_but_not_those_of_its_successor() {
    for (committed_id, gone) in [(ID, true), (Uuid::ZERO, true), (Uuid::from_bytes([8; 16]), false)] {
        let mut scene = scene();
        let committed = super::super::record::CommittedOffset { topic_id: committed_id, ..value() };
        scene.groups.apply(&Record::offset(&GROUP.into(), &"t".into(), 0, Some(committed)), 0);
        scene.decide(Command::TopicsDeleted(vec![("t".into(), ID)]));
        assert_eq!(topics(&scene).is_empty(), gone, "{committed_id}");
    }
}
