//! Connections of a running broker: pipelining, order, hostile bytes, deadlines, limits, shutdown.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use milena_broker::server::limits::Limits;
use milena_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, ProduceRequest, fetch_request,
};
use milena_protocol::{ApiKey, ErrorCode, Reader, Request, Writer, decode_exact, header};
use milena_state::quota::connections::Bounds;

use crate::harness::{PATIENCE, Running, create_topic, eventually, http, production, read_frame};

fn api_versions(version: i16, correlation_id: i32) -> Vec<u8> {
    let request =
        ApiVersionsRequest { client_software_name: "test".into(), client_software_version: "1.0".into() };
    frame(version, correlation_id, &request)
}

/// Correlation id and body of an answer to ApiVersions.
fn read_api_versions(stream: &mut TcpStream, version: i16) -> (i32, ApiVersionsResponse<'static>) {
    let frame: &'static [u8] = read_frame(stream).leak();
    let correlation_id = Reader::new(frame).i32().expect("a header");
    (correlation_id, decode_exact(&frame[4..], version).expect("a body"))
}

/// Whether the broker closes the connection within the deadline, and after how long.
fn closed_after(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return began.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return began.elapsed(),
            Err(error) => panic!("not closed: {error}"),
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let running = Running::start();
    let mut stream = running.connect();
    let requests: Vec<u8> = (0..100).flat_map(|id| api_versions((id % 5) as i16, id)).collect();
    stream.write_all(&requests).expect("it reads");
    for id in 0..100 {
        let (correlation_id, response) = read_api_versions(&mut stream, (id % 5) as i16);
        assert_eq!((correlation_id, response.error_code), (id, 0));
    }
}

#[test]
fn more_requests_than_may_be_in_flight_are_all_answered() {
    let running = Running::start();
    let mut stream = running.connect();
    let mut writer = stream.try_clone().expect("it can be cloned");
    let sender = std::thread::spawn(move || {
        for id in 0..5_000 {
            writer.write_all(&api_versions(3, id)).expect("it reads");
        }
    });
    for id in 0..5_000 {
        assert_eq!(read_api_versions(&mut stream, 3).0, id);
    }
    sender.join().expect("all were sent");
}

#[test]
fn waiting_fetch_is_answered_first_and_does_not_hold_the_next_request_up() {
    let running = Running::start();
    let mut stream = running.connect();
    create_topic(&mut stream, "quiet", 1);
    stream.write_all(&frame(11, 1, &waiting_fetch("quiet"))).expect("it reads");
    stream.write_all(&frame(9, 2, &production("quiet", 1_000, 1))).expect("it reads");
    stream.write_all(&api_versions(3, 3)).expect("it reads");
    let began = Instant::now();
    for id in 1..=3 {
        assert_eq!(Reader::new(&read_frame(&mut stream)).i32(), Ok(id));
    }
    assert!(began.elapsed() < PATIENCE, "the produce behind it ended the wait of the fetch");
}

#[test]
fn waiting_fetch_does_not_hold_a_stop_up() {
    let mut running = Running::start();
    let mut stream = running.connect();
    create_topic(&mut stream, "quiet", 1);
    stream.write_all(&frame(11, 1, &waiting_fetch("quiet"))).expect("it reads");
    stream.write_all(&api_versions(3, 2)).expect("it reads");
    eventually("both requests began", || {
        let mut other = running.connect();
        other.write_all(&api_versions(3, 1)).is_ok() && read_frame(&mut other).len() > 4
    });
    let began = Instant::now();
    running.broker.take().expect("it runs").stop();
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    closed_after(&mut stream);
}

/// A fetch that waits for a minute unless a record comes.
fn waiting_fetch(topic: &str) -> FetchRequest<'_> {
    let partition = fetch_request::FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let topic =
        fetch_request::FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    FetchRequest {
        max_wait_ms: 60_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

fn frame<R: Request>(version: i16, correlation_id: i32, request: &R) -> Vec<u8> {
    let mut w = Writer::new();
    header::request_frame(&mut w, R::API, version, correlation_id, Some("client"), request)
        .expect("it can be encoded");
    w.into_bytes().expect("nothing is detached")
}

#[test]
fn frame_may_arrive_byte_by_byte() {
    let running = Running::start();
    let mut stream = running.connect();
    for byte in api_versions(3, 7) {
        stream.write_all(&[byte]).expect("it reads");
    }
    assert_eq!(read_api_versions(&mut stream, 3).0, 7);
}

#[test]
fn requests_before_the_end_of_the_input_are_answered() {
    let running = Running::start();
    let mut stream = running.connect();
    stream.write_all(&api_versions(0, 1)).expect("it reads");
    stream.shutdown(Shutdown::Write).expect("it can be half closed");
    assert_eq!(read_api_versions(&mut stream, 0).0, 1);
    closed_after(&mut stream);
}

#[test]
fn unknown_version_of_api_versions_is_answered_in_version_0() {
    let running = Running::start();
    let mut stream = running.connect();
    let mut frame = api_versions(3, 9);
    frame[6..8].copy_from_slice(&77i16.to_be_bytes());
    stream.write_all(&frame).expect("it reads");
    let (correlation_id, response) = read_api_versions(&mut stream, 0);
    assert_eq!((correlation_id, response.error_code), (9, ErrorCode::UnsupportedVersion.as_i16()));
    assert_eq!(response.api_keys.len(), 1);
    assert_eq!(response.api_keys[0].api_key, ApiKey::ApiVersions.as_i16());
    stream.write_all(&api_versions(response.api_keys[0].max_version, 10)).expect("the connection goes on");
    assert_eq!(read_api_versions(&mut stream, response.api_keys[0].max_version).0, 10);
}

#[test]
fn bytes_that_are_no_request_close_their_connection_only() {
    let running = Running::start();
    let mut good = running.connect();
    let hostile: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0xff, 0xff, 0xff, 0xff],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0],
        &[0, 0, 0, 4, 0, 18, 0, 3],
        // A key that nobody knows, and a version of Fetch that does not exist.
        &[0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        &[0, 0, 0, 11, 0, 1, 0, 99, 0, 0, 0, 1, 0, 0, 0],
    ];
    for bytes in hostile {
        let mut stream = running.connect();
        stream.write_all(bytes).expect("it reads");
        assert!(closed_after(&mut stream) < PATIENCE, "{bytes:?}");
        good.write_all(&api_versions(3, 5)).expect("others go on");
        assert_eq!(read_api_versions(&mut good, 3).0, 5);
    }
    let metrics = running.metrics();
    for line in [
        "milena_request_failures_total{reason=\"malformed\"} 7",
        "milena_request_failures_total{reason=\"unsupported\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn truncated_body_closes_the_connection_after_earlier_answers() {
    let running = Running::start();
    let mut stream = running.connect();
    let mut wire = api_versions(3, 1);
    let mut cut = api_versions(3, 2);
    cut.truncate(cut.len() - 3);
    let length = cut.len() as u32 - 4;
    cut[..4].copy_from_slice(&length.to_be_bytes());
    wire.extend(cut);
    stream.write_all(&wire).expect("it reads");
    assert_eq!(read_api_versions(&mut stream, 3).0, 1);
    closed_after(&mut stream);
}

#[test]
fn unfinished_frame_is_closed_even_when_a_byte_comes_now_and_then() {
    let limits = Limits { partial_frame_time_max: Duration::from_millis(300), ..Limits::default() };
    let running = Running::with(limits);
    let mut stream = running.connect();
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
    // Each wait for an answer that cannot come yet is the pause before the next byte. The frame has far more bytes
    // than there are pauses until `PATIENCE`.
    let slow = [&100_000_i32.to_be_bytes()[..], &[0; 10_000]].concat();
    let mut bytes = slow.iter();
    let began = Instant::now();
    let closed = loop {
        assert!(began.elapsed() < PATIENCE, "a slow sender holds its connection");
        let sent = stream.write_all(&[*bytes.next().expect("there are enough")]);
        match stream.read(&mut [0]) {
            Ok(read) => break read == 0,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                sent.expect("it is open");
            }
            Err(error) => break error.kind() == ErrorKind::ConnectionReset,
        }
    };
    assert!(closed);
    assert!(running.metrics().contains("milena_limit_reached_total{limit=\"unfinished_frame\"} 1"));
}

#[test]
fn idle_connection_is_closed_and_a_used_one_is_not() {
    let limits = Limits { idle_time_max: Some(Duration::from_millis(400)), ..Limits::default() };
    let running = Running::with(limits);
    let mut idle = running.connect();
    let mut used = running.connect();
    idle.set_nonblocking(true).expect("it can be non-blocking");
    let began = Instant::now();
    loop {
        used.write_all(&api_versions(3, 1)).expect("it is open");
        assert_eq!(read_api_versions(&mut used, 3).0, 1);
        match idle.read(&mut [0]) {
            Ok(read) => break assert_eq!(read, 0, "the end of the stream, not an answer"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(began.elapsed() < PATIENCE, "an idle connection stays open");
    }
    used.write_all(&api_versions(3, 2)).expect("it is open");
    assert_eq!(read_api_versions(&mut used, 3).0, 2);
}

/// With acks=0 nothing is answered, so that a closed connection is the only way to tell the producer.
#[test]
fn refused_produce_without_an_answer_closes_the_connection() {
    let running = Running::start();
    let mut stream = running.connect();
    let request = ProduceRequest { acks: 0, ..production("no-such-topic", 1_000, 1) };
    stream.write_all(&frame(9, 1, &request)).expect("it reads");
    stream.write_all(&api_versions(3, 2)).expect("it reads");
    closed_after(&mut stream);
}

#[test]
fn client_that_reads_nothing_is_closed() {
    let limits = Limits { write_stall_time_max: Duration::from_millis(400), ..Limits::default() };
    let running = Running::with(limits);
    let mut stream = running.connect();
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let requests: Vec<u8> = (0..1_000).flat_map(|id| api_versions(3, id)).collect();
    let began = Instant::now();
    // Answers are never read: the sockets fill up, the broker stops reading, then it hangs up.
    while stream.write_all(&requests).is_ok() {
        assert!(began.elapsed() < PATIENCE, "the broker keeps a client that reads nothing");
    }
    eventually("the refusal is counted", || {
        running.metrics().contains("milena_limit_reached_total{limit=\"blocked_write\"} 1")
    });
}

fn bounded(connections: Bounds) -> Limits {
    Limits { connections, ..Limits::default() }
}

#[test]
fn connections_above_the_limit_of_an_address_are_closed() {
    let running = Running::with(bounded(Bounds { per_ip_max: 2, ..Bounds::default() }));
    let mut first = running.connect();
    let mut second = running.connect();
    for stream in [&mut first, &mut second] {
        stream.write_all(&api_versions(3, 1)).expect("it reads");
        assert_eq!(read_api_versions(stream, 3).0, 1);
    }
    closed_after(&mut running.connect());
    drop(first);
    eventually("the place is free again", || {
        let mut stream = running.connect();
        stream.write_all(&api_versions(3, 2)).is_ok() && stream.read(&mut [0; 4]).is_ok_and(|count| count > 0)
    });
}

#[test]
fn connections_above_the_limit_of_the_broker_wait() {
    let running = Running::with(bounded(Bounds { total_max: 1, ..Bounds::default() }));
    let mut first = running.connect();
    first.write_all(&api_versions(3, 1)).expect("it reads");
    assert_eq!(read_api_versions(&mut first, 3).0, 1);
    let mut second = running.connect();
    second.write_all(&api_versions(3, 2)).expect("the kernel takes it");
    second.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
    assert!(second.read(&mut [0; 1]).is_err(), "the second is not served yet");
    drop(first);
    second.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    assert_eq!(read_api_versions(&mut second, 3).0, 2);
}

#[test]
fn request_above_the_memory_budget_waits_and_is_served() {
    let running = Running::with(Limits { in_flight_bytes_max: Some(1), ..Limits::default() });
    let mut stream = running.connect();
    let requests: Vec<u8> = (0..50).flat_map(|id| api_versions(3, id)).collect();
    stream.write_all(&requests).expect("it reads");
    for id in 0..50 {
        assert_eq!(read_api_versions(&mut stream, 3).0, id);
    }
}

#[test]
fn frame_above_the_size_limit_closes_the_connection() {
    let running = Running::with(Limits { request_bytes_max: 1_000, ..Limits::default() });
    let mut stream = running.connect();
    stream.write_all(&1_001u32.to_be_bytes()).expect("it reads");
    closed_after(&mut stream);
}

#[test]
fn stop_closes_idle_connections_and_the_ports() {
    let mut running = Running::start();
    let mut idle = running.connect();
    idle.write_all(&api_versions(3, 1)).expect("it reads");
    assert_eq!(read_api_versions(&mut idle, 3).0, 1);
    let address = running.broker().address();
    let began = Instant::now();
    running.broker.take().expect("it runs").stop();
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert_eq!(idle.read(&mut [0; 1]).expect("the end of the stream"), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn admin_port_tells_health_and_metrics() {
    let running = Running::start();
    let mut stream = running.connect();
    stream.write_all(&api_versions(3, 1)).expect("it reads");
    read_frame(&mut stream);
    let address = running.broker().http_address().expect("HTTP is on");
    assert_eq!(http(address, "/healthz"), (200, "ok\n".to_owned()));
    eventually("the broker is ready", || http(address, "/readyz").0 == 200);
    assert_eq!(http(address, "/nothing").0, 404);
    let metrics = running.metrics();
    for line in [
        "milena_request_duration_seconds_count{api=\"ApiVersions\",version=\"3\"} 1",
        "milena_connections 1",
        "milena_connections_accepted_total 1",
        "# TYPE milena_request_duration_seconds histogram",
        "# TYPE process_resident_memory_bytes gauge",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}
