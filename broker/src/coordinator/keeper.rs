//! The one task of a coordinator: timers, writes that wait for their replicas, expiry, topics that are gone.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use milena_state::group::{Command, CommandReply};
use tokio::time::{Instant, sleep_until};

use super::coordinator::Coordinator;
use crate::broker::now_ms;
use crate::partition::Appended;

/// Deadlines are times of day, which may be set anew: nobody sleeps longer than this without a look.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// Works until the leadership is over.
pub async fn run(coordinator: Arc<Coordinator>, expiry_interval: Duration) {
    let level = coordinator.writer.partition.high_watermark();
    // Ends with the leadership, also when that ends in a way that no image tells: a disk that failed.
    let mut over = pin!(level.reached(i64::MAX));
    let mut expiry_at = Instant::now() + expiry_interval;
    loop {
        let deleted = coordinator.take_deleted_topics();
        if !deleted.is_empty() {
            decide(&coordinator, &Command::TopicsDeleted(deleted));
        }
        if Instant::now() >= expiry_at {
            expire(&coordinator).await;
            expiry_at = Instant::now() + expiry_interval;
        }
        let now_ms = now_ms();
        let Some(plan) = coordinator.turn(now_ms) else { return };
        let wait_ms = u64::try_from(plan.wake_ms.saturating_sub(now_ms)).unwrap_or(0);
        let wake_at = (Instant::now() + Duration::from_millis(wait_ms).min(SLEEP_MAX)).min(expiry_at);
        tokio::select! {
            biased;
            _ = &mut over => return coordinator.end(crate::broker::now_ms()),
            () = coordinator.wake.notified() => {}
            () = committed(&coordinator, plan.awaited) => {}
            () = sleep_until(wake_at) => {}
        }
    }
}

/// Waits for the first write that is not committed, if there is one.
async fn committed(coordinator: &Coordinator, awaited: Option<Appended>) {
    let Some(appended) = awaited else { return pending().await };
    // The turn that follows looks at the outcome itself.
    let _ = coordinator.writer.committed(&appended).await;
}

/// All rounds of one expiry. Others have the coordinator between two of them.
async fn expire(coordinator: &Coordinator) {
    let mut from = None;
    loop {
        match decide(coordinator, &Command::Expire { from }) {
            Some(CommandReply::Expired { next: Some(next) }) => from = Some(next),
            _ => return,
        }
        tokio::task::yield_now().await;
    }
}

fn decide(coordinator: &Coordinator, command: &Command) -> Option<CommandReply> {
    match coordinator.command(command, now_ms()) {
        Ok((reply, _)) => Some(reply),
        Err(error) => {
            let partition = coordinator.writer.partition.index();
            tracing::warn!(partition, ?error, "tombstones of offsets could not be written");
            None
        }
    }
}
