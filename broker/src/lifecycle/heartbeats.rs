//! How a broker tells the controller that it is alive, and what it hears back.
//!
//! Besides the interval a heartbeat goes out when its connection broke (the controller would fence this broker a moment
//! later), when somebody else leads (who does not know of this connection), and when another broker wants to stop (it
//! waits until all others know).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use milena_protocol::Uuid;
use milena_state::metadata::brokers::{Heartbeat, HeartbeatAnswer};
use milena_state::metadata::directories::LOST;
use milena_state::metadata::{Command, Reply};

use super::assignments::Assignments;
use crate::controller::Client;
use crate::metadata::Metadata;
use crate::partition::Directories;

/// How long a heartbeat looks for a controller at least: an election takes up to a second.
const ANSWER_TIME_MIN: Duration = Duration::from_secs(3);
/// Pause after a heartbeat that failed, when that is shorter than the interval.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Tells the controller that this broker lives.
pub struct Heartbeats {
    pub controller: Client,
    pub metadata: Arc<Metadata>,
    pub directories: Arc<Directories>,
    pub broker_id: i32,
    pub broker_epoch: Arc<AtomicI64>,
    pub is_unfenced: Arc<AtomicBool>,
    pub interval: Duration,
    pub assignments: Assignments,
}

impl Heartbeats {
    /// One heartbeat; the answer and the index at which it holds.
    pub async fn beat(&self, want_shut_down: bool) -> Result<(HeartbeatAnswer, i64), String> {
        let command = Command::BrokerHeartbeat(Heartbeat {
            broker_id: self.broker_id,
            broker_epoch: self.broker_epoch.load(Ordering::Acquire),
            current_metadata_offset: self.metadata.published_index(),
            want_fence: false,
            want_shut_down,
            offline_log_dirs: self.offline_directories(),
            others_caught_up: false,
        });
        let committed = match self.controller.is_alone() {
            true => self.controller.submit(command).await,
            false => self.controller.submit_within(command, self.interval.max(ANSWER_TIME_MIN)).await,
        };
        let committed = committed.map_err(|error| error.to_string())?;
        match committed.reply {
            Reply::BrokerHeartbeat(Ok(answer)) => {
                self.is_unfenced.store(!answer.is_fenced, Ordering::Release);
                Ok((answer, committed.index))
            }
            Reply::BrokerHeartbeat(Err(error)) => Err(error.to_string()),
            other => Err(format!("unexpected reply {other:?}")),
        }
    }

    /// Directories that others should lead the partitions of. Alone there are no others: their partitions keep their
    /// leader, who says what is wrong with them. One that could not be opened is named in any case, or the controller
    /// would take what is in it for gone.
    fn offline_directories(&self) -> Vec<Uuid> {
        let failed =
            self.directories.online().iter().filter(|directory| directory.offline_reason().is_some());
        let failed = failed.filter_map(|directory| Some(directory.identity()?.directory_id));
        let mut offline = if self.controller.is_alone() { Vec::new() } else { failed.collect() };
        if self.directories.offline_count() > 0 {
            offline.push(LOST);
        }
        offline
    }

    pub async fn run(mut self) {
        let mut beats = tokio::time::interval(self.interval);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut reached, mut leaving) = (None, Vec::new());
        let mut is_failing = false;
        loop {
            let remote = self.controller.remote();
            match remote {
                None => drop(beats.tick().await),
                Some(remote) => tokio::select! {
                    _ = beats.tick() => {}
                    () = remote.lost_contact() => {}
                    () = remote.turnover(reached.as_ref()) => {}
                    () = self.somebody_leaves(&mut leaving) => {}
                },
            }
            let leader = remote.and_then(|remote| remote.leader());
            match self.beat(false).await {
                Ok(_) => {
                    (is_failing, reached) = (false, leader);
                    self.assignments.tell(self.interval).await;
                }
                Err(reason) => {
                    // Once, not with every beat: the controller may be away for long.
                    if !is_failing {
                        tracing::warn!(%reason, "heartbeat was not answered by the controller");
                    }
                    is_failing = true;
                    // Who is alone has asked itself.
                    if remote.is_some() {
                        beats.reset_after(RETRY_PAUSE.min(self.interval));
                    }
                }
            }
        }
    }

    /// Waits until a broker that is not in `known` wants to stop.
    async fn somebody_leaves(&self, known: &mut Vec<i32>) {
        loop {
            let index = self.metadata.published_index();
            let leaving: Vec<i32> = {
                let image = self.metadata.image();
                let leaving =
                    image.brokers().filter(|broker| broker.in_controlled_shutdown && !broker.fenced);
                leaving.map(|broker| broker.broker_id).collect()
            };
            let is_news = leaving.iter().any(|id| !known.contains(id));
            *known = leaving;
            if is_news {
                return;
            }
            if self.metadata.reached(index + 1).await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}
