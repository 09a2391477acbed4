//! Several members in one process, connected through memory, on memory files, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use milena_client::net::{Dial, Dialing, Stream};
use milena_log::Directory;
use milena_log::directory::Options;
use milena_log::files::Files;
use milena_log::memory_files::{Loss, MemoryFiles};
use milena_protocol::messages::api_versions_response::ApiVersionsResponse;
use milena_protocol::messages::{
    RaftAppendRequest, RaftSnapshotRequest, RaftTransferRequest, RaftVoteRequest,
};
use milena_protocol::types::Uuid;
use milena_protocol::{ApiKey, Reader, Writer, decode_start, frame, header};
use milena_state::metadata::record::FeatureLevel;
use milena_state::metadata::{self, Image, Record};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;

use super::log_store::{LOG_NAME, LogStore};
use super::network::Network;
use super::quorum::{Quorum, SnapshotPolicy};
use super::roles::Leader;
use super::snapshot::Snapshots;
use super::state_machine::StateMachine;
use super::types::{VoterAddress, VoterId};

/// In virtual time: far above what anything here takes.
pub const LONG: Duration = Duration::from_secs(60);
const CLUSTER_ID: &str = "test-cluster";
const FRAME_BYTES_MAX: usize = 8 << 20;

/// Who is reached under which address, and who is cut off.
#[derive(Debug)]
struct Fabric {
    members: Mutex<BTreeMap<String, Quorum>>,
    cut: watch::Sender<BTreeSet<String>>,
}

impl std::fmt::Debug for Quorum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Quorum({})", self.voter())
    }
}

/// The way out of one member.
#[derive(Debug)]
struct Exit {
    from: String,
    fabric: Arc<Fabric>,
}

impl Dial for Exit {
    fn dial<'a>(&'a self, address: &'a str) -> Dialing<'a> {
        Box::pin(async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let ends = [self.from.clone(), address.to_owned()];
            let mut cut = self.fabric.cut.subscribe();
            if ends.iter().any(|end| cut.borrow().contains(end)) {
                return Err(refused());
            }
            let quorum = self.fabric.members.lock().get(address).cloned().ok_or_else(refused)?;
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            tokio::spawn(async move {
                let is_cut = cut.wait_for(|cut| ends.iter().any(|end| cut.contains(end)));
                tokio::select! {
                    _ = is_cut => {}
                    _ = converse(theirs, quorum) => {}
                }
            });
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

async fn converse(mut stream: DuplexStream, quorum: Quorum) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        match frame::split(&mut buffer, FRAME_BYTES_MAX).map_err(io::Error::other)? {
            Some(frame) => stream.write_all(&answer(&frame, &quorum).await).await?,
            None if stream.read_buf(&mut buffer).await? == 0 => return Ok(()),
            None => {}
        }
    }
}

async fn answer(frame: &[u8], quorum: &Quorum) -> Vec<u8> {
    let mut reader = Reader::new(frame);
    let incoming = header::decode_request(&mut reader).expect("a header");
    let (api, version, id, body) = (incoming.api, incoming.version, incoming.correlation_id, reader.rest());
    let mut w = Writer::new();
    let written = match api {
        ApiKey::ApiVersions => {
            header::response_frame(&mut w, api, version, id, &ApiVersionsResponse::default())
        }
        ApiKey::RaftAppend => {
            let request: RaftAppendRequest<'_> = decode_start(body, version).expect("valid");
            header::response_frame(&mut w, api, version, id, &quorum.append(&request).await)
        }
        ApiKey::RaftVote => {
            let request: RaftVoteRequest<'_> = decode_start(body, version).expect("valid");
            header::response_frame(&mut w, api, version, id, &quorum.vote(&request).await)
        }
        ApiKey::RaftSnapshot => {
            let request: RaftSnapshotRequest<'_> = decode_start(body, version).expect("valid");
            header::response_frame(&mut w, api, version, id, &quorum.receive_snapshot(&request).await)
        }
        ApiKey::RaftTransfer => {
            let request: RaftTransferRequest<'_> = decode_start(body, version).expect("valid");
            header::response_frame(&mut w, api, version, id, &quorum.accept_transfer(&request).await)
        }
        other => panic!("{other} is not asked here"),
    };
    written.expect("encodes");
    w.into_bytes().expect("plain bytes")
}

/// The members that run, and the disks of all.
pub struct Cluster {
    fabric: Arc<Fabric>,
    disks: BTreeMap<VoterId, MemoryFiles>,
    pub running: BTreeMap<VoterId, Quorum>,
}

pub fn voter(id: i32) -> VoterId {
    VoterId { id, directory: Uuid::from_u128(1_000 + id.unsigned_abs() as u128) }
}

/// Where a member is reached; one with a new directory is reached where the old one was.
pub fn address(voter: VoterId) -> VoterAddress {
    VoterAddress { host: format!("controller-{}", voter.id), port: 9093 }
}

impl Cluster {
    pub fn new() -> Self {
        let fabric = Fabric { members: Mutex::default(), cut: watch::Sender::new(BTreeSet::new()) };
        Self { fabric: Arc::new(fabric), disks: BTreeMap::new(), running: BTreeMap::new() }
    }

    /// A new cluster of voters with these ids, founded by the first.
    pub async fn of(ids: impl IntoIterator<Item = i32>) -> Self {
        let voters: Vec<_> = ids.into_iter().map(voter).collect();
        let mut cluster = Self::new();
        for (index, member) in voters.iter().enumerate() {
            let members = voters.iter().map(|voter| (*voter, address(*voter))).collect();
            cluster.start_with(*member, (index == 0).then_some(members)).await;
        }
        cluster
    }

    /// Starts a member on its disk, which is empty the first time.
    pub async fn start(&mut self, voter: VoterId) -> Quorum {
        self.start_with(voter, None).await
    }

    /// As [`start`](Self::start), beginning a quorum of `founded`.
    pub async fn start_with(
        &mut self,
        voter: VoterId,
        founded: Option<BTreeMap<VoterId, VoterAddress>>,
    ) -> Quorum {
        let disk = self.disks.entry(voter).or_default().clone();
        let files: Arc<dyn Files> = Arc::new(disk);
        let options = Options { flusher_thread: false, ..Options::default() };
        let directory = Directory::open(Arc::clone(&files), "/data".as_ref(), options).expect("opens");
        let mut log = LogStore::open(Arc::clone(&files), &directory).expect("opens");
        if let Some(members) = founded {
            log.found(voter, members).expect("writes");
        }
        let machine = StateMachine::new(Snapshots::new(files, directory.path().join(LOG_NAME)));
        let exit = Exit { from: address(voter).to_string(), fabric: Arc::clone(&self.fabric) };
        let network = Network::new(voter, CLUSTER_ID.into(), Arc::new(exit));
        let policy = SnapshotPolicy { bytes: u64::MAX, interval: None };
        let quorum =
            Quorum::start(voter, address(voter), log, machine, policy, network).await.expect("starts");
        self.fabric.members.lock().insert(address(voter).to_string(), quorum.clone());
        self.running.insert(voter, quorum.clone());
        quorum
    }

    /// The process dies: nobody hears of it again, and its disk keeps what `loss` leaves.
    pub async fn kill(&mut self, voter: VoterId, loss: Loss) {
        self.fabric.members.lock().remove(&address(voter).to_string());
        self.cut(voter);
        let quorum = self.running.remove(&voter).expect("runs");
        let disk = self.disks[&voter].crash(loss);
        quorum.stop().await;
        self.disks.insert(voter, disk);
        self.heal(voter);
    }

    /// Nothing comes to or from this member any more; its connections break.
    pub fn cut(&self, voter: VoterId) {
        self.fabric.cut.send_modify(|cut| {
            cut.insert(address(voter).to_string());
        });
    }

    pub fn heal(&self, voter: VoterId) {
        self.fabric.cut.send_modify(|cut| {
            cut.remove(&address(voter).to_string());
        });
    }

    pub fn quorum(&self, voter: VoterId) -> &Quorum {
        &self.running[&voter]
    }

    /// Waits until one of `of` leads and may decide; gives it.
    pub async fn leader_among(&self, of: &[VoterId]) -> Quorum {
        let ready = of.iter().map(|voter| Box::pin(leading(self.quorum(*voter).clone())));
        let (quorum, ..) = within(futures_util::future::select_all(ready)).await;
        quorum
    }

    /// Commits one record under whoever leads by then.
    pub async fn commit(&self, level: i16) -> i64 {
        loop {
            let leader = self.leader().await;
            let Some(leadership) = leader.leadership() else { continue };
            // Refused by a leader that was deposed while it was asked.
            if let Ok(index) = within(leader.propose(leadership, records(level), 7)).await {
                return index;
            }
        }
    }

    pub async fn leader(&self) -> Quorum {
        let all: Vec<_> = self.running.keys().copied().collect();
        self.leader_among(&all).await
    }
}

/// Waits until this member leads and has applied what was committed before.
async fn leading(quorum: Quorum) -> Quorum {
    let (mut leader, mut state) = (quorum.leader_changes(), quorum.subscribe());
    while quorum.leadership().is_none() {
        tokio::select! {
            changed = leader.changed() => changed.expect("runs"),
            changed = state.changed() => changed.expect("runs"),
        }
    }
    quorum
}

/// One record that makes the image differ.
pub fn records(level: i16) -> Bytes {
    let record = Record::FeatureLevel(FeatureLevel { name: "test".to_owned(), level });
    Bytes::from(metadata::encode_batch(&[record]))
}

/// Commits one record that makes the image differ; gives the index of its entry.
pub async fn commit(leader: &Quorum, level: i16) -> i64 {
    let leadership = leader.leadership().expect("leads");
    within(leader.propose(leadership, records(level), 7)).await.expect("commits")
}

/// The image of a member once it has applied the entry at `index`.
pub async fn image_at(quorum: &Quorum, index: i64) -> Arc<Image> {
    let mut state = quorum.subscribe();
    let applied = within(state.wait_for(|state| state.image.applied().index >= index)).await;
    Arc::clone(&applied.expect("runs").image)
}

/// Waits until the member knows of a leader that `is_wanted`.
pub async fn knows_leader(quorum: &Quorum, is_wanted: impl Fn(&Leader) -> bool) -> Leader {
    let mut leader = quorum.leader_changes();
    let known = within(leader.wait_for(|known| known.as_ref().is_some_and(&is_wanted))).await;
    known.expect("runs").clone().expect("just seen")
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("happens in time")
}
