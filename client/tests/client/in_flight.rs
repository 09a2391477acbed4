//! Several batches of one partition in flight: order, duplicates and outcomes under what a broker may do.

use std::time::Duration;

use milena_client::config::ProducerConfig;
use milena_client::producer::{Delivery, Producer};
use milena_client::{ClientConfig, Error};
use milena_protocol::records::Batch;
use milena_protocol::{ApiKey, ErrorCode};

use super::fake::{Fake, TOPIC, Trouble};
use super::{producer_config, soon, value};

/// A producer whose batches hold one record each.
fn one_by_one() -> ProducerConfig {
    ProducerConfig { batch_size: 1, max_request_size: 250, ..producer_config() }
}

fn text(number: usize) -> Vec<u8> {
    format!("{number:0100}").into_bytes()
}

async fn send(producer: &mut Producer, numbers: std::ops::Range<usize>) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for number in numbers {
        deliveries.push(producer.send(TOPIC, value(&text(number))).await.expect("it is taken"));
    }
    deliveries
}

/// The numbers in the log, in order.
fn stored(fake: &Fake) -> Vec<usize> {
    let state = fake.state();
    let batches = state.log.iter().map(|stored| Batch::parse(&stored.bytes).expect("a sound batch").0);
    let values = batches.map(|batch| {
        let record = batch.records().expect("it is not compressed").next().expect("a record");
        let value = record.expect("a sound record").value.expect("a value").to_vec();
        String::from_utf8(value).expect("text").parse().expect("a number")
    });
    values.collect()
}

async fn until_asked(fake: &Fake, count: usize) {
    let asked = async {
        while fake.count(ApiKey::Produce) < count {
            tokio::task::yield_now().await;
        }
    };
    soon("the requests", asked).await;
}

fn impatient() -> ClientConfig {
    ClientConfig {
        bootstrap_servers: vec!["broker-1:9092".to_owned()],
        request_timeout: Duration::from_millis(200),
        retry_backoff: Duration::from_millis(1),
        retry_backoff_max: Duration::from_millis(5),
        ..ClientConfig::default()
    }
}

#[tokio::test]
async fn batches_go_out_before_the_first_is_answered_but_no_more_than_five() {
    let fake = Fake::new();
    let mut producer = Producer::new(fake.cluster_with(impatient()), one_by_one());
    send(&mut producer, 0..1).await;
    soon("the first", producer.flush()).await;
    fake.trouble(ApiKey::Produce, &[Trouble::Silence; 5]);
    let deliveries = send(&mut producer, 1..20).await;
    until_asked(&fake, 6).await;
    assert!(deliveries.iter().all(|delivery| delivery.result().is_none()));
    assert_eq!(fake.count(ApiKey::Produce), 6, "one that was answered and five that are not");
    soon("all", producer.flush()).await;
    assert!(stored(&fake).into_iter().eq(0..20), "the silent connection was given up, nothing was lost");
}

#[tokio::test]
async fn any_trouble_leaves_order_and_makes_no_duplicate() {
    const TROUBLES: [Trouble; 7] = [
        Trouble::HangUp,
        Trouble::Lost,
        Trouble::Error(ErrorCode::NotLeaderOrFollower),
        Trouble::Error(ErrorCode::KafkaStorageError),
        Trouble::ErrorAfter(ErrorCode::NotEnoughReplicasAfterAppend),
        Trouble::ErrorAfter(ErrorCode::NotLeaderOrFollower),
        Trouble::Error(ErrorCode::NotEnoughReplicas),
    ];
    for first in TROUBLES {
        for second in TROUBLES {
            let fake = Fake::new();
            let mut producer = Producer::new(fake.cluster(), one_by_one());
            send(&mut producer, 0..1).await;
            soon("the first", producer.flush()).await;
            fake.trouble(ApiKey::Produce, &[first, second, second, first, second]);
            let deliveries = send(&mut producer, 1..40).await;
            soon("flush", producer.flush()).await;
            let offsets = deliveries.iter().map(|delivery| delivery.result().expect("settled"));
            let offsets: Vec<_> = offsets.map(|result| result.expect("stored").offset).collect();
            assert!(offsets.into_iter().eq((1..40).map(Some)), "{first:?} {second:?}");
            assert!(stored(&fake).into_iter().eq(0..40), "{first:?} {second:?}: {:?}", stored(&fake));
        }
    }
}

#[tokio::test]
async fn trouble_with_the_very_first_batch_lets_no_other_pass() {
    for trouble in [Trouble::Lost, Trouble::Error(ErrorCode::NotLeaderOrFollower), Trouble::HangUp] {
        let fake = Fake::new();
        fake.trouble(ApiKey::Produce, &[trouble, trouble]);
        let mut producer = Producer::new(fake.cluster(), one_by_one());
        send(&mut producer, 0..10).await;
        soon("flush", producer.flush()).await;
        assert!(stored(&fake).into_iter().eq(0..10), "{trouble:?}: {:?}", stored(&fake));
    }
}

#[tokio::test]
async fn a_refused_batch_takes_none_of_those_behind_it_along() {
    let fake = Fake::new();
    let mut producer = Producer::new(fake.cluster(), one_by_one());
    send(&mut producer, 0..1).await;
    soon("the first", producer.flush()).await;
    fake.trouble(ApiKey::Produce, &[Trouble::Error(ErrorCode::MessageTooLarge)]);
    let deliveries = send(&mut producer, 1..20).await;
    soon("flush", producer.flush()).await;
    let refused = deliveries[0].result().expect("settled").expect_err("refused");
    assert_eq!(refused.code(), Some(ErrorCode::MessageTooLarge));
    assert!(deliveries[1..].iter().all(|delivery| delivery.result().is_some_and(|result| result.is_ok())));
    assert!(stored(&fake).into_iter().eq((0..1).chain(2..20)));
    assert_eq!(fake.state().log[1].producer_epoch, 1);
}

#[tokio::test]
async fn a_leader_that_moves_takes_what_is_in_flight_along_in_order() {
    let fake = Fake::new();
    let mut producer = Producer::new(fake.cluster(), one_by_one());
    for round in 0..10 {
        fake.state().leader = 1 + round % 2;
        let (from, asked) = (round as usize * 20, fake.count(ApiKey::Produce));
        send(&mut producer, from..from + 20).await;
        // The leader moves on while others of these wait for their answers.
        until_asked(&fake, asked + 1).await;
    }
    soon("flush", producer.flush()).await;
    assert!(stored(&fake).into_iter().eq(0..200));
    let brokers: std::collections::BTreeSet<_> =
        fake.state().log.iter().map(|stored| stored.broker).collect();
    assert_eq!(brokers.len(), 2, "both led");
}

/// The broker that is asked for metadata cannot know that another one leads now.
#[tokio::test]
async fn a_broker_that_is_cut_off_is_not_asked_for_ever() {
    let fake = Fake::new();
    let mut producer = Producer::new(fake.cluster(), one_by_one());
    send(&mut producer, 0..1).await;
    soon("the first", producer.flush()).await;
    {
        let mut state = fake.state();
        (state.leader, state.leader_epoch) = (2, 1);
        state.cut_off = Some((1, 1, 0));
    }
    send(&mut producer, 1..20).await;
    soon("flush", producer.flush()).await;
    assert!(stored(&fake).into_iter().eq(0..20));
    assert!(fake.state().log[1..].iter().all(|stored| stored.broker == 2));
}

/// Whom it knows to lead since a newer epoch, a client does not give up for an older one.
#[tokio::test]
async fn a_leader_epoch_does_not_go_back() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    {
        let mut state = fake.state();
        (state.leader, state.leader_epoch) = (2, 5);
    }
    let names = [TOPIC.to_owned()];
    cluster.refresh(Some(&names), false).await.expect("it answers");
    for (leader, epoch, known) in [(1, 4, 2), (1, 6, 1)] {
        fake.state().cut_off = Some((1, leader, epoch));
        let known_now = cluster.refresh(Some(&names), false).await.expect("it answers");
        assert_eq!(known_now.topic(TOPIC).expect("it is known").leader(0).expect("it is led"), known);
    }
    // Nor where all topics are asked for.
    fake.state().cut_off = Some((1, 2, 5));
    let known_now = cluster.refresh(None, false).await.expect("it answers");
    assert_eq!(known_now.topic(TOPIC).expect("it is known").leader(0).expect("it is led"), 1);
}

#[tokio::test]
async fn a_broker_that_never_answers_lets_every_send_time_out_once() {
    let fake = Fake::new();
    let config = ProducerConfig { delivery_timeout: Duration::from_millis(300), ..one_by_one() };
    let mut producer = Producer::new(fake.cluster_with(impatient()), config);
    send(&mut producer, 0..1).await;
    soon("the first", producer.flush()).await;
    fake.trouble(ApiKey::Produce, &[Trouble::Silence; 1000]);
    let deliveries = send(&mut producer, 1..30).await;
    soon("flush", producer.flush()).await;
    for delivery in deliveries {
        let error = delivery.result().expect("settled").expect_err("nobody answered");
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    }
    assert_eq!(stored(&fake), [0]);
}

/// `default.api.timeout.ms` bounds a call; a delivery has a time of its own.
#[tokio::test]
async fn a_producer_id_that_comes_late_costs_no_delivery() {
    let fake = Fake::new();
    fake.trouble(ApiKey::InitProducerId, &[Trouble::Silence; 6]);
    let config = ClientConfig {
        request_timeout: Duration::from_millis(20),
        api_timeout: Duration::from_millis(30),
        ..impatient()
    };
    let mut producer = Producer::new(fake.cluster_with(config), one_by_one());
    let deliveries = send(&mut producer, 0..3).await;
    soon("flush", producer.flush()).await;
    assert!(deliveries.iter().all(|delivery| delivery.result().is_some_and(|result| result.is_ok())));
    assert!(fake.count(ApiKey::InitProducerId) >= 7);
    assert_eq!(stored(&fake), [0, 1, 2]);
}

#[tokio::test]
async fn after_a_failure_that_nobody_knows_about_the_next_batch_fences_it() {
    let fake = Fake::new();
    let config = ProducerConfig { delivery_timeout: Duration::from_millis(100), ..one_by_one() };
    let mut producer = Producer::new(fake.cluster(), config);
    send(&mut producer, 0..1).await;
    soon("the first", producer.flush()).await;
    fake.trouble(ApiKey::Produce, &[Trouble::Lost; 10_000]);
    let lost = send(&mut producer, 1..5).await;
    soon("flush", producer.flush()).await;
    assert!(lost.iter().all(|delivery| delivery.result().is_some_and(|result| result.is_err())));
    fake.state().troubles.clear();
    let next = send(&mut producer, 5..6).await.remove(0);
    soon("the last", next.wait()).await.expect("it is stored");
    assert_eq!(stored(&fake), [0, 5]);
    let last = fake.state().log[1].clone();
    assert_eq!((last.producer_epoch, last.base_sequence), (1, 0));
}

#[tokio::test]
async fn a_producer_that_is_dropped_settles_what_it_took() {
    let fake = Fake::new();
    let mut producer = Producer::new(fake.cluster(), one_by_one());
    fake.trouble(ApiKey::Produce, &[Trouble::HangUp, Trouble::Lost]);
    let deliveries = send(&mut producer, 0..30).await;
    drop(producer);
    for delivery in deliveries {
        soon("a delivery", delivery.wait()).await.expect("it is stored");
    }
    assert!(stored(&fake).into_iter().eq(0..30));
}

#[test]
fn a_runtime_that_ends_closes_what_is_under_way() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let delivery = runtime.block_on(async {
        let fake = Fake::new();
        fake.trouble(ApiKey::Produce, &[Trouble::Silence]);
        let mut producer = Producer::new(fake.cluster(), one_by_one());
        let delivery = send(&mut producer, 0..1).await.remove(0);
        until_asked(&fake, 1).await;
        delivery
    });
    drop(runtime);
    assert!(matches!(delivery.result(), Some(Err(Error::Closed))), "{:?}", delivery.result());
}

#[tokio::test]
async fn with_one_in_flight_order_holds_without_idempotence() {
    let fake = Fake::new();
    let config = ProducerConfig { enable_idempotence: false, max_in_flight: 1, ..one_by_one() };
    let mut producer = Producer::new(fake.cluster(), config);
    let error = Trouble::Error(ErrorCode::NotLeaderOrFollower);
    fake.trouble(ApiKey::Produce, &[error, error, Trouble::Lost, error]);
    send(&mut producer, 0..30).await;
    soon("flush", producer.flush()).await;
    assert!(stored(&fake).into_iter().eq(0..30));
}
