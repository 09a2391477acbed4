//! The whole broker as a value: started from settings, stopped in order, used by `main` and by tests.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use milena_log::RealFiles;
use milena_log::files::Files;
use milena_state::config::broker::Settings;
use milena_state::config::describe::Layers;
use milena_state::config::listener::Listener as Advertised;
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
use crate::lifecycle::Lifecycle;
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::partition::{Directories, Table};
use crate::quota::Quotas;
use crate::server::admission::{self, Connections, HeldBack};
use crate::server::budget::Budget;
use crate::server::limits::Limits;
use crate::server::listener::{Acceptor, Listener, SocketOptions};
use crate::server::reactor::{self, Reactors};
use crate::server::session::Sessions;
use crate::system;

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
    pub quorum: Quorum,
    pub controller: Client,
    pub cluster_id: Arc<str>,
    pub fetch_sessions: Sessions,
    pub quotas: Arc<Quotas>,
    pub producer_ids: Arc<ProducerIds>,
    pub groups: Arc<Coordinators>,
    pub lags: Lags,
    pub metrics: Arc<Metrics>,
    /// The runtime for work that must not run on a reactor, and its pool for blocking calls.
    pub background: tokio::runtime::Handle,
}

impl Node {
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
    pub fn start_on(
        files: Arc<dyn Files>,
        mut settings: Settings,
        limits: Limits,
    ) -> Result<Self, StartError> {
        let descriptors = system::raise_descriptor_limit().unwrap_or_else(|error| {
            tracing::warn!(%error, "limit of open files stays as it is");
            u64::MAX
        });
        let limits = limits.within(descriptors);
        let overrides = resolve_overrides(&settings)?;
        // Ports first: when another process has them, our data must not be touched.
        let listeners = bind(&mut settings)?;
        let http = bind_http(&settings)?;
        let background = Builder::new_multi_thread()
            .worker_threads(BACKGROUND_THREADS)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("milena-background")
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let fetch_session_slots = settings.fetch_session_slots;
        let settings = Arc::new(settings);
        let metrics = Arc::new(Metrics::new());
        let starting = Lifecycle::start_on(files, Arc::clone(&settings), Arc::clone(&metrics));
        let lifecycle = background.block_on(starting)?;
        let node = Arc::new(Node {
            settings,
            metadata: Arc::clone(lifecycle.metadata()),
            partitions: Arc::clone(lifecycle.partitions()),
            directories: Arc::clone(lifecycle.directories()),
            quorum: lifecycle.quorum().clone(),
            controller: lifecycle.controller().clone(),
            cluster_id: lifecycle.cluster_id().into(),
            fetch_sessions: Sessions::new(fetch_session_slots, Arc::clone(&metrics)),
            quotas: Arc::clone(lifecycle.quotas()),
            producer_ids: Arc::clone(lifecycle.producer_ids()),
            lags: Lags::default(),
            groups: Arc::clone(lifecycle.groups()),
            metrics,
            background: background.handle().clone(),
        });
        let limits = Arc::new(limits);
        let acceptor = Acceptor {
            reactors: Arc::new(spawn_reactors(&node, &limits)?),
            connections: Arc::clone(node.quotas.connections()),
            held_back: HeldBack::default(),
            metrics: Arc::clone(&node.metrics),
        };
        acceptor.connections.allow(Bounds { per_ip_overrides: overrides, ..limits.connections.clone() });
        background.spawn(Arc::clone(&acceptor.connections).resolve_ip_rates());
        background.spawn(follow_limits(
            lifecycle.in_force(),
            Arc::clone(&node.settings),
            Arc::clone(&acceptor.connections),
            descriptors,
        ));
        let stopping = Arc::new(AtomicBool::new(false));
        let (stop_http, http_stopped) = oneshot::channel();
        let http_address = http.as_ref().map(|(_, address)| *address);
        if let Some((listener, _)) = http {
            let admin = Admin {
                node: Arc::clone(&node),
                connections: Arc::clone(&acceptor.connections),
                health: Health {
                    node_id: node.settings.node_id,
                    quorum: lifecycle.quorum().clone(),
                    metadata: Arc::clone(&node.metadata),
                    directories: Arc::clone(lifecycle.directories()),
                    stopping: Arc::clone(&stopping),
                },
            };
            background.spawn(admin::serve(listener, admin, http_stopped));
        }
        Ok(Self {
            addresses: listeners.iter().map(|bound| (Arc::clone(bound.name()), bound.address())).collect(),
            acceptors: listeners
                .into_iter()
                .map(|listener| background.spawn(listener.accept(acceptor.clone())))
                .collect(),
            reactors: acceptor.reactors,
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

    /// Address of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0].1
    }

    /// What a client is told to connect to, `host:port` of the first listener.
    pub fn bootstrap(&self) -> String {
        match self.node.settings.advertised_listeners.first() {
            Some(advertised) if advertised.host.contains(':') => {
                format!("[{}]:{}", advertised.host, advertised.port)
            }
            Some(advertised) => format!("{}:{}", advertised.host, advertised.port),
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

    /// Stops in order: no new connections, requests in flight answered, partitions flushed and closed.
    pub fn stop(self) {
        let Self { stopping, stop_http, lags, acceptors, reactors, lifecycle, background, node, .. } = self;
        stopping.store(true, Ordering::Relaxed);
        background.block_on(async {
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
        let _ = stop_http.send(());
        drop(node);
        background.shutdown_timeout(BACKGROUND_STOP_TIME_MAX);
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

/// Binds the client listeners and writes the ports that the system chose into the advertised ones.
fn bind(settings: &mut Settings) -> Result<Vec<Listener>, StartError> {
    let options = SocketOptions {
        backlog: settings.socket_listen_backlog_size,
        receive_buffer_bytes: settings.socket_receive_buffer_bytes,
        send_buffer_bytes: settings.socket_send_buffer_bytes,
    };
    let mut bound = Vec::with_capacity(settings.listeners.len());
    for listener in &mut settings.listeners {
        let socket =
            Listener::bind(&listener.name, &listener.host, listener.port, options).map_err(|source| {
                StartError::Listen { property: "listeners", address: listener.to_string(), source }
            })?;
        listener.port = socket.address().port();
        for advertised in &mut settings.advertised_listeners {
            if advertised.name == listener.name && advertised.port == 0 {
                advertised.port = listener.port;
            }
        }
        bound.push(socket);
    }
    name_hosts(&mut settings.advertised_listeners)?;
    Ok(bound)
}

/// Gives listeners on all interfaces the name of this machine, as Apache Kafka does: a client needs a host.
fn name_hosts(advertised: &mut [Advertised]) -> Result<(), StartError> {
    for listener in advertised.iter_mut().filter(|listener| listener.host.is_empty()) {
        let name = gethostname::gethostname().to_string_lossy().into_owned();
        // A name that nobody can resolve would fail at the clients, far from its cause.
        if let Err(source) = (name.as_str(), listener.port).to_socket_addrs() {
            return Err(StartError::NoHostName { listener: listener.to_string(), name, source });
        }
        listener.host = name;
    }
    Ok(())
}

fn bind_http(settings: &Settings) -> Result<Option<(std::net::TcpListener, SocketAddr)>, StartError> {
    let Some(http) = &settings.http_listener else { return Ok(None) };
    let bound = admin::bind(&http.host, http.port).map_err(|source| StartError::Listen {
        property: "milena.http.listener",
        address: format!("{}:{}", http.host, http.port),
        source,
    })?;
    Ok(Some(bound))
}

fn spawn_reactors(node: &Arc<Node>, limits: &Arc<Limits>) -> Result<Reactors, StartError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let count = node.settings.num_network_threads.unwrap_or(cores);
    let budget = limits.in_flight_bytes_max.map(|bytes| Arc::new(Budget::new(bytes)));
    let spawn = |index| reactor::spawn(index, Arc::clone(node), Arc::clone(limits), budget.clone());
    let reactors = (0..count).map(spawn).collect::<std::io::Result<_>>().map_err(StartError::Thread)?;
    Ok(Reactors::new(reactors))
}

/// Wall clock in milliseconds since 1970, as Kafka's timestamps. The shell reads it here and passes it on.
pub fn now_ms() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
