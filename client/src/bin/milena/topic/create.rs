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
    #[arg(short, long, value_name = "COUNT", value_parser = text::at_least::<i32, 1>, allow_negative_numbers = true)]
    partitions: Option<i32>,
    /// Replicas of each partition [default: the broker's default.replication.factor]
    #[arg(short, long, value_name = "COUNT", value_parser = text::at_least::<i16, 1>, allow_negative_numbers = true)]
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
pub(super) struct Assignments(pub(super) Vec<Vec<i32>>);

pub(super) fn assignments(text: &str) -> Result<Assignments, String> {
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
    let done = if arguments.validate_only { Outcome::Valid } else { Outcome::Created };
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    for (name, result) in results {
        match result {
            Ok(topic) => outcomes.push((done, topic)),
            Err(error) if arguments.if_not_exists && is_there(&error) => {
                let topic = CreatedTopic { name, id: None, partitions: None, replication_factor: None };
                outcomes.push((Outcome::Exists, topic));
            }
            Err(error) => failures.push(error),
        }
    }
    // Where nothing was done the error says it all.
    if !outcomes.is_empty() {
        show(context, &outcomes)?;
    }
    super::failed(&failures)
}

/// What became of a topic that is no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Created,
    /// It was there already, and that is fine.
    Exists,
    /// It could be created.
    Valid,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Created => "created",
            Outcome::Exists => "exists",
            Outcome::Valid => "valid",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Outcome::Created => "created",
            Outcome::Exists => "is there already",
            Outcome::Valid => "could be created",
        }
    }
}

fn show(context: &Context, outcomes: &[(Outcome, CreatedTopic)]) -> Result<(), Error> {
    if context.is_json() {
        let topics = outcomes.iter().map(|(outcome, topic)| {
            json!({
                "name": topic.name,
                "outcome": outcome.name(),
                "id": topic.id.map(|id| id.to_string()),
                "partitions": topic.partitions,
                "replication_factor": topic.replication_factor,
            })
        });
        return output::json(&topics.collect::<Vec<_>>());
    }
    for (outcome, topic) in outcomes {
        let verb = outcome.verb();
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
