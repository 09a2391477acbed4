//! The log cleaner: compacts the logs of topics whose `cleanup.policy` has `compact`, the dirtiest one first.
//!
//! There are `log.cleaner.threads` cleaners. Each looks at the compacted logs, takes the one that needs it most
//! ([`choice`]), and drives a pass over it ([`run`]) step by step on the blocking pool, as fast as
//! `log.cleaner.io.max.bytes.per.second` allows. The partition's lock is taken for noting what the segments are and for
//! putting new ones in place, and for nothing in between. Where no topic is compacted nothing wakes up.
//!
//! A cleaner that panics is started again after a pause; the partition on which it happened is left out, as is one whose
//! log cannot be compacted, and a metric tells of both. Nobody has to wait for a pass: what closes, deletes or cuts a
//! log ends its pass, which notices at its next step and throws away what is not in place (`milena_log::compaction`).
//!
//! Deliberately absent: retention of topics with `compact,delete`, which `upkeep` sees to as for any other.
//!
//! Source: KIP-58, KIP-354, KIP-534; ADR 39, ADR 43.

mod choice;
mod run;
mod shared;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use milena_state::config::broker::Settings;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::table::Table;
use crate::metrics::Metrics;
use run::Run;
pub use shared::Clock;
use shared::Shared;

/// A cleaner that panicked is started again after `log.cleaner.backoff.ms`, and not sooner than this.
const RESTART_DELAY_MIN: Duration = Duration::from_millis(100);

/// What a stop waits for the steps that are under way. Closing a log ends its pass in any case.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// The cleaners of this broker. Dropped without [`Cleaner::stop`] they end after their next step.
pub struct Cleaner {
    stopping: watch::Sender<bool>,
    supervisor: JoinHandle<()>,
}

impl Cleaner {
    /// Starts as many cleaners as the settings in force say, now and later. On the runtime of the caller.
    pub fn start(
        table: Arc<Table>,
        in_force: watch::Receiver<Arc<Settings>>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        let stopping = watch::Sender::new(false);
        let shared = Arc::new(Shared::new(table, metrics, clock));
        let orders = Orders { stopping: stopping.subscribe(), in_force };
        Self { stopping, supervisor: tokio::spawn(supervise(shared, orders)) }
    }

    /// Ends the passes at their next step, and waits for that.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        if tokio::time::timeout(STOP_TIME_MAX, &mut self.supervisor).await.is_err() {
            tracing::warn!(timeout = ?STOP_TIME_MAX, "a step of the log cleaner takes long and is not waited for");
            self.supervisor.abort();
        }
    }
}

/// What all cleaners listen to.
#[derive(Clone)]
struct Orders {
    stopping: watch::Receiver<bool>,
    in_force: watch::Receiver<Arc<Settings>>,
}

impl Orders {
    /// How many cleaners there should be.
    fn threads(&self) -> usize {
        self.in_force.borrow().cleaner.running_threads()
    }

    fn is_stopping(&self) -> bool {
        // Without its sender the broker is gone.
        *self.stopping.borrow() || self.stopping.has_changed().is_err()
    }

    /// Waits until an order comes: to stop, or other settings.
    async fn changed(&mut self) {
        tokio::select! {
            _ = self.stopping.changed() => {}
            Ok(()) = self.in_force.changed() => {}
        }
    }
}

/// Keeps as many cleaners running as there should be; returns when they have stopped.
async fn supervise(shared: Arc<Shared>, mut orders: Orders) {
    let mut cleaners = JoinSet::new();
    let mut running = BTreeSet::new();
    while !orders.is_stopping() {
        let threads = orders.threads();
        for index in 0..threads {
            if running.insert(index) {
                cleaners.spawn(keep(Arc::clone(&shared), index, orders.clone()));
            }
        }
        shared.metrics.cleaning.threads(threads);
        tokio::select! {
            () = orders.changed() => {}
            Some(ended) = cleaners.join_next(), if !cleaners.is_empty() => {
                running.remove(&ended.expect("a keeper outlives the panics of what it keeps"));
            }
        }
    }
    while cleaners.join_next().await.is_some() {}
    shared.metrics.cleaning.threads(0);
}

/// Runs the cleaner with this number until it is not wanted any more, again after each panic. Returns the number.
async fn keep(shared: Arc<Shared>, index: usize, mut orders: Orders) -> usize {
    loop {
        let run = Run::new(Arc::clone(&shared), index, orders.clone());
        match tokio::spawn(run.run()).await {
            Err(error) if error.is_panic() => {}
            _ => return index,
        }
        let backoff = Duration::from_millis(orders.in_force.borrow_and_update().cleaner.backoff_ms);
        let delay = backoff.max(RESTART_DELAY_MIN);
        tracing::error!(cleaner = index, ?delay, "log cleaner panicked and is started again");
        shared.metrics.cleaning.died();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = orders.changed() => {}
        }
        shared.metrics.cleaning.restarted();
    }
}

#[cfg(test)]
#[path = "cleaner/cleaner_test.rs"]
mod tests;
