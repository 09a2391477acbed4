//! `milena topic …`: one module per command.

mod add_partitions;
mod alter;
mod create;
mod delete;
mod delete_records;
mod describe;
mod list;

use crate::context::Context;
use crate::error::{Result, together};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show all topics
    List(list::Arguments),
    /// Create topics
    Create(create::Arguments),
    /// Show partitions, replicas, offsets and configuration of topics
    Describe(describe::Arguments),
    /// Change the configuration of topics
    Alter(alter::Arguments),
    /// Give a topic more partitions
    AddPartitions(add_partitions::Arguments),
    /// Delete the oldest records of a topic
    DeleteRecords(delete_records::Arguments),
    /// Delete topics with all their records
    Delete(delete::Arguments),
}

pub async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::List(arguments) => list::run(context, &arguments).await,
        Command::Create(arguments) => create::run(context, arguments).await,
        Command::Describe(arguments) => describe::run(context, &arguments).await,
        Command::Alter(arguments) => alter::run(context, arguments).await,
        Command::AddPartitions(arguments) => add_partitions::run(context, arguments).await,
        Command::DeleteRecords(arguments) => delete_records::run(context, arguments).await,
        Command::Delete(arguments) => delete::run(context, arguments).await,
    }
}

/// The failures of several topics as one.
fn failed(failures: &[milena_client::Error]) -> Result<()> {
    together(failures.iter().cloned())
}
