//! The life of one process: it follows the metadata and does what the image says, once that has its registration.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_log::Directory;
use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;
use milena_state::metadata::{self, Applied, Delta, Image};

use super::alter_partition::InFlight;
use super::replica::{Myself, Replica, Role};
use super::{Out, Setup};
use crate::controller::TOPIC_ID;
use crate::message::{Entry, Fetch, FetchedPartition, Message, Node, Produce, RequestId};
use crate::parameters::Mutation;
use crate::random::Random;
use crate::schedule::Timer;

/// How long a fetch waits at the leader for records.
const FETCH_WAIT_MS: i64 = 60;
/// Pause before a fetch that follows an error.
const FETCH_BACKOFF_MS: i64 = 20;
const METADATA_RETRY_MS: i64 = 250;

#[derive(Debug)]
pub struct Process {
    pub setup: Arc<Setup>,
    directory: Arc<Directory>,
    pub previous_epoch: i64,
    pub incarnation_id: Uuid,
    /// Of the last registration that was answered.
    pub epoch: Option<i64>,
    /// That one is not in force any more, and another was asked for.
    pub registers_again: bool,
    /// The image that was published last made this broker act.
    acted: bool,
    pub image: Image,
    pub replicas: BTreeMap<i32, Replica>,
    pub altering: InFlight,
    /// By leader: the number of the attempt under way.
    fetchers: BTreeMap<i32, u64>,
    /// Fetches of followers that wait for records, by a number of their own.
    parked: BTreeMap<u64, (i32, RequestId, Fetch)>,
    requests: u64,
    pub stopping: bool,
    random: Random,
}

impl Process {
    pub fn start(
        setup: Arc<Setup>,
        number: u64,
        directory: Arc<Directory>,
        last_epoch: Option<i64>,
        mut random: Random,
        out: &mut Out,
    ) -> Self {
        let previous_epoch = match (setup.mutation, last_epoch) {
            (Mutation::CrashCalledClean, Some(last_epoch)) => last_epoch,
            _ => directory.clean_stop().unwrap_or(-1),
        };
        let incarnation_id = Uuid::from_u128(u128::from(random.next()) | 1 << 100);
        out.timers.push((0, Timer::Register));
        out.timers.push((0, Timer::FollowMetadata));
        out.timers.push((setup.lag_time_ms / 2, Timer::CheckIsr));
        Self {
            setup,
            directory,
            previous_epoch,
            incarnation_id,
            epoch: None,
            registers_again: false,
            acted: false,
            image: Image::default(),
            replicas: BTreeMap::new(),
            altering: InFlight::default(),
            fetchers: BTreeMap::new(),
            parked: BTreeMap::new(),
            // No two processes of a broker use the same numbers: answers to one that died mean nothing to the next.
            requests: number << 32,
            stopping: false,
            random,
        }
    }

    pub fn close(self) {
        for (_, replica) in self.replicas {
            replica.note_high_watermark();
            replica.log.close_clean().expect("no fault of the disk is simulated here");
        }
        let epoch = self.epoch.unwrap_or(-1);
        self.directory.close_clean(epoch).expect("no fault of the disk is simulated here");
    }

    /// The recovery points are written, as every minute, and the high watermarks, as every five seconds.
    pub fn checkpoint(&self) {
        self.replicas.values().for_each(Replica::note_high_watermark);
        self.directory.checkpoint_high_watermarks().expect("no fault of the disk is simulated here");
        self.directory.checkpoint().expect("no fault of the disk is simulated here");
    }

    pub fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        self.requests
    }

    /// Acts on an image only while it holds its own registration: an older one may say that this broker leads what its
    /// predecessor led, with records that the crash took, and another process may have followed it.
    pub fn acts(&self) -> bool {
        match self.setup.mutation {
            Mutation::ActsBeforeRegistration => self.epoch.is_some(),
            _ => self.epoch.is_some() && self.registration().is_some(),
        }
    }

    /// Under which epoch it acts.
    pub fn acting_epoch(&self) -> Option<i64> {
        let registered = self.registration().map(|own| own.broker_epoch);
        registered.or(self.epoch).filter(|_| self.acts())
    }

    fn registration(&self) -> Option<&Arc<metadata::Broker>> {
        let own = self.image.broker(self.setup.broker_id);
        own.filter(|own| own.incarnation_id == self.incarnation_id)
    }

    pub fn receive(&mut self, from: Node, message: Message, out: &mut Out) {
        match message {
            Message::Registered(incarnation_id, result) if incarnation_id == self.incarnation_id => {
                self.registered(result, out);
            }
            Message::HeartbeatAnswer(epoch, result) if self.epoch == Some(epoch) => self.heard(result, out),
            // To the process that was here before.
            Message::Registered(..) | Message::HeartbeatAnswer(..) => {}
            Message::AlteredPartition(request, answer) => self.proposals_answered(request, answer, out),
            Message::ProducerIds => {}
            Message::Metadata(entries) => self.apply(&entries, out),
            Message::MetadataSnapshot(image) => self.install(*image, out),
            Message::Fetch(request, fetch) => self.fetch(from, request, fetch, out),
            Message::Fetched(attempt, answers) => self.fetched(from, attempt, &answers, out),
            Message::Produce(request, produce) => self.produce(from, request, &produce, out),
            Message::Consume { partition, offset } => {
                let result = match self.replicas.get_mut(&partition) {
                    Some(replica) => replica.consume(offset, out),
                    None => Err(ErrorCode::UnknownTopicOrPartition),
                };
                out.sends.push((from, Message::Consumed { partition, result }));
            }
            other => unreachable!("no message for a broker: {other:?}"),
        }
        self.after_step(out);
    }

    pub fn wake(&mut self, timer: Timer, out: &mut Out) {
        match timer {
            Timer::Register => self.register(out),
            Timer::Heartbeat => self.heartbeat(out),
            Timer::FollowMetadata => {
                let applied = self.image.applied().index;
                out.sends.push((Node::Controller, Message::FollowMetadata { applied }));
                out.timers.push((METADATA_RETRY_MS, Timer::FollowMetadata));
            }
            Timer::Fetch { leader, attempt } => {
                if self.fetchers.get(&leader) == Some(&attempt) {
                    self.send_fetch(leader, out);
                }
            }
            Timer::ParkedFetch { id } => {
                if let Some((follower, request, fetch)) = self.parked.remove(&id) {
                    self.answer_fetch(follower, request, &fetch, false, out);
                }
            }
            Timer::AlterPartitionTimeout { request } => self.proposals_timed_out(request, out),
            Timer::Sync { partition } => {
                if let Some(replica) = self.replicas.get_mut(&partition) {
                    replica.synced(out);
                }
            }
            Timer::CheckIsr => {
                for replica in self.replicas.values_mut() {
                    if let Role::Leader(leader) = &mut replica.role {
                        let effects = leader.tick(out.now_ms);
                        replica.settle(effects, out);
                    }
                }
                out.timers.push((self.setup.lag_time_ms / 2, Timer::CheckIsr));
            }
        }
        self.after_step(out);
    }

    /// What may follow from any step: proposals to send, followers to wake, bytes to sync.
    pub fn after_step(&mut self, out: &mut Out) {
        if self.replicas.values().any(|replica| replica.wakes) {
            self.replicas.values_mut().for_each(|replica| replica.wakes = false);
            for (_, (follower, request, fetch)) in std::mem::take(&mut self.parked) {
                self.answer_fetch(follower, request, &fetch, false, out);
            }
        }
        self.send_proposals(out);
        for (partition, replica) in &mut self.replicas {
            let behind = replica.log.durable_offset() < replica.log_end_offset();
            let leads = replica.leader().is_some();
            let wanted =
                (self.setup.durable && leads) || self.random.per_mille(self.setup.writeback_per_mille / 10);
            if behind && wanted && !replica.sync_is_due {
                replica.sync_is_due = true;
                out.timers.push((self.random.between(0, 15), Timer::Sync { partition: *partition }));
            }
        }
    }

    fn apply(&mut self, entries: &[Arc<Entry>], out: &mut Out) {
        let mut delta = Delta::default();
        for entry in entries {
            if entry.index == self.image.applied().index + 1 {
                let fits = self.image.apply_entry(
                    Applied { index: entry.index, term: 1 },
                    &entry.records,
                    &mut delta,
                );
                assert_eq!(fits, Ok(()), "records fit where they follow the image they were decided on");
            }
        }
        self.ask_for_more(out);
        self.publish(Some(&delta), out);
    }

    fn install(&mut self, image: Image, out: &mut Out) {
        if image.applied().index > self.image.applied().index {
            let delta = Delta::between(&self.image, &image);
            self.image = image;
            self.publish(Some(&delta), out);
        }
        self.ask_for_more(out);
    }

    fn ask_for_more(&mut self, out: &mut Out) {
        let applied = self.image.applied().index;
        out.sends.push((Node::Controller, Message::FollowMetadata { applied }));
    }

    /// Makes partitions what the image says: those that changed, all of them the first time.
    pub fn publish(&mut self, delta: Option<&Delta>, out: &mut Out) {
        let Some(broker_epoch) = self.acting_epoch() else { return self.step_down(out) };
        let acted = std::mem::replace(&mut self.acted, true);
        let delta = delta.filter(|_| acted);
        let myself = Myself { broker_id: self.setup.broker_id, broker_epoch };
        let Some(topic) = self.image.topic(TOPIC_ID).cloned() else { return };
        for (index, assigned) in topic.partitions.iter().enumerate() {
            let index = index as i32;
            if !assigned.replicas.contains(&myself.broker_id) {
                if let Some(replica) = self.replicas.remove(&index) {
                    let unique = self.next_request();
                    replica.delete(unique, out);
                }
                continue;
            }
            let is_open = self.replicas.contains_key(&index);
            let changed = delta.is_none_or(|delta| delta.partitions_changed.contains(&(TOPIC_ID, index)));
            if is_open && !changed {
                continue;
            }
            let (setup, directory) = (&self.setup, &self.directory);
            let replica = self
                .replicas
                .entry(index)
                .or_insert_with(|| Replica::open(setup.clone(), index, directory, out.now_ms));
            replica.assign(assigned, &self.image, myself, out);
        }
        if delta.is_none_or(|delta| !delta.brokers_changed.is_empty()) {
            for replica in self.replicas.values_mut() {
                let effects = replica.set_eligible(&self.image, out.now_ms);
                replica.settle(effects, out);
            }
        }
        self.start_fetchers(out);
    }

    /// The image has no registration of this process any more: it leads nothing and follows nobody.
    fn step_down(&mut self, out: &mut Out) {
        if !std::mem::take(&mut self.acted) {
            return;
        }
        self.fetchers.clear();
        let nobody = Myself { broker_id: -1, broker_epoch: -1 };
        for (index, replica) in &mut self.replicas {
            if let Some(assigned) = self.image.partition(TOPIC_ID, *index) {
                replica.assign(assigned, &self.image, nobody, out);
            }
        }
    }

    /// One loop of fetches per leader, for as long as something is followed there.
    fn start_fetchers(&mut self, out: &mut Out) {
        let leaders: Vec<i32> = self
            .replicas
            .values()
            .filter_map(|replica| match replica.role {
                Role::Follower { leader, .. } => leader,
                Role::Leader(_) => None,
            })
            .collect();
        self.fetchers.retain(|leader, _| leaders.contains(leader));
        for leader in leaders {
            if !self.fetchers.contains_key(&leader) {
                let attempt = self.next_request();
                self.fetchers.insert(leader, attempt);
                out.timers.push((0, Timer::Fetch { leader, attempt }));
            }
        }
    }

    fn send_fetch(&mut self, leader: i32, out: &mut Out) {
        if self.setup.durable && self.setup.mutation != Mutation::FetchesBeforeSync {
            // What it fetches from counts as written by the leader, so it must be on the disk.
            for replica in self.replicas.values_mut().filter(|replica| replica.leader().is_none()) {
                replica.log.sync().expect("no fault of the disk is simulated here");
            }
        }
        let partitions: Vec<_> =
            self.replicas.values().filter_map(|replica| replica.to_fetch_from(leader)).collect();
        let attempt = self.next_request();
        self.fetchers.insert(leader, attempt);
        let broker_epoch = self.acting_epoch().unwrap_or(-1);
        let fetch = Fetch { broker_id: self.setup.broker_id, broker_epoch, partitions };
        out.sends.push((Node::Broker(leader), Message::Fetch(attempt, fetch)));
        // Without an answer until then the connection is taken for dead.
        out.timers.push((self.setup.request_timeout_ms + FETCH_WAIT_MS, Timer::Fetch { leader, attempt }));
    }

    fn fetched(&mut self, from: Node, attempt: RequestId, answers: &[FetchedPartition], out: &mut Out) {
        let Node::Broker(leader) = from else { return };
        if self.fetchers.get(&leader) != Some(&attempt) {
            return;
        }
        let mut failed = false;
        for answer in answers {
            if let Some(replica) = self.replicas.get_mut(&answer.asked.partition) {
                replica.take_fetched(answer, out);
            }
            failed |= answer.result.is_err();
        }
        let attempt = self.next_request();
        self.fetchers.insert(leader, attempt);
        // In durable mode the disk takes its time before the next fetch.
        let disk_ms = if self.setup.durable { self.random.between(0, 10) } else { 0 };
        let wait_ms = if failed { FETCH_BACKOFF_MS } else { disk_ms };
        out.timers.push((wait_ms, Timer::Fetch { leader, attempt }));
    }

    fn fetch(&mut self, from: Node, request: RequestId, fetch: Fetch, out: &mut Out) {
        let Node::Broker(follower) = from else { return };
        self.answer_fetch(follower, request, &fetch, true, out);
    }

    /// Answers a fetch, or keeps it for a while when there is nothing to say yet.
    fn answer_fetch(
        &mut self,
        follower: i32,
        request: RequestId,
        fetch: &Fetch,
        is_new: bool,
        out: &mut Out,
    ) {
        let mut answers = Vec::with_capacity(fetch.partitions.len());
        for asked in &fetch.partitions {
            let result = match self.replicas.get_mut(&asked.partition) {
                Some(replica) => replica.fetch(*asked, (fetch.broker_id, fetch.broker_epoch), is_new, out),
                None => Err(ErrorCode::NotLeaderOrFollower),
            };
            answers.push(FetchedPartition { asked: *asked, result });
        }
        let is_empty = answers.iter().all(|answer| {
            answer.result.as_ref().is_ok_and(|found| found.bytes.is_empty() && found.diverging.is_none())
        });
        if is_empty && is_new {
            let id = self.next_request();
            self.parked.insert(id, (follower, request, fetch.clone()));
            out.timers.push((FETCH_WAIT_MS, Timer::ParkedFetch { id }));
            return;
        }
        out.sends.push((Node::Broker(follower), Message::Fetched(request, answers)));
    }

    fn produce(&mut self, from: Node, request: RequestId, produce: &Produce, out: &mut Out) {
        match self.replicas.get_mut(&produce.partition) {
            Some(replica) => replica.produce(from, request, produce, out),
            None => {
                let result = Err(ErrorCode::UnknownTopicOrPartition);
                out.sends.push((from, Message::Produced(request, result)));
            }
        }
    }
}
