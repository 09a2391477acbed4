//! `milena cluster drain|undrain`: a broker leads nothing, or its share again.
//!
//! Both work with what every Kafka cluster has: the order of replicas is changed (AlterPartitionReassignments with the same
//! replicas, which moves no records), and the new first ones are elected (ElectLeaders). What is created later, or elected
//! because others die, may be led by a drained broker all the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_client::admin::{Admin, ByPartition, Election};
use milena_client::cluster::Topic;
use milena_protocol::ErrorCode;
use serde_json::json;

use super::leadership::{self, Change};
use crate::context::Context;
use crate::error::{Error, Result, together};
use crate::{output, progress};

/// Partitions of one request, so that none becomes a metadata change that is too large.
const PARTITIONS_MAX: usize = 500;

/// Elections are done when they are answered; other brokers hear of them a moment later.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(10);
const SETTLE_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Id of the broker
    #[arg(value_name = "BROKER")]
    broker: i32,
    /// Shows what would be changed, and changes nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn drain(context: &Context, arguments: &Arguments) -> Result<()> {
    let broker = arguments.broker;
    let (admin, topics) = ask(context, broker).await?;
    let (changes, stuck) = leadership::without(topics.iter().map(Arc::as_ref), broker);
    let outcome = reorder(&admin, changes, arguments.dry_run).await?;
    let mut failures = outcome.failures;
    let mut led = led_by(&topics, broker);
    let mut left = led.len();
    led.retain(|partition| !stuck.contains(partition));
    failures.extend(stuck.into_iter().map(|(topic, index)| Error::Failed {
        message: format!("{topic}-{index} stays: no other replica is in sync"),
        hint: Some("a partition needs another replica in sync, to lead it"),
    }));
    if !arguments.dry_run {
        failures.extend(elect(&admin, led).await?);
        left = settled(&admin, broker, failures.len()).await?;
    }
    show(context, broker, &outcome.changed, left, arguments.dry_run)?;
    together(failures)
}

pub async fn undrain(context: &Context, arguments: &Arguments) -> Result<()> {
    let broker = arguments.broker;
    let (admin, topics) = ask(context, broker).await?;
    let changes = leadership::shared_with(topics.iter().map(Arc::as_ref), broker);
    let outcome = reorder(&admin, changes, arguments.dry_run).await?;
    let mut failures = outcome.failures;
    let mut leads = count_led(&topics, broker);
    if !arguments.dry_run {
        // Where it is not in sync yet it is elected later, by the periodic balance of leaders.
        let ready = outcome.changed.iter().filter(|change| change.is_in_sync);
        failures.extend(
            elect(&admin, ready.map(|change| (change.topic.clone(), change.partition)).collect()).await?,
        );
        leads = count_led(&admin.list_topics().await?, broker);
    }
    show(context, broker, &outcome.changed, leads, arguments.dry_run)?;
    together(failures)
}

async fn ask(context: &Context, broker: i32) -> Result<(Admin, Vec<Arc<Topic>>)> {
    let admin = context.connect().await?;
    let asked = async {
        let brokers = admin.describe_brokers().await?;
        Ok::<_, milena_client::Error>((brokers, admin.list_topics().await?))
    };
    let (brokers, topics) = progress::during("asking for the cluster", asked).await?;
    if brokers.iter().any(|registered| registered.broker.id == broker) {
        return Ok((admin, topics));
    }
    let message = format!("broker {broker} is not in the cluster");
    Err(Error::Failed { message, hint: Some("`milena cluster status` shows the brokers") })
}

struct Reordered {
    changed: Vec<Change>,
    failures: Vec<Error>,
}

/// Changes the order of replicas. Partitions that move already are left alone: a new order would end the move.
async fn reorder(admin: &Admin, changes: Vec<Change>, dry_run: bool) -> Result<Reordered> {
    let moving: BTreeSet<(String, i32)> = if changes.is_empty() {
        BTreeSet::new()
    } else {
        admin.list_partition_reassignments(None).await?.into_keys().collect()
    };
    let is_moving = |change: &Change| moving.contains(&(change.topic.clone(), change.partition));
    let (busy, changes): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_moving);
    let mut failures: Vec<Error> = busy.iter().map(being_reassigned).collect();
    let mut changed = Vec::with_capacity(changes.len());
    for changes in changes.chunks(PARTITIONS_MAX) {
        if dry_run {
            changed.extend_from_slice(changes);
            continue;
        }
        let targets: ByPartition<Option<Vec<i32>>> = changes
            .iter()
            .map(|change| ((change.topic.clone(), change.partition), Some(change.replicas.clone())))
            .collect();
        let asked = admin.alter_partition_reassignments(&targets);
        let mut results = progress::during("changing preferred leaders", asked).await?;
        for change in changes {
            match results.remove(&(change.topic.clone(), change.partition)) {
                Some(Err(error)) => failures.push(error.into()),
                Some(Ok(())) | None => changed.push(change.clone()),
            }
        }
    }
    Ok(Reordered { changed, failures })
}

fn being_reassigned(change: &Change) -> Error {
    Error::Failed {
        message: format!("{}-{} is being reassigned", change.topic, change.partition),
        hint: Some("try again when that is done"),
    }
}

/// Elects the preferred replicas; the errors of those that could not be.
async fn elect(admin: &Admin, partitions: Vec<(String, i32)>) -> Result<Vec<Error>> {
    let mut failures = Vec::new();
    for partitions in partitions.chunks(PARTITIONS_MAX) {
        let partitions: BTreeSet<_> = partitions.iter().cloned().collect();
        let asked = admin.elect_leaders(Election::Preferred, Some(&partitions));
        let results = progress::during("electing leaders", asked).await?;
        let failed = results.into_values().filter_map(Result::err);
        // Who leads already need not be elected.
        let failed = failed.filter(|error| error.code() != Some(ErrorCode::ElectionNotNeeded));
        failures.extend(failed.map(Error::from));
    }
    Ok(failures)
}

/// Waits until a broker leads no more than the partitions that could not be moved; what it leads then.
async fn settled(admin: &Admin, broker: i32, stuck: usize) -> Result<usize> {
    let began = Instant::now();
    loop {
        let left = count_led(&admin.list_topics().await?, broker);
        if left <= stuck || began.elapsed() >= SETTLE_TIME_MAX {
            return Ok(left);
        }
        tokio::time::sleep(SETTLE_PAUSE).await;
    }
}

fn led_by(topics: &[Arc<Topic>], broker: i32) -> Vec<(String, i32)> {
    let led = topics.iter().flat_map(|topic| {
        let led = topic.partitions.iter().filter(|partition| partition.leader == Some(broker));
        led.map(|partition| (topic.name.clone(), partition.index))
    });
    led.collect()
}

fn count_led(topics: &[Arc<Topic>], broker: i32) -> usize {
    led_by(topics, broker).len()
}

fn show(context: &Context, broker: i32, changed: &[Change], leads: usize, dry_run: bool) -> Result<()> {
    if context.is_json() {
        let partitions = changed.iter().map(|change| {
            json!({ "topic": change.topic, "partition": change.partition, "leader": change.leader, "replicas": change.replicas })
        });
        return output::json(&json!({
            "broker": broker,
            "leads": leads,
            "changed": !dry_run,
            "partitions": partitions.collect::<Vec<_>>(),
        }));
    }
    if !changed.is_empty() {
        let rows = changed.iter().map(|change| {
            vec![
                change.topic.clone(),
                change.partition.to_string(),
                output::or_dash(change.leader),
                output::joined(&change.replicas),
            ]
        });
        output::table(&["TOPIC", "PARTITION", "LED BY", "REPLICAS"], &rows.collect::<Vec<_>>())?;
    }
    if dry_run {
        eprintln!("nothing was changed; broker {broker} leads {leads} partitions");
    } else {
        eprintln!("broker {broker} leads {leads} partitions");
    }
    Ok(())
}
