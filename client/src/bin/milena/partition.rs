//! `milena partition …`: one module per command.

mod directories;
mod elect;
mod plan;
mod reassign;
mod throttle;

use crate::context::Context;
use crate::error::Result;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Move replicas of partitions to other brokers, and show what is moving
    Reassign(reassign::Arguments),
    /// Elect leaders: the first replicas, or where none is in sync any that lives
    Elect(elect::Arguments),
}

pub async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Reassign(arguments) => reassign::run(context, arguments).await,
        Command::Elect(arguments) => elect::run(context, arguments).await,
    }
}
