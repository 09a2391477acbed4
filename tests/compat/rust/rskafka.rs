//! The crate rskafka, a client in Rust alone, behind the command line of `../README.md`.
//!
//! It always waits for all replicas, is not idempotent, and finds no offsets by time.

mod common;

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use chrono::DateTime;
use common::{Failure, Record};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};

const PER_REQUEST: usize = 250;
const MAX_WAIT_MS: i32 = 500;
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

fn codec(name: &str) -> Result<Compression, Failure> {
    Ok(match name {
        "none" => Compression::NoCompression,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => return Err(format!("no codec {name}").into()),
    })
}

async fn partition(client: &Client, topic: &str, index: i32) -> Result<PartitionClient, Failure> {
    Ok(client.partition_client(topic, index, UnknownTopicHandling::Retry).await?)
}

fn outgoing(record: Record) -> Result<rskafka::record::Record, Failure> {
    Ok(rskafka::record::Record {
        key: Some(record.key),
        value: Some(record.value),
        headers: BTreeMap::from([("n".to_owned(), record.n)]),
        timestamp: DateTime::from_timestamp_millis(record.timestamp).ok_or("a time out of range")?,
    })
}

async fn write(
    client: &Client,
    topic: &str,
    records: Vec<Record>,
    codec: Compression,
) -> Result<(), Failure> {
    let mut by_partition = BTreeMap::<i32, Vec<_>>::new();
    for record in records {
        by_partition.entry(record.partition).or_default().push(outgoing(record)?);
    }
    for (index, records) in by_partition {
        let to = partition(client, topic, index).await?;
        for some in records.chunks(PER_REQUEST) {
            to.produce(some.to_vec(), codec).await?;
        }
    }
    Ok(())
}

async fn read(
    from: &PartitionClient,
    mut offset: i64,
    mut count: u64,
    out: &mut impl Write,
) -> Result<(), Failure> {
    while count > 0 {
        let (records, _) = from.fetch_records(offset, 1..1 << 20, MAX_WAIT_MS).await?;
        for found in records {
            if found.offset < offset || count == 0 {
                continue;
            }
            let record = &found.record;
            let fields =
                [record.key.as_deref(), record.value.as_deref(), record.headers.get("n").map(Vec::as_slice)];
            common::show(out, found.offset, record.timestamp.timestamp_millis(), fields)?;
            offset = found.offset + 1;
            count -= 1;
        }
    }
    Ok(())
}

async fn run() -> Result<(), Failure> {
    let (command, bootstrap, topic, rest) = common::words()?;
    let client = ClientBuilder::new(vec![bootstrap]).client_id("compat").build().await?;
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let mut out = BufWriter::new(std::io::stdout().lock());
    match (command.as_str(), rest.as_slice()) {
        ("create", [partitions]) => {
            client.controller_client()?.create_topic(&topic, partitions.parse()?, 1, 10_000).await?;
        }
        ("write", [partitions, name, "all", "no", path]) => {
            write(&client, &topic, common::records(path, partitions.parse()?)?, codec(name)?).await?;
        }
        ("read", [index, offset, count]) => {
            let from = partition(&client, &topic, index.parse()?).await?;
            read(&from, offset.parse()?, count.parse()?, &mut out).await?;
        }
        ("ends", [index]) => {
            let from = partition(&client, &topic, index.parse()?).await?;
            let first = from.get_offset(OffsetAt::Earliest).await?;
            writeln!(out, "{first} {}", from.get_offset(OffsetAt::Latest).await?)?;
        }
        _ => return Err(format!("cannot {command} {rest:?}").into()),
    }
    Ok(out.flush()?)
}

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(LIMIT, run()).await? })
}
