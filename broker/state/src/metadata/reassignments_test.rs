use super::*;
use crate::metadata::brokers::tests::{Cluster, brokers};
use crate::metadata::command::Command;

fn ask(
    cluster: &mut Cluster,
    topic_id: Uuid,
    replicas: Option<&[i32]>,
    allow: bool,
) -> Result<(), ErrorCode> {
    let name = cluster.image.topic(topic_id).map_or("unknown".to_owned(), |topic| topic.name.to_string());
    let partition = ReassignPartition { partition_id: 0, replicas: replicas.map(<[i32]>::to_vec) };
    let topics = vec![ReassignTopic { name, partitions: vec![partition] }];
    let command = AlterPartitionReassignments { topics, allow_replication_factor_change: allow };
    match cluster.run(Command::AlterPartitionReassignments(command)) {
        Reply::AlterPartitionReassignments(topics) => {
            topics[0].partitions[0].result.clone().map_err(|error| error.code)
        }
        other => panic!("{other:?}"),
    }
}

fn reassign_to(cluster: &mut Cluster, topic_id: Uuid, replicas: &[i32]) {
    assert_eq!(ask(cluster, topic_id, Some(replicas), true), Ok(()));
}

/// Replicas, those that come and those that go, ISR, leader.
fn check(cluster: &Cluster, topic_id: Uuid, expected: (&[i32], &[i32], &[i32], &[i32], i32)) {
    let p = cluster.image.partition(topic_id, 0).unwrap();
    let state = (&*p.replicas, &*p.adding_replicas, &*p.removing_replicas, &*p.isr, p.leader.unwrap_or(-1));
    assert_eq!(state, expected);
    assert_eq!(p.directories.len(), p.replicas.len());
    let of = |id: i32| cluster.image.broker(id).unwrap().log_dirs[0];
    assert!(p.replicas.iter().all(|id| p.directory_of(*id) == Some(of(*id))), "{:?}", p.directories);
}

#[test]
fn it_grows_waits_for_all_of_the_target_and_shrinks() {
    let mut cluster = brokers(5);
    let topic = cluster.topic(&[1, 2]);
    reassign_to(&mut cluster, topic, &[4, 3]);
    check(&cluster, topic, (&[4, 3, 1, 2], &[3, 4], &[1, 2], &[1, 2], 1));
    cluster.propose(topic, &[1, 2, 4]).unwrap();
    check(&cluster, topic, (&[4, 3, 1, 2], &[3, 4], &[1, 2], &[1, 2, 4], 1));
    let epoch = cluster.image.partition(topic, 0).unwrap().leader_epoch;
    // The sender is not among the target: it loses the leadership although its proposal is taken.
    assert_eq!(cluster.propose(topic, &[1, 2, 4, 3]), Err(ErrorCode::NewLeaderElected));
    check(&cluster, topic, (&[4, 3], &[], &[], &[4, 3], 4));
    assert_eq!(cluster.image.partition(topic, 0).unwrap().leader_epoch, epoch + 1);
    assert_eq!(cluster.image.reassigning().count(), 0);
}

#[test]
fn the_leader_that_stays_is_answered_with_the_state_after_it() {
    let mut cluster = brokers(3);
    let topic = cluster.topic(&[1, 2]);
    reassign_to(&mut cluster, topic, &[1, 3]);
    let epoch = cluster.image.partition(topic, 0).unwrap().leader_epoch;
    let done = cluster.propose(topic, &[1, 2, 3]).unwrap();
    // The replica that went must not go on fetching under the epoch that it knows.
    assert_eq!((done.leader, done.leader_epoch, done.isr), (Some(1), epoch + 1, vec![1, 3]));
    check(&cluster, topic, (&[1, 3], &[], &[], &[1, 3], 1));
}

#[test]
fn a_partition_that_stands_twice_is_decided_on_what_the_first_left() {
    let mut cluster = brokers(4);
    let topic_id = cluster.topic(&[1, 2]);
    let name = cluster.image.topic(topic_id).unwrap().name.to_string();
    let targets = [Some(vec![3, 4]), None, None];
    let partitions = targets.map(|replicas| ReassignPartition { partition_id: 0, replicas }).to_vec();
    let topics = vec![ReassignTopic { name, partitions }];
    let command = AlterPartitionReassignments { topics, allow_replication_factor_change: true };
    let reply = cluster.run(Command::AlterPartitionReassignments(command));
    let Reply::AlterPartitionReassignments(topics) = reply else { panic!("{reply:?}") };
    let codes = topics[0].partitions.iter().map(|answer| answer.result.as_ref().map_err(|error| error.code));
    let none = Err(ErrorCode::NoReassignmentInProgress);
    assert_eq!(codes.collect::<Vec<_>>(), [Ok(&()), Ok(&()), none]);
    check(&cluster, topic_id, (&[1, 2], &[], &[], &[1, 2], 1));
}

/// Kafka waits for the added ones only, and could end with fewer in sync than it began with.
#[test]
fn a_target_that_lags_holds_it_up_even_when_it_is_not_new() {
    let mut cluster = brokers(4);
    let topic = cluster.topic(&[1, 2, 3]);
    cluster.propose(topic, &[1, 3]).unwrap();
    reassign_to(&mut cluster, topic, &[1, 2, 4]);
    cluster.propose(topic, &[1, 3, 4]).unwrap();
    check(&cluster, topic, (&[1, 2, 4, 3], &[4], &[3], &[1, 3, 4], 1));
    cluster.propose(topic, &[1, 3, 4, 2]).unwrap();
    check(&cluster, topic, (&[1, 2, 4], &[], &[], &[1, 4, 2], 1));
}

#[test]
fn what_is_complete_already_shrinks_at_once() {
    let mut cluster = brokers(3);
    let topic = cluster.topic(&[1, 2, 3]);
    reassign_to(&mut cluster, topic, &[3, 2]);
    check(&cluster, topic, (&[3, 2], &[], &[], &[2, 3], 3));
    reassign_to(&mut cluster, topic, &[2, 3]);
    check(&cluster, topic, (&[2, 3], &[], &[], &[2, 3], 3));
    assert_eq!(cluster.image.imbalanced().count(), 1, "another order asks for another leader");
}

#[test]
fn cancelling_goes_back_to_what_was_there() {
    let mut cluster = brokers(4);
    let topic = cluster.topic(&[1, 2]);
    assert_eq!(ask(&mut cluster, topic, None, true), Err(ErrorCode::NoReassignmentInProgress));
    reassign_to(&mut cluster, topic, &[3, 4]);
    cluster.propose(topic, &[1, 2, 3]).unwrap();
    assert_eq!(ask(&mut cluster, topic, None, true), Ok(()));
    check(&cluster, topic, (&[1, 2], &[], &[], &[1, 2], 1));
}

#[test]
fn cancelling_needs_somebody_who_has_every_record() {
    let mut cluster = brokers(3);
    let topic = cluster.topic(&[1]);
    reassign_to(&mut cluster, topic, &[2, 3]);
    cluster.propose(topic, &[1, 2]).unwrap();
    cluster.lose(1);
    check(&cluster, topic, (&[2, 3, 1], &[2, 3], &[1], &[2], 2));
    assert_eq!(ask(&mut cluster, topic, None, true), Err(ErrorCode::InvalidReplicaAssignment));
    cluster.configure(topic, "unclean.leader.election.enable", "true");
    assert_eq!(ask(&mut cluster, topic, None, true), Ok(()));
    check(&cluster, topic, (&[1], &[], &[], &[], -1));
    cluster.heartbeat(1, |_| {});
    assert_eq!(cluster.leader_and_isr(topic), (Some(1), vec![1]));
}

/// From 1 and 2 to 3 and 4, of which 3 has caught up; then those of before died, 2 of them as eligible.
fn moved_half_way() -> (Cluster, Uuid) {
    let mut cluster = brokers(4);
    let topic = cluster.topic(&[1, 2]);
    cluster.configure(topic, "min.insync.replicas", "2");
    reassign_to(&mut cluster, topic, &[3, 4]);
    cluster.propose(topic, &[1, 2, 3]).unwrap();
    cluster.lose(1);
    cluster.lose(2);
    (cluster, topic)
}

/// Who was in sync until the minimum was not met any more has everything that is committed.
#[test]
fn cancelling_with_an_eligible_replica_is_clean() {
    let (mut cluster, topic) = moved_half_way();
    cluster.heartbeat(2, |_| {});
    check(&cluster, topic, (&[3, 4, 1, 2], &[3, 4], &[1, 2], &[3], 3));
    assert_eq!(cluster.image.partition(topic, 0).unwrap().eligible_leader_replicas, [2]);
    assert_eq!(ask(&mut cluster, topic, None, true), Ok(()));
    check(&cluster, topic, (&[1, 2], &[], &[], &[2], 2));
    let recovery = cluster.image.partition(topic, 0).unwrap().leader_recovery_state;
    assert_eq!(recovery, crate::metadata::record::RecoveryState::Recovered);
}

/// It may come back without what made it eligible, and whoever has everything now would be gone.
#[test]
fn cancelling_does_not_leave_everything_to_an_eligible_replica_that_is_down() {
    let (mut cluster, topic) = moved_half_way();
    assert_eq!(cluster.image.partition(topic, 0).unwrap().eligible_leader_replicas, [2]);
    assert_eq!(ask(&mut cluster, topic, None, true), Err(ErrorCode::InvalidReplicaAssignment));
    check(&cluster, topic, (&[3, 4, 1, 2], &[3, 4], &[1, 2], &[3], 3));
}

#[test]
fn another_target_meanwhile_drops_what_nobody_asked_for_any_more() {
    let mut cluster = brokers(5);
    let topic = cluster.topic(&[1, 2]);
    reassign_to(&mut cluster, topic, &[3, 4]);
    cluster.propose(topic, &[1, 2, 3]).unwrap();
    reassign_to(&mut cluster, topic, &[3, 5]);
    check(&cluster, topic, (&[3, 5, 1, 2], &[3, 5], &[1, 2], &[1, 2, 3], 1));
    assert_eq!(ask(&mut cluster, topic, None, true), Ok(()));
    check(&cluster, topic, (&[1, 2], &[], &[], &[1, 2], 1));
}

/// Kafka would wait for 3 and 4 to be in sync although they are to be removed, for ever.
#[test]
fn the_old_replicas_as_a_new_target_end_it() {
    let mut cluster = brokers(4);
    let topic = cluster.topic(&[1, 2]);
    reassign_to(&mut cluster, topic, &[3, 4]);
    reassign_to(&mut cluster, topic, &[2, 1]);
    check(&cluster, topic, (&[2, 1], &[], &[], &[1, 2], 1));
}

#[test]
fn only_those_in_sync_are_kept_when_nobody_else_is() {
    let mut cluster = brokers(5);
    let topic = cluster.topic(&[1]);
    reassign_to(&mut cluster, topic, &[2, 3]);
    cluster.propose(topic, &[1, 2]).unwrap();
    cluster.lose(1);
    reassign_to(&mut cluster, topic, &[4]);
    check(&cluster, topic, (&[4, 1, 2, 3], &[4], &[1, 2, 3], &[2], 2));
    cluster.propose(topic, &[2, 4]).unwrap_err();
    check(&cluster, topic, (&[4], &[], &[], &[4], 4));
}

#[test]
fn impossible_targets_are_refused_with_kafkas_codes() {
    let mut cluster = brokers(3);
    let topic = cluster.topic(&[1, 2]);
    for (replicas, allow, expected) in [
        (&[][..], true, ErrorCode::InvalidReplicaAssignment),
        (&[1, 1], true, ErrorCode::InvalidReplicaAssignment),
        (&[1, 9], true, ErrorCode::InvalidReplicaAssignment),
        (&[1, -1], true, ErrorCode::InvalidReplicaAssignment),
        (&[1, 2, 3], false, ErrorCode::InvalidReplicationFactor),
        (&[1], false, ErrorCode::InvalidReplicationFactor),
    ] {
        assert_eq!(ask(&mut cluster, topic, Some(replicas), allow), Err(expected), "{replicas:?}");
    }
    assert_eq!(ask(&mut cluster, topic, Some(&[3, 1]), false), Ok(()));
    // What is to go does not count.
    assert_eq!(ask(&mut cluster, topic, Some(&[3, 2]), false), Ok(()));
    let unknown = Uuid::from_u128(1);
    assert_eq!(ask(&mut cluster, unknown, Some(&[1]), true), Err(ErrorCode::UnknownTopicOrPartition));
    let name = cluster.image.topic(topic).unwrap().name.to_string();
    let partition = |partition_id| ReassignPartition { partition_id, replicas: Some(vec![2, 1]) };
    let partitions = vec![partition(7), partition(0)];
    let topics = vec![ReassignTopic { name, partitions }];
    let command = AlterPartitionReassignments { topics, allow_replication_factor_change: true };
    let reply = cluster.run(Command::AlterPartitionReassignments(command));
    let Reply::AlterPartitionReassignments(topics) = reply else { panic!("{reply:?}") };
    let codes = topics[0].partitions.iter().map(|p| p.result.as_ref().err().map(|error| error.code));
    let expected = [Some(ErrorCode::UnknownTopicOrPartition), None];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
}

#[test]
fn the_list_shows_what_is_under_way() {
    let mut cluster = brokers(4);
    let (topic, still) = (cluster.topic(&[1, 2]), cluster.topic(&[1, 2]));
    reassign_to(&mut cluster, topic, &[3, 2]);
    let name = |id| cluster.image.topic(id).unwrap().name.to_string();
    let (topic, still) = (name(topic), name(still));
    let expected = vec![(
        topic.clone(),
        vec![Ongoing { partition_id: 0, replicas: vec![3, 2, 1], adding: vec![3], removing: vec![1] }],
    )];
    assert_eq!(list(&cluster.image, None), expected);
    let asked: [(&str, &[i32]); 3] = [(&topic, &[0, 5]), (&still, &[0]), ("unknown", &[0])];
    assert_eq!(list(&cluster.image, Some(&asked)), expected);
    assert_eq!(list(&cluster.image, Some(&asked[1..])), vec![]);
}
