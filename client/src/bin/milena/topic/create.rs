//! `milena topic create`.

use milena_client::admin::{CreatedTopic, NewTopic};
use milena_protocol::ErrorCode;
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::{output, progress, text};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Names of the topics
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Partitions of each topic [default: the broker's num.partitions]
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Replicas of each partition [default: the broker's default.replication.factor]
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// Brokers of each partition's replicas, partitions separated by commas: 1:2,2:3
    #[arg(long, value_name = "LIST", value_parser = assignments, conflicts_with_all = ["partitions", "replication_factor"])]
    assignment: Option<Assignments>,
    /// A property of the topics, such as retention.ms=60000
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = text::pair)]
    config: Vec<(String, String)>,
    /// A topic that is there already is fine
    #[arg(long)]
    if_not_exists: bool,
    /// Only ask whether the topics could be created
    #[arg(long)]
    validate_only: bool,
}

/// Replicas of each partition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Assignments(Vec<Vec<i32>>);

fn assignments(text: &str) -> Result<Assignments, String> {
    let broker = |id: &str| id.trim().parse::<i32>().map_err(|_| format!("'{id}' is not a broker's id"));
    let replicas = |partition: &str| partition.split(':').map(broker).collect();
    text.split(',').map(replicas).collect::<Result<_, _>>().map(Assignments)
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let assigned = arguments.assignment.map(|assignments| assignments.0).unwrap_or_default();
    let topics: Vec<NewTopic> = arguments
        .names
        .iter()
        .map(|name| NewTopic {
            name: name.clone(),
            partitions: arguments.partitions,
            replication_factor: arguments.replication_factor,
            assignments: assigned.clone(),
            configs: arguments.config.clone(),
        })
        .collect();
    let admin = context.connect().await?;
    let creating = admin.create_topics(&topics, arguments.validate_only);
    let results = progress::during("creating topics", creating).await?;
    let is_there = |error: &milena_client::Error| error.code() == Some(ErrorCode::TopicAlreadyExists);
    let (mut created, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(topic) => created.push(topic),
            Err(error) if arguments.if_not_exists && is_there(&error) => {}
            Err(error) => failures.push(error),
        }
    }
    show(context, &created, arguments.validate_only)?;
    super::failed(&failures)
}

fn show(context: &Context, created: &[CreatedTopic], validate_only: bool) -> Result<(), Error> {
    if context.is_json() {
        let topics = created.iter().map(|topic| {
            json!({
                "name": topic.name,
                "id": topic.id.map(|id| id.to_string()),
                "partitions": topic.partitions,
                "replication_factor": topic.replication_factor,
            })
        });
        return output::json(&topics.collect::<Vec<_>>());
    }
    for topic in created {
        let verb = if validate_only { "could be created" } else { "created" };
        let numbers = match (topic.partitions, topic.replication_factor) {
            (Some(partitions), Some(replicas)) => {
                format!(" (partitions {partitions}, replication factor {replicas})")
            }
            _ => String::new(),
        };
        output::line(&format!("{} {verb}{numbers}", topic.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_partitions_of_brokers() {
        assert_eq!(assignments("1:2,2:3"), Ok(Assignments(vec![vec![1, 2], vec![2, 3]])));
        assert!(assignments("1:x").is_err());
        assert!(assignments("").is_err());
    }
}
