//! `milena topic list`.

use std::sync::Arc;

use milena_client::cluster::Topic;
use serde_json::json;

use crate::context::Context;
use crate::error::Result;
use crate::{output, progress};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Also topics that the cluster made for itself
    #[arg(long)]
    internal: bool,
}

pub async fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let admin = context.connect().await?;
    let topics = progress::during("asking for the topics", admin.list_topics()).await?;
    let shown: Vec<_> = topics.iter().filter(|topic| arguments.internal || !topic.is_internal).collect();
    if context.is_json() {
        return output::json(&shown.into_iter().map(as_json).collect::<Vec<_>>());
    }
    let rows = shown.into_iter().map(|topic| {
        let partitions = topic.partitions.len().to_string();
        vec![topic.name.clone(), partitions, output::or_dash(replication_factor(topic)), id(topic)]
    });
    output::table(&["TOPIC", "PARTITIONS", "REPLICAS", "ID"], &rows.collect::<Vec<_>>())
}

fn as_json(topic: &Arc<Topic>) -> serde_json::Value {
    json!({
        "name": topic.name,
        "id": id(topic),
        "internal": topic.is_internal,
        "partitions": topic.partitions.len(),
        "replication_factor": replication_factor(topic),
    })
}

fn replication_factor(topic: &Topic) -> Option<usize> {
    topic.partitions.first().map(|partition| partition.replicas.len())
}

fn id(topic: &Topic) -> String {
    if topic.id.is_zero() { "-".to_owned() } else { topic.id.to_string() }
}
