//! The crate rdkafka (librdkafka) behind the command line of `../README.md`.

mod common;

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Failure, Record};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

const LIMIT: Duration = Duration::from_secs(60);

/// Counts what could not be delivered.
#[derive(Default)]
struct Failed(AtomicUsize);

impl ClientContext for Failed {}

impl ProducerContext for Failed {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn create(bootstrap: &str, topic: &str, partitions: i32) -> Result<(), Failure> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let made = runtime.block_on(admin.create_topics([&new], &AdminOptions::new()))?;
    made.into_iter()
        .try_for_each(|one| one.map(drop).map_err(|(topic, code)| format!("{topic}: {code}").into()))
}

fn producer(
    bootstrap: &str,
    codec: &str,
    acks: &str,
    idempotent: bool,
) -> Result<BaseProducer<Failed>, Failure> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("compression.type", codec).set("acks", acks);
    config.set("enable.idempotence", if idempotent { "true" } else { "false" });
    config.set("linger.ms", "20").set("message.timeout.ms", LIMIT.as_millis().to_string());
    Ok(config.create_with_context(Failed::default())?)
}

fn send(producer: &BaseProducer<Failed>, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Failure> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

fn finish(producer: &BaseProducer<Failed>) -> Result<(), Failure> {
    producer.flush(LIMIT)?;
    match producer.context().0.load(Ordering::Relaxed) {
        0 => Ok(()),
        failed => Err(format!("{failed} records were not delivered").into()),
    }
}

fn write(topic: &str, producer: &BaseProducer<Failed>, records: &[Record]) -> Result<(), Failure> {
    for one in records {
        let headers = OwnedHeaders::new().insert(Header { key: "n", value: Some(&one.n) });
        let record = BaseRecord::to(topic).partition(one.partition).timestamp(one.timestamp);
        let record = record.key(&one.key[..]).payload(&one.value[..]).headers(headers);
        send(producer, record)?;
        producer.poll(Duration::ZERO);
    }
    finish(producer)
}

fn write_lines(topic: &str, producer: &BaseProducer<Failed>, path: &str) -> Result<(), Failure> {
    let mut lines = BufReader::with_capacity(1 << 20, std::fs::File::open(path)?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        line.pop_if(|last| *last == b'\n');
        send(producer, BaseRecord::to(topic).partition(0).payload(&line[..]))?;
        producer.poll(Duration::ZERO);
        line.clear();
    }
    finish(producer)
}

fn consumer(bootstrap: &str) -> Result<BaseConsumer, Failure> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "unused").set("enable.auto.commit", "false");
    config.set("check.crcs", "true").set("auto.offset.reset", "error");
    // A full queue is looked at again after this long, by default a second: of a gigabyte that makes minutes.
    config.set("fetch.queue.backoff.ms", "10");
    Ok(config.create()?)
}

/// Hands `count` records from `offset` on to `each`.
fn read(
    consumer: &BaseConsumer,
    (topic, partition): (&str, i32),
    offset: i64,
    mut count: u64,
    mut each: impl FnMut(&rdkafka::message::BorrowedMessage<'_>) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    consumer.assign(&assigned)?;
    let mut deadline = Instant::now() + LIMIT;
    while count > 0 {
        if let Some(message) = consumer.poll(Duration::from_millis(500)) {
            each(&message?)?;
            count -= 1;
            deadline = Instant::now() + LIMIT;
        } else if Instant::now() > deadline {
            return Err(format!("{count} records did not come").into());
        }
    }
    Ok(())
}

fn at(consumer: &BaseConsumer, topic: &str, partition: i32, timestamp: i64) -> Result<i64, Failure> {
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(topic, partition, Offset::Offset(timestamp))?;
    let found = consumer.offsets_for_times(wanted, LIMIT)?;
    let offset = found.find_partition(topic, partition).ok_or("no answer for the partition")?.offset();
    Ok(if let Offset::Offset(offset) = offset { offset } else { -1 })
}

fn main() -> Result<(), Failure> {
    let (command, bootstrap, topic, rest) = common::words()?;
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    match (command.as_str(), rest.as_slice()) {
        ("create", [partitions]) => create(&bootstrap, &topic, partitions.parse()?)?,
        ("write", [partitions, codec, acks, idempotent, path]) => {
            let producer = producer(&bootstrap, codec, acks, *idempotent == "yes")?;
            write(&topic, &producer, &common::records(path, partitions.parse()?)?)?;
        }
        ("write-lines", [codec, path]) => {
            write_lines(&topic, &producer(&bootstrap, codec, "all", true)?, path)?
        }
        ("read", [partition, offset, count]) => {
            let from = (topic.as_str(), partition.parse()?);
            read(&consumer(&bootstrap)?, from, offset.parse()?, count.parse()?, |message| {
                let n = message.headers().and_then(|headers| headers.iter().find(|header| header.key == "n"));
                let fields = [message.key(), message.payload(), n.and_then(|header| header.value)];
                common::show(
                    &mut out,
                    message.offset(),
                    message.timestamp().to_millis().unwrap_or(-1),
                    fields,
                )
            })?;
        }
        ("read-lines", [count]) => read(&consumer(&bootstrap)?, (&topic, 0), 0, count.parse()?, |message| {
            out.write_all(message.payload().unwrap_or_default())?;
            out.write_all(b"\n")
        })?,
        ("at", [partition, timestamp]) => {
            let offset = at(&consumer(&bootstrap)?, &topic, partition.parse()?, timestamp.parse()?)?;
            writeln!(out, "{offset}")?;
        }
        ("ends", [partition]) => {
            let (first, next) = consumer(&bootstrap)?.fetch_watermarks(&topic, partition.parse()?, LIMIT)?;
            writeln!(out, "{first} {next}")?;
        }
        _ => return Err(format!("cannot {command} {rest:?}").into()),
    }
    Ok(out.flush()?)
}
