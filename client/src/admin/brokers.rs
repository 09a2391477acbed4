//! DescribeCluster with the brokers that are registered and do not serve (KIP-1073).

use milena_protocol::messages::describe_cluster_request::DescribeClusterRequest;

use super::{Admin, ClusterDescription};
use crate::cluster::Broker;
use crate::error::{Error, Result};

/// From which version on fenced brokers can be asked for.
const FENCED_SINCE: i16 = 2;

/// A broker that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredBroker {
    pub broker: Broker,
    /// Whether it does not serve: it has died, has not caught up yet, or leaves.
    pub is_fenced: bool,
}

impl Admin {
    /// All registered brokers, by id. Clusters before KIP-1073 name only those that serve.
    pub async fn describe_brokers(&self) -> Result<Vec<RegisteredBroker>> {
        let mut brokers = match self.ask_for_fenced().await? {
            Some(brokers) => brokers,
            None => {
                let ClusterDescription { brokers, .. } = self.describe_cluster().await?;
                brokers.into_iter().map(|broker| RegisteredBroker { broker, is_fenced: false }).collect()
            }
        };
        brokers.sort_by_key(|registered| registered.broker.id);
        Ok(brokers)
    }

    async fn ask_for_fenced(&self) -> Result<Option<Vec<RegisteredBroker>>> {
        let connection = self.cluster.any().await?;
        match connection.version_of::<DescribeClusterRequest>(i16::MAX) {
            Ok(version) if version >= FENCED_SINCE => {}
            Ok(_) | Err(Error::UnsupportedApi { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        let request = DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() };
        let response = connection.call(&request).await?;
        let response = response.decode::<DescribeClusterRequest>()?;
        Error::check(response.error_code, response.error_message.as_deref(), || {
            "DescribeCluster".to_owned()
        })?;
        let brokers = response.brokers.iter().map(|broker| RegisteredBroker {
            broker: Broker {
                id: broker.broker_id,
                host: broker.host.to_string(),
                port: broker.port,
                rack: broker.rack.as_deref().map(str::to_owned),
            },
            is_fenced: broker.is_fenced,
        });
        Ok(Some(brokers.collect()))
    }
}
