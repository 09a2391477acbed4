//! Copying partitions from their leaders, and telling the controller who is in sync.
//!
//! A follower fetches as any consumer does (ADR 10): one connection, on a thread of its own, to each broker that leads
//! something that is followed here, or `num.replica.fetchers` of them. [`Replication`] is told by the metadata publisher
//! what to follow where, [`fetcher`] asks and appends, [`proposals`] asks the controller for the changes of in-sync
//! replicas that the rules propose where this broker leads.

mod fetcher;
mod inbox;
mod link;
mod proposals;
mod throttles;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use milena_client::net::Dialer;
use milena_state::config::broker::Settings;
use milena_state::metadata::Image;
use milena_state::partition::fetch_plan::Key;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::broker::now_ms;
use crate::controller::Client;
use crate::metrics::Metrics;
use crate::partition::{Partition, Table};
use inbox::Inbox;

pub use proposals::Proposals;
pub use throttles::Throttles;

/// Pause before a thread that the system did not give is asked for again; each further one is twice as long.
const THREAD_PAUSE_MIN: Duration = Duration::from_millis(500);
const THREAD_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long the end of the threads is waited for. They end at once, unless a disk holds them: their logs are closed all
/// the same, and nothing is appended to a log that is closed.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// What this broker follows, and where.
pub struct Replication {
    cast: Arc<Cast>,
    proposals: Arc<Proposals>,
    followed: Mutex<Followed>,
    spawn: Box<Spawn>,
    /// A fetcher has no thread.
    threadless: Notify,
}

/// Starts the thread of a fetcher.
type Spawn = dyn Fn(Arc<Cast>, Place, Arc<Inbox>) -> io::Result<JoinHandle<()>> + Send + Sync;

/// Who fetches, and with what.
struct Cast {
    settings: Arc<Settings>,
    /// Of our registration, −1 before it.
    broker_epoch: AtomicI64,
    dialer: Dialer,
    metrics: Arc<Metrics>,
    throttles: Arc<Throttles>,
}

struct Followed {
    fetchers_per_leader: usize,
    /// `host:port` of the inter-broker listener of each broker.
    addresses: BTreeMap<i32, Arc<str>>,
    fetchers: BTreeMap<Place, Fetcher>,
    partitions: BTreeMap<Key, Place>,
}

/// A leader, and which of the connections to it.
type Place = (i32, usize);

struct Fetcher {
    inbox: Arc<Inbox>,
    /// None while the thread could not be started.
    thread: Option<JoinHandle<()>>,
}

impl Cast {
    fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Acquire)
    }
}

impl Replication {
    pub fn new(settings: Arc<Settings>, dialer: Dialer, metrics: Arc<Metrics>) -> Arc<Self> {
        Self::with(settings, dialer, metrics, Box::new(fetcher::spawn))
    }

    fn with(settings: Arc<Settings>, dialer: Dialer, metrics: Arc<Metrics>, spawn: Box<Spawn>) -> Arc<Self> {
        let fetchers_per_leader = settings.replication.fetchers;
        let proposals = Arc::new(Proposals::new(Arc::clone(&metrics)));
        let throttles = Arc::new(Throttles::new(&settings.replication, &metrics));
        Arc::new(Self {
            proposals,
            cast: Arc::new(Cast { settings, broker_epoch: AtomicI64::new(-1), dialer, metrics, throttles }),
            followed: Mutex::new(Followed {
                fetchers_per_leader,
                addresses: BTreeMap::new(),
                fetchers: BTreeMap::new(),
                partitions: BTreeMap::new(),
            }),
            spawn,
            threadless: Notify::new(),
        })
    }

    /// Where partitions ask for changes of their ISR.
    pub(crate) fn proposals(&self) -> &Arc<Proposals> {
        &self.proposals
    }

    pub(crate) fn throttles(&self) -> &Arc<Throttles> {
        &self.cast.throttles
    }

    /// Takes what the image says about brokers: under which epoch we fetch, and where the others are.
    pub(crate) fn take_brokers(&self, image: &Image, own_epoch: i64) {
        self.cast.broker_epoch.store(own_epoch, Ordering::Release);
        let settings = &self.cast.settings;
        let others = image.brokers().filter(|broker| broker.broker_id != settings.node_id);
        let addresses = others.filter_map(|broker| {
            let endpoint = broker.endpoint(&settings.inter_broker_listener_name)?;
            Some((broker.broker_id, endpoint.address().into()))
        });
        let mut followed = self.followed.lock();
        followed.addresses = addresses.collect();
        for ((leader, _), fetcher) in &followed.fetchers {
            fetcher.inbox.set_address(followed.addresses.get(leader).cloned());
        }
    }

    /// Follows `leader` with this partition, in place of whom it followed before.
    pub(crate) fn follow(&self, partition: &Arc<Partition>, leader: i32, leader_epoch: i32) {
        let key = (partition.topic_id(), partition.index());
        let mut followed = self.followed.lock();
        let place = (leader, index_of(key, followed.fetchers_per_leader));
        if followed.partitions.get(&key).is_some_and(|before| *before != place) {
            followed.leave(key);
        }
        let Followed { fetchers, addresses, partitions, .. } = &mut *followed;
        partitions.insert(key, place);
        let fetcher = fetchers.entry(place).or_insert_with(|| self.start(place, addresses.get(&leader)));
        fetcher.inbox.follow(key, Arc::clone(partition), leader_epoch);
    }

    /// Stops fetching a partition: it is led here, by nobody, or not held any more.
    pub(crate) fn unfollow(&self, key: Key) {
        self.followed.lock().leave(key);
    }

    /// `num.replica.fetchers` changed: partitions go over to the connection that is theirs now.
    pub(crate) fn set_fetchers(&self, count: usize) {
        let all: Vec<_> = {
            let mut followed = self.followed.lock();
            if followed.fetchers_per_leader == count {
                return;
            }
            followed.fetchers_per_leader = count;
            let each = followed.partitions.iter().filter_map(|(key, place)| {
                let (partition, leader_epoch) = followed.fetchers.get(place)?.inbox.wanted(*key)?;
                Some((partition, place.0, leader_epoch))
            });
            each.collect()
        };
        all.iter()
            .for_each(|(partition, leader, leader_epoch)| self.follow(partition, *leader, *leader_epoch));
    }

    #[cfg(test)]
    fn fetchers_count(&self) -> usize {
        self.followed.lock().fetchers.len()
    }

    fn start(&self, place: Place, address: Option<&Arc<str>>) -> Fetcher {
        let inbox = Arc::new(Inbox::new(address.cloned()));
        let thread = (self.spawn)(Arc::clone(&self.cast), place, Arc::clone(&inbox));
        let thread = thread.inspect_err(|error| {
            tracing::error!(leader = place.0, %error, "thread for following a leader cannot be started, trying again");
            self.threadless.notify_one();
        });
        Fetcher { inbox, thread: thread.ok() }
    }

    /// Starts the threads that could not be started before, for as long as the future is polled.
    pub async fn start_again(self: Arc<Self>) {
        loop {
            self.threadless.notified().await;
            let mut pause = THREAD_PAUSE_MIN;
            loop {
                tokio::time::sleep(pause).await;
                if self.start_threadless().is_ok() {
                    break;
                }
                pause = (pause * 2).min(THREAD_PAUSE_MAX);
            }
        }
    }

    fn start_threadless(&self) -> io::Result<()> {
        let mut followed = self.followed.lock();
        for (place, fetcher) in followed.fetchers.iter_mut().filter(|(_, fetcher)| fetcher.thread.is_none()) {
            fetcher.thread = Some((self.spawn)(Arc::clone(&self.cast), *place, Arc::clone(&fetcher.inbox))?);
            tracing::info!(leader = place.0, "thread for following a leader was started");
        }
        Ok(())
    }

    /// Ends all fetching, and waits for the threads, but not for ever.
    pub async fn stop(&self) {
        let fetchers = std::mem::take(&mut self.followed.lock().fetchers);
        fetchers.values().for_each(|fetcher| fetcher.inbox.stop());
        let joining = tokio::task::spawn_blocking(move || {
            fetchers.into_values().for_each(Fetcher::join);
        });
        // A panic in a fetcher was logged where it happened.
        if tokio::time::timeout(STOP_TIME_MAX, joining).await.is_err() {
            tracing::warn!(timeout = ?STOP_TIME_MAX, "threads that follow leaders did not end in time");
        }
    }

    /// Asks the controller for the proposed changes of in-sync replicas, for as long as the future is polled.
    pub async fn propose(self: Arc<Self>, controller: Client) {
        proposals::run(&self.proposals, &self.cast, &controller).await;
    }

    /// Proposes to drop followers that lag, for as long as the future is polled.
    pub async fn watch_lag(self: Arc<Self>, table: Arc<Table>) {
        let lag_max_ms = u64::try_from(self.cast.settings.replica_lag_time_max_ms).unwrap_or(0);
        let mut rounds = interval(Duration::from_millis((lag_max_ms / 2).max(1)));
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            table.each(|partition| {
                if partition.has_followers() {
                    partition.drop_lagging(now_ms());
                }
            });
        }
    }
}

impl Followed {
    /// A fetcher without partitions ends.
    fn leave(&mut self, key: Key) {
        let Some(place) = self.partitions.remove(&key) else { return };
        if self.fetchers.get(&place).is_some_and(|fetcher| fetcher.inbox.unfollow(key)) {
            self.fetchers.remove(&place);
        }
    }
}

impl Fetcher {
    fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // It catches its panics.
            let _ = thread.join();
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.inbox.stop();
    }
}

/// Spreads the partitions of a topic evenly.
fn index_of((topic_id, partition): Key, fetchers: usize) -> usize {
    let topic = topic_id.as_bytes().iter().fold(0_usize, |sum, byte| sum.wrapping_add(usize::from(*byte)));
    topic.wrapping_add(partition as usize) % fetchers.max(1)
}

#[cfg(test)]
#[path = "replication_test.rs"]
mod tests;

#[cfg(test)]
#[path = "threads_test.rs"]
mod thread_tests;
