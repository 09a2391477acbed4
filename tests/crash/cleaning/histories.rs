//! Random histories of keyed records, cleaned without pause while clients read them and while the broker is killed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use milena_tests::process::{Broker, Config};
use milena_tests::{http, wait};

use super::history::{History, Tombstones};
use super::record::Record;
use super::writer::{SEGMENT_MS, Writer};
use super::{CLEAN_LIMIT, EARLIEST, LATEST, await_cleaned, bases, cleaned_upto, read_all, strays};
use crate::client::Client;
use crate::random::Random;
use crate::{crash, number};

const BATCHES_PER_ROUND: u64 = 800;
/// Readers of a topic at once.
const READERS: usize = 2;
/// Timestamps begin so long ago and never reach the present.
const PAST_MS: i64 = 50 * 60_000;
const LOOKUPS: u64 = 60;

/// A topic by how long its tombstones stay.
struct Topic {
    name: &'static str,
    retention: Duration,
}

const TOPICS: [Topic; 3] = [
    Topic { name: "kept", retention: Duration::from_secs(3_600) },
    Topic { name: "short", retention: Duration::from_secs(3) },
    Topic { name: "at-once", retention: Duration::ZERO },
];

/// Passes follow one another, with maps that take fewer keys than there are and buffers smaller than a segment.
fn config() -> Config {
    Config::new()
        .property("log.flush.offset.checkpoint.interval.ms", 20)
        .property("log.cleaner.backoff.ms", 5)
        .property("log.cleaner.threads", 2)
        .property("log.cleaner.dedupe.buffer.size", 2 * 24 * 200)
        .property("log.cleaner.io.buffer.size", 4_096)
}

fn create(client: &mut Client, topic: &Topic) {
    let (segment_ms, retention_ms) = (SEGMENT_MS.to_string(), topic.retention.as_millis().to_string());
    let configs = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0"),
        ("segment.ms", &segment_ms),
        ("delete.retention.ms", &retention_ms),
        ("index.interval.bytes", "200"),
    ];
    client.create_topic(topic.name, 1, &configs).expect("a new topic");
}

/// What a reader made of a topic, over and over, until the writer was done.
fn read_along(
    port: u16,
    topic: &Topic,
    history: &Mutex<History>,
    is_over: &AtomicBool,
    readings: &AtomicU64,
) -> Result<(), String> {
    let mut client = Client::connect(port).map_err(|error| error.to_string())?;
    while !is_over.load(Ordering::SeqCst) {
        let began = Instant::now();
        let (found, end_offset) = read_all(&mut client, topic.name)?;
        let history = history.lock().expect("no panic under it");
        history.check_reader(&found, end_offset, began, topic.retention)?;
        readings.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// One writer and its readers for each topic.
fn round(port: u16, writers: &mut [Writer], context: &str) -> u64 {
    let readings = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (topic, writer) in TOPICS.iter().zip(writers) {
            let (history, is_over) = (writer.history(), Arc::new(AtomicBool::new(false)));
            for _ in 0..READERS {
                let (history, is_over, readings) = (Arc::clone(&history), Arc::clone(&is_over), &readings);
                scope.spawn(move || {
                    read_along(port, topic, &history, &is_over, readings)
                        .unwrap_or_else(|error| panic!("{context}, {}: {error}", topic.name));
                });
            }
            scope.spawn(move || {
                let over = SetAtTheEnd(&is_over);
                (0..BATCHES_PER_ROUND).for_each(|_| writer.write_any());
                drop(over);
            });
        }
    });
    readings.into_inner()
}

/// Ends the readers also when the writer panics, or the test would not.
struct SetAtTheEnd<'a>(&'a AtomicBool);

impl Drop for SetAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Readers after a restart, and producers, find what they found before it.
fn check_again(broker: &Broker, writers: &mut [Writer], context: &str) {
    for (topic, writer) in TOPICS.iter().zip(writers) {
        writer.reconnect(broker.port()).expect("the broker is ready");
        let mut client = Client::connect(broker.port()).expect("the broker is ready");
        let began = Instant::now();
        let read = read_all(&mut client, topic.name).and_then(|(found, end_offset)| {
            let history = writer.history();
            let history = history.lock().expect("no panic under it");
            if end_offset != history.end_offset() {
                return Err(format!("it ends at {end_offset} and not at {}", history.end_offset()));
            }
            history.check_reader(&found, end_offset, began, topic.retention)
        });
        read.and_then(|()| writer.check_producers())
            .unwrap_or_else(|error| panic!("{context}, {}: {error}", topic.name));
    }
}

/// Seals what there is and waits until it is compacted; up to where.
fn clean_all(broker: &Broker, topic: &Topic, writer: &mut Writer) -> i64 {
    let offset = writer.roll();
    await_cleaned(&broker.data(), topic.name, offset);
    offset
}

/// Everything below the head is compacted now: the last record of each key is there, and nothing else.
fn check_cleaned(broker: &Broker, topic: &Topic, writer: &mut Writer) -> Result<Vec<Record>, String> {
    let first = clean_all(broker, topic, writer);
    let gone_below = (topic.retention < CLEAN_LIMIT).then_some(first);
    let mut client = Client::connect(broker.port()).map_err(|error| error.to_string())?;
    let mut trouble = String::new();
    // A pass after the horizon of the one that met them takes the tombstones.
    let found = wait::poll(topic.retention.min(CLEAN_LIMIT) + CLEAN_LIMIT, || {
        let upto = clean_all(broker, topic, writer);
        let (found, _) = read_all(&mut client, topic.name).expect("readable");
        let tombstones = gone_below.map_or(Tombstones::All, Tombstones::GoneBelow);
        let history = writer.history();
        let checked = history.lock().expect("no panic under it").check_cleaned(&found, upto, tombstones);
        match checked {
            Ok(()) => Some(Ok(found)),
            Err(error) if gone_below.is_some() && error.contains("value: None") => {
                trouble = error;
                None
            }
            Err(error) => Some(Err(error)),
        }
    });
    found.unwrap_or(Err(trouble))
}

/// Beginning, end, and for timestamps the first record that is not older, of those that are left.
fn check_lookups(
    client: &mut Client,
    topic: &Topic,
    found: &[Record],
    random: &mut Random,
) -> Result<(), String> {
    let mut look = |timestamp| client.list_offset(topic.name, timestamp).map_err(|error| error.to_string());
    let end_offset = found.last().map_or(0, |last| last.offset + 1);
    if (look(EARLIEST)?, look(LATEST)?) != (0, end_offset) {
        return Err(format!("it reaches from {} to {}", look(EARLIEST)?, look(LATEST)?));
    }
    let oldest = found.iter().map(|record| record.timestamp).min().unwrap_or(0);
    let newest = found.iter().map(|record| record.timestamp).max().unwrap_or(0);
    for _ in 0..LOOKUPS {
        let near = found[random.below(found.len() as u64) as usize].timestamp + random.below(3) as i64 - 1;
        for timestamp in [near, oldest + random.below((newest - oldest + 2) as u64) as i64] {
            let expected = found.iter().find(|record| record.timestamp >= timestamp);
            let expected = expected.map_or(-1, |record| record.offset);
            let answered = look(timestamp)?;
            if answered != expected {
                return Err(format!("timestamp {timestamp} is at {expected}, answered was {answered}"));
            }
        }
    }
    Ok(())
}

#[test]
fn random_histories_are_cleaned_under_readers_and_kill_9() {
    let rounds = number("MILENA_CRASH_ROUNDS").unwrap_or(3);
    let seed = number("MILENA_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("{rounds} rounds with MILENA_SEED={seed}");
    let mut random = Random(seed);
    let mut broker = config().start().expect("starts");
    let mut client = Client::connect(broker.port()).expect("the broker is ready");
    TOPICS.iter().for_each(|topic| create(&mut client, topic));
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let mut new = |topic: &Topic| {
        Writer::new(broker.port(), topic.name, random.below(1 << 40), now_ms - PAST_MS).expect("connects")
    };
    let mut writers: Vec<Writer> = TOPICS.iter().map(&mut new).collect();
    for index in 1..=rounds {
        let context = format!("seed {seed}, round {index}");
        let readings = round(broker.port(), &mut writers, &context);
        let metrics = broker.metrics().expect("the admin port answers");
        let passes = http::metric(&metrics, "milena_cleaner_passes_total", "outcome=\"done\"");
        let took = crash(&mut broker, &mut random);
        check_again(&broker, &mut writers, &context);
        println!("round {index}: {readings} readings, {passes:?} passes, back after {took:?}");
    }
    for (topic, writer) in TOPICS.iter().zip(&mut writers) {
        finish(&mut broker, topic, writer, &mut random)
            .unwrap_or_else(|error| panic!("seed {seed}, {}: {error}", topic.name));
    }
}

/// Compacts everything, and looks at it from all sides before and after kill -9.
fn finish(
    broker: &mut Broker,
    topic: &Topic,
    writer: &mut Writer,
    random: &mut Random,
) -> Result<(), String> {
    writer.reconnect(broker.port()).expect("the broker is ready");
    let found = check_cleaned(broker, topic, writer)?;
    check_lookups(&mut client_of(broker), topic, &found, random)?;
    writer.check_producers()?;
    println!("{}: {} of {} records are left", topic.name, found.len(), writer.end_offset());
    broker.kill().expect("a running broker");
    broker.start_again().expect("the broker comes back");
    writer.reconnect(broker.port()).expect("the broker is ready");
    let (after, _) = read_all(&mut client_of(broker), topic.name)?;
    if after != found {
        return Err("after kill -9 other records are there".to_owned());
    }
    check_lookups(&mut client_of(broker), topic, &found, random)?;
    writer.check_producers()?;
    let folder = broker.data().join(format!("{}-0", topic.name));
    assert_eq!(strays(&folder), Vec::<PathBuf>::new());
    assert_eq!(bases(&folder).last().copied(), cleaned_upto(&broker.data(), topic.name));
    Ok(())
}

fn client_of(broker: &Broker) -> Client {
    Client::connect(broker.port()).expect("the broker is ready")
}
