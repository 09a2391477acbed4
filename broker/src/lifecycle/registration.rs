//! How a broker gets the epoch under which it heartbeats, proposes and fetches: at its start, and again when the one it
//! has is not in force any more.
//!
//! That happens while it lives when it is unregistered, or when another process follows it: one with its id on another
//! machine, or a dead one before it, whose registration comes late (ADR 55). It registers again as the same incarnation,
//! and as one that may have lost something: its replicas are in sync again when their leaders find them so.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use milena_state::config::broker::Settings;
use milena_state::config::listener::Listener;
use milena_state::metadata::brokers::RegisterBroker;
use milena_state::metadata::command::ApiError;
use milena_state::metadata::record::Endpoint;
use milena_state::metadata::{Command, Reply, features};
use tokio::time::Instant;

use super::Error;
use crate::controller::client::SUBMIT_TIMEOUT;
use crate::controller::{Client, SubmitError};
use crate::metadata::Metadata;
use crate::partition::Directories;
use crate::starting::Starting;

/// Pause before a registration is tried again.
pub const REGISTER_PAUSE: Duration = Duration::from_millis(200);
/// Waiting for a controller is told this often.
const TELL_INTERVAL: Duration = Duration::from_secs(10);
/// How long one attempt may take before it is told that there is no controller.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// The previous broker epoch of a process that was not stopped in order.
const NO_CLEAN_STOP: i64 = -1;

/// What this process tells the controllers of itself, and what they made of it.
#[derive(Clone)]
pub struct Registration {
    pub settings: Arc<Settings>,
    pub controller: Client,
    pub metadata: Arc<Metadata>,
    pub directories: Arc<Directories>,
    /// Of this process, for as long as it lives.
    pub incarnation_id: Uuid,
    pub broker_epoch: Arc<AtomicI64>,
    pub starting: Starting,
}

impl Registration {
    /// Gets the first epoch, and waits until the image that is served has the registration: before that this broker must
    /// not ask to lead under it. Waits for a controller for as long as it takes; an id that is taken is refused after
    /// `initial.broker.registration.timeout.ms`.
    pub async fn begin(&self) -> Result<(), Error> {
        let previous_broker_epoch = self.directories.previous_broker_epoch();
        let mut told = Told::default();
        loop {
            let error = match self.attempt(previous_broker_epoch, &mut told).await {
                Ok(()) => return Ok(()),
                Err(Failed::Refused(error)) => return Err(Error::Refused(self.named(&error))),
                Err(Failed::TriedAgain(error)) => error.to_string(),
                Err(Failed::Unanswered(error @ (SubmitError::NotController | SubmitError::TimedOut)))
                    if !self.controller.is_alone() =>
                {
                    self.check_metadata()?;
                    error.to_string()
                }
                Err(Failed::Unanswered(error)) => return Err(error.into()),
            };
            self.tell_start(&mut told, &error);
            tokio::time::sleep(REGISTER_PAUSE).await;
        }
    }

    /// Gets another epoch after a heartbeat was answered that the present one is `stale`. The data are all there, but the
    /// controllers have judged without this process: it begins as after a crash, which costs copying and nothing else.
    ///
    /// Errors: another process has the id and keeps it, or what this one says of itself is not valid any more.
    pub async fn renew(&self, stale: &ApiError) -> Result<(), Error> {
        let epoch = self.broker_epoch.load(Ordering::Acquire);
        tracing::warn!(epoch, reason = %stale, "this broker's registration is not in force any more, it registers again");
        let mut told = Told::default();
        loop {
            let error = match self.attempt(NO_CLEAN_STOP, &mut told).await {
                Ok(()) => break,
                Err(Failed::Refused(error)) => return Err(Error::Superseded(self.named(&error))),
                Err(Failed::TriedAgain(error)) => error.to_string(),
                Err(Failed::Unanswered(error)) => error.to_string(),
            };
            if told.is_due() {
                tracing::warn!(reason = error, "this broker is not registered and tries again");
            }
            tokio::time::sleep(REGISTER_PAUSE).await;
        }
        let epoch = self.broker_epoch.load(Ordering::Acquire);
        tracing::info!(epoch, "this broker is registered again");
        Ok(())
    }

    async fn attempt(&self, previous_broker_epoch: i64, told: &mut Told) -> Result<(), Failed> {
        let registered = self.submit(previous_broker_epoch).await.map_err(Failed::Unanswered)?;
        let (epoch, index) = registered.map_err(|error| {
            let patience = Duration::from_millis(self.settings.initial_broker_registration_timeout_ms);
            // The session of the other one may run out.
            let may_change = error.code == ErrorCode::DuplicateBrokerRegistration;
            match may_change && told.refused_for() < patience {
                true => Failed::TriedAgain(error),
                false => Failed::Refused(error),
            }
        })?;
        self.broker_epoch.store(epoch, Ordering::Release);
        self.metadata.registered(index);
        // When the metadata is not followed any more, that is said elsewhere.
        let _ = self.metadata.reached(index).await;
        Ok(())
    }

    /// Epoch and index of the registration.
    async fn submit(&self, previous_broker_epoch: i64) -> Result<Result<(i64, i64), ApiError>, SubmitError> {
        let endpoints = self.settings.advertised_listeners.iter().map(endpoint).collect();
        let registration = RegisterBroker {
            broker_id: self.settings.node_id,
            incarnation_id: self.incarnation_id,
            endpoints,
            features: features::supported(),
            rack: self.settings.rack.clone(),
            log_dirs: self.directories.ids(),
            previous_broker_epoch,
            session_is_live: false,
        };
        let timeout = match self.controller.is_alone() {
            true => SUBMIT_TIMEOUT,
            false => ATTEMPT_TIMEOUT,
        };
        let committed = self.controller.submit_within(Command::RegisterBroker(registration), timeout).await?;
        Ok(match committed.reply {
            Reply::RegisterBroker(Ok(registered)) => {
                Ok((registered.epoch_at(committed.index), committed.index))
            }
            Reply::RegisterBroker(Err(error)) => Err(error),
            other => Err(ApiError::new(ErrorCode::UnknownServerError, format!("unexpected reply {other:?}"))),
        })
    }

    fn named(&self, error: &ApiError) -> String {
        format!("{error} (node.id={})", self.settings.node_id)
    }

    /// A broker that the controllers give no metadata, and never will, need not wait for them.
    pub fn check_metadata(&self) -> Result<(), Error> {
        match self.metadata.why_ended() {
            Some(reason) => Err(Error::Refused(reason.to_owned())),
            None => Ok(()),
        }
    }

    /// Says what the start waits for.
    pub fn tell_start(&self, told: &mut Told, reason: &str) {
        self.starting.waits_for(format!("this broker is not registered yet: {reason}"));
        if told.is_due() {
            tracing::info!(%reason, "this broker is not registered yet and tries again");
        }
    }
}

/// Why an attempt brought no epoch.
enum Failed {
    Refused(ApiError),
    /// Refused as well, for a reason that may pass.
    TriedAgain(ApiError),
    Unanswered(SubmitError),
}

/// What was said, and since when.
#[derive(Default)]
pub struct Told {
    last: Option<Instant>,
    first_refusal: Option<Instant>,
}

impl Told {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.last.is_none_or(|last| now >= last + TELL_INTERVAL);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }

    fn refused_for(&mut self) -> Duration {
        self.first_refusal.get_or_insert_with(Instant::now).elapsed()
    }
}

pub(super) fn endpoint(listener: &Listener) -> Endpoint {
    Endpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol as i16,
    }
}
