//! A consumer group whose coordinator dies goes on where it was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use milena_client::config::{ConsumerConfig, GroupConfig, OffsetReset};
use milena_client::group::{Event, GroupConsumer};
use milena_tests::history::{Placed, Record};
use tokio::task::JoinHandle;

use crate::KILL_LIMIT;
use crate::load::{self, TOPIC};
use crate::scene::Scene;

const GROUP: &str = "readers";
const GROUP_LIMIT: Duration = Duration::from_secs(30);

fn member(bootstrap: &str) -> GroupConsumer {
    let group = GroupConfig {
        group_id: GROUP.to_owned(),
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(500),
        enable_auto_commit: false,
        auto_offset_reset: OffsetReset::Earliest,
        ..GroupConfig::default()
    };
    let mut member =
        GroupConsumer::new(load::client(bootstrap), ConsumerConfig::default(), group).expect("a member");
    member.subscribe([TOPIC]);
    member
}

/// Members of one group that read and commit until they are told to end.
pub struct Members {
    stop: Arc<AtomicBool>,
    read: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Seen>>,
}

/// What one member saw.
#[derive(Default)]
struct Seen {
    records: Vec<Placed>,
    assignments: u64,
    losses: u64,
}

impl Members {
    pub fn start(bootstrap: &str, count: usize) -> Self {
        let (stop, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..count)
            .map(|_| tokio::spawn(read_on(member(bootstrap), Arc::clone(&stop), Arc::clone(&read))));
        Self { tasks: tasks.collect(), stop, read }
    }

    /// Waits until the group has read so many more records.
    pub async fn progress(&self, records: u64, limit: Duration) {
        let (target, deadline) = (self.read.load(Ordering::Relaxed) + records, Instant::now() + limit);
        while self.read.load(Ordering::Relaxed) < target {
            let read = self.read.load(Ordering::Relaxed);
            assert!(Instant::now() < deadline, "the group read {read} of {target} records within {limit:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the group when it has read all of `acked`, which no member may have missed. Twice is only what was
    /// read before a member lost its partitions.
    pub async fn finish(self, acked: &[Placed]) {
        self.progress_to(acked.len() as u64).await;
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for task in self.tasks {
            let seen = task.await.expect("no member gives up");
            all.records.extend(seen.records);
            all.assignments += seen.assignments;
            all.losses += seen.losses;
        }
        let read: BTreeSet<Placed> = all.records.iter().copied().collect();
        let twice = all.records.len() - read.len();
        println!(
            "the group read {} records, {twice} of them again; {} assignments, {} losses of partitions",
            all.records.len(),
            all.assignments,
            all.losses
        );
        let missed: Vec<&Placed> = acked.iter().filter(|placed| !read.contains(placed)).collect();
        assert!(
            missed.is_empty(),
            "{} records were never read by the group: {:?}",
            missed.len(),
            missed.first()
        );
        assert!(twice == 0 || all.losses > 0, "{twice} records were read again, and nobody lost a partition");
    }

    async fn progress_to(&self, records: u64) {
        let left = records.saturating_sub(self.read.load(Ordering::Relaxed));
        self.progress(left, GROUP_LIMIT).await;
    }
}

async fn read_on(mut member: GroupConsumer, stop: Arc<AtomicBool>, read: Arc<AtomicU64>) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let Ok(event) = tokio::time::timeout(Duration::from_millis(100), member.poll()).await else {
            continue;
        };
        match event.expect("the group goes on") {
            Event::Records(fetched) => {
                let before = seen.records.len();
                load::take(&fetched, &mut seen.records);
                read.fetch_add((seen.records.len() - before) as u64, Ordering::Relaxed);
                member.commit().await.expect("the coordinator takes it");
            }
            Event::Assigned(_) => seen.assignments += 1,
            Event::Revoked(_) => {}
            Event::Lost(_) => seen.losses += 1,
        }
    }
    member.close().await.expect("it leaves");
    seen
}

/// Reads and commits until `count` more records came.
async fn read(member: &mut GroupConsumer, count: usize, seen: &mut Vec<Placed>) {
    let (target, deadline) = (seen.len() + count, Instant::now() + GROUP_LIMIT);
    while seen.len() < target {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = tokio::time::timeout(left, member.poll()).await;
        let event =
            event.unwrap_or_else(|_| panic!("{} of {target} records within {GROUP_LIMIT:?}", seen.len()));
        let Event::Records(fetched) = event.expect("the group goes on") else { continue };
        load::take(&fetched, seen);
        member.commit().await.expect("the coordinator takes it");
    }
}

#[test]
fn a_group_goes_on_when_its_coordinator_dies() {
    let mut scene = Scene::start(3);
    scene.progress(200, KILL_LIMIT);
    let bootstrap = scene.cluster.bootstrap();
    let (mut group, mut seen) = (member(&bootstrap), Vec::new());
    scene.runtime.block_on(read(&mut group, 200, &mut seen));
    let mut described = scene.runtime.block_on(scene.admin.describe_groups(&[GROUP.to_owned()]));
    let group_now = described.remove(GROUP).expect("it was asked for").expect("it is there");
    let coordinator = group_now.coordinator_id;
    let began = Instant::now();
    scene.cluster.kill(coordinator);
    scene.runtime.block_on(read(&mut group, 600, &mut seen));
    println!("the group read 600 records within {:?} of its coordinator's death", began.elapsed());
    // No record twice: all were committed, and the member stayed.
    let records: BTreeSet<Record> = seen.iter().map(|placed| placed.record).collect();
    assert_eq!(records.len(), seen.len());
    scene.cluster.start_again(coordinator);
    scene.until_whole();
    scene.runtime.block_on(read(&mut group, 100, &mut seen));
    scene.runtime.block_on(group.close()).expect("it leaves");
    scene.finish(&[("kill -9 of a coordinator", began)], KILL_LIMIT);
}
