use milena_protocol::ErrorCode;
use milena_protocol::messages::fetch_request::FetchRequest;
use milena_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use milena_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use milena_protocol::messages::produce_request::ProduceRequest;
use milena_protocol::records::{Batch, Builder, Compression};

use crate::node::{BY_NAME, Node, batch, compressed, fetch_request, now_ms, produce_request};

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

#[test]
fn accepted_batch_is_stored_as_sent_apart_from_offset_and_epoch() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    for codec in CODECS {
        let sent = compressed(&["one", "two", "three"], codec);
        let (error, base_offset) = node.produce("t", &sent);
        assert_eq!(error, ErrorCode::None, "{codec:?}");
        let (_, stored) = node.fetch("t", base_offset);
        // Base offset (8), length (4) and leader epoch (4) come first; the checksum covers the rest.
        assert_eq!(stored[16..], sent[16..], "{codec:?}");
        let (stored, _) = Batch::parse(&stored).expect("a batch");
        assert_eq!((stored.base_offset, stored.leader_epoch), (base_offset, 0));
    }
}

#[test]
fn topic_codec_other_than_the_producers_recompresses() {
    let node = Node::start(&[]);
    node.create("z", &[("compression.type", "zstd")]);
    assert_eq!(node.produce("z", &compressed(&["a", "b"], Compression::Gzip)).0, ErrorCode::None);
    let (_, stored) = node.fetch("z", 0);
    let (stored, _) = Batch::parse(&stored).expect("a batch");
    assert_eq!(stored.attributes.compression(), Ok(Compression::Zstd));
    assert_eq!(stored.verify_crc(), Ok(()));
    assert_eq!(stored.count, 2);
}

#[test]
fn log_append_time_is_stamped_and_answered() {
    let node = Node::start(&[]);
    node.create("l", &[("message.timestamp.type", "LogAppendTime")]);
    let before = now_ms();
    let answer = node.produce_at("l", &batch(&["x"]), 1, BY_NAME);
    assert_eq!(answer.error, ErrorCode::None);
    assert!((before..=now_ms()).contains(&answer.log_append_time), "{answer:?}");
    let (_, stored) = node.fetch("l", 0);
    let (stored, _) = Batch::parse(&stored).expect("a batch");
    assert_eq!((stored.max_timestamp, stored.verify_crc()), (answer.log_append_time, Ok(())));
}

#[test]
fn refused_batches_name_the_reason_and_leave_the_log_alone() {
    let node = Node::start(&[]);
    node.create("t", &[("max.message.bytes", "500"), ("message.timestamp.after.max.ms", "1000")]);
    let mut damaged = batch(&["x"]);
    *damaged.last_mut().expect("bytes") ^= 1;
    let mut future = Builder::new();
    future.append(now_ms() + 3_600_000, None, Some(b"x"), &[]).expect("room");
    let future = future.finish().expect("a batch");
    let two = [batch(&["x"]), batch(&["y"])].concat();
    let large = batch(&[&"x".repeat(600)]);
    let check = |bytes: &[u8], error: ErrorCode| {
        assert_eq!(node.produce("t", bytes), (error, -1));
    };
    check(&damaged, ErrorCode::CorruptMessage);
    check(&future, ErrorCode::InvalidTimestamp);
    check(&two, ErrorCode::InvalidRecord);
    check(&large, ErrorCode::MessageTooLarge);
    check(&[], ErrorCode::InvalidRecord);
    assert_eq!(node.produce_at("t", &future, -1, BY_NAME).record_errors, [0]);
    assert_eq!(node.produce("t", &batch(&["ok"])), (ErrorCode::None, 0));
}

#[test]
fn batch_that_no_segment_can_hold_is_refused() {
    let node = Node::start(&[]);
    node.create("t", &[("max.message.bytes", "3000000"), ("segment.bytes", "1048576")]);
    let answer = node.produce("t", &batch(&[&"x".repeat(2_000_000)]));
    assert_eq!(answer, (ErrorCode::RecordListTooLarge, -1));
    assert_eq!(node.produce("t", &batch(&["ok"])), (ErrorCode::None, 0));
}

#[test]
fn unknown_topics_partitions_and_acks_are_told_apart() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let sent = batch(&["x"]);
    assert_eq!(node.produce("nope", &sent).0, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(node.produce_at("t", &sent, 2, BY_NAME).error, ErrorCode::InvalidRequiredAcks);
    let response = node.call(&produce_request("t", 7, &sent, 1), BY_NAME);
    let response = response.decode::<ProduceRequest<'_>>().expect("Produce");
    let code = response.responses[0].partition_responses[0].error_code;
    assert_eq!(ErrorCode::from_i16(code), Some(ErrorCode::UnknownTopicOrPartition));
    // By id: the id of no topic.
    let by_id = node.produce_at("", &sent, 1, 13);
    assert_eq!(by_id.error, ErrorCode::UnknownTopicId);
}

#[test]
fn repeated_batch_of_an_idempotent_producer_grows_the_log_once() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let response = node.call(&request, 5);
    let response = response.decode::<InitProducerIdRequest<'_>>().expect("InitProducerId");
    assert_eq!(response.error_code, 0);
    let numbered = |sequence: i32| {
        let mut builder = Builder::new().producer(response.producer_id, response.producer_epoch, sequence);
        builder.append(now_ms(), None, Some(b"v"), &[]).expect("room");
        builder.finish().expect("a batch")
    };
    let first = numbered(0);
    for _ in 0..100 {
        assert_eq!(node.produce("t", &first), (ErrorCode::None, 0));
    }
    assert_eq!(node.produce("t", &numbered(1)), (ErrorCode::None, 1));
    assert_eq!(node.produce("t", &numbered(5)).0, ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(node.produce("t", &numbered(2)), (ErrorCode::None, 2));
}

#[test]
fn transactional_batch_of_a_client_is_refused_and_does_not_hold_committed_readers_up() {
    let node = Node::start(&[]);
    node.create("t", &[]);
    let mut builder = Builder::new().producer(7, 0, 0).transactional(true);
    builder.append(now_ms(), None, Some(b"v"), &[]).expect("room");
    let transactional = builder.finish().expect("a batch");
    let plain = batch(&["x"]);
    let mut request = produce_request("t", 0, &transactional, -1);
    request.topic_data.extend(produce_request("t", 0, &plain, -1).topic_data);
    let errors = |request: &ProduceRequest<'_>| {
        let response = node.call(request, BY_NAME);
        let response = response.decode::<ProduceRequest<'_>>().expect("Produce");
        let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let codes = partitions.map(|partition| ErrorCode::from_i16(partition.error_code));
        codes.map(|code| code.expect("a known code")).collect::<Vec<_>>()
    };
    // Without a transactional id nothing of the request is stored.
    assert_eq!(errors(&request), [ErrorCode::TransactionalIdAuthorizationFailed; 2]);
    request.transactional_id = Some("id".into());
    assert_eq!(errors(&request), [ErrorCode::InvalidProducerIdMapping, ErrorCode::None]);
    let mut fetch = fetch_request("t", 0);
    fetch.isolation_level = 1;
    let response = node.call(&fetch, BY_NAME);
    let response = response.decode::<FetchRequest<'_>>().expect("Fetch");
    let data = &response.responses[0].partitions[0];
    assert_eq!((data.last_stable_offset, data.high_watermark), (1, 1));
}

#[test]
fn producer_ids_are_never_given_twice() {
    let node = Node::start(&[]);
    let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let mut ids = std::collections::BTreeSet::new();
    // More than a block of 1,000, so that a second one is asked for on the way.
    for _ in 0..1_500 {
        let response = node.call(&request, 4);
        let response = response.decode::<InitProducerIdRequest<'_>>().expect("InitProducerId");
        assert_eq!(response.error_code, 0);
        assert!(ids.insert(response.producer_id), "{} came twice", response.producer_id);
    }
}

#[test]
fn metadata_creates_a_topic_only_when_both_sides_allow_it() {
    let node = Node::start(&[("num.partitions", "3")]);
    let ask = |name: &'static str, allow: bool| {
        let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: allow,
            ..Default::default()
        };
        let response = node.call(&request, 12);
        let response = response.decode::<MetadataRequest<'_>>().expect("Metadata");
        let topic = &response.topics[0];
        (ErrorCode::from_i16(topic.error_code).expect("a known code"), topic.partitions.len())
    };
    assert_eq!(ask("auto", false), (ErrorCode::UnknownTopicOrPartition, 0));
    assert_eq!(ask("auto", true), (ErrorCode::None, 3));
    assert_eq!(ask("not/valid", true), (ErrorCode::InvalidTopicException, 0));
    // It serves when it is named: no second round.
    assert_eq!(node.produce("auto", &batch(&["x"])), (ErrorCode::None, 0));
    let closed = Node::start(&[("auto.create.topics.enable", "false")]);
    let topic = MetadataRequestTopic { name: Some("auto".into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let response = closed.call(&request, 12);
    let response = response.decode::<MetadataRequest<'_>>().expect("Metadata");
    assert_eq!(response.topics[0].error_code, i16::from(ErrorCode::UnknownTopicOrPartition));
}
