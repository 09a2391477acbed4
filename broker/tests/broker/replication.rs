//! Replicas of a cluster in this process: nothing acknowledged is lost when leaders and controllers die.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use milena_broker::partition::{AppendAs, Isolation, Partition, Read};
use milena_client::admin::NewTopic;
use milena_protocol::records::{Batches, Builder};
use milena_state::partition::acks::ALL;

use super::cluster::{Nodes, PATIENCE};

const TOPIC: &str = "events";
const ALL_THREE: [(i32, &str); 3] =
    [(1, "broker,controller"), (2, "broker,controller"), (3, "broker,controller")];

/// Longer than an election, a fencing and a registration, shorter than anybody's patience.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);

/// A topic of one partition on all three, of which two must hold a record before it is acknowledged.
fn cluster(configs: &[(&str, &str)]) -> Nodes {
    // A controller that comes to lead waits for the sessions of brokers that it never heard of.
    let nodes =
        Nodes::three_with(&[("broker.session.timeout.ms", "3000"), ("broker.heartbeat.interval.ms", "500")]);
    let mut all = BTreeMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]);
    all.extend(configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let topic = NewTopic {
        name: TOPIC.to_owned(),
        partitions: Some(1),
        replication_factor: Some(3),
        configs: all.into_iter().collect(),
        ..NewTopic::default()
    };
    let admin = nodes.admin(1);
    let created = nodes.client.block_on(admin.create_topics(&[topic], false)).expect("answered");
    for (name, outcome) in created {
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    nodes.eventually("all know it", |nodes| (1..=3).all(|id| nodes.has(id, TOPIC)));
    nodes
}

impl Nodes {
    fn replica(&self, id: i32) -> Option<Arc<Partition>> {
        self.running.get(&id)?.node().partitions.by_name(TOPIC, 0).ok()
    }

    fn leading(&self) -> Option<(i32, Arc<Partition>)> {
        let led = |id: &i32| Some((*id, self.replica(*id).filter(|found| found.leader_epoch().is_ok())?));
        // A broker that has not heard yet that it was followed by another has the smaller epoch.
        self.running.keys().filter_map(led).max_by_key(|(_, partition)| partition.leader_epoch().ok())
    }

    /// Appends until it is acknowledged to acks=all, and says how long that took.
    fn produce(&self, value: &str) -> Duration {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "{value} was never acknowledged: {}", self.told());
            if self.leading().is_some_and(|(_, partition)| self.try_produce(&partition, value)) {
                return begun.elapsed();
            }
            thread::yield_now();
        }
    }

    /// What each node knows, for who reads of a failure.
    fn told(&self) -> String {
        let node = |(id, broker): (&i32, &milena_broker::broker::Broker)| {
            let image = broker.node().metadata.image_arc();
            let assigned = image.topic_by_name(TOPIC).map(|topic| topic.partitions[0].clone());
            let active: Vec<i32> = image.brokers().filter(|b| b.is_active()).map(|b| b.broker_id).collect();
            let replica = self.replica(*id);
            let ends = replica.map(|found| {
                (found.leader_epoch(), found.log_end_offset().get(), found.high_watermark().get())
            });
            format!("\nnode {id}: {assigned:?}, active {active:?}, replica {ends:?}")
        };
        let nodes: String = self.running.iter().map(node).collect();
        format!("controller {:?}{nodes}", self.leader())
    }

    fn try_produce(&self, partition: &Partition, value: &str) -> bool {
        let mut batch = Builder::new();
        batch.append(1, None, Some(value.as_bytes()), &[]).expect("fits");
        let batch = batch.finish().expect("fits");
        let append = AppendAs { acks_all: true, log_append_time: None };
        let Ok(appended) = partition.append(&batch, append, 1) else { return false };
        let waiting = async {
            let acknowledged = partition.acknowledged(&appended, partition.awaited(ALL));
            tokio::time::timeout(ACKNOWLEDGED_WITHIN, acknowledged).await
        };
        matches!(self.client.block_on(waiting), Ok(Ok(())))
    }

    fn isr(&self, seen_by: i32) -> Vec<i32> {
        let image = self.running[&seen_by].node().metadata.image_arc();
        let topic = image.topic_by_name(TOPIC).expect("it was created");
        let mut isr = topic.partitions[0].isr.clone();
        isr.sort_unstable();
        isr
    }

    /// All replicas hold the same bytes, up to the end.
    fn agree(&self) {
        let logs = |nodes: &Self| -> Vec<Option<Vec<u8>>> {
            nodes.running.keys().map(|id| nodes.replica(*id).and_then(|found| bytes(&found))).collect()
        };
        self.eventually("the replicas agree", |nodes| {
            let logs = logs(nodes);
            logs.iter().all(|log| log.is_some()) && logs.windows(2).all(|pair| pair[0] == pair[1])
        });
    }
}

/// Everything in a log, whoever leads; nothing when it could not be read just now.
fn bytes(partition: &Partition) -> Option<Vec<u8>> {
    let (mut all, mut offset) = (Vec::new(), partition.log_start_offset());
    while offset < partition.log_end_offset().get() {
        let read = Read {
            offset,
            bytes_max: 1 << 20,
            first_batch_whole: true,
            isolation: Isolation::LogEnd,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
        };
        let found = partition.read_any(read).ok()?.records?.read().ok()?;
        let mut batches = Batches::maybe_truncated(&found);
        offset = batches.by_ref().map(|batch| batch.expect("valid").next_offset()).last()?;
        let whole = found.len() - batches.rest().len();
        all.extend_from_slice(&found[..whole]);
    }
    Some(all)
}

fn values(partition: &Partition) -> Vec<String> {
    let bytes = bytes(partition).expect("can be read");
    let mut values = Vec::new();
    for batch in Batches::new(&bytes) {
        let records = batch.expect("valid").records().expect("not compressed");
        values.extend(records.map(|record| {
            String::from_utf8(record.expect("valid").value.expect("a value").to_vec()).expect("text")
        }));
    }
    values
}

#[test]
fn nothing_acknowledged_is_lost_when_leaders_die_one_after_the_other() {
    let mut nodes = cluster(&[]);
    let mut acknowledged = Vec::new();
    let mut longest = Vec::new();
    for round in 0..3 {
        let mut gap = Duration::ZERO;
        for index in 0..40 {
            if index == 20 {
                let (leader, _) = nodes.leading().expect("somebody leads");
                println!("{leader} leads and dies, the active controller is {}", nodes.active());
                nodes.kill(leader);
            }
            let value = format!("{round}-{index}");
            gap = gap.max(nodes.produce(&value));
            acknowledged.push(value);
        }
        longest.push(gap);
        let gone = (1..=3).find(|id| !nodes.running.contains_key(id)).expect("one was killed");
        let seen_by = *nodes.running.keys().next().expect("two are left");
        nodes.start(&[ALL_THREE[gone as usize - 1]]);
        nodes.eventually("all are in sync again", |nodes| nodes.isr(seen_by) == [1, 2, 3]);
    }
    println!("longest waits for an acknowledgement: {longest:?}");
    nodes.agree();
    let (_, leading) = nodes.leading().expect("somebody leads");
    let held = values(&leading);
    for value in &acknowledged {
        assert!(held.contains(value), "{value} was acknowledged and is lost");
    }
    // Each was sent again only when it was not acknowledged, and their order is kept.
    let mut first_of: Vec<_> =
        acknowledged.iter().map(|value| held.iter().position(|other| other == value)).collect();
    first_of.dedup();
    assert!(first_of.is_sorted(), "{first_of:?}");
}

#[test]
fn a_broker_that_stops_in_order_is_not_waited_for() {
    let mut nodes = cluster(&[]);
    for index in 0..10 {
        nodes.produce(&format!("before {index}"));
    }
    let (leader, _) = nodes.leading().expect("somebody leads");
    nodes.stop(leader);
    let gap = nodes.produce("after");
    println!("the first record after the leader stopped was acknowledged in {gap:?}");
    nodes.start(&[ALL_THREE[leader as usize - 1]]);
    let seen_by = *nodes.running.keys().next().expect("all run");
    nodes.eventually("all are in sync again", |nodes| nodes.isr(seen_by) == [1, 2, 3]);
    nodes.agree();
}

#[test]
fn durable_topics_are_replicated_and_survive_the_loss_of_a_leader() {
    let mut nodes = cluster(&[("milena.flush", "durable")]);
    for index in 0..10 {
        nodes.produce(&format!("before {index}"));
    }
    let (leader, _) = nodes.leading().expect("somebody leads");
    println!("{leader} leads and dies, the active controller is {}", nodes.active());
    nodes.kill(leader);
    nodes.produce("after");
    let (_, leading) = nodes.leading().expect("somebody leads");
    let held = values(&leading);
    assert!((0..10).all(|index| held.contains(&format!("before {index}"))), "{held:?}");
    nodes.agree();
}
