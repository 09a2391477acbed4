//! `milena topic describe`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use milena_client::admin::{Admin, ConfigEntry, ConfigResource, OffsetSpec};
use milena_client::cluster::{Partition, Topic};
use serde_json::json;

use crate::context::Context;
use crate::error::Result;
use crate::{output, progress};

/// Offsets are a courtesy: partitions without a leader must not hold up what is known.
const OFFSETS_TIME_MAX: Duration = Duration::from_secs(5);

/// Kafka's number for a property that was set on the topic itself.
const SET_ON_TOPIC: i8 = 1;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Names of the topics
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Also properties that have their default
    #[arg(long)]
    all_configs: bool,
}

struct Described {
    topic: Arc<Topic>,
    configs: Vec<ConfigEntry>,
    /// First and next offset by partition.
    start: BTreeMap<i32, i64>,
    end: BTreeMap<i32, i64>,
}

pub async fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let admin = context.connect().await?;
    let (mut described, mut failures) = (Vec::new(), Vec::new());
    for name in &arguments.names {
        let asking = describe(&admin, name, arguments.all_configs);
        match progress::during(&format!("asking for {name}"), asking).await {
            Ok(topic) => described.push(topic),
            Err(error) => failures.push(error),
        }
    }
    show(context, &described)?;
    super::failed(&failures)
}

fn show(context: &Context, described: &[Described]) -> Result<()> {
    if context.is_json() && !described.is_empty() {
        return output::json(&described.iter().map(as_json).collect::<Vec<_>>());
    }
    for (index, topic) in described.iter().enumerate() {
        if index > 0 {
            output::line("")?;
        }
        print(topic)?;
    }
    Ok(())
}

async fn describe(admin: &Admin, name: &str, all_configs: bool) -> Result<Described, milena_client::Error> {
    let topic = admin.describe_topic(name).await?;
    let mut configs = admin.describe_configs(&ConfigResource::Topic(name.to_owned())).await?;
    configs.retain(|config| all_configs || config.source == SET_ON_TOPIC);
    let with_leader = topic.partitions.iter().filter(|partition| partition.leader.is_some());
    let partitions: Vec<i32> = with_leader.map(|partition| partition.index).collect();
    let start = offsets(admin, name, &partitions, OffsetSpec::Earliest).await;
    let end = offsets(admin, name, &partitions, OffsetSpec::Latest).await;
    Ok(Described { topic, configs, start, end })
}

async fn offsets(admin: &Admin, name: &str, partitions: &[i32], spec: OffsetSpec) -> BTreeMap<i32, i64> {
    let asked = admin.list_offsets(name, partitions, spec, false);
    let Ok(Ok(listed)) = tokio::time::timeout(OFFSETS_TIME_MAX, asked).await else { return BTreeMap::new() };
    listed.into_iter().filter_map(|listed| Some((listed.partition, listed.offset?))).collect()
}

fn as_json(described: &Described) -> serde_json::Value {
    let Described { topic, configs, start, end } = described;
    let partitions = topic.partitions.iter().map(|partition| {
        json!({
            "partition": partition.index,
            "leader": partition.leader,
            "leader_epoch": partition.leader_epoch,
            "replicas": partition.replicas,
            "isr": partition.isr,
            "offline_replicas": partition.offline_replicas,
            "log_start_offset": start.get(&partition.index),
            "log_end_offset": end.get(&partition.index),
        })
    });
    let sources: Vec<_> = configs.iter().map(|config| (config.source, &config.name)).collect();
    let configs = configs.iter().map(|config| (config.name.clone(), json!(config.value)));
    let set = sources.iter().filter(|(source, _)| *source == SET_ON_TOPIC).map(|(_, name)| *name);
    json!({
        "name": topic.name,
        "id": topic.id.to_string(),
        "internal": topic.is_internal,
        "partitions": partitions.collect::<Vec<_>>(),
        "configs": configs.collect::<serde_json::Map<_, _>>(),
        "set_on_topic": set.collect::<Vec<_>>(),
    })
}

fn print(described: &Described) -> Result<()> {
    let topic = &described.topic;
    output::line(&format!("topic   {}", topic.name))?;
    if !topic.id.is_zero() {
        output::line(&format!("id      {}", topic.id))?;
    }
    for config in &described.configs {
        let value = config.value.as_deref().unwrap_or(if config.is_sensitive { "(hidden)" } else { "" });
        let origin = if config.source == SET_ON_TOPIC { "" } else { origin(config.source) };
        output::line(&format!("config  {}={value}{origin}", config.name))?;
    }
    output::line("")?;
    let rows: Vec<_> = topic.partitions.iter().map(|partition| row(described, partition)).collect();
    output::table(&["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END"], &rows)
}

/// Where a value comes from that the topic does not have of its own (Kafka's numbers).
fn origin(source: i8) -> &'static str {
    match source {
        2..=4 => "  (of the broker)",
        5 => "  (default)",
        _ => "",
    }
}

fn row(described: &Described, partition: &Partition) -> Vec<String> {
    vec![
        partition.index.to_string(),
        output::or_dash(partition.leader),
        partition.leader_epoch.to_string(),
        output::joined(&partition.replicas),
        output::joined(&partition.isr),
        output::or_dash(described.start.get(&partition.index)),
        output::or_dash(described.end.get(&partition.index)),
    ]
}
