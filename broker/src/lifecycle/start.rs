//! Up to the first image: the cluster is found, directories, the member of the quorum and partitions are opened.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use milena_client::net::{Dialer, Tcp};
use milena_log::Directory;
use milena_log::files::Files;
use milena_state::config::broker::Settings;
use milena_state::config::listener::Listener;
use milena_state::metadata::record::RegisterController;
use milena_state::metadata::{Image, features};
use tokio::sync::watch;

use super::registration::endpoint;
use super::{Error, Lifecycle, UNREGISTERED, new_id};
use crate::controller::founding::{self, Found, Named};
use crate::controller::raft::log_store::{LOG_NAME, LogStore};
use crate::controller::raft::network::Network;
use crate::controller::raft::quorum::{self, Quorum};
use crate::controller::raft::snapshot::Snapshots;
use crate::controller::raft::state_machine::StateMachine;
use crate::controller::raft::types::{VoterAddress, VoterId};
use crate::controller::remote::{ActiveController, auto_join};
use crate::controller::{Client, ProducerIds, Remote, registration, takeover, writer};
use crate::coordinator::Coordinators;
use crate::metadata::Metadata;
use crate::metadata::checkpoint::Checkpoint;
use crate::metadata::follow::{self, Source};
use crate::metadata::publish::Publisher;
use crate::metadata::remote::Feed;
use crate::metrics::Metrics;
use crate::partition::{Directories, Table, upkeep};
use crate::quota::Quotas;
use crate::replication::Replication;
use crate::shutdown::Stop;
use crate::starting::Starting;

/// How the node reaches the world and is reached by it while it starts.
pub struct Outside {
    pub files: Arc<dyn Files>,
    pub dialer: Dialer,
    /// The listeners of controllers, bound: others ask there for the cluster before there is one.
    pub controllers: Vec<TcpListener>,
    /// Is told what the start waits for.
    pub starting: Starting,
    /// Ends the start when it is asked for.
    pub stop: Stop,
}

impl Outside {
    /// Real files and sockets, and nobody who could ask.
    pub fn alone(files: Arc<dyn Files>) -> Self {
        Self {
            files,
            dialer: Arc::new(Tcp),
            controllers: Vec::new(),
            starting: Starting::new(),
            stop: Stop::never(),
        }
    }
}

/// The part of the control plane that this process has.
struct Control {
    quorum: Option<Quorum>,
    client: Client,
    source: Source,
    /// Of a broker alone, with what it holds.
    checkpoint: Option<(Arc<Checkpoint>, Option<Image>)>,
}

impl Lifecycle {
    /// Finds the cluster and opens directories, metadata and partitions. When it returns, [`Metadata`] has its first
    /// image and the partitions of this broker that it names are recovered, but lead nothing. Must be called on the
    /// background runtime, where its tasks stay. The listeners are bound before: the advertised ones must name their ports.
    pub async fn open(
        mut outside: Outside,
        settings: Arc<Settings>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let mut stop = outside.stop.clone();
        let found = tokio::select! {
            biased;
            found = find_cluster(&mut outside, &settings) => found?,
            _ = stop.asked_for() => return Err(Error::Stopped),
        };
        outside.starting.waits_for("directories, metadata and partitions are opened");
        let opened = {
            let (settings, files) = (Arc::clone(&settings), Arc::clone(&outside.files));
            let cluster_id = found.cluster_id.clone();
            tokio::task::spawn_blocking(move || open_directories(&settings, cluster_id, files))
        };
        let opened = tokio::select! {
            biased;
            opened = opened => opened,
            _ = stop.asked_for() => {
                tracing::warn!("stopped while directories were being opened");
                return Err(Error::Stopped);
            }
        };
        let (directories, metadata_directory) = opened.expect("opening directories does not panic")?;
        if stop.is_asked_for() {
            // No log was opened: what the last stop left is as it was.
            directories.close_clean(directories.previous_broker_epoch());
            return Err(Error::Stopped);
        }
        tokio::select! {
            biased;
            opened = Self::open_logs(outside, settings, metrics, found, directories, metadata_directory) => opened,
            _ = stop.asked_for() => {
                tracing::warn!("stopped while logs were being opened; the next start recovers them");
                Err(Error::Stopped)
            }
        }
    }

    async fn open_logs(
        outside: Outside,
        settings: Arc<Settings>,
        metrics: Arc<Metrics>,
        found: Found,
        directories: Directories,
        metadata_directory: Arc<Directory>,
    ) -> Result<Self, Error> {
        let (dialer, directories) = (Arc::clone(&outside.dialer), Arc::new(directories));
        let cluster_id: Arc<str> = directories.cluster_id().into();
        let control = match settings.quorum.roles.controller {
            true => {
                let network = |voter| Network::new(voter, Arc::clone(&cluster_id), Arc::clone(&dialer));
                let files = Arc::clone(&outside.files);
                let member = start_quorum(&settings, files, &metadata_directory, found, network).await?;
                Control::of_member(member, &settings, &cluster_id, &dialer, &metrics)
            }
            false => {
                let checkpoint = Checkpoint::new(
                    Arc::clone(&outside.files),
                    metadata_directory,
                    Arc::clone(&cluster_id),
                    snapshot_policy(&settings),
                    Arc::clone(&metrics),
                );
                let control = Control::of_observer(&settings, &cluster_id, &dialer, &metrics);
                control.with_checkpoint(checkpoint).await
            }
        };
        let lifecycle = Self::with(control, settings, directories, &outside, Arc::clone(&metrics)).await?;
        watch_directories(&lifecycle.directories, &lifecycle.partitions, &metrics);
        if let Some(quorum) = &lifecycle.quorum {
            let mut tasks = lifecycle.tasks.lock();
            tasks.push(tokio::spawn(report_quorum(quorum.clone(), metrics)));
            if lifecycle.settings.fence_on_disconnect && !lifecycle.controller.is_alone() {
                let client = lifecycle.controller.clone();
                let between_brokers = lifecycle.settings.inter_broker_listener_name.clone();
                tasks.push(tokio::spawn(takeover::run(quorum.clone(), client, dialer, between_brokers)));
            }
            // A quorum that nobody can join has nobody to ask.
            if !lifecycle.controller.is_alone() {
                let (client, own) = (lifecycle.controller.clone(), lifecycle.own_controller());
                tasks.push(tokio::spawn(registration::run(quorum.clone(), client, own)));
            }
            if let Some(remote) =
                lifecycle.controller.remote().filter(|_| lifecycle.settings.quorum.auto_join)
            {
                let (quorum, remote) = (quorum.clone(), Arc::clone(remote));
                tasks.push(tokio::spawn(auto_join::run(quorum, remote, Arc::clone(&lifecycle.settings))));
            }
        }
        Ok(lifecycle)
    }

    /// This process as a controller.
    fn own_controller(&self) -> RegisterController {
        RegisterController {
            controller_id: self.settings.node_id,
            incarnation_id: self.incarnation_id,
            endpoints: self.settings.advertised_controllers.iter().map(endpoint).collect(),
            features: features::supported(),
        }
    }

    async fn with(
        control: Control,
        settings: Arc<Settings>,
        directories: Arc<Directories>,
        outside: &Outside,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let Control { quorum, client: controller, source, checkpoint } = control;
        let (checkpoint, held) = checkpoint.unzip();
        let incarnation_id = new_id();
        let partitions = Arc::new(Table::new());
        let image = source.current();
        let metadata = Arc::new(Metadata::new(Arc::clone(&image)));
        let groups = Coordinators::new(
            Arc::clone(&partitions),
            Arc::clone(&metadata),
            controller.clone(),
            Arc::clone(&settings),
            Arc::clone(&metrics),
        );
        let quotas = Arc::new(Quotas::new(&settings));
        let replication =
            Replication::new(Arc::clone(&settings), Arc::clone(&outside.dialer), Arc::clone(&metrics));
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
        let mut tasks = vec![
            background.spawn(Arc::clone(&replication).propose(controller.clone())),
            background.spawn(Arc::clone(&replication).start_again()),
            background.spawn(Arc::clone(&replication).watch_lag(Arc::clone(&partitions))),
            background.spawn(follow::run(source, held.flatten(), Arc::clone(&metadata), publisher)),
            background.spawn(upkeep::run(
                Arc::clone(&partitions),
                Arc::clone(&directories),
                Arc::clone(&settings),
            )),
        ];
        let writing = checkpoint.as_ref().map(|checkpoint| Arc::clone(checkpoint).run(Arc::clone(&metadata)));
        tasks.extend(writing.map(|writing| background.spawn(writing)));
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
            broker_epoch: Arc::new(AtomicI64::new(UNREGISTERED)),
            is_unfenced: Arc::default(),
            tasks: parking_lot::Mutex::new(tasks),
            ended: None,
            checkpoint,
            cleaner: None,
            mover: None,
            metrics,
            starting: outside.starting.clone(),
            stop: outside.stop.clone(),
            has_left: false,
        })
    }
}

impl Control {
    /// A controller decides when it leads, and asks the one that leads otherwise.
    fn of_member(
        quorum: Quorum,
        settings: &Arc<Settings>,
        cluster_id: &Arc<str>,
        dialer: &Dialer,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let local_broker = settings.quorum.roles.broker.then_some(settings.node_id);
        let mut client = writer::start(quorum.clone(), Arc::clone(settings), local_broker, metrics);
        let (told, leader) = watch::channel(None);
        // A quorum of one that nobody can reach stays one.
        if !settings.quorum.is_alone || !settings.controller_listeners.is_empty() {
            tokio::spawn(tell_leader(quorum.clone(), told.clone()));
            client = client.with_remote(Remote::new(Arc::clone(cluster_id), leader, Arc::clone(dialer)));
        }
        let source = match settings.quorum.is_alone || quorum.has_membership() {
            true => Source::local(quorum.clone()),
            false => Source::joining(quorum.clone(), feed(settings, cluster_id, dialer, told, metrics)),
        };
        Self { quorum: Some(quorum), client, source, checkpoint: None }
    }

    /// A broker alone hears from the controllers what was decided, and who decides.
    fn of_observer(
        settings: &Settings,
        cluster_id: &Arc<str>,
        dialer: &Dialer,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (told, leader) = watch::channel(None);
        let remote = Remote::new(Arc::clone(cluster_id), leader, Arc::clone(dialer));
        let feed = feed(settings, cluster_id, dialer, told, metrics);
        let client = Client::of_observer(remote, Arc::clone(metrics));
        Self { quorum: None, client, source: Source::Remote(Box::new(feed)), checkpoint: None }
    }

    async fn with_checkpoint(mut self, checkpoint: Checkpoint) -> Self {
        let load = move || {
            let image = checkpoint.load();
            (Arc::new(checkpoint), image)
        };
        self.checkpoint = Some(tokio::task::spawn_blocking(load).await.expect("loading does not panic"));
        self
    }
}

fn feed(
    settings: &Settings,
    cluster_id: &Arc<str>,
    dialer: &Dialer,
    told: watch::Sender<Option<ActiveController>>,
    metrics: &Arc<Metrics>,
) -> Feed {
    let (controllers, myself) = (settings.quorum.controllers(), (Arc::clone(cluster_id), settings.node_id));
    Feed::new(myself, &controllers, Arc::clone(dialer), told, Arc::clone(metrics))
}

/// Tells who leads, as the member of the quorum in this process knows it, once it knows who votes.
async fn tell_leader(quorum: Quorum, told: watch::Sender<Option<ActiveController>>) {
    let mut changes = quorum.leader_changes();
    loop {
        let now = changes
            .borrow_and_update()
            .as_ref()
            .map(|now| ActiveController { id: now.voter.id, address: now.address.to_string() });
        if quorum.has_membership() {
            told.send_replace(now);
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn find_cluster(outside: &mut Outside, settings: &Settings) -> Result<Found, Error> {
    outside.starting.waits_for("this node looks for its cluster");
    let request = founding::Request {
        node_id: settings.node_id,
        is_controller: settings.quorum.roles.controller,
        cluster_id: settings.cluster_id.clone(),
        named: Named::of(&settings.quorum),
        address: own_address(settings),
        files: Arc::clone(&outside.files),
        metadata_directory: settings.metadata_log_dir.clone(),
        directories: settings.log_dirs.clone(),
        listeners: std::mem::take(&mut outside.controllers),
        dialer: Arc::clone(&outside.dialer),
        starting: outside.starting.clone(),
    };
    Ok(founding::identify(request).await?)
}

/// Where other controllers reach this one. The settings that all of them share come first.
fn own_address(settings: &Settings) -> VoterAddress {
    let own = settings.quorum.voters.iter().find(|voter| voter.id == settings.node_id);
    if let Some(own) = own.filter(|_| settings.quorum.roles.controller) {
        return own.address.clone();
    }
    let advertised = settings.advertised_controllers.first();
    let of = |listener: &Listener| VoterAddress { host: listener.host.clone(), port: listener.port };
    advertised.map(of).unwrap_or_default()
}

pub(super) fn open_directories(
    settings: &Settings,
    cluster_id: Option<String>,
    files: Arc<dyn Files>,
) -> Result<(Directories, Arc<Directory>), Error> {
    let mut paths = settings.log_dirs.clone();
    if !paths.contains(&settings.metadata_log_dir) {
        paths.push(settings.metadata_log_dir.clone());
    }
    let cluster_id = cluster_id.as_deref().or(settings.cluster_id.as_deref());
    let mut directories = Directories::open(files, &paths, settings.node_id, cluster_id, new_id)?;
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
    found: Found,
    network: impl FnOnce(VoterId) -> Network,
) -> Result<Quorum, Error> {
    let unusable = |reason: String| Error::MetadataDirectory(directory.path().to_path_buf(), reason);
    let identity = directory.identity().ok_or_else(|| unusable("it has no meta.properties".to_owned()))?;
    let voter = VoterId { id: settings.node_id, directory: identity.directory_id };
    let address = own_address(settings);
    let log = {
        let is_alone = settings.quorum.is_alone;
        let address = address.clone();
        let (files, directory) = (Arc::clone(&files), Arc::clone(directory));
        let open = move || {
            let mut log = LogStore::open(files, &directory)?;
            match found.voters {
                Some(voters) => log.found(voter, voters)?,
                None if is_alone => log.bootstrap(voter, address)?,
                // The others tell it who votes.
                None => {}
            }
            Ok::<_, std::io::Error>(log)
        };
        tokio::task::spawn_blocking(open).await.expect("opening does not panic")
    };
    let log = log.map_err(|error| unusable(error.to_string()))?;
    let machine = StateMachine::new(Snapshots::new(files, directory.path().join(LOG_NAME)));
    Ok(Quorum::start(voter, address, log, machine, snapshot_policy(settings), network(voter)).await?)
}

fn snapshot_policy(settings: &Settings) -> quorum::SnapshotPolicy {
    quorum::SnapshotPolicy {
        bytes: settings.metadata_max_bytes_between_snapshots,
        interval: settings.metadata_max_snapshot_interval_ms.map(Duration::from_millis),
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
