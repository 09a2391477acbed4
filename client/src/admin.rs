//! Administration: topics, partitions, cluster, configs, offsets, groups, quotas. Each call is one request with its retries and checks.

mod brokers;
mod configs;
mod elections;
mod groups;
mod log_dirs;
mod offsets;
mod quorum;
mod quorum_view;
mod quotas;
mod reassignments;
mod records;
mod topics;

use std::collections::BTreeMap;

use milena_protocol::messages::describe_cluster_request::DescribeClusterRequest;

use crate::cluster::{Broker, Cluster};
use crate::consumer::PartitionKey;
use crate::error::{Error, Result};

pub use crate::offsets::fetch::CommittedOffset;
pub use brokers::RegisteredBroker;
pub use configs::{ConfigChange, ConfigEntry, ConfigResource};
pub use elections::Election;
pub use groups::{
    Assignment, ByGroup, GroupDescription, GroupListing, GroupMember, ListedGroups, RecordPlace,
};
pub use log_dirs::{LogDir, LogDirReplica};
pub use offsets::{ListedOffset, OffsetSpec};
pub use quorum::{QuorumDescription, QuorumReplica};
pub use quorum_view::QuorumView;
pub use quotas::{Quota, QuotaChange, QuotaEntity, QuotaFilter, QuotaName};
pub use reassignments::Reassignment;
pub use topics::{CreatedTopic, NewTopic};

/// The admin client. Clones share connections and metadata.
#[derive(Debug, Clone)]
pub struct Admin {
    cluster: Cluster,
}

/// Something for each of some partitions, by topic and index.
pub type ByPartition<T> = BTreeMap<PartitionKey, T>;

/// What DescribeCluster says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    pub cluster_id: String,
    pub controller_id: Option<i32>,
    pub brokers: Vec<Broker>,
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
}
