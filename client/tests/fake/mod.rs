//! A cluster of two brokers in memory, as far as a client of one topic can tell: topic `t`, with partitions that one of
//! them leads. Tests script what goes wrong.
//!
//! Real brokers are talked to by the tests in `tests/`; this is for what no real broker does when asked.

pub mod group;
pub mod network;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use group::Body;
use milena_client::{ClientConfig, Cluster};
use milena_protocol::messages::api_versions_response::ApiVersion;
use milena_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use milena_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use milena_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use milena_protocol::messages::*;
use milena_protocol::records::Batch;
use milena_protocol::{ApiKey, Decode, Encode, ErrorCode, Reader, Records, Uuid, Writer, header};
use network::{Answer, Brokers};

pub const TOPIC: &str = "t";

/// What a broker does with the next request of an API, instead of answering it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Answers with this error.
    Error(ErrorCode),
    /// Takes effect, but the connection ends before the answer.
    HangUp,
    /// The connection ends before it takes effect.
    Lost,
    /// Takes effect, but answers with this error.
    ErrorAfter(ErrorCode),
    /// Never answers.
    Silence,
    /// Answers to something else.
    WrongCorrelationId,
}

/// A batch that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub broker: i32,
    pub base_offset: i64,
    pub records: i32,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub struct State {
    /// Leader of partition 0, which has the log.
    pub leader: i32,
    pub leader_epoch: i32,
    /// A broker that is cut off from the others: it goes on to tell this leader and epoch of partition 0.
    pub cut_off: Option<(i32, i32, i32)>,
    /// Further partitions, which are empty, and their leaders; −1 for none.
    pub others: BTreeMap<i32, i32>,
    /// Whether the topic does not exist for the moment.
    pub is_gone: bool,
    /// Whether the others are full of what is no batch, not empty.
    pub is_garbled: bool,
    pub log: Vec<Stored>,
    /// What happens to the next requests of an API, in order.
    pub troubles: Vec<(ApiKey, VecDeque<Trouble>)>,
    /// The newest version of each API that is admitted to, when not ours.
    pub newest: Vec<(ApiKey, i16)>,
    /// API and version of each request, in order.
    pub requests: Vec<(ApiKey, i16)>,
    /// Batches that one fetch gives at most.
    pub batches_per_fetch: usize,
    pub group: group::Group,
    producer_ids: i64,
}

#[derive(Debug, Clone)]
pub struct Fake(Arc<Mutex<State>>);

impl Fake {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            leader: 1,
            leader_epoch: 0,
            cut_off: None,
            others: BTreeMap::new(),
            is_garbled: false,
            is_gone: false,
            log: Vec::new(),
            troubles: Vec::new(),
            newest: Vec::new(),
            requests: Vec::new(),
            batches_per_fetch: 1,
            group: group::Group::default(),
            producer_ids: 1000,
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics with it")
    }

    pub fn trouble(&self, api: ApiKey, troubles: &[Trouble]) {
        self.state().troubles.push((api, troubles.iter().copied().collect()));
    }

    /// A client of this cluster that does not wait long.
    pub fn cluster(&self) -> Cluster {
        self.cluster_with(network::impatient())
    }

    pub fn cluster_with(&self, config: ClientConfig) -> Cluster {
        network::cluster(self, config)
    }

    /// How often an API was asked.
    pub fn count(&self, api: ApiKey) -> usize {
        self.state().requests.iter().filter(|(asked, _)| *asked == api).count()
    }
}

impl Brokers for Fake {
    fn answer(&self, broker: i32, request: &[u8]) -> Answer {
        answer(self, broker, request)
    }
}

fn answer(fake: &Fake, broker: i32, request: &[u8]) -> Answer {
    let mut state = fake.state();
    let mut reader = Reader::new(request);
    let head = header::decode_request(&mut reader).expect("a request has a header");
    state.requests.push((head.api, head.version));
    let newest = state.newest.iter().find(|(api, _)| *api == head.api).map(|(_, newest)| *newest);
    let mut reply = Reply { api: head.api, version: head.version, correlation_id: head.correlation_id };
    if newest.is_some_and(|newest| head.version > newest) {
        assert_eq!(head.api, ApiKey::ApiVersions, "the client was told the versions");
        reply.version = 0;
        return reply.with(&header::api_versions_fallback(0, newest.unwrap_or(0)));
    }
    let troubles = state.troubles.iter_mut().find(|(api, left)| *api == head.api && !left.is_empty());
    let trouble = troubles.and_then(|(_, left)| left.pop_front());
    let error = match trouble {
        Some(Trouble::Silence) => return Answer::None,
        Some(Trouble::Lost) => return Answer::HangUp,
        Some(Trouble::WrongCorrelationId) => {
            reply.correlation_id += 1;
            None
        }
        Some(Trouble::Error(code)) => Some(code),
        _ => None,
    };
    let answer = match head.api {
        ApiKey::ApiVersions => reply.with(&versions(&state)),
        ApiKey::Metadata => reply.with(&metadata(&state, broker)),
        ApiKey::InitProducerId => {
            state.producer_ids += 1;
            reply.with(&InitProducerIdResponse { producer_id: state.producer_ids, ..Default::default() })
        }
        ApiKey::Produce => {
            let request = ProduceRequest::decode(&mut reader, head.version).expect("a sound request");
            let mut response = produce(&mut state, broker, &request, error);
            if let Some(Trouble::ErrorAfter(code)) = trouble {
                response.responses[0].partition_responses[0].error_code = code.as_i16();
            }
            if request.acks == 0 { Answer::None } else { reply.with(&response) }
        }
        ApiKey::Fetch => {
            let request = FetchRequest::decode(&mut reader, head.version).expect("a sound request");
            let response = fetch(&state, broker, &request, error);
            let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
            match reply.with(&response) {
                Answer::Frame(bytes) if has_nothing(&response) => Answer::Later(wait, bytes),
                answer => answer,
            }
        }
        _ => {
            let body = group::answer(&mut state, broker, &head, &mut reader, error);
            reply.raw(body)
        }
    };
    if trouble == Some(Trouble::HangUp) { Answer::HangUp } else { answer }
}

struct Reply {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

impl Reply {
    fn raw(&self, body: Body) -> Answer {
        match body {
            Body::Find(body) => self.with(&body),
            Body::Join(body) => self.with(&body),
            Body::Sync(body) => self.with(&body),
            Body::Heartbeat(body) => self.with(&body),
            Body::Leave(body) => self.with(&body),
            Body::Commit(body) => self.with(&body),
            Body::Committed(body) => self.with(&body),
            Body::Offsets(body) => self.with(&body),
        }
    }

    fn with(&self, body: &impl Encode) -> Answer {
        let mut writer = Writer::new();
        header::response_frame(&mut writer, self.api, self.version, self.correlation_id, body)
            .expect("it can be written");
        Answer::Frame(writer.into_bytes().expect("nothing is detached"))
    }
}

fn has_nothing(response: &FetchResponse<'_>) -> bool {
    response.responses[0].partitions.iter().all(|partition| {
        let bytes = partition.records.as_ref().and_then(Records::bytes);
        partition.error_code == 0 && bytes.is_none_or(|bytes| bytes.is_empty())
    })
}

fn versions(state: &State) -> ApiVersionsResponse<'static> {
    let own = [ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::InitProducerId, ApiKey::Produce, ApiKey::Fetch];
    let served = own.into_iter().chain(group::SERVED);
    let row = |api: ApiKey| {
        let (min_version, max_version) = api.versions().expect("it has versions");
        let newest = state.newest.iter().find(|(limited, _)| *limited == api);
        let max_version = newest.map_or(max_version, |(_, newest)| *newest);
        ApiVersion { api_key: api.as_i16(), min_version, max_version }
    };
    ApiVersionsResponse { api_keys: served.map(row).collect(), ..Default::default() }
}

fn topic_id() -> Uuid {
    Uuid::from_u128(7)
}

fn metadata(state: &State, asked: i32) -> MetadataResponse<'static> {
    let broker = |node_id: i32| MetadataResponseBroker {
        node_id,
        host: format!("broker-{node_id}").into(),
        port: 9092,
        ..Default::default()
    };
    let partition = |(partition_index, leader_id, leader_epoch)| MetadataResponsePartition {
        partition_index,
        leader_id,
        leader_epoch,
        ..Default::default()
    };
    let others = state.others.iter().map(|(index, leader)| (*index, *leader, 0));
    let said = state.cut_off.filter(|(broker, ..)| *broker == asked);
    let (leader, epoch) =
        said.map_or((state.leader, state.leader_epoch), |(_, leader, epoch)| (leader, epoch));
    let partitions = std::iter::once((0, leader, epoch)).chain(others).map(partition).collect();
    let error_code = if state.is_gone { ErrorCode::UnknownTopicOrPartition.as_i16() } else { 0 };
    let topic = MetadataResponseTopic {
        error_code,
        name: Some(TOPIC.into()),
        topic_id: topic_id(),
        partitions,
        ..Default::default()
    };
    MetadataResponse { brokers: vec![broker(1), broker(2)], topics: vec![topic], ..Default::default() }
}

fn produce(
    state: &mut State,
    broker: i32,
    request: &ProduceRequest<'_>,
    error: Option<ErrorCode>,
) -> ProduceResponse<'static> {
    let topic = &request.topic_data[0];
    let bytes = topic.partition_data[0].records.as_ref().and_then(Records::bytes).expect("records are sent");
    let (batch, rest) = Batch::parse(bytes).expect("a sound batch");
    assert!(rest.is_empty() && batch.verify_crc().is_ok(), "one sound batch per partition");
    let error = error.or((broker != state.leader).then_some(ErrorCode::NotLeaderOrFollower));
    let mut answer =
        PartitionProduceResponse { base_offset: -1, log_append_time_ms: -1, ..Default::default() };
    match error {
        Some(code) => answer.error_code = code.as_i16(),
        None => match store(state, broker, &batch) {
            Ok(base_offset) => answer.base_offset = base_offset,
            Err(code) => answer.error_code = code.as_i16(),
        },
    }
    let topic = TopicProduceResponse {
        name: TOPIC.into(),
        topic_id: topic.topic_id,
        partition_responses: vec![answer],
    };
    ProduceResponse { responses: vec![topic], ..Default::default() }
}

/// Batches of a producer that are recognised when they come again.
const REMEMBERED: usize = 5;

/// Appends a batch as Kafka does: a repeat of one of the last of its producer is recognised, another must follow the
/// last; a producer that is not known may begin anywhere.
fn store(state: &mut State, broker: i32, batch: &Batch<'_>) -> Result<i64, ErrorCode> {
    let of_producer = state.log.iter().rev();
    let mut known: Vec<&Stored> = of_producer
        .filter(|stored| batch.has_producer_id() && stored.producer_id == batch.producer_id)
        .collect();
    if let Some(last) = known.first().copied() {
        if last.producer_epoch > batch.producer_epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        known.retain(|stored| stored.producer_epoch == batch.producer_epoch);
        let same = |stored: &&&Stored| stored.base_sequence == batch.base_sequence;
        if let Some(stored) = known.iter().take(REMEMBERED).find(same) {
            return Ok(stored.base_offset);
        }
        let next = known.first().map_or(0, |last| last.base_sequence + last.records);
        if batch.base_sequence != next {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
    }
    let base_offset = state.log.last().map_or(0, |last| last.base_offset + i64::from(last.records));
    let mut bytes = batch.as_bytes().to_vec();
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    state.log.push(Stored {
        broker,
        base_offset,
        records: batch.count,
        producer_id: batch.producer_id,
        producer_epoch: batch.producer_epoch,
        base_sequence: batch.base_sequence,
        bytes,
    });
    Ok(base_offset)
}

fn fetch(
    state: &State,
    broker: i32,
    request: &FetchRequest<'_>,
    error: Option<ErrorCode>,
) -> FetchResponse<'static> {
    let error = error.or(state.is_gone.then_some(ErrorCode::UnknownTopicOrPartition));
    let partitions = request.topics[0].partitions.iter();
    let partitions = partitions.map(|asked| match asked.partition {
        0 => first(state, broker, asked.fetch_offset, error),
        index => PartitionData {
            partition_index: index,
            records: Some(Records::from(if state.is_garbled { vec![1; 20] } else { Vec::new() })),
            ..Default::default()
        },
    });
    let topic = FetchableTopicResponse {
        topic: TOPIC.into(),
        topic_id: topic_id(),
        partitions: partitions.collect(),
    };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

/// What partition 0 has from an offset on.
fn first(state: &State, broker: i32, from: i64, error: Option<ErrorCode>) -> PartitionData<'static> {
    let end = state.log.last().map_or(0, |last| last.base_offset + i64::from(last.records));
    let out_of_range = (from < 0 || from > end).then_some(ErrorCode::OffsetOutOfRange);
    let error = error.or((broker != state.leader).then_some(ErrorCode::NotLeaderOrFollower)).or(out_of_range);
    let wanted = state.log.iter().filter(|stored| stored.base_offset + i64::from(stored.records) > from);
    let bytes: Vec<u8> =
        wanted.take(state.batches_per_fetch).flat_map(|stored| stored.bytes.clone()).collect();
    PartitionData {
        error_code: error.map_or(0, ErrorCode::as_i16),
        high_watermark: end,
        records: Some(Records::from(if error.is_none() { bytes } else { Vec::new() })),
        ..Default::default()
    }
}
