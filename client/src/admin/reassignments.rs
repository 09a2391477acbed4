//! AlterPartitionReassignments and ListPartitionReassignments (KIP-455): partitions move to other brokers.

use std::collections::BTreeMap;

use milena_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use milena_protocol::messages::list_partition_reassignments_request::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};

use super::{Admin, ByPartition};
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};

/// A move that is going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    /// All that are replicas now, with those that come and those that go.
    pub replicas: Vec<i32>,
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
}

impl Admin {
    /// Gives partitions these replicas, the first of them preferred as leader; none cancels what is going on. The answer
    /// says that a move has begun, not that it is done. One result per partition.
    pub async fn alter_partition_reassignments(
        &self,
        targets: &ByPartition<Option<Vec<i32>>>,
    ) -> Result<ByPartition<Result<()>>> {
        let mut topics: BTreeMap<&str, Vec<ReassignablePartition>> = BTreeMap::new();
        for ((topic, index), replicas) in targets {
            let target = ReassignablePartition { partition_index: *index, replicas: replicas.clone() };
            topics.entry(topic).or_default().push(target);
        }
        let topics =
            topics.into_iter().map(|(name, partitions)| ReassignableTopic { name: name.into(), partitions });
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
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let checked = Error::check(partition.error_code, partition.error_message.as_deref(), || {
                    format!("reassigning {}-{index}", topic.name)
                });
                results.insert((topic.name.to_string(), index), checked);
            }
        }
        Ok(results)
    }

    /// What moves of some partitions, or of all.
    pub async fn list_partition_reassignments(
        &self,
        partitions: Option<&[PartitionKey]>,
    ) -> Result<ByPartition<Reassignment>> {
        let request = ListPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            topics: partitions.map(by_topic),
        };
        let response = self.cluster.call_any(&request).await?;
        let response = response.decode::<ListPartitionReassignmentsRequest<'_>>()?;
        Error::check(response.error_code, response.error_message.as_deref(), || {
            "listing reassignments".to_owned()
        })?;
        let moves = response.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                let found = Reassignment {
                    replicas: partition.replicas.clone(),
                    adding: partition.adding_replicas.clone(),
                    removing: partition.removing_replicas.clone(),
                };
                ((topic.name.to_string(), partition.partition_index), found)
            })
        });
        Ok(moves.collect())
    }
}

fn by_topic(partitions: &[PartitionKey]) -> Vec<ListPartitionReassignmentsTopics<'_>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, index) in partitions {
        topics.entry(topic).or_default().push(*index);
    }
    let topics = topics.into_iter();
    topics
        .map(|(name, partition_indexes)| ListPartitionReassignmentsTopics {
            name: name.into(),
            partition_indexes,
        })
        .collect()
}
