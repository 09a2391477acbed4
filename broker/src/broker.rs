//! The whole broker as a value: started from settings, stopped in order, used by `main` and by tests.

mod controllers;
mod sockets;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use milena_log::RealFiles;
use milena_log::files::Files;
use milena_state::config::address::HostPort;
use milena_state::config::broker::Settings;
use milena_state::config::describe::Layers;
use milena_state::metadata::Image;
use milena_state::quota::connections::Bounds;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::admin::{self, Admin};
use crate::controller::raft::quorum::Quorum;
use crate::controller::{Client, ProducerIds};
use crate::coordinator::Coordinators;
use crate::error::StartError;
use crate::health::Health;
use crate::lag::{self, Lags};
use crate::lifecycle::{Lifecycle, Outside};
use crate::metadata::Metadata;
use crate::metadata::served::Images;
use crate::metrics::Metrics;
use crate::partition::{Directories, Table};
use crate::quota::Quotas;
use crate::replication::Throttles;
use crate::server::admission::{self, Connections, HeldBack};
use crate::server::budget::Budget;
use crate::server::limits::Limits;
use crate::server::listener::{Acceptor, Listener};
use crate::server::reactor::{self, Reactors};
use crate::server::session::Sessions;
use crate::shutdown::Stop;
use crate::starting::Starting;
use crate::system;
use controllers::Controllers;

/// Raft, timers, retention and HTTP need little; the data path does not run here.
const BACKGROUND_THREADS: usize = 2;

/// Threads for blocking work of the background: recovery, retention, deletion.
const BLOCKING_THREADS_MAX: usize = 16;

/// How long the background may take to end what it is doing when the broker stops.
const BACKGROUND_STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// What the requests of this node share. Handlers reach it as `cx.node`.
pub struct Node {
    /// As they were at the start.
    pub settings: Arc<Settings>,
    pub metadata: Arc<Metadata>,
    pub partitions: Arc<Table>,
    pub directories: Arc<Directories>,
    /// The member of the quorum in this process; none in a broker that is no controller.
    pub quorum: Option<Quorum>,
    pub controller: Client,
    pub cluster_id: Arc<str>,
    pub fetch_sessions: Sessions,
    /// Of the metadata, for brokers that read them from this controller.
    pub images: Images,
    pub quotas: Arc<Quotas>,
    pub throttles: Arc<Throttles>,
    pub producer_ids: Arc<ProducerIds>,
    pub groups: Arc<Coordinators>,
    pub lags: Lags,
    pub metrics: Arc<Metrics>,
    /// The runtime for work that must not run on a reactor, and its pool for blocking calls.
    pub background: tokio::runtime::Handle,
}

impl Node {
    /// Up to where the metadata is committed and applied in this controller; −1 in a process that is none.
    pub fn committed_index(&self) -> i64 {
        self.quorum.as_ref().map_or(-1, |quorum| quorum.state().image.applied().index)
    }

    /// What is committed, as far as this process knows: a controller knows it before it serves it.
    pub fn committed_image(&self) -> Arc<Image> {
        let committed = self.quorum.as_ref().map(|quorum| quorum.state().image);
        committed.unwrap_or_else(|| self.metadata.image_arc())
    }

    /// Whom clients are told to be the controller: every broker passes on what only the controller decides, and ours is
    /// as good as any while it is one that clients are sent to. −1 when there is none.
    pub fn stand_in_controller(&self, image: &Image) -> i32 {
        if image.is_active(self.settings.node_id) {
            return self.settings.node_id;
        }
        let mut brokers = image.brokers().filter(|broker| broker.is_active());
        brokers.next().map_or(-1, |broker| broker.broker_id)
    }

    /// What acts on the configs of `image` below a topic's or a group's own.
    pub fn config_layers<'a>(&'a self, image: &'a Image) -> Layers<'a> {
        Layers {
            settings: &self.settings,
            cluster: image.cluster_config(),
            broker: image.broker_config(self.settings.node_id),
        }
    }
}

/// A running broker. Dropped without [`Broker::stop`] it ends as after a crash.
pub struct Broker {
    node: Arc<Node>,
    addresses: Vec<(Arc<str>, SocketAddr)>,
    http_address: Option<SocketAddr>,
    stopping: Arc<AtomicBool>,
    stop_http: oneshot::Sender<()>,
    lags: JoinHandle<()>,
    acceptors: Vec<JoinHandle<()>>,
    reactors: Arc<Reactors>,
    controllers: Controllers,
    lifecycle: Lifecycle,
    background: Runtime,
}

impl Broker {
    /// Starts a broker and returns when it answers requests. Not to be called within a runtime.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let limits = Limits::of(&settings);
        Self::start_with(settings, limits)
    }

    /// As [`Broker::start`], with bounds that need not come from the settings.
    pub fn start_with(settings: Settings, limits: Limits) -> Result<Self, StartError> {
        Self::start_on(Arc::new(RealFiles), settings, limits)
    }

    /// As [`Broker::start_with`], on any file system.
    pub fn start_on(files: Arc<dyn Files>, settings: Settings, limits: Limits) -> Result<Self, StartError> {
        Self::start_unless(background()?, files, settings, limits, Stop::never())
    }

    /// As [`Broker::start_on`], in a runtime of [`background`], unless a stop is asked for before the broker has started:
    /// the error tells ([`StartError::is_stop`]), and nothing of it runs any more.
    pub fn start_unless(
        background: Runtime,
        files: Arc<dyn Files>,
        mut settings: Settings,
        limits: Limits,
        stop: Stop,
    ) -> Result<Self, StartError> {
        let descriptors = system::raise_descriptor_limit().unwrap_or_else(|error| {
            tracing::warn!(%error, "limit of open files stays as it is");
            u64::MAX
        });
        let limits = limits.within(descriptors);
        let overrides = resolve_overrides(&settings)?;
        // Ports first: when another process has them, our data must not be touched.
        let listeners = sockets::bind(&mut settings)?;
        let http = sockets::bind_http(&settings)?;
        let settings = Arc::new(settings);
        let metrics = Arc::new(Metrics::new());
        let starting = Starting::new();
        let (opened, until_opened) = oneshot::channel();
        if let Some((listener, _)) = &http {
            let listener = listener.try_clone().map_err(StartError::Thread)?;
            let metrics = Arc::clone(&metrics);
            background.spawn(admin::serve_start(listener, starting.clone(), metrics, until_opened));
        }
        let controllers = listeners.controllers.iter().map(Listener::copy).collect::<io::Result<_>>();
        let controllers = controllers.map_err(StartError::Thread)?;
        let outside = Outside { controllers, starting: starting.clone(), stop, ..Outside::alone(files) };
        let opening = Lifecycle::open(outside, Arc::clone(&settings), Arc::clone(&metrics));
        let lifecycle = match background.block_on(opening) {
            Ok(lifecycle) => lifecycle,
            Err(error) => {
                // Logs that are being recovered are not waited for.
                background.shutdown_timeout(BACKGROUND_STOP_TIME_MAX);
                return Err(error.into());
            }
        };
        let node = Arc::new(node(&lifecycle, settings, metrics, background.handle()));
        // From here on others may find in this process the leader that they, and we, wait for.
        let addresses = listeners.addresses();
        let controllers = Controllers::start(&node, listeners.controllers, &background)?;
        let connections = Arc::clone(node.quotas.connections());
        connections.allow(Bounds { per_ip_overrides: overrides, ..limits.connections.clone() });
        background.spawn(Arc::clone(&connections).resolve_ip_rates());
        background.spawn(follow_limits(
            lifecycle.in_force(),
            Arc::clone(&node.settings),
            Arc::clone(&connections),
            descriptors,
        ));
        let stopping = Arc::new(AtomicBool::new(false));
        let (stop_http, http_stopped) = oneshot::channel();
        let http_address = http.as_ref().map(|(_, address)| *address);
        if let Some((listener, _)) = http {
            let admin = Admin {
                node: Arc::clone(&node),
                connections: Arc::clone(&connections),
                health: health(&node, &lifecycle, &starting, &stopping),
            };
            background.spawn(admin::serve(listener, admin, http_stopped));
        }
        drop(opened);
        let lifecycle = match background.block_on(lifecycle.join()) {
            Ok(lifecycle) => lifecycle,
            Err(error) => {
                controllers.stop(&background);
                drop(node);
                background.shutdown_timeout(BACKGROUND_STOP_TIME_MAX);
                return Err(error.into());
            }
        };
        let acceptor = Acceptor {
            reactors: Arc::new(spawn_reactors(&node, &Arc::new(limits))?),
            connections,
            held_back: HeldBack::default(),
            metrics: Arc::clone(&node.metrics),
        };
        Ok(Self {
            addresses,
            acceptors: listeners
                .clients
                .into_iter()
                .map(|listener| background.spawn(listener.accept(acceptor.clone())))
                .collect(),
            reactors: acceptor.reactors,
            controllers,
            lags: background.spawn(lag::run(Arc::clone(&node))),
            node,
            http_address,
            stopping,
            stop_http,
            lifecycle,
            background,
        })
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Name and address of each listener, with the ports that the system chose for port 0.
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// Address of the first listener, of one for clients when there is any.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0].1
    }

    /// What a client is told to connect to, `host:port` of the first listener.
    pub fn bootstrap(&self) -> String {
        match self.node.settings.advertised_listeners.first() {
            Some(advertised) => HostPort(&advertised.host, advertised.port).to_string(),
            None => self.address().to_string(),
        }
    }

    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// The runtime of the background, for waiting for signals.
    pub fn background(&self) -> &tokio::runtime::Handle {
        self.background.handle()
    }

    /// Waits until this process cannot be a broker any more, and should be stopped; why.
    pub async fn ended(&mut self) -> StartError {
        self.lifecycle.ended().await.into()
    }

    /// Stops in order: leaderships handed over, no new connections, requests in flight answered, partitions flushed and
    /// closed, the quorum left.
    pub fn stop(self) {
        let Self { stopping, stop_http, lags, acceptors, reactors, controllers, background, node, .. } = self;
        let mut lifecycle = self.lifecycle;
        stopping.store(true, Ordering::Relaxed);
        background.block_on(async {
            // With nobody to take over, those in flight are better answered by us first.
            if lifecycle.has_company() {
                lifecycle.leave().await;
            }
            for acceptor in acceptors.into_iter().chain([lags]) {
                acceptor.abort();
                // Cancelled, as was just asked for.
                let _ = acceptor.await;
            }
        });
        // Joins may wait for minutes; nobody else would answer them before the reactors are done.
        node.groups.stop();
        if let Ok(reactors) = Arc::try_unwrap(reactors).map_err(|_| debug_assert!(false, "acceptors ended")) {
            reactors.stop();
        }
        background.block_on(lifecycle.stop());
        controllers.stop(&background);
        let _ = stop_http.send(());
        drop(node);
        background.shutdown_timeout(BACKGROUND_STOP_TIME_MAX);
    }
}

/// The runtime of the background, for [`Broker::start_unless`].
pub fn background() -> Result<Runtime, StartError> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(BACKGROUND_THREADS).max_blocking_threads(BLOCKING_THREADS_MAX);
    builder.thread_name("milena-background").enable_all().build().map_err(StartError::Thread)
}

fn node(
    lifecycle: &Lifecycle,
    settings: Arc<Settings>,
    metrics: Arc<Metrics>,
    background: &tokio::runtime::Handle,
) -> Node {
    Node {
        fetch_sessions: Sessions::new(settings.fetch_session_slots, Arc::clone(&metrics)),
        settings,
        metadata: Arc::clone(lifecycle.metadata()),
        partitions: Arc::clone(lifecycle.partitions()),
        directories: Arc::clone(lifecycle.directories()),
        quorum: lifecycle.quorum().cloned(),
        controller: lifecycle.controller().clone(),
        cluster_id: lifecycle.cluster_id().into(),
        images: Images::default(),
        quotas: Arc::clone(lifecycle.quotas()),
        throttles: Arc::clone(lifecycle.throttles()),
        producer_ids: Arc::clone(lifecycle.producer_ids()),
        lags: Lags::default(),
        groups: Arc::clone(lifecycle.groups()),
        metrics,
        background: background.clone(),
    }
}

fn health(
    node: &Arc<Node>,
    lifecycle: &Lifecycle,
    starting: &Starting,
    stopping: &Arc<AtomicBool>,
) -> Health {
    Health {
        node_id: node.settings.node_id,
        incarnation_id: lifecycle.incarnation_id(),
        is_broker: node.settings.quorum.roles.broker,
        quorum: node.quorum.clone(),
        metadata: Arc::clone(&node.metadata),
        directories: Arc::clone(&node.directories),
        starting: starting.clone(),
        stopping: Arc::clone(stopping),
    }
}

/// Lets the connections follow `max.connections` and its like when they are set while the broker runs.
async fn follow_limits(
    mut in_force: watch::Receiver<Arc<Settings>>,
    mut known: Arc<Settings>,
    connections: Arc<Connections>,
    descriptors: u64,
) {
    let differ = |a: &Settings, b: &Settings| {
        a.connections != b.connections || a.connection_overrides != b.connection_overrides
    };
    while let Ok(settings) =
        in_force.wait_for(|settings| differ(settings, &known)).await.map(|now| Arc::clone(&now))
    {
        known = Arc::clone(&settings);
        let resolving =
            tokio::task::spawn_blocking(move || admission::resolve(&settings.connection_overrides));
        let Ok(resolved) = resolving.await else { return };
        let mut per_ip_overrides = BTreeMap::new();
        for (host, found) in resolved {
            match found {
                Ok(found) => per_ip_overrides.extend(found),
                Err(error) => {
                    tracing::warn!(%host, %error, "host in max.connections.per.ip.overrides is not known and was passed over");
                }
            }
        }
        let bounds = Limits::of(&known).within(descriptors).connections;
        connections.allow(Bounds { per_ip_overrides, ..bounds });
    }
}

/// The addresses of the hosts that have bounds of their own. A name that nobody knows would bind nobody.
fn resolve_overrides(settings: &Settings) -> Result<BTreeMap<IpAddr, usize>, StartError> {
    let mut addresses = BTreeMap::new();
    for (host, found) in admission::resolve(&settings.connection_overrides) {
        addresses.extend(found.map_err(|source| StartError::UnknownHost { host, source })?);
    }
    Ok(addresses)
}

fn spawn_reactors(node: &Arc<Node>, limits: &Arc<Limits>) -> Result<Reactors, StartError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let count = node.settings.num_network_threads.unwrap_or(cores);
    let budget = limits.in_flight_bytes_max.map(|bytes| Arc::new(Budget::new(bytes)));
    let spawn = |index: usize| {
        reactor::spawn(&index.to_string(), Arc::clone(node), Arc::clone(limits), budget.clone())
    };
    let reactors = (0..count).map(spawn).collect::<std::io::Result<_>>().map_err(StartError::Thread)?;
    Ok(Reactors::new(reactors))
}

/// Wall clock in milliseconds since 1970, as Kafka's timestamps. The shell reads it here and passes it on.
pub fn now_ms() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
