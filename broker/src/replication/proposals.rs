//! Changes of in-sync replicas on their way to the controller (AlterPartition).
//!
//! One request is under way at a time; what is proposed meanwhile goes with the next, however many partitions that are:
//! the loss of a broker concerns all that it followed. A partition has one proposal open at most.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_state::metadata::partitions::{AlterPartition, AlteredPartition, ProposedPartition};
use milena_state::metadata::record::RecoveryState;
use milena_state::metadata::{Command, Reply};
use milena_state::partition::fetch_plan::Key;
use milena_state::partition::isr::ProposeIsr;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Cast;
use crate::broker::now_ms;
use crate::controller::Client;
use crate::metrics::Metrics;
use crate::partition::Partition;

/// Partitions in one request: each may become a record, of which an entry of the metadata log holds 10,000.
const PARTITIONS_MAX: usize = 5_000;

/// How long an answer is waited for. What is proposed by then may be something else.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a request that the controller did not answer with decisions, as in Apache Kafka.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What is proposed and not sent. Holds each partition once.
pub struct Proposals {
    metrics: Arc<Metrics>,
    waiting: Mutex<BTreeMap<Key, Proposed>>,
    added: Notify,
}

struct Proposed {
    partition: Weak<Partition>,
    isr: ProposeIsr,
}

impl Proposals {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, waiting: Mutex::default(), added: Notify::new() }
    }

    /// The in-sync replicas of a partition that is led here are so many now.
    pub(crate) fn isr_changed(&self, before: usize, after: usize) {
        match after.cmp(&before) {
            Ordering::Less => self.metrics.replication.isr_shrunk(),
            Ordering::Greater => self.metrics.replication.isr_expanded(),
            Ordering::Equal => {}
        }
    }

    /// A newer proposal of a partition takes the place of the one before.
    pub(crate) fn add(&self, partition: &Weak<Partition>, key: Key, isr: ProposeIsr) {
        self.waiting.lock().insert(key, Proposed { partition: Weak::clone(partition), isr });
        self.added.notify_one();
    }

    async fn next(&self) -> BTreeMap<Key, Proposed> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if waiting.len() <= PARTITIONS_MAX {
                    let all = std::mem::take(&mut *waiting);
                    if !all.is_empty() {
                        return all;
                    }
                } else if let Some(first_later) = waiting.keys().nth(PARTITIONS_MAX).copied() {
                    let later = waiting.split_off(&first_later);
                    return std::mem::replace(&mut waiting, later);
                }
            }
            self.added.notified().await;
        }
    }
}

pub(super) async fn run(proposals: &Proposals, cast: &Cast, controller: &Client) {
    loop {
        let proposed = proposals.next().await;
        let command = AlterPartition {
            broker_id: cast.settings.node_id,
            broker_epoch: cast.broker_epoch(),
            partitions: proposed.iter().map(|(key, proposed)| ask(*key, &proposed.isr)).collect(),
        };
        let answered = controller.submit_within(Command::AlterPartition(command), ASK_TIMEOUT).await;
        let error = match answered.map(|committed| committed.reply) {
            Ok(Reply::AlterPartition(Ok(answers))) => {
                if settle(proposed, answers) {
                    continue;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
            Ok(Reply::AlterPartition(Err(error))) => error.code,
            Ok(_) => ErrorCode::UnknownServerError,
            Err(error) => error.code(),
        };
        tracing::debug!(error = error.name(), "changes of in-sync replicas are proposed again");
        // Whether they were decided is not known. The rules go on as if both could hold, and ask again.
        proposed.into_values().for_each(|proposed| proposed.answered(Err(error)));
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

fn ask((topic_id, partition_id): Key, isr: &ProposeIsr) -> ProposedPartition {
    ProposedPartition {
        topic_id,
        partition_id,
        leader_epoch: isr.leader_epoch,
        partition_epoch: isr.partition_epoch,
        new_isr: isr.new_isr.clone(),
        // Whoever leads and serves has recovered.
        leader_recovery_state: RecoveryState::Recovered,
    }
}

/// Whether every one of them was decided, for or against: otherwise some are proposed again.
fn settle(mut proposed: BTreeMap<Key, Proposed>, answers: Vec<AlteredPartition>) -> bool {
    let mut all_decided = true;
    for AlteredPartition { topic_id, partition_id, result } in answers {
        let Some(asked) = proposed.remove(&(topic_id, partition_id)) else { continue };
        let answer = match result {
            // The image tells about the new leader.
            Ok(state) if state.leader_epoch != asked.isr.leader_epoch => Err(ErrorCode::NewLeaderElected),
            Ok(state) => Ok((state.partition_epoch, state.isr)),
            Err(error) => Err(error),
        };
        all_decided &= !matches!(answer, Err(ErrorCode::NotController | ErrorCode::UnknownServerError));
        asked.answered(answer);
    }
    // The controller says something about each; one that it forgot is asked again.
    all_decided &= proposed.is_empty();
    proposed.into_values().for_each(|forgotten| forgotten.answered(Err(ErrorCode::UnknownServerError)));
    all_decided
}

impl Proposed {
    fn answered(self, answer: Result<(i32, Vec<i32>), ErrorCode>) {
        if let Some(partition) = self.partition.upgrade() {
            partition.proposal_answered(&self.isr, answer, now_ms());
        }
    }
}

impl std::fmt::Debug for Proposals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proposals({})", self.waiting.lock().len())
    }
}
