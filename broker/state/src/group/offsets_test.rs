//! Offsets in and beside transactions.

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::super::request::{Commit, CommitPartition, CommitTopic, Fetch, FetchTopic};
use super::super::scene_test::{GROUP, Scene};
use super::super::{Command, CommandReply, Config, Groups, Record};
use super::*;

const TOPIC_ID: Uuid = Uuid::from_bytes([7; 16]);

fn value(offset: i64) -> CommittedOffset {
    CommittedOffset {
        offset,
        leader_epoch: 3,
        metadata: "m".into(),
        commit_timestamp_ms: 0,
        expire_timestamp_ms: None,
        topic_id: TOPIC_ID,
    }
}

fn record(partition: i32, offset: Option<i64>) -> Record {
    Record::offset(&GROUP.into(), &"t".into(), partition, offset.map(value))
}

fn groups() -> Groups {
    let mut groups = Groups::new(Config::default());
    groups.loaded(0);
    groups
}

fn fetch(groups: &Groups, partition: i32, require_stable: bool) -> (ErrorCode, i64) {
    let topics = vec![FetchTopic { name: "t".into(), topic_id: Uuid::ZERO, partitions: vec![partition] }];
    let found = groups.fetch(&Fetch { group: GROUP.into(), topics: Some(topics), require_stable });
    (found[0].partitions[0].error, found[0].partitions[0].offset)
}

fn fetch_all(groups: &Groups, require_stable: bool) -> Vec<(i32, ErrorCode, i64)> {
    let found = groups.fetch(&Fetch { group: GROUP.into(), topics: None, require_stable });
    let partitions = found.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|found| (found.partition, found.error, found.offset)).collect()
}

fn commit(scene: &mut Scene, change: impl FnOnce(&mut Commit)) -> CommandReply {
    let partition = CommitPartition { partition: 0, offset: 5, leader_epoch: 1, metadata: None };
    let topic = CommitTopic { name: "t".into(), topic_id: TOPIC_ID, partitions: vec![partition] };
    let mut commit = Commit {
        group: GROUP.into(),
        generation: -1,
        member_id: "".into(),
        instance_id: None,
        retention_time_ms: -1,
        knows_group_id_not_found: true,
        topics: vec![topic],
    };
    change(&mut commit);
    scene.decide(Command::Commit(commit))
}

#[test]
fn what_is_not_committed_is_minus_one() {
    let mut groups = groups();
    assert_eq!(fetch(&groups, 0, true), (ErrorCode::None, -1));
    assert_eq!(fetch_all(&groups, true), []);
    groups.apply(&record(1, Some(9)), 0);
    assert_eq!(fetch(&groups, 0, true), (ErrorCode::None, -1));
    assert_eq!(fetch(&groups, 1, true), (ErrorCode::None, 9));
    assert_eq!(fetch_all(&groups, false), [(1, ErrorCode::None, 9)]);
}

#[test]
fn offset_of_an_earlier_topic_of_that_name_does_not_count() {
    let mut groups = groups();
    groups.apply(&record(0, Some(9)), 0);
    for (id, expected) in [(Uuid::ZERO, 9), (TOPIC_ID, 9), (Uuid::from_bytes([8; 16]), -1)] {
        let topics = vec![FetchTopic { name: "t".into(), topic_id: id, partitions: vec![0] }];
        let found = groups.fetch(&Fetch { group: GROUP.into(), topics: Some(topics), require_stable: false });
        assert_eq!(found[0].partitions[0].offset, expected, "{id}");
    }
}

#[test]
fn commit_by_nobody_makes_a_simple_group() {
    let mut scene = Scene::quick();
    let CommandReply::Commit(Ok(outcomes)) = commit(&mut scene, |_| {}) else { panic!("refused") };
    assert_eq!(outcomes[0].partitions, [(0, ErrorCode::None)]);
    assert_eq!((scene.state(), scene.groups.offsets().count()), ("Empty", 1));
    assert_eq!(&*scene.groups.list(&[], &[])[0].protocol_type, "");
    let committed = scene.groups.offsets().get(GROUP, "t", 0).expect("committed");
    assert_eq!(committed.value.commit_timestamp_ms, scene.now_ms);
    assert_eq!((&*committed.value.metadata, committed.value.topic_id), ("", TOPIC_ID));
}

#[test]
fn metadata_beyond_the_limit_is_refused_by_partition() {
    for (text, expected) in [
        ("x".repeat(4096), ErrorCode::None),
        ("x".repeat(4097), ErrorCode::OffsetMetadataTooLarge),
        // Kafka counts UTF-16 units.
        ("ä".repeat(4096), ErrorCode::None),
        ("𝄞".repeat(2049), ErrorCode::OffsetMetadataTooLarge),
    ] {
        let mut scene = Scene::quick();
        let reply = commit(&mut scene, |commit| {
            let too_long =
                CommitPartition { partition: 1, offset: 1, leader_epoch: -1, metadata: Some(text.into()) };
            commit.topics[0].partitions.push(too_long);
        });
        let CommandReply::Commit(Ok(outcomes)) = reply else { panic!("{reply:?}") };
        assert_eq!(outcomes[0].partitions, [(0, ErrorCode::None), (1, expected)]);
        assert_eq!(scene.log.len(), if expected == ErrorCode::None { 2 } else { 1 });
    }
}

#[test]
fn commit_is_a_sign_of_life() {
    let mut scene = Scene::quick();
    let member_id = scene.stable();
    for _ in 0..5 {
        scene.pass(9_999);
        let reply = commit(&mut scene, |commit| {
            commit.generation = 1;
            commit.member_id = member_id.clone();
        });
        assert!(matches!(reply, CommandReply::Commit(Ok(_))), "{reply:?}");
    }
    assert_eq!(scene.state(), "Stable");
}

#[test]
fn offset_of_an_open_transaction_is_unstable() {
    let mut groups = groups();
    groups.apply(&record(0, Some(1)), 0);
    groups.apply_transactional(77, &record(0, Some(2)), 1);
    groups.apply_transactional(77, &record(1, Some(3)), 2);
    assert_eq!(fetch(&groups, 0, true), (ErrorCode::UnstableOffsetCommit, -1));
    assert_eq!(fetch(&groups, 0, false), (ErrorCode::None, 1));
    let unstable = ErrorCode::UnstableOffsetCommit;
    assert_eq!(fetch_all(&groups, true), [(0, unstable, -1), (1, unstable, -1)]);
    assert_eq!(fetch_all(&groups, false), [(0, ErrorCode::None, 1)]);
}

#[test]
fn transaction_counts_when_it_commits() {
    for (committed, expected) in [(true, (2, 3)), (false, (1, -1))] {
        let mut groups = groups();
        groups.apply(&record(0, Some(1)), 0);
        groups.apply_transactional(77, &record(0, Some(2)), 1);
        groups.apply_transactional(77, &record(1, Some(3)), 2);
        groups.end_transaction(77, committed);
        assert_eq!((fetch(&groups, 0, true).1, fetch(&groups, 1, true).1), expected);
    }
}

#[test]
fn transaction_does_not_undo_a_later_commit() {
    let mut groups = groups();
    groups.apply_transactional(77, &record(0, Some(2)), 1);
    groups.apply(&record(0, Some(5)), 2);
    groups.end_transaction(77, true);
    assert_eq!(fetch(&groups, 0, true), (ErrorCode::None, 5));
}

#[test]
fn tombstone_takes_pending_offsets_along() {
    let mut groups = groups();
    groups.apply_transactional(77, &record(0, Some(2)), 1);
    groups.apply(&record(0, None), 2);
    groups.end_transaction(77, true);
    assert_eq!(fetch_all(&groups, true), []);
    assert_eq!(groups.offsets().count(), 0);
}

#[test]
fn count_is_that_of_a_walk_through_all_offsets() {
    let mut groups = groups();
    let mut check = |change: &mut dyn FnMut(&mut Groups), expected: usize| {
        change(&mut groups);
        let walked =
            groups.offsets().groups().flat_map(|(_, topics)| topics.values()).map(BTreeMap::len).sum();
        assert_eq!((groups.offsets().count(), expected), (walked, walked));
    };
    check(&mut |groups| groups.apply(&record(0, Some(1)), 0), 1);
    check(&mut |groups| groups.apply(&record(0, Some(2)), 1), 1);
    check(&mut |groups| groups.apply(&record(1, Some(1)), 2), 2);
    check(&mut |groups| groups.apply_transactional(77, &record(1, Some(2)), 3), 2);
    check(&mut |groups| groups.apply_transactional(77, &record(2, Some(2)), 4), 2);
    check(&mut |groups| groups.end_transaction(77, true), 3);
    check(&mut |groups| groups.apply(&record(7, None), 5), 3);
    check(&mut |groups| groups.apply(&record(1, None), 6), 2);
    check(&mut |groups| groups.apply(&record(1, None), 7), 2);
    check(&mut |groups| groups.apply_transactional(78, &record(0, None), 8), 1);
    check(&mut |groups| groups.apply(&record(2, None), 9), 0);
}
