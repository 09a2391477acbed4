//! A member of a group against a coordinator that does what no real one does when asked. Time is virtual: whatever waits
//! does so in no time, and what was waited can be measured.

use std::time::Duration;

use milena_client::config::{ConsumerConfig, GroupConfig, OffsetReset};
use milena_client::group::{Assignor, CommitOffset, Event, GroupConsumer};
use milena_client::{Error, Result};
use milena_protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::fake::{Fake, TOPIC, Trouble};
use super::fill;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn config() -> GroupConfig {
    GroupConfig {
        group_id: "g".to_owned(),
        auto_offset_reset: OffsetReset::Earliest,
        ..GroupConfig::default()
    }
}

/// Each partition is an answer of its own, so that a test sees every step.
pub(super) fn member_with(fake: &Fake, config: GroupConfig) -> GroupConsumer {
    let cluster = fake.cluster_with(milena_client::ClientConfig {
        bootstrap_servers: vec!["broker-1:9092".to_owned()],
        ..milena_client::ClientConfig::default()
    });
    let mut consumer =
        GroupConsumer::new(cluster, ConsumerConfig::default(), config).expect("a sound config");
    consumer.subscribe([TOPIC]);
    consumer
}

pub(super) fn member(fake: &Fake) -> GroupConsumer {
    member_with(fake, config())
}

fn manual() -> GroupConfig {
    GroupConfig { enable_auto_commit: false, ..config() }
}

pub(super) fn keys(partitions: &[i32]) -> Vec<(String, i32)> {
    partitions.iter().map(|partition| (TOPIC.to_owned(), *partition)).collect()
}

/// The next event in a few words; records by the offset after them.
pub(super) async fn next(consumer: &mut GroupConsumer) -> Result<String> {
    loop {
        let polled = tokio::time::timeout(3600 * SECOND, consumer.poll()).await.expect("a poll hangs");
        match polled? {
            Event::Records(parts) if parts.iter().all(|part| part.is_empty()) => {}
            Event::Records(parts) => return Ok(format!("records below {}", parts[0].next_offset()?)),
            Event::Assigned(partitions) => return Ok(format!("assigned {}", partitions.len())),
            Event::Revoked(partitions) => return Ok(format!("revoked {}", partitions.len())),
            Event::Lost(partitions) => return Ok(format!("lost {}", partitions.len())),
        }
    }
}

pub(super) async fn expect(consumer: &mut GroupConsumer, events: &[&str]) {
    for expected in events {
        assert_eq!(next(consumer).await.expect("no error"), *expected);
    }
}

/// Polls on in vain for some time.
pub(super) async fn idle(consumer: &mut GroupConsumer, duration: Duration) {
    let heard = tokio::time::timeout(duration, next(consumer)).await;
    assert!(heard.is_err(), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_member_joins_reads_commits_and_leaves() {
    let fake = Fake::new();
    fill(&fake, 3).await;
    let mut consumer = member_with(&fake, manual());
    expect(&mut consumer, &["assigned 1"]).await;
    assert_eq!(consumer.assignment(), keys(&[0]));
    expect(&mut consumer, &["records below 1", "records below 2", "records below 3"]).await;
    consumer.commit().await.expect("it is committed");
    assert_eq!(fake.state().group.committed, Some(3));
    assert_eq!(consumer.member_id().as_deref(), Some("member-1"));
    consumer.close().await.expect("it leaves");
    assert_eq!(fake.state().group.left, ["member-1"]);
    // One id was asked for, and given with the second join.
    assert_eq!(fake.state().group.joins, ["", "member-1"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_member_goes_on_from_the_commit_in_every_version() {
    for (find, fetch) in [(0, 1), (3, 7), (6, 9)] {
        let fake = Fake::new();
        fill(&fake, 3).await;
        fake.state().newest = vec![(ApiKey::FindCoordinator, find), (ApiKey::OffsetFetch, fetch)];
        fake.state().group.committed = Some(2);
        let mut consumer = member(&fake);
        expect(&mut consumer, &["assigned 1", "records below 3"]).await;
        assert_eq!(consumer.committed(&keys(&[0])).await.expect("asked")[&keys(&[0])[0]], Some(2));
        consumer.close().await.expect("it leaves");
        assert_eq!(fake.state().group.committed, Some(3));
    }
}

#[tokio::test(start_paused = true)]
async fn old_coordinators_are_joined_and_left_too() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    fake.state().newest = vec![
        (ApiKey::JoinGroup, 2),
        (ApiKey::SyncGroup, 1),
        (ApiKey::Heartbeat, 1),
        (ApiKey::LeaveGroup, 1),
        (ApiKey::OffsetCommit, 3),
    ];
    let mut consumer = member(&fake);
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    consumer.close().await.expect("it leaves");
    let state = fake.state();
    assert_eq!((state.group.committed, &*state.group.left), (Some(1), &["member-1".to_owned()][..]));
    assert_eq!(state.group.joins, [""], "no id is asked for first");
}

#[tokio::test(start_paused = true)]
async fn joins_that_fail_are_tried_again_with_growing_pauses() {
    let fake = Fake::new();
    fake.trouble(ApiKey::JoinGroup, &[Trouble::Error(ErrorCode::CoordinatorLoadInProgress); 6]);
    let start = Instant::now();
    expect(&mut member(&fake), &["assigned 1"]).await;
    // 100, 200, 400 and 800 ms, and then a second each.
    assert_eq!(start.elapsed(), Duration::from_millis(100 + 200 + 400 + 800 + 1000 + 1000));
    assert_eq!(fake.count(ApiKey::JoinGroup), 8);
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_that_begins_anew_is_joined_again_after_a_pause() {
    let fake = Fake::new();
    fake.trouble(ApiKey::SyncGroup, &[Trouble::Error(ErrorCode::RebalanceInProgress); 3]);
    let start = Instant::now();
    expect(&mut member(&fake), &["assigned 1"]).await;
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    assert_eq!(fake.count(ApiKey::JoinGroup), 5);
}

#[tokio::test(start_paused = true)]
async fn what_the_coordinator_refuses_is_an_error_and_the_next_poll_waits() {
    let fake = Fake::new();
    fake.trouble(ApiKey::JoinGroup, &[Trouble::Error(ErrorCode::GroupAuthorizationFailed); 2]);
    let mut consumer = member(&fake);
    let start = Instant::now();
    for _ in 0..2 {
        let error = next(&mut consumer).await.expect_err("refused");
        assert_eq!(error.code(), Some(ErrorCode::GroupAuthorizationFailed));
    }
    expect(&mut consumer, &["assigned 1"]).await;
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_moves_is_found_again() {
    let fake = Fake::new();
    fill(&fake, 2).await;
    let mut consumer = member(&fake);
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    fake.state().group.coordinator = 2;
    idle_after(&mut consumer, "records below 2").await;
    // Heartbeats and commits have both found it, and nothing was rebalanced.
    assert_eq!(fake.state().group.committed, Some(2));
    assert_eq!(fake.state().group.joins.len(), 2);
}

/// One more event, and then peace for a minute.
async fn idle_after(consumer: &mut GroupConsumer, event: &str) {
    expect(consumer, &[event]).await;
    idle(consumer, 60 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn an_automatic_commit_that_failed_is_not_counted_and_tried_again() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let mut consumer = member(&fake);
    let troubles = [
        Trouble::Error(ErrorCode::CoordinatorLoadInProgress),
        Trouble::Error(ErrorCode::LeaderNotAvailable),
        Trouble::Error(ErrorCode::UnknownTopicOrPartition),
    ];
    fake.trouble(ApiKey::OffsetCommit, &troubles);
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    idle(&mut consumer, 4 * SECOND).await;
    assert_eq!(fake.count(ApiKey::OffsetCommit), 0, "it is not due yet");
    idle(&mut consumer, 2 * SECOND).await;
    // What may come right is tried again at once, the rest at the next interval.
    assert_eq!((fake.count(ApiKey::OffsetCommit), fake.state().group.committed), (3, None));
    idle(&mut consumer, 5 * SECOND).await;
    assert_eq!((fake.count(ApiKey::OffsetCommit), fake.state().group.committed), (4, Some(1)));
    idle(&mut consumer, 60 * SECOND).await;
    assert_eq!(fake.count(ApiKey::OffsetCommit), 4, "what is acknowledged is not sent again");
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_everything_has_what_an_automatic_commit_under_way_has() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let mut consumer = member(&fake);
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    // The automatic commit is sent, and its answer never comes.
    fake.trouble(ApiKey::OffsetCommit, &[Trouble::Silence]);
    idle(&mut consumer, 6 * SECOND).await;
    assert_eq!((fake.count(ApiKey::OffsetCommit), fake.state().group.committed), (1, None));
    consumer.commit().await.expect("it is committed");
    let state = fake.state();
    assert_eq!(state.group.committed, Some(1));
    assert_eq!(state.group.commits.last().map(|commit| commit.offset), Some(1));
}

#[tokio::test(start_paused = true)]
async fn commits_are_tried_again_until_the_coordinator_has_them() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let mut consumer = member_with(&fake, manual());
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    let troubles = [
        Trouble::Error(ErrorCode::CoordinatorLoadInProgress),
        Trouble::HangUp,
        Trouble::Lost,
        Trouble::Error(ErrorCode::LeaderNotAvailable),
    ];
    fake.trouble(ApiKey::OffsetCommit, &troubles);
    consumer.commit().await.expect("it is committed");
    assert_eq!((fake.count(ApiKey::OffsetCommit), fake.state().group.committed), (5, Some(1)));
    fake.trouble(ApiKey::OffsetCommit, &[Trouble::Error(ErrorCode::UnknownTopicOrPartition)]);
    let error = consumer.commit().await.expect_err("nobody waits for a topic to come back");
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    fake.trouble(ApiKey::OffsetCommit, &[Trouble::Error(ErrorCode::OffsetMetadataTooLarge)]);
    let offset = CommitOffset { offset: 1, metadata: "x".repeat(5000) };
    let error = consumer.commit_offsets([(keys(&[0])[0].clone(), offset)].into()).await.expect_err("refused");
    let expected = (TOPIC.to_owned(), 0, ErrorCode::OffsetMetadataTooLarge);
    assert!(matches!(&error, Error::CommitFailed { failed } if *failed == [expected]), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_a_member_that_is_gone_says_the_cure_and_the_partitions_are_lost() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let mut consumer = member_with(&fake, manual());
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    fake.state().group.member = None;
    let error = consumer.commit().await.expect_err("nobody knows it");
    assert_eq!(error.code(), Some(ErrorCode::UnknownMemberId));
    assert!(error.to_string().contains("max.poll.interval.ms"), "{error}");
    expect(&mut consumer, &["lost 1", "assigned 1", "records below 1"]).await;
    assert_eq!(fake.state().group.joins, ["", "member-1", "", "member-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_commits_revokes_and_assigns_in_that_order() {
    let fake = Fake::new();
    fill(&fake, 2).await;
    let mut consumer = member(&fake);
    expect(&mut consumer, &["assigned 1", "records below 1", "records below 2"]).await;
    fake.trouble(ApiKey::Heartbeat, &[Trouble::Error(ErrorCode::RebalanceInProgress); 2]);
    expect(&mut consumer, &["revoked 1"]).await;
    // Before the caller has heard of it, what it had is committed; after, it still may commit.
    assert_eq!(fake.state().group.commits.len(), 1);
    assert_eq!(consumer.assignment(), keys(&[0]));
    consumer.commit().await.expect("it still owns them");
    assert_eq!(fake.count(ApiKey::JoinGroup), 2, "nothing is given up before the next poll");
    expect(&mut consumer, &["assigned 1"]).await;
    assert_eq!(fake.state().group.joins, ["", "member-1", "member-1"]);
    assert_eq!(fake.state().group.committed, Some(2));
    idle(&mut consumer, SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_gone_when_it_commits_before_a_rebalance_hears_what_it_lost() {
    for (assignor, given) in [(Assignor::Range, None), (Assignor::CooperativeSticky, Some(vec![1, 2]))] {
        let fake = Fake::new();
        fill(&fake, 1).await;
        let mut consumer = member_with(&fake, GroupConfig { assignors: vec![assignor], ..config() });
        expect(&mut consumer, &["assigned 1", "records below 1"]).await;
        fake.state().group.given = given;
        fake.trouble(ApiKey::OffsetCommit, &[Trouble::Error(ErrorCode::UnknownMemberId)]);
        fake.trouble(ApiKey::Heartbeat, &[Trouble::Error(ErrorCode::RebalanceInProgress)]);
        // It never heard that it is to give the partition up, nor of those that it was to have for it.
        expect(&mut consumer, &["lost 1"]).await;
        let (lost, joins) = (Instant::now(), fake.count(ApiKey::JoinGroup));
        fake.state().group.given = None;
        expect(&mut consumer, &["assigned 1", "records below 1"]).await;
        assert!(fake.count(ApiKey::JoinGroup) > joins, "it joins anew");
        assert!(lost.elapsed() >= Duration::from_millis(100), "but not at once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cooperative_member_keeps_reading_and_gives_up_only_what_moves() {
    let fake = Fake::new();
    fill(&fake, 4).await;
    let config = GroupConfig { assignors: vec![Assignor::CooperativeSticky], ..config() };
    let mut consumer = member_with(&fake, config);
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    fake.trouble(ApiKey::Heartbeat, &[Trouble::Error(ErrorCode::RebalanceInProgress)]);
    fake.trouble(ApiKey::JoinGroup, &[Trouble::Error(ErrorCode::CoordinatorLoadInProgress); 3]);
    expect(&mut consumer, &["records below 2", "records below 3", "records below 4"]).await;
    expect(&mut consumer, &["assigned 0"]).await;
    assert_eq!(consumer.assignment(), keys(&[0]), "nothing was revoked in between");
    // Now somebody else is to have the partition.
    fake.state().group.given = Some(Vec::new());
    fake.trouble(ApiKey::Heartbeat, &[Trouble::Error(ErrorCode::RebalanceInProgress)]);
    let joins = fake.count(ApiKey::JoinGroup);
    expect(&mut consumer, &["revoked 1", "assigned 0"]).await;
    assert_eq!(fake.state().group.committed, Some(4));
    assert!(consumer.assignment().is_empty());
    // And the group rebalances once more, so that the other gets it.
    expect(&mut consumer, &["assigned 0"]).await;
    assert_eq!(fake.count(ApiKey::JoinGroup), joins + 2);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_a_join_overtakes_is_made_in_the_next_generation() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let config = GroupConfig { assignors: vec![Assignor::CooperativeSticky], ..manual() };
    let mut consumer = member_with(&fake, config);
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    // The join is let in while nobody polls, and its sync takes a while.
    fake.trouble(ApiKey::Heartbeat, &[Trouble::Error(ErrorCode::RebalanceInProgress)]);
    fake.trouble(ApiKey::SyncGroup, &[Trouble::Error(ErrorCode::RebalanceInProgress); 2]);
    let joins = fake.count(ApiKey::JoinGroup);
    while fake.count(ApiKey::JoinGroup) == joins {
        idle(&mut consumer, Duration::from_millis(10)).await;
    }
    consumer.commit().await.expect("it is committed");
    let generations: Vec<i32> = fake.state().group.commits.iter().map(|commit| commit.generation).collect();
    assert_eq!((generations, fake.state().group.committed), (vec![1, 4], Some(1)));
    expect(&mut consumer, &["assigned 0"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_owned_no_more_is_not_committed() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let mut consumer = member_with(&fake, manual());
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    let offset = CommitOffset { offset: 1, metadata: String::new() };
    let offsets =
        |partitions: &[i32]| keys(partitions).into_iter().map(|key| (key, offset.clone())).collect();
    let refused = |partition| (TOPIC.to_owned(), partition, ErrorCode::RebalanceInProgress);
    let error = consumer.commit_offsets(offsets(&[0, 1])).await.expect_err("it does not own both");
    assert!(matches!(&error, Error::CommitFailed { failed } if *failed == [refused(1)]), "{error}");
    assert_eq!(fake.state().group.committed, Some(1), "what it owns is committed");
    // The caller gives the partition up, and while the join is under way it belongs to nobody.
    fake.state().group.committed = Some(7);
    fake.trouble(ApiKey::Heartbeat, &[Trouble::Error(ErrorCode::RebalanceInProgress)]);
    fake.trouble(ApiKey::SyncGroup, &[Trouble::Error(ErrorCode::RebalanceInProgress); 2]);
    expect(&mut consumer, &["revoked 1"]).await;
    let joins = fake.count(ApiKey::JoinGroup);
    while fake.count(ApiKey::JoinGroup) == joins {
        idle(&mut consumer, Duration::from_millis(10)).await;
    }
    let error = consumer.commit_offsets(offsets(&[0])).await.expect_err("it owns nothing");
    assert!(matches!(&error, Error::CommitFailed { failed } if *failed == [refused(0)]), "{error}");
    assert_eq!(fake.state().group.committed, Some(7), "another may be further on");
}

#[tokio::test(start_paused = true)]
async fn who_is_fenced_by_generation_loses_its_partitions_and_joins_anew() {
    for (code, id) in [(ErrorCode::IllegalGeneration, "member-1"), (ErrorCode::UnknownMemberId, "")] {
        let fake = Fake::new();
        fill(&fake, 1).await;
        let mut consumer = member(&fake);
        expect(&mut consumer, &["assigned 1", "records below 1"]).await;
        fake.trouble(ApiKey::Heartbeat, &[Trouble::Error(code)]);
        expect(&mut consumer, &["lost 1"]).await;
        assert_eq!((consumer.assignment().len(), consumer.generation()), (0, None), "{code}");
        assert!(fake.state().group.commits.is_empty(), "what is lost is not committed");
        // Nothing was committed, so it is read once more.
        expect(&mut consumer, &["assigned 1", "records below 1"]).await;
        assert_eq!(fake.state().group.joins[2], id, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn whose_instance_is_taken_over_is_fenced_for_good() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let config = GroupConfig { group_instance_id: Some("one".to_owned()), ..config() };
    let mut consumer = member_with(&fake, config);
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    fake.trouble(ApiKey::Heartbeat, &[Trouble::Error(ErrorCode::FencedInstanceId)]);
    for _ in 0..2 {
        let error = loop {
            match next(&mut consumer).await {
                Ok(event) => assert_eq!(event, "lost 1"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), Some(ErrorCode::FencedInstanceId));
    }
    let joins = fake.count(ApiKey::JoinGroup);
    consumer.close().await.expect("there is nothing to do");
    assert_eq!((fake.count(ApiKey::JoinGroup), fake.count(ApiKey::LeaveGroup)), (joins, 0));
}

#[tokio::test(start_paused = true)]
async fn a_static_member_stays_when_it_is_closed() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let config = GroupConfig { group_instance_id: Some("one".to_owned()), ..config() };
    let mut consumer = member_with(&fake, config);
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    consumer.close().await.expect("it is closed");
    assert_eq!(fake.count(ApiKey::LeaveGroup), 0);
    assert_eq!(fake.state().group.committed, Some(1), "but its offsets are committed");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_poll_leaves_and_hears_of_it() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let config = GroupConfig { max_poll_interval: 20 * SECOND, ..config() };
    let mut consumer = member_with(&fake, config);
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    // A poll that waits is a poll.
    idle(&mut consumer, 60 * SECOND).await;
    assert!(fake.state().group.left.is_empty());
    tokio::time::sleep(19 * SECOND).await;
    assert!(fake.state().group.left.is_empty());
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(fake.state().group.left, ["member-1"]);
    expect(&mut consumer, &["lost 1", "assigned 1"]).await;
    assert_eq!(fake.state().group.joins[2], "", "it joins as a new member");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_dropped_breaks_no_join_off() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    fake.trouble(ApiKey::JoinGroup, &[Trouble::Error(ErrorCode::CoordinatorLoadInProgress); 4]);
    let mut consumer = member(&fake);
    let start = Instant::now();
    let mut dropped = 0;
    let event = loop {
        match tokio::time::timeout(Duration::from_millis(50), next(&mut consumer)).await {
            Ok(event) => break event.expect("no error"),
            Err(_) => dropped += 1,
        }
        assert!(start.elapsed() < 60 * SECOND, "it never joins");
    };
    assert_eq!((&*event, fake.count(ApiKey::JoinGroup)), ("assigned 1", 6));
    assert!(dropped > 20, "{dropped}");
}

#[tokio::test(start_paused = true)]
async fn without_group_or_subscription_nothing_is_sent() {
    let fake = Fake::new();
    let nameless = GroupConfig { group_id: String::new(), ..config() };
    assert!(GroupConsumer::new(fake.cluster(), ConsumerConfig::default(), nameless).is_err());
    let mut consumer =
        GroupConsumer::new(fake.cluster(), ConsumerConfig::default(), config()).expect("sound");
    assert!(matches!(consumer.poll().await, Err(Error::Config { .. })));
    consumer.close().await.expect("there is nothing to do");
    assert!(fake.state().requests.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_silent_holds_up_neither_a_rebalance_nor_the_end_for_long() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let mut consumer = member(&fake);
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    fake.trouble(ApiKey::OffsetCommit, &[Trouble::Silence]);
    fake.trouble(ApiKey::Heartbeat, &[Trouble::Error(ErrorCode::RebalanceInProgress)]);
    let start = Instant::now();
    expect(&mut consumer, &["revoked 1"]).await;
    // A heartbeat comes after three seconds.
    assert!(start.elapsed() < 14 * SECOND, "{:?}", start.elapsed());

    let fake = Fake::new();
    fill(&fake, 1).await;
    let mut consumer = member(&fake);
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    fake.trouble(ApiKey::OffsetCommit, &[Trouble::Silence; 2]);
    fake.trouble(ApiKey::LeaveGroup, &[Trouble::Silence]);
    idle(&mut consumer, 6 * SECOND).await;
    assert_eq!(fake.count(ApiKey::OffsetCommit), 1, "an automatic commit is under way");
    let start = Instant::now();
    let error = consumer.close().await.expect_err("nobody answers");
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert!(start.elapsed() < 36 * SECOND, "{:?}", start.elapsed());
}
