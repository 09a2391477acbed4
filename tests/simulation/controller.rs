//! One controller that never fails: the shipped decisions, their records applied at once and sent late.
//!
//! That the quorum behind it agrees is proved elsewhere; here it matters what is decided and in which order brokers
//! learn of it. It does what the shipped writer does around a decision: sessions, and what only the active controller
//! knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::types::Uuid;
use milena_state::config::broker::Settings;
use milena_state::metadata::brokers::{FenceBroker, UnregisterBroker};
use milena_state::metadata::elections::ElectLeaders;
use milena_state::metadata::features::{ELIGIBLE_LEADER_REPLICAS, FeatureUpdate, UpdateFeatures, UpdateKind};
use milena_state::metadata::partitions::Election;
use milena_state::metadata::producer_ids::AllocateProducerIds;
use milena_state::metadata::reassignments::{AlterPartitionReassignments, ReassignPartition, ReassignTopic};
use milena_state::metadata::sessions::{self, Sessions};
use milena_state::metadata::topics::{CreateTopics, NewTopic};
use milena_state::metadata::{Applied, Command, Context, Delta, Image, Partition, Record, Reply, decide};

use crate::message::{Entry, Message, Node};
use crate::parameters::Parameters;
use crate::random::Random;

pub const TOPIC: &str = "t";
pub const TOPIC_ID: Uuid = Uuid::from_u128(0x7000_0000_0000_0000_0000_0000_0000_0042);

/// Entries in one answer to a broker that follows.
const ENTRIES_MAX: usize = 3;

#[derive(Debug)]
pub struct Controller {
    pub image: Image,
    entries: Vec<Arc<Entry>>,
    settings: Settings,
    sessions: Sessions,
    session_timeout_ms: i64,
    /// Brokers that wait for an entry behind the index.
    parked: BTreeMap<i32, i64>,
    brokers: i32,
    topic: CreateTopics,
    random: Random,
}

/// A change of the image, for the oracle.
#[derive(Debug)]
pub struct Change {
    pub before: Image,
    pub command: Command,
    pub entry: Arc<Entry>,
}

/// What comes of a message: changes to look at, and messages to send.
#[derive(Debug, Default)]
pub struct Outcome {
    pub changes: Vec<Change>,
    pub sends: Vec<(Node, Message)>,
}

impl Controller {
    pub fn new(parameters: &Parameters, mut random: Random) -> Self {
        let mut controller = Self {
            image: Image::default(),
            entries: Vec::new(),
            settings: Settings::own_defaults(),
            sessions: Sessions::default(),
            session_timeout_ms: parameters.session_timeout_ms,
            parked: BTreeMap::new(),
            brokers: parameters.brokers,
            topic: topic(parameters, &mut random),
            random: random.fork(),
        };
        controller.run(Command::Bootstrap, 0, &mut Outcome::default());
        if !parameters.eligible_leader_replicas {
            let off = FeatureUpdate {
                name: ELIGIBLE_LEADER_REPLICAS.to_owned(),
                level: 0,
                kind: Some(UpdateKind::SafeDowngrade),
            };
            let update = UpdateFeatures { updates: vec![off], validate_only: false, voters: vec![] };
            controller.run(Command::UpdateFeatures(update), 0, &mut Outcome::default());
        }
        controller
    }

    pub fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.image.partition(TOPIC_ID, index)
    }

    /// The topic comes once all its brokers live, and stays for the whole run.
    fn create_topic(&mut self, now_ms: i64, outcome: &mut Outcome) {
        if self.image.topic(TOPIC_ID).is_some() || !(1..=self.brokers).all(|id| self.image.is_active(id)) {
            return;
        }
        let Reply::CreateTopics(topics) =
            self.run(Command::CreateTopics(self.topic.clone()), now_ms, outcome)
        else {
            unreachable!("a reply has the name of its command")
        };
        assert!(topics.iter().all(|topic| topic.result.is_ok()), "{topics:?}");
    }

    pub fn receive(&mut self, from: Node, message: Message, now_ms: i64) -> Outcome {
        let mut outcome = Outcome::default();
        let answer = match message {
            Message::Register(command) => {
                let incarnation_id = command.incarnation_id;
                let Reply::RegisterBroker(reply) =
                    self.run(Command::RegisterBroker(command), now_ms, &mut outcome)
                else {
                    unreachable!("a reply has the name of its command")
                };
                let index = self.image.applied().index;
                let registered = reply.map(|registered| registered.epoch_at(index));
                Message::Registered(incarnation_id, registered.map_err(|error| error.code))
            }
            Message::Heartbeat(command) => {
                let broker_epoch = command.broker_epoch;
                let Reply::BrokerHeartbeat(reply) =
                    self.run(Command::BrokerHeartbeat(command), now_ms, &mut outcome)
                else {
                    unreachable!("a reply has the name of its command")
                };
                Message::HeartbeatAnswer(broker_epoch, reply.map_err(|error| error.code))
            }
            Message::AlterPartition(request, command) => {
                let Reply::AlterPartition(reply) =
                    self.run(Command::AlterPartition(command), now_ms, &mut outcome)
                else {
                    unreachable!("a reply has the name of its command")
                };
                Message::AlteredPartition(request, reply.map_err(|error| error.code))
            }
            Message::AllocateProducerIds { broker_id, broker_epoch } => {
                let command = Command::AllocateProducerIds(AllocateProducerIds { broker_id, broker_epoch });
                self.run(command, now_ms, &mut outcome);
                Message::ProducerIds
            }
            Message::FollowMetadata { applied } => {
                if let Node::Broker(id) = from {
                    self.parked.insert(id, applied);
                }
                self.serve_followers(&mut outcome);
                return outcome;
            }
            other => unreachable!("no message for a controller: {other:?}"),
        };
        outcome.sends.push((from, answer));
        self.serve_followers(&mut outcome);
        outcome
    }

    /// Fences brokers that were not heard of, one at a time.
    pub fn tick(&mut self, now_ms: i64) -> Outcome {
        let mut outcome = Outcome::default();
        self.create_topic(now_ms, &mut outcome);
        for fence in self.sessions.expired(&self.image, self.session_timeout_ms, now_ms) {
            self.run(Command::FenceBroker(fence), now_ms, &mut outcome);
        }
        self.serve_followers(&mut outcome);
        outcome
    }

    /// The process of this epoch is gone.
    pub fn disconnected(&mut self, broker_id: i32, broker_epoch: i64, now_ms: i64) -> Outcome {
        let mut outcome = Outcome::default();
        if self.image.broker(broker_id).is_some_and(|broker| broker.broker_epoch == broker_epoch) {
            self.sessions.forget(broker_id);
            let fence = FenceBroker { broker_id, broker_epoch };
            self.run(Command::FenceBroker(fence), now_ms, &mut outcome);
            self.serve_followers(&mut outcome);
        }
        outcome
    }

    /// An administrator moves leaderships to where they belong.
    pub fn elect_preferred(&mut self, now_ms: i64) -> Outcome {
        let mut outcome = Outcome::default();
        let command = ElectLeaders { election: Election::Preferred, partitions: None };
        self.run(Command::ElectLeaders(command), now_ms, &mut outcome);
        self.serve_followers(&mut outcome);
        outcome
    }

    /// An administrator moves a partition to other brokers, or (with none) takes that back.
    pub fn reassign(&mut self, partition_id: i32, replicas: Option<Vec<i32>>, now_ms: i64) -> Outcome {
        let mut outcome = Outcome::default();
        let partitions = vec![ReassignPartition { partition_id, replicas }];
        let topics = vec![ReassignTopic { name: TOPIC.to_owned(), partitions }];
        let command = AlterPartitionReassignments { topics, allow_replication_factor_change: false };
        self.run(Command::AlterPartitionReassignments(command), now_ms, &mut outcome);
        self.serve_followers(&mut outcome);
        outcome
    }

    /// The first broker from `id` on that is fenced.
    pub fn fenced_from(&self, id: i32) -> Option<i32> {
        let fenced = |id: &i32| self.image.broker(*id).is_some_and(|broker| broker.fenced);
        (id..=self.brokers).chain(1..id).find(fenced)
    }

    /// An administrator takes a broker for gone for good.
    pub fn unregister(&mut self, broker_id: i32, now_ms: i64) -> Outcome {
        let mut outcome = Outcome::default();
        self.run(Command::UnregisterBroker(UnregisterBroker { broker_id }), now_ms, &mut outcome);
        self.serve_followers(&mut outcome);
        outcome
    }

    fn run(&mut self, mut command: Command, now_ms: i64, outcome: &mut Outcome) -> Reply {
        self.sessions.inform(&mut command, &self.image, self.session_timeout_ms, now_ms);
        let context = Context { now_ms, settings: &self.settings };
        let decision = decide(&self.image, &command, context);
        let note = sessions::Note::of(&command, &decision.reply);
        if !decision.records.is_empty() {
            let before = self.image.clone();
            let entry = self.apply(decision.records);
            outcome.changes.push(Change { before, command, entry });
        }
        self.sessions.remember(note, self.image.applied().index, now_ms);
        decision.reply
    }

    fn apply(&mut self, records: Vec<Record>) -> Arc<Entry> {
        let index = self.image.applied().index + 1;
        let fits = self.image.apply_entry(Applied { index, term: 1 }, &records, &mut Delta::default());
        assert_eq!(fits, Ok(()), "decided records fit");
        let entry = Arc::new(Entry { index, records });
        self.entries.push(entry.clone());
        entry
    }

    fn serve_followers(&mut self, outcome: &mut Outcome) {
        let last = self.image.applied().index;
        let behind: Vec<(i32, i64)> =
            self.parked.iter().filter(|(_, applied)| **applied < last).map(|(id, at)| (*id, *at)).collect();
        for (id, applied) in behind {
            self.parked.remove(&id);
            let message = if applied == 0 && self.random.coin() {
                Message::MetadataSnapshot(Box::new(self.image.clone()))
            } else {
                let from = applied as usize;
                let upto =
                    (from + 1 + self.random.below(ENTRIES_MAX as u64) as usize).min(self.entries.len());
                Message::Metadata(self.entries[from..upto].to_vec())
            };
            outcome.sends.push((Node::Broker(id), message));
        }
    }
}

/// The topic of the run, with as many replicas as its parameters say, from any broker on.
fn topic(parameters: &Parameters, random: &mut Random) -> CreateTopics {
    let mut assignments = Vec::new();
    for partition in 0..parameters.partitions {
        let first = random.below(parameters.brokers as u64) as i32;
        let nth = |at: i32| 1 + (first + at) % parameters.brokers;
        assignments.push((partition, (0..parameters.replication_factor as i32).map(nth).collect()));
    }
    let configs = vec![
        ("min.insync.replicas".to_owned(), Some(parameters.min_isr.to_string())),
        ("unclean.leader.election.enable".to_owned(), Some(parameters.unclean_election.to_string())),
    ];
    let new = NewTopic {
        name: TOPIC.to_owned(),
        topic_id: TOPIC_ID,
        num_partitions: -1,
        replication_factor: -1,
        assignments,
        configs,
    };
    CreateTopics { topics: vec![new], validate_only: false }
}
