//! `milena log-dirs list`.

use milena_client::admin::{LogDir, LogDirReplica};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Result;
use crate::group::scope::{self, TopicScope};
use crate::{output, progress, text};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Brokers, separated by commas [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = text::at_least::<i32, 0>)]
    broker: Vec<i32>,
    /// A topic, or some of its partitions as in orders:0,2; may be given again [default: all]
    #[arg(long, value_name = "TOPIC[:LIST]", value_parser = scope::parse)]
    topic: Vec<TopicScope>,
}

pub async fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let admin = context.connect().await?;
    let partitions = match arguments.topic.is_empty() {
        true => None,
        false => Some(scope::partitions(&admin, &arguments.topic).await?),
    };
    let brokers = match arguments.broker.is_empty() {
        true => admin.describe_cluster().await?.brokers.iter().map(|broker| broker.id).collect(),
        false => arguments.broker.clone(),
    };
    let mut found = Vec::new();
    for broker in brokers {
        let asking = admin.describe_log_dirs(broker, partitions.as_ref());
        let directories = progress::during(&format!("asking broker {broker}"), asking).await?;
        found.extend(directories.into_iter().map(|directory| (broker, directory)));
    }
    if context.is_json() {
        return output::json(&found.iter().map(as_json).collect::<Vec<_>>());
    }
    let rows = found.iter().flat_map(rows).collect::<Vec<_>>();
    output::table(&["BROKER", "DIRECTORY", "TOPIC", "PARTITION", "BYTES", "LAG", "STATE"], &rows)
}

fn rows((broker, directory): &(i32, LogDir)) -> Vec<Vec<String>> {
    let row = |cells: [String; 5]| {
        let mut row = vec![broker.to_string(), directory.path.clone()];
        row.extend(cells);
        row
    };
    if directory.replicas.is_empty() {
        let state = if directory.error.is_some() { "offline" } else { "empty" };
        let dash = || "-".to_owned();
        return vec![row([dash(), dash(), dash(), dash(), state.to_owned()])];
    }
    let of_replica = |replica: &LogDirReplica| {
        row([
            replica.topic.clone(),
            replica.partition.to_string(),
            replica.size_bytes.to_string(),
            replica.offset_lag.to_string(),
            state(replica).to_owned(),
        ])
    };
    directory.replicas.iter().map(of_replica).collect()
}

fn state(replica: &LogDirReplica) -> &'static str {
    if replica.is_future { "moving here" } else { "current" }
}

fn as_json((broker, directory): &(i32, LogDir)) -> Value {
    let replicas = directory.replicas.iter().map(|replica| {
        json!({
            "topic": replica.topic,
            "partition": replica.partition,
            "size_bytes": replica.size_bytes,
            "offset_lag": replica.offset_lag,
            "future": replica.is_future,
        })
    });
    json!({
        "broker": broker,
        "directory": directory.path,
        "online": directory.error.is_none(),
        "total_bytes": directory.total_bytes,
        "usable_bytes": directory.usable_bytes,
        "replicas": replicas.collect::<Vec<_>>(),
    })
}
