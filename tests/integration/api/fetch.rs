use std::time::{Duration, Instant};

use milena_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use milena_protocol::records::Batches;
use milena_protocol::{ErrorCode, Records};

use crate::node::{BY_NAME, Node, batch, fetch_request, produce_request};

fn offsets(bytes: &[u8]) -> Vec<i64> {
    Batches::maybe_truncated(bytes).map(|batch| batch.expect("whole batches").base_offset).collect()
}

#[test]
fn fetch_below_and_above_the_log_is_out_of_range() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    node.produce("t", &batch(&["a", "b"]));
    assert_eq!(node.fetch("t", -1).0, ErrorCode::OffsetOutOfRange);
    assert_eq!(node.fetch("t", 3).0, ErrorCode::OffsetOutOfRange);
    assert_eq!(node.fetch("t", 2), (ErrorCode::None, Vec::new()));
    assert_eq!(offsets(&node.fetch("t", 1).1), [0], "the batch that holds the offset comes whole");
    assert_eq!(node.fetch("nope", 0).0, ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn limits_cut_but_the_first_batch_always_comes() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    for _ in 0..4 {
        node.produce("t", &batch(&[&"x".repeat(1000)]));
    }
    let fetched = |partition_max: i32, max: i32| {
        let mut request = fetch_request("t", 0);
        request.topics[0].partitions[0].partition_max_bytes = partition_max;
        request.max_bytes = max;
        let response = node.call(&request, BY_NAME);
        let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
        let Some(Records::Bytes(bytes)) = &response.responses[0].partitions[0].records else {
            panic!("records are never null")
        };
        offsets(bytes)
    };
    assert_eq!(fetched(1, 1 << 20), [0]);
    assert_eq!(fetched(1 << 20, 1), [0]);
    assert_eq!(fetched(2500, 1 << 20), [0, 1]);
    assert_eq!(fetched(1 << 20, 1 << 20), [0, 1, 2, 3]);
}

/// Fetches from several partitions of `t`, in this order, and gives the base offsets that came of each.
fn fetch_several(node: &Node, partitions: &[i32], partition_max_bytes: i32, max_bytes: i32) -> Vec<Vec<i64>> {
    let mut request = fetch_request("t", 0);
    request.max_bytes = max_bytes;
    request.topics[0].partitions = partitions
        .iter()
        .map(|partition| FetchPartition { partition: *partition, partition_max_bytes, ..Default::default() })
        .collect();
    let response = node.call(&request, BY_NAME);
    let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
    let answered = response.responses.iter().flat_map(|topic| &topic.partitions);
    let of = |data: &milena_protocol::messages::fetch_response::PartitionData<'_>| match &data.records {
        Some(Records::Bytes(bytes)) => offsets(bytes),
        _ => panic!("records are never null"),
    };
    answered.map(of).collect()
}

#[test]
fn the_first_partition_with_records_gives_a_batch_and_the_others_what_is_left() {
    let node = Node::start(&[]);
    assert_eq!(node.try_create("t", 4, &[]), ErrorCode::None);
    let sent = batch(&[&"x".repeat(1000)]);
    let size = sent.len() as i32;
    // Partition 0 stays empty.
    for partition in [1, 2, 3, 1, 2, 3] {
        node.call(&produce_request("t", partition, &sent, -1), BY_NAME);
    }
    let all = [0, 1, 2, 3];
    let check = |partitions: &[i32], partition_max, max, expected: [&[i64]; 4]| {
        assert_eq!(fetch_several(&node, partitions, partition_max, max), expected, "{partition_max} {max}");
    };
    check(&all, 1 << 20, 1 << 20, [&[], &[0, 1], &[0, 1], &[0, 1]]);
    check(&all, 1 << 20, 1, [&[], &[0], &[], &[]]);
    check(&all, 1, 1 << 20, [&[], &[0], &[], &[]]);
    check(&[3, 2, 0, 1], 1, 1, [&[0], &[], &[], &[]]);
    check(&all, size, 1 << 20, [&[], &[0], &[0], &[0]]);
    check(&all, size, 2 * size, [&[], &[0], &[0], &[]]);
    check(&all, 1 << 20, 3 * size, [&[], &[0, 1], &[0], &[]]);
    // Half a batch is left for the third, and a cut batch would be all it gets.
    check(&all, 1 << 20, 4 * size + size / 2, [&[], &[0, 1], &[0, 1], &[]]);
}

#[test]
fn fetch_waits_on_until_a_second_append_gives_it_enough() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let sent = batch(&["half of what is asked for"]);
    let mut request = fetch_request("t", 0);
    request.max_wait_ms = 20_000;
    request.min_bytes = 2 * sent.len() as i32;
    let began = Instant::now();
    let fetched = node.block_on(async {
        let fetch = node.connection.send(&request, BY_NAME).await.expect("sent");
        let first = node.connection.send(&produce_request("t", 0, &sent, 1), BY_NAME).await.expect("sent");
        let second = node.connection.send(&produce_request("t", 0, &sent, 1), BY_NAME).await.expect("sent");
        let response = fetch.await.expect("an answer");
        first.await.expect("an answer");
        second.await.expect("an answer");
        let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
        let Some(Records::Bytes(bytes)) = &response.responses[0].partitions[0].records else {
            panic!("records are never null")
        };
        offsets(bytes)
    });
    assert_eq!(fetched, [0, 1]);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn fetch_at_the_high_watermark_waits_for_min_bytes_and_an_append_wakes_it() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let mut request = fetch_request("t", 0);
    request.max_wait_ms = 20_000;
    let sent = batch(&["wake"]);
    let began = Instant::now();
    let bytes = node.block_on(async {
        // On one connection: the fetch waits while the produce behind it is served, and is answered first.
        let fetch = node.connection.send(&request, BY_NAME).await.expect("sent");
        let produce = node.connection.send(&produce_request("t", 0, &sent, 1), BY_NAME).await.expect("sent");
        let response = fetch.await.expect("an answer");
        produce.await.expect("an answer");
        let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
        response.responses[0].partitions[0].records.as_ref().map_or(0, Records::len)
    });
    assert!(bytes > 0 && began.elapsed() < Duration::from_secs(15), "{bytes} bytes in {:?}", began.elapsed());
}

#[test]
fn fetch_without_data_ends_when_its_time_is_up() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let mut request = fetch_request("t", 0);
    request.max_wait_ms = 300;
    let began = Instant::now();
    let response = node.call(&request, BY_NAME);
    let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
    assert_eq!(response.responses[0].partitions[0].error_code, 0);
    assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
}

#[test]
fn client_that_claims_to_be_a_follower_is_refused() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    for replica_id in [0, 1, 7] {
        let request = FetchRequest { replica_id, ..fetch_request("t", 0) };
        let response = node.call(&request, BY_NAME);
        let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
        let code = response.responses[0].partitions[0].error_code;
        assert_eq!(code, i16::from(ErrorCode::NotLeaderOrFollower), "replica {replica_id}");
    }
}

#[test]
fn hundred_pipelined_requests_are_answered_in_order() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let sent = batch(&["x"]);
    let offsets: Vec<i64> = node.block_on(async {
        let mut answers = Vec::new();
        for _ in 0..100 {
            answers.push(
                node.connection.send(&produce_request("t", 0, &sent, -1), BY_NAME).await.expect("sent"),
            );
        }
        let mut offsets = Vec::new();
        for answer in answers {
            let response = answer.await.expect("an answer, with the correlation id that is due");
            let response =
                response.decode::<milena_protocol::messages::ProduceRequest<'_>>().expect("Produce");
            offsets.push(response.responses[0].partition_responses[0].base_offset);
        }
        offsets
    });
    assert_eq!(offsets, (0..100).collect::<Vec<i64>>());
}
