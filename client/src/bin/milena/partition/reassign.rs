//! `milena partition reassign`: replicas of partitions on other brokers.
//!
//! What would move is worked out and shown; only `--execute` begins it. The cluster then moves the records by itself:
//! new replicas are added, and when all of the target are in sync the others go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use milena_client::admin::{Admin, ByPartition, Reassignment};
use milena_client::consumer::PartitionKey;
use milena_protocol::ErrorCode;
use serde_json::json;

use super::directories::{self, Place};
use super::plan::{self, Plan};
use super::throttle::{self, Move};
use crate::context::Context;
use crate::error::{Error, Result, together};
use crate::group::scope::{self, TopicScope};
use crate::{output, progress, text};

/// How often `--wait` asks.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Polls after which a reassignment that nobody shows is gone. The broker that is asked may be a little behind.
const BEHIND_POLLS_MAX: u32 = 20;

const NOTES: &str = "\
Without a plan it shows what is under way.
Without --execute nothing is changed: what would move is shown.
A plan is a file as kafka-reassign-partitions reads it; --export prints one of what there is now, to go back to.
With log_dirs in it replicas also move between the log directories of their brokers.
--throttle bounds what each broker gives and copies; replicas in sync are never slowed. It lasts until it is removed:
by --wait at its end, by --verify once all is moved, or by --cancel. Again with --execute it changes the rate.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Arguments {
    /// A file with the replicas that partitions are to have
    #[arg(value_name = "PLAN", conflicts_with_all = ["topic", "brokers"])]
    plan: Option<PathBuf>,
    /// A topic to spread over --brokers, or some of its partitions as in orders:0,2; may be given again
    #[arg(long, value_name = "TOPIC[:LIST]", value_parser = scope::parse, requires = "brokers")]
    topic: Vec<TopicScope>,
    /// Brokers that are to have the replicas of --topic, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = text::at_least::<i32, 0>, requires = "topic")]
    brokers: Vec<i32>,
    #[command(flatten)]
    action: Action,
    /// With --execute, until all is moved
    #[arg(long, requires = "execute")]
    wait: bool,
    /// With --execute, bytes per second that each broker copies to new replicas, and gives to them, at most
    #[arg(long, value_name = "BYTES", requires = "execute", value_parser = text::at_least::<i64, 1>)]
    throttle: Option<i64>,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Action {
    /// Begin it
    #[arg(long)]
    execute: bool,
    /// Show how far it is; exit code 1 when it is not complete
    #[arg(long, requires = "plan")]
    verify: bool,
    /// Take back what of the plan is under way
    #[arg(long, requires = "plan")]
    cancel: bool,
    /// Print the plan that --topic and --brokers come to; of a file, what there is now instead of it
    #[arg(long)]
    export: bool,
}

/// One partition of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    now: Vec<i32>,
    target: Vec<i32>,
    isr: Vec<i32>,
    ongoing: Option<Reassignment>,
}

type Steps = BTreeMap<PartitionKey, Step>;

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let from_file = arguments.plan.as_deref().map(read).transpose()?;
    let acts = arguments.action.execute || arguments.action.export;
    if acts && from_file.is_none() && arguments.topic.is_empty() {
        return Err(Error::Usage("a PLAN, or --topic and --brokers, is needed".to_owned()));
    }
    let admin = context.connect().await?;
    let is_file = from_file.is_some();
    let plan = match from_file {
        Some(plan) => plan,
        None if arguments.topic.is_empty() => return list(context, &admin).await,
        None => made(&admin, &arguments.topic, &arguments.brokers).await?,
    };
    let steps = progress::during("asking for partitions", steps(&admin, &plan)).await?;
    let action = &arguments.action;
    match () {
        () if action.export && is_file => {
            let places = directories::places(&admin, &plan.directories).await?;
            output::line(&plan::text(&before(&steps, &places)))
        }
        () if action.export => output::line(&plan::text(&plan)),
        () if action.verify => verify(context, &admin, (&steps, &plan)).await,
        () if action.cancel => cancel(context, &admin, (&steps, &plan)).await,
        () if action.execute => {
            if let Some(bytes_per_second) = arguments.throttle {
                let moves = steps.iter().map(|(key, step)| (key.clone(), step.movement())).collect();
                let setting = throttle::set(&admin, moves, bytes_per_second);
                progress::during("setting the throttle", setting).await?;
            }
            execute(context, &admin, (&steps, &plan), (arguments.wait, arguments.throttle)).await
        }
        () => {
            show(context, &steps, &directories::places(&admin, &plan.directories).await?)?;
            if !context.is_json() {
                output::line("nothing was changed; --execute begins it")?;
            }
            Ok(())
        }
    }
}

fn read(path: &Path) -> Result<Plan> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
    plan::parse(&text).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
}

/// The plan that topics and brokers come to.
async fn made(admin: &Admin, topics: &[TopicScope], brokers: &[i32]) -> Result<Plan> {
    let wanted: BTreeSet<i32> = brokers.iter().copied().collect();
    let known = admin.describe_cluster().await?.brokers;
    let racks: Vec<(i32, Option<String>)> = known
        .into_iter()
        .filter(|broker| wanted.contains(&broker.id))
        .map(|broker| (broker.id, broker.rack))
        .collect();
    if let Some(absent) = wanted.iter().find(|id| !racks.iter().any(|(known, _)| known == *id)) {
        let hint = Some("`milena cluster info` shows the brokers");
        return Err(Error::Failed { message: format!("there is no broker {absent}"), hint });
    }
    let mut present = ByPartition::new();
    for key in scope::partitions(admin, topics).await? {
        let topic = admin.cluster().topic(&key.0, false).await?;
        let count = topic.partition(key.1)?.replicas.len();
        if count > racks.len() {
            let message = format!("{}-{} has {count} replicas: name as many brokers", key.0, key.1);
            return Err(Error::Failed { message, hint: None });
        }
        present.insert(key, count);
    }
    Ok(Plan { replicas: plan::spread(&present, &racks), ..Plan::default() })
}

async fn steps(admin: &Admin, plan: &Plan) -> Result<Steps> {
    let keys: BTreeSet<PartitionKey> = plan.replicas.keys().cloned().collect();
    let mut ongoing = admin.list_partition_reassignments(Some(&keys)).await?;
    let mut steps = Steps::new();
    for (key, target) in &plan.replicas {
        let topic = match steps.keys().next_back() {
            Some((last, _)) if *last == key.0 => admin.cluster().topic(&key.0, false).await?,
            _ => admin.describe_topic(&key.0).await?,
        };
        let partition = topic.partition(key.1)?;
        let step = Step {
            now: partition.replicas.clone(),
            target: target.clone(),
            isr: partition.isr.clone(),
            ongoing: ongoing.remove(key),
        };
        steps.insert(key.clone(), step);
    }
    Ok(steps)
}

/// The plan that leads back.
fn before(steps: &Steps, places: &[Place]) -> Plan {
    let replicas = steps.iter().map(|(key, step)| (key.clone(), step.before())).collect();
    let mut before = Plan { replicas, ..Plan::default() };
    for place in places {
        if let (Some(now), true) = (&place.now, steps.contains_key(&place.key)) {
            before.directories.entry(place.broker).or_default().insert(place.key.clone(), now.clone());
        }
    }
    before
}

impl Step {
    /// The replicas without what is under way.
    fn before(&self) -> Vec<i32> {
        let adding = self.ongoing.as_ref().map_or(&[][..], |ongoing| &ongoing.adding);
        self.now.iter().copied().filter(|id| !adding.contains(id)).collect()
    }

    fn movement(&self) -> Move {
        Move::new(self.before(), &self.target)
    }

    fn state(&self) -> State {
        match &self.ongoing {
            Some(ongoing) if leads_to(ongoing, &self.target) => State::Moving,
            Some(_) => State::MovingElsewhere,
            None if self.now == self.target => State::Complete,
            None => State::NotBegun,
        }
    }
}

/// Whether the replicas that stay are those of the target.
fn leads_to(ongoing: &Reassignment, target: &[i32]) -> bool {
    ongoing.replicas.iter().filter(|id| !ongoing.removing.contains(id)).eq(target)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Complete,
    Moving,
    /// To other replicas, or another directory, than the plan says.
    MovingElsewhere,
    NotBegun,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            State::Complete => "complete",
            State::Moving => "moving",
            State::MovingElsewhere => "moving elsewhere",
            State::NotBegun => "not begun",
        }
    }
}

fn show(context: &Context, steps: &Steps, places: &[Place]) -> Result<()> {
    if context.is_json() {
        let partitions = steps.iter().map(|(key, step)| {
            let own = places.iter().filter(|place| place.key == *key).map(Place::as_json);
            json!({
                "topic": key.0,
                "partition": key.1,
                "replicas": step.now,
                "target": step.target,
                "isr": step.isr,
                "state": step.state().name(),
                "directories": own.collect::<Vec<_>>(),
            })
        });
        return output::json(&partitions.collect::<Vec<_>>());
    }
    let rows = steps.iter().map(|((topic, partition), step)| {
        vec![
            topic.clone(),
            partition.to_string(),
            output::joined(&step.now),
            output::joined(&step.target),
            output::joined(&step.isr),
            step.state().name().to_owned(),
        ]
    });
    let headers = ["TOPIC", "PARTITION", "REPLICAS", "TARGET", "ISR", "STATE"];
    output::table(&headers, &rows.collect::<Vec<_>>())?;
    if places.is_empty() {
        return Ok(());
    }
    output::line("")?;
    directories::show(places)
}

async fn list(context: &Context, admin: &Admin) -> Result<()> {
    let asking = admin.list_partition_reassignments(None);
    let ongoing = progress::during("asking for reassignments", asking).await?;
    if context.is_json() {
        let partitions = ongoing.iter().map(|((topic, partition), reassignment)| {
            json!({
                "topic": topic,
                "partition": partition,
                "replicas": reassignment.replicas,
                "adding": reassignment.adding,
                "removing": reassignment.removing,
            })
        });
        return output::json(&partitions.collect::<Vec<_>>());
    }
    if ongoing.is_empty() {
        return output::line("no partition is being reassigned");
    }
    let rows = ongoing.iter().map(|((topic, partition), reassignment)| {
        let of = |ids: &[i32]| if ids.is_empty() { "-".to_owned() } else { output::joined(ids) };
        let Reassignment { replicas, adding, removing } = reassignment;
        vec![topic.clone(), partition.to_string(), of(replicas), of(adding), of(removing)]
    });
    output::table(&["TOPIC", "PARTITION", "REPLICAS", "ADDING", "REMOVING"], &rows.collect::<Vec<_>>())
}

async fn verify(context: &Context, admin: &Admin, (steps, plan): (&Steps, &Plan)) -> Result<()> {
    let places = directories::places(admin, &plan.directories).await?;
    show(context, steps, &places)?;
    let is_left = |key: &PartitionKey, step: &Step| {
        let mut own = places.iter().filter(|place| place.key == *key);
        step.state() != State::Complete || own.any(|place| place.state() != State::Complete)
    };
    let left = steps.iter().filter(|(key, step)| is_left(key, step)).count();
    if left == 0 {
        return remove_throttle(context, admin, steps).await;
    }
    let message = format!("{left} of {} partitions are not where the plan wants them", steps.len());
    Err(Error::Failed { message, hint: None })
}

/// What was throttled for these partitions is not any more. The rates are those of whole brokers, so while other
/// partitions move everything stays as it is, as with Kafka's tool.
async fn remove_throttle(context: &Context, admin: &Admin, steps: &Steps) -> Result<()> {
    let ongoing =
        progress::during("looking for reassignments", admin.list_partition_reassignments(None)).await?;
    let others = ongoing.keys().filter(|key| !steps.contains_key(*key)).count();
    if others > 0 {
        let stays = format!("{others} other partitions still move, so throttles stay as they are");
        return if context.is_json() { Ok(()) } else { output::line(&stays) };
    }
    let removing = throttle::remove(admin, steps.keys());
    let were_any = progress::during("looking for throttles", removing).await?;
    if were_any && !context.is_json() { output::line("the throttle was removed") } else { Ok(()) }
}

async fn execute(
    context: &Context,
    admin: &Admin,
    (steps, plan): (&Steps, &Plan),
    (wait, throttle): (bool, Option<i64>),
) -> Result<()> {
    let places = directories::places(admin, &plan.directories).await?;
    let has = |key: &PartitionKey, broker| steps.get(key).is_some_and(|step| step.now.contains(&broker));
    directories::announce(admin, &plan.directories, has).await;
    let targets = steps.iter().map(|(key, step)| (key.clone(), Some(step.target.clone()))).collect();
    let beginning = admin.alter_partition_reassignments(&targets);
    let results = progress::during("reassigning partitions", beginning).await?;
    let (done, mut failures) = parted(results);
    let wanted = directories::only(&plan.directories, &done);
    let beginning = directories::begin(admin, &wanted);
    let (directories, others) = progress::during("moving between directories", beginning).await;
    failures.extend(others);
    let begun: Steps = done.iter().filter_map(|key| Some((key.clone(), steps.get(key)?.clone()))).collect();
    let replicas = begun.iter().map(|(key, step)| (key.clone(), step.target.clone())).collect();
    let moving = Plan { replicas, directories };
    if throttle.is_some() && begun.is_empty() {
        remove_throttle(context, admin, steps).await?;
    }
    if wait && !begun.is_empty() {
        let title = format!("{} partitions move", begun.len());
        let (moved, places) = progress::during(&title, until_moved(admin, &moving)).await?;
        show(context, &moved, &places)?;
        if throttle.is_some() {
            remove_throttle(context, admin, steps).await?;
        }
        return together(failures);
    }
    say(context, &done, "moving", "is moving")?;
    if !context.is_json() && !begun.is_empty() {
        output::line(&format!("the way back: {}", plan::text(&before(&begun, &places))))?;
        if let Some(bytes_per_second) = throttle {
            output::line(&format!(
                "{bytes_per_second} bytes per second at most, until --verify removes that"
            ))?;
        }
    }
    together(failures)
}

/// Errors: a reassignment, or a move between directories, that somebody took back or replaced meanwhile, or that a broker
/// gave up.
async fn until_moved(admin: &Admin, plan: &Plan) -> Result<(Steps, Vec<Place>)> {
    let mut polls_without = 0;
    loop {
        let steps = steps(admin, plan).await?;
        let places = directories::places(admin, &plan.directories).await?;
        let states = || {
            let of_places = places.iter().map(|place| (&place.key, place.state()));
            steps.iter().map(|(key, step)| (key, step.state())).chain(of_places)
        };
        let of = |wanted: State| states().find(|(_, state)| *state == wanted).map(|(key, _)| key);
        if states().all(|(_, state)| state == State::Complete) {
            return Ok((steps, places));
        }
        polls_without = if of(State::NotBegun).is_some() { polls_without + 1 } else { 0 };
        let lost = of(State::MovingElsewhere)
            .or_else(|| of(State::NotBegun).filter(|_| polls_without > BEHIND_POLLS_MAX));
        if let Some((topic, partition)) = lost {
            let message = format!("{topic}-{partition} is not moved there any more");
            return Err(Error::Failed {
                message,
                hint: Some("`milena partition reassign` shows what is under way"),
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn cancel(context: &Context, admin: &Admin, (steps, plan): (&Steps, &Plan)) -> Result<()> {
    let targets = steps.keys().map(|key| (key.clone(), None)).collect();
    let cancelling = admin.alter_partition_reassignments(&targets);
    let results = progress::during("taking reassignments back", cancelling).await?;
    let (mut done, mut failures) = parted(results);
    // What is not under way needs no taking back.
    failures.retain(|error| error.code() != Some(ErrorCode::NoReassignmentInProgress));
    done.retain(|key| steps.get(key).is_some_and(|step| step.ongoing.is_some()));
    say(context, &done, "cancelled", "goes back to its replicas")?;
    if failures.is_empty() {
        remove_throttle(context, admin, steps).await?;
    }
    // Last: a broker that does not answer keeps nobody from taking the rest back.
    let (stay, others) = directories::end(admin, &plan.directories).await?;
    failures.extend(others);
    if !context.is_json() {
        for Place { key: (topic, partition), broker, now, .. } in &stay {
            let at = now.as_deref().unwrap_or_default();
            output::line(&format!("{topic}-{partition} stays in {at} on broker {broker}"))?;
        }
    }
    together(failures)
}

fn parted(
    results: ByPartition<Result<(), milena_client::Error>>,
) -> (Vec<PartitionKey>, Vec<milena_client::Error>) {
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for (key, result) in results {
        match result {
            Ok(()) => done.push(key),
            Err(error) => failures.push(error),
        }
    }
    (done, failures)
}

fn say(context: &Context, done: &[PartitionKey], outcome: &str, verb: &str) -> Result<()> {
    if context.is_json() {
        let partitions = done
            .iter()
            .map(|(topic, partition)| json!({ "topic": topic, "partition": partition, "outcome": outcome }));
        return output::json(&partitions.collect::<Vec<_>>());
    }
    if done.is_empty() {
        return Ok(());
    }
    done.iter().try_for_each(|(topic, partition)| output::line(&format!("{topic}-{partition} {verb}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(now: &[i32], target: &[i32], ongoing: Option<(&[i32], &[i32])>) -> Step {
        let ongoing = ongoing.map(|(adding, removing)| Reassignment {
            replicas: now.to_vec(),
            adding: adding.to_vec(),
            removing: removing.to_vec(),
        });
        Step { now: now.to_vec(), target: target.to_vec(), isr: vec![], ongoing }
    }

    #[test]
    fn states_say_how_far_it_is() {
        for (step, state) in [
            (step(&[1, 2], &[1, 2], None), State::Complete),
            (step(&[2, 1], &[1, 2], None), State::NotBegun),
            (step(&[3, 2, 1], &[3, 2], Some((&[3], &[1]))), State::Moving),
            (step(&[4, 2, 1], &[3, 2], Some((&[4], &[1]))), State::MovingElsewhere),
        ] {
            assert_eq!(step.state(), state, "{step:?}");
        }
    }

    #[test]
    fn the_way_back_is_without_what_is_being_added() {
        assert_eq!(step(&[3, 4, 1, 2], &[3, 4], Some((&[3, 4], &[1, 2]))).before(), [1, 2]);
        assert_eq!(step(&[1, 2], &[3, 4], None).before(), [1, 2]);
    }
}
