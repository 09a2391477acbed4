//! `milena produce TOPIC`: lines or JSON to records.
//!
//! A thread reads the input in chunks of whole entries, so that reading, batching, compressing and sending go on at the
//! same time; entries are sent as slices of their chunk.

mod entry;
mod input;
mod receipt;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use memchr::memmem::Finder;
use milena_client::Cluster;
use milena_client::producer::Producer;
use milena_protocol::ErrorCode;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::progress::{self, Counter};
use crate::properties;
use crate::text::{self, Bytes};
use crate::time;
use entry::Shape;
use receipt::Receipts;

/// How long a cluster gets to create the topic by itself.
const CREATION_TIME_MAX: Duration = Duration::from_secs(10);

/// What reading from a pipe or a file prefers: large batches, a little patience.
const PREFERRED: [(&str, &str); 2] = [("batch.size", "262144"), ("linger.ms", "5")];

#[derive(Debug, clap::Args)]
#[command(after_help = properties::help(properties::PRODUCE))]
pub struct Arguments {
    /// Topic to write to
    topic: String,
    /// Read this file instead of standard input (-); may be given again
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// What an entry is: text, or a JSON object as `consume --format json` prints it
    #[arg(long, value_enum, default_value_t = Input::Text)]
    format: Input,
    /// What separates entries
    #[arg(short = 'D', long, default_value = "\\n", value_parser = text::separator, value_name = "BYTES")]
    delimiter: Bytes,
    /// What separates the key from the value within an entry; without it records have no key
    #[arg(short = 'K', long, value_parser = text::separator, value_name = "BYTES")]
    key_separator: Option<Bytes>,
    /// The key of all records
    #[arg(short, long, conflicts_with = "key_separator")]
    key: Option<String>,
    /// A header of all records; may be given again
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = text::pair)]
    header: Vec<(String, String)>,
    /// A key or value that is this text becomes null, which in a compacted topic deletes the key
    #[arg(long, value_name = "TEXT")]
    null_value: Option<String>,
    /// Partition of all records [default: by key, or spread]
    #[arg(short, long, value_name = "NUMBER", value_parser = text::at_least::<i32, 0>, allow_negative_numbers = true)]
    partition: Option<i32>,
    /// Timestamp of all records: 2026-11-21T10:00:00Z, @milliseconds or only the number, -15m [default: now]
    #[arg(short, long, value_name = "TIME", value_parser = timestamp, allow_hyphen_values = true)]
    timestamp: Option<i64>,
    /// Codec: none, gzip, snappy, lz4 or zstd [default: none]
    #[arg(short = 'z', long, value_name = "CODEC")]
    compression: Option<String>,
    /// Who must have a record before it counts as written: 0 (nobody), 1 (the leader), all or -1 (its in-sync replicas)
    /// [default: all]
    #[arg(long, value_name = "ACKS", allow_negative_numbers = true)]
    acks: Option<String>,
    /// Whether a record is written once only, however often it is sent again [default: true with --acks all]
    #[arg(long, value_name = "BOOL")]
    idempotent: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Input {
    Text,
    Json,
}

fn timestamp(text: &str) -> Result<i64, String> {
    // Kafka keeps negative numbers for "none".
    let parsed = text.parse().ok().or_else(|| time::parse(text, time::now_ms())).filter(|time| *time >= 0);
    parsed.ok_or_else(|| format!("none of: MILLISECONDS, {}; and not before 1970", time::FORMS))
}

pub async fn run(context: &Context, arguments: Arguments, mut interrupt: Interrupt) -> Result<()> {
    let said = [
        ("compression.type", arguments.compression.clone()),
        ("acks", arguments.acks.clone()),
        ("enable.idempotence", arguments.idempotent.map(|on| on.to_string())),
    ];
    let settings = context.settings(&PREFERRED, &said)?;
    let sources = input::open(&arguments.file)?;
    let admin = context.connect_with(settings.client).await?;
    find_topic(admin.cluster(), &arguments.topic).await?;
    // An entry in JSON may be larger than its record: base64 and escapes.
    let entry_size_max = settings.producer.max_request_size.saturating_mul(4);
    let mut chunks = input::read(sources, arguments.delimiter.0.clone(), entry_size_max);
    let producer = Producer::new(admin.cluster().clone(), settings.producer);
    let mut run = Run {
        topic: arguments.topic.clone(),
        shape: shape(&arguments)?,
        delimiter: Finder::new(&arguments.delimiter.0).into_owned(),
        producer,
        receipts: Receipts::default(),
        counter: Counter::new("written", input::is_typed(&arguments.file, std::io::stdin().is_terminal())),
    };
    let outcome = loop {
        let chunk = tokio::select! {
            chunk = chunks.recv() => chunk,
            () = interrupt.wait() => None,
        };
        match chunk {
            None => break Ok(()),
            Some(Err(error)) => break Err(error),
            Some(Ok(chunk)) => {
                if let Err(error) = run.send(&chunk).await {
                    break Err(error);
                }
            }
        }
    };
    run.finish(context, outcome).await
}

/// Looks the topic up, giving the cluster a moment to create it.
async fn find_topic(cluster: &Cluster, topic: &str) -> Result<()> {
    let looking = tokio::time::timeout(CREATION_TIME_MAX, cluster.topic(topic, true));
    match progress::during(&format!("looking for topic {topic}"), looking).await {
        Ok(found) => Ok(found.map(drop)?),
        Err(_) => Err(Error::Failed {
            message: format!("topic {topic} does not exist, and the cluster does not create it by itself"),
            hint: Some("`milena topic create NAME` makes one"),
        }),
    }
}

/// A topic that was found has a good name: a broker that calls it invalid keeps it for the coordinators.
fn refused(error: Error) -> Error {
    match error {
        Error::Client(error) if error.code() == Some(ErrorCode::InvalidTopicException) => Error::Failed {
            message: error.to_string(),
            hint: Some("topics that the cluster made for itself are written by the cluster alone"),
        },
        error => error,
    }
}

fn shape(arguments: &Arguments) -> Result<Shape> {
    let is_json = arguments.format == Input::Json;
    if is_json && (arguments.key_separator.is_some() || arguments.null_value.is_some()) {
        return Err(Error::Usage(
            "--format json says where keys and nulls are: no --key-separator, no --null-value".into(),
        ));
    }
    let headers =
        arguments.header.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes()));
    Ok(Shape {
        is_json,
        key_separator: arguments.key_separator.as_ref().map(|separator| separator.0.clone()),
        key: arguments.key.clone().map(String::into_bytes),
        headers: headers.collect(),
        null: arguments.null_value.clone().map(String::into_bytes),
        partition: arguments.partition,
        timestamp: arguments.timestamp,
    })
}

/// One run of the command.
struct Run {
    topic: String,
    shape: Shape,
    delimiter: Finder<'static>,
    producer: Producer,
    receipts: Receipts,
    counter: Counter,
}

impl Run {
    /// Sends the entries of a chunk.
    async fn send(&mut self, chunk: &[u8]) -> Result<()> {
        let headers = self.shape.common_headers();
        let mut rest = chunk;
        let mut count = 0;
        while !rest.is_empty() {
            let end = self.delimiter.find(rest);
            let entry = &rest[..end.unwrap_or(rest.len())];
            rest = end.map_or(&[][..], |end| &rest[end + self.delimiter.needle().len()..]);
            if self.shape.is_json && entry.trim_ascii().is_empty() {
                continue;
            }
            let number = self.counter.records() + count + 1;
            let named =
                |reason: String| Error::Failed { message: format!("entry {number}: {reason}"), hint: None };
            let delivery = if self.shape.is_json {
                let parsed = self.shape.parse_json(entry).map_err(named)?;
                let all: Vec<_> = headers.iter().copied().chain(parsed.headers()).collect();
                self.producer.send(&self.topic, self.shape.json_record(&parsed, &all)).await?
            } else {
                let record = self.shape.text_record(entry, &headers).map_err(named)?;
                self.producer.send(&self.topic, record).await?
            };
            self.receipts.expect(delivery);
            count += 1;
        }
        self.counter.add(count, chunk.len() as u64);
        self.receipts.settle()
    }

    /// Waits for what is under way, also when something failed: those records are counted.
    async fn finish(mut self, context: &Context, outcome: Result<()>) -> Result<()> {
        progress::during("waiting for the last records", self.producer.flush()).await;
        let settled = self.receipts.settle();
        drop(self.counter);
        let outcome = outcome.and(settled).map_err(refused);
        self.receipts.show(context, &self.topic, outcome.is_err())?;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_the_grammar_of_consume() {
        assert_eq!(timestamp("1795255200000"), Ok(1_795_255_200_000));
        assert_eq!(timestamp("@1795255200000"), Ok(1_795_255_200_000));
        assert_eq!(timestamp("2001-09-09T01:46:40.123Z"), Ok(1_000_000_000_123));
        let ago = time::now_ms() - timestamp("-15m").expect("a time");
        assert!((900_000..960_000).contains(&ago), "{ago}");
        for wrong in ["-5", "@-5", "soon", "1969-01-01"] {
            assert!(timestamp(wrong).is_err(), "{wrong}");
        }
    }
}
