//! `milena consume TOPIC…`: records to standard output.

mod format;
mod member;
mod position;
mod printer;
mod range;

use std::collections::HashMap;

use clap::ValueEnum;
use milena_client::admin::Admin;
use milena_client::config::ConsumerConfig;
use milena_client::consumer::Consumer;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::progress;
use crate::properties;
use crate::text::{self, Bytes};
use format::{Field, Formatter};
use position::Position;
use printer::Printer;
use range::{Range, Times};

/// Reading from the beginning prefers large answers.
const PREFERRED: [(&str, &str); 1] = [("max.partition.fetch.bytes", "8388608")];

#[derive(Debug, clap::Args)]
#[command(after_help = properties::help(properties::CONSUME))]
pub struct Arguments {
    /// Topic to read; with --group several
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Read as a member of this consumer group: its members share the partitions, and what was printed is committed
    #[arg(short, long, value_name = "GROUP")]
    group: Option<String>,
    /// Keep the partitions over a restart under the same id that is shorter than session.timeout.ms
    #[arg(long, value_name = "ID", requires = "group")]
    group_instance_id: Option<String>,
    /// Partitions to read, separated by commas [default: all]
    #[arg(short, long, value_delimiter = ',', value_name = "NUMBER", value_parser = text::at_least::<i32, 0>, allow_negative_numbers = true)]
    partition: Vec<i32>,
    /// Where to begin: beginning, end, an offset, -N for the last N of each partition, or a time
    /// (2026-11-21T10:00:00Z, @milliseconds, -15m) [default: beginning, with --follow end]. With --group it counts
    /// where nothing was committed
    #[arg(long, value_name = "WHERE", value_parser = position::parse, allow_hyphen_values = true)]
    from: Option<Position>,
    /// Where to end: end, an offset or a time (not included) [default: end, which is where the topic ends now]
    #[arg(long, value_name = "WHERE", value_parser = position::parse, allow_hyphen_values = true, conflicts_with = "follow")]
    to: Option<Position>,
    /// Do not end: wait for new records
    #[arg(short, long)]
    follow: bool,
    /// End after so many records
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = text::at_least::<u64, 0>, allow_negative_numbers = true)]
    count: Option<u64>,
    /// How records are shown: text, json (an object per line), or raw (values and nothing else)
    #[arg(long, value_enum)]
    format: Option<RecordFormat>,
    /// Fields shown before the value, with tabs between: timestamp, topic, partition, offset, key, headers
    #[arg(short, long, value_enum, value_delimiter = ',', value_name = "FIELD")]
    show: Vec<Field>,
    /// Show the key and this before the value
    #[arg(short = 'K', long, value_parser = text::separator, value_name = "BYTES")]
    key_separator: Option<Bytes>,
    /// What follows each record [default: \n, with --format raw nothing]
    #[arg(short = 'D', long, value_parser = text::bytes, value_name = "BYTES")]
    delimiter: Option<Bytes>,
    /// How null is shown [default: as nothing]
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    null_value: String,
    /// Leave out records of transactions that are open or were aborted
    #[arg(long)]
    committed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RecordFormat {
    Text,
    Json,
    Raw,
}

impl Arguments {
    /// `--from` and `--to`, or what stands for them.
    fn places(&self) -> (Position, Option<Position>) {
        let from = self.from.unwrap_or(if self.follow { Position::End } else { Position::Beginning });
        let to = if self.follow { None } else { Some(self.to.unwrap_or(Position::End)) };
        (from, to)
    }
}

pub async fn run(context: &Context, mut arguments: Arguments, interrupt: Interrupt) -> Result<()> {
    if let Some(group_id) = arguments.group.take() {
        return member::run(context, arguments, group_id, interrupt).await;
    }
    match &arguments.topics[..] {
        [topic] => alone(context, topic, &arguments, interrupt).await,
        _ => Err(Error::Usage("several topics go with --group only".to_owned())),
    }
}

/// Reads a topic without a group.
async fn alone(
    context: &Context,
    topic: &str,
    arguments: &Arguments,
    mut interrupt: Interrupt,
) -> Result<()> {
    let isolation = arguments.committed.then(|| "read_committed".to_owned());
    let settings = context.settings(&PREFERRED, &[("isolation.level", isolation)])?;
    let formatter = formatter(context, arguments)?;
    let (from, to) = arguments.places();
    range::check(from, to)?;
    let admin = context.connect_with(settings.client).await?;
    let finding = ranges(&admin, topic, arguments, settings.consumer.read_committed);
    let ranges = progress::during("looking up offsets", finding).await?;
    let times = Times::new(from, to);
    let printer = Printer::new(formatter, times, arguments.count, settings.consumer.check_crcs);
    let mut run = Run::new(&admin, settings.consumer, printer, topic, &ranges);
    let outcome = run.until_done(&mut interrupt).await;
    // What was read before an error is shown before the error.
    run.printer.flush().and(outcome)
}

/// The offsets to read of each partition.
async fn ranges(
    admin: &Admin,
    name: &str,
    arguments: &Arguments,
    read_committed: bool,
) -> Result<Vec<Range>> {
    let (from, to) = arguments.places();
    let topic = admin.describe_topic(name).await?;
    let partitions = if arguments.partition.is_empty() {
        topic.partitions.iter().map(|partition| partition.index).collect()
    } else {
        arguments.partition.clone()
    };
    for partition in &partitions {
        topic.partition(*partition)?;
    }
    let looked_up = range::Bounds::look_up(admin, name, &partitions, read_committed).await?;
    range::resolve(&looked_up, admin, from, to).await
}

fn formatter(context: &Context, arguments: &Arguments) -> Result<Formatter> {
    let by_output = if context.is_json() { RecordFormat::Json } else { RecordFormat::Text };
    let format = arguments.format.unwrap_or(by_output);
    if format != RecordFormat::Text && (!arguments.show.is_empty() || arguments.key_separator.is_some()) {
        return Err(Error::Usage("--show and --key-separator go with --format text only".to_owned()));
    }
    let by_format = if format == RecordFormat::Raw { Vec::new() } else { b"\n".to_vec() };
    Ok(Formatter {
        format,
        show: arguments.show.clone(),
        key_separator: arguments.key_separator.as_ref().map(|separator| separator.0.clone()),
        delimiter: arguments.delimiter.as_ref().map_or(by_format, |bytes| bytes.0.clone()),
        null: arguments.null_value.clone().into_bytes(),
    })
}

/// One run of the command.
struct Run {
    topic: String,
    consumer: Consumer,
    printer: Printer,
    /// Where each partition ends; partitions that go on for ever are not in it.
    stops: HashMap<i32, i64>,
}

impl Run {
    fn new(admin: &Admin, config: ConsumerConfig, printer: Printer, topic: &str, ranges: &[Range]) -> Self {
        let mut consumer = Consumer::new(admin.cluster().clone(), config);
        let mut stops = HashMap::new();
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            consumer.assign(topic, range.partition, range.start);
            stops.extend(range.stop.map(|stop| (range.partition, stop)));
        }
        Self { topic: topic.to_owned(), consumer, printer, stops }
    }

    async fn until_done(&mut self, interrupt: &mut Interrupt) -> Result<()> {
        while !self.printer.is_done() && !self.consumer.is_idle() {
            let fetched = tokio::select! {
                fetched = self.consumer.poll() => fetched?,
                () = interrupt.wait() => return Ok(()),
            };
            for part in &fetched {
                let stop = self.stops.get(&part.partition).copied().unwrap_or(i64::MAX);
                self.printer.show(part, stop)?;
                let position = self.consumer.position(&self.topic, part.partition);
                if position.is_some_and(|position| position >= stop) {
                    self.consumer.unassign(&self.topic, part.partition);
                }
            }
            self.printer.flush()?;
        }
        Ok(())
    }
}
