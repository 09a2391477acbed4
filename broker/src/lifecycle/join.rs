//! Joining the cluster and leaving it: registration, the first heartbeats, controlled shutdown.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::assignments::Assignments;
use super::heartbeats::{Heartbeats, Unheard};
use super::registration::{REGISTER_PAUSE, Registration, Told};
use super::{Error, Lifecycle};
use crate::broker::now_ms;
use crate::partition::{Cleaner, Mover};

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
        let heartbeats = self.heartbeats();
        heartbeats.registration.begin().await?;
        let index = self.first_heartbeat(&heartbeats).await?;
        let _ = self.metadata.reached(index).await;
        self.producer_ids.prefetch();
        let (ended, when_ended) = oneshot::channel();
        self.ended = Some(when_ended);
        self.tasks.lock().push(tokio::spawn(async move {
            // Nobody waits any more when the node stops.
            let _ = ended.send(heartbeats.run().await);
        }));
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

    /// The index at which this broker is unfenced.
    async fn first_heartbeat(&self, heartbeats: &Heartbeats) -> Result<i64, Error> {
        let (registration, mut told) = (&heartbeats.registration, Told::default());
        loop {
            match heartbeats.beat(false).await {
                Ok((answer, index)) if !answer.is_fenced => return Ok(index),
                // The controller that answers may have been elected just now and know less than we do.
                Ok(_) if !self.controller.is_alone() => {}
                Ok((_, index)) => return Ok(index),
                Err(Unheard::Stale(error)) => registration.renew(&error).await?,
                Err(error) if !self.controller.is_alone() => {
                    registration.tell_start(&mut told, &error.to_string());
                }
                Err(error) => return Err(Error::Refused(error.to_string())),
            }
            registration.check_metadata()?;
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
                Err(error) => {
                    tracing::warn!(reason = %error, "controller did not let this broker leave in order");
                    return;
                }
            }
        }
    }

    fn heartbeats(&self) -> Heartbeats {
        Heartbeats {
            registration: Registration {
                settings: Arc::clone(&self.settings),
                controller: self.controller.clone(),
                metadata: Arc::clone(&self.metadata),
                directories: Arc::clone(&self.directories),
                incarnation_id: self.incarnation_id,
                broker_epoch: Arc::clone(&self.broker_epoch),
                starting: self.starting.clone(),
            },
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
