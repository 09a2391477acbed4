//! `milena log-dirs …`: one module per command.

mod list;
mod relocate;

use crate::context::Context;
use crate::error::Result;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show which log directory of a broker holds what
    List(list::Arguments),
    /// Move replicas between the log directories of one broker
    Move(relocate::Arguments),
}

pub async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::List(arguments) => list::run(context, &arguments).await,
        Command::Move(arguments) => relocate::run(context, &arguments).await,
    }
}
