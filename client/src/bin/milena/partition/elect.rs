//! `milena partition elect`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use milena_client::admin::Election;
use milena_client::consumer::PartitionKey;
use milena_protocol::ErrorCode;
use serde_json::json;

use super::plan;
use crate::context::Context;
use crate::error::{Error, Result, together};
use crate::group::scope::{self, TopicScope};
use crate::{output, progress};

const NOTES: &str = "\
A partition that has the leader it ought to have is left alone, and that is fine.
--unclean makes a replica leader that may lack records which clients believe to be stored: they are lost.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Arguments {
    #[command(flatten)]
    what: What,
    /// Where no replica in sync lives, any that does: records may be lost
    #[arg(long)]
    unclean: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// A topic, or some of its partitions as in orders:0,2; may be given again
    #[arg(long, value_name = "TOPIC[:LIST]", value_parser = scope::parse)]
    topic: Vec<TopicScope>,
    /// Every partition that needs it
    #[arg(long)]
    all: bool,
    /// The partitions of a file, as kafka-leader-election reads it
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let Arguments { what, unclean } = arguments;
    let named = what.from_file.as_ref().map(|path| read(path)).transpose()?;
    let admin = context.connect().await?;
    let partitions = match named {
        Some(partitions) => Some(partitions),
        None if what.all => None,
        None => Some(scope::partitions(&admin, &what.topic).await?),
    };
    let election = if unclean { Election::Unclean } else { Election::Preferred };
    let electing = admin.elect_leaders(election, partitions.as_ref());
    let results = progress::during("electing leaders", electing).await?;
    let (mut elected, mut unneeded, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for (key, result) in results {
        match result {
            Ok(()) => elected.push(key),
            Err(error) if error.code() == Some(ErrorCode::ElectionNotNeeded) => unneeded.push(key),
            Err(error) => failures.push(error),
        }
    }
    show(context, &elected, &unneeded)?;
    together(failures)
}

fn read(path: &std::path::Path) -> Result<BTreeSet<PartitionKey>> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
    plan::parse_partitions(&text).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
}

fn show(context: &Context, elected: &[PartitionKey], unneeded: &[PartitionKey]) -> Result<()> {
    if context.is_json() {
        let named = |keys: &[PartitionKey]| -> Vec<_> {
            keys.iter().map(|(topic, partition)| json!({ "topic": topic, "partition": partition })).collect()
        };
        return output::json(&json!({ "elected": named(elected), "not_needed": named(unneeded) }));
    }
    for (topic, partition) in elected {
        output::line(&format!("{topic}-{partition} has another leader"))?;
    }
    match (elected.len(), unneeded.len()) {
        (0, 0) => output::line("no partition needs another leader"),
        (_, 0) => Ok(()),
        (_, 1) => output::line("1 partition has the leader it ought to have"),
        (_, count) => output::line(&format!("{count} partitions have the leaders they ought to have")),
    }
}
