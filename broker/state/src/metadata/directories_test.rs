use super::*;
use crate::metadata::brokers::tests::{Cluster, registration_of, three_brokers};
use crate::metadata::brokers::{FenceBroker, Heartbeat, RegisterBroker};
use crate::metadata::command::Command;

const FIRST: Uuid = Uuid::from_u128(501);
const SECOND: Uuid = Uuid::from_u128(502);

/// Broker 1 has two directories, 2 and 3 have one each.
fn cluster() -> Cluster {
    let mut cluster = three_brokers();
    restart(&mut cluster, 77, true, &[FIRST, SECOND], &[]);
    cluster
}

fn restart(cluster: &mut Cluster, incarnation: u128, clean: bool, dirs: &[Uuid], offline: &[Uuid]) {
    let known = cluster.image.broker(1).unwrap().broker_epoch;
    let command = RegisterBroker {
        incarnation_id: Uuid::from_u128(incarnation),
        log_dirs: dirs.to_vec(),
        previous_broker_epoch: if clean { known } else { -1 },
        ..registration_of(1)
    };
    cluster.run(Command::FenceBroker(FenceBroker { broker_id: 1, broker_epoch: known }));
    cluster.run(Command::RegisterBroker(command));
    cluster.heartbeat(1, |h| h.offline_log_dirs = offline.to_vec());
}

fn assign_one_of(
    cluster: &mut Cluster,
    directory: Uuid,
    topic_id: Uuid,
    partition_id: i32,
) -> Result<(), ErrorCode> {
    let broker_epoch = cluster.image.broker(1).unwrap().broker_epoch;
    let replicas = vec![AssignedReplica { directory, topic_id, partition_id }];
    let command = AssignReplicasToDirs { broker_id: 1, broker_epoch, replicas };
    match cluster.run(Command::AssignReplicasToDirs(command)) {
        Reply::AssignReplicasToDirs(Ok(outcomes)) => outcomes[0],
        other => panic!("{other:?}"),
    }
}

fn lose_directories(cluster: &mut Cluster, offline: &[Uuid]) {
    cluster.heartbeat(1, |h: &mut Heartbeat| h.offline_log_dirs = offline.to_vec());
}

fn directory_of(cluster: &Cluster, topic_id: Uuid) -> Uuid {
    cluster.image.partition(topic_id, 0).unwrap().directory_of(1).unwrap()
}

#[test]
fn a_broker_says_where_its_replicas_are() {
    let mut cluster = cluster();
    let topic = cluster.topic(&[1, 2]);
    assert_eq!(directory_of(&cluster, topic), UNASSIGNED, "it has two to choose from");
    let epoch = cluster.image.partition(topic, 0).unwrap().leader_epoch;
    assert_eq!(assign_one_of(&mut cluster, SECOND, topic, 0), Ok(()));
    assert_eq!(directory_of(&cluster, topic), SECOND);
    assert_eq!(cluster.image.partition(topic, 0).unwrap().leader_epoch, epoch, "leaders stay");
    let index = cluster.image.partition(topic, 0).unwrap().partition_epoch;
    assert_eq!(assign_one_of(&mut cluster, SECOND, topic, 0), Ok(()));
    assert_eq!(cluster.image.partition(topic, 0).unwrap().partition_epoch, index, "nothing changes");
}

#[test]
fn a_replica_that_stands_twice_is_where_it_was_named_last() {
    let mut cluster = cluster();
    let topic_id = cluster.topic(&[1, 2]);
    let before = cluster.image.partition(topic_id, 0).unwrap().partition_epoch;
    let replicas = [FIRST, SECOND, SECOND];
    let replicas =
        replicas.map(|directory| AssignedReplica { directory, topic_id, partition_id: 0 }).to_vec();
    let broker_epoch = cluster.image.broker(1).unwrap().broker_epoch;
    let command = AssignReplicasToDirs { broker_id: 1, broker_epoch, replicas };
    let reply = cluster.run(Command::AssignReplicasToDirs(command));
    assert_eq!(reply, Reply::AssignReplicasToDirs(Ok(vec![Ok(()); 3])));
    assert_eq!(directory_of(&cluster, topic_id), SECOND);
    // The third says what the second said.
    assert_eq!(cluster.image.partition(topic_id, 0).unwrap().partition_epoch, before + 2);
}

#[test]
fn replicas_that_are_not_there_are_refused() {
    let mut cluster = cluster();
    let (topic, others) = (cluster.topic(&[1, 2]), cluster.topic(&[2, 3]));
    let check = |cluster: &mut Cluster, topic, partition, expected| {
        assert_eq!(assign_one_of(cluster, FIRST, topic, partition), Err(expected));
    };
    check(&mut cluster, Uuid::from_u128(9), 0, ErrorCode::UnknownTopicId);
    check(&mut cluster, topic, 3, ErrorCode::UnknownTopicOrPartition);
    check(&mut cluster, others, 0, ErrorCode::NotLeaderOrFollower);
    let stale = AssignReplicasToDirs { broker_id: 1, broker_epoch: 1, replicas: vec![] };
    let reply = cluster.run(Command::AssignReplicasToDirs(stale));
    let Reply::AssignReplicasToDirs(Err(error)) = reply else { panic!("{reply:?}") };
    assert_eq!(error.code, ErrorCode::StaleBrokerEpoch);
}

#[test]
fn what_was_in_a_lost_directory_is_led_by_others() {
    let mut cluster = cluster();
    let (lost, kept) = (cluster.topic(&[1, 2]), cluster.topic(&[1, 2]));
    assign_one_of(&mut cluster, FIRST, lost, 0).unwrap();
    assign_one_of(&mut cluster, SECOND, kept, 0).unwrap();
    lose_directories(&mut cluster, &[FIRST]);
    assert_eq!(cluster.leader_and_isr(lost), (Some(2), vec![2]));
    assert_eq!(cluster.leader_and_isr(kept), (Some(1), vec![1, 2]));
    assert_eq!(cluster.image.broker(1).unwrap().log_dirs, [SECOND]);
    assert!(cluster.image.is_active(1), "it goes on with the rest");
    let before = cluster.image.partition(lost, 0).unwrap().clone();
    lose_directories(&mut cluster, &[FIRST]);
    assert_eq!(*cluster.image.partition(lost, 0).unwrap(), before, "said again it changes nothing");
}

#[test]
fn who_has_lost_every_directory_is_fenced_and_leads_nothing() {
    let mut cluster = cluster();
    let (told, untold) = (cluster.topic(&[2, 3]), cluster.topic(&[1, 3]));
    let only = cluster.image.broker(2).unwrap().log_dirs.clone();
    cluster.heartbeat(2, |h| h.offline_log_dirs = only.clone());
    lose_directories(&mut cluster, &[FIRST, SECOND]);
    for topic in [told, untold] {
        assert_eq!(cluster.leader_and_isr(topic), (Some(3), vec![3]));
    }
    assert!(!cluster.image.is_active(1) && !cluster.image.is_active(2));
    let still = cluster.heartbeat(2, |h| h.offline_log_dirs = only.clone());
    assert!(still.is_fenced && !cluster.image.is_active(2), "it does not come back without a disk");
    cluster.lose(3);
    for topic in [told, untold] {
        assert_eq!(cluster.leader_and_isr(topic).0, None, "1 and 2 live, but have no disk");
    }
}

#[test]
fn a_process_that_does_not_name_a_directory_any_more_has_lost_it() {
    let mut cluster = cluster();
    let topic = cluster.topic(&[1, 2]);
    assign_one_of(&mut cluster, FIRST, topic, 0).unwrap();
    let again = RegisterBroker {
        incarnation_id: cluster.image.broker(1).unwrap().incarnation_id,
        log_dirs: vec![SECOND],
        ..registration_of(1)
    };
    cluster.run(Command::RegisterBroker(again));
    assert_eq!(cluster.leader_and_isr(topic), (Some(2), vec![2]));
    assert!(cluster.image.is_active(1));
}

/// The directory may come back with all its records; an empty replica elsewhere would have none.
#[test]
fn a_replica_in_a_lost_directory_is_not_elected() {
    let mut cluster = cluster();
    let topic = cluster.topic(&[1]);
    assign_one_of(&mut cluster, FIRST, topic, 0).unwrap();
    lose_directories(&mut cluster, &[FIRST]);
    assert_eq!(cluster.leader_and_isr(topic), (None, vec![]));
    restart(&mut cluster, 78, true, &[SECOND], &[FIRST]);
    assert_eq!(cluster.leader_and_isr(topic).0, None, "it is still away");
    restart(&mut cluster, 79, true, &[FIRST, SECOND], &[]);
    assert_eq!(cluster.leader_and_isr(topic), (Some(1), vec![1]), "it is back with its records");
}

#[test]
fn replicas_in_a_directory_that_was_removed_begin_anew() {
    let mut cluster = cluster();
    let topic = cluster.topic(&[1, 2]);
    cluster.configure(topic, "min.insync.replicas", "2");
    assign_one_of(&mut cluster, FIRST, topic, 0).unwrap();
    cluster.lose(1);
    assert_eq!(cluster.image.partition(topic, 0).unwrap().eligible_leader_replicas, [1]);
    // It comes back in good order and has all that it is configured with, but not that directory.
    restart(&mut cluster, 78, true, &[SECOND], &[]);
    assert_eq!(directory_of(&cluster, topic), SECOND);
    cluster.lose(2);
    assert_eq!(cluster.leader_and_isr(topic).0, None, "1 has nothing and is not eligible");
}

/// A node of its own whose directory got another id must go on: nobody else has its records.
#[test]
fn the_only_replica_leads_again_in_another_directory() {
    let mut cluster = cluster();
    let topic = cluster.topic(&[1]);
    assign_one_of(&mut cluster, FIRST, topic, 0).unwrap();
    restart(&mut cluster, 78, true, &[SECOND], &[]);
    assert_eq!((directory_of(&cluster, topic), cluster.leader_and_isr(topic)), (SECOND, (Some(1), vec![1])));
}

#[test]
fn a_replica_that_moved_after_its_directory_was_lost_is_not_in_sync() {
    let mut cluster = cluster();
    let topic = cluster.topic(&[1, 2]);
    cluster.configure(topic, "min.insync.replicas", "2");
    assign_one_of(&mut cluster, FIRST, topic, 0).unwrap();
    lose_directories(&mut cluster, &[FIRST]);
    assert_eq!(cluster.image.partition(topic, 0).unwrap().eligible_leader_replicas, [1]);
    assign_one_of(&mut cluster, SECOND, topic, 0).unwrap();
    let partition = cluster.image.partition(topic, 0).unwrap();
    assert_eq!((&*partition.isr, &*partition.eligible_leader_replicas), (&[2][..], &[][..]));
}

#[test]
fn an_assignment_to_a_directory_that_is_gone_takes_the_leadership() {
    let mut cluster = cluster();
    let topic = cluster.topic(&[1, 2]);
    assign_one_of(&mut cluster, Uuid::from_u128(999), topic, 0).unwrap();
    assert_eq!(cluster.leader_and_isr(topic), (Some(2), vec![2]));
}
