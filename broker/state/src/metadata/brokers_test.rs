use super::super::image::Applied;
use super::*;

/// A cluster whose brokers are registered and unfenced, with every feature at its first level.
pub(in crate::metadata) fn image_with_brokers(ids: &[i32]) -> Image {
    let mut image = Image::default();
    let settings = Settings::own_defaults();
    let context = Context { now_ms: 0, settings: &settings };
    let mut records = crate::metadata::features::bootstrap(&image, context).records;
    for (index, id) in ids.iter().enumerate() {
        records.push(Record::RegisterBroker(record::RegisterBroker {
            broker_id: *id,
            incarnation_id: Uuid::from_u128(1000 + *id as u128),
            broker_epoch: 10 + index as i64,
            endpoints: Vec::new(),
            features: crate::metadata::features::supported(),
            rack: None,
            fenced: false,
            in_controlled_shutdown: false,
            log_dirs: vec![Uuid::from_u128(5000 + *id as u128)],
        }));
    }
    image.begin_entry(Applied { index: 50, term: 1 });
    records.iter().for_each(|record| image.apply(record).unwrap());
    image
}

use crate::config::broker::Settings;
use crate::metadata::command::Command;
use crate::metadata::topics::{CreateTopics, NewTopic};
use crate::metadata::{Delta, decide};

/// A cluster that only commands have changed.
pub(in crate::metadata) struct Cluster {
    pub image: Image,
    pub settings: Settings,
}

impl Cluster {
    pub fn new() -> Self {
        let mut cluster = Self { image: Image::default(), settings: Settings::own_defaults() };
        cluster.run(Command::Bootstrap);
        cluster
    }

    /// Decides and applies, as the controller's writer does.
    pub fn run(&mut self, command: Command) -> Reply {
        let decision = decide(&self.image, &command, Context { now_ms: 0, settings: &self.settings });
        let next = Applied { index: self.image.applied().index + 1, term: 1 };
        self.image.apply_entry(next, &decision.records, &mut Delta::default()).unwrap();
        decision.reply
    }

    pub fn register(&mut self, broker_id: i32, incarnation: u128, previous_broker_epoch: i64) -> i64 {
        let command = RegisterBroker {
            previous_broker_epoch,
            incarnation_id: Uuid::from_u128(incarnation),
            ..registration_of(broker_id)
        };
        match self.run(Command::RegisterBroker(command)) {
            Reply::RegisterBroker(Ok(registered)) => registered.epoch_at(self.image.applied().index),
            other => panic!("{other:?}"),
        }
    }

    pub fn heartbeat(&mut self, broker_id: i32, edit: impl Fn(&mut Heartbeat)) -> HeartbeatAnswer {
        let mut heartbeat = Heartbeat {
            broker_id,
            broker_epoch: self.image.broker(broker_id).unwrap().broker_epoch,
            current_metadata_offset: self.image.applied().index,
            want_fence: false,
            want_shut_down: false,
            offline_log_dirs: vec![],
            others_caught_up: false,
        };
        edit(&mut heartbeat);
        match self.run(Command::BrokerHeartbeat(heartbeat)) {
            Reply::BrokerHeartbeat(Ok(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub fn topic(&mut self, replicas: &[i32]) -> Uuid {
        let topic_id = Uuid::from_u128(7_000 + self.image.topics_count() as u128);
        let new = NewTopic {
            name: format!("t{topic_id}"),
            topic_id,
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![(0, replicas.to_vec())],
            configs: vec![],
        };
        self.run(Command::CreateTopics(CreateTopics { topics: vec![new], validate_only: false }));
        topic_id
    }

    /// What the leader of partition 0 proposes, in the epochs that it knows.
    pub fn propose(&mut self, topic_id: Uuid, isr: &[i32]) -> Result<partitions::AlteredState, ErrorCode> {
        let partition = self.image.partition(topic_id, 0).unwrap();
        let leader = partition.leader.unwrap();
        let proposal = partitions::ProposedPartition {
            topic_id,
            partition_id: 0,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            new_isr: isr.iter().map(|id| (*id, -1)).collect(),
            leader_recovery_state: record::RecoveryState::Recovered,
        };
        let command = partitions::AlterPartition {
            broker_id: leader,
            broker_epoch: self.image.broker(leader).unwrap().broker_epoch,
            partitions: vec![proposal],
        };
        match self.run(Command::AlterPartition(command)) {
            Reply::AlterPartition(Ok(answers)) => answers[0].result.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Its session ran out.
    pub fn lose(&mut self, broker_id: i32) {
        let broker_epoch = self.image.broker(broker_id).unwrap().broker_epoch;
        self.run(Command::FenceBroker(FenceBroker { broker_id, broker_epoch }));
    }

    pub fn configure(&mut self, topic_id: Uuid, name: &str, value: &str) {
        let topic = self.image.topic(topic_id).unwrap().name.to_string();
        let change = crate::metadata::configs::Change {
            name: name.to_owned(),
            operation: 0,
            value: Some(value.to_owned()),
        };
        let asked = crate::metadata::configs::Asked { resource_type: 2, name: topic, changes: vec![change] };
        let reply =
            self.run(Command::IncrementalAlterConfigs(crate::metadata::configs::IncrementalAlterConfigs {
                resources: vec![asked],
                validate_only: false,
                receiver: 1,
            }));
        assert_eq!(reply, Reply::IncrementalAlterConfigs(vec![Ok(())]));
    }

    pub fn leader_and_isr(&self, topic_id: Uuid) -> (Option<i32>, Vec<i32>) {
        let partition = self.image.partition(topic_id, 0).unwrap();
        (partition.leader, partition.isr.clone())
    }
}

pub(in crate::metadata) fn registration_of(broker_id: i32) -> RegisterBroker {
    RegisterBroker {
        broker_id,
        incarnation_id: Uuid::from_u128(1),
        endpoints: vec![],
        features: crate::metadata::features::supported(),
        rack: None,
        log_dirs: vec![Uuid::from_u128(100_000 + broker_id as u128)],
        previous_broker_epoch: -1,
        session_is_live: false,
    }
}

#[test]
fn a_broker_starts_fenced_and_is_unfenced_when_it_has_seen_its_registration() {
    let mut cluster = Cluster::new();
    let epoch = cluster.register(1, 11, -1);
    assert_eq!(cluster.image.broker(1).unwrap().broker_epoch, epoch);
    let behind = cluster.heartbeat(1, |h| h.current_metadata_offset = epoch - 1);
    assert_eq!((behind.is_caught_up, behind.is_fenced), (false, true));
    assert!(!cluster.image.is_active(1));
    let answer = cluster.heartbeat(1, |h| h.current_metadata_offset = epoch);
    assert_eq!((answer.is_caught_up, answer.is_fenced, answer.should_shut_down), (true, false, false));
    assert!(cluster.image.is_active(1));
}

#[test]
fn the_same_process_keeps_its_epoch_and_another_one_needs_the_session_to_end() {
    let mut cluster = Cluster::new();
    let epoch = cluster.register(1, 11, -1);
    cluster.heartbeat(1, |_| {});
    assert_eq!(cluster.register(1, 11, -1), epoch);
    assert!(cluster.image.is_active(1), "a repeated registration does not fence");

    let intruder =
        RegisterBroker { incarnation_id: Uuid::from_u128(12), session_is_live: true, ..registration_of(1) };
    match cluster.run(Command::RegisterBroker(intruder)) {
        Reply::RegisterBroker(Err(error)) => assert_eq!(error.code, ErrorCode::DuplicateBrokerRegistration),
        other => panic!("{other:?}"),
    }
    assert!(cluster.register(1, 12, epoch) > epoch);
    assert!(!cluster.image.is_active(1), "a new process starts fenced");
}

#[test]
fn registrations_with_bad_directories_or_features_are_refused() {
    let mut cluster = Cluster::new();
    cluster.register(1, 11, -1);
    let taken = Uuid::from_u128(100_001);
    type Edit = Box<dyn Fn(&mut RegisterBroker)>;
    let cases: [(Edit, ErrorCode); 6] = [
        (Box::new(|r| r.log_dirs.clear()), ErrorCode::InvalidRegistration),
        (
            Box::new(|r| r.features.retain(|feature| feature.name != METADATA_VERSION)),
            ErrorCode::InvalidRegistration,
        ),
        (Box::new(|r| r.log_dirs = vec![Uuid::from_u128(1)]), ErrorCode::InvalidRegistration),
        (Box::new(|r| r.log_dirs.push(r.log_dirs[0])), ErrorCode::InvalidRegistration),
        (Box::new(move |r| r.log_dirs = vec![taken]), ErrorCode::InvalidRegistration),
        (
            Box::new(|r| r.features.retain(|feature| feature.name == METADATA_VERSION)),
            ErrorCode::UnsupportedVersion,
        ),
    ];
    for (edit, code) in cases {
        let mut command = registration_of(2);
        edit(&mut command);
        match cluster.run(Command::RegisterBroker(command)) {
            Reply::RegisterBroker(Err(error)) => assert_eq!(error.code, code, "{error}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(cluster.image.broker(2).is_none());
}

pub(in crate::metadata) fn three_brokers() -> Cluster {
    brokers(3)
}

/// Brokers 1 to `count`, all of them active.
pub(in crate::metadata) fn brokers(count: i32) -> Cluster {
    let mut cluster = Cluster::new();
    for id in 1..=count {
        cluster.register(id, 10 + id as u128, -1);
        cluster.heartbeat(id, |_| {});
    }
    cluster
}

#[test]
fn fencing_moves_leaders_first_and_fences_last() {
    let mut cluster = three_brokers();
    let topic = cluster.topic(&[1, 2, 3]);
    let epoch = cluster.image.broker(1).unwrap().broker_epoch;
    let command = FenceBroker { broker_id: 1, broker_epoch: epoch };
    let decision = fence(&cluster.image, &command, Context { now_ms: 0, settings: &cluster.settings });
    assert!(matches!(decision.records[0], Record::PartitionChange(_)));
    assert!(matches!(decision.records.last(), Some(Record::BrokerRegistrationChange(_))));
    cluster.run(Command::FenceBroker(command));
    assert_eq!(cluster.leader_and_isr(topic), (Some(2), vec![2, 3]));
    assert!(!cluster.image.is_active(1));

    let again = fence(&cluster.image, &command, Context { now_ms: 0, settings: &cluster.settings });
    assert!(again.records.is_empty(), "a fenced broker is not fenced twice");
    let old = FenceBroker { broker_id: 2, broker_epoch: -5 };
    let late = fence(&cluster.image, &old, Context { now_ms: 0, settings: &cluster.settings });
    assert!(late.records.is_empty(), "the session of an old incarnation does not fence the new one");
}

#[test]
fn controlled_shutdown_drains_before_it_lets_go() {
    let mut cluster = three_brokers();
    let topic = cluster.topic(&[1, 2]);
    let draining = cluster.heartbeat(1, |h| h.want_shut_down = true);
    assert_eq!((draining.should_shut_down, draining.is_fenced), (false, false));
    assert_eq!(cluster.leader_and_isr(topic), (Some(2), vec![2]));
    let waiting = cluster.heartbeat(1, |h| h.want_shut_down = true);
    assert!(!waiting.should_shut_down, "the others have not seen the new leaders yet");
    let done = cluster.heartbeat(1, |h| {
        h.want_shut_down = true;
        h.others_caught_up = true;
    });
    assert!(done.should_shut_down && done.is_fenced);
    assert!(cluster.image.broker(1).unwrap().fenced);
}

#[test]
fn a_broker_that_leads_nothing_may_go_at_once() {
    let mut cluster = three_brokers();
    assert!(cluster.heartbeat(3, |h| h.want_shut_down = true).should_shut_down);
}

#[test]
fn a_broker_that_wants_both_at_once_goes_at_once() {
    let mut cluster = three_brokers();
    let topic = cluster.topic(&[1, 2]);
    let answer = cluster.heartbeat(1, |h| (h.want_fence, h.want_shut_down) = (true, true));
    assert!(answer.should_shut_down && answer.is_fenced);
    assert_eq!(cluster.leader_and_isr(topic), (Some(2), vec![2]));
}

/// It may come back with an empty disk, and nothing tells: its registration is gone.
#[test]
fn a_broker_that_was_unregistered_is_eligible_nowhere_when_it_registers_again() {
    let mut cluster = three_brokers();
    let topic = cluster.topic(&[1, 2]);
    cluster.configure(topic, "min.insync.replicas", "2");
    cluster.lose(1);
    assert_eq!(cluster.image.partition(topic, 0).unwrap().eligible_leader_replicas, [1]);
    cluster.run(Command::UnregisterBroker(UnregisterBroker { broker_id: 1 }));
    cluster.register(1, 99, -1);
    cluster.lose(2);
    cluster.heartbeat(1, |_| {});
    assert_eq!(cluster.leader_and_isr(topic), (None, vec![]), "only broker 2 has everything");
    cluster.heartbeat(2, |_| {});
    assert_eq!(cluster.leader_and_isr(topic), (Some(2), vec![2]));
}

#[test]
fn a_broker_that_changes_its_address_or_rack_keeps_its_place() {
    let mut cluster = three_brokers();
    let topic = cluster.topic(&[1, 2]);
    let epoch = cluster.image.broker(1).unwrap().broker_epoch;
    let endpoint = Endpoint { name: "A".to_owned(), host: "h".to_owned(), port: 1, security_protocol: 0 };
    // The same process says it again, then another one after a clean stop.
    for (incarnation, previous_broker_epoch, host) in [(11, -1, "moved"), (12, epoch, "moved-again")] {
        let endpoints = vec![Endpoint { host: host.to_owned(), ..endpoint.clone() }];
        let command = RegisterBroker {
            incarnation_id: Uuid::from_u128(incarnation),
            endpoints,
            rack: Some(host.to_owned()),
            previous_broker_epoch,
            ..registration_of(1)
        };
        cluster.run(Command::RegisterBroker(command));
        cluster.heartbeat(1, |_| {});
        let broker = cluster.image.broker(1).unwrap();
        assert_eq!((&*broker.endpoints[0].host, broker.rack.as_deref()), (host, Some(host)));
        assert!(broker.is_active() && cluster.image.partition(topic, 0).unwrap().replicas == [1, 2]);
    }
}

/// One broker with one replica: killed and started again it must lead again, whatever was lost.
#[test]
fn the_only_replica_leads_again_after_a_clean_and_after_an_unclean_end() {
    for clean in [true, false] {
        let mut cluster = Cluster::new();
        let epoch = cluster.register(1, 11, -1);
        cluster.heartbeat(1, |_| {});
        let topic = cluster.topic(&[1]);
        cluster.register(1, 12, if clean { epoch } else { -1 });
        assert_eq!(cluster.leader_and_isr(topic).0, None, "fenced brokers lead nothing");
        cluster.heartbeat(1, |_| {});
        assert_eq!(cluster.leader_and_isr(topic), (Some(1), vec![1]), "clean: {clean}");
    }
}

#[test]
fn unregistering_forgets_a_broker_and_its_place_in_the_isr() {
    let mut cluster = three_brokers();
    let topic = cluster.topic(&[1, 2, 3]);
    match cluster.run(Command::UnregisterBroker(UnregisterBroker { broker_id: 1 })) {
        Reply::UnregisterBroker(Err(error)) => assert_eq!(error.code, ErrorCode::InvalidRequest, "it lives"),
        other => panic!("{other:?}"),
    }
    let broker_epoch = cluster.image.broker(1).unwrap().broker_epoch;
    cluster.run(Command::FenceBroker(FenceBroker { broker_id: 1, broker_epoch }));
    let reply = cluster.run(Command::UnregisterBroker(UnregisterBroker { broker_id: 1 }));
    assert_eq!(reply, Reply::UnregisterBroker(Ok(())));
    assert_eq!(cluster.leader_and_isr(topic), (Some(2), vec![2, 3]));
    assert!(cluster.image.broker(1).is_none());
    match cluster.run(Command::UnregisterBroker(UnregisterBroker { broker_id: 1 })) {
        Reply::UnregisterBroker(Err(error)) => assert_eq!(error.code, ErrorCode::BrokerIdNotRegistered),
        other => panic!("{other:?}"),
    }
}
