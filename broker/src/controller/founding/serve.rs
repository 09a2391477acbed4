//! What a controller that belongs to no cluster answers on its listeners: who it is, and a founder.
//!
//! Few requests of few peers, so one task per connection on the background runtime will do. Everything has a bound: this
//! port may be reached by anybody.

use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use milena_log::{Claim, Identity};
use milena_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use milena_protocol::messages::begin_cluster_request::BeginClusterRequest;
use milena_protocol::messages::begin_cluster_response::BeginClusterResponse;
use milena_protocol::messages::describe_controller_response::DescribeControllerResponse;
use milena_protocol::{ApiKey, ErrorCode, Reader, Writer, decode_start, frame, header};
use milena_state::founding::{self, Own, Refusal, Seen};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::controller::raft::state_machine::blocking;
use crate::controller::raft::types::VoterAddress;

/// Connections that are answered at a time.
const CONNECTIONS_MAX: usize = 64;
/// The founding names a few voters.
const FRAME_BYTES_MAX: usize = 64 << 10;
/// A connection that says nothing for so long is closed.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// Pause when the system has no descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What is answered, and in which versions.
const SERVED: [(ApiKey, i16, i16); 3] =
    [(ApiKey::ApiVersions, 0, 4), (ApiKey::DescribeController, 0, 0), (ApiKey::BeginCluster, 0, 0)];

/// What this node answers from.
pub struct Desk {
    own: Mutex<Own>,
    named: Mutex<BTreeSet<i32>>,
    address: VoterAddress,
    /// Where a controller writes its cluster down; none in a broker, and none any more after the end.
    directory: tokio::sync::Mutex<Option<Arc<Claim>>>,
    path: PathBuf,
    /// The cluster that a founder had us begin, once it knows that we did.
    begun: watch::Sender<Option<String>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Desk {
    pub fn open(
        own: Own,
        named: BTreeSet<i32>,
        address: VoterAddress,
        directory: Option<Arc<Claim>>,
    ) -> Arc<Self> {
        let path = directory.as_ref().map(|directory| directory.path().to_path_buf()).unwrap_or_default();
        Arc::new(Self {
            own: Mutex::new(own),
            named: Mutex::new(named),
            address,
            directory: tokio::sync::Mutex::new(directory),
            path,
            begun: watch::Sender::new(None),
            tasks: Mutex::default(),
        })
    }

    pub fn begun(&self) -> watch::Receiver<Option<String>> {
        self.begun.subscribe()
    }

    /// All controllers have been found.
    pub fn found_all(&self, named: BTreeSet<i32>) {
        *self.named.lock() = named;
    }

    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// What this controller says of itself.
    pub fn seen(&self) -> Seen {
        let own = self.own.lock();
        Seen {
            node_id: own.node_id,
            directory_id: own.directory_id,
            cluster_id: own.cluster_id.clone(),
            has_membership: false,
            named: self.named.lock().clone(),
        }
    }

    /// Writes the cluster into the directory, durably. A broker does so when it opens its directories.
    pub async fn belong_to(&self, cluster_id: &str) -> io::Result<()> {
        let (node_id, directory_id, is_controller) = {
            let own = self.own.lock();
            (own.node_id, own.directory_id, own.is_controller)
        };
        let directory = self.directory.lock().await;
        if is_controller {
            let identity = Identity { cluster_id: cluster_id.to_owned(), node_id, directory_id };
            let directory = directory.clone().ok_or_else(|| io::Error::other("the search has ended"))?;
            blocking(move || match directory.identity() {
                Some(known) if known == identity => Ok(()),
                _ => directory.initialise(&identity).map_err(io::Error::other),
            })
            .await?;
        }
        self.own.lock().cluster_id = Some(cluster_id.to_owned());
        Ok(())
    }

    /// Ends all connections.
    pub fn hang_up(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }

    /// Ends all connections and gives the directory back: it can be opened by others when this returns.
    pub async fn close(&self) {
        self.hang_up();
        // Whoever was writing has done so when the lock is ours.
        drop(self.directory.lock().await.take());
    }

    fn describe(&self) -> DescribeControllerResponse<'static> {
        let seen = self.seen();
        DescribeControllerResponse {
            node_id: seen.node_id,
            directory_id: seen.directory_id,
            host: self.address.host.clone().into(),
            port: self.address.port,
            cluster_id: seen.cluster_id.map(Into::into),
            has_membership: false,
            named: seen.named.into_iter().collect(),
            ..Default::default()
        }
    }

    async fn begin(&self, request: &BeginClusterRequest<'_>) -> BeginClusterResponse<'static> {
        let voters: Vec<_> =
            request.voters.iter().map(|voter| (voter.voter_id, voter.voter_directory_id)).collect();
        let accepted = {
            let (own, named) = (self.own.lock(), self.named.lock());
            founding::accept(&own, &named, &request.cluster_id, request.founder_id, &voters)
        };
        let refused = |code: ErrorCode, message: String| {
            tracing::warn!(founder = request.founder_id, reason = message, "cluster is not begun");
            BeginClusterResponse { error_code: code.into(), error_message: Some(message.into()) }
        };
        if let Err(refusal) = accepted {
            return refused(code_of(&refusal), refusal.to_string());
        }
        match self.belong_to(&request.cluster_id).await {
            Ok(()) => BeginClusterResponse::default(),
            Err(error) => refused(ErrorCode::KafkaStorageError, error.to_string()),
        }
    }
}

pub(in crate::controller) fn code_of(refusal: &Refusal) -> ErrorCode {
    match refusal {
        Refusal::OtherDirectory { .. } => ErrorCode::InvalidVoterKey,
        Refusal::OtherCluster { .. } | Refusal::OtherWish { .. } | Refusal::TwoClusters { .. } => {
            ErrorCode::InconsistentClusterId
        }
        Refusal::SameId { .. } | Refusal::OtherControllers { .. } | Refusal::NotTheFounder { .. } => {
            ErrorCode::InconsistentVoterSet
        }
    }
}

/// Answers on a copy of the listener until the desk closes.
pub fn spawn(listener: &TcpListener, desk: &Arc<Desk>) -> io::Result<()> {
    let listener = listener.try_clone()?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let answering = Arc::clone(desk);
    let task = tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // Ends with the task, and all connections with it.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let desk = Arc::clone(&answering);
                    connections.spawn(async move {
                        // A connection that breaks is the other side's concern.
                        let _ = converse(stream, &desk).await;
                        drop(permit);
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    });
    desk.tasks.lock().push(task);
    Ok(())
}

async fn converse(mut stream: TcpStream, desk: &Desk) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    loop {
        let frame = match frame::split(&mut buffer, FRAME_BYTES_MAX).map_err(io::Error::other)? {
            Some(frame) => frame,
            None => {
                let read = tokio::time::timeout(IDLE_TIME_MAX, stream.read_buf(&mut buffer)).await;
                match read.map_err(io::Error::other)?? {
                    0 => return Ok(()),
                    _ => continue,
                }
            }
        };
        let (answer, begun) = answer(&frame, desk).await?;
        stream.write_all(&answer).await?;
        if let Some(cluster_id) = begun {
            // Now that the founder hears of it.
            desk.begun.send_replace(Some(cluster_id));
        }
    }
}

/// The answer to one request, and the cluster that it began.
async fn answer(frame: &[u8], desk: &Desk) -> io::Result<(Vec<u8>, Option<String>)> {
    let mut reader = Reader::new(frame);
    let incoming = header::decode_request(&mut reader).map_err(io::Error::other)?;
    let (api, version, id) = (incoming.api, incoming.version, incoming.correlation_id);
    let served = SERVED.iter().find(|(key, ..)| *key == api);
    let Some((_, first, last)) = served else {
        return Err(io::Error::other(format!("{api} is not answered before there is a cluster")));
    };
    let mut w = Writer::new();
    let mut begun = None;
    let written = match api {
        ApiKey::ApiVersions if !(*first..=*last).contains(&version) => {
            header::response_frame(&mut w, api, 0, id, &header::api_versions_fallback(*first, *last))
        }
        ApiKey::ApiVersions => header::response_frame(&mut w, api, version, id, &api_versions()),
        ApiKey::DescribeController => header::response_frame(&mut w, api, version, id, &desk.describe()),
        _ => {
            let request: BeginClusterRequest<'_> =
                decode_start(reader.rest(), version).map_err(io::Error::other)?;
            let response = desk.begin(&request).await;
            if response.error_code == ErrorCode::None.as_i16() {
                begun = Some(request.cluster_id.into_owned());
            }
            header::response_frame(&mut w, api, version, id, &response)
        }
    };
    written.map_err(io::Error::other)?;
    Ok((w.into_bytes().map_err(io::Error::other)?, begun))
}

fn api_versions() -> ApiVersionsResponse<'static> {
    let keys = SERVED.iter().map(|(key, first, last)| ApiVersion {
        api_key: key.as_i16(),
        min_version: *first,
        max_version: *last,
    });
    ApiVersionsResponse { api_keys: keys.collect(), ..Default::default() }
}
