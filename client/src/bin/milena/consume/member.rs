//! `milena consume --group`: records as a member of a consumer group.
//!
//! What was written to standard output is committed, and where partitions began: at intervals, before partitions are given
//! up, and at the end, also after Ctrl-C or SIGTERM. So a crash repeats records and loses none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use milena_client::Error as ClientError;
use milena_client::admin::Admin;
use milena_client::config::GroupConfig;
use milena_client::consumer::{Fetched, PartitionKey};
use milena_client::group::{Assignor, CommitOffset, CommitOffsets, Event, GroupConsumer};
use milena_protocol::ErrorCode;
use tokio::time::{Instant, sleep_until};

use super::position::Position;
use super::printer::Printer;
use super::range::{self, Bounds, Times};
use super::{Arguments, PREFERRED, formatter};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::progress;

/// Heartbeats that a member without partitions waits for a cooperative group to give it some: whoever has to give them up
/// does so, and begins the round that brings them, within one.
const HEARTBEATS_FOR_A_SHARE: u32 = 3;

pub async fn run(
    context: &Context,
    arguments: Arguments,
    group_id: String,
    mut interrupt: Interrupt,
) -> Result<()> {
    let until_end = until_end(&arguments)?;
    let mut preferred = PREFERRED.to_vec();
    preferred.push(("auto.offset.reset", if until_end { "earliest" } else { "latest" }));
    let reset = match arguments.from {
        Some(Position::Beginning) => Some("earliest".to_owned()),
        Some(Position::End) => Some("latest".to_owned()),
        _ => None,
    };
    let said = [
        ("group.id", Some(group_id)),
        ("group.instance.id", arguments.group_instance_id.clone()),
        ("isolation.level", arguments.committed.then(|| "read_committed".to_owned())),
        ("auto.offset.reset", reset),
    ];
    let settings = context.settings(&preferred, &said)?;
    let formatter = formatter(context, &arguments)?;
    let admin = context.connect_with(settings.client).await?;
    for topic in &arguments.topics {
        progress::during("looking up topics", admin.describe_topic(topic)).await?;
    }
    let (check_crc, read_committed) = (settings.consumer.check_crcs, settings.consumer.read_committed);
    let commit_interval = settings.group.enable_auto_commit.then_some(settings.group.auto_commit_interval);
    // What was printed is committed, not what was fetched.
    let group = GroupConfig { enable_auto_commit: false, ..settings.group };
    let patience = HEARTBEATS_FOR_A_SHARE * group.heartbeat_interval;
    let mut consumer = GroupConsumer::new(admin.cluster().clone(), settings.consumer, group)?;
    consumer.subscribe(arguments.topics.iter().cloned());
    let mut member = Member {
        admin,
        consumer,
        printer: Printer::new(formatter, Times::default(), arguments.count, check_crc),
        from: arguments.from,
        until_end,
        read_committed,
        commit_interval,
        commit_due: Instant::now(),
        printed: CommitOffsets::new(),
        unseen: BTreeSet::new(),
        stops: HashMap::new(),
        share: Share::Open,
        patience,
    };
    let outcome = member.until_done(&mut interrupt).await;
    member.end(outcome).await
}

/// Whether to end where the topics end now.
///
/// Errors: usage, for options that make no sense in a group.
fn until_end(arguments: &Arguments) -> Result<bool> {
    if !arguments.partition.is_empty() {
        return Err(Error::Usage(
            "--partition does not go with --group: the group shares them out".to_owned(),
        ));
    }
    if arguments.to.is_some_and(|to| to != Position::End) {
        let reason = "with --group, --to can only be end: the group goes on where it ended";
        return Err(Error::Usage(reason.to_owned()));
    }
    Ok(!arguments.follow)
}

struct Member {
    admin: Admin,
    consumer: GroupConsumer,
    printer: Printer,
    /// Where partitions begin of which nothing was committed.
    from: Option<Position>,
    until_end: bool,
    read_committed: bool,
    /// None to commit nothing.
    commit_interval: Option<Duration>,
    commit_due: Instant,
    /// Next offsets of what was printed and is not committed.
    printed: CommitOffsets,
    /// Partitions of which nothing came yet. Where they begin is committed too: the next member must not begin behind
    /// what is written meanwhile.
    unseen: BTreeSet<PartitionKey>,
    /// Where partitions end that are read to their end.
    stops: HashMap<PartitionKey, i64>,
    share: Share,
    /// How long a cooperative group may take to give anything to a member that has nothing.
    patience: Duration,
}

/// Whether what the group has given is all that it gives for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// A rebalance is on its way.
    Open,
    /// Nothing was given, but others may be giving something up: it counts from then on.
    SettlesAt(Instant),
    /// It counts, be it nothing.
    Settled,
}

impl Share {
    fn of(has_any: bool, is_cooperative: bool, patience: Duration) -> Self {
        match has_any || !is_cooperative {
            true => Share::Settled,
            false => Share::SettlesAt(Instant::now() + patience),
        }
    }

    /// Waits until a share counts that does so by itself, for ever otherwise.
    async fn settles(self) {
        match self {
            Share::SettlesAt(instant) => sleep_until(instant).await,
            Share::Open | Share::Settled => std::future::pending().await,
        }
    }
}

impl Member {
    async fn until_done(&mut self, interrupt: &mut Interrupt) -> Result<()> {
        while !self.printer.is_done() && !self.is_at_end() {
            let (commit_due, share) = (self.commit_due, self.share);
            let event = tokio::select! {
                event = self.consumer.poll() => event?,
                () = interrupt.wait() => return Ok(()),
                () = sleep_until(commit_due), if !self.printed.is_empty() => {
                    self.commit_on_the_way(false).await?;
                    continue;
                }
                () = share.settles(), if self.until_end => {
                    let is_open = self.consumer.is_rebalancing();
                    self.share = if is_open { Share::Open } else { Share::Settled };
                    continue;
                }
            };
            self.handle(event).await?;
        }
        Ok(())
    }

    async fn handle(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Records(parts) => self.show(&parts)?,
            Event::Assigned(partitions) => {
                self.begin(&partitions).await?;
                let has_any = !self.consumer.assignment().is_empty();
                let is_cooperative = self.consumer.assignor().is_some_and(Assignor::is_cooperative);
                self.share = Share::of(has_any, is_cooperative, self.patience);
            }
            Event::Revoked(partitions) => {
                self.commit_on_the_way(true).await?;
                self.give_up(&partitions);
            }
            Event::Lost(partitions) => {
                if partitions.iter().any(|key| self.printed.contains_key(key)) {
                    eprintln!(
                        "warning: the group has given partitions to others; the last records will be read again"
                    );
                }
                self.give_up(&partitions);
            }
        }
        Ok(())
    }

    fn show(&mut self, parts: &[Fetched]) -> Result<()> {
        let mut shown = CommitOffsets::new();
        for part in parts {
            let key = (part.topic.clone(), part.partition);
            let stop = self.stops.get(&key).copied().unwrap_or(i64::MAX);
            let is_behind = part.from_offset >= stop;
            let offset = if is_behind { part.from_offset } else { self.printer.show(part, stop)? };
            if self.unseen.remove(&key) || offset > part.from_offset {
                shown.insert(key, CommitOffset { offset, metadata: String::new() });
            }
        }
        self.printer.flush()?;
        // Only now, because output that nobody got is not done.
        if let Some(interval) = self.commit_interval
            && !shown.is_empty()
        {
            if self.printed.is_empty() {
                self.commit_due = Instant::now() + interval;
            }
            self.printed.extend(shown);
        }
        Ok(())
    }

    /// Finds out where new partitions begin and end.
    async fn begin(&mut self, partitions: &[PartitionKey]) -> Result<()> {
        self.unseen.extend(partitions.iter().cloned());
        // Beginning and end are left to auto.offset.reset.
        let from = self.from.filter(|from| !matches!(from, Position::Beginning | Position::End));
        if partitions.is_empty() || from.is_none() && !self.until_end {
            return Ok(());
        }
        let committed = match from {
            Some(_) => self.consumer.committed(partitions).await?,
            None => BTreeMap::new(),
        };
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        for (topic, numbers) in topics {
            let bounds = Bounds::look_up(&self.admin, topic, &numbers, self.read_committed).await?;
            let from_or_beginning = from.unwrap_or(Position::Beginning);
            let ranges = range::resolve(&bounds, &self.admin, from_or_beginning, Some(Position::End)).await?;
            for range in ranges {
                let (key, stop) = ((topic.to_owned(), range.partition), range.stop.unwrap_or(i64::MAX));
                if from.is_some() && committed.get(&key).copied().flatten().is_none() {
                    self.consumer.seek(topic, range.partition, range.start.min(stop));
                }
                if self.until_end {
                    self.stops.insert(key, stop);
                }
            }
        }
        Ok(())
    }

    fn is_at_end(&self) -> bool {
        let is_read = |(topic, partition): &PartitionKey, stop: i64| {
            self.consumer.position(topic, *partition).is_some_and(|position| position >= stop)
        };
        self.until_end
            && self.share == Share::Settled
            && self.stops.iter().all(|(key, stop)| is_read(key, *stop))
    }

    /// An assignment follows: until then nobody knows what is left to read.
    fn give_up(&mut self, partitions: &[PartitionKey]) {
        self.share = Share::Open;
        for key in partitions {
            self.printed.remove(key);
            self.stops.remove(key);
            self.unseen.remove(key);
        }
    }

    /// A commit that failed because the group moved on is no reason to end: whoever has the partition now reads the
    /// records once more. `is_last` when partitions are given up behind it.
    async fn commit_on_the_way(&mut self, is_last: bool) -> Result<()> {
        let Err(error) = self.commit().await else { return Ok(()) };
        let moved_on = matches!(
            error.code(),
            Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId)
        );
        // What is still owned is committed later.
        let is_kept = error.code() == Some(ErrorCode::RebalanceInProgress) && !is_last;
        if moved_on || error.may_be_retried() {
            if !is_kept {
                eprintln!("warning: {error}");
            }
            return Ok(());
        }
        Err(error.into())
    }

    /// Commits what was printed; what was refused stays due.
    async fn commit(&mut self) -> Result<(), ClientError> {
        let Some(interval) = self.commit_interval else { return Ok(()) };
        self.commit_due = Instant::now() + interval;
        let committed = self.consumer.commit_offsets(self.printed.clone()).await;
        match &committed {
            Ok(()) => self.printed.clear(),
            Err(ClientError::CommitFailed { failed }) => {
                let is_refused = |key: &PartitionKey| {
                    failed.iter().any(|(topic, partition, _)| *topic == key.0 && *partition == key.1)
                };
                self.printed.retain(|key, _| is_refused(key));
            }
            Err(_) => {}
        }
        committed
    }

    /// Shows what was read before an error, commits what was shown, and leaves the group.
    async fn end(mut self, outcome: Result<()>) -> Result<()> {
        let flushed = self.printer.flush();
        let committed = match &flushed {
            Ok(()) => self.commit().await.map_err(Error::from),
            Err(_) => Ok(()),
        };
        let left = self.consumer.close().await.map_err(Error::from);
        flushed.and(outcome).and(committed).and(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_counts_at_once_unless_others_may_still_give_something_up() {
        let patience = Duration::from_secs(9);
        for (has_any, is_cooperative) in [(true, true), (true, false), (false, false)] {
            assert_eq!(Share::of(has_any, is_cooperative, patience), Share::Settled);
        }
        let before = Instant::now();
        Share::of(false, true, patience).settles().await;
        assert_eq!(before.elapsed(), patience);
    }
}
