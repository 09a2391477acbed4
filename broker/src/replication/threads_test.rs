//! The threads that follow leaders: that they come, and that they end.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use milena_client::net::Tcp;
use milena_log::Config;
use milena_log::memory_files::MemoryFiles;
use milena_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use milena_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use milena_protocol::messages::list_offsets_request::ListOffsetsRequest;
use milena_protocol::types::Uuid;
use milena_protocol::{ApiKey, ErrorCode, Reader, Writer, decode_start, header};
use milena_state::config::topic;
use milena_state::metadata::Partition as Assigned;
use milena_state::metadata::record::RecoveryState;

use super::*;
use crate::partition::{Directories, Myself};

const LEADER: i32 = 1;
const TOPIC: &str = "t";
const TOPIC_ID: Uuid = Uuid::from_u128(7);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
const SERVED: [(ApiKey, i16, i16); 3] =
    [(ApiKey::ApiVersions, 0, 3), (ApiKey::Fetch, 15, 17), (ApiKey::ListOffsets, 1, 7)];

/// Broker 2 in memory, which follows broker 1.
fn replication(spawn: Box<Spawn>) -> Arc<Replication> {
    let properties = [("node.id", "2"), ("listeners", "PLAINTEXT://127.0.0.1:0")];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::parse(&properties.into()).expect("valid settings");
    Replication::with(Arc::new(settings), Arc::new(Tcp), Arc::new(Metrics::new()), spawn)
}

fn follow(replication: &Replication, index: i32) {
    let new_id = || Uuid::from_u128(1 << 100);
    let files = Arc::new(MemoryFiles::new());
    let directories = Directories::open(files, &["/d".into()], 2, None, new_id).expect("memory");
    let settings = Arc::new(topic::Settings::kafka_defaults());
    let name = (&TOPIC.into(), TOPIC_ID);
    let opened = directories.open_partition(name, index, None, &settings, &Arc::new(Config::default()));
    let partition = opened.expect("memory");
    let assigned = Assigned {
        replicas: vec![1, 2],
        isr: vec![1],
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        leader: Some(LEADER),
        leader_recovery_state: RecoveryState::Recovered,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![Uuid::ZERO; 2],
        eligible_leader_replicas: Vec::new(),
        last_known_elr: Vec::new(),
    };
    let myself = Myself { broker_id: 2, broker_epoch: 20, replica_lag_time_max_ms: 30_000 };
    partition.assign(&assigned, myself, now_ms());
    replication.follow(&partition, LEADER, 0);
}

/// A leader that has none of the offsets that it is asked for and does not say which it has. Gives where it listens, and
/// the partitions of each request for the ends of logs.
fn silent_leader() -> (String, mpsc::Receiver<Vec<(String, i32)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (seen, asked) = mpsc::channel();
    // A connection that the follower gives up, because something changed meanwhile, is followed by another.
    thread::spawn(move || {
        for stream in listener.incoming() {
            converse(stream.expect("a follower"), &seen);
        }
    });
    (address, asked)
}

fn converse(mut stream: TcpStream, seen: &mpsc::Sender<Vec<(String, i32)>>) {
    while let Some(request) = read_frame(&mut stream) {
        let Some(answer) = answer(&request, seen) else { continue };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).ok()?;
    Some(frame)
}

fn answer(request: &[u8], seen: &mpsc::Sender<Vec<(String, i32)>>) -> Option<Vec<u8>> {
    let mut reader = Reader::new(request);
    let incoming = header::decode_request(&mut reader).expect("a request");
    let (api, version, id) = (incoming.api, incoming.version, incoming.correlation_id);
    let mut w = Writer::new();
    let written = match api {
        ApiKey::ApiVersions => {
            let keys = SERVED.iter().map(|(key, min_version, max_version)| ApiVersion {
                api_key: key.as_i16(),
                min_version: *min_version,
                max_version: *max_version,
            });
            let known = ApiVersionsResponse { api_keys: keys.collect(), ..Default::default() };
            match version {
                ..=3 => header::response_frame(&mut w, api, version, id, &known),
                _ => header::response_frame(&mut w, api, 0, id, &header::api_versions_fallback(0, 3)),
            }
        }
        ApiKey::Fetch => header::response_frame(&mut w, api, version, id, &out_of_range()),
        ApiKey::ListOffsets => {
            let request: ListOffsetsRequest<'_> = decode_start(reader.rest(), version).expect("a request");
            let of_topic = request.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|asked| (topic.name.to_string(), asked.partition_index))
            });
            // The test may be over.
            let _ = seen.send(of_topic.collect());
            return None;
        }
        other => panic!("{other} is not what followers ask for"),
    };
    written.expect("can be written");
    Some(w.into_bytes().expect("nothing is detached"))
}

fn out_of_range() -> FetchResponse<'static> {
    let partitions = [0, 1].map(|partition_index| PartitionData {
        partition_index,
        error_code: ErrorCode::OffsetOutOfRange.as_i16(),
        ..Default::default()
    });
    let topic =
        FetchableTopicResponse { topic_id: TOPIC_ID, partitions: partitions.into(), ..Default::default() };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

#[test]
fn replicas_that_are_astray_are_asked_for_together_and_the_stop_does_not_wait_for_the_answer() {
    let replication = replication(Box::new(fetcher::spawn));
    follow(&replication, 0);
    follow(&replication, 1);
    let (address, asked) = silent_leader();
    // Only now, so that both are in the first fetch.
    for fetcher in replication.followed.lock().fetchers.values() {
        fetcher.inbox.set_address(Some(address.as_str().into()));
    }
    let asked = asked.recv_timeout(PATIENCE).expect("the ends are asked for");
    assert_eq!(asked, [(TOPIC.to_owned(), 0), (TOPIC.to_owned(), 1)]);
    let began = Instant::now();
    tokio::runtime::Runtime::new().expect("a runtime").block_on(replication.stop());
    // The answer would be waited for half a minute. On a machine that stalls the stop may take its whole time.
    assert!(began.elapsed() < 3 * STOP_TIME_MAX, "{:?}", began.elapsed());
}

#[test]
fn a_thread_that_does_not_end_holds_the_stop_up_for_a_while_only() {
    let (end, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(Some(ended));
    let replication = replication(Box::new(move |_, _, _| {
        let ended = ended.lock().take().expect("one thread");
        Ok(thread::spawn(move || {
            // Until the test is over.
            let _ = ended.recv();
        }))
    }));
    follow(&replication, 0);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stopped = runtime.block_on(async { tokio::time::timeout(PATIENCE, replication.stop()).await });
    drop(end);
    assert!(stopped.is_ok(), "it waits on");
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_the_system_does_not_give_is_asked_for_again() {
    let failures = AtomicI64::new(3);
    let (starts, mut started) = tokio::sync::mpsc::unbounded_channel();
    let replication = replication(Box::new(move |_, _, inbox| {
        if failures.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        let wanted = inbox.take().partitions.len();
        let _ = starts.send(wanted);
        Ok(thread::spawn(|| {}))
    }));
    tokio::spawn(Arc::clone(&replication).start_again());
    let began = tokio::time::Instant::now();
    follow(&replication, 0);
    let wanted = tokio::time::timeout(PATIENCE, started.recv()).await.expect("it starts");
    assert_eq!(wanted, Some(1), "it finds what is to be followed");
    // After the pauses, each twice as long as the one before; the clock of the test counts in milliseconds.
    let (took, pauses) = (began.elapsed(), 7 * THREAD_PAUSE_MIN);
    assert!(took >= pauses && took < pauses + THREAD_PAUSE_MIN / 2, "{took:?}");
}
