//! Administration: topics, cluster, configs, offsets. Each call is one request with its retries and checks.

mod offsets;
mod topics;

use milena_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use milena_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};

use crate::cluster::{Broker, Cluster};
use crate::error::{Error, Result};

pub use offsets::{ListedOffset, OffsetSpec};
pub use topics::{CreatedTopic, NewTopic};

/// The admin client. Clones share connections and metadata.
#[derive(Debug, Clone)]
pub struct Admin {
    cluster: Cluster,
}

/// What DescribeCluster says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    pub cluster_id: String,
    pub controller_id: Option<i32>,
    pub brokers: Vec<Broker>,
}

/// One property of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    pub value: Option<String>,
    /// Kafka's number of where the value comes from; 5 is the default.
    pub source: i8,
    pub is_read_only: bool,
    pub is_sensitive: bool,
}

/// What a configuration belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResource {
    Topic(String),
    Broker(i32),
}

impl Admin {
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Brokers, controller and id of the cluster. Brokers before DescribeCluster (KIP-700) say the same in Metadata.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let request = DescribeClusterRequest::default();
        let response = match self.cluster.call_any(&request).await {
            Err(Error::UnsupportedApi { .. }) => return self.cluster_from_metadata().await,
            response => response?,
        };
        let response = response.decode::<DescribeClusterRequest>()?;
        Error::check(response.error_code, response.error_message.as_deref(), || {
            "DescribeCluster".to_owned()
        })?;
        let brokers = response.brokers.iter().map(|broker| Broker {
            id: broker.broker_id,
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.as_deref().map(str::to_owned),
        });
        Ok(ClusterDescription {
            cluster_id: response.cluster_id.to_string(),
            controller_id: (response.controller_id >= 0).then_some(response.controller_id),
            brokers: brokers.collect(),
        })
    }

    async fn cluster_from_metadata(&self) -> Result<ClusterDescription> {
        let metadata = self.cluster.refresh(Some(&[]), false).await?;
        Ok(ClusterDescription {
            cluster_id: metadata.cluster_id.clone().unwrap_or_default(),
            controller_id: metadata.controller_id,
            brokers: metadata.brokers.clone(),
        })
    }

    /// All properties of a resource, by name.
    pub async fn describe_configs(&self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>> {
        let (resource_type, resource_name) = match resource {
            ConfigResource::Topic(name) => (2, name.clone()),
            ConfigResource::Broker(id) => (4, id.to_string()),
        };
        let context = format!("configuration of {resource_name}");
        let wanted = DescribeConfigsResource {
            resource_type,
            resource_name: resource_name.into(),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest { resources: vec![wanted], ..Default::default() };
        let response = match resource {
            ConfigResource::Topic(_) => self.cluster.call_any(&request).await?,
            // A broker knows only its own.
            ConfigResource::Broker(id) => {
                self.cluster.refresh(Some(&[]), false).await?;
                self.cluster.broker(*id).await?.call(&request).await?
            }
        };
        let response = response.decode::<DescribeConfigsRequest<'_>>()?;
        let result = response
            .results
            .first()
            .ok_or_else(|| Error::Corrupt("DescribeConfigs answered nothing".to_owned()))?;
        Error::check(result.error_code, result.error_message.as_deref(), || context)?;
        let entries = result.configs.iter().map(|config| ConfigEntry {
            name: config.name.to_string(),
            value: config.value.as_deref().map(str::to_owned),
            source: config.config_source,
            is_read_only: config.read_only,
            is_sensitive: config.is_sensitive,
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }
}
