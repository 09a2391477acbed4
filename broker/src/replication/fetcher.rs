//! The loop of one connection to one leader: take what is wanted, ask, append what comes.
//!
//! What to ask and what an answer means is decided by [`FetchPlan`]. Everything here runs on one thread, the
//! connection's tasks too: bytes go from the socket into the log without passing another thread. Without anything to
//! fetch the thread sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use milena_client::connection::Response;
use milena_protocol::ErrorCode;
use milena_protocol::messages::fetch_request::FetchRequest;
use milena_protocol::messages::fetch_response::PartitionData;
use milena_state::partition::fetch_plan::{FetchPlan, Key, Said, Verdict};
use milena_state::partition::follower::DivergingEpoch;
use milena_state::partition::throttle::has_caught_up;
use tokio::time::Instant;

use super::inbox::Inbox;
use super::link::{Asked, IN_FLIGHT_MAX, Link};
use super::{Cast, Place};
use crate::broker::now_ms;
use crate::partition::{Brought, FollowError, Partition, Standing};

/// Pause after the first failure to connect; each further one is twice as long, up to `replica.fetch.backoff.ms`.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(20);

/// Pause before a fetcher that a panic ended begins anew.
const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// Starts the thread of a fetcher; it ends when its inbox says so.
pub(super) fn spawn(cast: Arc<Cast>, place: Place, inbox: Arc<Inbox>) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(format!("milena-fetch-{}", place.0)).spawn(move || {
        loop {
            let fetcher = Fetcher::new(Arc::clone(&cast), place, Arc::clone(&inbox));
            let until_stopped = async {
                tokio::select! {
                    biased;
                    () = inbox.stopped() => {}
                    () = fetcher.run() => {}
                }
            };
            let running = AssertUnwindSafe(|| runtime.block_on(until_stopped));
            if std::panic::catch_unwind(running).is_ok() {
                // A name that is being resolved is not waited for.
                return runtime.shutdown_background();
            }
            tracing::error!(leader = place.0, "a panic ended the following of a leader; it begins anew");
            inbox.forget_taken();
            thread::sleep(PANIC_PAUSE);
        }
    })
}

struct Fetcher {
    cast: Arc<Cast>,
    place: Place,
    inbox: Arc<Inbox>,
    plan: FetchPlan,
    partitions: BTreeMap<Key, Followed>,
    /// Those whose position counts when their log is synced (durable mode).
    unsynced: Vec<Key>,
    /// Throttled ones that had not caught up when they were looked at last; looked at only while there is a rate.
    behind: BTreeSet<Key>,
    address: Option<Arc<str>>,
    link: Option<Link>,
    reconnect: Reconnect,
}

struct Followed {
    partition: Arc<Partition>,
    leader_epoch: i32,
}

/// When to connect again.
struct Reconnect {
    at: Instant,
    failures: u32,
}

impl Fetcher {
    fn new(cast: Arc<Cast>, place: Place, inbox: Arc<Inbox>) -> Self {
        Self {
            plan: FetchPlan::new(cast.settings.replication.fetch_backoff_ms),
            cast,
            place,
            inbox,
            partitions: BTreeMap::new(),
            unsynced: Vec::new(),
            behind: BTreeSet::new(),
            address: None,
            link: None,
            reconnect: Reconnect { at: Instant::now(), failures: 0 },
        }
    }

    async fn run(mut self) {
        loop {
            if self.take_wanted() {
                return;
            }
            self.sync().await;
            self.connect().await;
            self.ask().await;
            let pause_end = self.pause_end();
            let answer = async {
                match &mut self.link {
                    Some(link) => link.answer().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.inbox.changed() => {}
                (session_epoch, answer) = answer => match answer {
                    Ok(response) => self.take(session_epoch, response).await,
                    Err(error) => self.disconnected(&error),
                },
                () = at(pause_end) => {}
            }
        }
    }

    /// Takes what the publisher wants; true when it wants the end.
    fn take_wanted(&mut self) -> bool {
        let changes = self.inbox.take();
        if changes.is_stopped {
            return true;
        }
        for (key, wanted) in changes.partitions {
            match wanted {
                Some((partition, leader_epoch)) => {
                    self.note_throttled(key, &partition, 0, false);
                    let standing = partition.standing(leader_epoch);
                    self.partitions.insert(key, Followed { partition, leader_epoch });
                    match standing {
                        Ok(standing) => self.stands(key, standing, true),
                        Err(error) => self.not_taken(key, &error),
                    }
                }
                None => self.leave(key),
            }
        }
        if changes.address != self.address {
            self.address = changes.address;
            self.link = None;
            self.plan.disconnected();
            self.reconnect = Reconnect { at: Instant::now(), failures: 0 };
        }
        false
    }

    fn leave(&mut self, key: Key) {
        self.partitions.remove(&key);
        self.behind.remove(&key);
        self.plan.unfollow(key);
    }

    /// A replica stands somewhere else, or anew.
    fn stands(&mut self, key: Key, standing: Standing, is_new: bool) {
        if standing.is_unsynced {
            return self.unsynced.push(key);
        }
        if is_new {
            self.plan.follow(key, standing.position);
        } else {
            self.plan.moved(key, standing.position);
        }
    }

    /// Syncs what must be synced before it is told to the leader, all at once.
    async fn sync(&mut self) {
        let unsynced = std::mem::take(&mut self.unsynced);
        if unsynced.is_empty() {
            return;
        }
        let waits: Vec<_> = unsynced
            .into_iter()
            .filter_map(|key| Some((key, self.partitions.get(&key)?.partition.request_sync())))
            .collect();
        for (key, synced) in waits {
            // The flusher tells everybody, and when it ends nobody hears anything.
            let _ = synced.await;
            let Some(followed) = self.partitions.get(&key) else { continue };
            match followed.partition.standing(followed.leader_epoch) {
                Ok(standing) if !standing.is_unsynced => self.plan.follow(key, standing.position),
                Ok(standing) => {
                    // It could not be synced: it is not fetched on before it can.
                    self.plan.follow(key, standing.position);
                    self.plan.failed(key, now_ms());
                }
                Err(error) => self.not_taken(key, &error),
            }
        }
    }

    async fn connect(&mut self) {
        let Some(address) = self.address.clone() else { return };
        if self.link.is_some() || self.plan.is_empty() || Instant::now() < self.reconnect.at {
            return;
        }
        let opened = tokio::select! {
            biased;
            opened = Link::open(&self.cast, &address, self.place.1) => opened,
            // It may be the end, or another address. What changed is seen again by the caller.
            () = self.inbox.changed() => return self.inbox.put_back(),
        };
        match opened {
            Ok(link) => {
                if self.reconnect.failures > 0 {
                    tracing::info!(leader = self.place.0, %address, "leader is followed again");
                }
                self.reconnect.failures = 0;
                self.link = Some(link);
            }
            Err(error) => self.disconnected(&error),
        }
    }

    /// The connection failed or could not be made. Logged once until it works again.
    fn disconnected(&mut self, error: &milena_client::Error) {
        if self.reconnect.failures == 0 {
            tracing::warn!(leader = self.place.0, %error, "leader cannot be followed, trying again");
        }
        self.link = None;
        self.plan.disconnected();
        let longest_ms = u64::try_from(self.cast.settings.replication.fetch_backoff_ms).unwrap_or(0);
        let pause = RECONNECT_PAUSE_MIN * (1 << self.reconnect.failures.min(16));
        self.reconnect.failures += 1;
        self.reconnect.at =
            Instant::now() + pause.min(Duration::from_millis(longest_ms).max(RECONNECT_PAUSE_MIN));
    }

    /// Sends the next request, when there is one and the leader is done with the one before; what changed while it
    /// waits for records may interrupt it.
    async fn ask(&mut self) {
        self.hold_back();
        let Some(link) = &mut self.link else { return };
        let may_ask = match link.in_flight_count() {
            0 => true,
            count => count < IN_FLIGHT_MAX && self.plan.may_interrupt(),
        };
        if !may_ask {
            return;
        }
        let Some(request) = self.plan.request(now_ms()) else { return };
        let broker = (self.cast.settings.node_id, self.cast.broker_epoch());
        if let Err(error) = link.fetch(&request, broker, &self.cast.settings.replication).await {
            self.disconnected(&error);
        }
    }

    /// Does not ask for what is throttled and not in sync while more was copied than the rate allows.
    fn hold_back(&mut self) {
        let Some(link) = self.link.as_ref().filter(|_| !self.behind.is_empty()) else { return };
        let Some(hold_ms) = self.cast.throttles.follower.hold_ms() else { return };
        let now_ms = now_ms();
        self.plan.end_pauses(now_ms);
        for key in &self.behind {
            let Some(followed) = self.partitions.get(key) else { continue };
            if followed.partition.is_follower_throttled(self.cast.settings.node_id) {
                self.plan.hold(*key, now_ms + hold_ms, link.in_flight_count() > 0);
            }
        }
    }

    /// Counts what was copied of a replica if it is throttled, and whether it may be held back next.
    fn note_throttled(&mut self, key: Key, partition: &Partition, bytes: usize, has_caught_up: bool) {
        let throttle = &self.cast.throttles.follower;
        let is_throttled =
            throttle.is_bounded() && partition.is_follower_throttled(self.cast.settings.node_id);
        if is_throttled {
            throttle.copied(bytes);
        }
        if is_throttled && !has_caught_up {
            self.behind.insert(key);
        } else if !self.behind.is_empty() {
            self.behind.remove(&key);
        }
    }

    /// When the loop has to go round although nothing happened.
    fn pause_end(&self) -> Option<Instant> {
        if self.link.is_none() {
            let may_connect = self.address.is_some() && !self.plan.is_empty();
            return may_connect.then_some(self.reconnect.at);
        }
        let pause_ms = self.plan.next_pause_end_ms()?.saturating_sub(now_ms());
        Some(Instant::now() + Duration::from_millis(u64::try_from(pause_ms).unwrap_or(0)))
    }

    /// Takes an answer.
    async fn take(&mut self, session_epoch: i32, response: Response) {
        let decoded = match response.decode::<FetchRequest<'_>>() {
            Ok(decoded) => decoded,
            Err(error) => return self.disconnected(&error),
        };
        let error = ErrorCode::from_i16(decoded.error_code).unwrap_or(ErrorCode::UnknownServerError);
        if let Err(error) = self.plan.answered(session_epoch, decoded.session_id, error) {
            return self.refused(error);
        }
        let mut astray = BTreeSet::new();
        for topic in &decoded.responses {
            for data in &topic.partitions {
                let key = (topic.topic_id, data.partition_index);
                if self.take_one(key, data) == Verdict::StartOver {
                    astray.insert(key);
                }
            }
        }
        if !astray.is_empty() {
            self.start_over(&astray).await;
        }
    }

    /// The leader refused the whole of a fetch.
    fn refused(&mut self, error: ErrorCode) {
        let is_of_session = matches!(
            error,
            ErrorCode::FetchSessionIdNotFound
                | ErrorCode::InvalidFetchSessionEpoch
                | ErrorCode::FetchSessionTopicIdError
        );
        // What else is in flight belongs to a session that is over.
        let is_last = self.link.as_ref().is_some_and(|link| link.in_flight_count() == 0);
        if is_of_session && is_last {
            tracing::debug!(leader = self.place.0, error = error.name(), "fetch session begins anew");
            return;
        }
        let (address, message) = (self.address.clone().unwrap_or_default(), error.name().to_owned());
        self.disconnected(&milena_client::Error::Protocol { address: address.to_string(), message });
    }

    fn take_one(&mut self, key: Key, data: &PartitionData<'_>) -> Verdict {
        let verdict = self.plan.judge(key, said(data), now_ms());
        let Some(followed) = self.partitions.get(&key) else { return verdict };
        let (partition, leader_epoch) = (&followed.partition, followed.leader_epoch);
        let taken = match verdict {
            Verdict::Append => {
                let records = data.records.as_ref().and_then(|records| records.bytes()).unwrap_or_default();
                self.cast.metrics.replication.fetched(records.len());
                let brought = Brought {
                    leader_epoch,
                    records,
                    high_watermark: data.high_watermark,
                    log_start_offset: data.log_start_offset,
                };
                let taken = partition.replicate(brought, now_ms());
                if let Ok(standing) = &taken {
                    let caught_up = has_caught_up(standing.position.fetch_offset, Some(data.high_watermark));
                    let partition = Arc::clone(partition);
                    self.note_throttled(key, &partition, records.len(), caught_up);
                }
                taken
            }
            Verdict::Cut(diverging) => partition.cut(leader_epoch, diverging, data.log_start_offset),
            Verdict::Paused => {
                let (topic, partition, error) = (partition.topic(), key.1, data.error_code);
                tracing::debug!(%topic, partition, error, "leader does not serve the replica");
                return verdict;
            }
            Verdict::Stale | Verdict::StartOver => return verdict,
        };
        match taken {
            Ok(standing) => self.stands(key, standing, false),
            Err(error) => self.not_taken(key, &error),
        }
        verdict
    }

    /// The leader cannot serve the positions of these replicas: it is asked for all of them at once where it can.
    async fn start_over(&mut self, keys: &BTreeSet<Key>) {
        let Some(link) = &self.link else { return };
        let astray = keys.iter().filter_map(|key| {
            let followed = self.partitions.get(key)?;
            Some((*key, Arc::clone(&followed.partition), followed.leader_epoch))
        });
        let astray: Vec<_> = astray.collect();
        let asked = astray.iter().map(|(key, partition, leader_epoch)| Asked {
            topic: partition.topic(),
            partition: key.1,
            leader_epoch: *leader_epoch,
        });
        let ends = match link.ends(&asked.collect::<Vec<_>>(), self.cast.settings.node_id).await {
            Ok(ends) => ends,
            Err(error) => return self.disconnected(&error),
        };
        for ((key, partition, leader_epoch), ends) in astray.iter().zip(ends) {
            let Ok(ends) = ends else {
                self.plan.failed(*key, now_ms());
                continue;
            };
            match partition.restart(*leader_epoch, ends) {
                Ok(standing) => self.stands(*key, standing, false),
                Err(error) => self.not_taken(*key, &error),
            }
        }
    }

    fn not_taken(&mut self, key: Key, error: &FollowError) {
        match error {
            // What holds instead has been said to the inbox, or is about to be.
            FollowError::Over | FollowError::Storage => self.leave(key),
            FollowError::Unfit(reason) => {
                let topic = self.partitions.get(&key).map(|followed| Arc::clone(followed.partition.topic()));
                let topic = topic.unwrap_or_default();
                tracing::warn!(%topic, partition = key.1, leader = self.place.0, reason, "replica fetches again");
                self.plan.failed(key, now_ms());
            }
        }
    }
}

fn said(data: &PartitionData<'_>) -> Said {
    let diverging = &data.diverging_epoch;
    Said {
        error: ErrorCode::from_i16(data.error_code).unwrap_or(ErrorCode::UnknownServerError),
        // Without an epoch, the field says nothing.
        diverging: (diverging.end_offset >= 0)
            .then_some(DivergingEpoch { epoch: diverging.epoch, end_offset: diverging.end_offset }),
    }
}

/// Waits until then, or for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
