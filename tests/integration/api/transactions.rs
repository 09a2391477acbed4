use milena_broker::partition::{AppendAs, Partition};
use milena_log::producers::Origin;
use milena_protocol::messages::fetch_request::FetchRequest;
use milena_protocol::records::control::EndTxnMarker;
use milena_protocol::records::{Batches, Builder};
use milena_protocol::{ErrorCode, Records};

use crate::node::{BY_NAME, Node, batch, fetch_request, now_ms};

const APPEND: AppendAs = AppendAs { acks_all: true, log_append_time: None };

/// Appends a transaction's record as its producer. No coordinator lets clients do it yet.
fn transactional(partition: &Partition, producer_id: i64) {
    let mut builder = Builder::new().producer(producer_id, 0, 0).transactional(true);
    builder.append(now_ms(), None, Some(b"v"), &[]).expect("room");
    partition.append(&builder.finish().expect("a batch"), APPEND, now_ms()).expect("appended");
}

/// Ends a producer's transaction, as a coordinator does.
fn end(partition: &Partition, producer_id: i64, committed: bool) {
    let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
    let batch = marker.batch(producer_id, 0, 0, now_ms()).expect("a batch");
    let origin = Origin::Coordinator { transaction_version: 0 };
    partition.append_from(origin, &batch, APPEND, now_ms()).expect("appended");
}

/// What one fetch gave: base offsets of the batches, last stable offset, aborted transactions by producer and first
/// offset.
type Fetched = (Vec<i64>, i64, Option<Vec<(i64, i64)>>);

fn fetch(node: &Node, offset: i64, isolation_level: i8, partition_max_bytes: i32) -> Fetched {
    let mut request = FetchRequest { isolation_level, ..fetch_request("t", offset) };
    request.topics[0].partitions[0].partition_max_bytes = partition_max_bytes;
    let response = node.call(&request, BY_NAME);
    let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
    let data = &response.responses[0].partitions[0];
    assert_eq!(data.error_code, i16::from(ErrorCode::None));
    let Some(Records::Bytes(bytes)) = &data.records else { panic!("records are never null") };
    let batches = Batches::maybe_truncated(bytes).map(|batch| batch.expect("whole batches").base_offset);
    let aborted = data
        .aborted_transactions
        .as_ref()
        .map(|aborted| aborted.iter().map(|aborted| (aborted.producer_id, aborted.first_offset)).collect());
    (batches.collect(), data.last_stable_offset, aborted)
}

#[test]
fn read_committed_ends_at_the_open_transaction_and_names_the_aborted_ones() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    node.produce("t", &batch(&["plain"]));
    let partition = node.partition("t");
    transactional(&partition, 7);
    end(&partition, 7, false);
    transactional(&partition, 8);
    end(&partition, 8, true);
    transactional(&partition, 9);
    node.produce("t", &batch(&["behind the open one"]));
    const ALL: i32 = 1 << 20;
    assert_eq!(fetch(&node, 0, 0, ALL), ((0..7).collect(), 5, None));
    assert_eq!(fetch(&node, 0, 1, ALL), ((0..5).collect(), 5, Some(vec![(7, 1)])));
    assert_eq!(fetch(&node, 2, 1, ALL), (vec![2, 3, 4], 5, Some(vec![(7, 1)])), "its marker is among them");
    assert_eq!(fetch(&node, 3, 1, ALL), (vec![3, 4], 5, Some(vec![])));
    assert_eq!(fetch(&node, 5, 1, ALL), (vec![], 5, Some(vec![])));
    assert_eq!(fetch(&node, 0, 1, 1), (vec![0], 5, Some(vec![])), "nothing behind what is sent is named");
    end(&partition, 9, false);
    assert_eq!(fetch(&node, 3, 1, ALL), ((3..8).collect(), 8, Some(vec![(9, 5)])));
}
