//! Random histories of commands: what must hold after each, and what a snapshot must carry.

use std::collections::BTreeMap;

use milena_protocol::types::Uuid;
use proptest::prelude::*;

use super::*;
use crate::config::broker::Settings;

#[derive(Debug, Clone)]
enum Step {
    Register { broker: i32, incarnation: u8, clean: bool },
    Unregister { broker: i32 },
    Heartbeat { broker: i32, want_fence: bool, want_shut_down: bool },
    SessionEnds { broker: i32 },
    CreateTopic { name: u8, partitions: i32, factor: i16 },
    Grow { name: u8, count: i32 },
    DeleteTopic { name: u8 },
    ProposeIsr { name: u8, members: Vec<i32> },
    Elect { preferred: bool },
    ProducerIds { broker: i32 },
    Configure { name: u8, min_isr: u8, unclean: bool },
    ElrFeature { level: i16 },
}

fn step() -> impl Strategy<Value = Step> {
    let broker = || 1..5_i32;
    let name = || 0..4_u8;
    prop_oneof![
        3 => (broker(), 0..3_u8, any::<bool>())
            .prop_map(|(broker, incarnation, clean)| Step::Register { broker, incarnation, clean }),
        1 => broker().prop_map(|broker| Step::Unregister { broker }),
        8 => (broker(), prop::bool::weighted(0.1), prop::bool::weighted(0.1)).prop_map(
            |(broker, want_fence, want_shut_down)| Step::Heartbeat { broker, want_fence, want_shut_down }
        ),
        3 => broker().prop_map(|broker| Step::SessionEnds { broker }),
        4 => (name(), 1..4_i32, 1..4_i16)
            .prop_map(|(name, partitions, factor)| Step::CreateTopic { name, partitions, factor }),
        1 => (name(), 1..6_i32).prop_map(|(name, count)| Step::Grow { name, count }),
        1 => name().prop_map(|name| Step::DeleteTopic { name }),
        4 => (name(), prop::collection::vec(broker(), 1..4))
            .prop_map(|(name, members)| Step::ProposeIsr { name, members }),
        1 => any::<bool>().prop_map(|preferred| Step::Elect { preferred }),
        1 => broker().prop_map(|broker| Step::ProducerIds { broker }),
        1 => (name(), 1..4_u8, any::<bool>())
            .prop_map(|(name, min_isr, unclean)| Step::Configure { name, min_isr, unclean }),
        1 => (0..2_i16).prop_map(|level| Step::ElrFeature { level }),
    ]
}

/// Three live brokers and a topic with a minimum ISR of two: histories that begin with less rarely get
/// as far as eligible leader replicas.
fn prelude() -> Vec<Step> {
    let register = |broker| Step::Register { broker, incarnation: 0, clean: true };
    let heartbeat = |broker| Step::Heartbeat { broker, want_fence: false, want_shut_down: false };
    let mut steps: Vec<Step> = (1..=3).flat_map(|broker| [register(broker), heartbeat(broker)]).collect();
    steps.push(Step::CreateTopic { name: 0, partitions: 2, factor: 3 });
    steps.push(Step::Configure { name: 0, min_isr: 2, unclean: false });
    steps
}

struct Cluster {
    image: Image,
    settings: Settings,
    topics_made: u128,
    /// Leader by topic id, partition and leader epoch: no epoch has two.
    leaders: BTreeMap<(Uuid, usize, i32), i32>,
}

impl Cluster {
    fn command(&mut self, step: &Step) -> Vec<Command> {
        let name = |name: u8| format!("topic-{name}");
        let epoch = |broker: i32| self.image.broker(broker).map_or(-1, |b| b.broker_epoch);
        vec![match step.clone() {
            Step::Register { broker, incarnation, clean } => {
                Command::RegisterBroker(brokers::RegisterBroker {
                    broker_id: broker,
                    incarnation_id: Uuid::from_u128(u128::from(incarnation) + 1),
                    endpoints: vec![],
                    features: features::supported(),
                    rack: Some(format!("rack-{}", broker % 2)),
                    log_dirs: vec![Uuid::from_u128(1000 + broker as u128)],
                    previous_broker_epoch: if clean { epoch(broker) } else { -1 },
                    session_is_live: false,
                })
            }
            Step::Unregister { broker } => {
                Command::UnregisterBroker(brokers::UnregisterBroker { broker_id: broker })
            }
            Step::Heartbeat { broker, want_fence, want_shut_down } => {
                Command::BrokerHeartbeat(brokers::Heartbeat {
                    broker_id: broker,
                    broker_epoch: epoch(broker),
                    current_metadata_offset: self.image.applied().index,
                    want_fence,
                    want_shut_down,
                    others_caught_up: true,
                })
            }
            Step::SessionEnds { broker } => {
                Command::FenceBroker(brokers::FenceBroker { broker_id: broker, broker_epoch: epoch(broker) })
            }
            Step::CreateTopic { name: n, partitions, factor } => {
                self.topics_made += 1;
                let new = topics::NewTopic {
                    name: name(n),
                    topic_id: Uuid::from_u128(self.topics_made),
                    num_partitions: partitions,
                    replication_factor: factor,
                    ..topics::NewTopic::default()
                };
                Command::CreateTopics(topics::CreateTopics { topics: vec![new], validate_only: false })
            }
            Step::Grow { name: n, count } => Command::CreatePartitions(topics::CreatePartitions {
                topics: vec![topics::MorePartitions { name: name(n), count, assignments: None }],
                validate_only: false,
            }),
            Step::DeleteTopic { name: n } => {
                Command::DeleteTopics(topics::DeleteTopics { topics: vec![topics::TopicRef::Name(name(n))] })
            }
            Step::ProposeIsr { name: n, members } => match self.proposal(&name(n), &members) {
                Some(command) => command,
                None => return vec![],
            },
            Step::Elect { preferred } => Command::ElectLeaders(partitions::ElectLeaders {
                election: if preferred {
                    partitions::Election::Preferred
                } else {
                    partitions::Election::Unclean
                },
                partitions: None,
            }),
            Step::ProducerIds { broker } => Command::AllocateProducerIds(producer_ids::AllocateProducerIds {
                broker_id: broker,
                broker_epoch: epoch(broker),
            }),
            Step::Configure { name: n, min_isr, unclean } => {
                let set = |name: &str, value: String| configs::Change {
                    name: name.to_owned(),
                    operation: 0,
                    value: Some(value),
                };
                let changes = vec![
                    set("min.insync.replicas", min_isr.to_string()),
                    set("unclean.leader.election.enable", unclean.to_string()),
                ];
                let resource_type = ResourceKind::Topic as i8;
                Command::IncrementalAlterConfigs(configs::IncrementalAlterConfigs {
                    resources: vec![configs::Asked { resource_type, name: name(n), changes }],
                    validate_only: false,
                    receiver: 0,
                })
            }
            Step::ElrFeature { level } => Command::UpdateFeatures(features::UpdateFeatures {
                updates: vec![features::FeatureUpdate {
                    name: features::ELIGIBLE_LEADER_REPLICAS.to_owned(),
                    level,
                    kind: Some(match level {
                        0 => features::UpdateKind::UnsafeDowngrade,
                        _ => features::UpdateKind::Upgrade,
                    }),
                }],
                validate_only: false,
            }),
        }]
    }

    /// What the leader of partition 0 would send; members that do not exist get refused.
    fn proposal(&self, name: &str, members: &[i32]) -> Option<Command> {
        let topic = self.image.topic_by_name(name)?;
        let partition = topic.partition(0)?;
        let leader = partition.leader?;
        let mut new_isr = vec![(leader, -1)];
        new_isr.extend(members.iter().filter(|id| **id != leader).map(|id| (*id, -1)));
        new_isr.dedup();
        Some(Command::AlterPartition(partitions::AlterPartition {
            broker_id: leader,
            broker_epoch: self.image.broker(leader)?.broker_epoch,
            partitions: vec![partitions::ProposedPartition {
                topic_id: topic.id,
                partition_id: 0,
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                new_isr,
                leader_recovery_state: record::RecoveryState::Recovered,
            }],
        }))
    }

    fn run(&mut self, command: &Command) {
        let before = self.image.clone();
        let context = Context { now_ms: 0, settings: &self.settings };
        let decision = decide(&self.image, command, context);
        let next = Applied { index: before.applied().index + 1, term: 1 };
        let mut delta = Delta::default();
        let records = decode_batch(&encode_batch(&decision.records)).unwrap();
        assert_eq!(self.image.apply_entry(next, &records, &mut delta), Ok(()), "{command:?}");
        self.check_partitions();
        self.check_epochs(&before);
        check_delta(&before, &self.image, &delta);
        let rebuilt = Image::from_snapshot(next, self.image.snapshot()).unwrap();
        assert_eq!(rebuilt, self.image, "a snapshot rebuilds the image");
    }

    /// C1 and leadership: see `controller-and-replication.md` §3.3.
    fn check_partitions(&mut self) {
        for topic in self.image.topics() {
            let settings = &self.settings;
            let rules = partitions::rules(&self.image, topic, Context { now_ms: 0, settings });
            for (index, p) in topic.partitions.iter().enumerate() {
                let at = || format!("{}-{index}: {p:?}", topic.name);
                assert!(p.isr.iter().all(|id| p.replicas.contains(id)), "ISR within replicas, {}", at());
                let elr = &p.eligible_leader_replicas;
                assert!(elr.iter().all(|id| p.replicas.contains(id)), "ELR within replicas, {}", at());
                assert!(!elr.iter().any(|id| p.isr.contains(id)), "ISR and ELR are disjoint, {}", at());
                assert!(p.isr.len() < rules.min_isr || elr.is_empty(), "a full ISR has no ELR, {}", at());
                if let Some(leader) = p.leader {
                    assert!(p.isr.contains(&leader), "the leader is in sync, {}", at());
                    let broker = self.image.broker(leader);
                    assert!(broker.is_some_and(|b| b.is_active()), "the leader lives, {}", at());
                    let epoch = (topic.id, index, p.leader_epoch);
                    let known = self.leaders.entry(epoch).or_insert(leader);
                    assert_eq!(*known, leader, "one leader per epoch, {}", at());
                }
                if rules.elr_enabled {
                    let fenced = |id: &&i32| self.image.broker(**id).is_none_or(|b| !b.is_active());
                    let lone = p.leader.is_none() && p.isr.len() == 1;
                    assert!(lone || !p.isr.iter().any(|id| fenced(&id)), "the ISR lives, {}", at());
                }
            }
        }
    }

    /// C2, C3, C5: epochs and producer ids only rise.
    fn check_epochs(&self, before: &Image) {
        for topic in before.topics() {
            for (index, old) in topic.partitions.iter().enumerate() {
                let Some(new) = self.image.partition(topic.id, index as i32) else { continue };
                assert!(new.leader_epoch >= old.leader_epoch && new.partition_epoch >= old.partition_epoch);
                let same_epoch = new.leader_epoch == old.leader_epoch;
                assert!(!same_epoch || new.leader == old.leader, "a new leader is a new epoch");
            }
        }
        for broker in before.brokers() {
            let after = self.image.broker(broker.broker_id);
            assert!(after.is_none_or(|after| after.broker_epoch >= broker.broker_epoch));
        }
        assert!(self.image.next_producer_id() >= before.next_producer_id());
    }
}

/// A publisher that follows the delta sees every difference.
fn check_delta(before: &Image, after: &Image, delta: &Delta) {
    let difference = Delta::between(before, after);
    let missing = |what: &str| format!("{what}: {difference:?} within {delta:?}");
    assert!(difference.topics_changed.is_subset(&delta.topics_changed), "{}", missing("topics"));
    assert!(difference.partitions_changed.is_subset(&delta.partitions_changed), "{}", missing("partitions"));
    assert!(difference.brokers_changed.is_subset(&delta.brokers_changed), "{}", missing("brokers"));
    assert!(difference.configs_changed.is_subset(&delta.configs_changed), "{}", missing("configs"));
    assert_eq!(difference.topics_removed, delta.topics_removed);
}

proptest! {
    // Each case checks everything after every step: 40 are a second or two without optimisation.
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn random_histories_keep_the_invariants(steps in prop::collection::vec(step(), 1..120)) {
        let mut cluster = Cluster {
            image: Image::default(),
            settings: Settings::own_defaults(),
            topics_made: 0,
            leaders: BTreeMap::new(),
        };
        cluster.run(&Command::Bootstrap);
        for step in prelude().iter().chain(&steps) {
            for command in cluster.command(step) {
                cluster.run(&command);
            }
        }
    }
}
