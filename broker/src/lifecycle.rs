//! The broker's life in the cluster: open the directories, follow the metadata, register, unfence, heartbeat, leave.
//!
//! [`Lifecycle::open`] finds the cluster, opens directories, metadata and partitions; [`Lifecycle::join`] registers the
//! broker under its advertised listeners and returns when clients may use it. In between the node answers its
//! controller listeners: without them there is no leader that could register anybody. [`Lifecycle::stop`] takes the node
//! out in order: leadership is given up, logs are closed, the clean-stop marker is written. A process that dies instead
//! loses nothing that was acknowledged: its next start recovers the logs.
//!
//! A start may wait for others without end. It can be asked to stop meanwhile ([`Outside::stop`]), and leaves behind what
//! it found, a clean stop when the last one was: unless it was recovering logs, which then ends as in a crash.

mod assignments;
mod heartbeats;
mod join;
mod registration;
mod start;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use milena_log::Log;
use milena_protocol::types::Uuid;
use milena_state::config::broker::Settings;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::controller::founding;
use crate::controller::raft::quorum::{self, Quorum};
use crate::controller::{Client, ProducerIds, SubmitError};
use crate::coordinator::Coordinators;
use crate::metadata::checkpoint::Checkpoint;
use crate::metadata::{Metadata, publish};
use crate::metrics::Metrics;
use crate::partition::directories::{SYNCING_THREADS, Twice, in_parallel};
use crate::partition::{Cleaner, Directories, Mover, OpenError, Partition, Table};
use crate::quota::Quotas;
use crate::replication::{Replication, Throttles};
use crate::shutdown::Stop;
use crate::starting::Starting;

pub use start::Outside;

#[cfg(test)]
use {
    crate::broker::now_ms,
    crate::controller::raft::log_store::LOG_NAME,
    crate::metadata::publish::Publisher,
    milena_log::RealFiles,
    milena_log::files::Files,
    milena_state::metadata::{Command, Reply},
    start::open_directories,
};

/// A controlled shutdown that takes longer is given up; the logs are closed all the same.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The broker epoch before the registration.
const UNREGISTERED: i64 = -1;

/// Everything of a node that lives below its listeners.
pub struct Lifecycle {
    settings: Arc<Settings>,
    in_force: watch::Receiver<Arc<Settings>>,
    quotas: Arc<Quotas>,
    metadata: Arc<Metadata>,
    partitions: Arc<Table>,
    directories: Arc<Directories>,
    controller: Client,
    /// The member of the quorum in this process, if it is a controller.
    quorum: Option<Quorum>,
    producer_ids: Arc<ProducerIds>,
    groups: Arc<Coordinators>,
    replication: Arc<Replication>,
    incarnation_id: Uuid,
    broker_epoch: Arc<AtomicI64>,
    is_unfenced: Arc<AtomicBool>,
    tasks: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    /// Tells when this node cannot be a broker any more.
    ended: Option<oneshot::Receiver<Error>>,
    /// Of the metadata, in a broker that keeps no log of them.
    checkpoint: Option<Arc<Checkpoint>>,
    /// From when partitions have their leader on.
    cleaner: Option<Cleaner>,
    /// As the cleaner.
    mover: Option<Mover>,
    metrics: Arc<Metrics>,
    starting: Starting,
    stop: Stop,
    /// What this broker led was handed over.
    has_left: bool,
}

/// Why a node could not start, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Directories(#[from] OpenError),
    #[error("metadata log directory {0} (metadata.log.dir) cannot be used: {1}")]
    MetadataDirectory(std::path::PathBuf, String),
    #[error(transparent)]
    Quorum(#[from] quorum::StartError),
    #[error(transparent)]
    Founding(#[from] founding::Error),
    #[error("controller did not answer: {0}")]
    Controller(#[from] SubmitError),
    #[error("partitions could not be opened: {0}")]
    Publisher(#[from] publish::Ended),
    #[error(transparent)]
    Twice(#[from] Twice),
    #[error("broker registration was refused: {0}")]
    Refused(String),
    #[error(
        "this broker has lost its registration, and a new one was refused: {0}; is there another broker with its id?"
    )]
    Superseded(String),
    #[error("the start was stopped")]
    Stopped,
}

impl Lifecycle {
    /// The settings with the dynamic broker configuration laid over them, and every change of them.
    pub fn in_force(&self) -> watch::Receiver<Arc<Settings>> {
        self.in_force.clone()
    }

    /// Of replication.
    pub fn throttles(&self) -> &Arc<Throttles> {
        self.replication.throttles()
    }

    pub fn metadata(&self) -> &Arc<Metadata> {
        &self.metadata
    }

    pub fn partitions(&self) -> &Arc<Table> {
        &self.partitions
    }

    pub fn directories(&self) -> &Arc<Directories> {
        &self.directories
    }

    pub fn controller(&self) -> &Client {
        &self.controller
    }

    /// The member of the quorum in this process, if it is a controller.
    pub fn quorum(&self) -> Option<&Quorum> {
        self.quorum.as_ref()
    }

    pub fn producer_ids(&self) -> &Arc<ProducerIds> {
        &self.producer_ids
    }

    pub fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    pub fn groups(&self) -> &Arc<Coordinators> {
        &self.groups
    }

    pub fn cluster_id(&self) -> &str {
        self.directories.cluster_id()
    }

    /// Epoch of our registration, −1 before it.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Acquire)
    }

    /// Whether the controller lets this broker lead partitions.
    pub fn is_unfenced(&self) -> bool {
        self.is_unfenced.load(Ordering::Acquire)
    }

    /// Waits until this node cannot be a broker any more, which only happens when another process has its id; it should be
    /// stopped then.
    pub async fn ended(&mut self) -> Error {
        let ended = match &mut self.ended {
            Some(ended) => ended.await.ok(),
            None => None,
        };
        match ended {
            Some(error) => {
                self.ended = None;
                error
            }
            None => std::future::pending().await,
        }
    }

    /// Drawn by this process at its start.
    pub fn incarnation_id(&self) -> Uuid {
        self.incarnation_id
    }

    /// Hands over what this broker leads, in the cluster as a whole, in at most [`LEAVE_TIMEOUT`]. Clients are served
    /// meanwhile and find the new leaders. A second call does nothing.
    pub async fn leave(&mut self) {
        if std::mem::replace(&mut self.has_left, true) || self.broker_epoch() < 0 {
            return;
        }
        if tokio::time::timeout(LEAVE_TIMEOUT, self.give_up_leadership()).await.is_err() {
            tracing::warn!(timeout = ?LEAVE_TIMEOUT, "controlled shutdown took too long and was given up");
        }
    }

    /// Whether others could take over what this broker leads.
    pub fn has_company(&self) -> bool {
        let image = self.metadata.image();
        image.brokers().any(|broker| broker.broker_id != self.settings.node_id && broker.is_active())
    }

    /// Leaves the cluster in order and closes the logs. Called when no request is under way any more.
    pub async fn stop(mut self) {
        self.groups.stop();
        self.leave().await;
        let tasks: Vec<_> = self.tasks.lock().drain(..).collect();
        tasks.iter().for_each(|task| task.abort());
        for task in tasks {
            // Cancelled, as was just asked for: before the quorum ends, or the follower would take that for a failure.
            let _ = task.await;
        }
        if let Some(cleaner) = self.cleaner.take() {
            cleaner.stop().await;
        }
        if let Some(mover) = self.mover.take() {
            mover.stop().await;
        }
        self.replication.stop().await;
        if let Some(remote) = self.controller.remote() {
            remote.close();
        }
        if let Some(quorum) = &self.quorum {
            quorum.transfer().await;
            quorum.stop().await;
        }
        let (partitions, directories, quorum) =
            (Arc::clone(&self.partitions), Arc::clone(&self.directories), self.quorum.clone());
        let broker_epoch = match self.broker_epoch() {
            // The controllers know the one of before.
            UNREGISTERED => directories.previous_broker_epoch(),
            epoch => epoch,
        };
        let (checkpoint, metadata) = (self.checkpoint.take(), Arc::clone(&self.metadata));
        let closing = tokio::task::spawn_blocking(move || {
            if let Some(checkpoint) = checkpoint {
                checkpoint.write_last(&metadata);
            }
            in_parallel(SYNCING_THREADS, &partitions.all(), |partition| close(partition));
            if let Some(quorum) = quorum {
                quorum.close_log();
            }
            directories.close_clean(broker_epoch);
        });
        if closing.await.is_err() {
            tracing::error!("closing the logs panicked; the next start recovers them");
        }
    }
}

fn close(partition: &Partition) {
    let log = partition.take_log();
    if partition.is_offline() {
        // Its disk failed or it was found damaged: what it holds is for the next start to check.
        return;
    }
    let Some(Err(error)) = log.map(Log::close_clean) else { return };
    tracing::error!(topic = %partition.topic(), partition = partition.index(), %error, "log was not closed cleanly");
}

fn new_id() -> Uuid {
    Uuid::from_bytes(*uuid::Uuid::new_v4().as_bytes())
}

#[cfg(test)]
#[path = "lifecycle_test_node.rs"]
mod test_node;

#[cfg(test)]
#[path = "lifecycle_test.rs"]
mod tests;

#[cfg(test)]
#[path = "lifecycle_folder_test.rs"]
mod folder_tests;

#[cfg(test)]
#[path = "lifecycle_registration_test.rs"]
mod registration_tests;

#[cfg(test)]
#[path = "lifecycle_fault_test.rs"]
mod fault_tests;

#[cfg(test)]
#[path = "lifecycle_relocation_test.rs"]
mod relocation_tests;

#[cfg(test)]
#[path = "lifecycle_cleaner_scene.rs"]
mod cleaner_scene;

#[cfg(test)]
#[path = "lifecycle_cleaner_test.rs"]
mod cleaner_tests;

#[cfg(test)]
#[path = "lifecycle_partition_test.rs"]
mod partition_tests;

#[cfg(test)]
#[path = "lifecycle_group_scene_test.rs"]
mod group_scene;

#[cfg(test)]
#[path = "lifecycle_group_test.rs"]
mod group_tests;

#[cfg(test)]
#[path = "lifecycle_group_member_test.rs"]
mod group_member_tests;

#[cfg(test)]
#[path = "lifecycle_group_topic_test.rs"]
mod group_topic_tests;
