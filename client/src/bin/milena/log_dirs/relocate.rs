//! `milena log-dirs move`.

use std::collections::BTreeSet;
use std::time::Duration;

use milena_client::admin::{Admin, ByPartition};
use milena_client::consumer::PartitionKey;
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result, together};
use crate::group::scope::{self, TopicScope};
use crate::{output, progress, text};

/// How often `--wait` asks.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

const NOTES: &str = "\
The replicas are served while they are moved. Naming the directory where a replica is ends its move.
replica.alter.log.dirs.io.max.bytes.per.second (milena config set broker/ID) bounds what a broker copies.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Arguments {
    /// Topics, or some of their partitions as in orders:0,2
    #[arg(value_name = "TOPIC[:LIST]", value_parser = scope::parse, required = true)]
    topics: Vec<TopicScope>,
    /// The broker whose replicas are moved
    #[arg(long, value_name = "ID", value_parser = text::at_least::<i32, 0>)]
    broker: i32,
    /// One of the broker's log directories, as `milena log-dirs list` shows it
    #[arg(long, value_name = "DIRECTORY")]
    to: String,
    /// Until all is moved
    #[arg(long)]
    wait: bool,
}

pub async fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let Arguments { topics, broker, to, wait } = arguments;
    let admin = context.connect().await?;
    let partitions = scope::partitions(&admin, topics).await?;
    let directories: ByPartition<String> = partitions.iter().map(|key| (key.clone(), to.clone())).collect();
    let results = admin.alter_replica_log_dirs(*broker, &directories).await?;
    let (mut begun, mut failures) = (BTreeSet::new(), Vec::new());
    for (key, result) in results {
        match result {
            Ok(()) => drop(begun.insert(key)),
            Err(error) => failures.push(error),
        }
    }
    if *wait && !begun.is_empty() {
        progress::during("moving replicas", moved(&admin, *broker, &begun, to)).await?;
    }
    show(context, *broker, to, &begun)?;
    together(failures)
}

/// Waits until the replicas are in the directory.
///
/// Errors: a move has ended, and the replica is not there.
async fn moved(admin: &Admin, broker: i32, partitions: &BTreeSet<PartitionKey>, to: &str) -> Result<()> {
    loop {
        let directories = admin.describe_log_dirs(broker, Some(partitions)).await?;
        let replicas = || directories.iter().flat_map(|dir| dir.replicas.iter().map(move |r| (&dir.path, r)));
        let is_of = |key: &PartitionKey, topic: &str, partition: i32| key.0 == topic && key.1 == partition;
        let mut is_done = true;
        for key in partitions {
            let own = || replicas().filter(|(_, r)| is_of(key, &r.topic, r.partition));
            let is_there = own().any(|(path, replica)| path == to && !replica.is_future);
            let is_moving = own().any(|(_, replica)| replica.is_future);
            if !is_there && !is_moving {
                let message = format!("{}-{} stays where it is; the broker's log says why", key.0, key.1);
                return Err(Error::Failed { message, hint: None });
            }
            is_done &= is_there;
        }
        if is_done {
            return Ok(());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn show(context: &Context, broker: i32, to: &str, begun: &BTreeSet<PartitionKey>) -> Result<()> {
    if begun.is_empty() {
        return Ok(());
    }
    if context.is_json() {
        let replicas = begun.iter().map(
            |(topic, partition)| json!({ "topic": topic, "partition": partition, "broker": broker, "directory": to }),
        );
        return output::json(&replicas.collect::<Vec<_>>());
    }
    let rows = begun.iter().map(|(topic, partition)| {
        vec![topic.clone(), partition.to_string(), broker.to_string(), to.to_owned()]
    });
    output::table(&["TOPIC", "PARTITION", "BROKER", "DIRECTORY"], &rows.collect::<Vec<_>>())
}
