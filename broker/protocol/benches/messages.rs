//! Decoding and encoding of the messages that a broker meets most: Produce, Fetch, Metadata.
//!
//! `cargo bench -p milena-protocol --bench messages`. Records are borrowed or detached, so a Produce or
//! Fetch of any size should stay well below a microsecond per 10 partitions; a figure that grows with the
//! size of the records means that something copies them.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use milena_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{FetchRequest, FetchResponse, MetadataResponse, ProduceRequest};
use milena_protocol::{Decode, Encode, Records, Uuid, Writer, decode_exact, encode_to_vec};

const PARTITIONS: i32 = 10;

fn produce<'a>(records: &'a [u8]) -> ProduceRequest<'a> {
    let partition_data =
        (0..PARTITIONS).map(|index| PartitionProduceData { index, records: Some(records.into()) }).collect();
    let topic = TopicProduceData { topic_id: Uuid::from_u128(7), partition_data, ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }
}

fn fetch_request() -> FetchRequest<'static> {
    let partition = |partition| FetchPartition { partition, fetch_offset: 1_000_000, ..Default::default() };
    let partitions = (0..PARTITIONS).map(partition).collect();
    let topic = FetchTopic { topic_id: Uuid::from_u128(7), partitions, ..Default::default() };
    FetchRequest { max_wait_ms: 500, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

fn fetch_response(records: Records<'_>) -> FetchResponse<'_> {
    let partition = |partition_index| PartitionData {
        partition_index,
        high_watermark: 1_000_000,
        records: Some(records.clone()),
        ..Default::default()
    };
    let partitions = (0..PARTITIONS).map(partition).collect();
    let topic = FetchableTopicResponse { topic_id: Uuid::from_u128(7), partitions, ..Default::default() };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

fn metadata(topics: usize) -> MetadataResponse<'static> {
    let broker = |node_id| MetadataResponseBroker {
        node_id,
        host: format!("broker-{node_id}").into(),
        port: 9092,
        ..Default::default()
    };
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: 1,
        replica_nodes: vec![1, 2, 3],
        isr_nodes: vec![1, 2, 3],
        ..Default::default()
    };
    let topic = |index: usize| MetadataResponseTopic {
        name: Some(format!("topic-{index}").into()),
        topic_id: Uuid::from_u128(index as u128),
        partitions: (0..PARTITIONS).map(partition).collect(),
        ..Default::default()
    };
    MetadataResponse {
        brokers: (1..=3).map(broker).collect(),
        topics: (0..topics).map(topic).collect(),
        ..Default::default()
    }
}

fn decode<'a, T: Decode<'a>>(c: &mut Criterion, name: &str, bytes: &'a [u8], version: i16) {
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function(name, |b| b.iter(|| decode_exact::<T>(black_box(bytes), version).is_ok()));
    group.finish();
}

/// Into one buffer, used again as a connection does.
fn encode<T: Encode>(c: &mut Criterion, name: &str, message: &T, version: i16) {
    let mut buffer = Vec::new();
    c.bench_function(&format!("encode/{name}"), |b| {
        b.iter(|| {
            buffer.clear();
            let mut w = Writer::from_vec(std::mem::take(&mut buffer));
            let result = black_box(message).encode(&mut w, version);
            buffer = w.into_parts().0;
            result.is_ok()
        })
    });
}

fn messages(c: &mut Criterion) {
    for size in [1_000, 100_000] {
        let records = vec![0; size];
        let bytes = encode_to_vec(&produce(&records), 13).expect("the message is valid");
        decode::<ProduceRequest<'_>>(c, &format!("produce 10 x {size}"), &bytes, 13);
    }
    let bytes = encode_to_vec(&fetch_request(), 17).expect("the message is valid");
    decode::<FetchRequest<'_>>(c, "fetch request 10", &bytes, 17);
    encode(c, "fetch response 10 detached", &fetch_response(Records::Detached(100_000)), 17);
    let records = vec![0; 1000];
    encode(c, "fetch response 10 x 1000", &fetch_response(records.as_slice().into()), 17);
    let response = metadata(100);
    let bytes = encode_to_vec(&response, 13).expect("the message is valid");
    encode(c, "metadata 100 x 10", &response, 13);
    decode::<MetadataResponse<'_>>(c, "metadata 100 x 10", &bytes, 13);
}

criterion_group!(benches, messages);
criterion_main!(benches);
