//! The mover: moves replicas between the directories of this broker while they are served (KIP-113, ADR 54).
//!
//! A request ([`relocate`](super::Partition::relocate)) puts a job into the queue; each worker takes one after the other, does a step of it
//! on the blocking pool and puts it back, so that many moves go on side by side. What is copied is bounded by
//! `replica.alter.log.dirs.io.max.bytes.per.second`. Where nothing is moved nothing wakes up.
//!
//! Whoever ends a move only says so to the partition ([`stay`](super::Partition::stay)): the worker finds out at the next step, and
//! removes the copy.

mod job;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_state::config::broker::Settings;
use milena_state::partition::throttle::Throttle;
use milena_state::quota::Window;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::directories::Directories;
use crate::metrics::Metrics;
pub(crate) use job::Job;
use job::Stepped;

/// Jobs that may wait, those included whose copy is to be removed. One more is refused.
const JOBS_MAX: usize = 100_000;

/// Workers, whatever `num.replica.alter.log.dirs.threads` says: they share the pool with everybody else's blocking work.
const WORKERS_MAX: usize = 8;

/// Pause after a step that came to nothing.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What a stop waits for the steps that are under way. A copy that is cut off is finished by the next start.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// The replicas that are on their way.
#[derive(Default)]
pub struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    added: Notify,
}

impl Queue {
    /// Whether there is room for more.
    pub fn has_room(&self) -> bool {
        self.jobs.lock().len() < JOBS_MAX
    }

    pub(super) fn add(&self, job: Job) {
        self.jobs.lock().push_back(job);
        self.added.notify_one();
    }

    async fn next(&self) -> Job {
        loop {
            if let Some(job) = self.jobs.lock().pop_front() {
                return job;
            }
            self.added.notified().await;
        }
    }
}

/// The workers of this broker. Dropped without [`Mover::stop`] they end after their next step.
pub struct Mover {
    stopping: watch::Sender<bool>,
    workers: JoinSet<()>,
}

impl Mover {
    /// On the runtime of the caller.
    pub fn start(
        directories: Arc<Directories>,
        in_force: watch::Receiver<Arc<Settings>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let stopping = watch::Sender::new(false);
        let (window, threads) = {
            let settings = in_force.borrow();
            (settings.replication.relocation_window, settings.replication.relocation_threads)
        };
        let threads = threads.unwrap_or(directories.ids().len()).clamp(1, WORKERS_MAX);
        let speed = Arc::new(Speed::new(window));
        let mut workers = JoinSet::new();
        for _ in 0..threads {
            let worker = Worker {
                directories: Arc::clone(&directories),
                speed: Arc::clone(&speed),
                in_force: in_force.clone(),
                metrics: Arc::clone(&metrics),
                stopping: stopping.subscribe(),
            };
            workers.spawn(worker.run());
        }
        Self { stopping, workers }
    }

    /// Ends the moves at their next step, and waits for that. The next start goes on with them.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        let all = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIME_MAX, all).await.is_err() {
            tracing::warn!(timeout = ?STOP_TIME_MAX, "a step of a move takes long and is not waited for");
        }
    }
}

/// What all workers together may copy.
struct Speed {
    throttle: Mutex<Throttle>,
    /// Of a clock that nobody sets.
    began: Instant,
}

impl Speed {
    fn new(window: Window) -> Self {
        Self { throttle: Mutex::new(Throttle::new(window)), began: Instant::now() }
    }

    fn copied(&self, bytes: usize) {
        if bytes > 0 {
            self.throttle.lock().copied(bytes, self.now_ms());
        }
    }

    fn hold(&self, bytes_per_second: i64) -> Option<Duration> {
        let mut throttle = self.throttle.lock();
        throttle.set_rate(bytes_per_second);
        let hold_ms = throttle.hold_ms(self.now_ms())?;
        Some(Duration::from_millis(u64::try_from(hold_ms).unwrap_or(0)))
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

struct Worker {
    directories: Arc<Directories>,
    speed: Arc<Speed>,
    in_force: watch::Receiver<Arc<Settings>>,
    metrics: Arc<Metrics>,
    stopping: watch::Receiver<bool>,
}

impl Worker {
    async fn run(mut self) {
        let directories = Arc::clone(&self.directories);
        let queue = directories.relocations();
        loop {
            let job = tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => return,
                job = queue.next() => job,
            };
            let rate = self.in_force.borrow_and_update().replication.relocation_rate;
            let pause = match self.speed.hold(rate) {
                Some(hold) if !job.is_cancelled() => {
                    queue.add(job);
                    Some(hold)
                }
                _ => self.step(queue, job).await,
            };
            if let Some(pause) = pause
                && !self.rest(pause).await
            {
                return;
            }
        }
    }

    /// How long to pause after it, if so.
    async fn step(&self, queue: &Queue, job: Job) -> Option<Duration> {
        let directories = Arc::clone(&self.directories);
        let metrics = &self.metrics.relocations;
        match tokio::task::spawn_blocking(move || job.step(&directories)).await {
            Ok(Stepped::On(job, bytes)) => {
                self.speed.copied(bytes);
                metrics.copied(bytes);
                queue.add(job);
                None
            }
            Ok(Stepped::Paused(job)) => {
                queue.add(job);
                Some(RETRY_PAUSE)
            }
            Ok(Stepped::Done) => {
                metrics.done();
                None
            }
            // A panic was logged by its hook. It costs this one move, until the next start.
            Ok(Stepped::GivenUp) | Err(_) => {
                metrics.failed();
                None
            }
            Ok(Stepped::Over) => None,
        }
    }

    /// Waits, unless a setting changes. False when it is time to stop.
    async fn rest(&mut self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            () = stopped(&mut self.stopping) => false,
            Ok(()) = self.in_force.changed() => true,
            () = tokio::time::sleep(pause) => true,
        }
    }
}

/// Waits for the order to stop; without its sender the broker is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
