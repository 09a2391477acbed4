use milena_protocol::ErrorCode;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};

use crate::node::{BY_NAME, Node, batch};

/// Error, session id and the partitions that were answered.
fn fetch(
    node: &Node,
    session_id: i32,
    session_epoch: i32,
    partitions: &[(i32, i64)],
) -> (ErrorCode, i32, Vec<i32>) {
    let partitions = partitions.iter().map(|(partition, offset)| FetchPartition {
        partition: *partition,
        fetch_offset: *offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    });
    let partitions: Vec<_> = partitions.collect();
    let topic = FetchTopic { topic: "t".into(), partitions, ..Default::default() };
    let topics = if topic.partitions.is_empty() { Vec::new() } else { vec![topic] };
    let request = FetchRequest { session_id, session_epoch, topics, ..Default::default() };
    let response = node.call(&request, BY_NAME);
    let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
    let answered = response.responses.iter().flat_map(|topic| &topic.partitions);
    let error = ErrorCode::from_i16(response.error_code).expect("a known code");
    (error, response.session_id, answered.map(|data| data.partition_index).collect())
}

#[test]
fn incremental_fetch_answers_only_what_changed() {
    let node = Node::start(&[]);
    assert_eq!(node.try_create("t", 3, &[]), ErrorCode::None);
    let (error, session, answered) = fetch(&node, 0, 0, &[(0, 0), (1, 0), (2, 0)]);
    assert_eq!((error, answered), (ErrorCode::None, vec![0, 1, 2]));
    assert_ne!(session, 0);
    assert_eq!(fetch(&node, session, 1, &[]), (ErrorCode::None, session, vec![]));
    node.produce("t", &batch(&["x"]));
    assert_eq!(fetch(&node, session, 2, &[]), (ErrorCode::None, session, vec![0]));
    // The position moves on; nothing is new there.
    assert_eq!(fetch(&node, session, 3, &[(0, 1)]), (ErrorCode::None, session, vec![]));
    assert_eq!(fetch(&node, session, 9, &[]).0, ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(fetch(&node, session + 1, 4, &[]).0, ErrorCode::FetchSessionIdNotFound);
    // Closing gives the id back.
    assert_eq!(fetch(&node, session, -1, &[(0, 1)]).1, 0);
    assert_eq!(fetch(&node, session, 4, &[]).0, ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn without_slots_fetches_go_on_without_a_session() {
    let node = Node::start(&[("max.incremental.fetch.session.cache.slots", "0")]);
    node.create("t", &[]);
    assert_eq!(fetch(&node, 0, 0, &[(0, 0)]), (ErrorCode::None, 0, vec![0]));
}
