//! `milena bench latency`: as `kafka-e2e-latency`. One record at a time is sent, acknowledged and read back.

use std::time::{Duration, Instant};

use milena_client::admin::{Admin, OffsetSpec};
use milena_client::config::{Acks, Settings};
use milena_client::consumer::{Consumer, Fetched};
use milena_client::producer::{Producer, ProducerRecord};
use serde_json::json;

use super::bounds::Bounds;
use super::failures::Failures;
use super::latencies::Latencies;
use super::meter::{self, Meter};
use super::payload::Values;
use super::topic::Creation;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::text;
use crate::{output, progress, properties};

/// Nothing is gained by waiting for more records: there is only one.
const PREFERRED: [(&str, &str); 1] = [("linger.ms", "0")];

/// Records that go before the first one that counts: they open connections and fetch a producer id.
const WARM_UP_RECORDS: u64 = 1;

#[derive(Debug, clap::Args)]
#[command(after_help = help())]
pub struct Arguments {
    /// Topic to write to and to read from
    topic: String,
    #[command(flatten)]
    bounds: Bounds,
    /// Bytes of each value
    #[arg(short, long, default_value_t = 1024, value_name = "BYTES", value_parser = text::at_least::<usize, 1>, allow_negative_numbers = true)]
    size: usize,
    /// Who must have a record before it counts as written: 1, all or -1 [default: all]
    #[arg(long, value_name = "ACKS", allow_negative_numbers = true)]
    acks: Option<String>,
    /// Count a record as failed when it was not read after so many seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = text::at_least::<u64, 1>, allow_negative_numbers = true)]
    timeout: u64,
    #[command(flatten)]
    creation: Creation,
}

fn help() -> String {
    properties::help(&[properties::PRODUCE, properties::CONSUME].concat())
}

pub async fn run(context: &Context, arguments: Arguments, mut interrupt: Interrupt) -> Result<()> {
    arguments.bounds.check()?;
    let settings = context.settings(&PREFERRED, &[("acks", arguments.acks.clone())])?;
    if settings.producer.acks == Acks::None {
        let message = "with acks=0 nobody says where a record is, so it is not known when it was read";
        return Err(Error::Usage(message.to_owned()));
    }
    let values = Values::of_size(arguments.size, settings.producer.max_request_size)?;
    let admin = context.connect_with(settings.client.clone()).await?;
    arguments.creation.find(&admin, &arguments.topic).await?;
    let mut run = Run::new(&admin, &arguments, settings, values).await?;
    let outcome = tokio::select! {
        outcome = run.until_done(&arguments.bounds) => outcome,
        () = interrupt.wait() => Ok(()),
    };
    run.show(context)?;
    outcome.and_then(|()| run.failures.check())
}

struct Run {
    topic: String,
    producer: Producer,
    consumer: Consumer,
    check_crc: bool,
    scratch: Vec<u8>,
    size: u64,
    values: Values,
    patience: Duration,
    sent: u64,
    /// End to end.
    meter: Meter,
    acknowledged: Latencies,
    failures: Failures,
}

/// What became of one record.
struct Trip {
    sent: Instant,
    acknowledged: Instant,
    read: Instant,
}

impl Run {
    async fn new(admin: &Admin, arguments: &Arguments, settings: Settings, values: Values) -> Result<Self> {
        let check_crc = settings.consumer.check_crcs;
        let mut consumer = Consumer::new(admin.cluster().clone(), settings.consumer);
        let topic = admin.describe_topic(&arguments.topic).await?;
        let partitions: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
        let looking = admin.list_offsets(&arguments.topic, &partitions, OffsetSpec::Latest, false);
        for end in progress::during("looking up offsets", looking).await? {
            consumer.assign(&arguments.topic, end.partition, end.offset.unwrap_or_default());
        }
        Ok(Self {
            topic: arguments.topic.clone(),
            producer: Producer::new(admin.cluster().clone(), settings.producer),
            consumer,
            check_crc,
            scratch: Vec::new(),
            size: arguments.size as u64,
            values,
            patience: Duration::from_secs(arguments.timeout),
            sent: 0,
            meter: Meter::new(Instant::now()),
            acknowledged: Latencies::new(),
            failures: Failures::default(),
        })
    }

    async fn until_done(&mut self, bounds: &Bounds) -> Result<()> {
        for _ in 0..WARM_UP_RECORDS {
            self.trip().await?;
        }
        let began = Instant::now();
        self.meter = Meter::new(began);
        let limit = bounds.begin(began);
        let mut told = began;
        let mut tried = 0;
        while !limit.is_reached(tried, Instant::now()) {
            match self.trip().await {
                Ok(trip) => self.count(&trip),
                Err(Error::Client(error)) if error.may_be_retried() => self.failures.add(&error.to_string()),
                Err(error) => return Err(error),
            }
            tried += 1;
            let now = Instant::now();
            if now - told >= meter::INTERVAL {
                self.meter.tell(now);
                told = now;
            }
        }
        Ok(())
    }

    fn count(&mut self, trip: &Trip) {
        self.acknowledged.add(trip.acknowledged.saturating_duration_since(trip.sent));
        self.meter.add_timed(self.size, trip.sent, trip.read);
    }

    /// Sends the next record and reads until it is there.
    async fn trip(&mut self) -> Result<Trip> {
        let patience = self.patience;
        match tokio::time::timeout(patience, self.trip_without_limit()).await {
            Ok(trip) => trip,
            Err(_) => Err(Error::Client(milena_client::Error::TimedOut {
                what: format!("a record to {} and back", self.topic),
                timeout_ms: patience.as_millis() as u64,
            })),
        }
    }

    async fn trip_without_limit(&mut self) -> Result<Trip> {
        let value = self.values.value(self.sent);
        self.sent += 1;
        let sent = Instant::now();
        let record = ProducerRecord { value: Some(value), ..ProducerRecord::default() };
        let delivery = self.producer.send(&self.topic, record).await?;
        let stored = delivery.wait().await?;
        let acknowledged = delivery.settled_at().unwrap_or_else(Instant::now);
        loop {
            let fetched = self.consumer.poll().await?;
            let read = Instant::now();
            for part in fetched.iter().filter(|part| part.partition == stored.partition) {
                if is_in(part, stored.offset, value, self.check_crc, &mut self.scratch)? {
                    return Ok(Trip { sent, acknowledged, read });
                }
            }
        }
    }

    fn show(&self, context: &Context) -> Result<()> {
        let meter = &self.meter;
        let seconds = meter.elapsed().as_secs_f64();
        if context.is_json() {
            return output::json(&json!({
                "topic": self.topic,
                "records": meter.records,
                "bytes": meter.bytes,
                "seconds": seconds,
                "end_to_end_ms": meter.latencies.json(),
                "acknowledged_ms": self.acknowledged.json(),
                "failed": self.failures.count(),
                "failures": self.failures.json(),
            }));
        }
        output::line(&format!("records       {} sent and read in {seconds:.2} s", meter.records))?;
        if !meter.latencies.is_empty() {
            output::line(&format!("acknowledged  {}", self.acknowledged.text()))?;
            output::line(&format!("end to end    {}", meter.latencies.text()))?;
        }
        if self.failures.count() > 0 {
            output::line(&format!("failed        {}", self.failures.count()))?;
        }
        Ok(())
    }
}

/// Whether a fetch has the record at `offset`. Without one the broker has forgotten where it stored what it was sent
/// twice: then any record with the value will do.
fn is_in(
    part: &Fetched,
    offset: Option<i64>,
    value: &[u8],
    check_crc: bool,
    scratch: &mut Vec<u8>,
) -> Result<bool> {
    let mut found = None;
    part.for_each(check_crc, scratch, |record| {
        let is_value = record.record.value == Some(value);
        if offset.is_none_or(|offset| record.offset == offset) && (is_value || offset.is_some()) {
            found = Some(is_value);
        }
        found.is_none()
    })?;
    match found {
        Some(false) => Err(Error::Failed {
            message: format!(
                "the record read at {}-{} is not the one that was sent",
                part.topic, part.partition
            ),
            hint: None,
        }),
        found => Ok(found.is_some()),
    }
}
