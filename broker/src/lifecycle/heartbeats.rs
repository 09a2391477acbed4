//! How a broker tells the controller that it is alive, and what it hears back.
//!
//! Besides the interval a heartbeat goes out when its connection broke (the controller would fence this broker a moment
//! later), when somebody else leads (who does not know of this connection), when another broker wants to stop (it
//! waits until all others know), and when a replica has moved to another directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use milena_protocol::{ErrorCode, Uuid};
use milena_state::metadata::brokers::{Heartbeat, HeartbeatAnswer};
use milena_state::metadata::command::ApiError;
use milena_state::metadata::directories::LOST;
use milena_state::metadata::{Command, Reply};
use tokio::time::{Interval, MissedTickBehavior};

use super::Error;
use super::assignments::Assignments;
use super::registration::Registration;
use crate::controller::Remote;
use crate::controller::remote::ActiveController;

/// How long a heartbeat looks for a controller at least: an election takes up to a second.
const ANSWER_TIME_MIN: Duration = Duration::from_secs(3);
/// Pause after a heartbeat that failed, when that is shorter than the interval. Whatever else happens in it waits.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Tells the controller that this broker lives.
pub struct Heartbeats {
    pub registration: Registration,
    pub is_unfenced: Arc<AtomicBool>,
    pub interval: Duration,
    pub assignments: Assignments,
}

/// Why a heartbeat was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Unheard {
    /// The registration is not in force any more.
    #[error("{0}")]
    Stale(ApiError),
    #[error("{0}")]
    Failed(String),
}

impl From<ApiError> for Unheard {
    fn from(error: ApiError) -> Self {
        match error.code {
            ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered => Self::Stale(error),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl Heartbeats {
    /// One heartbeat; the answer and the index at which it holds.
    pub async fn beat(&self, want_shut_down: bool) -> Result<(HeartbeatAnswer, i64), Unheard> {
        self.beat_within(want_shut_down, self.interval.max(ANSWER_TIME_MIN)).await
    }

    /// As [`beat`](Self::beat), looking for a controller in a cluster for so long.
    pub async fn beat_within(
        &self,
        want_shut_down: bool,
        timeout: Duration,
    ) -> Result<(HeartbeatAnswer, i64), Unheard> {
        let Registration { settings, controller, metadata, broker_epoch, .. } = &self.registration;
        let command = Command::BrokerHeartbeat(Heartbeat {
            broker_id: settings.node_id,
            broker_epoch: broker_epoch.load(Ordering::Acquire),
            current_metadata_offset: metadata.published_index(),
            want_fence: false,
            want_shut_down,
            offline_log_dirs: self.offline_directories(),
            others_caught_up: false,
        });
        let committed = match controller.is_alone() {
            true => controller.submit(command).await,
            false => controller.submit_within(command, timeout).await,
        };
        let committed = committed.map_err(|error| Unheard::Failed(error.to_string()))?;
        match committed.reply {
            Reply::BrokerHeartbeat(Ok(answer)) => {
                self.is_unfenced.store(!answer.is_fenced, Ordering::Release);
                Ok((answer, committed.index))
            }
            Reply::BrokerHeartbeat(Err(error)) => {
                let unheard = Unheard::from(error);
                if matches!(unheard, Unheard::Stale(_)) {
                    self.is_unfenced.store(false, Ordering::Release);
                }
                Err(unheard)
            }
            other => Err(Unheard::Failed(format!("unexpected reply {other:?}"))),
        }
    }

    /// As [`beat`](Self::beat), with another registration when the present one turns out to be stale.
    ///
    /// Errors, the outer ones: there can be no other one.
    async fn beat_registered(&self) -> Result<Result<(HeartbeatAnswer, i64), Unheard>, Error> {
        match self.beat(false).await {
            Err(Unheard::Stale(error)) => {
                self.registration.renew(&error).await?;
                Ok(self.beat(false).await)
            }
            answered => Ok(answered),
        }
    }

    /// Directories that others should lead the partitions of. Alone there are no others: their partitions keep their
    /// leader, who says what is wrong with them. One that could not be opened is named in any case, or the controller
    /// would take what is in it for gone.
    fn offline_directories(&self) -> Vec<Uuid> {
        let Registration { controller, directories, .. } = &self.registration;
        let failed = directories.online().iter().filter(|directory| directory.offline_reason().is_some());
        let failed = failed.filter_map(|directory| Some(directory.identity()?.directory_id));
        let mut offline = if controller.is_alone() { Vec::new() } else { failed.collect() };
        if directories.offline_count() > 0 {
            offline.push(LOST);
        }
        offline
    }

    /// Heartbeats until this broker can be none any more; why.
    pub async fn run(mut self) -> Error {
        let (mut rhythm, mut leaving) = (Rhythm::new(self.interval), Vec::new());
        let controller = self.registration.controller.clone();
        loop {
            let remote = controller.remote();
            match remote {
                None => rhythm.tick().await,
                Some(remote) => tokio::select! {
                    () = rhythm.due(remote) => {}
                    () = self.somebody_leaves(&mut leaving), if !rhythm.is_failing => {}
                    // The controller is told where it is now.
                    () = self.registration.directories.has_moved(), if !rhythm.is_failing => {}
                },
            }
            let leader = remote.and_then(|remote| remote.leader());
            let answered = match self.beat_registered().await {
                Ok(answered) => answered,
                Err(error) => return error,
            };
            match answered {
                Ok(_) => {
                    rhythm.answered(leader);
                    self.assignments.tell(self.interval).await;
                }
                Err(reason) => {
                    // Once, not with every beat: the controller may be away for long.
                    if !rhythm.is_failing {
                        tracing::warn!(%reason, "heartbeat was not answered by the controller");
                    }
                    // Who is alone has asked itself, and asks again with the next beat.
                    rhythm.failed(remote.is_some());
                }
            }
        }
    }

    /// Waits until a broker that is not in `known` wants to stop.
    async fn somebody_leaves(&self, known: &mut Vec<i32>) {
        loop {
            let index = self.registration.metadata.published_index();
            let leaving: Vec<i32> = {
                let image = self.registration.metadata.image();
                let leaving =
                    image.brokers().filter(|broker| broker.in_controlled_shutdown && !broker.fenced);
                leaving.map(|broker| broker.broker_id).collect()
            };
            let is_news = leaving.iter().any(|id| !known.contains(id));
            *known = leaving;
            if is_news {
                return;
            }
            if self.registration.metadata.reached(index + 1).await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// When the next heartbeat is due.
struct Rhythm {
    interval: Duration,
    beats: Interval,
    /// Who led when the controller last answered.
    reached: Option<ActiveController>,
    is_failing: bool,
}

impl Rhythm {
    fn new(interval: Duration) -> Self {
        let mut beats = tokio::time::interval(interval);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, beats, reached: None, is_failing: false }
    }

    async fn tick(&mut self) {
        self.beats.tick().await;
    }

    /// Waits until it is time, the connection broke, or somebody else leads. After a failure time alone counts:
    /// whoever answers an error at once would be asked without end.
    async fn due(&mut self, remote: &Remote) {
        if self.is_failing {
            return self.tick().await;
        }
        tokio::select! {
            _ = self.beats.tick() => {}
            () = remote.lost_contact() => {}
            () = remote.turnover(self.reached.as_ref()) => {}
        }
    }

    fn answered(&mut self, leader: Option<ActiveController>) {
        (self.reached, self.is_failing) = (leader, false);
    }

    fn failed(&mut self, is_retried_soon: bool) {
        self.is_failing = true;
        if is_retried_soon {
            self.beats.reset_after(RETRY_PAUSE.min(self.interval));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use milena_client::net::{Dial, Dialing};
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl Dial for Nobody {
        fn dial<'a>(&'a self, _address: &'a str) -> Dialing<'a> {
            Box::pin(async { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) })
        }
    }

    fn leader(id: i32) -> ActiveController {
        ActiveController { id, address: format!("controller-{id}:9093") }
    }

    #[tokio::test(start_paused = true)]
    async fn a_controller_that_answers_errors_is_asked_with_a_pause_and_a_new_one_at_once() {
        let (told, leads) = watch::channel(Some(leader(1)));
        let remote = Remote::new("cluster".into(), leads, Arc::new(Nobody));
        let mut rhythm = Rhythm::new(Duration::from_secs(2));
        let start = Instant::now();
        rhythm.due(&remote).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        for failures in 1..=5 {
            rhythm.failed(true);
            rhythm.due(&remote).await;
            assert_eq!(start.elapsed(), RETRY_PAUSE * failures);
        }
        rhythm.answered(remote.leader());
        let answered = Instant::now();
        rhythm.due(&remote).await;
        assert_eq!(answered.elapsed(), rhythm.interval, "nothing has happened in between");
        told.send_replace(Some(leader(2)));
        rhythm.due(&remote).await;
        assert_eq!(answered.elapsed(), rhythm.interval, "it does not know of this broker");
    }
}
