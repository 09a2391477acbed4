//! `milena config …`: one module per command.

mod describe;
mod get;
pub mod resource;
mod set;
mod unset;

use crate::context::Context;
use crate::error::Result;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print the value of one property
    Get(get::Arguments),
    /// Set values
    Set(set::Arguments),
    /// Take values back to their defaults
    Unset(unset::Arguments),
    /// Show properties, their values and where these come from
    Describe(describe::Arguments),
}

pub async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Get(arguments) => get::run(context, &arguments).await,
        Command::Set(arguments) => set::run(context, arguments).await,
        Command::Unset(arguments) => unset::run(context, arguments).await,
        Command::Describe(arguments) => describe::run(context, &arguments).await,
    }
}
