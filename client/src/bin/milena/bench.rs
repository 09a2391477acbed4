//! `milena bench …`: how fast a cluster takes and gives records, and how long a record is on its way.
//!
//! The measures are those of Kafka's own perf tools, so that figures can be compared. Nothing is created unless
//! `--create` says so, and memory does not grow with the number of records: latencies live in histograms of a fixed
//! size, records that wait for an answer are bounded.

mod bounds;
mod consume;
mod failures;
mod latencies;
mod latency;
mod meter;
mod payload;
mod produce;
mod topic;

use crate::context::Context;
use crate::error::Result;
use crate::interrupt::Interrupt;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Write records, and measure throughput and the time to each acknowledgement
    Produce(produce::Arguments),
    /// Read records, and measure throughput
    Consume(consume::Arguments),
    /// Send records one at a time, and measure the time until each is read
    Latency(latency::Arguments),
}

pub async fn run(context: &Context, command: Command, interrupt: Interrupt) -> Result<()> {
    match command {
        Command::Produce(arguments) => produce::run(context, arguments, interrupt).await,
        Command::Consume(arguments) => consume::run(context, arguments, interrupt).await,
        Command::Latency(arguments) => latency::run(context, arguments, interrupt).await,
    }
}
