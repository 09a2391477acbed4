//! The active controller when it is another node: found, connected to, and asked with Kafka's own requests (ADR 10).
//!
//! Who leads is told by whoever follows the metadata: the member of the quorum in this process, or the controller that
//! this broker fetches from. A node answers the requests of a connection one after the other, so that those do not share
//! one that must not wait for each other: requests of clients, which may take long, changes of in-sync replicas, for
//! which producers wait, and heartbeats, whose connection tells by its end that this process is gone.

mod assign_replicas;
pub mod auto_join;
mod link;
pub mod quorum;
mod register_controller;
mod requests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_client::connection::{Connection, Response};
use milena_client::net::Dialer;
use milena_protocol::{ErrorCode, Request};
use milena_state::metadata::Command;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::client::{Committed, SubmitError};
use link::Link;
pub(crate) use link::options;
pub(crate) use requests::{frame, opened, recovery_number, recovery_state};

/// Pause before the controller is asked again that did not answer, or that said it was none.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// The node that leads the quorum, and where its controller listener is, as far as it takes to ask it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveController {
    pub id: i32,
    /// `host:port`
    pub address: String,
}

/// Why a controller did not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is none, or cannot be reached; another one may decide.
    ForNow,
    ForGood(SubmitError),
}

/// What became of a request that was passed on.
#[derive(Debug)]
pub struct PassedOn {
    /// Header and body of the response.
    pub response: Bytes,
    /// This broker has the outcome in its image once its metadata reached this index.
    pub index: i64,
}

/// The way from this node to the active controller.
pub struct Remote {
    cluster_id: Arc<str>,
    leader: watch::Receiver<Option<ActiveController>>,
    dialer: Dialer,
    background: Handle,
    /// What this broker asks for itself, now and then.
    commands: Link,
    /// AlterPartition.
    partitions: Link,
    /// Requests of clients that are passed on.
    envelopes: Link,
    heartbeats: Link,
}

impl Remote {
    /// `leader` is told by whoever knows. Must be called on the runtime that the connections live on.
    pub fn new(
        cluster_id: Arc<str>,
        leader: watch::Receiver<Option<ActiveController>>,
        dialer: Dialer,
    ) -> Arc<Self> {
        Arc::new(Self {
            cluster_id,
            leader,
            dialer,
            background: Handle::current(),
            commands: Link::default(),
            partitions: Link::default(),
            envelopes: Link::default(),
            heartbeats: Link::default(),
        })
    }

    /// The leader as it was last heard of.
    pub fn leader(&self) -> Option<ActiveController> {
        self.leader.borrow().clone()
    }

    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub fn cluster_id(&self) -> &Arc<str> {
        &self.cluster_id
    }

    /// Asks once.
    pub(super) async fn submit(&self, command: &Command, deadline: Instant) -> Result<Committed, Refused> {
        match command {
            Command::RegisterBroker(command) => self.register(command, deadline).await,
            Command::BrokerHeartbeat(command) => self.heartbeat(command, deadline).await,
            Command::AlterPartition(command) => self.alter_partition(command, deadline).await,
            Command::AllocateProducerIds(command) => self.allocate_producer_ids(command, deadline).await,
            Command::AssignReplicasToDirs(command) => self.assign_replicas(command, deadline).await,
            Command::RegisterController(command) => self.register_controller(command, deadline).await,
            Command::CreateTopics(command) => self.create_topics(command, deadline).await,
            // Whatever else there is comes from clients, whose requests are passed on as they are.
            _ => Err(Refused::ForGood(SubmitError::NotController)),
        }
    }

    /// Until somebody else leads, or it is time to ask again.
    pub(super) async fn pause(&self, deadline: Instant) {
        let mut leader = self.leader.clone();
        leader.mark_unchanged();
        let until = (Instant::now() + RETRY_PAUSE).min(deadline);
        // An error: nobody will tell any more, and asking again is all there is.
        if let Ok(Err(_)) = tokio::time::timeout_at(until, leader.changed()).await {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Waits until another node leads than `reached`.
    pub async fn turnover(&self, reached: Option<&ActiveController>) {
        let mut leader = self.leader.clone();
        if leader.wait_for(|now| now.is_some() && now.as_ref() != reached).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until the connection of the heartbeats is gone; for ever while there is none.
    pub async fn lost_contact(&self) {
        match self.heartbeats.current() {
            Some(connection) => connection.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Lets go of the connections, the heartbeats' first.
    pub fn close(&self) {
        [&self.heartbeats, &self.commands, &self.partitions, &self.envelopes]
            .into_iter()
            .for_each(Link::close);
    }

    async fn ask<R: Request>(
        &self,
        link: &Link,
        request: &R,
        deadline: Instant,
    ) -> Result<Response, Refused> {
        let leader = self.leader().ok_or(Refused::ForNow)?;
        let connection =
            link.to((&self.dialer, &self.cluster_id), &leader.address, &self.background, deadline).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let version =
            connection.version_of::<R>(i16::MAX).map_err(|error| not_served(&connection, &error))?;
        connection.call_within(request, version, left).await.map_err(|error| {
            link.lose(&connection);
            tracing::debug!(%error, "active controller did not answer");
            Refused::ForNow
        })
    }
}

/// The other node is of a version that does not know what we ask: asking again does not help.
fn not_served(connection: &Connection, error: &milena_client::error::Error) -> Refused {
    tracing::warn!(address = connection.address(), %error, "active controller does not serve this node");
    Refused::ForGood(SubmitError::Answered(ErrorCode::UnsupportedVersion))
}

/// Kafka's form of a principal that nobody authenticated: version 0, `User`, `ANONYMOUS`, no delegation token.
const ANONYMOUS: &[u8] = b"\x00\x00\x05User\x0aANONYMOUS\x00\x00";

fn octets(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
#[path = "remote_test.rs"]
mod tests;
