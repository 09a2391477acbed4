//! ElectLeaders: leaders of partitions, chosen on demand (KIP-183, KIP-460).

use std::collections::BTreeSet;

use milena_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};

use super::{Admin, ByPartition};
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};
use crate::offsets::by_topic;

/// Who may be elected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// The first of the replicas, when it is in sync.
    Preferred,
    /// Any replica that lives, where none in sync does. **Records may be lost.**
    Unclean,
}

impl Admin {
    /// Elects leaders of some partitions, or of all that need one; then only those are answered. A partition that has
    /// the leader it ought to have is `ELECTION_NOT_NEEDED`.
    pub async fn elect_leaders(
        &self,
        election: Election,
        partitions: Option<&BTreeSet<PartitionKey>>,
    ) -> Result<ByPartition<Result<()>>> {
        let topic_partitions = partitions.map(|partitions| {
            let asked = by_topic(partitions.iter().map(|key| (key, ())));
            let topics = asked.into_iter().map(|(topic, partitions)| TopicPartitions {
                topic: topic.into(),
                partitions: partitions.into_iter().map(|(partition, ())| partition).collect(),
            });
            topics.collect()
        });
        let election_type = match election {
            Election::Preferred => 0,
            Election::Unclean => 1,
        };
        let request = ElectLeadersRequest { election_type, topic_partitions, timeout_ms: self.timeout_ms() };
        let response = self.cluster.call_any(&request).await?;
        let response = response.decode::<ElectLeadersRequest<'_>>()?;
        Error::check(response.error_code, None, || "electing leaders".to_owned())?;
        let mut results = ByPartition::new();
        for topic in &response.replica_election_results {
            for answer in &topic.partition_result {
                let name = format!("{}-{}", topic.topic, answer.partition_id);
                let checked = Error::check(answer.error_code, answer.error_message.as_deref(), || {
                    format!("electing a leader of {name}")
                });
                results.insert((topic.topic.to_string(), answer.partition_id), checked);
            }
            self.cluster.doubt(&topic.topic);
        }
        for (topic, partition) in partitions.into_iter().flatten() {
            let silent = || Err(Error::Corrupt(format!("nothing was said of {topic}-{partition}")));
            results.entry((topic.clone(), *partition)).or_insert_with(silent);
        }
        Ok(results)
    }
}
