use super::*;
use milena_state::fetch_session::{EVICTION_MS, SESSION_PARTITIONS_MAX};

const QUIET: Said =
    Said { has_records: false, error: false, notice: false, high_watermark: 5, log_start_offset: 0 };

fn want(partition: i32) -> Want {
    Want {
        topic: TopicKey::Name("t".into()),
        partition,
        current_leader_epoch: -1,
        fetch_offset: 5,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        high_watermark: i64::MAX,
        bytes_max: 1024,
    }
}

fn ask(session_id: i32, session_epoch: i32, partitions: &[i32]) -> Ask {
    let wants = partitions.iter().map(|partition| want(*partition)).collect();
    Ask { session_id, session_epoch, wants, ..Default::default() }
}

fn sessions(slots_max: usize) -> Sessions {
    Sessions::new(slots_max, Arc::new(Metrics::new()))
}

/// A session over `partitions`, as a client gets it with its first full fetch.
fn open(sessions: &Sessions, partitions: &[i32], now_ms: i64) -> i32 {
    open_as(false, sessions, partitions, now_ms)
}

fn open_as(is_privileged: bool, sessions: &Sessions, partitions: &[i32], now_ms: i64) -> i32 {
    let ask = Ask { is_privileged, ..ask(0, INITIAL_EPOCH, partitions) };
    let begun = sessions.begin(ask, now_ms).expect("a full fetch always begins");
    let (id, include) = sessions.finish(&begun, &vec![QUIET; partitions.len()], false, now_ms);
    assert_eq!(include, vec![true; partitions.len()]);
    id
}

#[test]
fn session_is_found_by_its_id_and_answers_what_changed() {
    let sessions = sessions(10);
    let id = open(&sessions, &[0, 1], 0);
    assert_ne!(id, 0);
    let begun = sessions.begin(ask(id, 1, &[]), 1).expect("known session");
    let moved = Said { high_watermark: 6, ..QUIET };
    assert_eq!(sessions.finish(&begun, &[QUIET, moved], false, 1), (id, vec![false, true]));
    assert_eq!(sessions.begin(ask(id + 1, 2, &[]), 1).err(), Some(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(sessions.begin(ask(id, 9, &[]), 1).err(), Some(ErrorCode::InvalidFetchSessionEpoch));
}

#[test]
fn final_epoch_closes_and_initial_epoch_replaces() {
    let sessions = sessions(10);
    let id = open(&sessions, &[0], 0);
    let begun = sessions.begin(ask(id, FINAL_EPOCH, &[0]), 1).expect("always begins");
    assert_eq!(sessions.finish(&begun, &[QUIET], false, 1), (0, vec![true]));
    assert_eq!((sessions.count(), sessions.cached_partitions()), (0, 0));
    let id = open(&sessions, &[0], 2);
    let begun = sessions.begin(ask(id, INITIAL_EPOCH, &[1]), 3).expect("always begins");
    let (other, _) = sessions.finish(&begun, &[QUIET], false, 3);
    assert_ne!(other, id);
    assert_eq!(sessions.count(), 1);
}

#[test]
fn emptied_session_is_closed_and_its_request_answered_without_one() {
    let sessions = sessions(10);
    let id = open(&sessions, &[0], 0);
    let forgotten = vec![(TopicKey::Name("t".into()), 0)];
    let begun = sessions.begin(Ask { forgotten, ..ask(id, 1, &[]) }, 1).expect("known session");
    assert_eq!(sessions.finish(&begun, &[], false, 1), (0, vec![]));
    assert_eq!((sessions.count(), sessions.cached_partitions()), (0, 0));
    assert_eq!(sessions.begin(ask(id, 2, &[]), 2).err(), Some(ErrorCode::FetchSessionIdNotFound));
}

#[test]
fn session_that_outgrows_its_bound_is_closed_and_one_as_large_is_not_made() {
    let sessions = sessions(10);
    let id = open(&sessions, &[0], 0);
    let many: Vec<i32> = (0..=SESSION_PARTITIONS_MAX as i32).collect();
    assert_eq!(sessions.begin(ask(id, 1, &many), 1).err(), Some(ErrorCode::FetchSessionIdNotFound));
    assert_eq!((sessions.count(), sessions.cached_partitions()), (0, 0));
    assert_eq!(open(&sessions, &many, 2), 0);
}

#[test]
fn all_sessions_together_hold_no_more_than_they_may() {
    let sessions = Sessions { partitions_max: 3, ..sessions(10) };
    let id = open(&sessions, &[0, 1], 0);
    assert_eq!(open(&sessions, &[0, 1], 0), 0, "four are too many");
    assert_ne!(open(&sessions, &[0], 0), 0);
    assert_eq!(sessions.cached_partitions(), 3);
    assert_eq!(sessions.begin(ask(id, 1, &[2]), 1).err(), Some(ErrorCode::FetchSessionIdNotFound));
    assert_eq!((sessions.count(), sessions.cached_partitions()), (1, 1));
}

#[test]
fn a_full_cache_gives_a_slot_only_for_an_idle_or_smaller_old_session() {
    let sessions = sessions(1);
    let small = open(&sessions, &[0], 0);
    assert_ne!(small, 0);
    assert_eq!(open(&sessions, &[0, 1], EVICTION_MS), 0, "neither idle nor old enough");
    assert_ne!(open(&sessions, &[0, 1], EVICTION_MS + 1), 0);
    assert_eq!(sessions.begin(ask(small, 1, &[]), 1).err(), Some(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(sessions.cached_partitions(), 2);
}

#[test]
fn a_follower_takes_the_slot_of_a_consumer_and_no_consumer_takes_it_back() {
    let sessions = sessions(2);
    let (small, large) = (open(&sessions, &[0], 0), open(&sessions, &[0, 1], 0));
    let follower = open_as(true, &sessions, &[0], 1);
    assert_ne!(follower, 0);
    assert_eq!(sessions.begin(ask(small, 1, &[]), 1).err(), Some(ErrorCode::FetchSessionIdNotFound));
    assert!(sessions.begin(ask(large, 1, &[]), 1).is_ok());
    assert_ne!(open_as(true, &sessions, &[0], 1), 0);
    assert_eq!(
        open_as(true, &sessions, &[0, 1], 1),
        0,
        "followers yield to each other only when they are old"
    );
    assert_eq!(open(&sessions, &[0, 1, 2], 1), 0);
    assert!(sessions.begin(ask(follower, 1, &[]), 1).is_ok());
}
