//! The broker's life in the cluster: open the directories, follow the metadata, register, unfence, heartbeat, leave.
//!
//! [`Lifecycle::start`] opens directories, metadata and partitions, registers the broker under its advertised
//! listeners and returns when clients may use it; [`Lifecycle::stop`] takes it out in order: leadership is given up,
//! logs are closed, the clean-stop marker is written. A process that dies instead loses nothing that was
//! acknowledged: its next start recovers the logs.

mod heartbeats;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use milena_client::net::Tcp;
use milena_log::files::Files;
use milena_log::{Directory, Log, RealFiles};
use milena_protocol::types::Uuid;
use milena_state::config::broker::Settings;
use milena_state::config::listener::Listener;
use milena_state::metadata::brokers::RegisterBroker;
use milena_state::metadata::record::Endpoint;
use milena_state::metadata::{Command, Reply, features};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use heartbeats::Heartbeats;

use crate::broker::now_ms;
use crate::controller::raft::log_store::{LOG_NAME, LogStore};
use crate::controller::raft::quorum::{self, Quorum};
use crate::controller::raft::snapshot::Snapshots;
use crate::controller::raft::state_machine::StateMachine;
use crate::controller::raft::types::{VoterAddress, VoterId};
use crate::controller::{Client, ProducerIds, SubmitError, writer};
use crate::coordinator::Coordinators;
use crate::metadata::Metadata;
use crate::metadata::follow::{self, Source};
use crate::metadata::publish::{self, Publisher};
use crate::metrics::Metrics;
use crate::partition::directories::{SYNCING_THREADS, Twice, in_parallel};
use crate::partition::{Cleaner, Directories, OpenError, Partition, Table, upkeep};
use crate::quota::Quotas;
use crate::replication::Replication;

/// A controlled shutdown that takes longer is given up; the logs are closed all the same.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything of a node that lives below its listeners.
pub struct Lifecycle {
    settings: Arc<Settings>,
    in_force: watch::Receiver<Arc<Settings>>,
    quotas: Arc<Quotas>,
    metadata: Arc<Metadata>,
    partitions: Arc<Table>,
    directories: Arc<Directories>,
    controller: Client,
    quorum: Quorum,
    producer_ids: Arc<ProducerIds>,
    groups: Arc<Coordinators>,
    replication: Arc<Replication>,
    incarnation_id: Uuid,
    broker_epoch: Arc<AtomicI64>,
    is_unfenced: Arc<AtomicBool>,
    tasks: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    /// From when partitions have their leader on.
    cleaner: Option<Cleaner>,
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Directories(#[from] OpenError),
    #[error("metadata log directory {0} (metadata.log.dir) cannot be used: {1}")]
    MetadataDirectory(std::path::PathBuf, String),
    #[error(transparent)]
    Quorum(#[from] quorum::StartError),
    #[error("controller did not answer: {0}")]
    Controller(#[from] SubmitError),
    #[error("partitions could not be opened: {0}")]
    Publisher(#[from] publish::Ended),
    #[error(transparent)]
    Twice(#[from] Twice),
    #[error("broker registration was refused: {0}")]
    Refused(String),
}

impl Lifecycle {
    /// Starts the node and returns when it leads what it should. Must be called on the background runtime, where its
    /// tasks stay. The listeners are bound before: the advertised ones must name their ports.
    pub async fn start(settings: Arc<Settings>, metrics: Arc<Metrics>) -> Result<Self, Error> {
        Self::start_on(Arc::new(RealFiles), settings, metrics).await
    }

    /// As [`start`](Self::start), on any file system.
    pub async fn start_on(
        files: Arc<dyn Files>,
        settings: Arc<Settings>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let mut lifecycle = Self::open(settings, files, &metrics).await?;
        let report = report_quorum(lifecycle.quorum.clone(), Arc::clone(&metrics));
        lifecycle.tasks.lock().push(tokio::spawn(report));
        lifecycle.join().await?;
        // Everything that was committed before is applied now.
        if let Some(twice) = lifecycle.directories.twice() {
            lifecycle.stop().await;
            return Err(Error::Twice(twice));
        }
        let (table, in_force) = (Arc::clone(&lifecycle.partitions), lifecycle.in_force());
        lifecycle.cleaner = Some(Cleaner::start(table, in_force, metrics, Arc::new(now_ms)));
        Ok(lifecycle)
    }

    /// The settings with the dynamic broker configuration laid over them, and every change of them.
    pub fn in_force(&self) -> watch::Receiver<Arc<Settings>> {
        self.in_force.clone()
    }

    pub fn metadata(&self) -> &Arc<Metadata> {
        &self.metadata
    }

    pub fn partitions(&self) -> &Arc<Table> {
        &self.partitions
    }

    pub fn directories(&self) -> &Arc<Directories> {
        &self.directories
    }

    pub fn controller(&self) -> &Client {
        &self.controller
    }

    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    pub fn producer_ids(&self) -> &Arc<ProducerIds> {
        &self.producer_ids
    }

    pub fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    pub fn groups(&self) -> &Arc<Coordinators> {
        &self.groups
    }

    /// Opens directories, metadata and partitions. When it returns, [`Metadata`] has its first image and the
    /// partitions of this broker are recovered, but lead nothing.
    async fn open(
        settings: Arc<Settings>,
        files: Arc<dyn Files>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, Error> {
        let opened = {
            let (settings, files) = (Arc::clone(&settings), Arc::clone(&files));
            tokio::task::spawn_blocking(move || open_directories(&settings, files))
        };
        let (directories, metadata_directory) = opened.await.expect("opening directories does not panic")?;
        let directories = Arc::new(directories);
        let quorum = start_quorum(&settings, files, &metadata_directory).await?;
        let controller =
            writer::start(quorum.clone(), Arc::clone(&settings), Some(settings.node_id), metrics);
        bootstrap(&quorum, &controller).await?;

        let incarnation_id = new_id();
        let partitions = Arc::new(Table::new());
        let source = Source::local(quorum.clone());
        let image = source.current();
        let metadata = Arc::new(Metadata::new(Arc::clone(&image)));
        let groups = Coordinators::new(
            Arc::clone(&partitions),
            Arc::clone(&metadata),
            controller.clone(),
            Arc::clone(&settings),
            Arc::clone(metrics),
        );
        let quotas = Arc::new(Quotas::new(&settings));
        let replication = Replication::new(Arc::clone(&settings), Arc::new(Tcp), Arc::clone(metrics));
        let publisher = Publisher::new(
            Arc::clone(&settings),
            incarnation_id,
            Arc::clone(&partitions),
            Arc::clone(&directories),
            Arc::clone(&groups),
            Arc::clone(&quotas),
            Arc::clone(&replication),
        );
        let mut publisher = publisher.first(Arc::clone(&image)).await?;
        if source.is_complete(&image) {
            publisher = publisher.caught_up().await?;
        }
        let in_force = publisher.in_force();
        let index = image.applied().index;
        metadata.publish(image, index);

        let background = tokio::runtime::Handle::current();
        let producer_ids =
            ProducerIds::new(controller.clone(), Arc::clone(&metadata), settings.node_id, background.clone());
        let tasks = vec![
            background.spawn(Arc::clone(&replication).propose(controller.clone())),
            background.spawn(Arc::clone(&replication).watch_lag(Arc::clone(&partitions))),
            background.spawn(follow::run(source, Arc::clone(&metadata), publisher)),
            background.spawn(upkeep::run(
                Arc::clone(&partitions),
                Arc::clone(&directories),
                Arc::clone(&settings),
            )),
        ];
        watch_directories(&directories, &partitions, metrics);
        Ok(Self {
            settings,
            in_force,
            quotas,
            metadata,
            partitions,
            directories,
            controller,
            quorum,
            producer_ids,
            groups,
            replication,
            incarnation_id,
            broker_epoch: Arc::new(AtomicI64::new(-1)),
            is_unfenced: Arc::default(),
            tasks: parking_lot::Mutex::new(tasks),
            cleaner: None,
        })
    }

    pub fn cluster_id(&self) -> &str {
        self.directories.cluster_id()
    }

    /// Epoch of our registration, −1 before it.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Acquire)
    }

    /// Whether the controller lets this broker lead partitions.
    pub fn is_unfenced(&self) -> bool {
        self.is_unfenced.load(Ordering::Acquire)
    }

    /// Registers this broker and returns once it is unfenced and leads what it should.
    async fn join(&self) -> Result<(), Error> {
        let endpoints = self.settings.advertised_listeners.iter().map(endpoint).collect();
        let registration = RegisterBroker {
            broker_id: self.settings.node_id,
            incarnation_id: self.incarnation_id,
            endpoints,
            features: features::supported(),
            rack: self.settings.rack.clone(),
            log_dirs: self.directories.ids(),
            previous_broker_epoch: self.directories.previous_broker_epoch(),
            session_is_live: false,
        };
        let committed = self.controller.submit(Command::RegisterBroker(registration)).await?;
        let registered = match committed.reply {
            Reply::RegisterBroker(Ok(registered)) => registered,
            Reply::RegisterBroker(Err(error)) => return Err(Error::Refused(error.to_string())),
            other => return Err(Error::Refused(format!("unexpected reply {other:?}"))),
        };
        self.broker_epoch.store(registered.epoch_at(committed.index), Ordering::Release);
        // Our own registration must be in our image before we ask to lead under it.
        let _ = self.metadata.reached(committed.index).await;
        let heartbeats = self.heartbeats();
        let (_, index) = heartbeats.beat(false).await.map_err(Error::Refused)?;
        let _ = self.metadata.reached(index).await;
        self.producer_ids.prefetch();
        self.tasks.lock().push(tokio::spawn(heartbeats.run()));
        Ok(())
    }

    /// Leaves the cluster in order and closes the logs. Called when no request is under way any more.
    pub async fn stop(mut self) {
        self.groups.stop();
        if tokio::time::timeout(LEAVE_TIMEOUT, self.give_up_leadership()).await.is_err() {
            tracing::warn!(timeout = ?LEAVE_TIMEOUT, "controlled shutdown took too long and was given up");
        }
        let tasks: Vec<_> = self.tasks.lock().drain(..).collect();
        tasks.iter().for_each(|task| task.abort());
        for task in tasks {
            // Cancelled, as was just asked for: before the quorum ends, or the follower would take that for a failure.
            let _ = task.await;
        }
        if let Some(cleaner) = self.cleaner.take() {
            cleaner.stop().await;
        }
        self.replication.stop().await;
        self.quorum.stop().await;
        let (partitions, directories, quorum) =
            (Arc::clone(&self.partitions), Arc::clone(&self.directories), self.quorum.clone());
        let broker_epoch = self.broker_epoch();
        let closing = tokio::task::spawn_blocking(move || {
            in_parallel(SYNCING_THREADS, &partitions.all(), |partition| close(partition));
            quorum.close_log();
            directories.close_clean(broker_epoch);
        });
        if closing.await.is_err() {
            tracing::error!("closing the logs panicked; the next start recovers them");
        }
    }

    async fn give_up_leadership(&self) {
        if self.broker_epoch() < 0 {
            return;
        }
        let heartbeats = self.heartbeats();
        loop {
            match heartbeats.beat(true).await {
                Ok((answer, _)) if answer.should_shut_down => return,
                Ok((_, index)) => {
                    // The answer changes when everybody has applied what the last one began; we are somebody.
                    if self.metadata.reached(index).await.is_err() {
                        return;
                    }
                }
                Err(reason) => {
                    tracing::warn!(%reason, "controller did not let this broker leave in order");
                    return;
                }
            }
        }
    }

    fn heartbeats(&self) -> Heartbeats {
        Heartbeats {
            controller: self.controller.clone(),
            metadata: Arc::clone(&self.metadata),
            broker_id: self.settings.node_id,
            broker_epoch: Arc::clone(&self.broker_epoch),
            is_unfenced: Arc::clone(&self.is_unfenced),
            interval: Duration::from_millis(self.settings.broker_heartbeat_interval_ms),
        }
    }
}

fn close(partition: &Partition) {
    let log = partition.take_log();
    if partition.is_offline() {
        // Its disk failed or it was found damaged: what it holds is for the next start to check.
        return;
    }
    let Some(Err(error)) = log.map(Log::close_clean) else { return };
    tracing::error!(topic = %partition.topic(), partition = partition.index(), %error, "log was not closed cleanly");
}

fn open_directories(
    settings: &Settings,
    files: Arc<dyn Files>,
) -> Result<(Directories, Arc<Directory>), Error> {
    let mut paths = settings.log_dirs.clone();
    if !paths.contains(&settings.metadata_log_dir) {
        paths.push(settings.metadata_log_dir.clone());
    }
    let mut directories =
        Directories::open(files, &paths, settings.node_id, settings.cluster_id.as_deref(), new_id)?;
    let metadata = directories.at(&settings.metadata_log_dir).map(Arc::clone);
    let unusable = || Error::MetadataDirectory(settings.metadata_log_dir.clone(), "see above".to_owned());
    let metadata = metadata.ok_or_else(unusable)?;
    if !settings.log_dirs.contains(&settings.metadata_log_dir) {
        directories.reserve_for_metadata(&metadata);
    }
    Ok((directories, metadata))
}

async fn start_quorum(
    settings: &Settings,
    files: Arc<dyn Files>,
    directory: &Arc<Directory>,
) -> Result<Quorum, Error> {
    let unusable = |reason: String| Error::MetadataDirectory(directory.path().to_path_buf(), reason);
    let identity = directory.identity().ok_or_else(|| unusable("it has no meta.properties".to_owned()))?;
    let voter = VoterId { id: settings.node_id, directory: identity.directory_id };
    let log = {
        let (files, directory) = (Arc::clone(&files), Arc::clone(directory));
        let open = move || {
            let mut log = LogStore::open(files, &directory)?;
            log.bootstrap(voter, VoterAddress::default())?;
            Ok::<_, std::io::Error>(log)
        };
        tokio::task::spawn_blocking(open).await.expect("opening does not panic")
    };
    let log = log.map_err(|error| unusable(error.to_string()))?;
    let machine = StateMachine::new(Snapshots::new(files, directory.path().join(LOG_NAME)));
    let policy = quorum::SnapshotPolicy {
        bytes: settings.metadata_max_bytes_between_snapshots,
        interval: settings.metadata_max_snapshot_interval_ms.map(Duration::from_millis),
    };
    Ok(Quorum::start(voter, log, machine, policy).await?)
}

fn endpoint(listener: &Listener) -> Endpoint {
    Endpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol as i16,
    }
}

/// Keeps the figures of the quorum in the metrics up to date.
async fn report_quorum(quorum: Quorum, metrics: Arc<Metrics>) {
    let mut changes = quorum.subscribe();
    loop {
        let progress = quorum.progress();
        metrics.raft(progress.term, progress.high_watermark - 1, progress.applied_end_offset - 1);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Gives an empty cluster its feature levels.
async fn bootstrap(quorum: &Quorum, controller: &Client) -> Result<(), Error> {
    if quorum.state().image.features().is_empty() {
        controller.submit(Command::Bootstrap).await?;
    }
    Ok(())
}

/// Takes the partitions of a directory that fails offline: whoever waits there gets an answer at once.
fn watch_directories(directories: &Directories, partitions: &Arc<Table>, metrics: &Arc<Metrics>) {
    let offline_count = Arc::new(AtomicUsize::new(directories.offline_count()));
    metrics.log_directories_offline(directories.offline_count());
    for directory in directories.online() {
        let (path, partitions) = (directory.path().to_path_buf(), Arc::downgrade(partitions));
        let (offline_count, metrics) = (Arc::clone(&offline_count), Arc::clone(metrics));
        directory.on_offline(Box::new(move |_reason| {
            metrics.log_directories_offline(offline_count.fetch_add(1, Ordering::AcqRel) + 1);
            let Some(partitions) = partitions.upgrade() else { return };
            let affected =
                partitions.all().into_iter().filter(|partition| partition.directory().path() == path);
            affected.for_each(|partition| partition.fail());
        }));
    }
}

fn new_id() -> Uuid {
    Uuid::from_bytes(*uuid::Uuid::new_v4().as_bytes())
}

#[cfg(test)]
#[path = "lifecycle_test_node.rs"]
mod test_node;

#[cfg(test)]
#[path = "lifecycle_test.rs"]
mod tests;

#[cfg(test)]
#[path = "lifecycle_folder_test.rs"]
mod folder_tests;

#[cfg(test)]
#[path = "lifecycle_fault_test.rs"]
mod fault_tests;

#[cfg(test)]
#[path = "lifecycle_cleaner_scene.rs"]
mod cleaner_scene;

#[cfg(test)]
#[path = "lifecycle_cleaner_test.rs"]
mod cleaner_tests;

#[cfg(test)]
#[path = "lifecycle_partition_test.rs"]
mod partition_tests;

#[cfg(test)]
#[path = "lifecycle_group_scene_test.rs"]
mod group_scene;

#[cfg(test)]
#[path = "lifecycle_group_test.rs"]
mod group_tests;

#[cfg(test)]
#[path = "lifecycle_group_member_test.rs"]
mod group_member_tests;

#[cfg(test)]
#[path = "lifecycle_group_topic_test.rs"]
mod group_topic_tests;
