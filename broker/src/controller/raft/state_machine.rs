//! The state machine of the quorum: committed entries applied to an image in memory, snapshots of it on disk.
//!
//! The image itself is not persisted entry by entry: after a restart it is rebuilt from the newest snapshot and the
//! log. Every applied entry publishes a new [`State`]; the controller decides on it and brokers follow it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{Stream, TryStreamExt};
use milena_state::metadata::{self, Delta, Image};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use tokio::sync::watch;

use super::snapshot::{SnapshotFile, Snapshots, applied_of};
use super::types::{
    Applied, Entry, LeaderId, LogId, Payload, Proposal, SnapshotMeta, StoredMembership, TypeConfig,
};

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// The committed state as of one entry.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Stands at the last applied entry; its `applied()` is the place in the log.
    pub image: Arc<Image>,
    /// The leader that proposed the last applied entry; none before the first.
    pub leader: Option<LeaderId>,
}

/// The machine that openraft drives.
pub struct StateMachine {
    image: Image,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    snapshots: Snapshots,
    state: watch::Sender<State>,
    bytes_since_snapshot: Arc<AtomicU64>,
}

impl StateMachine {
    /// An empty machine; openraft installs the newest snapshot when it starts.
    pub fn new(snapshots: Snapshots) -> Self {
        Self {
            image: Image::default(),
            last_applied: None,
            membership: StoredMembership::default(),
            snapshots,
            state: watch::Sender::new(State::default()),
            bytes_since_snapshot: Arc::default(),
        }
    }

    /// The committed state, and a way to wait for the next.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The snapshots of this machine.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Bytes of records applied since the last snapshot, for the snapshot policy.
    pub fn bytes_since_snapshot(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes_since_snapshot)
    }

    fn apply_entry(&mut self, entry: Entry) -> io::Result<Applied> {
        let applied = applied_of(&entry.log_id);
        match entry.payload {
            Payload::Blank => self.image.begin_entry(applied),
            Payload::Normal(proposal) => self.apply_records(applied, &proposal)?,
            Payload::Membership(membership) => {
                self.image.begin_entry(applied);
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
        }
        self.last_applied = Some(entry.log_id);
        Ok(Applied { index: applied.index })
    }

    fn apply_records(&mut self, applied: metadata::Applied, proposal: &Proposal) -> io::Result<()> {
        let records = metadata::decode_batch(&proposal.records).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("entry {}: {error}", applied.index))
        })?;
        // Every node skips a record that does not fit in the same way, so going on keeps the images equal.
        if let Err(misfit) = self.image.apply_entry(applied, &records, &mut Delta::default()) {
            tracing::error!(index = applied.index, %misfit, "metadata record does not fit and was skipped");
        }
        self.bytes_since_snapshot.fetch_add(proposal.records.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn publish(&self) {
        let leader = self.last_applied.map(|last| last.leader_id);
        self.state.send_replace(State { image: Arc::new(self.image.clone()), leader });
    }

    fn builder(&self) -> SnapshotBuilder {
        SnapshotBuilder {
            image: self.image.clone(),
            meta: SnapshotMeta { last_log_id: self.last_applied, last_membership: self.membership.clone() },
            snapshots: self.snapshots.clone(),
            bytes_since_snapshot: Arc::clone(&self.bytes_since_snapshot),
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let applied = self.apply_entry(entry)?;
            // Published first: whoever is answered finds the outcome in the state.
            self.publish();
            if let Some(responder) = responder {
                responder.send(applied);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.builder()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotFile) -> io::Result<()> {
        let snapshots = self.snapshots.clone();
        let contents = blocking(move || {
            let contents = snapshot.read()?;
            if !snapshots.owns(&snapshot) {
                snapshots.write(&contents.meta, &contents.image)?;
            }
            Ok(contents)
        })
        .await?;
        self.bytes_since_snapshot.store(0, Ordering::Relaxed);
        self.image = contents.image;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshots = self.snapshots.clone();
        let newest = blocking(move || snapshots.newest()).await?;
        Ok(newest.map(|(file, contents)| Snapshot { meta: contents.meta, snapshot: file }))
    }
}

/// Writes the view of the image that it was made with, while entries go on being applied.
pub struct SnapshotBuilder {
    image: Image,
    meta: SnapshotMeta,
    snapshots: Snapshots,
    bytes_since_snapshot: Arc<AtomicU64>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (snapshots, meta, image) = (self.snapshots.clone(), self.meta.clone(), self.image.clone());
        // Reset before writing: what is applied meanwhile counts towards the next one.
        self.bytes_since_snapshot.store(0, Ordering::Relaxed);
        let file = blocking(move || snapshots.write(&meta, &image)).await?;
        tracing::info!(path = %file.path.display(), "metadata snapshot written");
        Ok(Snapshot { meta: self.meta.clone(), snapshot: file })
    }
}

/// Runs file work of unknown length on the blocking pool.
pub(in crate::controller) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
