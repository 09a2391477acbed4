//! `milena topic add-partitions`.

use serde_json::json;

use super::create::{Assignments, assignments};
use crate::context::Context;
use crate::error::Result;
use crate::{output, progress, text};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the topic
    name: String,
    /// Partitions that the topic has afterwards
    #[arg(short, long, value_name = "COUNT", value_parser = text::at_least::<i32, 1>, allow_negative_numbers = true)]
    count: i32,
    /// Brokers of the new partitions' replicas, partitions separated by commas: 1:2,2:3
    #[arg(long, value_name = "LIST", value_parser = assignments)]
    assignment: Option<Assignments>,
    /// Only ask whether the partitions could be added
    #[arg(long)]
    validate_only: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let Arguments { name, count, assignment, validate_only } = arguments;
    let assigned = assignment.as_ref().map(|assignment| assignment.0.as_slice());
    let admin = context.connect().await?;
    let adding = admin.create_partitions(&name, count, assigned, validate_only);
    progress::during(&format!("adding partitions to {name}"), adding).await?;
    if context.is_json() {
        let outcome = if validate_only { "valid" } else { "grown" };
        return output::json(&json!({ "name": name, "outcome": outcome, "partitions": count }));
    }
    output::line(&format!("{name} {} {count} partitions", if validate_only { "could have" } else { "has" }))
}
