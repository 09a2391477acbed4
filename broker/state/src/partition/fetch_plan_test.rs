use super::*;

const A: Key = (Uuid::ZERO, 0);
const B: Key = (Uuid::ZERO, 1);
const PAUSE_MAX_MS: i64 = 1000;

fn at(leader_epoch: i32, fetch_offset: i64) -> Position {
    Position { leader_epoch, fetch_offset, last_fetched_epoch: -1, log_start_offset: 0, high_watermark: 0 }
}

fn said(error: ErrorCode) -> Said {
    Said { error, diverging: None }
}

const FINE: Said = Said { error: ErrorCode::None, diverging: None };

fn plan(partitions: &[(Key, Position)]) -> FetchPlan {
    let mut plan = FetchPlan::new(PAUSE_MAX_MS);
    partitions.iter().for_each(|(key, position)| plan.follow(*key, *position));
    plan
}

/// A plan whose session 7 was told of these partitions.
fn in_session(partitions: &[(Key, Position)]) -> FetchPlan {
    let mut plan = plan(partitions);
    let request = plan.request(0).expect("something to ask");
    plan.answered(request.session_epoch, 7, ErrorCode::None).expect("an answer");
    plan
}

fn request(session_epoch: i32, wants: &[(Key, Position)], forgotten: &[Key]) -> Option<Request> {
    Some(Request { session_id: 7, session_epoch, wants: wants.to_vec(), forgotten: forgotten.to_vec() })
}

#[test]
fn nothing_is_asked_without_partitions() {
    let mut plan = plan(&[]);
    assert_eq!((plan.request(0), plan.is_empty(), plan.may_interrupt()), (None, true, false));
}

#[test]
fn a_session_begins_with_everything_and_goes_on_with_what_changed() {
    let mut plan = plan(&[(A, at(1, 0)), (B, at(1, 5))]);
    let first = plan.request(0);
    let all = vec![(A, at(1, 0)), (B, at(1, 5))];
    assert_eq!(
        first,
        Some(Request { session_id: 0, session_epoch: 0, wants: all.clone(), forgotten: Vec::new() })
    );
    plan.answered(0, 7, ErrorCode::None).unwrap();
    assert_eq!(plan.judge(A, FINE, 0), Verdict::Append);
    plan.moved(A, at(1, 3));
    assert_eq!(plan.request(0), request(1, &[(A, at(1, 3))], &[]));
    assert_eq!(plan.request(0), request(2, &[], &[]), "a long poll names nothing");
}

#[test]
fn without_a_session_everything_is_asked_every_time() {
    let mut plan = plan(&[(A, at(1, 0))]);
    for _ in 0..2 {
        let asked = plan.request(0).expect("asks");
        assert_eq!((asked.session_id, asked.session_epoch, asked.wants.len()), (0, 0, 1));
        plan.answered(0, 0, ErrorCode::None).unwrap();
    }
    assert!(!plan.may_interrupt());
}

#[test]
fn a_higher_watermark_alone_is_not_told() {
    let mut plan = in_session(&[(A, at(1, 3))]);
    plan.moved(A, Position { high_watermark: 3, ..at(1, 3) });
    assert_eq!((plan.may_interrupt(), plan.judge(A, FINE, 0)), (false, Verdict::Append));
    plan.moved(A, Position { log_start_offset: 2, ..at(1, 3) });
    assert!(plan.may_interrupt(), "the leader waits for the log start of all replicas");
}

#[test]
fn what_comes_and_goes_may_interrupt_the_long_poll() {
    let mut plan = in_session(&[(A, at(1, 0))]);
    assert_eq!(plan.request(0), request(1, &[], &[]));
    plan.follow(B, at(4, 9));
    plan.unfollow(A);
    assert!(plan.may_interrupt());
    assert_eq!(plan.request(0), request(2, &[(B, at(4, 9))], &[A]));
    // The answer to the one before still speaks of A.
    plan.answered(1, 7, ErrorCode::None).unwrap();
    assert_eq!(plan.judge(A, FINE, 0), Verdict::Stale);
    assert_eq!(plan.judge(B, FINE, 0), Verdict::Append);
}

#[test]
fn a_partition_that_is_forgotten_and_followed_again_is_only_named() {
    let mut plan = in_session(&[(A, at(1, 0)), (B, at(1, 0))]);
    plan.unfollow(A);
    plan.follow(A, at(2, 0));
    assert_eq!(plan.request(0), request(1, &[(A, at(2, 0))], &[]));
}

#[test]
fn answers_to_another_position_are_stale() {
    let mut plan = in_session(&[(A, at(1, 0))]);
    plan.moved(A, at(1, 3));
    assert_eq!(plan.judge(A, FINE, 0), Verdict::Stale, "records at 0 are here already");
    assert_eq!(plan.judge(A, said(ErrorCode::NotLeaderOrFollower), 0), Verdict::Stale);
    let _ = plan.request(0);
    assert_eq!(plan.judge(A, FINE, 0), Verdict::Append);
    plan.follow(A, at(2, 3));
    assert_eq!(plan.judge(A, FINE, 0), Verdict::Stale, "another leadership");
}

#[test]
fn each_answer_says_what_to_do() {
    let diverging = DivergingEpoch { epoch: 3, end_offset: 9 };
    for (said, verdict) in [
        (FINE, Verdict::Append),
        (Said { diverging: Some(diverging), ..FINE }, Verdict::Cut(diverging)),
        (said(ErrorCode::OffsetOutOfRange), Verdict::StartOver),
        (said(ErrorCode::NotLeaderOrFollower), Verdict::Paused),
        (said(ErrorCode::KafkaStorageError), Verdict::Paused),
    ] {
        assert_eq!(in_session(&[(A, at(4, 9))]).judge(A, said, 0), verdict, "{said:?}");
    }
}

#[test]
fn errors_of_a_change_of_leaders_pause_shortly_and_others_long() {
    let mut plan = in_session(&[(A, at(1, 0)), (B, at(1, 0))]);
    let mut now_ms = 100;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert_eq!(plan.judge(A, said(ErrorCode::UnknownLeaderEpoch), now_ms), Verdict::Paused);
        let until_ms = plan.next_pause_end_ms().expect("pauses");
        pauses.push(until_ms - now_ms);
        assert_eq!(plan.judge(A, FINE, now_ms), Verdict::Stale);
        assert_eq!(plan.request(now_ms).expect("B").forgotten, [A]);
        now_ms = until_ms;
        assert_eq!(plan.request(now_ms).expect("A again").wants, [(A, at(1, 0))]);
    }
    assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1000, 1000]);
    plan.moved(A, at(1, 1));
    let _ = plan.request(now_ms);
    let _ = plan.judge(A, said(ErrorCode::UnknownLeaderEpoch), now_ms);
    assert_eq!(plan.next_pause_end_ms(), Some(now_ms + 20), "a success forgets the errors of before");
    plan.failed(B, now_ms);
    assert_eq!(plan.request(now_ms), None, "all pause");
    plan.follow(A, at(2, 1));
    assert_eq!(plan.next_pause_end_ms(), Some(now_ms + PAUSE_MAX_MS), "a new leadership ends the pause");
}

#[test]
fn a_session_that_is_lost_begins_anew_with_everything() {
    for (error, session_id) in [
        (ErrorCode::FetchSessionIdNotFound, 0),
        // So that the leader frees the one before.
        (ErrorCode::InvalidFetchSessionEpoch, 7),
        (ErrorCode::UnknownServerError, 7),
    ] {
        let mut plan = in_session(&[(A, at(1, 0))]);
        let _ = plan.request(0);
        assert_eq!(plan.answered(1, 0, error), Err(error));
        let asked = plan.request(0).expect("asks");
        assert_eq!(
            (asked.session_id, asked.session_epoch, asked.wants.len()),
            (session_id, 0, 1),
            "{error:?}"
        );
    }
    let mut plan = in_session(&[(A, at(1, 0))]);
    plan.unfollow(A);
    plan.follow(B, at(1, 2));
    plan.disconnected();
    let asked = plan.request(0).expect("asks");
    assert_eq!((asked.session_epoch, asked.wants, asked.forgotten), (0, vec![(B, at(1, 2))], vec![]));
}

#[test]
fn the_session_epoch_goes_round_without_its_special_values() {
    let mut plan = in_session(&[(A, at(1, 0))]);
    plan.session_epoch = i32::MAX;
    assert_eq!(plan.request(0).map(|request| request.session_epoch), Some(i32::MAX));
    assert_eq!(plan.request(0).map(|request| request.session_epoch), Some(1));
}

#[test]
fn what_is_throttled_leaves_the_session_until_its_time() {
    let mut plan = in_session(&[(A, at(1, 0)), (B, at(1, 0))]);
    plan.moved(A, at(1, 3));
    plan.hold(A, 100, false);
    plan.hold(A, 900, false);
    assert_eq!(plan.next_pause_end_ms(), Some(100), "the first hold stands");
    assert_eq!(plan.request(0), request(1, &[], &[A]));
    plan.end_pauses(99);
    assert_eq!(plan.next_pause_end_ms(), Some(100));
    plan.end_pauses(100);
    plan.hold(A, 200, true);
    assert_eq!(plan.next_pause_end_ms(), Some(200), "it was about to be asked again");
    assert_eq!(plan.request(200), request(2, &[(A, at(1, 3))], &[]));
}

#[test]
fn what_the_leader_was_asked_for_is_not_held_before_it_comes() {
    let mut plan = in_session(&[(A, at(1, 0))]);
    plan.hold(A, 100, true);
    assert_eq!((plan.next_pause_end_ms(), plan.judge(A, FINE, 0)), (None, Verdict::Append));
    plan.hold(A, 100, false);
    assert_eq!((plan.request(0), plan.next_pause_end_ms()), (None, Some(100)), "nothing else is to be asked");
}
