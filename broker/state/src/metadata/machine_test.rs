//! Random histories of commands: what must hold after each, and what a snapshot must carry.

use std::collections::BTreeMap;

use milena_protocol::types::Uuid;
use proptest::prelude::*;

use super::*;
use crate::config::broker::Settings;

#[derive(Debug, Clone)]
enum Step {
    /// `dirs` is a mask of its two directories.
    Register {
        broker: i32,
        incarnation: u8,
        clean: bool,
        dirs: u8,
    },
    Unregister {
        broker: i32,
    },
    Heartbeat {
        broker: i32,
        want_fence: bool,
        want_shut_down: bool,
        offline: u8,
    },
    SessionEnds {
        broker: i32,
    },
    CreateTopic {
        name: u8,
        partitions: i32,
        factor: i16,
    },
    Grow {
        name: u8,
        count: i32,
    },
    DeleteTopic {
        name: u8,
    },
    ProposeIsr {
        name: u8,
        partition: i32,
        members: Vec<i32>,
    },
    /// Another broker epoch, leader epoch or partition epoch than the present one, as messages have that come late.
    StaleProposal {
        name: u8,
        partition: i32,
        members: Vec<i32>,
        which: u8,
    },
    Reassign {
        name: u8,
        partition: i32,
        target: Vec<i32>,
    },
    CancelReassignment {
        name: u8,
        partition: i32,
    },
    AssignDirectory {
        broker: i32,
        name: u8,
        partition: i32,
        second: bool,
    },
    Balance,
    ElectUnclean,
    Elect {
        preferred: bool,
    },
    ProducerIds {
        broker: i32,
    },
    Configure {
        name: u8,
        min_isr: u8,
        unclean: bool,
    },
    ElrFeature {
        level: i16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let broker = || 1..5_i32;
    let name = || 0..4_u8;
    prop_oneof![
        3 => (broker(), 0..3_u8, any::<bool>(), prop_oneof![3 => Just(3_u8), 1 => 1..=3_u8]).prop_map(
            |(broker, incarnation, clean, dirs)| Step::Register { broker, incarnation, clean, dirs }
        ),
        1 => broker().prop_map(|broker| Step::Unregister { broker }),
        8 => (
            broker(),
            prop::bool::weighted(0.1),
            prop::bool::weighted(0.1),
            prop_oneof![8 => Just(0_u8), 1 => 1..=3_u8],
        )
            .prop_map(|(broker, want_fence, want_shut_down, offline)| Step::Heartbeat {
                broker,
                want_fence,
                want_shut_down,
                offline,
            }),
        3 => broker().prop_map(|broker| Step::SessionEnds { broker }),
        4 => (name(), 1..4_i32, 1..4_i16)
            .prop_map(|(name, partitions, factor)| Step::CreateTopic { name, partitions, factor }),
        1 => (name(), 1..6_i32).prop_map(|(name, count)| Step::Grow { name, count }),
        1 => name().prop_map(|name| Step::DeleteTopic { name }),
        8 => (name(), 0..2_i32, prop::collection::vec(broker(), 1..5))
            .prop_map(|(name, partition, members)| Step::ProposeIsr { name, partition, members }),
        1 => (name(), 0..2_i32, prop::collection::vec(broker(), 1..4), 0..4_u8).prop_map(
            |(name, partition, members, which)| Step::StaleProposal { name, partition, members, which }
        ),
        4 => (name(), 0..2_i32, Just(vec![1, 2, 3, 4]).prop_shuffle(), 1..4_usize).prop_map(
            |(name, partition, mut target, count)| {
                target.truncate(count);
                Step::Reassign { name, partition, target }
            }
        ),
        1 => (name(), 0..2_i32)
            .prop_map(|(name, partition)| Step::CancelReassignment { name, partition }),
        2 => (broker(), name(), 0..2_i32, any::<bool>()).prop_map(|(broker, name, partition, second)| {
            Step::AssignDirectory { broker, name, partition, second }
        }),
        1 => Just(Step::Balance),
        1 => Just(Step::ElectUnclean),
        1 => any::<bool>().prop_map(|preferred| Step::Elect { preferred }),
        1 => broker().prop_map(|broker| Step::ProducerIds { broker }),
        1 => (name(), 1..4_u8, any::<bool>())
            .prop_map(|(name, min_isr, unclean)| Step::Configure { name, min_isr, unclean }),
        1 => (0..2_i16).prop_map(|level| Step::ElrFeature { level }),
    ]
}

/// Four live brokers and a topic with a minimum ISR of two: histories that begin with less rarely get
/// as far as eligible leader replicas.
fn prelude() -> Vec<Step> {
    let register = |broker| Step::Register { broker, incarnation: 0, clean: true, dirs: 3 };
    let heartbeat = |broker| Step::Heartbeat { broker, want_fence: false, want_shut_down: false, offline: 0 };
    let mut steps: Vec<Step> = (1..=4).flat_map(|broker| [register(broker), heartbeat(broker)]).collect();
    steps.push(Step::CreateTopic { name: 0, partitions: 2, factor: 3 });
    steps.push(Step::Configure { name: 0, min_isr: 2, unclean: false });
    steps
}

/// The directories of a broker that a mask names.
fn directories_of(broker: i32, mask: u8) -> Vec<Uuid> {
    let ids = (0..2).filter(|bit| mask & (1 << bit) != 0);
    ids.map(|bit| Uuid::from_u128(1000 + 10 * broker as u128 + bit as u128)).collect()
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
            Step::Register { broker, incarnation, clean, dirs } => {
                Command::RegisterBroker(brokers::RegisterBroker {
                    broker_id: broker,
                    incarnation_id: Uuid::from_u128(u128::from(incarnation) + 1),
                    endpoints: vec![],
                    features: features::supported(),
                    rack: Some(format!("rack-{}", broker % 2)),
                    log_dirs: directories_of(broker, dirs),
                    previous_broker_epoch: if clean { epoch(broker) } else { -1 },
                    session_is_live: false,
                })
            }
            Step::Unregister { broker } => {
                Command::UnregisterBroker(brokers::UnregisterBroker { broker_id: broker })
            }
            Step::Heartbeat { broker, want_fence, want_shut_down, offline } => {
                Command::BrokerHeartbeat(brokers::Heartbeat {
                    broker_id: broker,
                    broker_epoch: epoch(broker),
                    current_metadata_offset: self.image.applied().index,
                    want_fence,
                    want_shut_down,
                    offline_log_dirs: directories_of(broker, offline),
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
            Step::ProposeIsr { name: n, partition, members } => {
                match self.proposal(&name(n), partition, &members) {
                    Some(proposal) => Command::AlterPartition(proposal),
                    None => return vec![],
                }
            }
            Step::StaleProposal { name: n, partition, members, which } => {
                let Some(mut proposal) = self.proposal(&name(n), partition, &members) else { return vec![] };
                let one = &mut proposal.partitions[0];
                match which {
                    0 => one.leader_epoch -= 1,
                    1 => one.partition_epoch -= 1,
                    2 => one.new_isr[0].1 = 0,
                    _ => proposal.broker_epoch -= 1,
                }
                Command::AlterPartition(proposal)
            }
            Step::Reassign { name: n, partition, target } => self.reassign(name(n), partition, Some(target)),
            Step::CancelReassignment { name: n, partition } => self.reassign(name(n), partition, None),
            Step::AssignDirectory { broker, name: n, partition, second } => {
                let Some(topic) = self.image.topic_by_name(&name(n)) else { return vec![] };
                let directory = directories_of(broker, 3)[usize::from(second)];
                let (topic_id, partition_id) = (topic.id, partition);
                Command::AssignReplicasToDirs(directories::AssignReplicasToDirs {
                    broker_id: broker,
                    broker_epoch: epoch(broker),
                    replicas: vec![directories::AssignedReplica { directory, topic_id, partition_id }],
                })
            }
            Step::Balance => Command::BalanceLeaders,
            Step::ElectUnclean => Command::ElectUncleanLeaders,
            Step::Elect { preferred } => Command::ElectLeaders(elections::ElectLeaders {
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
                voters: vec![],
            }),
        }]
    }

    fn reassign(&self, name: String, partition_id: i32, replicas: Option<Vec<i32>>) -> Command {
        let partitions = vec![reassignments::ReassignPartition { partition_id, replicas }];
        let topics = vec![reassignments::ReassignTopic { name, partitions }];
        let allow_replication_factor_change = true;
        Command::AlterPartitionReassignments(reassignments::AlterPartitionReassignments {
            topics,
            allow_replication_factor_change,
        })
    }

    /// What the leader of the partition would send; members that do not exist get refused.
    fn proposal(&self, name: &str, partition_id: i32, members: &[i32]) -> Option<partitions::AlterPartition> {
        let topic = self.image.topic_by_name(name)?;
        let partition = topic.partition(partition_id)?;
        let leader = partition.leader?;
        let of_replicas = members.iter().copied().filter(|id| partition.replicas.contains(id));
        // Most proposals fit, or a reassignment would hardly ever complete.
        let members: Vec<i32> = if members.len() < 4 { members.to_vec() } else { of_replicas.collect() };
        let mut new_isr = vec![leader];
        new_isr.extend(members.iter().filter(|id| **id != leader));
        let mut seen = std::collections::BTreeSet::new();
        new_isr.retain(|id| members.len() == 2 || seen.insert(*id));
        let epoch_of = |id: i32| self.image.broker(id).map_or(-1, |broker| broker.broker_epoch);
        Some(partitions::AlterPartition {
            broker_id: leader,
            broker_epoch: self.image.broker(leader)?.broker_epoch,
            partitions: vec![partitions::ProposedPartition {
                topic_id: topic.id,
                partition_id,
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                new_isr: new_isr.into_iter().map(|id| (id, epoch_of(id))).collect(),
                leader_recovery_state: record::RecoveryState::Recovered,
            }],
        })
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
        self.check_reassignments(&before, command);
        check_accepted(&before, command, &decision.reply);
        check_delta(&before, &self.image, &delta);
        let rebuilt = Image::from_snapshot(next, self.image.snapshot()).unwrap();
        assert_eq!(rebuilt, self.image, "a snapshot rebuilds the image");
    }

    /// C1 and leadership: see `controller-and-replication.md` §3.3.
    fn check_partitions(&mut self) {
        for topic in self.image.topics() {
            let settings = &self.settings;
            for (index, p) in topic.partitions.iter().enumerate() {
                let rules = partitions::rules(&self.image, topic, p, Context { now_ms: 0, settings });
                let at = || format!("{}-{index}: {p:?}", topic.name);
                assert!(p.isr.iter().all(|id| p.replicas.contains(id)), "ISR within replicas, {}", at());
                let elr = &p.eligible_leader_replicas;
                assert!(elr.iter().all(|id| p.replicas.contains(id)), "ELR within replicas, {}", at());
                assert!(!elr.iter().any(|id| p.isr.contains(id)), "ISR and ELR are disjoint, {}", at());
                assert!(p.isr.len() < rules.min_isr || elr.is_empty(), "a full ISR has no ELR, {}", at());
                if let Some(leader) = p.leader {
                    assert!(p.isr.contains(&leader), "the leader is in sync, {}", at());
                    assert!(partitions::may_lead(&self.image, p, leader), "the leader lives, {}", at());
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

    /// A partition has the replicas that it is to have, and never fewer in sync than it ends with.
    fn check_reassignments(&self, before: &Image, command: &Command) {
        for topic in self.image.topics() {
            for (index, p) in topic.partitions.iter().enumerate() {
                let at = || format!("{}-{index}: {p:?}", topic.name);
                let distinct: std::collections::BTreeSet<i32> = p.replicas.iter().copied().collect();
                assert!(!p.replicas.is_empty() && distinct.len() == p.replicas.len(), "replicas, {}", at());
                assert_eq!(p.directories.len(), p.replicas.len(), "{}", at());
                let within = |ids: &[i32]| ids.iter().all(|id| p.replicas.contains(id));
                assert!(within(&p.adding_replicas) && within(&p.removing_replicas), "{}", at());
                assert!(!p.adding_replicas.iter().any(|id| p.removing_replicas.contains(id)), "{}", at());
                assert!(p.replicas.len() > p.removing_replicas.len(), "something stays, {}", at());
                let was = before.partition(topic.id, index as i32);
                let ended = was.is_some_and(|was| was.is_reassigning()) && !p.is_reassigning();
                // Who cancels asks for what was there, in sync or not.
                let asked = matches!(command, Command::AlterPartitionReassignments(_));
                if ended && !asked {
                    assert!(p.replicas.iter().all(|id| p.isr.contains(id)), "complete, {}", at());
                }
            }
        }
        let listed = reassignments::list(&self.image, None).iter().map(|(_, of)| of.len()).sum::<usize>();
        let all = self.image.topics().flat_map(|topic| &topic.partitions);
        assert_eq!(listed, all.filter(|p| p.is_reassigning()).count());
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

/// C4: what was accepted had the epochs of the partition and of each member, who was alive.
fn check_accepted(before: &Image, command: &Command, reply: &Reply) {
    let (Command::AlterPartition(asked), Reply::AlterPartition(Ok(answers))) = (command, reply) else {
        return;
    };
    for (proposal, answer) in asked.partitions.iter().zip(answers) {
        if !matches!(answer.result, Ok(_) | Err(milena_protocol::ErrorCode::NewLeaderElected)) {
            continue;
        }
        let p = before.partition(proposal.topic_id, proposal.partition_id).expect("it was accepted");
        let epochs = (proposal.leader_epoch, proposal.partition_epoch);
        assert_eq!(epochs, (p.leader_epoch, p.partition_epoch));
        assert_eq!(p.leader, Some(asked.broker_id));
        assert_eq!(before.broker(asked.broker_id).expect("a leader").broker_epoch, asked.broker_epoch);
        for (id, epoch) in &proposal.new_isr {
            let broker = before.broker(*id).expect("a member is registered");
            assert!(!broker.fenced && !broker.in_controlled_shutdown && p.replicas.contains(id));
            assert!(*epoch == -1 || *epoch == broker.broker_epoch, "{id} of epoch {epoch}");
        }
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
