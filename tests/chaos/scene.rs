//! A cluster of three with a topic, producers and a reader; in the end what they saw is judged.

use std::time::{Duration, Instant, SystemTime};

use milena_client::admin::Admin;
use milena_client::cluster::Topic;
use milena_protocol::ErrorCode;
use milena_protocol::messages::UnregisterBrokerRequest;
use milena_tests::cluster::{Cluster, Setup};
use tokio::runtime::Runtime;

use crate::groups::Members;
use crate::load::{self, Load, Reader, TOPIC};

pub const PARTITIONS: i32 = 3;
const PRODUCERS: u32 = 2;
const RECORDS_PER_SECOND: u32 = 150;

/// A gap that is told with its time, to be found in the output of the nodes (`MILENA_CHAOS_KEEP`).
const SLOW: Duration = Duration::from_millis(1_500);

/// A node that comes back copies what it missed; here that is little.
const WHOLE_LIMIT: Duration = Duration::from_secs(60);

pub struct Scene {
    pub cluster: Cluster,
    pub runtime: Runtime,
    pub admin: Admin,
    loads: Vec<Load>,
    reader: Reader,
    members: Option<Members>,
}

impl Scene {
    pub fn start(size: usize) -> Self {
        Self::start_with(Setup::new(size))
    }

    pub fn start_with(setup: Setup) -> Self {
        let cluster = setup.start();
        let size = cluster.ids().count();
        println!("{size} nodes are ready after {:?}", cluster.start_took());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads");
        let bootstrap = cluster.bootstrap();
        let (admin, loads, reader) = runtime.block_on(async {
            load::create_topic(&bootstrap, PARTITIONS).await;
            let loads = (0..PRODUCERS)
                .map(|producer| Load::start(&bootstrap, producer, PARTITIONS, RECORDS_PER_SECOND));
            let admin = Admin::new(load::client(&bootstrap));
            (admin, loads.collect(), Reader::start(&bootstrap, PARTITIONS))
        });
        Self { cluster, runtime, admin, loads, reader, members: None }
    }

    /// Lets a group of so many members read and commit beside the load; in the end it must have read everything.
    pub fn with_group(mut self, members: usize) -> Self {
        let guard = self.runtime.enter();
        self.members = Some(Members::start(&self.cluster.bootstrap(), members));
        drop(guard);
        self
    }

    /// Waits until the group has read so many more records.
    pub fn group_progress(&self, records: u64, limit: Duration) {
        let members = self.members.as_ref().expect("there is a group");
        self.runtime.block_on(members.progress(records, limit));
    }

    /// Waits until each producer has so many more records acknowledged.
    pub fn progress(&self, records: u64, limit: Duration) {
        self.runtime.block_on(async {
            for load in &self.loads {
                load.progress(records, limit).await;
            }
        });
    }

    pub fn leader_of(&self, partition: i32) -> i32 {
        let topic = self.runtime.block_on(self.admin.describe_topic(TOPIC)).expect("it is there");
        topic.leader(partition).expect("it has a leader")
    }

    /// Says that a broker is gone for good, which is refused until it is fenced.
    pub fn unregister(&self, broker_id: i32, limit: Duration) {
        let client = load::client(&self.cluster.bootstrap());
        let began = Instant::now();
        loop {
            let request = UnregisterBrokerRequest { broker_id };
            let response = self.runtime.block_on(client.call_any(&request)).expect("an answer");
            let response = response.decode::<UnregisterBrokerRequest>().expect("a response");
            if response.error_code == ErrorCode::None.as_i16() {
                return;
            }
            assert!(began.elapsed() < limit, "not unregistered after {limit:?}: {response:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until every replica of the topic is in sync and led.
    pub fn until_whole(&self) {
        let began = Instant::now();
        loop {
            let topic = self.runtime.block_on(self.admin.describe_topic(TOPIC));
            if topic.as_ref().is_ok_and(|topic| is_whole(topic)) {
                return;
            }
            assert!(began.elapsed() < WHOLE_LIMIT, "not whole after {WHOLE_LIMIT:?}: {topic:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the load and judges everything. Prints how long producers waited because of each of `faults`.
    pub fn finish(self, faults: &[(&str, Instant)], limit: Duration) {
        self.finish_beside(&[], faults, limit);
    }

    /// As [`finish`](Self::finish), where others wrote too: producers, and how many records each of them sent.
    pub fn finish_beside(self, others: &[(u32, u64)], faults: &[(&str, Instant)], limit: Duration) {
        let Self { cluster, runtime, loads, reader, members, .. } = self;
        runtime.block_on(async {
            let mut told = Vec::new();
            for (producer, load) in (0..).zip(loads) {
                told.push((producer, load.finish().await));
            }
            if let Some(members) = members {
                let acked: Vec<_> = told.iter().flat_map(|(_, told)| told.acked.iter().copied()).collect();
                members.finish(&acked).await;
            }
            let followed = reader.finish().await;
            let judged: Vec<_> = told.iter().map(|(producer, told)| (*producer, told)).collect();
            let mut history = load::history(&cluster.bootstrap(), PARTITIONS, &judged, followed).await;
            history.sent.extend(others.iter().copied());
            history.assert_sound("at the end");
            let end = Instant::now();
            let mut gaps = Vec::new();
            for (index, (_, from)) in faults.iter().enumerate() {
                let to = faults.get(index + 1).map_or(end, |(_, next)| *next);
                let gap = told.iter().map(|(_, told)| told.longest_gap(*from, to)).max().unwrap_or_default();
                if gap > SLOW {
                    let at = time_of_day(SystemTime::now() - from.elapsed());
                    println!("fault {index} at {at} cost {gap:?}");
                }
                gaps.push(gap);
            }
            report(faults, gaps, limit, history.acked.len());
            for (producer, told) in &told {
                assert!(told.failed.is_empty(), "producer {producer}: {:?}", told.failed.first());
            }
        });
    }
}

/// The second of the day in UTC, as the nodes' output has it.
fn time_of_day(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let of_day = since.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}.{:03}Z", of_day / 3600, of_day / 60 % 60, of_day % 60, since.subsec_millis())
}

fn is_whole(topic: &Topic) -> bool {
    topic
        .partitions
        .iter()
        .all(|partition| partition.leader.is_some() && partition.isr.len() == partition.replicas.len())
}

fn report(faults: &[(&str, Instant)], mut gaps: Vec<Duration>, limit: Duration, acked: usize) {
    let Some((what, _)) = faults.first() else { return };
    gaps.sort_unstable();
    let at = |share: f64| gaps[((gaps.len() - 1) as f64 * share) as usize];
    println!(
        "{what}, {} times: {acked} records acknowledged; the longest gap of a partition: p50 {:?}, p99 {:?}, max {:?}",
        gaps.len(),
        at(0.5),
        at(0.99),
        at(1.0),
    );
    assert!(at(1.0) < limit, "a partition took no records for {:?}", at(1.0));
}
