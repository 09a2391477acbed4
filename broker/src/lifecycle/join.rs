//! Joining the cluster and leaving it: registration, the first heartbeats, controlled shutdown.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_state::config::listener::Listener;
use milena_state::metadata::brokers::RegisterBroker;
use milena_state::metadata::command::ApiError;
use milena_state::metadata::record::Endpoint;
use milena_state::metadata::{Command, Reply, features};
use tokio::time::Instant;

use super::assignments::Assignments;
use super::heartbeats::Heartbeats;
use super::{Error, Lifecycle};
use crate::broker::now_ms;
use crate::controller::SubmitError;
use crate::partition::{Cleaner, Mover};

/// Pause before a registration is tried again.
const REGISTER_PAUSE: Duration = Duration::from_millis(200);
/// Waiting for a controller is told this often.
const TELL_INTERVAL: Duration = Duration::from_secs(10);
/// How long one attempt may take before it is told that there is no controller.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// A broker that stops waits so long for somebody to lead the quorum: about an election. When all nodes stop there will
/// be nobody.
const LEADERLESS_TIME_MAX: Duration = Duration::from_millis(1_500);
/// Between two heartbeats of a broker that stops, while others have not noticed yet.
const LEAVE_PAUSE: Duration = Duration::from_millis(20);

impl Lifecycle {
    /// Makes this node what its roles say and returns when it is: a broker is registered, unfenced and leads what it
    /// should. Waits for a controller for as long as it takes, and says so. When nothing comes of it the node is stopped in
    /// order: what it has opened is closed.
    pub async fn join(mut self) -> Result<Self, Error> {
        let mut stop = self.stop.clone();
        let joined = tokio::select! {
            biased;
            joined = self.enter() => joined,
            _ = stop.asked_for() => Err(Error::Stopped),
        };
        match joined {
            Ok(()) => {
                self.starting.done();
                Ok(self)
            }
            Err(error) => {
                self.stop().await;
                Err(error)
            }
        }
    }

    async fn enter(&mut self) -> Result<(), Error> {
        if !self.settings.quorum.roles.broker {
            return Ok(());
        }
        self.starting.waits_for("this broker is not registered yet");
        self.register().await?;
        let heartbeats = self.heartbeats();
        let index = self.first_heartbeat(&heartbeats).await?;
        let _ = self.metadata.reached(index).await;
        self.producer_ids.prefetch();
        self.tasks.lock().push(tokio::spawn(heartbeats.run()));
        // Everything that was committed before is applied now.
        if let Some(twice) = self.directories.twice() {
            return Err(Error::Twice(twice));
        }
        let (table, in_force) = (Arc::clone(&self.partitions), self.in_force());
        self.cleaner = Some(Cleaner::start(table, in_force, Arc::clone(&self.metrics), Arc::new(now_ms)));
        let directories = Arc::clone(&self.directories);
        self.mover = Some(Mover::start(directories, self.in_force(), Arc::clone(&self.metrics)));
        Ok(())
    }

    /// Gets an epoch, and waits until the image that is served has the registration: before that this broker must not
    /// ask to lead under it.
    async fn register(&self) -> Result<(), Error> {
        let patience = Duration::from_millis(self.settings.initial_broker_registration_timeout_ms);
        let deadline = Instant::now() + patience;
        let mut told: Option<Instant> = None;
        loop {
            let registered = match self.try_to_register().await {
                Ok(Ok(registered)) => registered,
                Ok(Err(error))
                    if error.code == ErrorCode::DuplicateBrokerRegistration && Instant::now() < deadline =>
                {
                    self.tell(&mut told, &error);
                    tokio::time::sleep(REGISTER_PAUSE).await;
                    continue;
                }
                Ok(Err(error)) => {
                    return Err(Error::Refused(format!("{error} (node.id={})", self.settings.node_id)));
                }
                Err(error @ (SubmitError::NotController | SubmitError::TimedOut))
                    if !self.controller.is_alone() =>
                {
                    self.check_metadata()?;
                    self.tell(&mut told, &error);
                    tokio::time::sleep(REGISTER_PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let (epoch, index) = registered;
            self.broker_epoch.store(epoch, Ordering::Release);
            let _ = self.metadata.reached(index).await;
            return Ok(());
        }
    }

    /// A broker that the controllers give no metadata, and never will, need not wait for them.
    fn check_metadata(&self) -> Result<(), Error> {
        match self.metadata.why_ended() {
            Some(reason) => Err(Error::Refused(reason.to_owned())),
            None => Ok(()),
        }
    }

    fn tell(&self, told: &mut Option<Instant>, reason: &dyn std::fmt::Display) {
        self.starting.waits_for(format!("this broker is not registered yet: {reason}"));
        let now = Instant::now();
        if told.is_none_or(|told| now >= told + TELL_INTERVAL) {
            *told = Some(now);
            tracing::info!(%reason, "this broker is not registered yet and tries again");
        }
    }

    /// Epoch and index of the registration.
    async fn try_to_register(&self) -> Result<Result<(i64, i64), ApiError>, SubmitError> {
        let endpoints = self.settings.advertised_listeners.iter().map(endpoint).collect();
        let registration = RegisterBroker {
            broker_id: self.settings.node_id,
            incarnation_id: self.incarnation_id,
            endpoints,
            features: features::supported(),
            rack: self.settings.rack.clone(),
            log_dirs: self.directories.ids(),
            previous_broker_epoch: self.directories.previous_broker_epoch(),
            session_is_live: false,
        };
        let timeout = match self.controller.is_alone() {
            true => crate::controller::client::SUBMIT_TIMEOUT,
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

    /// The index at which this broker is unfenced.
    async fn first_heartbeat(&self, heartbeats: &Heartbeats) -> Result<i64, Error> {
        let mut told = None;
        loop {
            match heartbeats.beat(false).await {
                Ok((answer, index)) if !answer.is_fenced => return Ok(index),
                // The controller that answers may have been elected just now and know less than we do.
                Ok(_) if !self.controller.is_alone() => {}
                Ok((_, index)) => return Ok(index),
                Err(reason) if !self.controller.is_alone() => self.tell(&mut told, &reason),
                Err(reason) => return Err(Error::Refused(reason)),
            }
            self.check_metadata()?;
            tokio::time::sleep(REGISTER_PAUSE).await;
        }
    }

    /// Tells the controller that this broker wants to stop, until it may.
    pub(super) async fn give_up_leadership(&self) {
        let heartbeats = self.heartbeats();
        loop {
            match heartbeats.beat_within(true, LEADERLESS_TIME_MAX).await {
                Ok((answer, _)) if answer.should_shut_down => return,
                Ok((_, index)) => {
                    // The answer changes when everybody has applied what the last one began; we are somebody. When all
                    // stop at once it may never come here, and the next heartbeat tells that nobody leads any more.
                    let reached = self.metadata.reached(index);
                    if let Ok(Err(_)) = tokio::time::timeout(LEADERLESS_TIME_MAX, reached).await {
                        return;
                    }
                    if !self.controller.is_alone() {
                        tokio::time::sleep(LEAVE_PAUSE).await;
                    }
                }
                Err(reason) => {
                    tracing::warn!(%reason, "controller did not let this broker leave in order");
                    return;
                }
            }
        }
    }

    fn heartbeats(&self) -> Heartbeats {
        Heartbeats {
            controller: self.controller.clone(),
            metadata: Arc::clone(&self.metadata),
            directories: Arc::clone(&self.directories),
            broker_id: self.settings.node_id,
            broker_epoch: Arc::clone(&self.broker_epoch),
            is_unfenced: Arc::clone(&self.is_unfenced),
            interval: Duration::from_millis(self.settings.broker_heartbeat_interval_ms),
            assignments: Assignments {
                controller: self.controller.clone(),
                metadata: Arc::clone(&self.metadata),
                directories: Arc::clone(&self.directories),
                partitions: Arc::clone(&self.partitions),
                broker_id: self.settings.node_id,
                broker_epoch: Arc::clone(&self.broker_epoch),
                told: (-1, 0),
            },
        }
    }
}

fn endpoint(listener: &Listener) -> Endpoint {
    Endpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol as i16,
    }
}
