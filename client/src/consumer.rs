//! A consumer of assigned partitions: positions, fetches, records.
//!
//! One fetch per leader is always under way while the caller works on the last one, so bytes arrive while records are
//! handled, and at most one response per leader is held. Batches stay compressed until their records are walked, and
//! records borrow from the unpacked payload. Groups are deliberately absent here; they assign partitions to this.

mod fetched;
mod leaders;
mod once;
mod request;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use milena_protocol::messages::fetch_request::FetchRequest;
use milena_protocol::{ErrorCode, Uuid};
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, Retry};
use crate::config::ConsumerConfig;
use crate::connection::Response;
use crate::error::{Error, Result};

pub use fetched::{ConsumedRecord, Fetched};
use leaders::Leaders;

/// Name and index of a partition.
pub type PartitionKey = (String, i32);

/// Consumes the partitions that it was assigned, from the offsets that it was told.
pub struct Consumer {
    cluster: Cluster,
    config: ConsumerConfig,
    /// Next offset of each assigned partition.
    positions: BTreeMap<PartitionKey, i64>,
    /// One fetch per leader. The partitions of a fetch are not fetched by another.
    in_flight: FuturesUnordered<InFlight>,
    busy: BTreeMap<PartitionKey, i32>,
    /// Partitions whose position was found outside of the log.
    out_of_range: BTreeSet<PartitionKey>,
    leaders: Leaders,
    retry: Retry,
}

type InFlight = JoinHandle<Fetch>;

/// One partition of a fetch, with the topic's id as of when it was sent.
#[derive(Debug, Clone)]
struct Asked {
    topic: String,
    topic_id: Uuid,
    partition: i32,
    offset: i64,
}

/// A fetch that came back.
struct Fetch {
    asked: Vec<Asked>,
    response: Result<Response>,
}

impl Consumer {
    pub fn new(cluster: Cluster, config: ConsumerConfig) -> Self {
        let retry = cluster.retry();
        Self {
            leaders: Leaders::new(cluster.clone()),
            cluster,
            config,
            positions: BTreeMap::new(),
            in_flight: FuturesUnordered::new(),
            busy: BTreeMap::new(),
            out_of_range: BTreeSet::new(),
            retry,
        }
    }

    /// Adds a partition, to be read from `offset` on, or moves its position there.
    pub fn assign(&mut self, topic: &str, partition: i32, offset: i64) {
        let key = (topic.to_owned(), partition);
        self.out_of_range.remove(&key);
        self.positions.insert(key, offset);
    }

    /// Takes a partition away; what is under way for it is dropped when it arrives.
    pub fn unassign(&mut self, topic: &str, partition: i32) {
        self.positions.remove(&(topic.to_owned(), partition));
    }

    /// Next offset of a partition.
    pub fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        self.positions.get(&(topic.to_owned(), partition)).copied()
    }

    /// The assigned partitions whose position was found outside of the log since this was last asked. Each stays as it
    /// is, and fails again, until it is assigned elsewhere.
    pub(crate) fn take_out_of_range(&mut self) -> BTreeSet<PartitionKey> {
        let mut found = std::mem::take(&mut self.out_of_range);
        found.retain(|key| self.positions.contains_key(key));
        found
    }

    pub fn is_idle(&self) -> bool {
        self.positions.is_empty()
    }

    /// The next response that says anything about an assigned partition: its records, in offset order by partition. A
    /// partition without records is there too: its high watermark may have moved. Dropping the future loses nothing.
    ///
    /// Errors: OFFSET_OUT_OF_RANGE when a position is outside of the log, `UnknownTopic`, and what stayed wrong after
    /// all retries.
    pub async fn poll(&mut self) -> Result<Vec<Fetched>> {
        loop {
            self.dispatch();
            let fetch = tokio::select! {
                // A fetch ends early only with the runtime.
                Some(fetch) = self.in_flight.next() => fetch.map_err(|_| Error::Closed)?,
                Some(look) = self.leaders.next() => {
                    let look = look?;
                    let of_topic = self.positions.keys().filter(|key| key.0 == look.topic);
                    let wanted: Vec<i32> = of_topic.map(|key| key.1).collect();
                    self.leaders.take(look, wanted.into_iter())?;
                    continue;
                }
                else => return Ok(Vec::new()),
            };
            for asked in &fetch.asked {
                self.busy.remove(&(asked.topic.clone(), asked.partition));
            }
            match self.take(fetch) {
                Ok(fetched) if fetched.is_empty() => {}
                Ok(fetched) => {
                    self.retry = self.cluster.retry();
                    // The next fetch travels while the caller works on this one. Nothing may be awaited here: positions
                    // have moved, so these records must reach the caller now.
                    self.dispatch();
                    return Ok(fetched);
                }
                Err(error) if error.may_be_retried() => self.retry.pause(error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a fetch to every leader that has idle partitions and no fetch under way; such a leader gets them with the
    /// next one. Partitions whose leader is not known wait until it was looked up.
    fn dispatch(&mut self) {
        let mut by_leader: BTreeMap<i32, Vec<Asked>> = BTreeMap::new();
        let mut unknown = BTreeSet::new();
        for (key, offset) in self.positions.iter().filter(|(key, _)| !self.busy.contains_key(*key)) {
            let (topic, partition) = key;
            let known = self.cluster.known_topic(topic);
            match known.and_then(|known| Some((known.leader(*partition).ok()?, known.id))) {
                Some((leader, topic_id)) => {
                    let asked =
                        Asked { topic: topic.clone(), topic_id, partition: *partition, offset: *offset };
                    by_leader.entry(leader).or_default().push(asked);
                }
                None => {
                    unknown.insert(topic);
                }
            }
        }
        unknown.into_iter().for_each(|topic| self.leaders.look_up(topic));
        for (leader, asked) in by_leader {
            if self.busy.values().any(|busy| *busy == leader) {
                continue;
            }
            self.busy.extend(asked.iter().map(|asked| ((asked.topic.clone(), asked.partition), leader)));
            self.in_flight.push(request::send(self.cluster.clone(), self.config.clone(), leader, asked));
        }
    }

    /// Moves positions on and gives what was fetched. An error of one partition is kept for after the records of others.
    fn take(&mut self, fetch: Fetch) -> Result<Vec<Fetched>> {
        let Fetch { asked, response } = fetch;
        let response = response.inspect_err(|_| {
            asked.iter().for_each(|asked| self.cluster.doubt_leader(&asked.topic, asked.partition))
        })?;
        let decoded = response.decode::<FetchRequest<'_>>()?;
        Error::check(decoded.error_code, None, || "Fetch".to_owned())?;
        let mut fetched = Vec::new();
        let mut failed = None;
        for part in request::partitions(&response, &decoded, &asked)? {
            let key = (part.topic.clone(), part.partition);
            let is_current = self.positions.get(&key).is_some_and(|position| *position == part.from_offset);
            if !is_current {
                continue;
            }
            if let Some(code) = part.error {
                if code == ErrorCode::OffsetOutOfRange {
                    self.out_of_range.insert(key);
                }
                self.cluster.doubt_leader(&part.topic, part.partition);
                failed.get_or_insert(partition_error(&part, code));
                continue;
            }
            // What is wrong with one partition must not cost the others what came of them.
            match part.next_offset() {
                Ok(next_offset) => {
                    self.positions.insert(key, next_offset);
                    fetched.push(part);
                }
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) if fetched.iter().all(Fetched::is_empty) => Err(error),
            _ => Ok(fetched),
        }
    }
}

fn partition_error(part: &Fetched, code: ErrorCode) -> Error {
    let context = format!("fetching {}-{} from offset {}", part.topic, part.partition, part.from_offset);
    Error::Broker { context, code, message: None }
}
