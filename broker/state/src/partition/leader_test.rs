use milena_protocol::types::Uuid;
use proptest::prelude::*;

use super::*;
use crate::metadata::record::RecoveryState;

const RULES: Rules = Rules { min_insync_replicas: 1, durable: false, replica_lag_time_max_ms: 1000 };

fn partition(replicas: &[i32], isr: &[i32]) -> Partition {
    Partition {
        replicas: replicas.to_vec(),
        isr: isr.to_vec(),
        removing_replicas: vec![],
        adding_replicas: vec![],
        leader: Some(1),
        leader_recovery_state: RecoveryState::Recovered,
        leader_epoch: 5,
        partition_epoch: 9,
        directories: vec![Uuid::ZERO; replicas.len()],
        eligible_leader_replicas: vec![],
        last_known_elr: vec![],
    }
}

fn ends(log_end_offset: i64, high_watermark: i64) -> LogEnds {
    LogEnds { log_start_offset: 0, log_end_offset, synced_offset: 0, high_watermark }
}

fn leader(replicas: &[i32], isr: &[i32], rules: Rules, at: LogEnds) -> Leader {
    let (mut leader, _) = Leader::new(1, 77, &partition(replicas, isr), at, rules, 0);
    for id in replicas {
        let _ = leader.set_eligible(*id, Some(70 + i64::from(*id)), 0);
    }
    leader
}

fn of(broker_id: i32, broker_epoch: i64, fetch_offset: i64) -> Fetched {
    Fetched { broker_id, broker_epoch, fetch_offset, log_start_offset: 0 }
}

fn fetch(leader: &mut Leader, broker_id: i32, fetch_offset: i64, now_ms: i64) -> Effects {
    leader.fetched(of(broker_id, 70 + i64::from(broker_id), fetch_offset), now_ms).unwrap()
}

#[test]
fn with_one_replica_every_append_commits_at_once() {
    let (mut leader, effects) = Leader::new(1, 77, &partition(&[1], &[1]), ends(4, 0), RULES, 0);
    assert_eq!(effects, Effects { advance_high_watermark: Some(4), ..Effects::default() });
    let effects = leader.appended(7, 1);
    assert_eq!(effects, Effects { advance_high_watermark: Some(7), ..Effects::default() });
    assert_eq!(leader.acks_all_outcome(7, 5), Some(Ok(())));
    assert_eq!(leader.tick(1_000_000), Effects::default());
}

#[test]
fn durable_commits_only_what_is_synced() {
    let durable = Rules { durable: true, ..RULES };
    let mut leader = leader(&[1], &[1], durable, ends(0, 0));
    assert_eq!(leader.appended(10, 1), Effects::default());
    assert_eq!(leader.acks_all_outcome(10, 5), None);
    assert_eq!(leader.synced(6, 2).advance_high_watermark, Some(6));
    assert_eq!(leader.synced(4, 2), Effects::default(), "a late notice of an older sync");
    assert_eq!(leader.synced(99, 2).advance_high_watermark, Some(10), "not past the end of the log");
}

#[test]
fn the_high_watermark_is_the_least_end_of_the_isr() {
    let mut leader = leader(&[1, 2, 3], &[1, 2, 3], RULES, ends(0, 0));
    let effects = leader.appended(10, 1);
    assert_eq!(effects, Effects::default());
    assert_eq!(fetch(&mut leader, 2, 10, 2), Effects::default(), "3 has not fetched yet");
    assert_eq!(fetch(&mut leader, 3, 4, 2).advance_high_watermark, Some(4));
    assert_eq!(fetch(&mut leader, 3, 10, 3).advance_high_watermark, Some(10));
}

#[test]
fn under_the_minimum_the_watermark_stands_still_and_acks_all_is_refused() {
    let rules = Rules { min_insync_replicas: 2, ..RULES };
    let mut leader = leader(&[1, 2], &[1], rules, ends(5, 3));
    assert_eq!(leader.check_acks_all(), Err(ErrorCode::NotEnoughReplicas));
    assert_eq!(leader.appended(8, 1).advance_high_watermark, None);
    assert_eq!(leader.high_watermark(), 3);
    assert_eq!(leader.acks_all_outcome(3, 5), Some(Err(ErrorCode::NotEnoughReplicasAfterAppend)));
    let relaxed = Rules { min_insync_replicas: 1, ..rules };
    assert_eq!(leader.set_rules(relaxed, 1).advance_high_watermark, Some(8));
    assert_eq!(leader.check_acks_all(), Ok(()));
}

#[test]
fn an_append_of_an_earlier_leadership_is_not_acknowledged_by_a_later_one() {
    let leader = leader(&[1], &[1], RULES, ends(10, 0));
    assert_eq!(leader.acks_all_outcome(7, 4), Some(Err(ErrorCode::NotLeaderOrFollower)));
    assert_eq!(leader.acks_all_outcome(11, 4), Some(Err(ErrorCode::NotLeaderOrFollower)), "it must not wait");
    assert_eq!(leader.acks_all_outcome(7, 5), Some(Ok(())));
    assert_eq!(leader.check_appended_in(4), Err(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn a_minimum_above_the_replicas_means_all_of_them() {
    let leader = leader(&[1], &[1], Rules { min_insync_replicas: 3, ..RULES }, ends(0, 0));
    assert_eq!(leader.check_acks_all(), Ok(()));
}

/// A reassignment adds replicas that copy for minutes: nobody waits for them meanwhile, and nobody for one that did not
/// begin.
#[test]
fn a_replica_that_is_added_is_not_waited_for_before_it_has_caught_up() {
    let mut leader = leader(&[1, 2], &[1, 2], RULES, ends(10, 10));
    let grown = Partition { partition_epoch: 10, ..partition(&[1, 2, 3, 4], &[1, 2]) };
    assert_eq!(leader.image_changed(&grown, 1), Effects::default());
    let _ = (leader.set_eligible(3, Some(73), 1), leader.set_eligible(4, Some(74), 1));
    assert_eq!(fetch(&mut leader, 3, 0, 2), Effects::default());
    let _ = leader.appended(20, 3);
    assert_eq!(fetch(&mut leader, 2, 20, 4).advance_high_watermark, Some(20));
    // It joins with the watermark, is waited for from then on, and has its time to reach the end.
    let _ = leader.appended(30, 5);
    let proposed = fetch(&mut leader, 3, 20, 1_000_000).propose_isr.expect("it has what is committed");
    assert_eq!(proposed.new_isr, [(1, 77), (2, 72), (3, 73)]);
    assert_eq!(fetch(&mut leader, 2, 30, 1_000_001).advance_high_watermark, None);
    let joined = leader.proposal_answered(&proposed, Ok((11, vec![1, 2, 3])), 1_000_002);
    assert_eq!(joined, Effects::default());
    assert_eq!(leader.tick(1_000_003), Effects::default());
    assert_eq!(fetch(&mut leader, 3, 30, 1_000_004).advance_high_watermark, Some(30));
}

#[test]
fn a_follower_joins_when_it_has_the_watermark_and_the_start_of_the_epoch() {
    // The watermark is behind the epoch's start: a replica at 6 may lack what was committed at 7.
    let mut leader = leader(&[1, 2, 3], &[1, 3], RULES, ends(10, 5));
    assert_eq!(fetch(&mut leader, 2, 6, 1).propose_isr, None);
    let effects = fetch(&mut leader, 2, 10, 2);
    let expected =
        ProposeIsr { leader_epoch: 5, partition_epoch: 9, new_isr: vec![(1, 77), (3, -1), (2, 72)] };
    assert_eq!(effects.propose_isr, Some(expected));
    assert_eq!(fetch(&mut leader, 2, 10, 3).propose_isr, None, "one proposal at a time");
}

#[test]
fn an_ineligible_follower_never_joins() {
    let mut leader = leader(&[1, 2], &[1], RULES, ends(10, 10));
    let _ = leader.set_eligible(2, None, 0);
    assert_eq!(fetch(&mut leader, 2, 10, 1).propose_isr, None);
    let _ = leader.set_eligible(2, Some(72), 0);
    assert!(fetch(&mut leader, 2, 10, 2).propose_isr.is_some());
}

#[test]
fn the_watermark_waits_for_a_member_that_is_only_proposed() {
    let mut leader = leader(&[1, 2], &[1], RULES, ends(10, 10));
    let asked = fetch(&mut leader, 2, 10, 1).propose_isr.expect("it has everything");
    // Long after, it is lagging and still may be in the ISR for all we know.
    assert_eq!(leader.appended(15, 1).advance_high_watermark, None);
    assert_eq!(leader.appended(20, 50_000).advance_high_watermark, None);
    let unknown = leader.proposal_answered(&asked, Err(ErrorCode::RequestTimedOut), 50_000);
    assert!(unknown.propose_isr.is_some(), "asked again");
    assert_eq!(leader.high_watermark(), 10);
    let refused = leader.proposal_answered(&asked, Err(ErrorCode::IneligibleReplica), 50_000);
    assert_eq!(refused.advance_high_watermark, Some(20));
}

#[test]
fn a_lagging_member_is_proposed_away_and_counts_until_it_is_gone() {
    let mut leader = leader(&[1, 2], &[1, 2], RULES, ends(0, 0));
    let _ = leader.appended(10, 0);
    let _ = fetch(&mut leader, 2, 4, 500);
    assert_eq!(leader.tick(1_000), Effects::default());
    let effects = leader.tick(1_501);
    let expected = ProposeIsr { leader_epoch: 5, partition_epoch: 9, new_isr: vec![(1, 77)] };
    assert_eq!(effects.propose_isr.as_ref(), Some(&expected));
    assert_eq!((leader.high_watermark(), leader.tick(9_000)), (4, Effects::default()));
    let effects = leader.proposal_answered(&expected, Ok((10, vec![1])), 9_000);
    assert_eq!((effects.advance_high_watermark, leader.isr()), (Some(10), [1].as_slice()));
}

#[test]
fn a_follower_under_constant_load_is_caught_up_one_fetch_ago() {
    let mut leader = leader(&[1, 2], &[1, 2], RULES, ends(0, 0));
    for round in 1..20 {
        let _ = leader.appended(round * 10, round * 400);
        // It has what we had when it fetched last, never what we have now.
        let _ = fetch(&mut leader, 2, (round - 1) * 10, round * 400);
        assert_eq!(leader.tick(round * 400), Effects::default(), "round {round}");
    }
}

#[test]
fn a_newer_image_settles_the_isr_and_an_older_one_is_passed_over() {
    let mut leader = leader(&[1, 2], &[1, 2], RULES, ends(10, 0));
    let newer = Partition { partition_epoch: 10, ..partition(&[1, 2], &[1]) };
    assert_eq!(leader.image_changed(&newer, 1).advance_high_watermark, Some(10));
    let older = partition(&[1, 2], &[1, 2]);
    assert_eq!(leader.image_changed(&older, 2), Effects::default());
    assert_eq!((leader.isr(), leader.partition_epoch()), ([1].as_slice(), 10));
    let asked = ProposeIsr { leader_epoch: 5, partition_epoch: 9, new_isr: Vec::new() };
    let answer = leader.proposal_answered(&asked, Ok((10, vec![1, 2])), 2);
    assert_eq!((answer, leader.isr()), (Effects::default(), [1].as_slice()), "an answer of the past");
}

#[test]
fn a_follower_that_is_only_proposed_is_waited_for() {
    let mut leader = leader(&[1, 2, 3], &[1], RULES, ends(10, 10));
    assert!(!leader.waits_for(2, 1) && !leader.waits_for(3, 1));
    let asked = fetch(&mut leader, 2, 10, 1).propose_isr.expect("it has everything");
    let _ = leader.appended(20, 1);
    let much_later = 1 + 100 * RULES.replica_lag_time_max_ms;
    assert!(leader.waits_for(2, much_later), "the controller may have said yes");
    let _ = leader.proposal_answered(&asked, Err(ErrorCode::IneligibleReplica), much_later);
    assert!(!leader.waits_for(2, much_later));
}

#[test]
fn a_proposal_is_asked_again_with_the_broker_epochs_of_then() {
    let mut leader = leader(&[1, 2], &[1], RULES, ends(10, 10));
    let asked = fetch(&mut leader, 2, 10, 1).propose_isr.expect("it has everything");
    assert_eq!(asked.new_isr, [(1, 77), (2, 72)]);
    // The follower has crashed and lost some.
    let _ = leader.set_eligible(2, Some(99), 2);
    let _ = leader.fetched(of(2, 99, 4), 2).expect("within the log");
    let again = leader.proposal_answered(&asked, Err(ErrorCode::RequestTimedOut), 3);
    assert_eq!(again.propose_isr, Some(asked));
}

#[test]
fn the_answer_to_a_proposal_that_an_image_has_settled_says_nothing_of_the_next_one() {
    let mut leader = leader(&[1, 2, 3], &[1], RULES, ends(10, 10));
    let first = fetch(&mut leader, 2, 10, 1).propose_isr.expect("it has everything");
    // Refused, and the image that shows the refusal is here before the answer.
    let newer = Partition { partition_epoch: 10, ..partition(&[1, 2, 3], &[1]) };
    let _ = leader.image_changed(&newer, 2);
    let second = fetch(&mut leader, 3, 10, 3).propose_isr.expect("it has everything");
    for answer in [ErrorCode::IneligibleReplica, ErrorCode::RequestTimedOut] {
        assert_eq!(leader.proposal_answered(&first, Err(answer), 4), Effects::default());
    }
    // The second may be committed at any time, so the watermark waits for its new member.
    assert_eq!(leader.appended(20, 5).advance_high_watermark, None);
    let answered = leader.proposal_answered(&second, Ok((11, vec![1, 3])), 6);
    assert_eq!((answered.advance_high_watermark, leader.isr()), (None, [1, 3].as_slice()));
}

#[test]
fn epochs_of_the_past_are_fenced_and_those_to_come_unknown() {
    let leader = leader(&[1], &[1], RULES, ends(0, 0));
    let cases = [
        (-1, Ok(())),
        (5, Ok(())),
        (4, Err(ErrorCode::FencedLeaderEpoch)),
        (6, Err(ErrorCode::UnknownLeaderEpoch)),
    ];
    for (epoch, expected) in cases {
        assert_eq!(leader.check_leader_epoch(epoch), expected, "epoch {epoch}");
    }
}

#[test]
fn epochs_below_zero_are_fenced_but_in_a_fetch_they_are_none() {
    let leader = leader(&[1], &[1], RULES, ends(0, 0));
    for epoch in [-2, i32::MIN] {
        assert_eq!(leader.check_leader_epoch(epoch), Err(ErrorCode::FencedLeaderEpoch), "{epoch}");
        assert_eq!(leader.check_leader_epoch(leader_epoch_of_fetch(epoch)), Ok(()), "{epoch}");
    }
    assert_eq!([-1, 0, 7].map(leader_epoch_of_fetch), [-1, 0, 7]);
}

#[test]
fn strangers_and_offsets_past_the_end_are_refused() {
    let mut leader = leader(&[1, 2], &[1], RULES, ends(10, 0));
    let fetched = |broker_id, fetch_offset| of(broker_id, 1, fetch_offset);
    assert_eq!(leader.fetched(fetched(3, 0), 0), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(leader.fetched(fetched(2, 11), 0), Err(ErrorCode::OffsetOutOfRange));
}

#[test]
fn offsets_are_available_once_the_watermark_reached_the_epoch() {
    let mut leader = leader(&[1, 2], &[1, 2], RULES, ends(10, 4));
    assert_eq!(leader.check_offsets_available(), Err(ErrorCode::OffsetNotAvailable));
    let _ = fetch(&mut leader, 2, 10, 1);
    assert_eq!(leader.check_offsets_available(), Ok(()));
}

#[test]
fn the_watermark_is_never_below_the_log_start() {
    let mut leader = leader(&[1, 2], &[1, 2], RULES, ends(10, 2));
    assert_eq!(leader.log_start_moved(1), Effects::default());
    assert_eq!(leader.log_start_moved(6).advance_high_watermark, Some(6));
    let at = LogEnds { log_start_offset: 8, log_end_offset: 10, synced_offset: 10, high_watermark: 2 };
    assert_eq!(leader_at(at).high_watermark(), 8);
}

fn leader_at(at: LogEnds) -> Leader {
    leader(&[1, 2], &[1, 2], RULES, at)
}

#[derive(Debug, Clone)]
enum Event {
    Append(i64),
    Sync(i64),
    Fetch(i32, i64),
    Tick,
    Answer(bool),
    MinIsr(i32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1..20_i64).prop_map(Event::Append),
        (0..300_i64).prop_map(Event::Sync),
        (2..4_i32, 0..30_i64).prop_map(|(broker, behind)| Event::Fetch(broker, behind)),
        Just(Event::Tick),
        any::<bool>().prop_map(Event::Answer),
        (1..4_i32).prop_map(Event::MinIsr),
    ]
}

proptest! {
    /// The watermark only rises, stays within the log, and never passes a member of the maximal ISR
    /// that we have heard of; every rise is told.
    #[test]
    fn the_watermark_keeps_its_promises(events in prop::collection::vec(event(), 1..200), durable in any::<bool>()) {
        let mut rules = Rules { durable, ..RULES };
        let mut leader = leader(&[1, 2, 3], &[1, 2, 3], rules, ends(0, 0));
        let mut reached = std::collections::BTreeMap::from([(2, 0), (3, 0)]);
        let mut proposed: Option<ProposeIsr> = None;
        for (at, event) in events.into_iter().enumerate() {
            let now_ms = at as i64 * 300;
            let before = leader.high_watermark();
            let end = leader.log_end_offset();
            let effects = match event {
                Event::Append(records) => leader.appended(end + records, now_ms),
                Event::Sync(offset) => leader.synced(offset, now_ms),
                Event::Fetch(broker, behind) => {
                    // A replica never unlearns: truncation happens below no committed record.
                    let offset = (end - behind).max(reached[&broker]);
                    reached.insert(broker, offset);
                    fetch(&mut leader, broker, offset, now_ms)
                }
                Event::Tick => leader.tick(now_ms),
                Event::Answer(accept) => match proposed.take() {
                    Some(asked) if accept => {
                        let isr = asked.new_isr.iter().map(|(id, _)| *id).collect();
                        leader.proposal_answered(&asked, Ok((leader.partition_epoch() + 1, isr)), now_ms)
                    }
                    Some(asked) => leader.proposal_answered(&asked, Err(ErrorCode::IneligibleReplica), now_ms),
                    None => Effects::default(),
                },
                Event::MinIsr(min) => {
                    rules.min_insync_replicas = min;
                    leader.set_rules(rules, now_ms)
                }
            };
            if let Some(proposal) = effects.propose_isr {
                prop_assert!(proposed.is_none(), "one proposal at a time");
                proposed = Some(proposal);
            }
            let after = leader.high_watermark();
            prop_assert!(after >= before && after <= leader.log_end_offset());
            prop_assert_eq!(effects.advance_high_watermark, (after > before).then_some(after));
            if after > before {
                let joining = proposed.iter().flat_map(|asked| asked.new_isr.iter().map(|(id, _)| id));
                let waits_for = joining.chain(leader.isr());
                for member in waits_for.filter(|id| **id != 1) {
                    prop_assert!(after <= reached[member], "{} <= end of {}", after, member);
                }
                prop_assert!(!leader.is_under_min_isr());
            }
        }
    }
}

#[test]
fn only_minus_one_means_that_a_client_knows_no_leader_epoch() {
    let codes = [-2, -1, 4, 5, 6].map(|epoch| check_leader_epoch(5, epoch).err());
    let (fenced, unknown) = (Some(ErrorCode::FencedLeaderEpoch), Some(ErrorCode::UnknownLeaderEpoch));
    assert_eq!(codes, [fenced, None, fenced, None, unknown]);
}

#[test]
fn a_process_that_was_followed_by_another_does_not_fetch_any_more() {
    let mut leader = leader(&[1, 2], &[1, 2], RULES, ends(10, 0));
    assert_eq!(leader.fetched(of(2, 80, 10), 1).map(|effects| effects.advance_high_watermark), Ok(Some(10)));
    assert_eq!(leader.fetched(of(2, 79, 4), 1), Err(ErrorCode::NotLeaderOrFollower));
    assert!(leader.fetched(of(2, 81, 4), 1).is_ok(), "the next one begins where it stands");
    assert_eq!(leader.high_watermark(), 10);
}

#[test]
fn only_the_process_that_the_image_finds_fit_joins() {
    let mut leader = leader(&[1, 2], &[1], RULES, ends(0, 0));
    let _ = leader.appended(5, 0);
    assert_eq!(leader.fetched(of(2, 71, 5), 1).unwrap().propose_isr, None, "the image knows epoch 72");
    let _ = leader.set_eligible(2, Some(71), 1);
    let proposed = leader.fetched(of(2, 71, 5), 1).unwrap().propose_isr.expect("it joins");
    assert_eq!(proposed.new_isr, [(1, 77), (2, 71)]);
}

/// A broker that died while it caught up must not hold the watermark back for as long as it may lag.
#[test]
fn the_watermark_does_not_wait_for_a_broker_that_the_image_fenced() {
    let mut leader = leader(&[1, 2, 3], &[1, 3], RULES, ends(10, 0));
    let proposed = fetch(&mut leader, 2, 10, 1).propose_isr.expect("it has everything");
    // The controller does not know of that broker yet.
    let refused = leader.proposal_answered(&proposed, Err(ErrorCode::IneligibleReplica), 1);
    assert_eq!(refused, Effects::default());
    let _ = leader.appended(20, 1);
    assert_eq!(fetch(&mut leader, 3, 20, 1).advance_high_watermark, Some(10), "2 is about to join");
    assert_eq!(leader.set_eligible(2, None, 2).advance_high_watermark, Some(20));
    assert_eq!(leader.set_eligible(2, None, 2), Effects::default());
}

#[test]
fn consumers_are_sent_to_the_replica_of_their_rack_that_has_most() {
    let racks = |id: i32| ["", "a", "b", "b", "b", "c"].get(id as usize).copied();
    let mut leader = leader(&[1, 2, 3, 4, 5], &[1, 2, 3, 5], RULES, ends(20, 0));
    for (id, end) in [(2, 12), (3, 15), (4, 20)] {
        let _ = fetch(&mut leader, id, end, 1);
    }
    for (rack, offset, chosen) in [
        ("", 0, None),
        ("a", 0, None),
        ("b", 0, Some(3)),
        ("b", 13, Some(3)),
        // 4 has it, and is not in sync.
        ("b", 16, None),
        // 5 has not fetched yet.
        ("c", 0, None),
        ("d", 0, None),
    ] {
        assert_eq!(leader.preferred_replica(rack, offset, racks), chosen, "{rack} {offset}");
    }
}

#[test]
fn the_low_watermark_is_the_lowest_log_start_of_those_alive() {
    let mut leader = leader(&[1, 2, 3], &[1, 2, 3], RULES, ends(20, 0));
    assert_eq!(leader.low_watermark(9), None, "nobody has said");
    let _ = leader.fetched(Fetched { log_start_offset: 7, ..of(2, 72, 20) }, 1);
    assert_eq!(leader.low_watermark(9), None, "3 has not said");
    let _ = leader.set_eligible(3, None, 1);
    assert_eq!((leader.low_watermark(9), leader.low_watermark(4)), (Some(7), Some(4)));
}

#[test]
fn only_another_broker_with_a_replica_fetches_as_one() {
    let mut leader = leader(&[1, 2, 3], &[1, 2, 3], RULES, ends(0, 0));
    for (id, allowed) in [(1, false), (2, true), (3, true), (4, false)] {
        let fetched = leader.fetched(of(id, 70, 0), 1).map(|_| ());
        let expected = if allowed { Ok(()) } else { Err(ErrorCode::NotLeaderOrFollower) };
        assert_eq!((fetched, leader.is_follower(id)), (expected, allowed), "{id}");
    }
}

#[test]
fn a_follower_that_had_everything_until_now_does_not_lag_with_the_first_record_after_a_pause() {
    let mut leader = leader(&[1, 2, 3], &[1, 2, 3], RULES, ends(0, 0));
    let _ = fetch(&mut leader, 2, 0, 1);
    let _ = leader.appended(1, 100_000);
    let proposed = leader.tick(100_500).propose_isr.expect("3 never fetched");
    assert_eq!(proposed.new_isr.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2]);
    let mut leader = self::leader(&[1, 2], &[1, 2], RULES, ends(0, 0));
    let _ = fetch(&mut leader, 2, 0, 1);
    let _ = leader.appended(1, 100_000);
    let _ = leader.appended(2, 100_900);
    assert_eq!(leader.tick(101_000), Effects::default());
    assert!(leader.tick(101_001).propose_isr.is_some(), "it had not everything any more at the second");
}
