//! Requests as a client would send them, to the topic that [`crate::node`] keeps.

use milena_protocol::messages::*;
use milena_protocol::{Request, Uuid, Writer, header};

use crate::node::{PARTITIONS, TOPIC};

/// A request that the choices stand for; none when the version cannot say it.
pub fn sensible(request: u8, version: u8, id: Uuid, correlation_id: i32) -> Option<Vec<u8>> {
    let frame = Frame { version, correlation_id };
    match request % 12 {
        0 | 1 => frame.of(|version| fetch(version, id, 0)),
        2 => frame.of(|version| fetch(version, id, 20)),
        3 => frame.of(|_| list_offsets()),
        4 => frame.of(|_| metadata()),
        5 => frame.of(|_| create_topics()),
        6 => frame.of(delete_topics),
        7 => frame.of(|_| delete_records()),
        8 => frame.of(|_| create_partitions()),
        9 => frame.of(|_| offset_for_leader_epoch()),
        10 => frame.of(|_| describe_configs()),
        _ => frame.of(|_| InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() }),
    }
}

pub fn produce(
    version: u8,
    acks: i8,
    partition: u8,
    batch: Vec<u8>,
    topic_id: Uuid,
    correlation_id: i32,
) -> Option<Vec<u8>> {
    let partition = produce_request::PartitionProduceData {
        index: i32::from(partition) % (PARTITIONS + 1),
        records: Some(batch.into()),
    };
    let request = |version: i16| ProduceRequest {
        acks: i16::from(acks % 2),
        timeout_ms: 1_000,
        topic_data: vec![produce_request::TopicProduceData {
            name: if version < 13 { TOPIC.into() } else { Default::default() },
            topic_id: if version < 13 { Uuid::ZERO } else { topic_id },
            partition_data: vec![partition],
        }],
        ..Default::default()
    };
    Frame { version, correlation_id }.of(request)
}

struct Frame {
    version: u8,
    correlation_id: i32,
}

impl Frame {
    fn of<R: Request>(&self, request: impl FnOnce(i16) -> R) -> Option<Vec<u8>> {
        let (first, last) = R::API.versions()?;
        let version = first + i16::from(self.version) % (last - first + 1);
        frame(&request(version), version, self.correlation_id)
    }
}

/// A frame with the request; none when the version cannot say it.
pub fn frame<R: Request>(request: &R, version: i16, correlation_id: i32) -> Option<Vec<u8>> {
    let mut w = Writer::new();
    header::request_frame(&mut w, R::API, version, correlation_id, Some("fuzz"), request).ok()?;
    w.into_bytes().ok()
}

fn fetch(version: i16, id: Uuid, max_wait_ms: i32) -> FetchRequest<'static> {
    let partition = |partition| fetch_request::FetchPartition {
        partition,
        current_leader_epoch: -1,
        partition_max_bytes: 1 << 16,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms,
        min_bytes: if max_wait_ms == 0 { 0 } else { 1 << 20 },
        max_bytes: 1 << 16,
        topics: vec![fetch_request::FetchTopic {
            topic: if version < 13 { TOPIC.into() } else { Default::default() },
            topic_id: if version < 13 { Uuid::ZERO } else { id },
            partitions: (0..PARTITIONS).map(partition).collect(),
        }],
        ..Default::default()
    }
}

fn list_offsets() -> ListOffsetsRequest<'static> {
    let partition = |timestamp| list_offsets_request::ListOffsetsPartition {
        current_leader_epoch: -1,
        timestamp,
        ..Default::default()
    };
    let partitions = [-3, -2, -1, 0].map(partition).to_vec();
    let topics = vec![list_offsets_request::ListOffsetsTopic { name: TOPIC.into(), partitions }];
    ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }
}

fn metadata() -> MetadataRequest<'static> {
    let topic = metadata_request::MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() };
    MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
}

pub fn create_topics() -> CreateTopicsRequest<'static> {
    let topic = |name: &'static str| create_topics_request::CreatableTopic {
        name: name.into(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    };
    let topics = vec![topic(TOPIC), topic("another")];
    CreateTopicsRequest { topics, timeout_ms: 5_000, ..Default::default() }
}

fn delete_topics(version: i16) -> DeleteTopicsRequest<'static> {
    let mut request = DeleteTopicsRequest { timeout_ms: 5_000, ..Default::default() };
    if version < 6 {
        request.topic_names = vec!["another".into()];
    } else {
        let topic =
            delete_topics_request::DeleteTopicState { name: Some("another".into()), ..Default::default() };
        request.topics = vec![topic];
    }
    request
}

fn delete_records() -> DeleteRecordsRequest<'static> {
    let partitions = vec![delete_records_request::DeleteRecordsPartition { partition_index: 0, offset: -1 }];
    let topics = vec![delete_records_request::DeleteRecordsTopic { name: TOPIC.into(), partitions }];
    DeleteRecordsRequest { topics, timeout_ms: 1_000 }
}

fn create_partitions() -> CreatePartitionsRequest<'static> {
    let topic = create_partitions_request::CreatePartitionsTopic {
        name: "another".into(),
        count: PARTITIONS + 1,
        assignments: None,
    };
    CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1_000, validate_only: false }
}

fn offset_for_leader_epoch() -> OffsetForLeaderEpochRequest<'static> {
    let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition {
        current_leader_epoch: -1,
        ..Default::default()
    };
    let topics = vec![offset_for_leader_epoch_request::OffsetForLeaderTopic {
        topic: TOPIC.into(),
        partitions: vec![partition],
    }];
    OffsetForLeaderEpochRequest { topics, ..Default::default() }
}

fn describe_configs() -> DescribeConfigsRequest<'static> {
    let resource = |resource_type, name: &'static str| describe_configs_request::DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: None,
    };
    DescribeConfigsRequest { resources: vec![resource(2, TOPIC), resource(4, "1")], ..Default::default() }
}
