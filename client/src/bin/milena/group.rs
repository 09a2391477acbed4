//! `milena group …`: one module per command.

mod delete;
mod describe;
mod list;
mod reset;
pub mod scope;

use crate::context::Context;
use crate::error::Result;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show all groups
    List(list::Arguments),
    /// Show how far groups have come, who is in them, what they are doing
    Describe(describe::Arguments),
    /// Set what groups without members have committed
    Reset(reset::Arguments),
    /// Delete groups, or what they have committed in some topics
    Delete(delete::Arguments),
}

pub async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::List(arguments) => list::run(context, &arguments).await,
        Command::Describe(arguments) => describe::run(context, arguments).await,
        Command::Reset(arguments) => reset::run(context, arguments).await,
        Command::Delete(arguments) => delete::run(context, arguments).await,
    }
}
