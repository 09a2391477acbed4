//! The same promise through librdkafka: an unchanged client, with its own ideas of retries.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ::rdkafka::ClientContext;
use ::rdkafka::config::ClientConfig;
use ::rdkafka::error::{KafkaError, RDKafkaErrorCode};
use ::rdkafka::message::Message;
use ::rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use milena_tests::history::{History, Placed, Record};

use crate::KILL_LIMIT;
use crate::load::{self, TOPIC};
use crate::scene::{PARTITIONS, Scene};

/// Of producers of the scene itself there are two.
const PRODUCER: u32 = 100;
const RECORDS: u64 = 1500;
const PAUSE: Duration = Duration::from_millis(2);
const FLUSH_LIMIT: Duration = Duration::from_secs(60);

/// What librdkafka was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<(Vec<Placed>, Vec<String>)>>);

impl ClientContext for Told {}

impl ProducerContext for Told {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let (acked, failed) = &mut *self.0.lock().expect("no panic under it");
        match result {
            Ok(message) => {
                let record = Record::parse(message.payload().unwrap_or_default()).expect("ours");
                acked.push(Placed { partition: message.partition(), offset: message.offset(), record });
            }
            Err((error, _)) => failed.push(error.to_string()),
        }
    }
}

fn produce(bootstrap: &str, told: Told) {
    let producer: ThreadedProducer<Told> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("topic.metadata.refresh.interval.ms", "1000")
        .set("message.timeout.ms", FLUSH_LIMIT.as_millis().to_string())
        .create_with_context(told)
        .expect("a producer");
    for number in 0..RECORDS {
        let value = Record { producer: PRODUCER, number }.value();
        let partition = i32::try_from(number).expect("few") % PARTITIONS;
        loop {
            let record = BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&value);
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => thread::sleep(PAUSE),
                Err((error, _)) => panic!("{value} cannot be sent: {error}"),
            }
        }
        thread::sleep(PAUSE);
    }
    producer.flush(FLUSH_LIMIT).expect("all have an outcome");
}

#[test]
fn librdkafka_loses_nothing_when_a_leader_is_killed() {
    let mut scene = Scene::start(3);
    scene.progress(100, KILL_LIMIT);
    let victim = scene.leader_of(1);
    let (bootstrap, told) = (scene.cluster.bootstrap(), Told::default());
    let producing = thread::spawn({
        let (bootstrap, told) = (bootstrap.clone(), told.clone());
        move || produce(&bootstrap, told)
    });
    scene.progress(100, KILL_LIMIT);
    let began = Instant::now();
    scene.cluster.kill(victim);
    scene.progress(300, KILL_LIMIT);
    scene.cluster.start_again(victim);
    producing.join().expect("the producer does not panic");
    scene.until_whole();
    let (acked, failed) = std::mem::take(&mut *told.0.lock().expect("it has ended"));
    assert!(failed.is_empty(), "{} failed, the first with {:?}", failed.len(), failed.first());
    assert_eq!(acked.len() as u64, RECORDS);
    let own = |placed: &Placed| placed.record.producer == PRODUCER;
    let mut reads = scene.runtime.block_on(load::read_all(&bootstrap, PARTITIONS));
    reads.retain(own);
    // One list per offset order: the records of others lie between them, so each is a reader of its own.
    let reads = reads.into_iter().map(|placed| vec![placed]).collect();
    let history = History { sent: [(PRODUCER, RECORDS)].into(), acked, reads, idempotent: true };
    history.assert_sound("librdkafka");
    scene.finish_beside(&[(PRODUCER, RECORDS)], &[("kill -9 beside librdkafka", began)], KILL_LIMIT);
}
