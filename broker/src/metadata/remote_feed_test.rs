//! Which controller a broker follows when some of them do not know what is committed.

use std::collections::BTreeMap;

use bytes::BytesMut;
use milena_client::net::{Dial, Dialing, Stream};
use milena_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use milena_protocol::messages::fetch_metadata_response::Entry;
use milena_protocol::{ApiKey, Reader, Writer, frame, header};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;

const FRAME_BYTES_MAX: usize = 1 << 20;

/// Controllers by their addresses: what they answer. Those that are current have the entry after the one that is named.
#[derive(Debug, Default)]
struct Controllers {
    answers: Mutex<BTreeMap<String, ErrorCode>>,
    asked: Mutex<Vec<String>>,
}

/// Connects to them.
#[derive(Debug)]
struct Exit(Arc<Controllers>);

impl Dial for Exit {
    fn dial<'a>(&'a self, address: &'a str) -> Dialing<'a> {
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(FRAME_BYTES_MAX);
            tokio::spawn(converse(theirs, address.to_owned(), Arc::clone(&self.0)));
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

async fn converse(mut stream: DuplexStream, address: String, all: Arc<Controllers>) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        match frame::split(&mut buffer, FRAME_BYTES_MAX).map_err(io::Error::other)? {
            Some(frame) => stream.write_all(&all.answer(&address, &frame)).await?,
            None if stream.read_buf(&mut buffer).await? == 0 => return Ok(()),
            None => {}
        }
    }
}

impl Controllers {
    fn set(&self, address: &str, answer: ErrorCode) {
        self.answers.lock().insert(address.to_owned(), answer);
    }

    fn answer(&self, address: &str, frame: &[u8]) -> Vec<u8> {
        let incoming = header::decode_request(&mut Reader::new(frame)).expect("a header");
        let (api, version, id) = (incoming.api, incoming.version, incoming.correlation_id);
        let mut w = Writer::new();
        if api == ApiKey::ApiVersions {
            let served = ApiVersion { api_key: ApiKey::FetchMetadata.as_i16(), ..Default::default() };
            let versions = ApiVersionsResponse { api_keys: vec![served], ..Default::default() };
            header::response_frame(&mut w, api, version, id, &versions).expect("encodes");
        } else {
            assert_eq!(api, ApiKey::FetchMetadata);
            self.asked.lock().push(address.to_owned());
            let code = self.answers.lock()[address];
            let entry = Entry { index: 6, term: 2, ..Default::default() };
            let response = FetchMetadataResponse {
                error_code: code.into(),
                entries: if code == ErrorCode::None { vec![entry] } else { Vec::new() },
                leader_id: 9,
                leader_host: "leader".into(),
                leader_port: 9,
                snapshot_index: -1,
                ..Default::default()
            };
            header::response_frame(&mut w, api, version, id, &response).expect("encodes");
        }
        w.into_bytes().expect("plain bytes")
    }

    fn feed(self: &Arc<Self>) -> (Feed, watch::Receiver<Option<ActiveController>>) {
        let address = |host: &str| Address { host: host.to_owned(), port: 1 };
        let named = ["a", "b", "c"].map(address);
        let (told, leader) = watch::channel(None);
        let dialer: Dialer = Arc::new(Exit(Arc::clone(self)));
        let feed = Feed::new((Arc::from("cluster"), 0), &named, dialer, told, Arc::new(Metrics::new()));
        (feed, leader)
    }
}

const STANDS_AT: Applied = Applied { index: 5, term: 2 };

async fn next(feed: &mut Feed) -> Result<Update, Failure> {
    tokio::time::timeout(Duration::from_secs(600), feed.next(STANDS_AT)).await.expect("in virtual time")
}

#[tokio::test(start_paused = true)]
async fn a_broker_leaves_a_controller_that_does_not_know_what_is_committed() {
    let all = Arc::new(Controllers::default());
    all.set("a:1", ErrorCode::None);
    all.set("b:1", ErrorCode::NotController);
    all.set("c:1", ErrorCode::None);
    let (mut feed, leader) = all.feed();
    assert!(feed.metrics.metadata_confirmed_ago().is_none());
    assert!(matches!(next(&mut feed).await, Ok(Update::Entries(entries)) if entries.len() == 1));
    assert_eq!(leader.borrow().as_ref().map(|leader| leader.id), Some(9));
    // The one that it follows is cut off from the others.
    all.set("a:1", ErrorCode::NotController);
    assert!(matches!(next(&mut feed).await, Ok(Update::Entries(entries)) if entries.len() == 1));
    assert!(matches!(next(&mut feed).await, Ok(Update::Entries(entries)) if entries.len() == 1));
    assert_eq!(*all.asked.lock(), ["a:1", "a:1", "b:1", "c:1", "c:1"]);
    assert!(feed.metrics.metadata_confirmed_ago().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_no_controller_tells_anything_asks_on_with_pauses() {
    let all = Arc::new(Controllers::default());
    ["a:1", "b:1", "c:1"].iter().for_each(|address| all.set(address, ErrorCode::NotController));
    let (mut feed, _leader) = all.feed();
    let minute = Duration::from_secs(60);
    assert!(tokio::time::timeout(minute, feed.next(STANDS_AT)).await.is_err());
    let asked = all.asked.lock().len();
    assert!((60..=300).contains(&asked), "{asked} times in a minute");
    all.set("b:1", ErrorCode::None);
    assert!(next(&mut feed).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_leads_another_cluster_is_nobody_to_this_broker() {
    let all = Arc::new(Controllers::default());
    all.set("a:1", ErrorCode::None);
    let (mut feed, leader) = all.feed();
    assert!(next(&mut feed).await.is_ok());
    assert!(leader.borrow().is_some());
    all.set("a:1", ErrorCode::InconsistentClusterId);
    assert!(matches!(next(&mut feed).await, Err(Failure::Other(_))));
    assert_eq!(*leader.borrow(), None);
}
