//! Configuration of topics, brokers, groups and client metrics subscriptions.

use std::collections::BTreeMap;
use std::fmt;

use milena_protocol::Request;
use milena_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::Admin;
use crate::connection::Response;
use crate::error::{Error, Result};

/// Kafka's number of topics.
const TOPIC: i8 = 2;

/// Topics that one request asks about, so that its answer stays small.
const TOPICS_MAX: usize = 500;

/// What a configuration belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResource {
    Topic(String),
    Broker(i32),
    /// What all brokers have that set nothing of their own.
    AllBrokers,
    /// The levels of a broker's loggers (KIP-412).
    Loggers(i32),
    Group(String),
    ClientMetrics(String),
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

/// What becomes of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    Set(String),
    /// Back to the default.
    Unset,
    /// Adds elements to a list, separated by commas.
    Append(String),
    /// Takes elements from a list.
    Subtract(String),
}

impl ConfigResource {
    /// Kafka's number of the type, and the name.
    fn named(&self) -> (i8, String) {
        match self {
            ConfigResource::Topic(name) => (TOPIC, name.clone()),
            ConfigResource::Broker(id) => (4, id.to_string()),
            ConfigResource::AllBrokers => (4, String::new()),
            ConfigResource::Loggers(id) => (8, id.to_string()),
            ConfigResource::ClientMetrics(name) => (16, name.clone()),
            ConfigResource::Group(name) => (32, name.clone()),
        }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigResource::Topic(name) => write!(f, "topic {name}"),
            ConfigResource::Broker(id) => write!(f, "broker {id}"),
            ConfigResource::AllBrokers => f.write_str("all brokers"),
            ConfigResource::Loggers(id) => write!(f, "loggers of broker {id}"),
            ConfigResource::Group(name) => write!(f, "group {name}"),
            ConfigResource::ClientMetrics(name) => write!(f, "client metrics subscription {name}"),
        }
    }
}

impl ConfigChange {
    /// Kafka's number of the operation, and what it works with.
    fn operation(&self) -> (i8, Option<&str>) {
        match self {
            ConfigChange::Set(value) => (0, Some(value)),
            ConfigChange::Unset => (1, None),
            ConfigChange::Append(elements) => (2, Some(elements)),
            ConfigChange::Subtract(elements) => (3, Some(elements)),
        }
    }
}

impl Admin {
    /// All properties of a resource, by name.
    pub async fn describe_configs(&self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>> {
        let (resource_type, resource_name) = resource.named();
        let wanted = DescribeConfigsResource {
            resource_type,
            resource_name: resource_name.into(),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest { resources: vec![wanted], ..Default::default() };
        let response = self.call_about(resource, &request).await?;
        let response = response.decode::<DescribeConfigsRequest<'_>>()?;
        let result = response
            .results
            .first()
            .ok_or_else(|| Error::Corrupt("DescribeConfigs answered nothing".to_owned()))?;
        Error::check(result.error_code, result.error_message.as_deref(), || {
            format!("configuration of {resource}")
        })?;
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

    /// One property of some topics, by name; topics that cannot be described, and such as do not have it, are left out.
    pub async fn topic_values(&self, topics: &[String], property: &str) -> Result<BTreeMap<String, String>> {
        let mut values = BTreeMap::new();
        for topics in topics.chunks(TOPICS_MAX) {
            let resources = topics.iter().map(|topic| DescribeConfigsResource {
                resource_type: TOPIC,
                resource_name: topic.as_str().into(),
                configuration_keys: Some(vec![property.into()]),
            });
            let request = DescribeConfigsRequest { resources: resources.collect(), ..Default::default() };
            let response = self.cluster.call_any(&request).await?;
            let response = response.decode::<DescribeConfigsRequest<'_>>()?;
            for result in response.results.iter().filter(|result| result.error_code == 0) {
                let value = result.configs.iter().find(|config| &*config.name == property);
                if let Some(value) = value.and_then(|config| config.value.as_deref()) {
                    values.insert(result.resource_name.to_string(), value.to_owned());
                }
            }
        }
        Ok(values)
    }

    /// Changes some values of a resource, all or none; with `validate_only` asks whether they could be.
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[(String, ConfigChange)],
        validate_only: bool,
    ) -> Result<()> {
        let (resource_type, resource_name) = resource.named();
        let configs = changes.iter().map(|(name, change)| {
            let (config_operation, value) = change.operation();
            AlterableConfig { name: name.as_str().into(), config_operation, value: value.map(Into::into) }
        });
        let altered = AlterConfigsResource {
            resource_type,
            resource_name: resource_name.into(),
            configs: configs.collect(),
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![altered], validate_only };
        let response = self.call_about(resource, &request).await?;
        let response = response.decode::<IncrementalAlterConfigsRequest<'_>>()?;
        let result = response
            .responses
            .first()
            .ok_or_else(|| Error::Corrupt("IncrementalAlterConfigs answered nothing".to_owned()))?;
        Error::check(result.error_code, result.error_message.as_deref(), || {
            format!("changing the configuration of {resource}")
        })
    }

    /// A broker answers for itself only; everything else any broker knows.
    async fn call_about<R: Request>(&self, resource: &ConfigResource, request: &R) -> Result<Response> {
        match resource {
            ConfigResource::Broker(id) | ConfigResource::Loggers(id) => {
                self.cluster.refresh(Some(&[]), false).await?;
                self.cluster.broker(*id).await?.call(request).await
            }
            _ => self.cluster.call_any(request).await,
        }
    }
}
