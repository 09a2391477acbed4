//! The rules of KIP-98 and KIP-360 as cases, and a random comparison with a plain model.

use proptest::prelude::*;

use super::*;

const CLIENT: Origin = Origin::Client;

fn data(producer_id: i64, epoch: i16, base_sequence: i32, count: i32, base_offset: i64) -> Write {
    Write {
        producer_id,
        producer_epoch: epoch,
        base_sequence,
        last_sequence: base_sequence.checked_add(count - 1).unwrap_or_else(|| {
            // Wraps from the largest sequence to 0.
            (i64::from(base_sequence) + i64::from(count) - 1 - i64::from(i32::MAX) - 1) as i32
        }),
        base_offset,
        last_offset: base_offset + i64::from(count) - 1,
        max_timestamp: 1_000 + base_offset,
        kind: Kind::Data { transactional: false },
    }
}

fn transactional(write: Write) -> Write {
    Write { kind: Kind::Data { transactional: true }, ..write }
}

fn marker(producer_id: i64, epoch: i16, offset: i64, committed: bool, coordinator_epoch: i32) -> Write {
    let end = Marker { committed, coordinator_epoch, timestamp: 5_000 };
    Write {
        base_sequence: NO_SEQUENCE,
        last_sequence: NO_SEQUENCE,
        kind: Kind::Marker(Some(end)),
        ..data(producer_id, epoch, 0, 1, offset)
    }
}

/// Stages and commits one batch.
fn append(producers: &mut Producers, origin: Origin, write: Write) -> Result<Staging, Refusal> {
    let mut staged = Staged::default();
    let staging = producers.stage(&mut staged, origin, &write)?;
    if staging == Staging::Accepted {
        producers.commit(staged);
    }
    Ok(staging)
}

fn accepted(producers: &mut Producers, origin: Origin, write: Write) {
    assert_eq!(append(producers, origin, write), Ok(Staging::Accepted), "{write:?}");
}

#[test]
fn producer_costs_at_most_200_bytes() {
    assert!(size_of::<Producer>() + size_of::<(i64, Box<Producer>)>() <= 200, "{}", size_of::<Producer>());
}

#[test]
fn sequences_must_follow_each_other() {
    let mut producers = Producers::new(0);
    accepted(&mut producers, CLIENT, data(1, 0, 0, 10, 0));
    accepted(&mut producers, CLIENT, data(1, 0, 10, 5, 10));
    let gap = Refusal::OutOfOrderSequence { producer_id: 1, sequence: 16, last_sequence: 14 };
    assert_eq!(append(&mut producers, CLIENT, data(1, 0, 16, 1, 15)), Err(gap));
    let back = Refusal::OutOfOrderSequence { producer_id: 1, sequence: 12, last_sequence: 14 };
    assert_eq!(append(&mut producers, CLIENT, data(1, 0, 12, 1, 15)), Err(back));
}

#[test]
fn a_refused_or_dropped_stage_changes_nothing() {
    let mut producers = Producers::new(0);
    accepted(&mut producers, CLIENT, data(1, 0, 0, 10, 0));
    let before = *producers.get(1).expect("known");
    let mut staged = Staged::default();
    assert_eq!(producers.stage(&mut staged, CLIENT, &data(1, 0, 10, 1, 10)), Ok(Staging::Accepted));
    assert!(producers.stage(&mut staged, CLIENT, &data(1, 0, 12, 1, 11)).is_err());
    drop(staged);
    assert_eq!(producers.get(1), Some(&before));
}

#[test]
fn the_last_five_batches_are_recognised_as_duplicates() {
    let mut producers = Producers::new(0);
    for index in 0..7 {
        accepted(&mut producers, CLIENT, data(1, 0, index * 10, 10, i64::from(index) * 10));
    }
    for index in 2..7 {
        let repeat = data(1, 0, index * 10, 10, 500);
        let Ok(Staging::Duplicate(batch)) = append(&mut producers, CLIENT, repeat) else {
            panic!("batch {index} is among the last five");
        };
        let offset = i64::from(index) * 10;
        assert_eq!((batch.base_offset(), batch.last_offset), (offset, offset + 9));
        assert_eq!(batch.timestamp, 1_000 + offset);
    }
    for index in 0..2 {
        let repeat = data(1, 0, index * 10, 10, 500);
        let refusal = append(&mut producers, CLIENT, repeat);
        assert!(matches!(refusal, Err(Refusal::OutOfOrderSequence { .. })), "{refusal:?}");
    }
    let other_range = append(&mut producers, CLIENT, data(1, 0, 60, 9, 500));
    assert!(matches!(other_range, Err(Refusal::OutOfOrderSequence { .. })), "{other_range:?}");
}

#[test]
fn sequences_wrap_to_zero() {
    let mut producers = Producers::new(0);
    accepted(&mut producers, CLIENT, data(1, 0, i32::MAX - 2, 2, 0));
    let over = data(1, 0, i32::MAX, 3, 2);
    assert_eq!(over.last_sequence, 1);
    accepted(&mut producers, CLIENT, over);
    assert_eq!(
        producers.get(1).and_then(Producer::last_batch).map(|batch| batch.base_sequence()),
        Some(i32::MAX)
    );
    let Ok(Staging::Duplicate(batch)) = append(&mut producers, CLIENT, data(1, 0, i32::MAX, 3, 99)) else {
        panic!("the wrapped batch is remembered");
    };
    assert_eq!(batch.base_offset(), 2);
    accepted(&mut producers, CLIENT, data(1, 0, 2, 1, 5));
    let mut at_the_end = Producers::new(0);
    accepted(&mut at_the_end, CLIENT, data(1, 0, i32::MAX, 1, 0));
    accepted(&mut at_the_end, CLIENT, data(1, 0, 0, 1, 1));
}

#[test]
fn a_new_epoch_starts_at_zero_and_an_old_one_is_fenced() {
    let mut producers = Producers::new(0);
    accepted(&mut producers, CLIENT, data(1, 4, 0, 10, 0));
    let refused = Refusal::NewEpochNotFromZero { producer_id: 1, epoch: 5, sequence: 10 };
    assert_eq!(append(&mut producers, CLIENT, data(1, 5, 10, 1, 10)), Err(refused));
    accepted(&mut producers, CLIENT, data(1, 5, 0, 3, 10));
    let fenced = Refusal::InvalidEpoch { producer_id: 1, epoch: 4, current: 5 };
    assert_eq!(append(&mut producers, CLIENT, data(1, 4, 10, 1, 13)), Err(fenced));
    assert_eq!(
        append(&mut producers, CLIENT, data(1, 4, 0, 10, 13)),
        Err(fenced),
        "not a duplicate any more"
    );
}

#[test]
fn an_unknown_producer_may_start_anywhere() {
    let mut producers = Producers::new(0);
    accepted(&mut producers, CLIENT, data(1, 3, 77, 1, 0));
    accepted(&mut producers, CLIENT, data(1, 3, 78, 1, 1));
    assert_eq!(producers.remove_expired(2_000_000, 1_000), 1);
    accepted(&mut producers, CLIENT, data(1, 3, 1_000, 1, 2));
}

#[test]
fn coordinators_and_leaders_are_not_held_to_sequences() {
    let mut producers = Producers::new(0);
    let coordinator = Origin::Coordinator { transaction_version: 0 };
    let unsequenced = |offset, epoch| Write {
        base_sequence: NO_SEQUENCE,
        last_sequence: NO_SEQUENCE,
        ..data(1, epoch, 0, 1, offset)
    };
    accepted(&mut producers, coordinator, unsequenced(0, 2));
    accepted(&mut producers, coordinator, unsequenced(1, 2));
    assert!(append(&mut producers, coordinator, unsequenced(2, 1)).is_err(), "epochs count");
    accepted(&mut producers, Origin::Replication, unsequenced(2, 1));
    accepted(&mut producers, Origin::Replication, data(1, 1, 900, 1, 3));
}

#[test]
fn transactions_bound_the_stable_offset_until_their_marker_is_replicated() {
    let mut producers = Producers::new(0);
    accepted(&mut producers, CLIENT, transactional(data(1, 0, 0, 5, 10)));
    accepted(&mut producers, CLIENT, transactional(data(2, 0, 0, 5, 15)));
    assert_eq!(producers.first_unstable_offset(), Some(10));
    assert_eq!(producers.oldest_open_timestamp(), Some(1_010));

    let coordinator = Origin::Coordinator { transaction_version: 1 };
    let mut staged = Staged::default();
    producers.stage(&mut staged, coordinator, &marker(1, 0, 20, false, 3)).expect("valid");
    let completed = producers.commit(staged);
    let expected = CompletedTransaction {
        producer_id: 1,
        first_offset: 10,
        last_offset: 20,
        committed: false,
        last_stable_offset: 15,
    };
    assert_eq!(&completed[..], [expected]);

    assert_eq!(producers.first_open_offset(), Some(15));
    assert_eq!(producers.first_unstable_offset(), Some(10), "the marker is not replicated");
    producers.high_watermark_reached(20);
    assert_eq!(producers.first_unstable_offset(), Some(10), "offset 20 is not below 20");
    producers.high_watermark_reached(21);
    assert_eq!(producers.first_unstable_offset(), Some(15));

    accepted(&mut producers, coordinator, marker(2, 0, 21, true, 3));
    producers.high_watermark_reached(22);
    assert_eq!(producers.first_unstable_offset(), None);
    accepted(&mut producers, CLIENT, transactional(data(1, 0, 5, 1, 22)));
    assert_eq!(producers.first_unstable_offset(), Some(22));
}

#[test]
fn a_write_outside_of_the_open_transaction_is_refused() {
    let mut producers = Producers::new(0);
    accepted(&mut producers, CLIENT, transactional(data(1, 0, 0, 1, 0)));
    let refused = Refusal::NotTransactional { producer_id: 1 };
    assert_eq!(append(&mut producers, CLIENT, data(1, 0, 1, 1, 1)), Err(refused));
}

#[test]
fn a_marker_without_data_completes_nothing_but_fences() {
    let mut producers = Producers::new(0);
    let coordinator = Origin::Coordinator { transaction_version: 1 };
    let mut staged = Staged::default();
    producers.stage(&mut staged, coordinator, &marker(1, 7, 0, true, 2)).expect("valid");
    assert!(producers.commit(staged).is_empty());
    assert_eq!(producers.get(1).map(|producer| producer.epoch), Some(7));
    assert!(append(&mut producers, CLIENT, data(1, 6, 0, 1, 1)).is_err());
    let from_the_middle = append(&mut producers, CLIENT, data(1, 7, 4, 1, 1));
    assert!(matches!(from_the_middle, Err(Refusal::OutOfOrderSequence { last_sequence: NO_SEQUENCE, .. })));
    let old = Refusal::CoordinatorFenced { producer_id: 1, epoch: 1, current: 2 };
    assert_eq!(append(&mut producers, coordinator, marker(1, 7, 1, true, 1)), Err(old));
    accepted(&mut producers, Origin::Replication, marker(1, 7, 1, true, 1));
}

#[test]
fn markers_of_transaction_version_2_must_raise_the_epoch() {
    let mut producers = Producers::new(0);
    let version_2 = Origin::Coordinator { transaction_version: 2 };
    accepted(&mut producers, CLIENT, transactional(data(1, 3, 0, 1, 0)));
    let late = Refusal::InvalidEpoch { producer_id: 1, epoch: 3, current: 3 };
    assert_eq!(append(&mut producers, version_2, marker(1, 3, 1, true, 0)), Err(late));
    accepted(&mut producers, version_2, marker(1, 4, 1, true, 0));
    accepted(&mut producers, version_2, marker(1, 4, 2, true, 0));
    assert_eq!(producers.first_open_offset(), None);
    accepted(&mut producers, CLIENT, transactional(data(1, 4, 0, 1, 3)));
}

#[test]
fn an_emptied_marker_changes_nothing() {
    let mut producers = Producers::new(0);
    let emptied = Write { kind: Kind::Marker(None), ..marker(1, 7, 0, true, 2) };
    accepted(&mut producers, Origin::Replication, emptied);
    assert!(producers.is_empty());
    accepted(&mut producers, CLIENT, transactional(data(1, 7, 0, 1, 1)));
    accepted(&mut producers, Origin::Replication, emptied);
    assert_eq!(producers.first_open_offset(), Some(1));
}

#[test]
fn several_batches_are_staged_after_each_other() {
    let mut producers = Producers::new(0);
    accepted(&mut producers, CLIENT, data(1, 0, 0, 1, 0));
    let mut staged = Staged::default();
    let batches = [
        data(2, 0, 0, 5, 1),
        transactional(data(1, 0, 1, 5, 6)),
        data(2, 0, 5, 5, 11),
        marker(1, 0, 16, false, 0),
        transactional(data(1, 0, 6, 1, 17)),
    ];
    for write in &batches {
        producers.stage(&mut staged, Origin::Replication, write).expect("valid");
    }
    let completed = producers.commit(staged);
    assert_eq!(completed.len(), 1);
    assert_eq!((completed[0].first_offset, completed[0].last_offset), (6, 16));
    assert_eq!(producers.first_open_offset(), Some(17));
    assert_eq!(producers.get(2).map(|producer| producer.batches().len()), Some(2));
    assert_eq!(producers.get(1).map(|producer| producer.last_sequence()), Some(6));
}

#[test]
fn expiry_spares_open_transactions() {
    let mut producers = Producers::new(0);
    accepted(&mut producers, CLIENT, transactional(data(1, 0, 0, 1, 0)));
    accepted(&mut producers, CLIENT, data(2, 0, 0, 1, 1));
    accepted(&mut producers, CLIENT, data(3, 0, 0, 1, 50));
    assert_eq!(producers.remove_expired(1_011, 10), 1);
    let left: Vec<i64> = producers.iter().map(|(id, _)| id).collect();
    assert_eq!(left, [1, 3]);
}

#[test]
fn expiry_gives_a_producer_with_old_timestamps_time_to_repeat() {
    let mut producers = Producers::new(0);
    accepted(&mut producers, CLIENT, data(1, 0, 0, 1, 0));
    let now_ms = 1_700_000_000_000;
    for later_ms in [0, 1, 599_999] {
        producers.expire_now_and_then(now_ms + later_ms, 10);
        assert_eq!(producers.len(), 1, "{later_ms} ms after the first look");
    }
    producers.expire_now_and_then(now_ms + 600_000, 10);
    assert!(producers.is_empty());
}

#[test]
fn restore_brings_open_transactions_back_and_drops_the_expired() {
    let mut producers = Producers::new(0);
    accepted(&mut producers, CLIENT, transactional(data(1, 0, 0, 1, 0)));
    accepted(&mut producers, CLIENT, data(2, 0, 0, 1, 1));
    accepted(&mut producers, CLIENT, data(3, 0, 0, 1, 50));
    let saved: Vec<(i64, Producer)> = producers.iter().map(|(id, producer)| (id, *producer)).collect();
    let mut restored = Producers::new(0);
    restored.restore(saved, 51, 1_011, 10);
    assert_eq!(restored.len(), 2);
    assert_eq!((restored.end_offset(), restored.first_unstable_offset()), (51, Some(0)));
}

proptest! {
    /// Whatever a client repeats, skips or reorders: the accepted batches of one epoch form one gapless
    /// run of sequences, and a duplicate is answered with the offsets of its first acceptance.
    #[test]
    fn accepted_sequences_are_gapless(attempts in prop::collection::vec((0..30_i32, 1..4_i32), 1..200)) {
        let mut producers = Producers::new(0);
        let mut log: Vec<(i32, i32, i64)> = Vec::new();
        let mut next_offset = 0;
        for (base_sequence, count) in attempts {
            let write = data(9, 0, base_sequence, count, next_offset);
            match append(&mut producers, CLIENT, write) {
                Ok(Staging::Accepted) => {
                    if let Some((base, count, _)) = log.last() {
                        prop_assert_eq!(base + count, base_sequence);
                    }
                    log.push((base_sequence, count, next_offset));
                    next_offset += i64::from(count);
                }
                Ok(Staging::Duplicate(batch)) => {
                    let recent = &log[log.len().saturating_sub(BATCHES_REMEMBERED)..];
                    prop_assert!(recent.contains(&(base_sequence, count, batch.base_offset())));
                }
                Err(refusal) => {
                    let last_sequence = log.last().map_or(-1, |(base, count, _)| base + count - 1);
                    prop_assert_eq!(
                        refusal,
                        Refusal::OutOfOrderSequence { producer_id: 9, sequence: base_sequence, last_sequence }
                    );
                    prop_assert!(base_sequence != last_sequence + 1);
                }
            }
        }
    }
}
