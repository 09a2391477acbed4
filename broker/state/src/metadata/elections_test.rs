use milena_protocol::types::Uuid;

use super::*;
use crate::metadata::brokers::tests::{Cluster, brokers, three_brokers};
use crate::metadata::command::Command;
use crate::metadata::partition_index::visits;
use crate::metadata::record::PartitionChange;

fn elect_in(
    cluster: &mut Cluster,
    election: Election,
    asked: Option<Vec<(String, Vec<i32>)>>,
) -> Vec<(String, i32, ErrorCode)> {
    match cluster.run(Command::ElectLeaders(ElectLeaders { election, partitions: asked })) {
        Reply::ElectLeaders(topics) => topics
            .into_iter()
            .flat_map(|elected| {
                let name = elected.topic;
                elected.partitions.into_iter().map(move |partition| {
                    let code = partition.result.err().map_or(ErrorCode::None, |error| error.code);
                    (name.clone(), partition.partition_id, code)
                })
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn name(cluster: &Cluster, topic_id: Uuid) -> String {
    cluster.image.topic(topic_id).unwrap().name.to_string()
}

/// Topic of 1 and 2, which 2 leads because 1 was away.
fn led_by_second() -> (Cluster, Uuid) {
    let mut cluster = three_brokers();
    let topic = cluster.topic(&[1, 2]);
    cluster.lose(1);
    cluster.heartbeat(1, |_| {});
    assert_eq!(cluster.leader_and_isr(topic), (Some(2), vec![2]));
    (cluster, topic)
}

#[test]
fn elections_on_demand_answer_for_each_partition() {
    let mut cluster = three_brokers();
    let topic = cluster.topic(&[1, 2]);
    let own = name(&cluster, topic);
    for (election, asked, partition, expected) in [
        (Election::Preferred, &*own, 0, ErrorCode::ElectionNotNeeded),
        (Election::Unclean, &own, 0, ErrorCode::ElectionNotNeeded),
        (Election::Preferred, &own, 1, ErrorCode::UnknownTopicOrPartition),
        (Election::Preferred, "u", 0, ErrorCode::UnknownTopicOrPartition),
    ] {
        let asked_for = Some(vec![(asked.to_owned(), vec![partition])]);
        let answer = elect_in(&mut cluster, election, asked_for);
        assert_eq!(answer, [(asked.to_owned(), partition, expected)]);
    }
    assert!(elect_in(&mut cluster, Election::Preferred, None).is_empty(), "none is needed anywhere");
}

#[test]
fn the_preferred_replica_leads_again_once_it_is_in_sync() {
    let (mut cluster, topic) = led_by_second();
    let own = name(&cluster, topic);
    let asked = |own: &str| Some(vec![(own.to_owned(), vec![0])]);
    let answer = elect_in(&mut cluster, Election::Preferred, asked(&own));
    assert_eq!(answer, [(own.clone(), 0, ErrorCode::PreferredLeaderNotAvailable)]);
    cluster.propose(topic, &[2, 1]).unwrap();
    let epoch = cluster.image.partition(topic, 0).unwrap().leader_epoch;
    assert_eq!(elect_in(&mut cluster, Election::Preferred, None), [(own, 0, ErrorCode::None)]);
    assert_eq!(cluster.leader_and_isr(topic), (Some(1), vec![2, 1]));
    assert_eq!(cluster.image.partition(topic, 0).unwrap().leader_epoch, epoch + 1);
}

#[test]
fn a_partition_that_stands_twice_is_elected_once() {
    let (mut cluster, topic) = led_by_second();
    let own = name(&cluster, topic);
    cluster.propose(topic, &[2, 1]).unwrap();
    let before = cluster.image.partition(topic, 0).unwrap().partition_epoch;
    let asked = Some(vec![(own.clone(), vec![0, 0]), (own.clone(), vec![0])]);
    let not_needed = (own.clone(), 0, ErrorCode::ElectionNotNeeded);
    let expected = [(own, 0, ErrorCode::None), not_needed.clone(), not_needed];
    assert_eq!(elect_in(&mut cluster, Election::Preferred, asked), expected);
    assert_eq!(cluster.image.partition(topic, 0).unwrap().partition_epoch, before + 1);
}

#[test]
fn an_unclean_election_takes_any_live_replica_whatever_the_topic_says() {
    let mut cluster = three_brokers();
    let topic = cluster.topic(&[1, 2]);
    cluster.lose(2);
    cluster.propose(topic, &[1]).unwrap();
    cluster.heartbeat(2, |_| {});
    cluster.lose(1);
    assert_eq!(cluster.leader_and_isr(topic), (None, vec![]));
    let own = name(&cluster, topic);
    assert_eq!(elect_in(&mut cluster, Election::Unclean, None), [(own.clone(), 0, ErrorCode::None)]);
    assert_eq!(cluster.leader_and_isr(topic), (Some(2), vec![2]));
    cluster.lose(2);
    let answer = elect_in(&mut cluster, Election::Unclean, Some(vec![(own.clone(), vec![0])]));
    assert_eq!(answer, [(own, 0, ErrorCode::EligibleLeadersNotAvailable)], "nobody lives");
}

fn balance_in(cluster: &mut Cluster) -> Round {
    match cluster.run(Command::BalanceLeaders) {
        Reply::BalanceLeaders(round) => round,
        other => panic!("{other:?}"),
    }
}

#[test]
fn balancing_moves_leaderships_to_preferred_replicas_that_are_in_sync() {
    let (mut cluster, topic) = led_by_second();
    let waiting = balance_in(&mut cluster);
    assert_eq!((waiting.elections, cluster.leader_and_isr(topic).0), (0, Some(2)), "it has not caught up");
    cluster.propose(topic, &[2, 1]).unwrap();
    assert_eq!(balance_in(&mut cluster), Round { elections: 1, is_full: false });
    assert_eq!(cluster.leader_and_isr(topic).0, Some(1));
    assert_eq!(balance_in(&mut cluster).elections, 0);
    cluster.lose(1);
    cluster.propose(topic, &[2]).unwrap();
    let mut looked_at = 0;
    let round = visits::during(|| looked_at = balance_in(&mut cluster).elections);
    assert_eq!((looked_at, round), (0, 0), "what a lost broker ought to lead is not even looked at");
}

#[test]
fn a_round_of_balancing_is_bounded() {
    let mut cluster = brokers(2);
    let count = ROUND_ELECTIONS_MAX + 5;
    let assignments: Vec<(i32, Vec<i32>)> = (0..count as i32).map(|index| (index, vec![1, 2])).collect();
    let new = crate::metadata::topics::NewTopic {
        name: "wide".to_owned(),
        topic_id: Uuid::from_u128(77),
        num_partitions: -1,
        replication_factor: -1,
        assignments,
        configs: vec![],
    };
    let command = crate::metadata::topics::CreateTopics { topics: vec![new], validate_only: false };
    cluster.run(Command::CreateTopics(command));
    // Others lead everything, and the preferred ones are in sync.
    for index in 0..count as i32 {
        let change =
            PartitionChange { leader: Some(Some(2)), ..PartitionChange::new(Uuid::from_u128(77), index) };
        cluster.image.apply(&Record::PartitionChange(change)).unwrap();
    }
    assert_eq!(balance_in(&mut cluster), Round { elections: ROUND_ELECTIONS_MAX, is_full: true });
    assert_eq!(balance_in(&mut cluster), Round { elections: 5, is_full: false });
    assert_eq!(cluster.image.leaderships(1), count);
}

#[test]
fn topics_that_begin_to_allow_it_get_a_leader_in_the_next_round() {
    let mut cluster = three_brokers();
    let topic = cluster.topic(&[1, 2]);
    let other = cluster.topic(&[1, 2]);
    for topic in [topic, other] {
        cluster.propose(topic, &[1]).unwrap();
    }
    cluster.lose(1);
    let unclean = |cluster: &mut Cluster| match cluster.run(Command::ElectUncleanLeaders) {
        Reply::ElectUncleanLeaders(round) => round.elections,
        other => panic!("{other:?}"),
    };
    assert_eq!(unclean(&mut cluster), 0);
    cluster.configure(topic, "unclean.leader.election.enable", "true");
    assert_eq!(unclean(&mut cluster), 1);
    assert_eq!(cluster.leader_and_isr(topic), (Some(2), vec![2]));
    assert_eq!(cluster.leader_and_isr(other).0, None, "this one does not allow it");
}
