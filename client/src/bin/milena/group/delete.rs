//! `milena group delete`.

use std::collections::BTreeSet;

use milena_client::Error as ClientError;
use milena_client::admin::Admin;
use milena_client::consumer::PartitionKey;
use milena_protocol::ErrorCode;
use serde_json::json;

use super::scope::{self, TopicScope};
use crate::context::Context;
use crate::error::{Result, together};
use crate::{output, progress};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Ids of the groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// Only what the groups have committed in some topics; the groups stay
    #[arg(long, requires = "topic")]
    offsets: bool,
    /// A topic, or some of its partitions as in orders:0,2; may be given again
    #[arg(long, requires = "offsets", value_name = "TOPIC[:LIST]", value_parser = scope::parse)]
    topic: Vec<TopicScope>,
    /// A group that is not there is fine
    #[arg(long)]
    if_exists: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let admin = context.connect().await?;
    if arguments.offsets {
        let partitions = scope::partitions(&admin, &arguments.topic).await?;
        return offsets(context, &admin, &arguments, &partitions).await;
    }
    let results = progress::during("deleting groups", admin.delete_groups(&arguments.groups)).await;
    let (mut deleted, mut absent, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for (group, result) in results {
        match result {
            Ok(()) => deleted.push(group),
            Err(error) if arguments.if_exists && is_gone(&error) => absent.push(group),
            Err(error) => failures.push(error),
        }
    }
    if context.is_json() {
        if !(deleted.is_empty() && absent.is_empty()) {
            output::json(&json!({ "deleted": deleted, "absent": absent }))?;
        }
    } else {
        deleted.iter().try_for_each(|group| output::line(&format!("{group} deleted")))?;
        absent.iter().try_for_each(|group| output::line(&format!("{group} is not there")))?;
    }
    together(failures)
}

fn is_gone(error: &ClientError) -> bool {
    error.code() == Some(ErrorCode::GroupIdNotFound)
}

async fn offsets(
    context: &Context,
    admin: &Admin,
    arguments: &Arguments,
    partitions: &BTreeSet<PartitionKey>,
) -> Result<()> {
    let (mut deleted, mut absent, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for group in arguments.groups.iter().collect::<BTreeSet<_>>() {
        let deleting = admin.delete_committed_offsets(group, partitions);
        match progress::during(&format!("deleting offsets of {group}"), deleting).await {
            Ok(results) => {
                for (key, result) in results {
                    match result {
                        Ok(()) => deleted.push((group, key)),
                        Err(error) => failures.push(error),
                    }
                }
            }
            Err(error) if arguments.if_exists && is_gone(&error) => absent.push(group),
            Err(error) => failures.push(error),
        }
    }
    if context.is_json() {
        let offsets = deleted.iter().map(
            |(group, (topic, partition))| json!({ "group": group, "topic": topic, "partition": partition }),
        );
        if !(deleted.is_empty() && absent.is_empty()) {
            output::json(&json!({ "deleted": offsets.collect::<Vec<_>>(), "absent": absent }))?;
        }
    } else {
        for (group, (topic, partition)) in &deleted {
            output::line(&format!("{group}: offset in {topic}-{partition} deleted"))?;
        }
        absent.iter().try_for_each(|group| output::line(&format!("{group} is not there")))?;
    }
    together(failures)
}
