//! ElectLeaders: partitions get another leader on request (KIP-183, KIP-460).

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};

use super::{Admin, ByPartition};
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};

/// Who shall lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// The first of the replicas, when it is in sync.
    Preferred,
    /// Any replica that lives, where no eligible one does: acknowledged records may be lost.
    Unclean,
}

impl Admin {
    /// Elects leaders of some partitions, or of all. A partition that needs no election is as good as elected; with all of
    /// them only those that had an election are answered.
    pub async fn elect_leaders(
        &self,
        election: Election,
        partitions: Option<&[PartitionKey]>,
    ) -> Result<ByPartition<Result<()>>> {
        let request = ElectLeadersRequest {
            election_type: match election {
                Election::Preferred => 0,
                Election::Unclean => 1,
            },
            topic_partitions: partitions.map(by_topic),
            timeout_ms: self.timeout_ms(),
        };
        let response = self.cluster.call_any(&request).await?;
        let response = response.decode::<ElectLeadersRequest<'_>>()?;
        Error::check(response.error_code, None, || "electing leaders".to_owned())?;
        let mut results = ByPartition::new();
        for topic in &response.replica_election_results {
            for partition in &topic.partition_result {
                let index = partition.partition_id;
                let code = match partition.error_code {
                    code if code == i16::from(ErrorCode::ElectionNotNeeded) => 0,
                    code => code,
                };
                let checked = Error::check(code, partition.error_message.as_deref(), || {
                    format!("electing a leader of {}-{index}", topic.topic)
                });
                results.insert((topic.topic.to_string(), index), checked);
            }
        }
        Ok(results)
    }
}

fn by_topic(partitions: &[PartitionKey]) -> Vec<TopicPartitions<'_>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, index) in partitions {
        topics.entry(topic).or_default().push(*index);
    }
    let topics = topics.into_iter();
    topics.map(|(topic, partitions)| TopicPartitions { topic: topic.into(), partitions }).collect()
}
