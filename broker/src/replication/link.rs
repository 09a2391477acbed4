//! A connection to a leader, with the fetches that wait for their answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use milena_client::connection::{Connection, Options, Response};
use milena_client::error::Result;
use milena_protocol::ErrorCode;
use milena_protocol::messages::fetch_request::{
    FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState,
};
use milena_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use milena_protocol::messages::list_offsets_response::ListOffsetsResponse;
use milena_state::config::replication::Settings;
use milena_state::partition::fetch_plan::{Key, Position, Request};

use super::Cast;

/// Fetches that wait for an answer: one that waits for records, and one that tells what has changed meanwhile.
pub(super) const IN_FLIGHT_MAX: usize = 2;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of one answer. Batches may be as large as a segment, and the first of an answer comes whole.
const RESPONSE_BYTES_MAX: usize = i32::MAX as usize;

/// The first version with the broker epoch of the follower (KIP-903).
const FETCH_VERSION_MIN: i16 = 15;

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

pub(super) struct Link {
    connection: Arc<Connection>,
    fetch_version: i16,
    /// With the session epoch that each named.
    in_flight: VecDeque<(i32, BoxFuture<'static, Result<Response>>)>,
}

/// A partition whose leader is asked for the ends of its log; those of a topic stand together.
pub(super) struct Asked<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub leader_epoch: i32,
}

/// What a leader says about one partition.
pub(super) type Found<T> = std::result::Result<T, ErrorCode>;

impl Link {
    pub async fn open(cast: &Cast, address: &str, index: usize) -> Result<Self> {
        let options = options(cast.settings.node_id, index, &cast.settings.replication);
        let connection = Arc::new(Connection::open(&cast.dialer, address, options).await?);
        let fetch_version = connection.version_of::<FetchRequest<'_>>(i16::MAX)?;
        if fetch_version < FETCH_VERSION_MIN {
            return Err(milena_client::Error::Protocol {
                address: address.to_owned(),
                message: format!(
                    "Fetch goes to version {fetch_version} only, followers need {FETCH_VERSION_MIN}"
                ),
            });
        }
        Ok(Self { connection, fetch_version, in_flight: VecDeque::new() })
    }

    pub fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    pub async fn fetch(&mut self, request: &Request, broker: (i32, i64), settings: &Settings) -> Result<()> {
        let epoch = request.session_epoch;
        let encoded = fetch_request(request, broker, settings);
        let answer = self.connection.post(&encoded, self.fetch_version).await?;
        self.in_flight.push_back((epoch, answer));
        Ok(())
    }

    /// The next answer, with the session epoch that was named. Pending while nothing is asked. May be dropped and
    /// called again.
    pub async fn answer(&mut self) -> (i32, Result<Response>) {
        let Some((epoch, answer)) = self.in_flight.front_mut() else { return std::future::pending().await };
        let answered = (*epoch, answer.await);
        self.in_flight.pop_front();
        answered
    }

    /// Where the leader's logs begin and end, in the order in which they are asked for.
    pub async fn ends(&self, asked: &[Asked<'_>], broker_id: i32) -> Result<Vec<Found<(i64, i64)>>> {
        let starts = self.offsets(asked, broker_id, EARLIEST).await?;
        let ends = self.offsets(asked, broker_id, LATEST).await?;
        Ok(starts.into_iter().zip(ends).map(|(start, end)| Ok((start?, end?))).collect())
    }

    async fn offsets(&self, asked: &[Asked<'_>], broker_id: i32, timestamp: i64) -> Result<Vec<Found<i64>>> {
        let response = self.connection.call(&list_offsets(asked, broker_id, timestamp)).await?;
        Ok(found(asked, &response.decode::<ListOffsetsRequest<'_>>()?))
    }
}

fn options(node_id: i32, index: usize, settings: &Settings) -> Options {
    Options {
        client_id: format!("broker-{node_id}-fetcher-{index}"),
        connect_timeout: CONNECT_TIMEOUT,
        request_timeout: Duration::from_millis(settings.socket_timeout_ms),
        response_bytes_max: RESPONSE_BYTES_MAX,
    }
}

/// A partition stands once in a request: the start and the end of a log are asked for one after the other.
fn list_offsets<'a>(asked: &[Asked<'a>], replica_id: i32, timestamp: i64) -> ListOffsetsRequest<'a> {
    let of_topic = asked.chunk_by(|a, b| a.topic == b.topic);
    let topics = of_topic.filter_map(|asked| {
        let partitions = asked.iter().map(|asked| ListOffsetsPartition {
            partition_index: asked.partition,
            current_leader_epoch: asked.leader_epoch,
            timestamp,
        });
        Some(ListOffsetsTopic { name: asked.first()?.topic.into(), partitions: partitions.collect() })
    });
    ListOffsetsRequest { replica_id, topics: topics.collect(), ..Default::default() }
}

/// What was said about each; UNKNOWN_SERVER_ERROR where nothing was.
fn found(asked: &[Asked<'_>], said: &ListOffsetsResponse<'_>) -> Vec<Found<i64>> {
    let mut all = BTreeMap::new();
    for topic in &said.topics {
        for partition in &topic.partitions {
            let error = ErrorCode::from_i16(partition.error_code).unwrap_or(ErrorCode::UnknownServerError);
            let found = if error == ErrorCode::None { Ok(partition.offset) } else { Err(error) };
            all.insert((&*topic.name, partition.partition_index), found);
        }
    }
    let of = |asked: &Asked<'_>| all.get(&(asked.topic, asked.partition)).copied();
    asked.iter().map(|asked| of(asked).unwrap_or(Err(ErrorCode::UnknownServerError))).collect()
}

fn fetch_request(
    request: &Request,
    (replica_id, replica_epoch): (i32, i64),
    settings: &Settings,
) -> FetchRequest<'static> {
    FetchRequest {
        replica_state: ReplicaState { replica_id, replica_epoch },
        max_wait_ms: settings.fetch_wait_max_ms,
        min_bytes: settings.fetch_min_bytes,
        max_bytes: settings.fetch_response_max_bytes,
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        topics: wanted(&request.wants, settings),
        forgotten_topics_data: forgotten(&request.forgotten),
        ..Default::default()
    }
}

/// Partitions of a topic stand together in the request.
fn wanted(wants: &[(Key, Position)], settings: &Settings) -> Vec<FetchTopic<'static>> {
    let of_topic = wants.chunk_by(|((a, _), _), ((b, _), _)| a == b);
    let topics = of_topic.filter_map(|wants| {
        let ((topic_id, _), _) = wants.first()?;
        let partitions = wants.iter().map(|((_, partition), position)| FetchPartition {
            partition: *partition,
            current_leader_epoch: position.leader_epoch,
            fetch_offset: position.fetch_offset,
            last_fetched_epoch: position.last_fetched_epoch,
            log_start_offset: position.log_start_offset,
            partition_max_bytes: settings.fetch_max_bytes,
            high_watermark: position.high_watermark,
            ..Default::default()
        });
        Some(FetchTopic { topic_id: *topic_id, partitions: partitions.collect(), ..Default::default() })
    });
    topics.collect()
}

fn forgotten(keys: &[Key]) -> Vec<ForgottenTopic<'static>> {
    let of_topic = keys.chunk_by(|(a, _), (b, _)| a == b);
    let topics = of_topic.filter_map(|keys| {
        let (topic_id, _) = keys.first()?;
        let partitions = keys.iter().map(|(_, partition)| *partition).collect();
        Some(ForgottenTopic { topic_id: *topic_id, partitions, ..Default::default() })
    });
    topics.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use milena_protocol::messages::list_offsets_response::{
        ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
    };
    use milena_protocol::types::Uuid;
    use milena_state::config::broker;

    use super::*;

    #[test]
    fn a_leader_is_asked_as_the_properties_say() {
        let properties = [
            ("replica.fetch.min.bytes", "7"),
            ("replica.fetch.max.bytes", "8"),
            ("replica.fetch.response.max.bytes", "9"),
            ("replica.fetch.wait.max.ms", "10"),
            ("replica.socket.timeout.ms", "11"),
        ];
        let properties: BTreeMap<_, _> =
            properties.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let settings = broker::Settings::parse(&properties).expect("sound").replication;
        let position = Position {
            leader_epoch: 1,
            fetch_offset: 2,
            last_fetched_epoch: 1,
            log_start_offset: 0,
            high_watermark: 2,
        };
        let request = Request {
            session_id: 0,
            session_epoch: 0,
            wants: vec![((Uuid::from_u128(1), 0), position)],
            forgotten: Vec::new(),
        };
        let asked = fetch_request(&request, (2, 20), &settings);
        let bytes_max = asked.topics[0].partitions[0].partition_max_bytes;
        assert_eq!((asked.min_bytes, bytes_max, asked.max_bytes, asked.max_wait_ms), (7, 8, 9, 10));
        assert_eq!(options(2, 0, &settings).request_timeout, Duration::from_millis(11));
    }

    #[test]
    fn each_partition_is_asked_for_once_and_gets_what_was_said_of_it() {
        let asked = |topic, partition| Asked { topic, partition, leader_epoch: 3 };
        let all = [asked("a", 0), asked("a", 1), asked("b", 0), asked("b", 1)];
        let request = list_offsets(&all, 2, EARLIEST);
        let partitions = |topic: &ListOffsetsTopic<'_>| {
            topic.partitions.iter().map(|asked| asked.partition_index).collect::<Vec<_>>()
        };
        let named: Vec<_> =
            request.topics.iter().map(|topic| (topic.name.as_ref(), partitions(topic))).collect();
        assert_eq!(named, [("a", vec![0, 1]), ("b", vec![0, 1])]);
        let said = |partition_index, error: ErrorCode, offset| ListOffsetsPartitionResponse {
            partition_index,
            error_code: error.as_i16(),
            offset,
            ..Default::default()
        };
        let topic =
            |name: &'static str, partitions| ListOffsetsTopicResponse { name: name.into(), partitions };
        let response = ListOffsetsResponse {
            topics: vec![
                topic("b", vec![said(0, ErrorCode::None, 5)]),
                topic("a", vec![said(1, ErrorCode::NotLeaderOrFollower, -1), said(0, ErrorCode::None, 4)]),
            ],
            ..Default::default()
        };
        let expected =
            [Ok(4), Err(ErrorCode::NotLeaderOrFollower), Ok(5), Err(ErrorCode::UnknownServerError)];
        assert_eq!(found(&all, &response), expected);
    }
}
