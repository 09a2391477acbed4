//! Topics: creating, listing, describing, deleting.

use std::sync::Arc;
use std::time::Duration;

use milena_protocol::Uuid;
use milena_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use milena_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use milena_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};

use super::Admin;
use crate::cluster::Topic;
use crate::error::{Error, Result};

/// A topic to create. Nothing set means the broker's defaults.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    pub name: String,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
    /// Replicas of each partition from 0 on; excludes the two above.
    pub assignments: Vec<Vec<i32>>,
    pub configs: Vec<(String, String)>,
}

/// What became of a new topic. Old brokers do not say how it turned out: then the fields are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    pub name: String,
    pub id: Option<Uuid>,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
}

impl Admin {
    /// Creates topics, or with `validate_only` asks whether they could be. One result per
    /// topic by name, in order of the answer, which Kafka does not promise to be the order of the question.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Vec<(String, Result<CreatedTopic>)>> {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        let response = self.cluster.call_any(&request).await?;
        let response = response.decode::<CreateTopicsRequest<'_>>()?;
        let results = response.topics.iter().map(|topic| {
            let checked = Error::check(topic.error_code, topic.error_message.as_deref(), || {
                format!("creating topic {}", topic.name)
            });
            let created = CreatedTopic {
                name: topic.name.to_string(),
                id: (!topic.topic_id.is_zero()).then_some(topic.topic_id),
                partitions: (topic.num_partitions >= 0).then_some(topic.num_partitions),
                replication_factor: (topic.replication_factor >= 0).then_some(topic.replication_factor),
            };
            (topic.name.to_string(), checked.map(|()| created))
        });
        Ok(results.collect())
    }

    /// Deletes topics by name. One result per topic.
    pub async fn delete_topics(&self, names: &[String]) -> Result<Vec<(String, Result<()>)>> {
        let connection = self.cluster.any().await?;
        let version = connection.version_of::<DeleteTopicsRequest<'_>>(i16::MAX)?;
        let mut request = DeleteTopicsRequest { timeout_ms: self.timeout_ms(), ..Default::default() };
        if version >= 6 {
            let named =
                |name: &'_ String| DeleteTopicState { name: Some(name.clone().into()), topic_id: Uuid::ZERO };
            request.topics = names.iter().map(named).collect();
        } else {
            request.topic_names = names.iter().map(|name| name.as_str().into()).collect();
        }
        let response = connection.call_at(&request, version).await?;
        let response = response.decode::<DeleteTopicsRequest<'_>>()?;
        let results = response.responses.iter().map(|topic| {
            let name = topic.name.as_deref().unwrap_or_default().to_owned();
            self.cluster.doubt(&name);
            let result = Error::check(topic.error_code, topic.error_message.as_deref(), || {
                format!("deleting topic {name}")
            });
            (name, result)
        });
        Ok(results.collect())
    }

    /// Gives a topic more partitions, `count` in all, on brokers of the cluster's choice or those of `assignments`; with
    /// `validate_only` asks whether that could be.
    pub async fn create_partitions(
        &self,
        topic: &str,
        count: i32,
        assignments: Option<&[Vec<i32>]>,
        validate_only: bool,
    ) -> Result<()> {
        let assignments = assignments.map(|new| {
            new.iter().map(|replicas| CreatePartitionsAssignment { broker_ids: replicas.clone() }).collect()
        });
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic { name: topic.into(), count, assignments }],
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        let response = self.cluster.call_any(&request).await?;
        let response = response.decode::<CreatePartitionsRequest<'_>>()?;
        self.cluster.doubt(topic);
        let result = response
            .results
            .first()
            .ok_or_else(|| Error::Corrupt("CreatePartitions answered nothing".to_owned()))?;
        Error::check(result.error_code, result.error_message.as_deref(), || {
            format!("adding partitions to {topic}")
        })
    }

    /// All topics, by name.
    pub async fn list_topics(&self) -> Result<Vec<Arc<Topic>>> {
        let metadata = self.cluster.refresh(None, false).await?;
        Ok(metadata.topics().into_iter().cloned().collect())
    }

    /// One topic, asked now; never created by asking.
    pub async fn describe_topic(&self, name: &str) -> Result<Arc<Topic>> {
        self.cluster.doubt(name);
        self.cluster.topic(name, false).await
    }

    pub(super) fn timeout_ms(&self) -> i32 {
        // Answers late by as much as a request may take, so that it is the broker who gives up.
        let timeout = self.cluster.config().request_timeout.saturating_sub(Duration::from_secs(1));
        i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic<'_> {
    let assigned = !topic.assignments.is_empty();
    let assignments = topic.assignments.iter().enumerate().map(|(index, replicas)| {
        CreatableReplicaAssignment { partition_index: index as i32, broker_ids: replicas.clone() }
    });
    let configs = topic.configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: name.as_str().into(),
        value: Some(value.as_str().into()),
    });
    CreatableTopic {
        name: topic.name.as_str().into(),
        num_partitions: if assigned { -1 } else { topic.partitions.unwrap_or(-1) },
        replication_factor: if assigned { -1 } else { topic.replication_factor.unwrap_or(-1) },
        assignments: assignments.collect(),
        configs: configs.collect(),
    }
}
