//! The load, all of it from librdkafka: bulk writes, catch-up reads, and writes at a fixed rate.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

pub type Failure = Box<dyn std::error::Error>;

const LIMIT: Duration = Duration::from_secs(60);
/// Text from which every value is a piece; compresses about as well as log lines do.
const TEXT_BYTES: usize = 4 << 20;

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("log.connection.close", "false");
    config
}

/// Creates and deletes topics.
pub struct Topics {
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Topics {
    pub fn new(bootstrap: &str) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { admin: client(bootstrap).create()?, runtime })
    }

    pub fn create(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> Result<(), Failure> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (name, value) in config {
            topic = topic.set(name, value);
        }
        let options = AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT));
        let made = self.runtime.block_on(self.admin.create_topics([&topic], &options))?;
        made.into_iter()
            .try_for_each(|one| one.map(drop).map_err(|(name, code)| format!("{name}: {code}").into()))
    }

    pub fn delete(&self, name: &str) -> Result<(), Failure> {
        let gone = self.runtime.block_on(self.admin.delete_topics(&[name], &AdminOptions::new()))?;
        gone.into_iter()
            .try_for_each(|one| one.map(drop).map_err(|(name, code)| format!("{name}: {code}").into()))
    }
}

/// Values of records: pieces of a pseudo-random text, the same in every run.
pub struct Values(Vec<u8>);

impl Values {
    pub fn new() -> Self {
        let mut text = Vec::with_capacity(TEXT_BYTES);
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        while text.len() < TEXT_BYTES {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (path, code) = ((state >> 33) % 5000, [200, 200, 200, 404, 503][(state >> 60) as usize % 5]);
            let line =
                format!("GET /resource/{path} {code} took {} us id {state:016x}\n", (state >> 20) % 100_000);
            text.extend_from_slice(line.as_bytes());
        }
        Self(text)
    }

    /// Value number `i` of `size` bytes.
    fn get(&self, i: u64, size: usize) -> &[u8] {
        let at = (i as usize).wrapping_mul(4099) % (self.0.len() - size);
        &self.0[at..at + size]
    }
}

/// Counts what could not be delivered.
#[derive(Default)]
struct Failed(AtomicU64);

impl ClientContext for Failed {}

impl ProducerContext for Failed {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes as fast as it goes.
pub struct Bulk {
    producer: BaseProducer<Failed>,
    topic: String,
    partitions: u64,
    size: usize,
    sent: u64,
}

impl Bulk {
    pub fn new(
        bootstrap: &str,
        topic: &str,
        partitions: i32,
        size: usize,
        codec: &str,
    ) -> Result<Self, Failure> {
        let mut config = client(bootstrap);
        config.set("acks", "1").set("linger.ms", "5").set("compression.type", codec);
        config.set("queue.buffering.max.messages", "1000000").set("queue.buffering.max.kbytes", "1048576");
        let producer = config.create_with_context(Failed::default())?;
        Ok(Self { producer, topic: topic.to_owned(), partitions: partitions as u64, size, sent: 0 })
    }

    /// Sends `count` records and waits until all are acknowledged.
    pub fn burst(&mut self, values: &Values, count: u64) -> Result<(), Failure> {
        for _ in 0..count {
            let partition = (self.sent % self.partitions) as i32;
            let value = values.get(self.sent, self.size);
            let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic).partition(partition).payload(value);
            while let Err((error, back)) = self.producer.send(record) {
                if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                    return Err(error.into());
                }
                record = back;
                self.producer.poll(Duration::from_millis(1));
            }
            self.sent += 1;
            if self.sent.is_multiple_of(256) {
                self.producer.poll(Duration::ZERO);
            }
        }
        self.producer.flush(LIMIT)?;
        match self.producer.context().0.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => Err(format!("{failed} records were not acknowledged").into()),
        }
    }
}

/// Reads `count` records of partition 0 from the start; the bytes of their values.
pub fn catch_up(bootstrap: &str, topic: &str, count: u64) -> Result<u64, Failure> {
    let mut config = client(bootstrap);
    config.set("group.id", "unused").set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    let consumer: BaseConsumer = config.create()?;
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset(topic, 0, Offset::Offset(0))?;
    consumer.assign(&assigned)?;
    let (mut bytes, mut read, deadline) = (0, 0, Instant::now() + LIMIT);
    while read < count {
        match consumer.poll(Duration::from_millis(100)) {
            Some(message) => {
                bytes += message?.payload_len() as u64;
                read += 1;
            }
            None if Instant::now() > deadline => {
                return Err(format!("only {read} of {count} records came").into());
            }
            None => {}
        }
    }
    Ok(bytes)
}

/// Latencies in microseconds from the time a record should have been sent to its acknowledgement.
struct Latencies {
    start: Instant,
    found: Mutex<Histogram<u64>>,
    failed: AtomicU64,
}

impl ClientContext for Latencies {}

impl ProducerContext for Latencies {
    /// When the record was due, in nanoseconds since `start`; 0 is not counted.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, due: usize) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        } else if due > 0 {
            let taken = self.start.elapsed().as_nanos() as u64 - due as u64;
            self.found.lock().expect("no holder panics").saturating_record(taken / 1000);
        }
    }
}

/// An empty histogram of microseconds up to a minute, with three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds are in order")
}

/// Open-loop writes: each record has a due time that does not wait for the answers before it.
pub struct Paced {
    producer: Arc<BaseProducer<Latencies>>,
    topic: String,
}

impl Paced {
    pub fn new(bootstrap: &str, topic: &str) -> Result<Self, Failure> {
        let latencies =
            Latencies { start: Instant::now(), found: Mutex::new(histogram()), failed: AtomicU64::new(0) };
        let mut config = client(bootstrap);
        config.set("acks", "1").set("linger.ms", "0").set("socket.nagle.disable", "true");
        let producer = Arc::new(config.create_with_context(latencies)?);
        let paced = Self { producer, topic: topic.to_owned() };
        paced.send(b"first", 0)?;
        paced.producer.flush(LIMIT)?;
        Ok(paced)
    }

    fn send(&self, value: &[u8], due: usize) -> Result<(), Failure> {
        let record =
            BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topic, due).partition(0).payload(value);
        self.producer.send(record).map_err(|(error, _)| error.into())
    }

    /// Sends `rate` records a second of `size` bytes for a while; the latencies and how many were sent.
    pub fn run(
        &self,
        values: &Values,
        size: usize,
        rate: u64,
        length: Duration,
    ) -> Result<(Histogram<u64>, u64), Failure> {
        let latencies = self.producer.context();
        latencies.found.lock().expect("no holder panics").reset();
        let count = (rate as f64 * length.as_secs_f64()) as u64;
        let done = Arc::new(AtomicBool::new(false));
        let poller = std::thread::spawn({
            let (producer, done) = (Arc::clone(&self.producer), Arc::clone(&done));
            move || {
                while !done.load(Ordering::Relaxed) {
                    producer.poll(Duration::from_millis(50));
                }
            }
        });
        milena_tests::syscalls::sharpen_timers();
        let begin = latencies.start.elapsed();
        let mut trouble = Ok(());
        for i in 0..count {
            let due = begin + Duration::from_nanos(i * 1_000_000_000 / rate);
            std::thread::sleep(due.saturating_sub(latencies.start.elapsed()));
            trouble = self.send(values.get(i, size), due.as_nanos() as usize);
            if trouble.is_err() {
                break;
            }
        }
        let flushed = self.producer.flush(LIMIT);
        done.store(true, Ordering::Relaxed);
        poller.join().map_err(|_| "the polling thread panicked")?;
        trouble?;
        flushed?;
        match latencies.failed.load(Ordering::Relaxed) {
            0 => Ok((latencies.found.lock().expect("no holder panics").clone(), count)),
            failed => Err(format!("{failed} records were not acknowledged").into()),
        }
    }
}
