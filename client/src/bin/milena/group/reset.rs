//! `milena group reset`: offsets of groups without members, set to where somebody says.
//!
//! What would be committed is worked out and shown; only `--execute` commits it. Strategies, bounds and words are those
//! of Kafka's tool, so that scripts can be moved over.

mod csv;
mod plan;
mod when;

use std::collections::BTreeSet;
use std::path::PathBuf;

use milena_client::admin::{Admin, ByPartition, GroupDescription, OffsetSpec};
use milena_client::consumer::PartitionKey;
use milena_protocol::ErrorCode;
use serde_json::json;

use super::scope::{self, TopicScope};
use crate::context::Context;
use crate::error::{Error, Result, together};
use crate::{output, progress, time};
use plan::{Facts, Planned, Strategy};

const NOTES: &str = "\
Without --execute nothing is changed: what would be committed is shown.
Offsets outside of a partition are moved to its nearest end, with a warning.
A file has lines TOPIC,PARTITION,OFFSET or GROUP,TOPIC,PARTITION,OFFSET.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Arguments {
    /// Ids of the groups
    #[arg(required_unless_present = "all_groups", value_name = "GROUP")]
    groups: Vec<String>,
    /// All consumer groups
    #[arg(long, conflicts_with = "groups")]
    all_groups: bool,
    #[command(flatten)]
    to: To,
    /// A topic, or some of its partitions as in orders:0,2; may be given again
    #[arg(long, value_name = "TOPIC[:LIST]", value_parser = scope::parse, conflicts_with_all = ["all_topics", "from_file"])]
    topic: Vec<TopicScope>,
    /// All partitions in which the group has committed something
    #[arg(long, conflicts_with = "from_file")]
    all_topics: bool,
    /// Only show what would be committed; so it is without --execute too
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
    /// Commit it
    #[arg(long)]
    execute: bool,
    /// Print it as --from-file reads it
    #[arg(long)]
    export: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct To {
    /// To the first record
    #[arg(long)]
    to_earliest: bool,
    /// Behind the last record
    #[arg(long)]
    to_latest: bool,
    /// To where the group is; where it has committed nothing, behind the last record
    #[arg(long)]
    to_current: bool,
    /// To this offset
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true)]
    to_offset: Option<i64>,
    /// So many records on, or back with -N
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// To the first record stamped so or later: 2026-11-21T10:00:00.000, in UTC or with an offset such as +02:00
    #[arg(long, value_name = "TIME", value_parser = when::datetime)]
    to_datetime: Option<i64>,
    /// To the first record that is at most so old: PT15M, P1DT6H, 15m, 7d
    #[arg(long, value_name = "DURATION", value_parser = when::duration, allow_hyphen_values = true)]
    by_duration: Option<i64>,
    /// To the offsets in this file
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

/// One offset of one group.
struct Move {
    group: String,
    topic: String,
    partition: i32,
    committed: Option<i64>,
    new: i64,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    if arguments.topic.is_empty() && !arguments.all_topics && arguments.to.from_file.is_none() {
        return Err(Error::Usage(
            "which topics? --topic names them, --all-topics takes all of the group".into(),
        ));
    }
    let strategy = arguments.to.strategy(&arguments.groups)?;
    let admin = context.connect().await?;
    let (groups, failures) = match arguments.all_groups {
        true => super::describe::consumer_groups(&admin).await?,
        false => (arguments.groups.clone(), Vec::new()),
    };
    let mut failures: Vec<Error> = failures.into_iter().map(Error::from).collect();
    let named = match arguments.topic.is_empty() {
        true => None,
        false => Some(scope::partitions(&admin, &arguments.topic).await?),
    };
    let inactive = inactive(&admin, &groups, &mut failures).await;
    let mut committed = progress::during("asking for offsets", admin.list_committed_offsets(&inactive)).await;
    let mut moves = Vec::new();
    for group in &inactive {
        let resetting = async {
            let committed = committed.remove(group).unwrap_or_else(|| Ok(ByPartition::new()))?;
            let mut offsets = ByPartition::new();
            for (key, offset) in committed {
                offsets.insert(key, offset?.offset);
            }
            let (committed, planned) = plan_for(&admin, &strategy, group, named.as_ref(), offsets).await?;
            planned.warnings.iter().for_each(|warning| eprintln!("warning: {}", output::visible(warning)));
            if planned.offsets.is_empty() {
                let group = output::visible(group);
                eprintln!("warning: group {group} has committed nothing: there is nothing to reset");
            }
            reset(&admin, group, &committed, planned, arguments.execute).await
        };
        match progress::during(&format!("resetting {group}"), resetting).await {
            Ok((done, failed)) => {
                moves.extend(done);
                failures.extend(failed.into_iter().map(Error::from));
            }
            Err(error) => failures.push(error),
        }
    }
    show(context, &arguments, &moves, failures.is_empty())?;
    together(failures)
}

impl To {
    fn strategy(&self, groups: &[String]) -> Result<Strategy> {
        Ok(match self {
            To { to_earliest: true, .. } => Strategy::Earliest,
            To { to_latest: true, .. } => Strategy::Latest,
            To { to_current: true, .. } => Strategy::Current,
            To { to_offset: Some(offset), .. } => Strategy::Offset(*offset),
            To { shift_by: Some(count), .. } => Strategy::Shift(*count),
            To { to_datetime: Some(timestamp), .. } => Strategy::Time(*timestamp),
            To { by_duration: Some(duration), .. } => {
                Strategy::Time(time::now_ms().saturating_sub(*duration))
            }
            To { from_file: Some(path), .. } => {
                let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
                let only = if let [only] = groups { Some(only.as_str()) } else { None };
                let plan = csv::parse(&text, only);
                Strategy::Plan(plan.map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?)
            }
            // The parser lets none of the others through.
            _ => Strategy::Current,
        })
    }
}

/// Groups without members, also those that are not there yet. Others are refused: their members would commit over it.
async fn inactive(admin: &Admin, groups: &[String], failures: &mut Vec<Error>) -> Vec<String> {
    let described = progress::during("asking for the groups", admin.describe_groups(groups)).await;
    let mut inactive = Vec::new();
    for (group, described) in described {
        match described {
            Ok(group) if !group.is_inactive() => failures.push(active(&group)),
            Err(error) if error.code() != Some(ErrorCode::GroupIdNotFound) => failures.push(error.into()),
            Ok(_) | Err(_) => inactive.push(group),
        }
    }
    inactive
}

fn active(group: &GroupDescription) -> Error {
    let GroupDescription { group_id, state, .. } = group;
    Error::Failed {
        message: format!(
            "assignments can only be reset if the group '{group_id}' is inactive, but the current state is {state}"
        ),
        hint: Some("stop the members first: `milena group describe GROUP --members` shows them"),
    }
}

/// What is to be committed for a group, and what it has committed.
async fn plan_for(
    admin: &Admin,
    strategy: &Strategy,
    group: &str,
    named: Option<&BTreeSet<PartitionKey>>,
    committed: ByPartition<i64>,
) -> Result<(ByPartition<i64>, Planned)> {
    let partitions: BTreeSet<PartitionKey> = match (strategy, named) {
        (Strategy::Plan(plan), _) => {
            let no_plan =
                || Error::Failed { message: format!("no reset plan for group {group} found"), hint: None };
            plan.get(group).ok_or_else(no_plan)?.keys().cloned().collect()
        }
        (_, Some(named)) => named.clone(),
        (_, None) => committed.keys().cloned().collect(),
    };
    scope::check(admin, &partitions).await?;
    let mut facts = Facts { committed, ..Facts::default() };
    facts.start = look_up(admin, &partitions, OffsetSpec::Earliest).await?;
    facts.end = look_up(admin, &partitions, OffsetSpec::Latest).await?;
    if let Strategy::Time(timestamp) = strategy {
        // Numbers below 0 mean something else to a broker, and no record is that old.
        facts.at_time = look_up(admin, &partitions, OffsetSpec::At((*timestamp).max(0))).await?;
    }
    let failed = |message| Error::Failed { message, hint: None };
    let planned = plan::plan(strategy, group, &partitions, &facts).map_err(failed)?;
    Ok((facts.committed, planned))
}

/// Partitions without such an offset are left out.
async fn look_up(
    admin: &Admin,
    partitions: &BTreeSet<PartitionKey>,
    spec: OffsetSpec,
) -> Result<ByPartition<i64>> {
    let wanted = partitions.iter().map(|key| (key.clone(), spec)).collect();
    let mut found = ByPartition::new();
    for (key, listed) in admin.list_offsets_of(&wanted, false).await {
        if let Some(offset) = listed?.offset {
            found.insert(key, offset);
        }
    }
    Ok(found)
}

type Outcome = (Vec<Move>, Vec<milena_client::Error>);

/// Commits a plan, or does not. Gives what is or would be committed, and what failed.
async fn reset(
    admin: &Admin,
    group: &str,
    committed: &ByPartition<i64>,
    planned: Planned,
    execute: bool,
) -> Result<Outcome> {
    let mut offsets = planned.offsets;
    let results = match execute && !offsets.is_empty() {
        true => admin.alter_committed_offsets(group, &offsets).await?,
        false => offsets.keys().map(|key| (key.clone(), Ok(()))).collect(),
    };
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (key, result) in results {
        let new = match (result, offsets.remove(&key)) {
            (Ok(()), Some(new)) => new,
            (Err(error), _) => {
                failed.push(error);
                continue;
            }
            (Ok(()), None) => continue,
        };
        let before = committed.get(&key).copied();
        let (topic, partition) = key;
        done.push(Move { group: group.to_owned(), topic, partition, committed: before, new });
    }
    Ok((done, failed))
}

fn show(context: &Context, arguments: &Arguments, moves: &[Move], is_whole: bool) -> Result<()> {
    if arguments.export {
        let has_groups = arguments.groups.len() != 1;
        let lines = moves.iter().map(|each| {
            let group = has_groups.then_some(each.group.as_str());
            csv::line(group, &each.topic, each.partition, each.new)
        });
        return output::write(lines.collect::<String>().as_bytes());
    }
    if context.is_json() {
        if is_whole || !moves.is_empty() {
            output::json(&moves.iter().map(|each| as_json(each, arguments.execute)).collect::<Vec<_>>())?;
        }
    } else if !moves.is_empty() {
        let rows = moves.iter().map(row).collect::<Vec<_>>();
        output::table(&["GROUP", "TOPIC", "PARTITION", "COMMITTED", "NEW"], &rows)?;
    }
    if !arguments.execute && !moves.is_empty() {
        eprintln!("nothing was changed; --execute commits these offsets");
    }
    Ok(())
}

fn as_json(each: &Move, executed: bool) -> serde_json::Value {
    json!({
        "group": each.group,
        "topic": each.topic,
        "partition": each.partition,
        "committed_offset": each.committed,
        "new_offset": each.new,
        "outcome": if executed { "committed" } else { "planned" },
    })
}

fn row(each: &Move) -> Vec<String> {
    vec![
        each.group.clone(),
        each.topic.clone(),
        each.partition.to_string(),
        output::or_dash(each.committed),
        each.new.to_string(),
    ]
}
