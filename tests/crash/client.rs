//! The least client that the crash tests need: one blocking connection, requests and responses by hand.
//!
//! Our own client is left out on purpose: what hides a broker's fault must not be what looks for it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use milena_protocol::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, CreateTopicsRequest, FetchRequest,
    FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, ProduceRequest, ProduceResponse,
    alter_replica_log_dirs_request, create_topics_request, fetch_request, list_offsets_request,
    offset_commit_request, offset_fetch_request, produce_request,
};
use milena_protocol::records::Batches;
use milena_protocol::{ApiKey, Decode, ErrorCode, Reader, Records, Request, Writer, header};

/// No honest answer takes longer; a lost one must not hang the test.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const ALTER_REPLICA_LOG_DIRS_VERSION: i16 = 2;
const CREATE_TOPICS_VERSION: i16 = 5;
const INIT_PRODUCER_ID_VERSION: i16 = 4;
const LIST_OFFSETS_VERSION: i16 = 5;
const FIND_COORDINATOR_VERSION: i16 = 0;
const OFFSET_COMMIT_VERSION: i16 = 7;
const OFFSET_FETCH_VERSION: i16 = 7;

pub struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

/// The answer to one partition's produce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    pub error: ErrorCode,
    pub base_offset: i64,
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(Client { stream, correlation_id: 0 })
    }

    /// Creates a topic; one that is there already is as good.
    pub fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> io::Result<()> {
        let config = |(name, value): &(&str, &str)| create_topics_request::CreatableTopicConfig {
            name: name.to_string().into(),
            value: Some(value.to_string().into()),
        };
        let topic = create_topics_request::CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let frame = self.call(ApiKey::CreateTopics, CREATE_TOPICS_VERSION, &request)?;
        type Response<'a> = milena_protocol::messages::CreateTopicsResponse<'a>;
        let response: Response<'_> = decode(&frame, ApiKey::CreateTopics, CREATE_TOPICS_VERSION)?;
        match ErrorCode::from_i16(response.topics[0].error_code) {
            Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => Ok(()),
            other => Err(io::Error::other(format!("create topic {name}: {other:?}"))),
        }
    }

    /// Has a replica move to a log directory; what the broker says.
    pub fn move_replica(
        &mut self,
        topic: &str,
        partition: i32,
        path: &str,
    ) -> io::Result<Result<(), ErrorCode>> {
        let topic = alter_replica_log_dirs_request::AlterReplicaLogDirTopic {
            name: topic.into(),
            partitions: vec![partition],
        };
        let dir =
            alter_replica_log_dirs_request::AlterReplicaLogDir { path: path.into(), topics: vec![topic] };
        let request = AlterReplicaLogDirsRequest { dirs: vec![dir] };
        let frame = self.call(ApiKey::AlterReplicaLogDirs, ALTER_REPLICA_LOG_DIRS_VERSION, &request)?;
        let response: AlterReplicaLogDirsResponse<'_> =
            decode(&frame, ApiKey::AlterReplicaLogDirs, ALTER_REPLICA_LOG_DIRS_VERSION)?;
        let answer = response.results.first().and_then(|topic| topic.partitions.first());
        let code = answer.map_or(ErrorCode::UnknownServerError.into(), |answer| answer.error_code);
        match ErrorCode::from_i16(code).unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => Ok(Ok(())),
            code => Ok(Err(code)),
        }
    }

    /// A new producer id and its epoch.
    pub fn init_producer_id(&mut self) -> io::Result<(i64, i16)> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let frame = self.call(ApiKey::InitProducerId, INIT_PRODUCER_ID_VERSION, &request)?;
        let response: InitProducerIdResponse =
            decode(&frame, ApiKey::InitProducerId, INIT_PRODUCER_ID_VERSION)?;
        match response.error_code {
            0 => Ok((response.producer_id, response.producer_epoch)),
            code => Err(io::Error::other(format!("init producer id: error {code}"))),
        }
    }

    /// Sends a produce with acks=all and does not wait.
    pub fn send_batch(&mut self, topic: &str, partition: i32, batch: &[u8]) -> io::Result<()> {
        let data = produce_request::PartitionProduceData {
            index: partition,
            records: Some(Records::Bytes(batch.into())),
        };
        let topic = produce_request::TopicProduceData {
            name: topic.into(),
            partition_data: vec![data],
            ..Default::default()
        };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
        self.send(ApiKey::Produce, PRODUCE_VERSION, &request)
    }

    /// The answer to the oldest produce that was sent and not answered.
    pub fn produced(&mut self) -> io::Result<Produced> {
        let frame = self.receive()?;
        let response: ProduceResponse<'_> = decode(&frame, ApiKey::Produce, PRODUCE_VERSION)?;
        let partition = response
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first())
            .ok_or_else(|| io::Error::other("an answer without the partition"))?;
        let error = ErrorCode::from_i16(partition.error_code).unwrap_or(ErrorCode::UnknownServerError);
        Ok(Produced { error, base_offset: partition.base_offset })
    }

    /// Offsets and values from `offset` on, as many as one answer holds; none at the end of the partition.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> io::Result<Vec<(i64, Vec<u8>)>> {
        let bytes = self.fetch_bytes(topic, partition, offset, 4 << 20)?;
        values(&bytes, offset).map_err(io::Error::other)
    }

    /// The batches from the one with `offset` on, the last perhaps cut off; nothing at the end of the partition.
    pub fn fetch_bytes(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: i32,
    ) -> io::Result<Vec<u8>> {
        let wanted = fetch_request::FetchPartition {
            partition,
            fetch_offset: offset,
            partition_max_bytes: max_bytes,
            ..Default::default()
        };
        let topic =
            fetch_request::FetchTopic { topic: topic.into(), partitions: vec![wanted], ..Default::default() };
        let request = FetchRequest {
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes,
            topics: vec![topic],
            ..Default::default()
        };
        let frame = self.call(ApiKey::Fetch, FETCH_VERSION, &request)?;
        let response: FetchResponse<'_> = decode(&frame, ApiKey::Fetch, FETCH_VERSION)?;
        let data = response.responses.first().and_then(|topic| topic.partitions.first());
        let data = data.ok_or_else(|| io::Error::other(format!("fetch: error {}", response.error_code)))?;
        if data.error_code != 0 {
            return Err(io::Error::other(format!("fetch at {offset}: error {}", data.error_code)));
        }
        match &data.records {
            Some(Records::Bytes(bytes)) => Ok(bytes.to_vec()),
            _ => Ok(Vec::new()),
        }
    }

    /// The offset of partition 0 for a timestamp, or for −1 and −2 its end and its beginning; −1 for none.
    pub fn list_offset(&mut self, topic: &str, timestamp: i64) -> io::Result<i64> {
        let partition = list_offsets_request::ListOffsetsPartition { timestamp, ..Default::default() };
        let topic =
            list_offsets_request::ListOffsetsTopic { name: topic.into(), partitions: vec![partition] };
        let request = ListOffsetsRequest { topics: vec![topic], replica_id: -1, ..Default::default() };
        let frame = self.call(ApiKey::ListOffsets, LIST_OFFSETS_VERSION, &request)?;
        let response: ListOffsetsResponse<'_> = decode(&frame, ApiKey::ListOffsets, LIST_OFFSETS_VERSION)?;
        let found = response.topics.first().and_then(|topic| topic.partitions.first());
        match found.ok_or_else(|| io::Error::other("an answer without the partition"))? {
            found if found.error_code == 0 => Ok(found.offset),
            found => Err(io::Error::other(format!("list offsets: error {}", found.error_code))),
        }
    }

    /// Whether the group has a coordinator.
    pub fn find_coordinator(&mut self, group: &str) -> io::Result<bool> {
        let request = FindCoordinatorRequest { key: group.into(), ..Default::default() };
        let frame = self.call(ApiKey::FindCoordinator, FIND_COORDINATOR_VERSION, &request)?;
        let response: FindCoordinatorResponse<'_> =
            decode(&frame, ApiKey::FindCoordinator, FIND_COORDINATOR_VERSION)?;
        Ok(response.error_code == 0)
    }

    /// Commits an offset of partition 0 as a consumer that is no member.
    pub fn commit(&mut self, group: &str, topic: &str, offset: i64) -> io::Result<ErrorCode> {
        let partition = offset_commit_request::OffsetCommitRequestPartition {
            committed_offset: offset,
            committed_leader_epoch: -1,
            ..Default::default()
        };
        let topic = offset_commit_request::OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let frame = self.call(ApiKey::OffsetCommit, OFFSET_COMMIT_VERSION, &request)?;
        let response: OffsetCommitResponse<'_> = decode(&frame, ApiKey::OffsetCommit, OFFSET_COMMIT_VERSION)?;
        let partition = response.topics.first().and_then(|topic| topic.partitions.first());
        let partition = partition.ok_or_else(|| io::Error::other("an answer without the partition"))?;
        ErrorCode::from_i16(partition.error_code).ok_or_else(|| io::Error::other("an unknown error code"))
    }

    /// What a group has committed for partition 0; −1 for nothing.
    pub fn committed(&mut self, group: &str, topic: &str) -> io::Result<Result<i64, ErrorCode>> {
        let topic =
            offset_fetch_request::OffsetFetchRequestTopic { name: topic.into(), partition_indexes: vec![0] };
        let request =
            OffsetFetchRequest { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
        let frame = self.call(ApiKey::OffsetFetch, OFFSET_FETCH_VERSION, &request)?;
        let response: OffsetFetchResponse<'_> = decode(&frame, ApiKey::OffsetFetch, OFFSET_FETCH_VERSION)?;
        if let Some(error) = ErrorCode::from_i16(response.error_code).filter(|e| *e != ErrorCode::None) {
            return Ok(Err(error));
        }
        let partition = response.topics.first().and_then(|topic| topic.partitions.first());
        Ok(Ok(partition.ok_or_else(|| io::Error::other("an answer without the partition"))?.committed_offset))
    }

    fn call<R: Request>(&mut self, api: ApiKey, version: i16, request: &R) -> io::Result<Vec<u8>> {
        self.send(api, version, request)?;
        self.receive()
    }

    fn send<R: Request>(&mut self, api: ApiKey, version: i16, request: &R) -> io::Result<()> {
        self.correlation_id += 1;
        let mut writer = Writer::new();
        header::request_frame(&mut writer, api, version, self.correlation_id, Some("crash"), request)
            .map_err(io::Error::other)?;
        self.stream.write_all(writer.bytes())
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size)).map_err(io::Error::other)?;
        let mut frame = vec![0; size];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }
}

fn decode<'a, T: Decode<'a>>(frame: &'a [u8], api: ApiKey, version: i16) -> io::Result<T> {
    let mut reader = Reader::new(frame);
    header::decode_response(&mut reader, api, version).map_err(io::Error::other)?;
    T::decode(&mut reader, version).map_err(io::Error::other)
}

/// Offsets and values of the records at or above `from_offset`; the batches are those this test wrote,
/// uncompressed.
fn values(
    bytes: &[u8],
    from_offset: i64,
) -> Result<Vec<(i64, Vec<u8>)>, milena_protocol::records::BatchError> {
    let mut found = Vec::new();
    for batch in Batches::maybe_truncated(bytes) {
        let batch = batch?;
        batch.verify_crc()?;
        for record in batch.records().into_iter().flatten() {
            let record = record?;
            let offset = batch.base_offset + i64::from(record.offset_delta);
            if offset >= from_offset {
                found.push((offset, record.value.unwrap_or_default().to_vec()));
            }
        }
    }
    Ok(found)
}
