//! A cluster of broker processes on this machine: made, hurt, healed.
//!
//! Each node is broker and controller, unless a test wants brokers besides. One cluster runs at a time in a process of tests: several of them on a few cores would
//! measure each other.

use std::fs;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::disk::SmallDisk;
use crate::network::Network;
use crate::ports;
use crate::process::{self, Broker, Config};

/// Lines of each node's output that a failed test shows.
const TAIL_LINES: usize = 25;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A cluster to start.
pub struct Setup {
    /// Of nodes that are both.
    size: usize,
    /// Of nodes that are brokers alone.
    brokers: usize,
    properties: Vec<(String, String)>,
    has_fixed_voters: bool,
    network: Option<Network>,
    disk_megabytes: Option<u32>,
}

impl Setup {
    /// Nodes numbered from 1 on.
    pub fn new(size: usize) -> Self {
        Self {
            size,
            brokers: 0,
            properties: Vec::new(),
            has_fixed_voters: true,
            network: None,
            disk_megabytes: None,
        }
    }

    /// Adds nodes that are no controllers, numbered after the others.
    pub fn brokers(mut self, count: usize) -> Self {
        self.brokers = count;
        self
    }

    /// Sets a property of every node.
    pub fn property(mut self, name: &str, value: impl ToString) -> Self {
        self.properties.push((name.to_owned(), value.to_string()));
        self
    }

    /// Names the controllers by their addresses alone, so that who votes is not fixed.
    pub fn by_servers(mut self) -> Self {
        self.has_fixed_voters = false;
        self
    }

    /// Puts a network between the nodes, and between them and clients, that can be cut.
    pub fn on(mut self, network: &Network) -> Self {
        self.network = Some(network.clone());
        self
    }

    /// Gives each node a disk of its own of this size; takes [`may`](crate::disk::may).
    pub fn disks(mut self, megabytes: u32) -> Self {
        self.disk_megabytes = Some(megabytes);
        self
    }

    /// Starts the nodes and waits until all are ready.
    pub fn start(self) -> Cluster {
        // A test that failed with it has ended its processes all the same.
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let temporary = tempfile::Builder::new().prefix("milena-cluster-").tempdir().expect("a directory");
        let own: Vec<u16> = (0..self.size).map(|_| ports::free()).collect();
        let controllers: Vec<u16> = (1..).zip(&own).map(|(id, port)| self.front(id, *port)).collect();
        let (named_by, named) = self.named(&controllers);
        let copies = self.size.min(3);
        let (mut nodes, mut fronts) = (Vec::with_capacity(self.size), Vec::with_capacity(self.size));
        let mut disks = Vec::new();
        // It may have to be built first.
        process::program();
        let began = Instant::now();
        for (id, place) in (1..).zip(0..self.size + self.brokers) {
            let mut config = Config::at(&temporary.path().join(format!("node-{id}")));
            disks.extend(self.disk_megabytes.map(|megabytes| SmallDisk::mount(&config.data(), megabytes)));
            let clients = ports::address(config.port());
            fronts.push(self.front(id, config.port()));
            let mut roles = "broker";
            let mut listeners = format!("PLAINTEXT://{clients}");
            let mut advertised = format!("PLAINTEXT://{}", ports::address(fronts[place]));
            if let (Some(controller), Some(front)) = (own.get(place), controllers.get(place)) {
                roles = "broker,controller";
                listeners += &format!(",CONTROLLER://{}", ports::address(*controller));
                advertised += &format!(",CONTROLLER://{}", ports::address(*front));
            }
            config = config
                .property("node.id", id)
                .property("process.roles", roles)
                .property("listeners", listeners)
                .property("advertised.listeners", advertised)
                .property("controller.listener.names", "CONTROLLER")
                .property("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT")
                .property(named_by, &named)
                .property("broker.rack", format!("rack-{id}"))
                .property("default.replication.factor", copies)
                .property("offsets.topic.replication.factor", copies)
                .property("min.insync.replicas", copies / 2 + 1)
                .property("group.initial.rebalance.delay.ms", 0);
            for (name, value) in &self.properties {
                config = config.property(name, value);
            }
            nodes.push(config.launch().expect("the program starts"));
        }
        let network = self.network;
        let start_took = Duration::ZERO;
        let mut cluster = Cluster {
            nodes,
            fronts,
            controllers,
            network,
            _disks: disks,
            start_took,
            _temporary: temporary,
            _guard: guard,
        };
        cluster.ids().for_each(|id| cluster.tell_network(id));
        for node in &mut cluster.nodes {
            node.wait_ready().expect("a node starts");
        }
        cluster.start_took = began.elapsed();
        cluster
    }

    /// The port under which others know a port of a node.
    fn front(&self, id: i32, port: u16) -> u16 {
        let network = self.network.as_ref();
        network.map_or(port, |network| network.in_front_of(id, port).expect("a free port"))
    }

    /// The property that names the controllers, and its value.
    fn named(&self, controllers: &[u16]) -> (&'static str, String) {
        if self.has_fixed_voters {
            let voter = |(id, port): (i32, &u16)| format!("{id}@{}", ports::address(*port));
            let voters: Vec<String> = (1..).zip(controllers).map(voter).collect();
            return ("controller.quorum.voters", voters.join(","));
        }
        let servers: Vec<String> = controllers.iter().map(|port| ports::address(*port)).collect();
        ("controller.quorum.bootstrap.servers", servers.join(","))
    }
}

/// A cluster that runs; its processes are killed when this is dropped.
pub struct Cluster {
    nodes: Vec<Broker>,
    /// The ports under which clients and other nodes know them.
    fronts: Vec<u16>,
    controllers: Vec<u16>,
    network: Option<Network>,
    _disks: Vec<SmallDisk>,
    start_took: Duration,
    _temporary: tempfile::TempDir,
    _guard: MutexGuard<'static, ()>,
}

impl Cluster {
    pub fn start(size: usize) -> Self {
        Setup::new(size).start()
    }

    /// Addresses of all controllers, for `controller.quorum.bootstrap.servers`.
    pub fn controllers(&self) -> String {
        self.controllers.iter().map(|port| ports::address(*port)).collect::<Vec<_>>().join(",")
    }

    /// From the first process to the last that was ready.
    pub fn start_took(&self) -> Duration {
        self.start_took
    }

    pub fn ids(&self) -> impl Iterator<Item = i32> + use<> {
        1..=i32::try_from(self.nodes.len()).expect("a few nodes")
    }

    /// Addresses of all nodes for `bootstrap.servers`, of those that run and those that do not.
    pub fn bootstrap(&self) -> String {
        self.fronts.iter().map(|port| ports::address(*port)).collect::<Vec<_>>().join(",")
    }

    pub fn node(&self, id: i32) -> &Broker {
        &self.nodes[index(id)]
    }

    pub fn node_mut(&mut self, id: i32) -> &mut Broker {
        &mut self.nodes[index(id)]
    }

    /// Ends a node at once, as a crash does.
    pub fn kill(&mut self, id: i32) {
        self.node_mut(id).kill().expect("it runs");
    }

    /// Stops a node in order, which must work.
    pub fn stop(&mut self, id: i32) {
        let node = self.node_mut(id);
        let status = node.stop().expect("it stops");
        assert!(status.success(), "node {id} ended with {status}:\n{}", tail(node));
    }

    /// Holds a node still, with its connections open.
    pub fn pause(&self, id: i32) {
        self.node(id).pause().expect("it runs");
    }

    pub fn resume(&self, id: i32) {
        self.node(id).resume().expect("it is there");
    }

    /// Starts a node that has ended, and waits until it is ready.
    pub fn start_again(&mut self, id: i32) {
        self.node_mut(id).spawn_again().expect("the program starts");
        self.tell_network(id);
        self.node_mut(id).wait_ready().expect("it comes back");
    }

    fn tell_network(&self, id: i32) {
        if let Some(network) = &self.network {
            network.is_process(id, self.node(id).pid());
        }
    }

    /// Removes all files of a node that has ended, as a new disk does.
    pub fn wipe(&mut self, id: i32) {
        fs::remove_dir_all(self.node(id).data()).expect("its files are there");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(folder) = std::env::var_os("MILENA_CHAOS_KEEP") {
            for (id, node) in (1..).zip(&self.nodes) {
                let path = std::path::Path::new(&folder).join(format!("node-{id}.log"));
                if let Err(error) = fs::write(&path, node.output()) {
                    eprintln!("{} is not kept: {error}", path.display());
                }
            }
        }
        if !std::thread::panicking() {
            return;
        }
        for (id, node) in (1..).zip(&self.nodes) {
            eprintln!("--- the end of node {id}'s output:\n{}", tail(node));
        }
    }
}

fn index(id: i32) -> usize {
    usize::try_from(id - 1).expect("nodes are numbered from 1 on")
}

fn tail(node: &Broker) -> String {
    let output = node.output();
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
