//! `milena cluster …`: one module per command.

mod drain;
mod info;
mod leadership;
mod status;

use crate::context::Context;
use crate::error::Result;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Id, controller and brokers
    Info,
    /// How the cluster is: quorum, brokers, partitions in trouble, balance of leaders
    Status,
    /// Move all leaderships away from a broker, as before its maintenance
    Drain(drain::Arguments),
    /// Give a broker its share of leaderships again
    Undrain(drain::Arguments),
}

pub async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Info => info::run(context).await,
        Command::Status => status::run(context).await,
        Command::Drain(arguments) => drain::drain(context, &arguments).await,
        Command::Undrain(arguments) => drain::undrain(context, &arguments).await,
    }
}
