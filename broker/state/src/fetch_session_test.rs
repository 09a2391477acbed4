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
        log_start_offset: -1,
        high_watermark: i64::MAX,
        bytes_max: 1024,
    }
}

fn ask(session_epoch: i32, partitions: &[i32]) -> Ask {
    let wants = partitions.iter().map(|partition| want(*partition)).collect();
    Ask { session_id: 1, session_epoch, wants, ..Default::default() }
}

fn begin(partitions: &[i32]) -> Session {
    let wants: Vec<_> = partitions.iter().map(|partition| want(*partition)).collect();
    Session::begin(&wants, &vec![QUIET; wants.len()], false).expect("there is something to remember")
}

/// Places and partitions that the next request reads.
fn advance(session: &mut Session, ask: Ask) -> (Vec<Place>, Vec<i32>) {
    match session.advance(ask) {
        Ok(Turn::Read(reads)) => reads.into_iter().map(|(place, want)| (place, want.partition)).unzip(),
        other => panic!("wanted partitions to read, got {other:?}"),
    }
}

#[test]
fn incremental_fetch_reads_all_and_answers_what_changed() {
    let mut session = begin(&[0, 1, 2]);
    let (places, partitions) = advance(&mut session, ask(1, &[]));
    assert_eq!(partitions, [0, 1, 2]);
    let moved = Said { high_watermark: 6, ..QUIET };
    let failed = Said { error: true, ..QUIET };
    assert_eq!(session.settle(&places, &[QUIET, moved, failed]), [false, true, true]);
    // After an error the partition speaks again although its numbers are the old ones.
    let (places, _) = advance(&mut session, ask(2, &[]));
    assert_eq!(session.settle(&places, &[QUIET, moved, QUIET]), [false, false, true]);
}

#[test]
fn partitions_that_got_records_are_read_last() {
    let mut session = begin(&[0, 1, 2]);
    let (places, _) = advance(&mut session, ask(1, &[]));
    session.settle(&places, &[SERVED, QUIET, QUIET]);
    assert_eq!(advance(&mut session, ask(2, &[])).1, [1, 2, 0]);
}

#[test]
fn changes_add_replace_and_forget() {
    let mut session = begin(&[0, 1]);
    let mut change = ask(1, &[2]);
    change.wants.push(Want { fetch_offset: 9, ..want(0) });
    change.forgotten = vec![(TopicKey::Name("t".into()), 1)];
    let Ok(Turn::Read(reads)) = session.advance(change) else { panic!("there is something to read") };
    let read: Vec<_> = reads.iter().map(|(_, want)| (want.partition, want.fetch_offset)).collect();
    assert_eq!(read, [(0, 9), (2, 5)]);
}

#[test]
fn wrong_epoch_and_wrong_naming_are_refused_and_change_nothing() {
    let mut session = begin(&[0]);
    assert_eq!(session.advance(ask(2, &[7])), Err(ErrorCode::InvalidFetchSessionEpoch));
    for partitions in [&[7][..], &[]] {
        let by_id = Ask { by_id: true, ..ask(1, partitions) };
        assert_eq!(session.advance(by_id), Err(ErrorCode::FetchSessionTopicIdError), "{partitions:?}");
    }
    assert_eq!(advance(&mut session, ask(1, &[])).1, [0]);
}

#[test]
fn session_whose_last_partition_is_forgotten_is_over() {
    let mut session = begin(&[0, 1]);
    let name = TopicKey::Name("t".into());
    let forgotten = vec![(name.clone(), 0), (name, 1)];
    assert_eq!(session.advance(Ask { forgotten, ..ask(1, &[]) }), Ok(Turn::Emptied));
}

#[test]
fn answer_of_a_partition_that_was_forgotten_meanwhile_is_given() {
    let mut session = begin(&[0, 1]);
    let (places, _) = advance(&mut session, ask(1, &[]));
    let forgotten = vec![(TopicKey::Name("t".into()), 0)];
    advance(&mut session, Ask { forgotten, ..ask(2, &[]) });
    assert_eq!(session.settle(&places, &[QUIET, QUIET]), [true, false]);
}

#[test]
fn session_holds_no_more_than_it_may() {
    let full: Vec<i32> = (0..SESSION_PARTITIONS_MAX as i32).collect();
    let mut session = begin(&full);
    assert_eq!(session.partitions_count(), SESSION_PARTITIONS_MAX);
    // What it has already may change.
    assert_eq!(advance(&mut session, ask(1, &[3])).1.len(), SESSION_PARTITIONS_MAX);
    assert_eq!(session.advance(ask(2, &[SESSION_PARTITIONS_MAX as i32])), Ok(Turn::Overfull));
    let wants: Vec<_> = (0..=SESSION_PARTITIONS_MAX as i32).map(want).collect();
    assert!(Session::begin(&wants, &vec![QUIET; wants.len()], false).is_none());
}

#[test]
fn name_that_no_topic_can_have_is_not_remembered() {
    let wants = [Want { topic: TopicKey::Name("x".repeat(32_000).into()), ..want(0) }];
    assert!(Session::begin(&wants, &[QUIET], false).is_none());
    let mut session = begin(&[0]);
    assert_eq!(session.advance(Ask { wants: wants.to_vec(), ..ask(1, &[]) }), Ok(Turn::Overfull));
}

#[test]
fn a_follower_is_known_to_have_the_watermark_that_it_was_told_last() {
    let follower = Want { high_watermark: 3, ..want(0) };
    let mut session = Session::begin(&[follower, want(1)], &[QUIET, QUIET], false).expect("remembers");
    let Ok(Turn::Read(reads)) = session.advance(ask(1, &[])) else { panic!("there is something to read") };
    let known: Vec<_> = reads.iter().map(|(_, want)| want.high_watermark).collect();
    assert_eq!(known, [5, i64::MAX], "5 was said; a consumer does not say");
}

/// What `FetchSessionCacheShard.tryEvict` of Apache Kafka 4.3 does.
#[test]
fn slots_are_given_up_as_kafka_has_it() {
    const NOW: i64 = 10 * EVICTION_MS;
    const OLD: i64 = NOW - EVICTION_MS - 1;
    const YOUNG: i64 = NOW - EVICTION_MS;
    let standing = |(is_privileged, partitions_count)| Standing { is_privileged, partitions_count };
    let tenant = |(of, created_ms, used_ms)| Tenant { standing: standing(of), created_ms, used_ms };
    let (consumer, follower) = (|count| (false, count), |count| (true, count));
    type Case<'a> = ((bool, usize), &'a [((bool, usize), i64, i64)], Option<usize>);
    #[rustfmt::skip]
    let cases: [Case<'_>; 13] = [
        (consumer(9), &[(consumer(1), YOUNG, NOW)], None),
        (consumer(9), &[(consumer(1), OLD, NOW)], Some(0)),
        (consumer(9), &[(consumer(9), OLD, NOW)], None),
        (consumer(9), &[(follower(1), OLD, NOW)], None),
        (follower(1), &[(consumer(9), YOUNG, NOW)], Some(0)),
        (follower(9), &[(follower(1), YOUNG, NOW)], None),
        (follower(9), &[(follower(1), OLD, NOW)], Some(0)),
        (follower(1), &[(follower(1), OLD, NOW)], None),
        // The smallest consumer before any follower.
        (follower(9), &[(follower(1), OLD, NOW), (consumer(8), OLD, NOW), (consumer(7), YOUNG, NOW)], Some(2)),
        (consumer(9), &[(follower(1), OLD, NOW), (consumer(8), OLD, NOW), (consumer(7), YOUNG, NOW)], Some(1)),
        // Who is idle goes first, the longest of all, whoever it is.
        (consumer(1), &[(consumer(9), OLD, YOUNG)], None),
        (consumer(1), &[(follower(9), OLD, OLD)], Some(0)),
        (follower(9), &[(consumer(1), OLD, OLD), (follower(9), OLD, OLD - 1), (consumer(1), OLD, NOW)], Some(1)),
    ];
    for (case, (newcomer, tenants, expected)) in cases.into_iter().enumerate() {
        let tenants = tenants.iter().copied().map(tenant).enumerate();
        assert_eq!(evicted(standing(newcomer), tenants, NOW), expected, "case {case}");
    }
}
