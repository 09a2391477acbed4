//! A whole broker leads, on a socket of this machine; beside it the follower's half of another one.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use milena_client::net::Tcp;
use milena_log::Config;
use milena_log::memory_files::MemoryFiles;
use milena_protocol::records::Builder;
use milena_protocol::types::Uuid;
use milena_state::config::topic;
use milena_state::metadata::brokers::{Heartbeat, RegisterBroker};
use milena_state::metadata::topics::{CreateTopics, NewTopic};
use milena_state::metadata::{Command, Partition as Assigned, Reply, features};
use milena_state::partition::acks::{ALL, Awaited};

use super::*;

#[path = "throttle_test.rs"]
mod throttle;

use crate::broker::Broker;
use crate::metadata::publish::log_config;
use crate::partition::{AppendAs, Appended, Directories, Myself};

const TOPIC: &str = "events";
const LEADER: i32 = 1;
const FOLLOWER: i32 = 2;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Leading {
    /// Ends as after a crash: nobody follows its controller, so that leaving in order would wait in vain.
    broker: Broker,
    topic_id: Uuid,
    follower_epoch: i64,
    _data: tempfile::TempDir,
}

struct Follower {
    partition: Arc<Partition>,
    replication: Arc<Replication>,
    _directories: Directories,
}

fn settings(properties: &[(&str, &str)]) -> Settings {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::parse(&properties.collect::<BTreeMap<_, _>>()).expect("valid settings")
}

impl Leading {
    /// With a topic of one partition that the follower has a replica of.
    fn start(topic_configs: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        let settings = settings(&[
            ("node.id", "1"),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("milena.http.listener", "127.0.0.1:0"),
            ("num.network.threads", "1"),
            ("replica.lag.time.max.ms", "600"),
            // The follower of these tests sends no heartbeats.
            ("broker.session.timeout.ms", "600000"),
            ("log.dirs", data.path().to_str().expect("a plain path")),
        ]);
        let broker = Broker::start(settings).expect("it starts");
        let mut leading = Self { broker, topic_id: Uuid::ZERO, follower_epoch: -1, _data: data };
        leading.register_follower();
        leading.create_topic(topic_configs);
        leading
    }

    fn broker(&self) -> &Broker {
        &self.broker
    }

    fn submit(&self, command: Command) -> (Reply, i64) {
        self.broker().background().block_on(async {
            let node = self.broker().node();
            let committed = node.controller.submit(command).await.expect("is committed");
            node.metadata.reached(committed.index).await.expect("is published");
            (committed.reply, committed.index)
        })
    }

    fn register_follower(&mut self) {
        let registration = RegisterBroker {
            broker_id: FOLLOWER,
            incarnation_id: Uuid::from_u128(2),
            endpoints: self.image().broker(LEADER).expect("is registered").endpoints.clone(),
            features: features::supported(),
            rack: None,
            log_dirs: vec![Uuid::from_u128(1 << 100)],
            previous_broker_epoch: -1,
            session_is_live: false,
        };
        let (reply, index) = self.submit(Command::RegisterBroker(registration));
        let Reply::RegisterBroker(Ok(registered)) = reply else { panic!("{reply:?}") };
        self.follower_epoch = registered.epoch_at(index);
        let heartbeat = Heartbeat {
            broker_id: FOLLOWER,
            broker_epoch: self.follower_epoch,
            current_metadata_offset: index,
            want_fence: false,
            want_shut_down: false,
            others_caught_up: true,
            offline_log_dirs: Vec::new(),
        };
        let (reply, _) = self.submit(Command::BrokerHeartbeat(heartbeat));
        assert!(matches!(&reply, Reply::BrokerHeartbeat(Ok(answer)) if !answer.is_fenced), "{reply:?}");
    }

    fn create_topic(&mut self, configs: &[(&str, &str)]) {
        self.topic_id = Uuid::from_u128(u128::MAX / 3);
        let topic = NewTopic {
            name: TOPIC.to_owned(),
            topic_id: self.topic_id,
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![(0, vec![LEADER, FOLLOWER])],
            configs: configs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
                .collect(),
        };
        let create = CreateTopics { topics: vec![topic], validate_only: false };
        let (reply, _) = self.submit(Command::CreateTopics(create));
        assert!(matches!(&reply, Reply::CreateTopics(outcomes) if outcomes[0].result.is_ok()), "{reply:?}");
    }

    fn image(&self) -> Arc<Image> {
        self.broker().node().metadata.image_arc()
    }

    fn partition(&self) -> Arc<Partition> {
        self.broker().node().partitions.by_name(TOPIC, 0).expect("is here")
    }

    fn assigned(&self) -> Assigned {
        self.image().partition(self.topic_id, 0).expect("exists").as_ref().clone()
    }

    fn isr(&self) -> Vec<i32> {
        let mut isr = self.assigned().isr;
        isr.sort_unstable();
        isr
    }

    fn append(&self, value: &str) -> Appended {
        let append = AppendAs { acks_all: false, log_append_time: None };
        self.partition().append(&batch(value), append, now_ms()).expect("appends")
    }

    /// Whether the append is acknowledged to acks=all.
    fn acknowledge(&self, appended: &Appended) {
        let partition = self.partition();
        assert_eq!(partition.awaited(ALL), Awaited::HighWatermark);
        let waiting = async {
            let waiting = partition.acknowledged(appended, Awaited::HighWatermark);
            tokio::time::timeout(PATIENCE, waiting).await.expect("in time")
        };
        self.broker().background().block_on(waiting).expect("is acknowledged");
    }

    /// Leads in a later epoch, without the controller.
    fn lead_in(&self, leader_epoch: i32) {
        let assigned = Assigned { leader: Some(LEADER), leader_epoch, ..self.assigned() };
        let myself = Myself { broker_id: LEADER, broker_epoch: 1, replica_lag_time_max_ms: 30_000 };
        self.partition().assign(&assigned, myself, now_ms());
    }
}

impl Follower {
    fn of(leading: &Leading, properties: &[(&str, &str)]) -> Self {
        let fixed = [
            ("node.id", "2"),
            ("log.dirs", "/data"),
            ("replica.fetch.wait.max.ms", "200"),
            ("replica.fetch.backoff.ms", "50"),
        ];
        let settings = Arc::new(settings(&[&fixed[..], properties].concat()));
        let new_id = || Uuid::from_u128(1 << 100);
        let files = Arc::new(MemoryFiles::new());
        let directories =
            Directories::open(files, &[PathBuf::from("/data")], FOLLOWER, None, new_id).expect("memory");
        let image = leading.image();
        let topic_settings = topic::Settings::resolve(image.topic_config(TOPIC), &settings.topic);
        let config: Arc<Config> = Arc::new(log_config(&topic_settings, 1 << 40));
        let opened = directories.open_partition(
            (&TOPIC.into(), leading.topic_id),
            0,
            None,
            &Arc::new(topic_settings),
            &config,
        );
        let replication = Replication::new(settings, Arc::new(Tcp), Arc::new(Metrics::new()));
        replication.take_brokers(&image, leading.follower_epoch);
        Self { partition: opened.expect("memory"), replication, _directories: directories }
    }

    fn assign(&self, assigned: &Assigned) {
        let myself = Myself { broker_id: FOLLOWER, broker_epoch: 2, replica_lag_time_max_ms: 30_000 };
        self.partition.assign(assigned, myself, now_ms());
    }

    /// Follows the leader as the image says.
    fn follow(&self, assigned: &Assigned) {
        self.assign(assigned);
        self.replication.follow(&self.partition, LEADER, assigned.leader_epoch);
    }

    fn stop(&self) {
        self.replication.unfollow((self.partition.topic_id(), 0));
    }

    fn end(&self) -> i64 {
        self.partition.log_end_offset().get()
    }
}

fn batch(value: &str) -> Vec<u8> {
    let mut batch = Builder::new();
    batch.append(now_ms(), Some(value.as_bytes()), Some(value.as_bytes()), &[]).expect("fits");
    batch.finish().expect("fits")
}

/// All bytes of a log.
fn bytes(partition: &Partition) -> Vec<u8> {
    partition.with_log(|log| {
        let mut all = Vec::new();
        let mut from_offset = log.log_start_offset();
        while from_offset < log.log_end_offset() {
            let asked = milena_log::Read {
                from_offset,
                upto_offset: log.log_end_offset(),
                max_bytes: 1,
                min_one_batch: true,
                hot_only: false,
            };
            let batch = log.read(asked).expect("reads").expect("something").read().expect("reads");
            let header = milena_protocol::records::Batches::new(&batch).next().expect("one").expect("valid");
            from_offset = header.header().next_offset();
            all.extend(batch);
        }
        all
    })
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

fn assert_same(leading: &Leading, follower: &Follower) {
    assert_eq!(bytes(&leading.partition()), bytes(&follower.partition), "byte for byte");
}

#[test]
fn a_follower_catches_up_and_acknowledges_what_it_has() {
    let leading = Leading::start(&[]);
    assert_eq!(leading.isr(), [LEADER, FOLLOWER]);
    let first = leading.append("a");
    assert_eq!(leading.partition().high_watermark().get(), 0, "the follower lacks it");
    let follower = Follower::of(&leading, &[]);
    follower.follow(&leading.assigned());
    leading.acknowledge(&first);
    let mut last = first;
    for index in 0..200 {
        last = leading.append(&format!("value {index}"));
    }
    leading.acknowledge(&last);
    assert_eq!(follower.end(), 201, "acknowledged is replicated");
    // Without more records: the leader tells what it committed.
    eventually("the follower knows", || follower.partition.high_watermark().get() == 201);
    assert_same(&leading, &follower);
    assert_eq!(leading.isr(), [LEADER, FOLLOWER]);
}

#[test]
fn a_follower_that_lags_leaves_the_in_sync_replicas_and_comes_back() {
    let leading = Leading::start(&[]);
    let follower = Follower::of(&leading, &[]);
    let lost = leading.append("a");
    eventually("the ISR shrinks", || leading.isr() == [LEADER]);
    leading.acknowledge(&lost);
    follower.follow(&leading.assigned());
    eventually("the ISR grows", || leading.isr() == [LEADER, FOLLOWER]);
    assert_eq!((follower.end(), leading.partition().high_watermark().get()), (1, 1));
    follower.stop();
    leading.append("b");
    eventually("the ISR shrinks again", || leading.isr() == [LEADER]);
    let metrics = &leading.broker().node().metrics;
    // On a machine that is busy it may have come and gone more often.
    eventually("it is counted", || {
        let (shrinks, expands) = metrics.replication.isr_changes();
        shrinks >= 2 && expands >= 1
    });
}

#[test]
fn under_the_minimum_nothing_is_committed() {
    let leading = Leading::start(&[("min.insync.replicas", "2")]);
    let lost = leading.append("a");
    eventually("the ISR shrinks", || leading.isr() == [LEADER]);
    let all = AppendAs { acks_all: true, log_append_time: None };
    let refused = leading.partition().append(&batch("b"), all, now_ms()).expect_err("too few replicas");
    assert_eq!(refused.code, milena_protocol::ErrorCode::NotEnoughReplicas);
    assert_eq!(leading.partition().high_watermark().get(), 0);
    let follower = Follower::of(&leading, &[]);
    follower.follow(&leading.assigned());
    leading.acknowledge(&lost);
    assert_eq!(follower.end(), 1);
}

/// Both wrote in epochs of their own, as after a failover of which the old leader did not hear in time.
#[test]
fn logs_that_parted_are_equal_again_byte_for_byte() {
    let leading = Leading::start(&[]);
    let follower = Follower::of(&leading, &[]);
    for value in ["a", "b", "c"] {
        leading.append(value);
    }
    follower.follow(&leading.assigned());
    eventually("they agree", || follower.end() == 3);
    follower.stop();
    // The follower led for a while, and what it wrote reached nobody.
    let lonely =
        Assigned { leader: Some(FOLLOWER), leader_epoch: 1, isr: vec![FOLLOWER], ..leading.assigned() };
    follower.assign(&lonely);
    let append = AppendAs { acks_all: false, log_append_time: None };
    for value in ["x", "y", "z", "w"] {
        let _ = follower.partition.append(&batch(value), append, now_ms()).expect("appends");
    }
    leading.lead_in(2);
    leading.append("d");
    let again = Assigned { leader_epoch: 2, ..leading.assigned() };
    follower.follow(&again);
    let last = leading.append("e");
    eventually("they agree again", || {
        follower.end() == 5 && bytes(&follower.partition).len() == bytes(&leading.partition()).len()
    });
    assert_same(&leading, &follower);
    leading.acknowledge(&last);
}

#[test]
fn a_follower_begins_where_the_leader_still_has_records() {
    let leading = Leading::start(&[("segment.bytes", "1048576")]);
    let value = "v".repeat(300_000);
    for _ in 0..12 {
        leading.append(&value);
    }
    // Alone in sync, it may delete.
    eventually("the ISR shrinks", || leading.isr() == [LEADER]);
    eventually("all is committed", || leading.partition().high_watermark().get() == 12);
    assert_eq!(leading.partition().delete_records(9), Ok(9));
    let follower = Follower::of(&leading, &[]);
    follower.follow(&leading.assigned());
    eventually("the follower has what is left", || follower.end() == 12);
    assert_eq!(follower.partition.log_start_offset(), 9);
    assert_same(&leading, &follower);
    assert_eq!(leading.partition().delete_records(11), Ok(11));
    eventually("deletions are followed", || follower.partition.log_start_offset() == 11);
}

#[test]
fn a_durable_follower_counts_when_it_is_synced() {
    let leading = Leading::start(&[("milena.flush", "durable")]);
    let follower = Follower::of(&leading, &[]);
    assert!(follower.partition.is_durable());
    follower.follow(&leading.assigned());
    for index in 0..20 {
        let appended = leading.append(&format!("value {index}"));
        leading.acknowledge(&appended);
        let durable = follower.partition.with_log(|log| log.durable_offset());
        assert!(durable > appended.last_offset, "acknowledged at {durable}, {appended:?}");
    }
    assert_same(&leading, &follower);
}

#[test]
fn partitions_of_a_leader_that_comes_late_are_followed_then() {
    let leading = Leading::start(&[]);
    let follower = Follower::of(&leading, &[]);
    let nowhere = Image::default();
    follower.replication.take_brokers(&nowhere, leading.follower_epoch);
    follower.follow(&leading.assigned());
    let appended = leading.append("a");
    follower.replication.take_brokers(&leading.image(), leading.follower_epoch);
    leading.acknowledge(&appended);
    // Another number of connections takes over what is followed.
    follower.replication.set_fetchers(3);
    let appended = leading.append("b");
    leading.acknowledge(&appended);
    assert_same(&leading, &follower);
}

#[test]
fn a_follower_that_knows_of_a_leadership_before_its_leader_does_waits_for_it() {
    let leading = Leading::start(&[]);
    let follower = Follower::of(&leading, &[]);
    let later = Assigned { leader_epoch: 7, ..leading.assigned() };
    follower.follow(&later);
    leading.append("a");
    leading.lead_in(7);
    let appended = leading.append("b");
    leading.acknowledge(&appended);
    assert_same(&leading, &follower);
}

#[test]
fn a_process_of_the_broker_that_was_followed_by_another_is_not_served() {
    let leading = Leading::start(&[]);
    let follower = Follower::of(&leading, &[]);
    follower.follow(&leading.assigned());
    let appended = leading.append("a");
    leading.acknowledge(&appended);
    follower.replication.take_brokers(&leading.image(), leading.follower_epoch - 1);
    let lost = leading.append("b");
    eventually("the ISR shrinks", || leading.isr() == [LEADER]);
    leading.acknowledge(&lost);
    follower.replication.take_brokers(&leading.image(), leading.follower_epoch);
    eventually("the ISR grows", || leading.isr() == [LEADER, FOLLOWER]);
    assert_same(&leading, &follower);
}

#[test]
fn partitions_are_spread_over_as_many_connections_as_the_property_says() {
    let leading = Leading::start(&[]);
    let follower = Follower::of(&leading, &[("num.replica.fetchers", "3")]);
    let places = || -> BTreeSet<usize> {
        let fetchers = follower.replication.followed.lock().fetchers_per_leader;
        (0..9).map(|index| index_of((leading.topic_id, index), fetchers)).collect()
    };
    assert_eq!(places(), BTreeSet::from([0, 1, 2]));
    follower.replication.set_fetchers(2);
    assert_eq!(places(), BTreeSet::from([0, 1]));
}

#[test]
fn fetching_ends_with_the_last_partition_and_with_the_broker() {
    let leading = Leading::start(&[]);
    let follower = Follower::of(&leading, &[]);
    follower.follow(&leading.assigned());
    assert_eq!(follower.replication.fetchers_count(), 1);
    follower.stop();
    assert_eq!(follower.replication.fetchers_count(), 0);
    follower.follow(&leading.assigned());
    leading.broker().background().block_on(follower.replication.stop());
    assert_eq!(follower.replication.fetchers_count(), 0);
}
