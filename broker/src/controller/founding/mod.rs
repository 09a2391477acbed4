//! How a node that belongs to no cluster finds the one that it shall belong to, or founds it.
//!
//! [`identify`] runs once, between binding the listeners and opening the directories. A controller answers the others
//! meanwhile ([`serve`]) and asks them ([`ask`]); what follows from the answers is `milena_state::founding`. A node that
//! already belongs to a cluster asks nobody.

mod ask;
mod serve;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use milena_client::net::Dialer;
use milena_log::files::Files;
use milena_log::{Claim, Identity};
use milena_protocol::types::Uuid;
use milena_state::config::quorum::Settings;
use milena_state::founding::{self, Own, Reason, Refusal, Seen, Step};
use tokio::time::Instant;

use self::ask::{Asked, BeginError};
use self::serve::Desk;
use super::raft::log_store::LOG_NAME;
use super::raft::state_machine::blocking;
use super::raft::types::{VoterAddress, VoterId};
use crate::starting::Starting;

/// Pause before the controllers are asked again; it grows to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Waiting for others is told after this, and again every [`TELL_INTERVAL`].
const TELL_AFTER: Duration = Duration::from_secs(3);
const TELL_INTERVAL: Duration = Duration::from_secs(30);

/// The controllers that the settings name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// Nobody but this node.
    Alone,
    /// `controller.quorum.voters`: the ids are known.
    Voters(Vec<(i32, VoterAddress)>),
    /// `controller.quorum.bootstrap.servers`.
    Servers(Vec<VoterAddress>),
}

impl Named {
    /// The controllers of `controller.quorum.voters`, or else those of `controller.quorum.bootstrap.servers`.
    pub fn of(settings: &Settings) -> Self {
        if settings.is_alone {
            Self::Alone
        } else if settings.voters.is_empty() {
            Self::Servers(settings.bootstrap.clone())
        } else {
            Self::Voters(settings.voters.iter().map(|voter| (voter.id, voter.address.clone())).collect())
        }
    }
}

/// What a node brings when it looks for its cluster.
pub struct Request {
    pub node_id: i32,
    pub is_controller: bool,
    /// The property `cluster.id`.
    pub cluster_id: Option<String>,
    pub named: Named,
    /// Where other controllers reach this one.
    pub address: VoterAddress,
    pub files: Arc<dyn Files>,
    /// `metadata.log.dir`.
    pub metadata_directory: PathBuf,
    /// All directories of the node.
    pub directories: Vec<PathBuf>,
    /// Copies of the controller listeners; they are answered until the cluster is found.
    pub listeners: Vec<TcpListener>,
    pub dialer: Dialer,
    /// Is told what the search waits for.
    pub starting: Starting,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The cluster; `None` for a node alone that has none yet and draws an id of its own.
    pub cluster_id: Option<String>,
    /// The voters of the new cluster, where this node founds it: its metadata log has to begin with them.
    pub voters: Option<BTreeMap<VoterId, VoterAddress>>,
}

/// Why a node has no cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("controller {address} has id {found}, not {expected} as controller.quorum.voters says")]
    OtherId { address: VoterAddress, found: i32, expected: i32 },
    #[error("controller {address} does not accept this one as founder of the cluster: {message}")]
    NotAccepted { address: VoterAddress, message: String },
    #[error("directory {} cannot be used: {message}", path.display())]
    Directory { path: PathBuf, message: String },
    #[error("controller listener cannot be answered: {0}")]
    Listen(io::Error),
}

/// Finds or founds the cluster. Waits for the others without end, and says what it waits for. The directory of a controller
/// has its identity when this returns, and nobody has it locked.
pub async fn identify(request: Request) -> Result<Found, Error> {
    if request.named == Named::Alone {
        return Ok(Found { cluster_id: None, voters: None });
    }
    let (files, paths, metadata) =
        (Arc::clone(&request.files), request.directories.clone(), request.metadata_directory.clone());
    let peeked = blocking(move || peek(&*files, &paths, &metadata).map_err(io::Error::other)).await;
    let (cluster_id, has_log) = peeked.map_err(|error| unusable(&request.metadata_directory, &error))?;
    if cluster_id.is_some() && (has_log || !request.is_controller) {
        return Ok(Found { cluster_id, voters: None });
    }
    Founding::begin(request, cluster_id).await?.run().await
}

/// The cluster of the directories, and whether the metadata log has anything in it.
fn peek(
    files: &dyn Files,
    directories: &[PathBuf],
    metadata: &Path,
) -> Result<(Option<String>, bool), milena_log::Error> {
    let mut cluster_id = None;
    for path in directories.iter().map(PathBuf::as_path).chain([metadata]) {
        // One that cannot be read is told when it is opened; another may know the cluster.
        cluster_id = cluster_id.or(Identity::at(files, path).ok().flatten().map(|found| found.cluster_id));
    }
    let own = Identity::at(files, metadata)?;
    let log = metadata.join(LOG_NAME);
    let has_entries = |entry: &milena_log::files::Entry| {
        entry.name.ends_with(".checkpoint")
            || (entry.name.ends_with(".log")
                && files.metadata(&log.join(&entry.name)).is_ok_and(|file| file.size > 0))
    };
    let has_log = own.is_some() && files.list(&log).is_ok_and(|entries| entries.iter().any(has_entries));
    Ok((cluster_id, has_log))
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Directory { path: path.to_path_buf(), message: error.to_string() }
}

/// A node that looks for its cluster.
struct Founding {
    own: Own,
    address: VoterAddress,
    asked: Vec<Asked>,
    desk: Arc<Desk>,
    /// Ids that the settings say; empty where they name addresses only.
    configured: BTreeSet<i32>,
    starting: Starting,
    waiting_since: Instant,
    told: Option<Instant>,
}

impl Founding {
    async fn begin(request: Request, cluster_id: Option<String>) -> Result<Self, Error> {
        let (directory, directory_id) = claim(&request).await?;
        let own = Own {
            node_id: request.node_id,
            is_controller: request.is_controller,
            directory_id,
            cluster_id,
            wished: request.cluster_id.clone(),
        };
        let configured: BTreeSet<i32> = match &request.named {
            Named::Voters(voters) => voters.iter().map(|(id, _)| *id).collect(),
            Named::Servers(_) | Named::Alone => BTreeSet::new(),
        };
        let asked = Asked::all(&request);
        let desk = Desk::open(own.clone(), configured.clone(), request.address.clone(), directory);
        for listener in &request.listeners {
            serve::spawn(listener, &desk).map_err(Error::Listen)?;
        }
        let waiting_since = Instant::now();
        let (address, starting) = (request.address, request.starting);
        Ok(Self { own, address, asked, desk, configured, starting, waiting_since, told: None })
    }

    async fn run(mut self) -> Result<Found, Error> {
        let found = self.search().await;
        self.desk.close().await;
        found
    }

    async fn search(&mut self) -> Result<Found, Error> {
        let mut begun = self.desk.begun();
        let mut pause = PAUSE_MIN;
        loop {
            // Whoever founds the cluster meanwhile ends the search.
            tokio::select! {
                biased;
                Ok(cluster_id) = begun.wait_for(Option::is_some) => {
                    return Ok(Found { cluster_id: cluster_id.clone(), voters: None });
                }
                found = self.turn() => {
                    if let Some(found) = found? {
                        return Ok(found);
                    }
                }
            }
            let _ = tokio::time::timeout(pause, begun.wait_for(Option::is_some)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks all controllers once and does what follows.
    async fn turn(&mut self) -> Result<Option<Found>, Error> {
        let said = self.ask_all().await?;
        if self.configured.is_empty() && said.iter().all(Option::is_some) {
            self.desk.found_all(said.iter().flatten().map(|seen| seen.node_id).collect());
        }
        match founding::decide(&self.own, &said)? {
            Step::Wait(reason) => {
                self.tell(&reason);
                Ok(None)
            }
            Step::Join { cluster_id } => {
                self.desk.belong_to(&cluster_id).await.map_err(|error| self.unusable(&error))?;
                Ok(Some(Found { cluster_id: Some(cluster_id), voters: None }))
            }
            Step::Found { cluster_id } => {
                let cluster_id = cluster_id.unwrap_or_else(|| new_id().to_string());
                self.found(cluster_id, &said).await
            }
        }
    }

    async fn ask_all(&self) -> Result<Vec<Option<Seen>>, Error> {
        let answers = self.asked.iter().map(|asked| async {
            match asked {
                Asked::Ourselves => Ok(Some(self.desk.seen())),
                Asked::Other { link, expected } => ask::describe(link, *expected).await,
            }
        });
        futures_util::future::try_join_all(answers).await
    }

    /// Has every other controller begin the cluster. When one does not, all are asked again.
    async fn found(&mut self, cluster_id: String, said: &[Option<Seen>]) -> Result<Option<Found>, Error> {
        // First our own: whatever happens next, no other id is ever drawn.
        self.desk.belong_to(&cluster_id).await.map_err(|error| self.unusable(&error))?;
        self.own.cluster_id = Some(cluster_id.clone());
        let voters = self.voters(said);
        for (asked, seen) in self.asked.iter().zip(said) {
            let (Asked::Other { link, .. }, Some(seen)) = (asked, seen) else { continue };
            if seen.directory_id == self.own.directory_id {
                continue;
            }
            match ask::begin_cluster(link, &cluster_id, self.own.node_id, &voters).await {
                Ok(()) => {}
                Err(BeginError::Later) => return Ok(None),
                Err(BeginError::Refused(message)) => {
                    return Err(Error::NotAccepted { address: link.address().clone(), message });
                }
            }
        }
        tracing::info!(cluster_id, voters = voters.len(), "cluster is founded");
        Ok(Some(Found { cluster_id: Some(cluster_id), voters: Some(voters) }))
    }

    /// Each voter under the address that reached it; the others can hardly do better.
    fn voters(&self, said: &[Option<Seen>]) -> BTreeMap<VoterId, VoterAddress> {
        let voters = self.asked.iter().zip(said).filter_map(|(asked, seen)| {
            let seen = seen.as_ref()?;
            let voter = VoterId { id: seen.node_id, directory: seen.directory_id };
            let address = match asked {
                Asked::Ourselves => self.address.clone(),
                Asked::Other { link, .. } => link.address().clone(),
            };
            Some((voter, address))
        });
        voters.collect()
    }

    fn tell(&mut self, reason: &Reason) {
        self.starting.waits_for(format!("this node belongs to no cluster yet: {reason}"));
        let due = match self.told {
            None => self.waiting_since + TELL_AFTER,
            Some(told) => told + TELL_INTERVAL,
        };
        if Instant::now() >= due {
            self.told = Some(Instant::now());
            tracing::info!(%reason, "this node belongs to no cluster yet and waits");
        }
    }

    fn unusable(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Directory { path: self.desk.path(), message: error.to_string() }
    }
}

impl Drop for Founding {
    fn drop(&mut self) {
        self.desk.hang_up();
    }
}

/// Takes the directory of the metadata log, for a controller that has to have an id before it has a cluster. It is not
/// opened: what its last stop left is for the start that comes after the search.
async fn claim(request: &Request) -> Result<(Option<Arc<Claim>>, Uuid), Error> {
    if !request.is_controller {
        return Ok((None, Uuid::ZERO));
    }
    let (files, path) = (Arc::clone(&request.files), request.metadata_directory.clone());
    let claimed = blocking(move || Claim::new(files, &path).map_err(io::Error::other)).await;
    let claim = claimed.map_err(|error| unusable(&request.metadata_directory, &error))?;
    let directory_id = claim.identity().map_or_else(new_id, |identity| identity.directory_id);
    Ok((Some(Arc::new(claim)), directory_id))
}

fn new_id() -> Uuid {
    Uuid::from_bytes(*uuid::Uuid::new_v4().as_bytes())
}

#[cfg(test)]
#[path = "founding_test.rs"]
mod tests;
