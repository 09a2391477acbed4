use super::*;

const QUIET: Said =
    Said { has_records: false, error: false, notice: false, high_watermark: 5, log_start_offset: 0 };
const SERVED: Said = Said { has_records: true, ..QUIET };

fn want(partition: i32) -> Want {
    Want {
        topic: TopicKey::Name("t".into()),
        partition,
        current_leader_epoch: -1,
        fetch_offset: 5,
        last_fetched_epoch: -1,
        bytes_max: 1024,
    }
}

fn ask(session_id: i32, session_epoch: i32, partitions: &[i32]) -> Ask {
    Ask {
        session_id,
        session_epoch,
        wants: partitions.iter().map(|p| want(*p)).collect(),
        ..Default::default()
    }
}

fn partitions(begun: &Begun) -> Vec<i32> {
    begun.wants.iter().map(|want| want.partition).collect()
}

/// A session over `partitions`, as a client gets it with its first full fetch.
fn open(sessions: &Sessions, partitions: &[i32], now_ms: i64) -> i32 {
    let begun =
        sessions.begin(ask(0, INITIAL_EPOCH, partitions), now_ms).expect("a full fetch always begins");
    let (id, include) = sessions.finish(&begun, &vec![QUIET; partitions.len()], false, now_ms);
    assert_eq!(include, vec![true; partitions.len()]);
    id
}

#[test]
fn incremental_fetch_reads_all_and_answers_what_changed() {
    let sessions = Sessions::new(10);
    let id = open(&sessions, &[0, 1, 2], 0);
    assert_ne!(id, 0);
    let begun = sessions.begin(ask(id, 1, &[]), 1).expect("known session");
    assert_eq!(partitions(&begun), [0, 1, 2]);
    let moved = Said { high_watermark: 6, ..QUIET };
    let failed = Said { error: true, ..QUIET };
    assert_eq!(sessions.finish(&begun, &[QUIET, moved, failed], false, 1), (id, vec![false, true, true]));
    // After an error the partition speaks again although its numbers are the old ones.
    let begun = sessions.begin(ask(id, 2, &[]), 2).expect("known session");
    assert_eq!(sessions.finish(&begun, &[QUIET, moved, QUIET], false, 2).1, [false, false, true]);
}

#[test]
fn partitions_that_got_records_are_read_last() {
    let sessions = Sessions::new(10);
    let id = open(&sessions, &[0, 1, 2], 0);
    let begun = sessions.begin(ask(id, 1, &[]), 1).expect("known session");
    sessions.finish(&begun, &[SERVED, QUIET, QUIET], false, 1);
    let begun = sessions.begin(ask(id, 2, &[]), 2).expect("known session");
    assert_eq!(partitions(&begun), [1, 2, 0]);
}

#[test]
fn changes_add_replace_and_forget() {
    let sessions = Sessions::new(10);
    let id = open(&sessions, &[0, 1], 0);
    let mut change = ask(id, 1, &[2]);
    change.wants.push(Want { fetch_offset: 9, ..want(0) });
    change.forgotten = vec![(TopicKey::Name("t".into()), 1)];
    let begun = sessions.begin(change, 1).expect("known session");
    assert_eq!(partitions(&begun), [0, 2]);
    assert_eq!(begun.wants[0].fetch_offset, 9);
}

#[test]
fn wrong_ids_and_epochs_are_refused_and_change_nothing() {
    let sessions = Sessions::new(10);
    let id = open(&sessions, &[0], 0);
    assert_eq!(sessions.begin(ask(id + 1, 1, &[]), 1).err(), Some(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(sessions.begin(ask(id, 2, &[]), 1).err(), Some(ErrorCode::InvalidFetchSessionEpoch));
    let by_id = Ask { by_id: true, ..ask(id, 1, &[7]) };
    assert_eq!(sessions.begin(by_id, 1).err(), Some(ErrorCode::FetchSessionTopicIdError));
    assert!(sessions.begin(ask(id, 1, &[]), 1).is_ok());
}

#[test]
fn final_epoch_closes_and_initial_epoch_replaces() {
    let sessions = Sessions::new(10);
    let id = open(&sessions, &[0], 0);
    let begun = sessions.begin(ask(id, FINAL_EPOCH, &[0]), 1).expect("always begins");
    assert_eq!(sessions.finish(&begun, &[QUIET], false, 1), (0, vec![true]));
    assert_eq!(sessions.count(), 0);
    let id = open(&sessions, &[0], 2);
    let begun = sessions.begin(ask(id, INITIAL_EPOCH, &[1]), 3).expect("always begins");
    let (other, _) = sessions.finish(&begun, &[QUIET], false, 3);
    assert_ne!(other, id);
    assert_eq!(sessions.count(), 1);
}

#[test]
fn a_full_cache_gives_a_slot_only_for_an_idle_or_smaller_old_session() {
    let sessions = Sessions::new(1);
    let small = open(&sessions, &[0], 0);
    assert_ne!(small, 0);
    assert_eq!(open(&sessions, &[0, 1], EVICTION_MS), 0, "neither idle nor old enough");
    assert_ne!(open(&sessions, &[0, 1], EVICTION_MS + 1), 0);
    assert_eq!(sessions.begin(ask(small, 1, &[]), 1).err(), Some(ErrorCode::FetchSessionIdNotFound));
}
