//! Where a member of a group begins to read, and what becomes of partitions that cannot be read for a while. Time is
//! virtual here too.

use milena_client::config::{GroupConfig, OffsetReset};
use milena_client::group::GroupConsumer;
use milena_client::{Error, Result};
use milena_protocol::ApiKey;
use tokio::time::Instant;

use super::fake::{Fake, TOPIC};
use super::fill;
use super::group::{SECOND, config, expect, idle, keys, member, member_with, next};

#[tokio::test(start_paused = true)]
async fn where_nothing_is_committed_the_policy_decides() {
    let begins = |reset| async move {
        let fake = Fake::new();
        fill(&fake, 3).await;
        let mut consumer = member_with(&fake, GroupConfig { auto_offset_reset: reset, ..config() });
        expect(&mut consumer, &["assigned 1"]).await;
        let events = until_idle(&mut consumer).await?;
        assert_eq!(consumer.position(TOPIC, 0), Some(3));
        Ok::<_, Error>(events)
    };
    assert!(begins(OffsetReset::Latest).await.expect("a place").is_empty(), "nothing new has come");
    let all = ["records below 1", "records below 2", "records below 3"];
    assert_eq!(begins(OffsetReset::Earliest).await.expect("a place"), all);
    let error = begins(OffsetReset::None).await.expect_err("no place");
    assert!(matches!(&error, Error::NoOffset { partitions } if *partitions == keys(&[0])), "{error}");
}

/// Polls until nothing comes for a while; what came.
async fn until_idle(consumer: &mut GroupConsumer) -> Result<Vec<String>> {
    let mut events = Vec::new();
    while let Ok(event) = tokio::time::timeout(2 * SECOND, next(consumer)).await {
        events.push(event?);
    }
    Ok(events)
}

#[tokio::test(start_paused = true)]
async fn a_position_outside_of_the_log_is_reset() {
    let fake = Fake::new();
    fill(&fake, 2).await;
    fake.state().group.committed = Some(99);
    let mut consumer = member(&fake);
    expect(&mut consumer, &["assigned 1", "records below 1", "records below 2"]).await;
    let fake = Fake::new();
    fake.state().group.committed = Some(99);
    let mut consumer = member_with(&fake, GroupConfig { auto_offset_reset: OffsetReset::None, ..config() });
    expect(&mut consumer, &["assigned 1"]).await;
    let error = next(&mut consumer).await.expect_err("no place");
    assert!(matches!(error, Error::NoOffset { .. }), "{error}");
    // The caller can still choose one.
    consumer.seek(TOPIC, 0, 0);
    idle(&mut consumer, 2 * SECOND).await;
    assert_eq!(consumer.position(TOPIC, 0), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_seek_beats_the_committed_offset() {
    let fake = Fake::new();
    fill(&fake, 3).await;
    fake.state().group.committed = Some(1);
    let mut consumer = member(&fake);
    expect(&mut consumer, &["assigned 1"]).await;
    consumer.seek(TOPIC, 0, 2);
    expect(&mut consumer, &["records below 3"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_nobody_leads_holds_up_no_other() {
    let fake = Fake::new();
    fill(&fake, 2).await;
    fake.state().others = [(1, -1)].into();
    let mut consumer = member(&fake);
    expect(&mut consumer, &["assigned 2"]).await;
    let start = Instant::now();
    expect(&mut consumer, &["records below 1", "records below 2"]).await;
    assert!(start.elapsed() < 5 * SECOND, "{:?}", start.elapsed());
    let lookups = fake.count(ApiKey::Metadata);
    idle(&mut consumer, 30 * SECOND).await;
    let lookups = fake.count(ApiKey::Metadata) - lookups;
    assert!(lookups < 100, "pauses grow: {lookups}");
    fake.state().others = [(1, 1)].into();
    idle(&mut consumer, 2 * SECOND).await;
    assert_eq!(consumer.position(TOPIC, 1), Some(0), "it has a place");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_newer_than_what_is_known_of_its_topic_is_found() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    fake.state().group.given = Some(vec![0, 1]);
    let mut consumer = member(&fake);
    expect(&mut consumer, &["assigned 2", "records below 1"]).await;
    assert_eq!(consumer.position(TOPIC, 1), None);
    fake.state().others = [(1, 1)].into();
    idle(&mut consumer, 3 * SECOND).await;
    assert_eq!(consumer.position(TOPIC, 1), Some(0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_committed_of_a_topic_while_it_is_gone() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let mut consumer = member(&fake);
    expect(&mut consumer, &["assigned 1", "records below 1"]).await;
    fake.state().is_gone = true;
    idle(&mut consumer, 60 * SECOND).await;
    assert_eq!(fake.count(ApiKey::OffsetCommit), 0);
    fake.state().is_gone = false;
    idle(&mut consumer, 10 * SECOND).await;
    assert_eq!((fake.count(ApiKey::OffsetCommit), fake.state().group.committed), (1, Some(1)));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_in_the_subscription_is_not_read() {
    let fake = Fake::new();
    let mut consumer = member(&fake);
    expect(&mut consumer, &["assigned 1"]).await;
    consumer.subscribe(["u"]);
    expect(&mut consumer, &["revoked 1", "assigned 0"]).await;
    consumer.subscribe_pattern("t|u").expect("a pattern");
    expect(&mut consumer, &["assigned 1"]).await;
    assert!(consumer.subscribe_pattern("(").is_err());
}
