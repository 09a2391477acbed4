//! The library against a cluster in memory: connections, retries, producing, consuming.

#[path = "client/admin.rs"]
mod admin;
#[path = "client/brokers.rs"]
mod brokers;
mod fake;
#[path = "client/group.rs"]
mod group;
#[path = "client/in_flight.rs"]
mod in_flight;
#[path = "client/partitions.rs"]
mod partitions;
#[path = "client/places.rs"]
mod places;

use std::sync::Arc;
use std::time::Duration;

use fake::{Fake, TOPIC, Trouble};
use milena_client::config::{Acks, ConsumerConfig, ProducerConfig};
use milena_client::consumer::Consumer;
use milena_client::producer::{Producer, ProducerRecord};
use milena_client::{ClientConfig, Error};
use milena_protocol::messages::MetadataRequest;
use milena_protocol::{ApiKey, ErrorCode};

/// Nothing here takes long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

fn value(value: &[u8]) -> ProducerRecord<'_> {
    ProducerRecord { value: Some(value), ..ProducerRecord::default() }
}

fn producer_config() -> ProducerConfig {
    ProducerConfig { linger: Duration::from_millis(1), ..ProducerConfig::default() }
}

/// Stores `count` records one by one, so that each is a batch.
async fn fill(fake: &Fake, count: i64) {
    let mut producer = Producer::new(fake.cluster(), producer_config());
    for number in 0..count {
        let delivery = producer.send(TOPIC, value(number.to_string().as_bytes())).await.expect("it is taken");
        let stored = soon("a delivery", delivery.wait()).await.expect("it is stored");
        assert_eq!(stored.offset, Some(number));
    }
}

/// Polls until `count` records came; their offsets and values.
async fn read(consumer: &mut Consumer, count: usize) -> Vec<(i64, String)> {
    let mut records = Vec::new();
    let mut scratch = Vec::new();
    while records.len() < count {
        for part in soon("a poll", consumer.poll()).await.expect("it can be read") {
            let each = |record: milena_client::consumer::ConsumedRecord<'_>| {
                let value = record.record.value.unwrap_or_default();
                records.push((record.offset, String::from_utf8(value.to_vec()).expect("text")));
                true
            };
            part.for_each(true, &mut scratch, each).expect("sound batches");
        }
    }
    records
}

fn numbers(range: std::ops::Range<i64>) -> Vec<(i64, String)> {
    range.map(|number| (number, number.to_string())).collect()
}

#[tokio::test]
async fn the_handshake_falls_back_to_what_the_broker_names() {
    let fake = Fake::new();
    fake.state().newest = vec![(ApiKey::ApiVersions, 2), (ApiKey::Metadata, 5)];
    let connection = fake.cluster().any().await.expect("it connects");
    let asked: Vec<i16> = fake.state().requests.iter().map(|(_, version)| *version).collect();
    assert_eq!(
        asked,
        [*<milena_protocol::messages::ApiVersionsRequest<'_> as milena_protocol::Message>::VERSIONS.end(), 2]
    );
    assert_eq!(connection.version_of::<MetadataRequest<'_>>(i16::MAX).expect("both know it"), 5);
}

#[tokio::test]
async fn a_version_below_ours_is_an_error_that_names_both() {
    let fake = Fake::new();
    fake.state().newest = vec![(ApiKey::Produce, 2)];
    let connection = fake.cluster().any().await.expect("it connects");
    let error = connection
        .version_of::<milena_protocol::messages::ProduceRequest<'_>>(i16::MAX)
        .expect_err("too old");
    assert!(matches!(&error, Error::UnsupportedApi { api: ApiKey::Produce, .. }), "{error}");
}

#[tokio::test]
async fn requests_go_out_before_answers_come_in() {
    let fake = Fake::new();
    let connection = fake.cluster().any().await.expect("it connects");
    let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
    let mut sent = Vec::new();
    for _ in 0..10 {
        sent.push(connection.send(&request, 12).await.expect("it is queued"));
    }
    for answer in sent {
        let answer = soon("an answer", answer).await.expect("answered");
        assert_eq!(answer.decode::<MetadataRequest<'_>>().expect("sound").brokers.len(), 2);
    }
}

#[tokio::test]
async fn a_lost_connection_fails_all_that_wait_and_is_made_anew() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let connection = cluster.any().await.expect("it connects");
    fake.trouble(ApiKey::Metadata, &[Trouble::Silence, Trouble::HangUp]);
    let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
    let first = connection.send(&request, 12).await.expect("it is queued");
    let second = connection.send(&request, 12).await.expect("it is queued");
    for answer in [soon("the first", first).await, soon("the second", second).await] {
        assert!(matches!(answer, Err(Error::Disconnected { .. })), "{answer:?}");
    }
    assert!(connection.is_closed());
    assert!(soon("another", cluster.refresh(Some(&[]), false)).await.is_ok());
}

#[tokio::test]
async fn an_answer_to_something_else_ends_the_connection() {
    let fake = Fake::new();
    let connection = fake.cluster().any().await.expect("it connects");
    fake.trouble(ApiKey::Metadata, &[Trouble::WrongCorrelationId]);
    let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
    let answer = soon("an answer", connection.call(&request)).await;
    assert!(matches!(answer, Err(Error::Protocol { .. })), "{answer:?}");
    assert!(connection.is_closed());
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_given_up() {
    let fake = Fake::new();
    let config = ClientConfig {
        bootstrap_servers: vec!["broker-1:9092".to_owned()],
        request_timeout: Duration::from_millis(200),
        api_timeout: Duration::from_millis(300),
        ..ClientConfig::default()
    };
    let cluster = fake.cluster_with(config);
    fake.trouble(ApiKey::Metadata, &[Trouble::Silence; 10]);
    let outcome = soon("giving up", cluster.refresh(Some(&[]), false)).await;
    assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
}

#[tokio::test]
async fn no_broker_is_an_error_that_says_who_was_asked() {
    let config = ClientConfig { bootstrap_servers: vec!["nowhere:1".to_owned()], ..ClientConfig::default() };
    let error = Fake::new().cluster_with(config).any().await.expect_err("nobody is there");
    assert!(matches!(&error, Error::NoBroker(text) if text.contains("nowhere:1")), "{error}");
}

#[tokio::test]
async fn a_batch_follows_the_leader_with_its_sequence() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let mut producer = Producer::new(fake.cluster(), producer_config());
    let first = producer.send(TOPIC, value(b"a")).await.expect("it is taken");
    soon("the first", first.wait()).await.expect("it is stored");
    fake.state().leader = 2;
    let second = producer.send(TOPIC, value(b"b")).await.expect("it is taken");
    soon("the second", second.wait()).await.expect("it is stored");
    let state = fake.state();
    let [a, b] = [&state.log[1], &state.log[2]];
    assert_eq!((a.broker, b.broker), (1, 2));
    assert_eq!(a.producer_id, b.producer_id);
    assert_eq!((a.base_sequence, b.base_sequence), (0, 1));
}

#[tokio::test]
async fn a_lost_answer_makes_no_duplicate() {
    let fake = Fake::new();
    fake.trouble(ApiKey::Produce, &[Trouble::HangUp]);
    fill(&fake, 3).await;
    assert_eq!(fake.count(ApiKey::Produce), 4, "one was sent twice");
    assert_eq!(fake.state().log.len(), 3);
}

#[tokio::test]
async fn what_a_broker_refuses_fails_and_the_next_batch_has_an_identity_of_its_own() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let mut producer = Producer::new(fake.cluster(), producer_config());
    fake.trouble(ApiKey::Produce, &[Trouble::Error(ErrorCode::MessageTooLarge)]);
    let refused = producer.send(TOPIC, value(b"a")).await.expect("it is taken");
    let error = soon("the first", refused.wait()).await.expect_err("refused");
    assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge));
    let next = producer.send(TOPIC, value(b"b")).await.expect("it is taken");
    soon("the second", next.wait()).await.expect("it is stored");
    let state = fake.state();
    assert_eq!((state.log[1].producer_epoch, state.log[1].base_sequence), (1, 0));
    assert_ne!(state.log[1].producer_id, state.log[0].producer_id);
}

#[tokio::test]
async fn memory_is_given_back_batch_after_batch() {
    let fake = Fake::new();
    let config = ProducerConfig { buffer_memory: 4096, ..producer_config() };
    let mut producer = Producer::new(fake.cluster(), config);
    let mut deliveries = Vec::new();
    for _ in 0..200 {
        let sent = soon("room for a record", producer.send(TOPIC, value(&[b'x'; 1000]))).await;
        deliveries.push(sent.expect("it is taken"));
    }
    soon("flush", producer.flush()).await;
    let offsets =
        deliveries.iter().map(|delivery| delivery.result().expect("flushed").expect("stored").offset);
    assert!(offsets.eq((0..200).map(Some)), "in order, none twice");
    assert!(fake.state().log.len() > 1, "more than one batch");
}

#[tokio::test]
async fn without_acks_a_record_counts_when_it_is_sent() {
    let fake = Fake::new();
    let config = ProducerConfig { acks: Acks::None, enable_idempotence: false, ..producer_config() };
    let mut producer = Producer::new(fake.cluster(), config);
    let delivery = producer.send(TOPIC, value(b"a")).await.expect("it is taken");
    let sent = soon("a delivery", delivery.wait()).await.expect("it is sent");
    assert_eq!((sent.partition, sent.offset), (0, None));
}

#[tokio::test]
async fn records_that_cannot_be_sent_are_refused_at_once() {
    let fake = Fake::new();
    let mut producer =
        Producer::new(fake.cluster(), ProducerConfig { max_request_size: 100, ..producer_config() });
    let outcome = producer.send(TOPIC, value(&[0; 101])).await;
    assert!(matches!(outcome, Err(Error::RecordTooLarge { limit: 100, .. })));
    let elsewhere = ProducerRecord { partition: Some(9), ..value(b"a") };
    assert!(matches!(
        producer.send(TOPIC, elsewhere).await,
        Err(Error::UnknownPartition { partition: 9, .. })
    ));
}

#[tokio::test]
async fn a_consumer_reads_on_from_its_position() {
    let fake = Fake::new();
    fill(&fake, 10).await;
    let mut consumer = Consumer::new(fake.cluster(), ConsumerConfig::default());
    consumer.assign(TOPIC, 0, 4);
    assert_eq!(read(&mut consumer, 6).await, numbers(4..10));
    assert_eq!(consumer.position(TOPIC, 0), Some(10));
}

#[tokio::test]
async fn records_within_a_batch_below_the_position_are_left_out() {
    let fake = Fake::new();
    let mut producer =
        Producer::new(fake.cluster(), ProducerConfig { linger: PATIENCE, ..producer_config() });
    for number in 0..5 {
        producer.send(TOPIC, value(number.to_string().as_bytes())).await.expect("it is taken");
    }
    soon("flush", producer.flush()).await;
    assert_eq!(fake.state().log.len(), 1, "one batch");
    let mut consumer = Consumer::new(fake.cluster(), ConsumerConfig::default());
    consumer.assign(TOPIC, 0, 3);
    assert_eq!(read(&mut consumer, 2).await, numbers(3..5));
}

#[tokio::test]
async fn the_next_fetch_travels_while_the_caller_works() {
    let fake = Fake::new();
    fill(&fake, 2).await;
    let mut consumer = Consumer::new(fake.cluster(), ConsumerConfig::default());
    consumer.assign(TOPIC, 0, 0);
    assert_eq!(read(&mut consumer, 1).await, numbers(0..1));
    // Nobody polls now.
    soon("the second fetch", async {
        while fake.count(ApiKey::Fetch) < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(read(&mut consumer, 1).await, numbers(1..2));
}

#[tokio::test]
async fn a_poll_that_is_dropped_loses_nothing() {
    let fake = Fake::new();
    fill(&fake, 20).await;
    let mut consumer = Consumer::new(fake.cluster(), ConsumerConfig::default());
    consumer.assign(TOPIC, 0, 0);
    let mut records = Vec::new();
    soon("reading", async {
        while records.len() < 20 {
            // Polled once and dropped, ready or not.
            tokio::select! {
                biased;
                fetched = consumer.poll() => {
                    for part in fetched.expect("it can be read") {
                        part.for_each(true, &mut Vec::new(), |record| {
                            records.push(record.offset);
                            true
                        })
                        .expect("sound batches");
                    }
                }
                () = tokio::task::yield_now() => {}
            }
        }
    })
    .await;
    assert!(records.into_iter().eq(0..20));
}

#[tokio::test]
async fn a_consumer_follows_the_leader() {
    let fake = Fake::new();
    fill(&fake, 4).await;
    let mut consumer = Consumer::new(fake.cluster(), ConsumerConfig::default());
    consumer.assign(TOPIC, 0, 0);
    assert_eq!(read(&mut consumer, 1).await, numbers(0..1));
    fake.state().leader = 2;
    let rest = read(&mut consumer, 3).await;
    assert_eq!(rest, numbers(1..4));
}

#[tokio::test]
async fn a_position_outside_of_the_log_is_an_error() {
    let fake = Fake::new();
    fill(&fake, 2).await;
    let mut consumer = Consumer::new(fake.cluster(), ConsumerConfig::default());
    consumer.assign(TOPIC, 0, 7);
    let error = soon("a poll", consumer.poll()).await.expect_err("nothing is there");
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
}

#[tokio::test]
async fn damage_is_found_by_the_checksum() {
    let fake = Fake::new();
    fill(&fake, 1).await;
    let last = fake.state().log[0].bytes.len() - 1;
    fake.state().log[0].bytes[last] ^= 1;
    let mut consumer = Consumer::new(fake.cluster(), ConsumerConfig::default());
    consumer.assign(TOPIC, 0, 0);
    let fetched = soon("a poll", consumer.poll()).await.expect("the fetch is sound");
    let outcome = fetched[0].for_each(true, &mut Vec::new(), |_| true);
    assert!(matches!(outcome, Err(Error::Corrupt(_))), "{outcome:?}");
}

#[tokio::test]
async fn clones_of_a_cluster_share_connections() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let (one, other) =
        (cluster.any().await.expect("it connects"), cluster.clone().any().await.expect("it connects"));
    assert!(Arc::ptr_eq(&one, &other));
    assert_eq!(fake.count(ApiKey::ApiVersions), 1);
}

#[tokio::test]
async fn a_partition_that_nobody_leads_holds_up_no_other() {
    let fake = Fake::new();
    fill(&fake, 3).await;
    fake.state().others = [(1, -1)].into();
    let mut consumer = Consumer::new(fake.cluster(), ConsumerConfig::default());
    consumer.assign(TOPIC, 0, 0);
    consumer.assign(TOPIC, 1, 0);
    assert_eq!(read(&mut consumer, 3).await, numbers(0..3));
    // It is read as soon as somebody leads it.
    fake.state().others = [(1, 2)].into();
    let led = async {
        while !consumer.poll().await.expect("it can be read").iter().any(|part| part.partition == 1) {}
    };
    soon("the other partition", led).await;
}

#[tokio::test]
async fn what_came_beside_a_corrupt_partition_is_not_skipped() {
    let fake = Fake::new();
    fill(&fake, 3).await;
    {
        let mut state = fake.state();
        (state.others, state.is_garbled) = ([(1, 1)].into(), true);
    }
    let mut consumer = Consumer::new(fake.cluster(), ConsumerConfig::default());
    consumer.assign(TOPIC, 0, 0);
    consumer.assign(TOPIC, 1, 0);
    assert_eq!(read(&mut consumer, 3).await, numbers(0..3));
    let error = soon("a poll", consumer.poll()).await.expect_err("nothing else is left");
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
    assert_eq!((consumer.position(TOPIC, 0), consumer.position(TOPIC, 1)), (Some(3), Some(0)));
}
