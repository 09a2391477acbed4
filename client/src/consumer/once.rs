//! One fetch of one partition, without a consumer around it.

use milena_protocol::messages::fetch_request::FetchRequest;

use super::{Asked, Fetched, partition_error, request};
use crate::cluster::Cluster;
use crate::config::ConsumerConfig;
use crate::error::{Error, Result};

impl Fetched {
    /// What one fetch brings of a partition; tried once.
    pub(crate) async fn once(
        cluster: &Cluster,
        config: &ConsumerConfig,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Self> {
        let known = cluster.topic(topic, false).await?;
        let leader = known.leader(partition)?;
        let asked = [Asked { topic: topic.to_owned(), topic_id: known.id, partition, offset }];
        let response = request::fetch(cluster, config, leader, &asked).await?;
        let decoded = response.decode::<FetchRequest<'_>>()?;
        Error::check(decoded.error_code, None, || "Fetch".to_owned())?;
        let nothing = || Error::Corrupt(format!("Fetch said nothing of {topic}-{partition}"));
        let part = request::partitions(&response, &decoded, &asked)?.pop().ok_or_else(nothing)?;
        match part.error {
            Some(code) => Err(partition_error(&part, code)),
            None => Ok(part),
        }
    }
}
