//! `milena bench produce`: as `kafka-producer-perf-test`.
//!
//! A latency is the time from the moment in which sending a record begins, waiting for room in `buffer.memory` included, to
//! the moment in which its acknowledgement is known, not the moment in which somebody looks.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use milena_client::producer::{Delivery, Producer, ProducerRecord};
use serde_json::json;

use super::bounds::{Bounds, Limit};
use super::failures::Failures;
use super::meter::{self, Meter};
use super::payload::{Keys, Random, Values};
use super::topic::Creation;
use crate::context::Context;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::output;
use crate::properties;
use crate::text::{self, Bytes};

/// Bytes of a value unless something else is asked for.
const SIZE_DEFAULT: usize = 1024;

/// Records that wait for their answer, 40 bytes each. `buffer.memory` is the bound that is usually reached first.
const OPEN_MAX: usize = 1 << 20;

/// Records that are sent between two looks at the clock of progress and at signals.
const ROUND_RECORDS: usize = 256;

/// How long an interrupted run waits for answers to what it has sent.
const LAST_ANSWERS_TIME_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(after_help = properties::help(properties::PRODUCE))]
pub struct Arguments {
    /// Topic to write to
    topic: String,
    #[command(flatten)]
    bounds: Bounds,
    /// Bytes of each value [default: 1024]
    #[arg(short, long, value_name = "BYTES", value_parser = text::at_least::<usize, 0>, allow_negative_numbers = true)]
    size: Option<usize>,
    /// Send the lines of this file in turn instead of random letters
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    payload_file: Option<PathBuf>,
    /// What separates the values of the file
    #[arg(long, default_value = "\\n", value_parser = text::separator, value_name = "BYTES", requires = "payload_file")]
    payload_delimiter: Bytes,
    /// Give each record one of so many keys; without it records have no key
    #[arg(long, value_name = "COUNT", value_parser = text::at_least::<u64, 1>, allow_negative_numbers = true)]
    keys: Option<u64>,
    /// Bytes of each key [default: as many as the digits need]
    #[arg(long, value_name = "BYTES", requires = "keys", value_parser = text::at_least::<usize, 1>, allow_negative_numbers = true)]
    key_size: Option<usize>,
    /// Records per second [default: as many as the cluster takes]
    #[arg(long, value_name = "NUMBER", value_parser = text::at_least::<u64, 1>, allow_negative_numbers = true)]
    rate: Option<u64>,
    /// Codec: none, gzip, snappy, lz4 or zstd [default: none]
    #[arg(short = 'z', long, value_name = "CODEC")]
    compression: Option<String>,
    /// Who must have a record before it counts as written: 0, 1, all or -1 [default: all]
    #[arg(long, value_name = "ACKS", allow_negative_numbers = true)]
    acks: Option<String>,
    #[command(flatten)]
    creation: Creation,
}

pub async fn run(context: &Context, arguments: Arguments, mut interrupt: Interrupt) -> Result<()> {
    arguments.bounds.check()?;
    let said = [("compression.type", arguments.compression.clone()), ("acks", arguments.acks.clone())];
    // What nobody says has Kafka's default here, so that figures can be compared with those of Kafka's tool.
    let settings = context.settings(&[], &said)?;
    let values = match &arguments.payload_file {
        Some(path) => Values::from_file(path, &arguments.payload_delimiter.0)?,
        None => Values::of_size(arguments.size.unwrap_or(SIZE_DEFAULT), settings.producer.max_request_size)?,
    };
    let keys = arguments.keys.map(|count| Keys::new(count, arguments.key_size)).transpose()?;
    let admin = context.connect_with(settings.client).await?;
    arguments.creation.find(&admin, &arguments.topic).await?;
    let producer = Producer::new(admin.cluster().clone(), settings.producer);
    let source = Source { values, keys, random: Random::new(), key: Vec::new() };
    let mut run = Run::new(&arguments, producer, source, Instant::now());
    let outcome = run.until_done(&mut interrupt).await;
    run.await_answers(&mut interrupt).await;
    run.show(context)?;
    outcome.and_then(|()| run.receipts.check())
}

/// Where records come from.
struct Source {
    values: Values,
    keys: Option<Keys>,
    random: Random,
    key: Vec<u8>,
}

impl Source {
    fn record(&mut self, number: u64) -> ProducerRecord<'_> {
        if let Some(keys) = self.keys {
            keys.choose(&mut self.random, &mut self.key);
        }
        let key = self.keys.is_some().then_some(&self.key[..]);
        ProducerRecord { key, value: Some(self.values.value(number)), ..ProducerRecord::default() }
    }
}

/// Records that are under way, and what became of the others.
struct Receipts {
    open: VecDeque<Sent>,
    meter: Meter,
    failures: Failures,
}

/// A record that is under way.
struct Sent {
    delivery: Delivery,
    at: Instant,
    bytes: u32,
}

impl Receipts {
    /// Counts what is known of the oldest.
    fn settle(&mut self) {
        while let Some(sent) = self.open.front()
            && let Some(done) = sent.delivery.settled_at()
            && let Some(result) = sent.delivery.result()
        {
            match result {
                Ok(_) => self.meter.add_timed(u64::from(sent.bytes), sent.at, done),
                Err(error) => self.failures.add(&error.to_string()),
            }
            self.open.pop_front();
        }
    }

    fn tell(&mut self) {
        self.settle();
        self.meter.tell(Instant::now());
    }

    /// Errors: records that are not stored. Those of which nothing is known are neither.
    fn check(&self) -> Result<()> {
        self.failures.check()
    }
}

struct Run {
    topic: String,
    producer: Producer,
    source: Source,
    rate: Option<u64>,
    limit: Limit,
    began: Instant,
    sent: u64,
    /// When sending the next record was begun, if that was interrupted.
    begun: Option<Instant>,
    receipts: Receipts,
    is_interrupted: bool,
}

impl Run {
    fn new(arguments: &Arguments, producer: Producer, source: Source, now: Instant) -> Self {
        let (open, failures) = (VecDeque::new(), Failures::default());
        Self {
            topic: arguments.topic.clone(),
            producer,
            source,
            rate: arguments.rate,
            limit: arguments.bounds.begin(now),
            began: now,
            sent: 0,
            begun: None,
            receipts: Receipts { open, meter: Meter::new(now), failures },
            is_interrupted: false,
        }
    }

    /// Sends until a bound is reached, or a record cannot even be tried.
    async fn until_done(&mut self, interrupt: &mut Interrupt) -> Result<()> {
        let mut ticks = ticks();
        loop {
            tokio::select! {
                biased;
                () = interrupt.wait() => {
                    self.is_interrupted = true;
                    return Ok(());
                }
                _ = ticks.tick() => self.receipts.tell(),
                is_done = self.send_some() => if is_done? {
                    return Ok(());
                }
            }
            self.receipts.settle();
        }
    }

    /// Sends a few records; true when there are no more to send. Dropping the future loses nothing.
    async fn send_some(&mut self) -> Result<bool> {
        for _ in 0..ROUND_RECORDS {
            let now = Instant::now();
            if self.limit.is_reached(self.sent, now) {
                return Ok(true);
            }
            if let Some(due) = self.due().filter(|due| *due > now) {
                let wake = self.limit.deadline.map_or(due, |deadline| deadline.min(due));
                tokio::time::sleep_until(wake.into()).await;
                return Ok(false);
            }
            if self.receipts.open.len() >= OPEN_MAX
                && let Some(oldest) = self.receipts.open.front()
            {
                let oldest = oldest.delivery.clone();
                // What came of it is counted by the caller.
                let _ = oldest.wait().await;
                return Ok(false);
            }
            self.send(now).await?;
        }
        Ok(false)
    }

    async fn send(&mut self, now: Instant) -> Result<()> {
        let at = *self.begun.get_or_insert(now);
        let record = self.source.record(self.sent);
        let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let delivery = self.producer.send(&self.topic, record).await?;
        // A record has at most max.request.size bytes.
        self.receipts.open.push_back(Sent { delivery, at, bytes: size as u32 });
        self.begun = None;
        self.sent += 1;
        Ok(())
    }

    /// When the next record is to be sent.
    fn due(&self) -> Option<Instant> {
        let rate = self.rate?;
        let (seconds, rest) = (self.sent / rate, self.sent % rate);
        let fraction = Duration::from_nanos((u128::from(rest) * 1_000_000_000 / u128::from(rate)) as u64);
        self.began.checked_add(Duration::from_secs(seconds) + fraction)
    }

    /// Waits for the answers to what was sent; not for long when it was interrupted.
    async fn await_answers(&mut self, interrupt: &mut Interrupt) {
        let Self { producer, receipts, is_interrupted, .. } = self;
        let mut flushing = std::pin::pin!(producer.flush());
        let mut ticks = ticks();
        while !*is_interrupted {
            tokio::select! {
                () = &mut flushing => return receipts.settle(),
                _ = ticks.tick() => receipts.tell(),
                () = interrupt.wait() => *is_interrupted = true,
            }
        }
        // Whatever has no answer by then is shown as such.
        let _ = tokio::time::timeout(LAST_ANSWERS_TIME_MAX, flushing).await;
        receipts.settle();
    }

    fn show(&self, context: &Context) -> Result<()> {
        let Receipts { open, meter, failures } = &self.receipts;
        let seconds = meter.elapsed().as_secs_f64();
        if context.is_json() {
            return output::json(&json!({
                "topic": self.topic,
                "records": meter.records,
                "bytes": meter.bytes,
                "seconds": seconds,
                "records_per_second": meter.records_per_second(),
                "bytes_per_second": meter.bytes_per_second(),
                "latency_ms": meter.latencies.json(),
                "failed": failures.count(),
                "failures": failures.json(),
                "unanswered": open.len(),
            }));
        }
        output::line(&format!("records     {} written in {seconds:.2} s", meter.records))?;
        output::line(&format!("throughput  {}", meter.speed()))?;
        if !meter.latencies.is_empty() {
            output::line(&format!("latency     {}", meter.latencies.text()))?;
        }
        if failures.count() > 0 {
            output::line(&format!("failed      {}", failures.count()))?;
        }
        if !open.is_empty() {
            output::line(&format!("unanswered  {}", open.len()))?;
        }
        Ok(())
    }
}

/// When progress is told; the first time after an interval, and never twice to make up for a late one.
pub(super) fn ticks() -> tokio::time::Interval {
    let first = tokio::time::Instant::now() + meter::INTERVAL;
    let mut ticks = tokio::time::interval_at(first, meter::INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}
