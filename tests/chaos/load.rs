//! Load that knows what it was told: an idempotent producer of numbered records, and a reader beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use milena_client::Cluster;
use milena_client::admin::{Admin, NewTopic, OffsetSpec};
use milena_client::config::{ClientConfig, ConsumerConfig, ProducerConfig};
use milena_client::consumer::{Consumer, Fetched};
use milena_client::producer::{Delivery, Producer, ProducerRecord};
use milena_tests::history::{History, Placed, Record};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub const TOPIC: &str = "chaos";

/// Records may wait so long for their place; every failure here is over long before.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(60);
/// Outcomes that are waited for at once.
const IN_FLIGHT_MAX: usize = 10_000;

/// A client that looks for new leaders as eagerly as a user of a cluster would set it.
pub fn client(bootstrap: &str) -> Cluster {
    Cluster::new(ClientConfig {
        bootstrap_servers: bootstrap.split(',').map(str::to_owned).collect(),
        client_id: "chaos".to_owned(),
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(5),
        retry_backoff: Duration::from_millis(20),
        retry_backoff_max: Duration::from_millis(200),
        ..ClientConfig::default()
    })
}

/// Creates the topic with a copy on each of three brokers.
pub async fn create_topic(bootstrap: &str, partitions: i32) {
    let new = NewTopic {
        name: TOPIC.to_owned(),
        partitions: Some(partitions),
        replication_factor: Some(3),
        ..NewTopic::default()
    };
    let results = Admin::new(client(bootstrap)).create_topics(&[new], false).await.expect("a cluster");
    for (_, result) in results {
        result.expect("a new topic");
    }
}

/// A producer that goes on until it is told to end.
pub struct Load {
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    sending: JoinHandle<u64>,
    collecting: JoinHandle<Collected>,
}

/// What became of the records.
#[derive(Default)]
struct Collected {
    acked: Vec<Placed>,
    failed: Vec<String>,
    /// When records of each partition were acknowledged.
    times: BTreeMap<i32, Vec<Instant>>,
}

/// What a load was told, when it has ended.
pub struct Told {
    pub sent: u64,
    pub acked: Vec<Placed>,
    pub failed: Vec<String>,
    times: BTreeMap<i32, Vec<Instant>>,
}

impl Told {
    /// Of all partitions the longest time that began before `to`, ended after `from`, and in which none of its records was
    /// acknowledged.
    pub fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let pairs = self.times.values().flat_map(|times| times.windows(2));
        let within = pairs.filter(|pair| pair[0] < to && pair[1] > from);
        within.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

impl Load {
    /// Writes so many records a second, to all partitions in turn.
    pub fn start(bootstrap: &str, producer: u32, partitions: i32, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acked = Arc::new(AtomicU64::new(0));
        let (deliveries, outcomes) = mpsc::channel(IN_FLIGHT_MAX);
        let sending =
            send(client(bootstrap), producer, partitions, per_second, deliveries, Arc::clone(&stop));
        let collecting = collect(outcomes, Arc::clone(&acked));
        Self { stop, acked, sending: tokio::spawn(sending), collecting: tokio::spawn(collecting) }
    }

    pub fn acked_count(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Waits until so many more records are acknowledged.
    pub async fn progress(&self, records: u64, limit: Duration) {
        let (target, deadline) = (self.acked_count() + records, Instant::now() + limit);
        while self.acked_count() < target {
            assert!(
                Instant::now() < deadline,
                "{} of {target} records acknowledged within {limit:?}",
                self.acked_count()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the load when everything that was sent has its outcome.
    pub async fn finish(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sending.await.expect("the producer does not panic");
        let Collected { acked, failed, times } = self.collecting.await.expect("outcomes come");
        Told { sent, acked, failed, times }
    }
}

async fn send(
    cluster: Cluster,
    producer_number: u32,
    partitions: i32,
    per_second: u32,
    deliveries: mpsc::Sender<(Record, Delivery)>,
    stop: Arc<AtomicBool>,
) -> u64 {
    let config = ProducerConfig { delivery_timeout: DELIVERY_TIME_MAX, ..ProducerConfig::default() };
    let mut producer = Producer::new(cluster, config);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let record = Record { producer: producer_number, number };
        let partition = i32::try_from(number % partitions as u64).expect("a small number");
        let value = record.value();
        let sent = ProducerRecord {
            value: Some(value.as_bytes()),
            partition: Some(partition),
            ..Default::default()
        };
        // Looking the topic up may fail while a cluster has no leader; the record was not sent then.
        match producer.send(TOPIC, sent).await {
            Ok(delivery) => deliveries.send((record, delivery)).await.expect("outcomes are collected"),
            Err(error) if error.may_be_retried() => continue,
            Err(error) => panic!("{record:?} cannot be sent: {error}"),
        }
        number += 1;
    }
    producer.flush().await;
    number
}

async fn collect(mut outcomes: mpsc::Receiver<(Record, Delivery)>, acked: Arc<AtomicU64>) -> Collected {
    let mut collected = Collected::default();
    while let Some((record, delivery)) = outcomes.recv().await {
        match delivery.wait().await {
            Ok(stored) => {
                let offset = stored.offset.expect("acks=all names the offset");
                collected.acked.push(Placed { partition: stored.partition, offset, record });
                let settled_at = delivery.settled_at().expect("it is settled");
                collected.times.entry(stored.partition).or_default().push(settled_at);
                acked.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => collected.failed.push(format!("{}: {error}", record.value())),
        }
    }
    for times in collected.times.values_mut() {
        times.sort_unstable();
    }
    collected
}

/// A consumer that reads all partitions while others write.
pub struct Reader {
    stop: Arc<AtomicBool>,
    reading: JoinHandle<Vec<Placed>>,
}

impl Reader {
    pub fn start(bootstrap: &str, partitions: i32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let reading = follow(client(bootstrap), partitions, Arc::clone(&stop));
        Self { stop, reading: tokio::spawn(reading) }
    }

    pub async fn finish(self) -> Vec<Placed> {
        self.stop.store(true, Ordering::Relaxed);
        self.reading.await.expect("the reader does not panic")
    }
}

async fn follow(cluster: Cluster, partitions: i32, stop: Arc<AtomicBool>) -> Vec<Placed> {
    let mut consumer = Consumer::new(cluster, ConsumerConfig::default());
    (0..partitions).for_each(|partition| consumer.assign(TOPIC, partition, 0));
    let mut reads = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // Nothing new is no reason to stay here when the load has ended.
        match tokio::time::timeout(Duration::from_millis(100), consumer.poll()).await {
            Ok(Ok(fetched)) => take(&fetched, &mut reads),
            Ok(Err(error)) => panic!("the reader gave up: {error}"),
            Err(_) => {}
        }
    }
    reads
}

pub fn take(fetched: &[Fetched], reads: &mut Vec<Placed>) {
    let mut scratch = Vec::new();
    for part in fetched {
        let each = part.for_each(true, &mut scratch, |read| {
            let value = read.record.value.unwrap_or_default();
            let record = Record::parse(value).expect("only our records are in the topic");
            reads.push(Placed { partition: part.partition, offset: read.offset, record });
            true
        });
        each.expect("sound batches");
    }
}

/// Reads everything that is committed now, from the beginning.
pub async fn read_all(bootstrap: &str, partitions: i32) -> Vec<Placed> {
    let cluster = client(bootstrap);
    let all: Vec<i32> = (0..partitions).collect();
    let ends = Admin::new(cluster.clone()).list_offsets(TOPIC, &all, OffsetSpec::Latest, false).await;
    let mut consumer = Consumer::new(cluster, ConsumerConfig::default());
    let mut left: BTreeMap<i32, i64> = BTreeMap::new();
    for listed in ends.expect("all partitions have a leader") {
        let end = listed.offset.expect("the end is known");
        if end > 0 {
            consumer.assign(TOPIC, listed.partition, 0);
            left.insert(listed.partition, end);
        }
    }
    let mut reads = Vec::new();
    while !left.is_empty() {
        take(&consumer.poll().await.expect("all partitions can be read"), &mut reads);
        left.retain(|partition, end| {
            let is_left = consumer.position(TOPIC, *partition).is_some_and(|position| position < *end);
            if !is_left {
                consumer.unassign(TOPIC, *partition);
            }
            is_left
        });
    }
    reads
}

/// Everything that was seen, to be judged.
pub async fn history(
    bootstrap: &str,
    partitions: i32,
    told: &[(u32, &Told)],
    followed: Vec<Placed>,
) -> History {
    History {
        sent: told.iter().map(|(producer, told)| (*producer, told.sent)).collect(),
        acked: told.iter().flat_map(|(_, told)| told.acked.iter().copied()).collect(),
        reads: vec![followed, read_all(bootstrap, partitions).await],
        idempotent: true,
    }
}
