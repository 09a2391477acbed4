//! The controller's writer: the one task that decides.
//!
//! It takes everything that is queued, decides each command against a working image (the committed one and the
//! records decided before it), proposes the records as one entry fenced to its leadership, and answers when the
//! entry is applied. One entry is under way at a time, so no decision is ever made on a state that may be taken
//! back. Soft state that only the leader has (broker sessions) starts anew with each leadership.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_state::config::broker::Settings;
use milena_state::metadata::brokers::FenceBroker;
use milena_state::metadata::sessions::{Note, Sessions};
use milena_state::metadata::{self, Applied, BatchSize, Command, Context, Image, Record, Reply};
use tokio::sync::{mpsc, oneshot};

use super::client::{Client, Committed, MAILBOX_COMMANDS_MAX, Submission, SubmitError};
use super::raft::quorum::{ProposeError, Quorum};
use super::raft::types::LeaderId;
use super::rounds::Rounds;
use super::sessions::Heard;
use crate::broker::now_ms;
use crate::metrics::Metrics;

/// Commands decided for one entry; more wait for the next.
const ENTRY_COMMANDS_MAX: usize = 256;
/// How often the writer looks for brokers whose session ran out.
const SESSION_CHECK_INTERVAL: Duration = Duration::from_millis(500);

type Answer = oneshot::Sender<Result<Committed, SubmitError>>;

struct Writer {
    quorum: Quorum,
    settings: Arc<Settings>,
    /// The broker in this process: while it is alone it lives as long as we do, so its session cannot run out.
    local_broker: Option<i32>,
    leadership: Option<LeaderId>,
    heard: Arc<Heard>,
}

/// Starts the writer on the current runtime. It ends when the last client is dropped.
pub fn start(
    quorum: Quorum,
    settings: Arc<Settings>,
    local_broker: Option<i32>,
    metrics: &Arc<Metrics>,
) -> Client {
    let (mailbox, submissions) = mpsc::channel(MAILBOX_COMMANDS_MAX);
    let heard = Arc::new(Heard::default());
    let writer = Writer {
        quorum: quorum.clone(),
        settings,
        local_broker,
        leadership: None,
        heard: Arc::clone(&heard),
    };
    tokio::spawn(writer.run(submissions));
    Client::new(mailbox, Arc::clone(metrics)).of_member(quorum, heard)
}

/// Records decided and not committed yet, and who waits for them.
struct Entry {
    leader: LeaderId,
    /// The committed image with `records` applied.
    working: Image,
    records: Vec<Record>,
    size: BatchSize,
    waiting: Vec<(Answer, Reply, Note)>,
}

impl Writer {
    async fn run(mut self, mut submissions: mpsc::Receiver<Submission>) {
        let mut session_check = tokio::time::interval(SESSION_CHECK_INTERVAL);
        let mut rounds = Rounds::new(&self.settings);
        let mut queued = Vec::with_capacity(ENTRY_COMMANDS_MAX);
        loop {
            tokio::select! {
                biased;
                count = submissions.recv_many(&mut queued, ENTRY_COMMANDS_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.decide(queued.drain(..)).await;
                }
                _ = session_check.tick() => self.fence_expired().await,
                round = rounds.due() => {
                    if self.take_round(&round).await {
                        rounds.again_soon(&round);
                    }
                }
            }
        }
    }

    /// The leadership to decide under. A new one begins with what only the committed image says, and gives an empty
    /// cluster its feature levels.
    async fn lead(&mut self) -> Option<LeaderId> {
        let leadership = self.quorum.leadership();
        if leadership == self.leadership {
            return leadership;
        }
        self.leadership = leadership;
        let leader = leadership?;
        let image = self.quorum.state().image;
        *self.heard.sessions() = Sessions::seeded(&image, now_ms());
        tracing::info!(
            term = leader.term,
            index = image.applied().index,
            "this node is the active controller"
        );
        if image.features().is_empty() {
            let mut entry = self.begin(leader);
            let context = Context { now_ms: now_ms(), settings: &self.settings };
            entry.records = metadata::decide(&entry.working, &Command::Bootstrap, context).records;
            if let Err(error) = self.commit(entry).await {
                tracing::warn!(%error, "new cluster could not be given its feature levels");
                // The next command tries again.
                self.leadership = None;
                return None;
            }
        }
        Some(leader)
    }

    /// Whether the session of a broker cannot run out: nobody else would take over from this process.
    fn lives_with_us(&self, broker_id: i32) -> bool {
        Some(broker_id) == self.local_broker && self.settings.quorum.is_alone
    }

    async fn decide(&mut self, queued: impl Iterator<Item = Submission>) {
        let Some(leader) = self.lead().await else {
            let error = if self.quorum.stopped().is_some() {
                SubmitError::Storage
            } else {
                SubmitError::NotController
            };
            queued.for_each(|submission| answer(submission.answer, Err(error)));
            return;
        };
        let mut entry = self.begin(leader);
        for Submission { command, answer: waiting } in queued {
            let command = self.inform(command, &entry.working);
            let closes = command.closes_entry();
            let context = Context { now_ms: now_ms(), settings: &self.settings };
            let decision = metadata::decide(&entry.working, &command, context);
            let note = Note::of(&command, &decision.reply);
            let size = BatchSize::of(&decision.records);
            if !entry.size.and(size).fits() {
                match self.commit(entry).await {
                    Ok(()) => entry = self.begin(leader),
                    // What was decided after a batch that failed was decided on a state that never was.
                    Err(error) => {
                        answer(waiting, Err(error));
                        entry = self.begin(leader);
                        continue;
                    }
                }
            }
            for record in &decision.records {
                if let Err(misfit) = entry.working.apply(record) {
                    tracing::error!(%misfit, "decided a metadata record that does not fit");
                }
            }
            entry.records.extend(decision.records);
            entry.size = entry.size.and(size);
            entry.waiting.push((waiting, decision.reply, note));
            if closes {
                // A failure has been answered to those who waited.
                let _ = self.commit(entry).await;
                entry = self.begin(leader);
            }
        }
        let _ = self.commit(entry).await;
    }

    fn begin(&self, leader: LeaderId) -> Entry {
        let mut working = Image::clone(&self.quorum.state().image);
        let next = Applied { index: working.applied().index + 1, term: leader.term as i64 };
        working.begin_entry(next);
        Entry { leader, working, records: Vec::new(), size: BatchSize::default(), waiting: Vec::new() }
    }

    /// Adds to a command what only the active controller knows.
    fn inform(&self, mut command: Command, working: &Image) -> Command {
        let timeout_ms = self.settings.broker_session_timeout_ms;
        self.heard.sessions().inform(&mut command, working, timeout_ms, now_ms());
        if let Command::RegisterBroker(c) = &mut command {
            c.session_is_live &= !self.lives_with_us(c.broker_id);
        }
        command
    }

    /// Commits what an entry holds and answers everyone who waited for it.
    async fn commit(&self, entry: Entry) -> Result<(), SubmitError> {
        let Entry { leader, records, waiting, .. } = entry;
        let outcome = self.propose(leader, &records).await;
        for (waiting, reply, note) in waiting {
            let outcome = outcome.map(|index| {
                self.heard.sessions().remember(note, index, now_ms());
                Committed { reply, index }
            });
            answer(waiting, outcome);
        }
        outcome.map(|_| ())
    }

    /// The index at which `records` are applied, or of the state they were decided on when there are none.
    async fn propose(&self, leader: LeaderId, records: &[Record]) -> Result<i64, SubmitError> {
        let mut index = self.quorum.state().image.applied().index;
        // A decision alone may exceed the bounds (fencing a broker that leads very much); its records are safe to
        // apply in steps, in their order. A record larger than any entry would stop the log for good.
        for step in metadata::steps(records).ok_or(SubmitError::TooLarge)? {
            let bytes = Bytes::from(metadata::encode_batch(step));
            index = self.quorum.propose(leader, bytes, now_ms()).await.map_err(|error| match error {
                ProposeError::NotLeader => SubmitError::NotController,
                ProposeError::Unknown => SubmitError::TimedOut,
                ProposeError::Stopped(_) => SubmitError::Storage,
            })?;
        }
        Ok(index)
    }

    async fn fence_expired(&mut self) {
        let Some(leader) = self.lead().await else { return };
        let state = self.quorum.state();
        let timeout_ms = self.settings.broker_session_timeout_ms;
        let expired = self.heard.sessions().expired(&state.image, timeout_ms, now_ms());
        let others = expired.into_iter().filter(|fence| !self.lives_with_us(fence.broker_id));
        for fence in others.collect::<Vec<FenceBroker>>() {
            let mut entry = self.begin(leader);
            let context = Context { now_ms: now_ms(), settings: &self.settings };
            // One broker at a time, each decided on the state that the last one left.
            entry.records = metadata::decide(&entry.working, &Command::FenceBroker(fence), context).records;
            if let Err(error) = self.commit(entry).await {
                tracing::warn!(broker = fence.broker_id, %error, "broker whose session ran out could not be fenced");
                return;
            }
            tracing::info!(broker = fence.broker_id, "session of a broker ran out, it is fenced");
        }
    }
}

impl Writer {
    /// Elections that nobody asked for. Whether there were more than a round may have.
    async fn take_round(&mut self, round: &Command) -> bool {
        let Some(leader) = self.lead().await else { return false };
        let mut entry = self.begin(leader);
        let context = Context { now_ms: now_ms(), settings: &self.settings };
        let decision = metadata::decide(&entry.working, round, context);
        let (Reply::BalanceLeaders(taken) | Reply::ElectUncleanLeaders(taken)) = decision.reply else {
            return false;
        };
        if decision.records.is_empty() {
            return false;
        }
        entry.records = decision.records;
        match self.commit(entry).await {
            Ok(()) => tracing::info!(elections = taken.elections, ?round, "leaders were elected"),
            Err(error) => tracing::warn!(%error, ?round, "leaders could not be elected"),
        }
        taken.is_full
    }
}

/// A caller that gave up does not want the answer any more.
fn answer(waiting: Answer, outcome: Result<Committed, SubmitError>) {
    let _ = waiting.send(outcome);
}

#[cfg(test)]
#[path = "writer_test.rs"]
pub(super) mod tests;
