use super::*;
use crate::config::broker::Settings;
use crate::metadata::brokers::tests::image_with_brokers;
use crate::metadata::record::{PartitionRecord, TopicRecord};

fn id() -> Uuid {
    Uuid::from_u128(42)
}

/// A partition in short: replicas, ISR, leader, ELR, last known leader.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    isr: Vec<i32>,
    leader: Option<i32>,
    elr: Vec<i32>,
    last_known: Vec<i32>,
}

fn state(isr: &[i32], leader: i32, elr: &[i32], last_known: &[i32]) -> State {
    State {
        isr: isr.to_vec(),
        leader: (leader >= 0).then_some(leader),
        elr: elr.to_vec(),
        last_known: last_known.to_vec(),
    }
}

fn partition(s: &State) -> Partition {
    Partition {
        replicas: vec![1, 2, 3],
        isr: s.isr.clone(),
        removing_replicas: vec![],
        adding_replicas: vec![],
        leader: s.leader,
        leader_recovery_state: RecoveryState::Recovered,
        leader_epoch: 3,
        partition_epoch: 9,
        directories: vec![Uuid::ZERO; 3],
        eligible_leader_replicas: s.elr.clone(),
        last_known_elr: s.last_known.clone(),
    }
}

const RULES: Rules = Rules { min_isr: 2, elr_enabled: true, unclean_election: false };

/// Applies the change that `wish` makes of `before`, with these brokers alive.
fn changed(
    before: &State,
    rules: Rules,
    alive: &[i32],
    wish: impl Fn(Change<'_>) -> Change<'_>,
) -> Partition {
    let before = partition(before);
    let acceptable = |broker: i32| alive.contains(&broker);
    let change = wish(Change::new(id(), 0, &before, rules, &acceptable)).build();
    let mut image = Image::default();
    image.apply(&Record::Topic(TopicRecord { name: "t".to_owned(), topic_id: id() })).unwrap();
    image.apply(&Record::Partition(before.to_record(id(), 0))).unwrap();
    if let Some(change) = change {
        image.apply(&Record::PartitionChange(change)).unwrap();
    }
    image.partition(id(), 0).unwrap().as_ref().clone()
}

fn check(before: State, alive: &[i32], isr: &[i32], after: State, leader_epoch: i32) {
    let result = changed(&before, RULES, alive, |change| change.isr(isr.to_vec()));
    let short = State {
        isr: result.isr,
        leader: result.leader,
        elr: result.eligible_leader_replicas,
        last_known: result.last_known_elr,
    };
    assert_eq!((short, result.leader_epoch), (after, leader_epoch), "from {before:?} to ISR {isr:?}");
}

#[test]
fn the_leader_stays_while_it_is_in_sync_and_alive() {
    check(state(&[1, 2, 3], 2, &[], &[]), &[1, 2, 3], &[2, 3], state(&[2, 3], 2, &[], &[]), 3);
}

#[test]
fn the_first_live_in_sync_replica_follows_a_lost_leader() {
    check(state(&[1, 2, 3], 1, &[], &[]), &[2, 3], &[2, 3], state(&[2, 3], 2, &[], &[]), 4);
    check(state(&[1, 2, 3], 1, &[], &[]), &[3], &[2, 3], state(&[2, 3], 3, &[], &[]), 4);
}

#[test]
fn below_the_minimum_those_who_were_in_sync_stay_eligible() {
    check(state(&[1, 2], 1, &[], &[]), &[2], &[2], state(&[2], 2, &[1], &[]), 4);
    check(state(&[2], 2, &[1], &[]), &[], &[], state(&[], -1, &[1, 2], &[2]), 4);
}

#[test]
fn an_eligible_replica_becomes_leader_and_the_only_one_in_sync() {
    check(state(&[], -1, &[1, 2], &[2]), &[1], &[], state(&[1], 1, &[2], &[]), 4);
}

#[test]
fn with_the_minimum_in_sync_again_nobody_else_is_eligible() {
    check(state(&[1], 1, &[2], &[]), &[1, 2], &[1, 2], state(&[1, 2], 1, &[], &[]), 3);
}

#[test]
fn an_unclean_restart_takes_in_sync_and_eligible_away() {
    let before = state(&[1], 1, &[2], &[]);
    let after = changed(&before, RULES, &[], |change| change.isr(vec![]).unclean_shutdown(1));
    assert_eq!((after.isr, after.leader), (vec![], None));
    assert_eq!((after.eligible_leader_replicas, after.last_known_elr), (vec![2], vec![1]));
}

#[test]
fn the_last_known_leader_returns_only_alive_and_counts_as_unclean() {
    let before = state(&[], -1, &[], &[1]);
    let dead = changed(&before, RULES, &[2, 3], |change| change);
    assert_eq!((dead.leader, dead.partition_epoch), (None, 9));
    let alive = changed(&before, RULES, &[1, 2], |change| change);
    assert_eq!((alive.leader, alive.isr), (Some(1), vec![1]));
    assert_eq!(alive.leader_recovery_state, RecoveryState::Recovering);
    assert!(alive.last_known_elr.is_empty());
}

#[test]
fn any_live_replica_leads_only_where_the_topic_allows_it() {
    let before = state(&[1], 1, &[], &[]);
    let unclean = Rules { unclean_election: true, ..RULES };
    let allowed = changed(&before, unclean, &[3], |change| change.isr(vec![]).unclean_shutdown(1));
    assert_eq!((allowed.leader, allowed.isr, allowed.leader_epoch), (Some(3), vec![3], 4));
    assert_eq!(allowed.leader_recovery_state, RecoveryState::Recovering);
    assert!(allowed.eligible_leader_replicas.is_empty());
    let refused = changed(&before, RULES, &[3], |change| change.isr(vec![]).unclean_shutdown(1));
    assert_eq!(refused.leader, None);
}

#[test]
fn without_eligible_replicas_the_last_member_stays_in_the_isr() {
    let rules = Rules { elr_enabled: false, ..RULES };
    let after = changed(&state(&[1], 1, &[], &[]), rules, &[2, 3], |change| change.isr(vec![]));
    assert_eq!((after.isr, after.leader), (vec![1], None));
    assert!(after.eligible_leader_replicas.is_empty() && after.last_known_elr.is_empty());
}

/// Who is in sync may have more than who is eligible, also while it cannot lead.
#[test]
fn an_eligible_replica_waits_while_anybody_is_in_sync() {
    check(state(&[1], 1, &[2], &[]), &[2], &[1], state(&[1], -1, &[2], &[]), 4);
}

#[test]
fn the_last_known_leader_waits_for_those_who_are_eligible() {
    let before = state(&[], -1, &[2], &[1]);
    let after = changed(&before, RULES, &[1], |change| change);
    assert_eq!((after.leader, after.partition_epoch), (None, 9), "2 has every record, and 1 may not");
}

#[test]
fn a_preferred_election_goes_back_to_the_first_replica() {
    let before = state(&[1, 2], 2, &[], &[]);
    let preferred =
        |change: Change<'_>| -> Option<PartitionChange> { change.election(Election::Preferred).build() };
    let p = partition(&before);
    let both = |broker: i32| [1, 2].contains(&broker);
    let change = preferred(Change::new(id(), 0, &p, RULES, &both)).unwrap();
    assert_eq!(change.leader, Some(Some(1)));
    let only_second = |broker: i32| broker == 2;
    assert_eq!(preferred(Change::new(id(), 0, &p, RULES, &only_second)), None);
}

fn image(leader_epoch: i32, partition_epoch: i32) -> Image {
    let mut image = image_with_brokers(&[1, 2, 3]);
    let p = partition(&state(&[1, 2], 1, &[], &[]));
    image.apply(&Record::Topic(TopicRecord { name: "t".to_owned(), topic_id: id() })).unwrap();
    let record = PartitionRecord { leader_epoch, partition_epoch, ..p.to_record(id(), 0) };
    image.apply(&Record::Partition(record)).unwrap();
    image
}

fn alter_with(image: &Image, change: impl Fn(&mut ProposedPartition)) -> Result<AlteredState, ErrorCode> {
    alter_in(image, change).0
}

fn alter_in(
    image: &Image,
    change: impl Fn(&mut ProposedPartition),
) -> (Result<AlteredState, ErrorCode>, Vec<Record>) {
    let mut proposal = ProposedPartition {
        topic_id: id(),
        partition_id: 0,
        leader_epoch: 3,
        partition_epoch: 9,
        new_isr: vec![(1, 10), (2, 11), (3, 12)],
        leader_recovery_state: RecoveryState::Recovered,
    };
    change(&mut proposal);
    let settings = Settings::own_defaults();
    let command = AlterPartition { broker_id: 1, broker_epoch: 10, partitions: vec![proposal] };
    let decision = alter(image, &command, Context { now_ms: 0, settings: &settings });
    match decision.reply {
        Reply::AlterPartition(Ok(answers)) => (answers[0].result.clone(), decision.records),
        other => panic!("{other:?}"),
    }
}

#[test]
fn proposals_are_checked_in_kafkas_order() {
    let image = image(3, 9);
    let grown = alter_with(&image, |_| {}).unwrap();
    assert_eq!((grown.isr, grown.partition_epoch, grown.leader_epoch), (vec![1, 2, 3], 10, 3));
    type Edit = fn(&mut ProposedPartition);
    let cases: [(Edit, ErrorCode); 13] = [
        (|p| p.topic_id = Uuid::from_u128(9), ErrorCode::UnknownTopicId),
        (|p| p.partition_id = 7, ErrorCode::UnknownTopicOrPartition),
        (|p| p.leader_epoch = 4, ErrorCode::NotController),
        (|p| p.partition_epoch = 10, ErrorCode::NotController),
        (|p| p.leader_epoch = 2, ErrorCode::FencedLeaderEpoch),
        (|p| p.partition_epoch = 8, ErrorCode::InvalidUpdateVersion),
        (|p| p.new_isr = vec![(2, 11)], ErrorCode::InvalidRequest),
        (|p| p.new_isr = vec![(1, 10), (1, 10)], ErrorCode::InvalidRequest),
        (|p| p.new_isr = vec![(1, 10), (4, -1)], ErrorCode::InvalidRequest),
        (|p| p.leader_recovery_state = RecoveryState::Recovering, ErrorCode::InvalidRequest),
        (|p| p.new_isr = vec![(1, 10), (2, 10)], ErrorCode::IneligibleReplica),
        (|p| p.new_isr = vec![(1, 9)], ErrorCode::IneligibleReplica),
        (
            |p| {
                p.new_isr = vec![];
            },
            ErrorCode::InvalidRequest,
        ),
    ];
    for (index, (edit, code)) in cases.into_iter().enumerate() {
        assert_eq!(alter_with(&image, edit), Err(code), "case {index}");
    }
    assert!(alter_with(&image, |p| p.new_isr = vec![(1, -1), (3, -1)]).is_ok(), "unknown epochs pass");
}

#[test]
fn only_the_leader_proposes() {
    let image = image(3, 9);
    let settings = Settings::own_defaults();
    let proposal = ProposedPartition {
        topic_id: id(),
        partition_id: 0,
        leader_epoch: 3,
        partition_epoch: 9,
        new_isr: vec![(2, 11), (1, 10)],
        leader_recovery_state: RecoveryState::Recovered,
    };
    let command = AlterPartition { broker_id: 2, broker_epoch: 11, partitions: vec![proposal] };
    let decision = alter(&image, &command, Context { now_ms: 0, settings: &settings });
    let Reply::AlterPartition(Ok(answers)) = decision.reply else { panic!("{:?}", decision.reply) };
    assert_eq!((&answers[0].result, decision.records.len()), (&Err(ErrorCode::InvalidRequest), 0));
}

#[test]
fn fenced_and_leaving_brokers_do_not_join() {
    for (fenced, leaving) in [(Some(true), None), (None, Some(true))] {
        let mut image = image(3, 9);
        let change = crate::metadata::record::BrokerRegistrationChange {
            broker_id: 3,
            broker_epoch: 12,
            fenced,
            in_controlled_shutdown: leaving,
            log_dirs: None,
        };
        image.apply(&Record::BrokerRegistrationChange(change)).unwrap();
        for epoch in [12, -1] {
            let answer = alter_with(&image, |p| p.new_isr = vec![(1, 10), (3, epoch)]);
            assert_eq!(answer, Err(ErrorCode::IneligibleReplica), "{fenced:?} {leaving:?} {epoch}");
        }
    }
}

/// Kafka accepts the copy; the leader does not wait for that member any more.
#[test]
fn a_copy_of_a_refused_proposal_is_never_accepted() {
    let mut image = image(3, 9);
    let registration = |fenced| {
        Record::BrokerRegistrationChange(crate::metadata::record::BrokerRegistrationChange {
            broker_id: 3,
            broker_epoch: 12,
            fenced: Some(fenced),
            in_controlled_shutdown: None,
            log_dirs: None,
        })
    };
    image.apply(&registration(true)).unwrap();
    let before = Partition::clone(image.partition(id(), 0).unwrap());
    let (answer, records) = alter_in(&image, |_| {});
    assert_eq!((answer, records.len()), (Err(ErrorCode::IneligibleReplica), 1));
    image.apply(&records[0]).unwrap();
    let stated = Partition { partition_epoch: before.partition_epoch + 1, ..before };
    assert_eq!(**image.partition(id(), 0).unwrap(), stated, "nothing else has changed");
    image.apply(&registration(false)).unwrap();
    assert_eq!(alter_with(&image, |_| {}), Err(ErrorCode::InvalidUpdateVersion));
    assert!(alter_with(&image, |proposal| proposal.partition_epoch = 10).is_ok());
}

#[test]
fn a_leader_that_recovers_is_alone_until_it_has() {
    let recovers = |partition: RecoveryState, proposed: RecoveryState, isr: &[(i32, i64)]| {
        let mut image = image(3, 9);
        let mut record = image.partition(id(), 0).unwrap().to_record(id(), 0);
        record.leader_recovery_state = partition;
        image.apply(&Record::Partition(record)).unwrap();
        let answer = alter_with(&image, |p| {
            p.new_isr = isr.to_vec();
            p.leader_recovery_state = proposed;
        });
        answer.map(|state| state.leader_recovery_state)
    };
    use RecoveryState::{Recovered, Recovering};
    let (alone, both) = (&[(1, 10)][..], &[(1, 10), (2, 11)][..]);
    assert_eq!(recovers(Recovering, Recovering, alone), Ok(Recovering));
    assert_eq!(recovers(Recovering, Recovering, both), Err(ErrorCode::InvalidRequest));
    assert_eq!(recovers(Recovering, Recovered, both), Ok(Recovered));
    assert_eq!(recovers(Recovered, Recovering, alone), Err(ErrorCode::InvalidRequest));
}

#[test]
fn an_old_incarnation_may_not_propose() {
    let image = image(3, 9);
    let settings = Settings::own_defaults();
    for (broker_id, code) in [(1, ErrorCode::StaleBrokerEpoch), (8, ErrorCode::BrokerIdNotRegistered)] {
        let command = AlterPartition { broker_id, broker_epoch: 1, partitions: vec![] };
        let decision = alter(&image, &command, Context { now_ms: 0, settings: &settings });
        let Reply::AlterPartition(Err(error)) = decision.reply else { panic!("{:?}", decision.reply) };
        assert_eq!(error.code, code);
    }
}

/// Kafka decides both on the same state, answers the same epoch twice and then applies two changes.
#[test]
fn a_second_mention_is_decided_on_what_the_first_left() {
    let mut image = image(3, 9);
    let proposal = |partition_epoch, isr: &[(i32, i64)]| ProposedPartition {
        topic_id: id(),
        partition_id: 0,
        leader_epoch: 3,
        partition_epoch,
        new_isr: isr.to_vec(),
        leader_recovery_state: RecoveryState::Recovered,
    };
    let partitions =
        vec![proposal(9, &[(1, 10)]), proposal(9, &[(1, 10), (2, 11)]), proposal(10, &[(1, 10), (3, 12)])];
    let settings = Settings::own_defaults();
    let command = AlterPartition { broker_id: 1, broker_epoch: 10, partitions };
    let decision = alter(&image, &command, Context { now_ms: 0, settings: &settings });
    let Reply::AlterPartition(Ok(answers)) = decision.reply else { panic!("{:?}", decision.reply) };
    let told =
        answers.into_iter().map(|answer| answer.result.map(|state| (state.isr, state.partition_epoch)));
    let expected = [Ok((vec![1], 10)), Err(ErrorCode::InvalidUpdateVersion), Ok((vec![1, 3], 11))];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    decision.records.iter().for_each(|record| image.apply(record).unwrap());
    let after = image.partition(id(), 0).unwrap();
    assert_eq!((&after.isr, after.partition_epoch), (&vec![1, 3], 11), "what was answered is what is");
}
