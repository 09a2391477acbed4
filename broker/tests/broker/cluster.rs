//! Several nodes of one cluster in this process, on the loopback: founded, asked, stopped and killed.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use milena_broker::broker::Broker;
use milena_broker::error::StartError;
use milena_client::admin::{Admin, ConfigChange, ConfigResource, NewTopic};
use milena_client::cluster::Cluster;
use milena_client::config::ClientConfig;
use milena_protocol::ErrorCode;
use milena_protocol::messages::FindCoordinatorRequest;
use milena_state::config::broker::Settings;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::harness::{ask, connect};

/// An election and a registration are matters of a second; a busy machine gets more.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What every node is given besides its roles.
const PROPERTIES: &[(&str, &str)] = &[
    ("num.network.threads", "1"),
    ("milena.http.listener", ""),
    ("controller.listener.names", "CONTROLLER"),
    ("broker.heartbeat.interval.ms", "1000"),
    // Nobody is fenced for silence here.
    ("broker.session.timeout.ms", "60000"),
];

/// Nodes with directories of their own. What still runs at the end is killed.
pub struct Nodes {
    voters: String,
    ports: BTreeMap<i32, u16>,
    directories: BTreeMap<i32, TempDir>,
    pub running: BTreeMap<i32, Broker>,
    pub client: Runtime,
    /// Properties of all nodes that differ from the usual.
    more: Vec<(&'static str, &'static str)>,
    /// Each has a second log directory.
    has_second_directory: bool,
}

impl Nodes {
    /// A cluster with these controllers, of which none runs yet.
    fn of(controllers: &[i32]) -> Self {
        // All held at a time, so that they differ.
        let held: Vec<_> =
            controllers.iter().map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
        let ports: BTreeMap<_, _> = controllers.iter().copied().zip(held.iter().map(port)).collect();
        let voters: Vec<_> = ports.iter().map(|(id, port)| format!("{id}@127.0.0.1:{port}")).collect();
        Self {
            voters: voters.join(","),
            ports,
            directories: BTreeMap::new(),
            running: BTreeMap::new(),
            client: Runtime::new().expect("a runtime"),
            more: Vec::new(),
            has_second_directory: false,
        }
    }

    /// Three nodes that are brokers and controllers, running.
    pub fn three() -> Self {
        Self::three_with(&[])
    }

    /// The same, with other properties.
    pub fn three_with(more: &[(&'static str, &'static str)]) -> Self {
        let mut nodes = Self::of(&[1, 2, 3]);
        nodes.more = more.to_vec();
        nodes.start(&[(1, "broker,controller"), (2, "broker,controller"), (3, "broker,controller")]);
        nodes
    }

    /// Three nodes with two log directories each.
    pub fn three_with_two_directories() -> Self {
        let mut nodes = Self::of(&[1, 2, 3]);
        nodes.has_second_directory = true;
        nodes.start(&[(1, "broker,controller"), (2, "broker,controller"), (3, "broker,controller")]);
        nodes
    }

    fn settings(&mut self, id: i32, roles: &str, more: &[(&str, &str)]) -> Settings {
        let directory =
            self.directories.entry(id).or_insert_with(|| tempfile::tempdir().expect("a temporary directory"));
        let first = directory.path().join("one").display().to_string();
        let second = directory.path().join("two").display().to_string();
        let log_dirs = if self.has_second_directory { format!("{first},{second}") } else { first };
        let mut listeners = Vec::new();
        if roles.contains("broker") {
            listeners.push("PLAINTEXT://127.0.0.1:0".to_owned());
        }
        if roles.contains("controller") {
            listeners.push(format!("CONTROLLER://127.0.0.1:{}", self.ports[&id]));
        }
        let (id, listeners) = (id.to_string(), listeners.join(","));
        let own = [
            ("node.id", id.as_str()),
            ("process.roles", roles),
            ("listeners", &listeners),
            ("controller.quorum.voters", &self.voters),
            ("log.dirs", &log_dirs),
        ];
        let all = own.iter().chain(PROPERTIES).chain(&self.more).chain(more);
        let properties = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::parse(&properties).expect("valid settings")
    }

    /// Starts nodes at the same time and returns when all of them answer.
    pub fn start(&mut self, nodes: &[(i32, &str)]) {
        let starting: Vec<_> = nodes
            .iter()
            .map(|(id, roles)| {
                let settings = self.settings(*id, roles, &[]);
                (*id, thread::spawn(move || start(&settings)))
            })
            .collect();
        for (id, starting) in starting {
            let started = starting.join().expect("starting does not panic");
            self.running.insert(id, started.unwrap_or_else(|error| panic!("node {id}: {error}")));
        }
    }

    pub fn admin(&self, id: i32) -> Admin {
        let config = ClientConfig {
            bootstrap_servers: vec![self.running[&id].bootstrap()],
            api_timeout: PATIENCE,
            ..ClientConfig::default()
        };
        Admin::new(Cluster::new(config))
    }

    /// Creates a topic by asking that node.
    pub fn create(&self, id: i32, name: &str, partitions: i32, replication_factor: i16) {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: Some(partitions),
            replication_factor: Some(replication_factor),
            ..NewTopic::default()
        };
        let admin = self.admin(id);
        let created = self.client.block_on(admin.create_topics(&[topic], false)).expect("answered");
        for (name, outcome) in created {
            outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    pub fn has(&self, id: i32, topic: &str) -> bool {
        self.running[&id].node().metadata.image().topic_by_name(topic).is_some()
    }

    pub fn eventually(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !condition(self) {
            assert!(begun.elapsed() < PATIENCE, "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn active(&self) -> i32 {
        self.eventually("somebody leads", |nodes| nodes.leader().is_some());
        self.leader().expect("it was there just now")
    }

    pub fn leader(&self) -> Option<i32> {
        let mut leading = self.running.iter().filter(|(_, broker)| broker.node().controller.leads_here());
        leading.next().map(|(id, _)| *id)
    }

    /// What a kill leaves behind.
    pub fn kill(&mut self, id: i32) {
        drop(self.running.remove(&id).expect("it runs"));
    }

    pub fn stop(&mut self, id: i32) {
        self.running.remove(&id).expect("it runs").stop();
    }

    fn leaders_of(&self, id: i32, topic: &str) -> Vec<Option<i32>> {
        let image = self.running[&id].node().metadata.image_arc();
        let topic = image.topic_by_name(topic).expect("it was created");
        topic.partitions.iter().map(|partition| partition.leader).collect()
    }

    fn is_active(&self, seen_by: i32, broker: i32) -> bool {
        self.running[&seen_by].node().metadata.image().is_active(broker)
    }
}

/// Starts a node. One that was killed in this process lets go of its directory when its last thread has ended.
fn start(settings: &Settings) -> Result<Broker, StartError> {
    let begun = Instant::now();
    loop {
        match Broker::start(settings.clone()) {
            Err(error) if error.to_string().contains("locked") && begun.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            outcome => return outcome,
        }
    }
}

#[test]
fn what_is_asked_of_any_broker_is_served_by_all() {
    let nodes = Nodes::three();
    let cluster_ids: Vec<_> = nodes.running.values().map(|broker| broker.node().cluster_id.clone()).collect();
    assert!(cluster_ids.windows(2).all(|pair| pair[0] == pair[1]), "{cluster_ids:?}");
    for id in [1, 2, 3] {
        let topic = format!("asked-of-{id}");
        nodes.create(id, &topic, 3, 1);
        assert!(nodes.has(id, &topic), "the answer waits until its broker serves the outcome");
        nodes.eventually("the others follow", |nodes| (1..=3).all(|other| nodes.has(other, &topic)));
        let described = nodes.client.block_on(nodes.admin(id).describe_cluster()).expect("answered");
        assert_eq!(described.brokers.iter().map(|broker| broker.id).collect::<Vec<_>>(), [1, 2, 3]);
        // Changes that its broker takes apart are passed on as well.
        let change = ("retention.ms".to_owned(), ConfigChange::Set("1000".to_owned()));
        let (admin, resource) = (nodes.admin(id), ConfigResource::Topic(topic.clone()));
        nodes.client.block_on(admin.alter_configs(&resource, &[change], false)).expect("altered");
        let served = nodes.running[&id].node().metadata.image_arc();
        assert_eq!(served.topic_config(&topic).get("retention.ms").map(String::as_str), Some("1000"));
    }
    // Blocks of producer ids come from the active controller, and nobody has an id twice.
    let ids: Vec<_> = nodes
        .running
        .values()
        .map(|broker| nodes.client.block_on(broker.node().producer_ids.next()).expect("a block comes"))
        .collect();
    assert!(ids.iter().enumerate().all(|(place, id)| !ids[..place].contains(id)), "{ids:?}");
}

#[test]
fn another_controller_answers_when_the_active_one_is_gone() {
    let mut nodes = Nodes::three();
    nodes.create(1, "before", 1, 1);
    let active = nodes.active();
    nodes.kill(active);
    let begun = Instant::now();
    let other = *nodes.running.keys().next().expect("two are left");
    nodes.create(other, "after", 1, 1);
    let took = begun.elapsed();
    println!("a topic was created {took:?} after the active controller was killed");
    assert!(took < Duration::from_secs(10), "{took:?}");
    nodes.eventually("both follow", |nodes| nodes.running.keys().all(|id| nodes.has(*id, "after")));
    assert!(nodes.has(other, "before"));
    // Its broker died with it, and with it whoever would have noticed.
    nodes.eventually("it is fenced", |nodes| !nodes.is_active(other, active));
    println!("its broker was fenced {:?} after it was killed", begun.elapsed());
    assert!(nodes.running.keys().all(|id| nodes.is_active(other, *id)), "those that live are not");
}

#[test]
fn brokers_follow_controllers_that_are_no_brokers() {
    let mut nodes = Nodes::of(&[10]);
    nodes.start(&[(10, "controller"), (1, "broker"), (2, "broker")]);
    for id in [1, 2] {
        assert!(nodes.running[&id].node().quorum.is_none());
        let topic = format!("asked-of-{id}");
        nodes.create(id, &topic, 2, 2);
        nodes.eventually("the other follows", |nodes| nodes.has(3 - id, &topic) && nodes.has(10, &topic));
    }
    nodes.stop(2);
    nodes.create(1, "while-2-is-away", 1, 1);
    nodes.start(&[(2, "broker")]);
    assert!(nodes.has(2, "while-2-is-away") && nodes.has(2, "asked-of-1"));
    // A controller alone comes back to its cluster, and its brokers to it.
    nodes.stop(10);
    nodes.start(&[(10, "controller")]);
    nodes.create(2, "after-the-controller", 1, 1);
}

#[test]
fn groups_have_a_coordinator_when_three_brokers_can_keep_their_offsets() {
    let mut nodes = Nodes::of(&[10]);
    nodes.start(&[(10, "controller"), (1, "broker"), (2, "broker")]);
    let find = |nodes: &Nodes, id: i32| {
        let request = FindCoordinatorRequest { key: "group".into(), ..Default::default() };
        ask(&mut connect(nodes.running[&id].address()), 0, &request).error_code
    };
    for id in [1, 2, 1] {
        assert_eq!(find(&nodes, id), ErrorCode::CoordinatorNotAvailable.as_i16());
    }
    assert!(!nodes.has(1, "__consumer_offsets"));
    nodes.start(&[(3, "broker")]);
    nodes.eventually("a coordinator", |nodes| find(nodes, 1) == ErrorCode::None.as_i16());
    let image = nodes.running[&1].node().metadata.image_arc();
    let topic = image.topic_by_name("__consumer_offsets").expect("it was created");
    assert!(topic.partitions.iter().all(|partition| partition.replicas.len() == 3));
}

#[test]
fn a_broker_that_stops_hands_over_what_it_leads() {
    let mut nodes = Nodes::three();
    nodes.create(1, "topic", 6, 3);
    let active = nodes.active();
    let seen_by = *nodes.running.keys().find(|id| **id != active).expect("three run");
    nodes.eventually("all follow", |nodes| nodes.has(seen_by, "topic") && nodes.has(active, "topic"));
    nodes
        .eventually("it leads something", |nodes| nodes.leaders_of(seen_by, "topic").contains(&Some(active)));
    nodes.stop(active);
    let leaders = nodes.leaders_of(seen_by, "topic");
    assert!(leaders.iter().all(|leader| leader.is_some_and(|leader| leader != active)), "{leaders:?}");
    nodes.start(&[(active, "broker,controller")]);
    nodes.eventually("it is back", |nodes| nodes.is_active(seen_by, active));
}

#[test]
fn a_broker_that_dies_is_fenced_long_before_its_session_ends() {
    let mut nodes = Nodes::of(&[10]);
    nodes.start(&[(10, "controller"), (1, "broker"), (2, "broker")]);
    nodes.kill(2);
    nodes.eventually("it is fenced", |nodes| !nodes.is_active(1, 2));
    // It may come back at once: its directory shows that nobody else lives under its id.
    let begun = Instant::now();
    nodes.start(&[(2, "broker")]);
    assert!(begun.elapsed() < PATIENCE);
    nodes.eventually("it is back", |nodes| nodes.is_active(1, 2));
}

#[test]
fn an_id_that_is_taken_is_refused_while_the_other_lives() {
    let mut nodes = Nodes::of(&[10]);
    nodes.start(&[(10, "controller"), (1, "broker")]);
    let own = nodes.directories.remove(&1).expect("node 1 has one");
    let second = nodes.settings(1, "broker", &[("initial.broker.registration.timeout.ms", "500")]);
    let Err(error) = Broker::start(second) else { panic!("the second node 1 started") };
    assert!(
        error.to_string().contains("registered with that broker id")
            || error.to_string().contains("DUPLICATE"),
        "{error}"
    );
    assert!(nodes.is_active(10, 1));
    drop(own);
}

#[test]
fn a_cluster_that_was_stopped_comes_back_as_it_was() {
    let mut nodes = Nodes::three();
    nodes.create(1, "topic", 3, 3);
    let cluster_id = nodes.running[&1].node().cluster_id.clone();
    // All at once: the last ones have no quorum that could let them go.
    let begun = Instant::now();
    let running: Vec<_> = [1, 2, 3].iter().filter_map(|id| nodes.running.remove(id)).collect();
    let stopping: Vec<_> = running.into_iter().map(|broker| thread::spawn(|| broker.stop())).collect();
    stopping.into_iter().for_each(|stopping| stopping.join().expect("stopping does not panic"));
    println!("three nodes stopped together in {:?}", begun.elapsed());
    nodes.start(&[(1, "broker,controller"), (2, "broker,controller"), (3, "broker,controller")]);
    assert!((1..=3).all(|id| nodes.has(id, "topic")));
    assert_eq!(nodes.running[&1].node().cluster_id, cluster_id);
    // Killed all at once: nobody has to wait for the sessions of before.
    for id in [1, 2, 3] {
        nodes.kill(id);
    }
    nodes.start(&[(1, "broker,controller"), (2, "broker,controller"), (3, "broker,controller")]);
    nodes.create(2, "afterwards", 1, 1);
}

#[path = "cluster_voters.rs"]
mod voters;

#[path = "cluster_observers.rs"]
mod observers;
