//! `milena group describe`: offsets and lag, members, or the state.

mod members;
mod offsets;
mod state;

use std::collections::BTreeSet;

use milena_client::Error as ClientError;
use milena_client::admin::{Admin, GroupDescription};

use crate::context::Context;
use crate::error::{Result, together};
use crate::{output, progress};

const NOTES: &str = "\
LAG is records between what is committed and the end, SECONDS the age of the
first record that is not consumed: 0 when there is none, - where it cannot be
known. It is read from the partition, of the first 1000 that have a lag.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Arguments {
    /// Ids of the groups
    #[arg(required_unless_present = "all", value_name = "GROUP")]
    groups: Vec<String>,
    /// All consumer groups
    #[arg(long, conflicts_with = "groups")]
    all: bool,
    #[command(flatten)]
    view: View,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct View {
    /// Committed offsets, ends and lag by partition, and who consumes them (the default)
    #[arg(long)]
    offsets: bool,
    /// Members and what is assigned to them
    #[arg(long)]
    members: bool,
    /// State, coordinator, assignor and number of members
    #[arg(long)]
    state: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let admin = context.connect().await?;
    let (groups, mut failures) = match arguments.all {
        true => consumer_groups(&admin).await?,
        false => (arguments.groups, Vec::new()),
    };
    let describing = admin.describe_groups(&groups);
    let mut described = progress::during("asking for the groups", describing).await;
    // In the order in which they were asked for.
    let mut known = Vec::new();
    for group in groups.iter().collect::<BTreeSet<_>>() {
        match described.remove(group) {
            Some(Ok(group)) => known.push(group),
            Some(Err(error)) => failures.push(error),
            None => {}
        }
    }
    known.iter().filter_map(remark).for_each(|remark| eprintln!("{}", output::visible(&remark)));
    // A table without groups says nothing, and a list without any is what --all asked for.
    if !known.is_empty() || (arguments.all && failures.is_empty()) {
        match arguments.view {
            View { members: true, .. } => members::show(context, &known)?,
            View { state: true, .. } => state::show(context, &known)?,
            _ => failures.extend(offsets::show(context, &admin, &known).await?),
        }
    }
    together(failures)
}

/// Groups that have to do with consumers, and the brokers that could not say which they have. Others, as Connect's, use
/// a protocol of their own and commit nothing.
pub(super) async fn consumer_groups(admin: &Admin) -> Result<(Vec<String>, Vec<ClientError>)> {
    let listed = progress::during("asking for the groups", admin.list_groups(&[], &[])).await?;
    let is_of_consumers = |protocol: &str| matches!(protocol, "consumer" | "");
    let groups = listed.groups.into_iter().filter(|group| is_of_consumers(&group.protocol_type));
    Ok((groups.map(|group| group.group_id).collect(), listed.failures))
}

/// What whoever reads the table should know about it.
fn remark(group: &GroupDescription) -> Option<String> {
    match group.state.as_str() {
        "Empty" => Some(format!("group {} has no active members", group.group_id)),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            Some(format!("group {} is rebalancing", group.group_id))
        }
        _ => None,
    }
}
