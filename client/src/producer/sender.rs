//! The task of one partition: moves batches from the queue into the window, sends what the window says, and settles what
//! it gives back. At most one batch is on its way into a connection, so that they enter in order; answers are awaited
//! together.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::delivery::{Promise, Stored};
use super::fate::{Failure, Verdict};
use super::identity::Identity;
use super::numbering::Need;
use super::post::{Answer, Link, numbered};
use super::queue::{Due, Pending, Queue};
use super::window::{Rules, Settled, Window};
use crate::config::IDEMPOTENT_IN_FLIGHT_MAX;
use crate::error::{Error, Result};

pub(super) struct Sender {
    link: Arc<Link>,
    queue: Arc<Queue>,
    window: Window<Parcel>,
    /// What is under way: an identity, a batch into its connection, and answers, one per batch of the window at most.
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    is_posting: bool,
    is_identifying: bool,
    /// What batches past their time fail with.
    too_late: Error,
}

/// A finished batch.
struct Parcel {
    batch: Bytes,
    promise: Promise,
    /// Bytes taken from the budget.
    bytes: usize,
}

enum Event {
    Identified(Result<Identity>),
    Posted(u64, Result<Answer, Failure>),
    Answered(u64, Result<Stored, Failure>),
}

impl Sender {
    pub fn new(link: Link, queue: Arc<Queue>) -> Self {
        let (config, client) = (&link.shared.config, link.shared.cluster.config());
        let idempotent = config.enable_idempotence;
        let in_flight_max = if idempotent {
            config.max_in_flight.min(IDEMPOTENT_IN_FLIGHT_MAX)
        } else {
            config.max_in_flight
        };
        let rules = Rules {
            idempotent,
            in_flight_max: in_flight_max.max(1) as u64,
            pause: client.retry_backoff,
            pause_max: client.retry_backoff_max,
        };
        let too_late = Error::TimedOut {
            what: format!("delivery to {}-{}", link.topic, link.partition),
            timeout_ms: config.delivery_timeout.as_millis() as u64,
        };
        Self {
            too_late,
            link: Arc::new(link),
            queue,
            window: Window::new(rules),
            events: FuturesUnordered::new(),
            is_posting: false,
            is_identifying: false,
        }
    }

    /// Runs until the queue is closed and everything is settled.
    pub async fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        loop {
            let now = Instant::now();
            self.expire(now);
            let due = self.take_up(now);
            self.post_next(now);
            if due == Due::Never && self.window.is_empty() {
                return;
            }
            let wake = self.wake_at(now, due);
            tokio::select! {
                Some(event) = self.events.next() => self.handle(event, Instant::now()),
                () = queue.changed.notified() => {}
                () = until(wake) => {}
            }
        }
    }

    /// Moves what is due into the window while that has room.
    fn take_up(&mut self, now: Instant) -> Due {
        loop {
            let due = self.queue.due(&self.link.shared, now);
            if due == Due::Now || !self.window.is_empty() {
                self.identify();
            }
            if due != Due::Now || !self.window.has_room(now) {
                return due;
            }
            if let Some(pending) = self.queue.take() {
                self.admit(pending);
            }
        }
    }

    fn identify(&mut self) {
        if let Some(need) = self.window.need().filter(|_| !self.is_identifying) {
            self.is_identifying = true;
            self.events.push(Box::pin(fetch(Arc::clone(&self.link), need)));
        }
    }

    fn admit(&mut self, pending: Pending) {
        let Pending { builder, promise, since, bytes } = pending;
        let count = builder.count();
        match builder.finish() {
            Ok(batch) => {
                let deadline = since + self.link.shared.config.delivery_timeout;
                self.window.admit(Parcel { batch: batch.into(), promise, bytes }, count, deadline);
            }
            Err(error) => self.settle(promise, bytes, Err(Error::Corrupt(error.to_string()))),
        }
    }

    fn post_next(&mut self, now: Instant) {
        if self.is_posting {
            return;
        }
        let Some((id, parcel, number)) = self.window.next(now) else { return };
        self.is_posting = true;
        match numbered(std::mem::take(&mut parcel.batch), number) {
            Ok(batch) => {
                parcel.batch = batch.clone();
                let link = Arc::clone(&self.link);
                self.events.push(Box::pin(async move { Event::Posted(id, link.post(batch).await) }));
            }
            Err(error) => {
                let failed = Event::Posted(id, Err(Failure::before_sending(error)));
                self.events.push(Box::pin(std::future::ready(failed)));
            }
        }
    }

    fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Identified(identity) => {
                self.is_identifying = false;
                match identity {
                    Ok(identity) => self.window.identify(identity),
                    // What never gets an identity ends by its own deadline, as what never gets an answer.
                    Err(error) if error.may_be_retried() => {
                        tracing::debug!(%error, "a producer id is asked for again");
                    }
                    Err(error) => self.fail_first(error),
                }
            }
            Event::Posted(id, posted) => {
                self.is_posting = false;
                match posted {
                    Ok(answer) => {
                        self.events.push(Box::pin(async move { Event::Answered(id, answer.await) }));
                    }
                    Err(failure) => self.answered(id, Err(failure), now),
                }
            }
            Event::Answered(id, outcome) => self.answered(id, outcome, now),
        }
    }

    fn answered(&mut self, id: u64, outcome: Result<Stored, Failure>, now: Instant) {
        if let Err(failure) = &outcome
            && failure.verdict() == Verdict::Retry
        {
            // Perhaps another broker leads now.
            tracing::debug!(error = %failure.error, "a batch is sent again");
            self.link.shared.cluster.doubt_leader(&self.link.topic, self.link.partition);
        }
        let settled = self.window.answered(id, outcome, now);
        self.settle_all(settled);
    }

    /// No identity can be had: the oldest batch pays for it, so that nothing waits for ever.
    fn fail_first(&mut self, error: Error) {
        if !self.window.is_empty() {
            let settled = self.window.fail_first(error);
            self.settle_all(settled);
        } else if let Some(Pending { promise, bytes, .. }) = self.queue.take() {
            self.settle(promise, bytes, Err(error));
        }
    }

    fn expire(&mut self, now: Instant) {
        let settled = self.window.expire(now, &self.too_late);
        self.settle_all(settled);
        let timeout = self.link.shared.config.delivery_timeout;
        while self.queue.oldest().is_some_and(|since| since + timeout <= now)
            && let Some(Pending { promise, bytes, .. }) = self.queue.take()
        {
            self.settle(promise, bytes, Err(self.too_late.clone()));
        }
    }

    fn settle_all(&self, settled: Settled<Parcel>) {
        for (Parcel { promise, bytes, .. }, result) in settled {
            self.settle(promise, bytes, result);
        }
    }

    fn settle(&self, promise: Promise, bytes: usize, result: Result<Stored>) {
        promise.settle(result);
        self.queue.settled(bytes, &self.link.shared);
    }

    fn wake_at(&self, now: Instant, due: Due) -> Option<Instant> {
        let linger = match due {
            Due::At(at) => Some(at),
            Due::Now | Due::Later | Due::Never => None,
        };
        let timeout = self.link.shared.config.delivery_timeout;
        let too_late = self.queue.oldest().map(|since| since + timeout);
        linger.into_iter().chain(too_late).chain(self.window.wake_at(now)).min()
    }
}

async fn fetch(link: Arc<Link>, need: Need) -> Event {
    Event::Identified(link.shared.identities.fetch(need).await)
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}
