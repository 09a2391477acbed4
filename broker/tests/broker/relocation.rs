//! Replicas of a cluster that move between directories of their brokers.

use std::sync::Arc;

use milena_broker::broker::now_ms;
use milena_broker::partition::{AppendAs, Partition};
use milena_protocol::Uuid;
use milena_protocol::records::Builder;
use milena_state::partition::acks::ALL;

use super::cluster::Nodes;

const TOPIC: &str = "events";
const APPEND: AppendAs = AppendAs { acks_all: true, log_append_time: None };

impl Nodes {
    fn held(&self, id: i32) -> Arc<Partition> {
        self.running[&id].node().partitions.by_name(TOPIC, 0).expect("it has a replica")
    }

    /// Has the replica of a broker move to its other directory; the id of that.
    fn relocate(&self, id: i32) -> Uuid {
        let (node, partition) = (self.running[&id].node(), self.held(id));
        let from = partition.directory();
        let target = node.directories.online().iter().find(|directory| directory.path() != from.path());
        let target = target.expect("there are two");
        node.directories.relocate(&partition, target).expect("it may be moved");
        target.identity().expect("it has one").directory_id
    }

    /// Where the replica of a broker is, as a broker knows it from the controller.
    fn directory_known(&self, seen_by: i32, id: i32) -> Option<Uuid> {
        let image = self.running[&seen_by].node().metadata.image_arc();
        image.partition(self.held(id).topic_id(), 0)?.directory_of(id)
    }
}

#[test]
fn the_controller_knows_where_leader_and_followers_have_moved_to_and_all_go_on() {
    let nodes = Nodes::three_with_two_directories();
    nodes.create(1, TOPIC, 1, 3);
    nodes.eventually("all know it", |nodes| (1..=3).all(|id| nodes.has(id, TOPIC)));
    let produce = |count: usize| {
        let leading = (1..=3).map(|id| nodes.held(id)).find(|held| held.leader_epoch().is_ok());
        let partition = leading.expect("nobody dies here");
        for _ in 0..count {
            let mut batch = Builder::new();
            batch.append(now_ms(), None, Some(b"value"), &[]).expect("fits");
            let batch = batch.finish().expect("fits");
            let appended = partition.append(&batch, APPEND, now_ms()).expect("it leads");
            let acknowledged = partition.acknowledged(&appended, partition.awaited(ALL));
            nodes.client.block_on(acknowledged).expect("by all");
        }
    };
    nodes.eventually("somebody leads", |nodes| (1..=3).any(|id| nodes.held(id).leader_epoch().is_ok()));
    produce(20);
    let before: Vec<_> = (1..=3).map(|id| nodes.held(id).directory().path().to_owned()).collect();
    let targets: Vec<_> = (1..=3).map(|id| nodes.relocate(id)).collect();
    produce(20);
    nodes.eventually("all have moved", |nodes| {
        (1..=3).all(|id| nodes.held(id).directory().path() != before[id as usize - 1])
    });
    nodes.eventually("the controller knows", |nodes| {
        (1..=3).all(|seen_by| {
            (1..=3).all(|id| nodes.directory_known(seen_by, id) == Some(targets[id as usize - 1]))
        })
    });
    produce(20);
    nodes.eventually("all have all", |nodes| (1..=3).all(|id| nodes.held(id).log_end_offset().get() == 60));
}
