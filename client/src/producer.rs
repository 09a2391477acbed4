//! A producer: batches by partition, sends, retries, and says where each record went.
//!
//! Each partition has a queue and a task. Records are appended to the queue's open batch by whoever sends them; the
//! task takes the batch when it is full or has waited `linger.ms`, and sends it until the broker has it or time is up.
//! A partition has a few batches in flight (`max.in.flight.requests.per.connection`); what arrives while there is no
//! room for more gathers into the next batch, up to `max.request.size`. All are bounded by `buffer.memory`, and all
//! by `delivery.timeout.ms` from their first record on.
//!
//! `window`, `numbering` and `fate` are the rules of order and retries, `post` is one attempt, `sender` the task.

mod delivery;
mod fate;
mod identity;
mod numbering;
pub mod partitioner;
mod post;
mod queue;
mod sender;
mod window;

use std::sync::Arc;

use milena_protocol::records::Header;
use rustc_hash::FxHashMap;

use crate::cluster::{Cluster, Topic};
use crate::config::ProducerConfig;
use crate::error::{Error, Result};

pub use delivery::{Delivery, RecordMetadata};
use identity::Identities;
use partitioner::Sticky;
use post::Link;
use queue::{Budget, Queue};
use sender::Sender;

/// A record to send. Everything is copied when it is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProducerRecord<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header<'a>],
    /// Milliseconds since 1970; now when none.
    pub timestamp: Option<i64>,
    /// Chosen by the partitioner when none.
    pub partition: Option<i32>,
}

/// Sends records to topics. One caller at a time; what was sent is under way in the background.
pub struct Producer {
    shared: Arc<Shared>,
    topics: FxHashMap<String, Destination>,
}

/// What the tasks of all partitions need.
pub(crate) struct Shared {
    pub cluster: Cluster,
    pub config: ProducerConfig,
    pub budget: Budget,
    pub identities: Identities,
}

/// A topic that was sent to.
struct Destination {
    topic: Arc<Topic>,
    sticky: Sticky,
    queues: FxHashMap<i32, Arc<Queue>>,
}

impl Producer {
    pub fn new(cluster: Cluster, config: ProducerConfig) -> Self {
        let budget = Budget::new(config.buffer_memory);
        let identities = Identities::new(cluster.clone());
        let shared = Shared { cluster, config, budget, identities };
        Self { shared: Arc::new(shared), topics: FxHashMap::default() }
    }

    /// Puts a record into its partition's batch; waits only for metadata and, when `buffer.memory` is used up, for
    /// room. The delivery resolves exactly once, with the record's offset or with why it is not stored.
    ///
    /// Errors: `RecordTooLarge`, `UnknownTopic`, `UnknownPartition`.
    pub async fn send(&mut self, topic: &str, record: ProducerRecord<'_>) -> Result<Delivery> {
        self.check_size(&record)?;
        // A caller that sends in a loop must not keep the tasks that send from running.
        tokio::task::coop::consume_budget().await;
        let age_max = self.shared.cluster.config().metadata_max_age;
        if self.topics.get(topic).is_none_or(|known| known.topic.seen.elapsed() > age_max) {
            self.look_up(topic).await?;
        }
        self.shared.budget.wait_for_room().await;
        let destination = self.topics.get_mut(topic).ok_or_else(|| Error::UnknownTopic(topic.to_owned()))?;
        let partition = destination.choose(&record, self.shared.config.batch_size)?;
        Ok(destination.queue(&self.shared, partition).append(&record, &self.shared))
    }

    /// Waits until nothing is under way. What failed is known to its deliveries.
    pub async fn flush(&self) {
        let queues = self.topics.values().flat_map(|destination| destination.queues.values());
        for queue in queues {
            queue.flush().await;
        }
    }

    fn check_size(&self, record: &ProducerRecord<'_>) -> Result<()> {
        let size = queue::record_size_max(record);
        let limit = self.shared.config.max_request_size;
        if size > limit {
            return Err(Error::RecordTooLarge { size, limit_name: "max.request.size", limit });
        }
        Ok(())
    }

    async fn look_up(&mut self, name: &str) -> Result<()> {
        let topic = self.shared.cluster.topic(name, true).await?;
        match self.topics.get_mut(name) {
            Some(known) => known.topic = topic,
            None => {
                let destination = Destination { topic, sticky: Sticky::new(), queues: FxHashMap::default() };
                self.topics.insert(name.to_owned(), destination);
            }
        }
        Ok(())
    }
}

impl Destination {
    fn choose(&mut self, record: &ProducerRecord<'_>, batch_size: usize) -> Result<i32> {
        let count = self.topic.partitions.len();
        match (record.partition, record.key) {
            (Some(partition), _) => self.topic.partition(partition).map(|known| known.index),
            (None, Some(key)) => Ok(partitioner::by_key(key, count)),
            (None, None) => Ok(self.sticky.choose(count, queue::record_size_max(record), batch_size)),
        }
    }

    fn queue(&mut self, shared: &Arc<Shared>, partition: i32) -> &Arc<Queue> {
        self.queues.entry(partition).or_insert_with(|| {
            let queue = Arc::new(Queue::new());
            let link = Link { shared: Arc::clone(shared), topic: self.topic.name.clone(), partition };
            tokio::spawn(Sender::new(link, Arc::clone(&queue)).run());
            queue
        })
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // The tasks finish what was sent and end.
        let queues = self.topics.values().flat_map(|destination| destination.queues.values());
        queues.for_each(|queue| queue.close());
    }
}
