//! Where this broker keeps its replicas, as the controller is told (KIP-858): it can only move what was in a directory
//! that fails when it knows what that is. A broker with one directory has nothing to tell, and one that is alone nobody
//! who would take over.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use milena_state::metadata::directories::{AssignReplicasToDirs, AssignedReplica};
use milena_state::metadata::{Command, Reply};

use crate::controller::Client;
use crate::metadata::Metadata;
use crate::partition::{Directories, Table};

/// Replicas that one request tells of; the rest follows with the next heartbeat.
const REPLICAS_MAX: usize = 2_000;

pub struct Assignments {
    pub controller: Client,
    pub metadata: Arc<Metadata>,
    pub directories: Arc<Directories>,
    pub partitions: Arc<Table>,
    pub broker_id: i32,
    pub broker_epoch: Arc<AtomicI64>,
    /// The image of which everything was told.
    pub told_index: i64,
}

impl Assignments {
    /// Tells what the image does not say, after each heartbeat. What fails is tried again after the next.
    pub async fn tell(&mut self, timeout: Duration) {
        let index = self.metadata.published_index();
        let has_choice = !self.controller.is_alone() && self.directories.ids().len() > 1;
        if !has_choice || index == self.told_index {
            return;
        }
        let replicas = self.untold();
        if replicas.is_empty() {
            self.told_index = index;
            return;
        }
        let count = replicas.len();
        let command = Command::AssignReplicasToDirs(AssignReplicasToDirs {
            broker_id: self.broker_id,
            broker_epoch: self.broker_epoch.load(Ordering::Acquire),
            replicas,
        });
        match self.controller.submit_within(command, timeout).await.map(|committed| committed.reply) {
            Ok(Reply::AssignReplicasToDirs(Ok(_))) => {
                tracing::debug!(count, "directories of replicas were told")
            }
            other => tracing::debug!(count, ?other, "directories of replicas could not be told"),
        }
    }

    fn untold(&self) -> Vec<AssignedReplica> {
        let image = self.metadata.image();
        let own = self.partitions.all().into_iter().filter_map(|partition| {
            let directory = partition.directory();
            if directory.offline_reason().is_some() {
                return None;
            }
            let (topic_id, partition_id) = (partition.topic_id(), partition.index());
            let directory = directory.identity()?.directory_id;
            let known = image.partition(topic_id, partition_id)?.directory_of(self.broker_id)?;
            (known != directory).then_some(AssignedReplica { directory, topic_id, partition_id })
        });
        own.take(REPLICAS_MAX).collect()
    }
}
