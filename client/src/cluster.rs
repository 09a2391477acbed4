//! The cluster as a client sees it: bootstrap, metadata, one connection per broker, retries.
//!
//! Metadata is cached and asked again when it is old, when a topic is not in it, and when a broker says that it is
//! wrong. Connections are made when first needed and made anew after they were lost, with a growing pause between
//! attempts. Nothing here knows what the requests mean.

mod asked;
mod coordinator;
mod metadata;
mod retry;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use milena_protocol::{Request, Uuid};
use tokio::sync::Mutex;

use crate::config::ClientConfig;
use crate::connection::{Connection, Options, Response};
use crate::error::{Error, Result};
use crate::net::{Dialer, Tcp};

pub use metadata::{Broker, Metadata, Partition, Topic};
pub use retry::Retry;

/// What was asked is used for this long even where `metadata.max.age.ms` is 0: otherwise it would be old on arrival.
const METADATA_AGE_MIN: Duration = Duration::from_secs(1);

/// A cluster that requests can be sent to. Clones share everything.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
    dialer: Dialer,
    metadata: parking::Cell,
    /// By broker id. The map is locked for a moment; a slot while connecting, so that one broker is dialled once and
    /// one that does not answer holds up nobody but those who want it.
    connections: std::sync::Mutex<HashMap<i32, Slot>>,
    asked: asked::Asked,
    coordinators: coordinator::Coordinators,
}

/// The connection to one broker, once it was dialled.
type Slot = Arc<Mutex<Option<Arc<Connection>>>>;

/// The cached metadata behind a short lock.
mod parking {
    use std::sync::{Arc, RwLock};

    use super::Metadata;

    #[derive(Debug, Default)]
    pub struct Cell(RwLock<Arc<Metadata>>);

    impl Cell {
        pub fn get(&self) -> Arc<Metadata> {
            Arc::clone(&self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
        }

        pub fn set(&self, metadata: Metadata) {
            *self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(metadata);
        }
    }
}

impl Cluster {
    /// A client of the cluster that `config` names. Nothing is dialled before the first request.
    pub fn new(config: ClientConfig) -> Self {
        Self::with_dialer(config, Arc::new(Tcp))
    }

    pub fn with_dialer(config: ClientConfig, dialer: Dialer) -> Self {
        Self {
            inner: Arc::new(Inner {
                config,
                dialer,
                metadata: parking::Cell::default(),
                connections: std::sync::Mutex::default(),
                asked: asked::Asked::default(),
                coordinators: coordinator::Coordinators::default(),
            }),
        }
    }

    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// A retry schedule with this client's bounds.
    pub fn retry(&self) -> Retry {
        let config = &self.inner.config;
        Retry::new(config.retry_backoff, config.retry_backoff_max, config.api_timeout)
    }

    /// What is known of the cluster now, perhaps nothing.
    pub fn cached(&self) -> Arc<Metadata> {
        self.inner.metadata.get()
    }

    /// Some connection: to a known broker, or to the first bootstrap server that answers.
    pub async fn any(&self) -> Result<Arc<Connection>> {
        let known = self.cached();
        let servers = self.inner.config.bootstrap_servers.iter().cloned();
        let addresses = servers.chain(known.brokers.iter().map(|broker| broker.address())).collect();
        self.inner.asked.connection(addresses, &self.inner.dialer, self.options()).await
    }

    /// The connection to a broker of the cluster.
    pub async fn broker(&self, broker_id: i32) -> Result<Arc<Connection>> {
        let known = self.cached();
        let address = known.broker(broker_id).ok_or(Error::UnknownBroker(broker_id))?.address();
        let slot = {
            let mut slots = self.inner.connections.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            Arc::clone(slots.entry(broker_id).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref()
            && !connection.is_closed()
            && connection.address() == address
        {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(Connection::open(&self.inner.dialer, &address, self.options()).await?);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Sends a request to any broker, again on another attempt when that may help.
    pub async fn call_any<R: Request>(&self, request: &R) -> Result<Response> {
        let mut retry = self.retry();
        loop {
            let attempt = async { self.any().await?.call(request).await }.await;
            match attempt {
                Err(error) if error.may_be_retried() => retry.pause(error).await?,
                outcome => return outcome,
            }
        }
    }

    /// Metadata of these topics, asked now and merged into what is known. `None` asks for all topics.
    pub async fn refresh(&self, topics: Option<&[String]>, may_create: bool) -> Result<Arc<Metadata>> {
        let request = MetadataRequest {
            topics: topics.map(|names| {
                let named = names.iter().map(|name| MetadataRequestTopic {
                    topic_id: Uuid::ZERO,
                    name: Some(name.as_str().into()),
                });
                named.collect()
            }),
            allow_auto_topic_creation: may_create,
            ..Default::default()
        };
        let response = self.call_any(&request).await?;
        let fresh = Metadata::from_response(&response.decode::<MetadataRequest<'_>>()?, Instant::now())?;
        self.inner.metadata.set(fresh.over(&self.cached(), topics.is_some()));
        Ok(self.cached())
    }

    /// A usable topic from the cache, while what is known of it is young.
    pub fn known_topic(&self, name: &str) -> Option<Arc<Topic>> {
        let age_max = self.inner.config.metadata_max_age.max(METADATA_AGE_MIN);
        let cached = self.cached();
        let topic = cached.topic(name).filter(|topic| topic.is_usable() && topic.is_fresh(age_max))?;
        Some(Arc::clone(topic))
    }

    /// A topic from the cache while that is young, otherwise from the cluster. A topic that is being created is waited
    /// for.
    ///
    /// Errors: `UnknownTopic`, and `Broker` with the topic's own error.
    pub async fn topic(&self, name: &str, may_create: bool) -> Result<Arc<Topic>> {
        if let Some(topic) = self.known_topic(name) {
            return Ok(topic);
        }
        let mut retry = self.retry();
        let names = [name.to_owned()];
        loop {
            let known = self.refresh(Some(&names), may_create).await?;
            let error = match known.topic(name) {
                Some(topic) if topic.is_usable() => return Ok(Arc::clone(topic)),
                Some(topic) => topic.problem(),
                None => return Err(Error::UnknownTopic(name.to_owned())),
            };
            match error {
                Error::UnknownTopic(_) if !may_create => return Err(error),
                error if error.may_be_retried() || matches!(error, Error::UnknownTopic(_)) => {
                    retry.pause(error).await?
                }
                error => return Err(error),
            }
        }
    }

    /// Doubts what is known of a topic, so that the next look asks the cluster, and another broker than the one that said so.
    pub fn doubt(&self, topic: &str) {
        self.doubt_because_of(topic, None);
    }

    /// As [`doubt`](Self::doubt), because the leader of a partition failed: it is asked last.
    pub fn doubt_leader(&self, topic: &str, partition: i32) {
        let cached = self.cached();
        let leader = cached.topic(topic).and_then(|topic| topic.leader(partition).ok());
        self.doubt_because_of(topic, leader.and_then(|id| cached.broker(id)).map(Broker::address));
    }

    fn doubt_because_of(&self, topic: &str, suspect: Option<String>) {
        let cached = self.cached();
        if cached.topic(topic).is_some() {
            self.inner.asked.doubt(suspect);
            self.inner.metadata.set(cached.doubting(topic));
        }
    }

    fn options(&self) -> Options {
        let config = &self.inner.config;
        Options {
            client_id: config.client_id.clone(),
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
            response_bytes_max: config.response_bytes_max,
        }
    }
}
