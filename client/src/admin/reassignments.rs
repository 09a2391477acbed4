//! AlterPartitionReassignments and ListPartitionReassignments: which brokers keep the replicas of partitions (KIP-455).

use std::collections::BTreeSet;

use milena_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use milena_protocol::messages::list_partition_reassignments_request::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};

use super::{Admin, ByPartition};
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};
use crate::offsets::by_topic;

/// A partition whose replicas are being reassigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    /// All that there are meanwhile.
    pub replicas: Vec<i32>,
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
}

impl Admin {
    /// Begins to move partitions to other replicas, the preferred leader first; none takes back what is under way. The
    /// cluster has taken it on when this returns, and moves the records by itself.
    pub async fn alter_partition_reassignments(
        &self,
        targets: &ByPartition<Option<Vec<i32>>>,
    ) -> Result<ByPartition<Result<()>>> {
        let topics = by_topic(targets).into_iter().map(|(topic, partitions)| ReassignableTopic {
            name: topic.into(),
            partitions: partitions
                .into_iter()
                .map(|(partition_index, replicas)| ReassignablePartition {
                    partition_index,
                    replicas: replicas.clone(),
                })
                .collect(),
        });
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            topics: topics.collect(),
            ..Default::default()
        };
        let response = self.cluster.call_any(&request).await?;
        let response = response.decode::<AlterPartitionReassignmentsRequest<'_>>()?;
        Error::check(response.error_code, response.error_message.as_deref(), || {
            "reassigning partitions".to_owned()
        })?;
        let mut results = ByPartition::new();
        for topic in &response.responses {
            for answer in &topic.partitions {
                let name = format!("{}-{}", topic.name, answer.partition_index);
                let checked = Error::check(answer.error_code, answer.error_message.as_deref(), || {
                    format!("reassigning {name}")
                });
                results.insert((topic.name.to_string(), answer.partition_index), checked);
            }
        }
        for (topic, partition) in targets.keys() {
            let silent = || Err(Error::Corrupt(format!("nothing was said of {topic}-{partition}")));
            results.entry((topic.clone(), *partition)).or_insert_with(silent);
            self.cluster.doubt(topic);
        }
        Ok(results)
    }

    /// What is under way: of some partitions, or all of it.
    pub async fn list_partition_reassignments(
        &self,
        partitions: Option<&BTreeSet<PartitionKey>>,
    ) -> Result<ByPartition<Reassignment>> {
        let topics = partitions.map(|partitions| {
            let asked = by_topic(partitions.iter().map(|key| (key, ())));
            let topics = asked.into_iter().map(|(topic, partitions)| {
                let partition_indexes = partitions.into_iter().map(|(partition, ())| partition).collect();
                ListPartitionReassignmentsTopics { name: topic.into(), partition_indexes }
            });
            topics.collect()
        });
        let request = ListPartitionReassignmentsRequest { timeout_ms: self.timeout_ms(), topics };
        let response = self.cluster.call_any(&request).await?;
        let response = response.decode::<ListPartitionReassignmentsRequest<'_>>()?;
        Error::check(response.error_code, response.error_message.as_deref(), || {
            "asking for reassignments".to_owned()
        })?;
        let of = |topic: &str, index: i32| (topic.to_owned(), index);
        let ongoing = response.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(move |partition| {
                let reassignment = Reassignment {
                    replicas: partition.replicas.clone(),
                    adding: partition.adding_replicas.clone(),
                    removing: partition.removing_replicas.clone(),
                };
                (of(&topic.name, partition.partition_index), reassignment)
            })
        });
        Ok(ongoing.collect())
    }
}
