//! A broker and a controller that answers the requests of each connection one after the other.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use milena_client::net::{Dial, Dialing, Stream};
use milena_protocol::messages::DescribeControllerResponse;
use milena_protocol::messages::alter_partition_response::AlterPartitionResponse;
use milena_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use milena_protocol::{ApiKey, Reader, Writer, frame, header};
use milena_state::metadata::Reply;
use milena_state::metadata::partitions::AlterPartition;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;

const FRAME_BYTES_MAX: usize = 1 << 20;
/// In virtual time: far above what anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Never gets done with an Envelope.
#[derive(Debug, Default)]
struct Slow {
    dialed: AtomicUsize,
}

impl Dial for Slow {
    fn dial<'a>(&'a self, _address: &'a str) -> Dialing<'a> {
        Box::pin(async move {
            self.dialed.fetch_add(1, Ordering::Relaxed);
            let (ours, theirs) = tokio::io::duplex(FRAME_BYTES_MAX);
            tokio::spawn(converse(theirs));
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

async fn converse(mut stream: DuplexStream) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        match frame::split(&mut buffer, FRAME_BYTES_MAX).map_err(io::Error::other)? {
            Some(frame) => stream.write_all(&answer(&frame).await).await?,
            None if stream.read_buf(&mut buffer).await? == 0 => return Ok(()),
            None => {}
        }
    }
}

async fn answer(frame: &[u8]) -> Vec<u8> {
    let incoming = header::decode_request(&mut Reader::new(frame)).expect("a header");
    let (api, version, id) = (incoming.api, incoming.version, incoming.correlation_id);
    let mut w = Writer::new();
    let written = match api {
        ApiKey::ApiVersions => {
            let served = |(api, max_version): (ApiKey, i16)| ApiVersion {
                api_key: api.as_i16(),
                max_version,
                ..Default::default()
            };
            let known = [(ApiKey::Envelope, 0), (ApiKey::AlterPartition, 3), (ApiKey::DescribeController, 0)];
            let api_keys = known.map(served).into();
            let versions = ApiVersionsResponse { api_keys, ..Default::default() };
            header::response_frame(&mut w, api, version, id, &versions)
        }
        ApiKey::AlterPartition => {
            header::response_frame(&mut w, api, version, id, &AlterPartitionResponse::default())
        }
        ApiKey::DescribeController => {
            let described =
                DescribeControllerResponse { cluster_id: Some("cluster".into()), ..Default::default() };
            header::response_frame(&mut w, api, version, id, &described)
        }
        ApiKey::Envelope => std::future::pending().await,
        other => panic!("{other} is not asked here"),
    };
    written.expect("encodes");
    w.into_bytes().expect("plain bytes")
}

fn remote(dialer: Arc<Slow>) -> Arc<Remote> {
    remote_of("cluster", dialer)
}

fn remote_of(cluster_id: &str, dialer: Arc<Slow>) -> Arc<Remote> {
    let leader = ActiveController { id: 1, address: "controller-1:9093".to_owned() };
    // What is told last stays to be read when nobody tells any more.
    let (_told, leads) = watch::channel(Some(leader));
    Remote::new(cluster_id.into(), leads, dialer)
}

fn alter_partition() -> Command {
    Command::AlterPartition(AlterPartition { broker_id: 2, broker_epoch: 7, partitions: Vec::new() })
}

#[tokio::test(start_paused = true)]
async fn a_change_of_in_sync_replicas_does_not_wait_for_the_requests_of_clients() {
    let remote = remote(Arc::default());
    let (command, deadline) = (alter_partition(), Instant::now() + LONG);
    let of_a_client = Bytes::from_static(b"a request");
    let host = IpAddr::from([10, 0, 0, 7]);
    let mut passed_on = Box::pin(remote.pass_on(&of_a_client, host, deadline));
    tokio::select! {
        biased;
        outcome = &mut passed_on => panic!("{outcome:?}"),
        committed = remote.submit(&command, deadline) => {
            assert_eq!(committed.expect("answered").reply, Reply::AlterPartition(Ok(Vec::new())));
        }
    }
    assert!(Instant::now() < deadline);
    assert!(matches!(passed_on.await, Err(Refused::ForNow)), "it took too long");
}

#[tokio::test(start_paused = true)]
async fn all_who_want_a_connection_share_one_attempt() {
    let dialer = Arc::new(Slow::default());
    let remote = remote(Arc::clone(&dialer));
    let (command, deadline) = (alter_partition(), Instant::now() + LONG);
    let asked = (0..10).map(|_| remote.submit(&command, deadline));
    let answered = futures_util::future::join_all(asked).await;
    assert!(answered.iter().all(Result::is_ok), "{answered:?}");
    assert_eq!(dialer.dialed.load(Ordering::Relaxed), 1);
    // Whoever comes later finds it open, until it is closed.
    remote.submit(&command, deadline).await.expect("answered");
    assert_eq!(dialer.dialed.load(Ordering::Relaxed), 1);
    remote.close();
    remote.submit(&command, deadline).await.expect("answered");
    assert_eq!(dialer.dialed.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_controller_of_another_cluster_at_the_same_address_is_asked_for_nothing() {
    let remote = remote_of("another", Arc::default());
    let refused = remote.submit(&alter_partition(), Instant::now() + LONG).await;
    assert!(matches!(refused, Err(Refused::ForNow)), "{refused:?}");
}
