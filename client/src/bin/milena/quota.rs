//! `milena quota …`: one module per command.

mod entity;
mod get;
mod set;

use crate::context::Context;
use crate::error::Result;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show quotas
    Get(get::Arguments),
    /// Set or remove quotas of users, client ids or addresses
    Set(set::Arguments),
}

pub async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Get(arguments) => get::run(context, arguments).await,
        Command::Set(arguments) => set::run(context, arguments).await,
    }
}
