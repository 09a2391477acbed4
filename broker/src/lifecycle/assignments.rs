//! Where this broker keeps its replicas, as the controller is told (KIP-858): it can only move what was in a directory
//! that fails when it knows what that is. A broker with one directory has nothing to tell, and one that is alone only what
//! the controller has wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use milena_state::metadata::directories::{AssignReplicasToDirs, AssignedReplica, is_unassigned};
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
    /// The image of which everything was told, and the moves between directories.
    pub told: (i64, u64),
}

impl Assignments {
    /// Tells what the image does not say, after each heartbeat. What fails is tried again after the next.
    pub async fn tell(&mut self, timeout: Duration) {
        let now = (self.metadata.published_index(), self.directories.moves_count());
        if self.directories.ids().len() <= 1 || now == self.told {
            return;
        }
        let replicas = self.untold();
        if replicas.is_empty() {
            self.told = now;
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

    /// Also what is in a directory that has failed since it came there: others can lead it only when the controller knows.
    /// Alone there are no others, and only what is wrong is told: a directory that the controller takes for the replica's
    /// could be removed, and the replica would be taken for lost.
    fn untold(&self) -> Vec<AssignedReplica> {
        let image = self.metadata.image();
        let is_alone = self.controller.is_alone();
        let own = self.partitions.all().into_iter().filter_map(|partition| {
            let (topic_id, partition_id) = (partition.topic_id(), partition.index());
            let directory = partition.directory();
            if is_alone && directory.offline_reason().is_some() {
                return None;
            }
            let directory = directory.identity()?.directory_id;
            let known = image.partition(topic_id, partition_id)?.directory_of(self.broker_id)?;
            let is_wrong = known != directory && !(is_alone && is_unassigned(known));
            is_wrong.then_some(AssignedReplica { directory, topic_id, partition_id })
        });
        own.take(REPLICAS_MAX).collect()
    }
}
