//! How a broker tells the controller that it is alive, and what it hears back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use milena_state::metadata::brokers::{Heartbeat, HeartbeatAnswer};
use milena_state::metadata::{Command, Reply};

use crate::controller::Client;
use crate::metadata::Metadata;

/// Tells the controller that this broker lives.
pub struct Heartbeats {
    pub controller: Client,
    pub metadata: Arc<Metadata>,
    pub broker_id: i32,
    pub broker_epoch: Arc<AtomicI64>,
    pub is_unfenced: Arc<AtomicBool>,
    pub interval: Duration,
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
            offline_log_dirs: Vec::new(),
            others_caught_up: false,
        });
        let committed = self.controller.submit(command).await.map_err(|error| error.to_string())?;
        match committed.reply {
            Reply::BrokerHeartbeat(Ok(answer)) => {
                self.is_unfenced.store(!answer.is_fenced, Ordering::Release);
                Ok((answer, committed.index))
            }
            Reply::BrokerHeartbeat(Err(error)) => Err(error.to_string()),
            other => Err(format!("unexpected reply {other:?}")),
        }
    }

    pub async fn run(self) {
        let mut beats = tokio::time::interval(self.interval);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_failing = false;
        loop {
            beats.tick().await;
            match self.beat(false).await {
                Ok(_) => is_failing = false,
                // Once, not with every beat: the controller may be away for long.
                Err(reason) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(%reason, "heartbeat was not answered by the controller");
                }
                Err(_) => {}
            }
        }
    }
}
