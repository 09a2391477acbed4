//! The topic that groups are kept in: made on first use, or by hand before.

use milena_log::memory_files::MemoryFiles;
use milena_protocol::ErrorCode;
use milena_state::group::partition_of;

use super::group_scene::{GROUP, bare_node, commit, node};
use super::*;
use crate::coordinator::OFFSETS_TOPIC;

#[test]
fn first_use_creates_it_as_the_properties_say() {
    let files = MemoryFiles::new();
    let node = bare_node(
        &files,
        &[("offsets.topic.num.partitions", "5"), ("offsets.topic.segment.bytes", "1048576")],
    );
    let groups = node.lifecycle.groups();
    assert_eq!(node.commit(commit(GROUP, "orders", 0, 1)), Err(ErrorCode::NotCoordinator));
    assert_eq!(
        (groups.partition_of(GROUP), groups.coordinator_of(GROUP)),
        (None, Err(ErrorCode::CoordinatorNotAvailable))
    );
    node.run(groups.ensure_topic()).expect("created");
    node.commit(commit(GROUP, "orders", 0, 1)).expect("served at once: there is nothing to load");
    let image = node.lifecycle.metadata().image_arc();
    let topic = image.topic_by_name(OFFSETS_TOPIC).expect("there is a topic");
    assert_eq!(topic.partitions.len(), 5);
    assert_eq!(groups.partition_of(GROUP), Some(partition_of(GROUP, 5)));
    assert_eq!(groups.coordinator_of(GROUP), Ok(1));
    let config = image.topic_config(OFFSETS_TOPIC);
    let values = ["cleanup.policy", "compression.type", "segment.bytes"].map(|name| config[name].as_str());
    assert_eq!(values, ["compact", "producer", "1048576"]);
    node.run(groups.ensure_topic()).expect("still there");
    node.stop();
}

#[test]
fn one_made_by_hand_keeps_its_partitions() {
    let files = MemoryFiles::new();
    let node = bare_node(&files, &[("offsets.topic.num.partitions", "50")]);
    node.create(OFFSETS_TOPIC, &[("cleanup.policy", "compact")]);
    node.run(node.lifecycle.groups().ensure_topic()).expect("there is one");
    assert_eq!(node.lifecycle.groups().partition_of(GROUP), Some(partition_of(GROUP, 2)));
    node.commit(commit(GROUP, "orders", 0, 1)).expect("committed");
    node.stop();
}

#[test]
fn with_too_few_brokers_there_is_no_coordinator() {
    let files = MemoryFiles::new();
    let node = bare_node(&files, &[("offsets.topic.replication.factor", "3")]);
    let groups = node.lifecycle.groups();
    for _ in 0..2 {
        assert_eq!(node.run(groups.ensure_topic()), Err(ErrorCode::CoordinatorNotAvailable));
    }
    assert_eq!(groups.coordinator_of(GROUP), Err(ErrorCode::CoordinatorNotAvailable));
    node.stop();
}

#[test]
fn one_request_creates_it_and_the_others_ask_again() {
    let files = MemoryFiles::new();
    let node = bare_node(&files, &[]);
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let groups = Arc::clone(node.lifecycle.groups());
            node.runtime.spawn(async move { groups.ensure_topic().await })
        })
        .collect();
    let answers: Vec<_> = asking.into_iter().map(|asked| node.run(asked).expect("no panic")).collect();
    assert!(answers.contains(&Ok(())), "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(()) | Err(ErrorCode::CoordinatorNotAvailable))));
    node.run(node.lifecycle.groups().ensure_topic()).expect("there is one");
    node.stop();
}

#[test]
fn more_partitions_move_no_group_while_the_broker_runs() {
    let files = MemoryFiles::new();
    let node = node(&files, &[]);
    node.commit(commit(GROUP, "orders", 0, 1)).expect("committed");
    let before = node.lifecycle.groups().partition_of(GROUP);
    let topic = milena_state::metadata::topics::MorePartitions {
        name: OFFSETS_TOPIC.to_owned(),
        count: 7,
        assignments: None,
    };
    let command =
        milena_state::metadata::topics::CreatePartitions { topics: vec![topic], validate_only: false };
    node.submit(Command::CreatePartitions(command));
    let image = node.lifecycle.metadata().image_arc();
    assert_eq!(image.topic_by_name(OFFSETS_TOPIC).expect("is there").partitions.len(), 7);
    assert_eq!(node.lifecycle.groups().partition_of(GROUP), before);
    assert_eq!(node.committed(GROUP, "orders", 0), 1);
    node.stop();
}
