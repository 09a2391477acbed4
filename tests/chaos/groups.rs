//! A consumer group whose coordinator dies goes on where it was.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use milena_client::config::{ConsumerConfig, GroupConfig, OffsetReset};
use milena_client::group::{Event, GroupConsumer};
use milena_tests::history::{Placed, Record};

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
