//! `milena bench consume`: as `kafka-consumer-perf-test`.
//!
//! With `--group` it is a member that commits nothing, so that a run can be repeated.

mod source;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use milena_client::admin::{Admin, OffsetSpec};
use milena_client::config::{ConsumerConfig, GroupConfig};
use milena_client::consumer::{Consumer, Fetched, PartitionKey};
use milena_client::group::GroupConsumer;
use serde_json::json;

use super::bounds::{Bounds, Limit};
use super::meter::Meter;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::text;
use crate::{output, progress, properties};
use source::Source;

#[derive(Debug, clap::Args)]
#[command(after_help = properties::help(properties::CONSUME))]
pub struct Arguments {
    /// Topics to read; without a bound as far as they go now
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    #[command(flatten)]
    bounds: Bounds,
    /// Read as a member of this consumer group, which commits nothing; needs --records or --seconds
    #[arg(short, long, value_name = "GROUP")]
    group: Option<String>,
    /// Where to begin; with --group, where nothing was committed
    #[arg(long, value_enum, default_value_t = From::Beginning, value_name = "WHERE")]
    from: From,
    /// Give up when no record came for so many seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = text::at_least::<u64, 1>, allow_negative_numbers = true)]
    timeout: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    Beginning,
    End,
}

pub async fn run(context: &Context, arguments: Arguments, mut interrupt: Interrupt) -> Result<()> {
    let reset = match arguments.from {
        From::Beginning => "earliest",
        From::End => "latest",
    };
    let reset = arguments.group.is_some().then(|| reset.to_owned());
    let said = [("group.id", arguments.group.clone()), ("auto.offset.reset", reset)];
    let settings = context.settings(&[], &said)?;
    if arguments.group.is_some() && arguments.bounds.is_open() {
        return Err(Error::Usage(
            "a member of a group has no end of its own: --records NUMBER or --seconds NUMBER is needed"
                .to_owned(),
        ));
    }
    if arguments.from == From::End && arguments.bounds.is_open() {
        return Err(Error::Usage(
            "there is nothing from the end on unless a bound waits for it: --records or --seconds".to_owned(),
        ));
    }
    let admin = context.connect_with(settings.client).await?;
    let check_crc = settings.consumer.check_crcs;
    let (source, stops) = match &arguments.group {
        Some(_) => (member(&admin, &arguments, settings.consumer, settings.group).await?, HashMap::new()),
        None => alone(&admin, &arguments, settings.consumer).await?,
    };
    let now = Instant::now();
    let mut run = Run {
        source,
        stops,
        check_crc,
        scratch: Vec::new(),
        limit: arguments.bounds.begin(now),
        began: now,
        meter: Meter::new(now),
        fetches: 0,
        first_after: None,
    };
    let outcome = run.until_done(&mut interrupt, Duration::from_secs(arguments.timeout)).await;
    let shown = run.show(context, &arguments);
    let left = run.source.close().await;
    shown.and(outcome).and(left)
}

/// A member that has not joined yet: that is a part of what is measured.
async fn member(
    admin: &Admin,
    arguments: &Arguments,
    config: ConsumerConfig,
    group: GroupConfig,
) -> Result<Source> {
    for topic in &arguments.topics {
        progress::during("looking up topics", admin.describe_topic(topic)).await?;
    }
    let group = GroupConfig { enable_auto_commit: false, ..group };
    let mut consumer = GroupConsumer::new(admin.cluster().clone(), config, group)?;
    consumer.subscribe(arguments.topics.iter().cloned());
    Ok(Source::member(consumer))
}

/// All partitions, and where they end when the run has no other bound.
async fn alone(
    admin: &Admin,
    arguments: &Arguments,
    config: ConsumerConfig,
) -> Result<(Source, HashMap<PartitionKey, i64>)> {
    let finding = ranges(admin, arguments, config.read_committed);
    let ranges = progress::during("looking up offsets", finding).await?;
    let mut consumer = Consumer::new(admin.cluster().clone(), config);
    let mut stops = HashMap::new();
    for Range { partition: (topic, partition), start, end } in ranges {
        if !arguments.bounds.is_open() {
            consumer.assign(&topic, partition, start);
        } else if start < end {
            consumer.assign(&topic, partition, start);
            stops.insert((topic, partition), end);
        }
    }
    Ok((Source::Alone(Box::new(consumer)), stops))
}

struct Range {
    partition: PartitionKey,
    start: i64,
    end: i64,
}

async fn ranges(admin: &Admin, arguments: &Arguments, read_committed: bool) -> Result<Vec<Range>> {
    let mut ranges = Vec::new();
    for name in &arguments.topics {
        let topic = admin.describe_topic(name).await?;
        let partitions: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
        let ends = admin.list_offsets(name, &partitions, OffsetSpec::Latest, read_committed).await?;
        let starts = match arguments.from {
            From::Beginning => {
                admin.list_offsets(name, &partitions, OffsetSpec::Earliest, read_committed).await?
            }
            From::End => ends.clone(),
        };
        // Both are in order of the partitions.
        ranges.extend(starts.iter().zip(&ends).map(|(start, end)| {
            let end_offset = end.offset.unwrap_or_default();
            let partition = (name.clone(), start.partition);
            Range { partition, start: start.offset.unwrap_or(end_offset), end: end_offset }
        }));
    }
    Ok(ranges)
}

struct Run {
    source: Source,
    /// Where partitions end when the run has no other bound.
    stops: HashMap<PartitionKey, i64>,
    check_crc: bool,
    /// Room for unpacked batches.
    scratch: Vec<u8>,
    limit: Limit,
    began: Instant,
    meter: Meter,
    fetches: u64,
    first_after: Option<Duration>,
}

impl Run {
    /// Errors: what stops the consumer, and that records were waited for in vain.
    async fn until_done(&mut self, interrupt: &mut Interrupt, patience: Duration) -> Result<()> {
        let mut ticks = super::produce::ticks();
        let mut last = self.began;
        while !self.limit.is_reached(self.meter.records, Instant::now()) && !self.source.is_idle() {
            let too_late = last + patience;
            let wake = self.limit.deadline.map_or(too_late, |deadline| deadline.min(too_late));
            tokio::select! {
                fetched = self.source.poll() => {
                    let before = self.meter.records;
                    self.take(&fetched?)?;
                    if self.meter.records > before {
                        last = Instant::now();
                        self.first_after.get_or_insert(last - self.began);
                    }
                }
                _ = ticks.tick() => self.meter.tell(Instant::now()),
                () = interrupt.wait() => return Ok(()),
                () = tokio::time::sleep_until(wake.into()) => if wake == too_late {
                    return Err(self.too_few(patience));
                }
            }
        }
        Ok(())
    }

    fn too_few(&self, patience: Duration) -> Error {
        let (records, seconds) = (self.meter.records, patience.as_secs());
        let message = format!("no record came for {seconds} s after {records}");
        Error::Failed { message, hint: Some("--timeout SECONDS waits longer") }
    }

    fn take(&mut self, fetched: &[Fetched]) -> Result<()> {
        self.fetches += 1;
        for part in fetched {
            let key = (part.topic.clone(), part.partition);
            let stop = self.stops.get(&key).copied().unwrap_or(i64::MAX);
            let left = self.limit.records_max - self.meter.records;
            let (mut records, mut bytes) = (0, 0);
            part.for_each(self.check_crc, &mut self.scratch, |record| {
                if records == left || record.offset >= stop {
                    return false;
                }
                let size = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
                records += 1;
                bytes += (size(record.record.key) + size(record.record.value)) as u64;
                true
            })?;
            self.meter.add(records, bytes, Instant::now());
            self.source.drop_if_done(part, stop);
        }
        Ok(())
    }

    fn show(&self, context: &Context, arguments: &Arguments) -> Result<()> {
        let meter = &self.meter;
        let seconds = meter.elapsed().as_secs_f64();
        let first_ms = self.first_after.map(milliseconds);
        let assigned_ms = self.source.assigned_at().map(|at| milliseconds(at - self.began));
        if context.is_json() {
            return output::json(&json!({
                "topics": arguments.topics,
                "group": arguments.group,
                "records": meter.records,
                "bytes": meter.bytes,
                "seconds": seconds,
                "records_per_second": meter.records_per_second(),
                "bytes_per_second": meter.bytes_per_second(),
                "fetches": self.fetches,
                "first_record_ms": first_ms,
                "assigned_ms": assigned_ms,
            }));
        }
        output::line(&format!("records     {} read in {seconds:.2} s", meter.records))?;
        output::line(&format!("throughput  {}", meter.speed()))?;
        let first = first_ms.map_or(String::new(), |ms| format!(", the first record after {ms} ms"));
        output::line(&format!("fetches     {}{first}", self.fetches))?;
        assigned_ms.map_or(Ok(()), |ms| output::line(&format!("assigned    after {ms} ms")))
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round()
}
