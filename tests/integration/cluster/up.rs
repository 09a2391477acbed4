//! `milena up` and `milena down`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use milena_tests::{ports, process, syscalls, wait};
use serde_json::Value;

use crate::said::{Said, milena};

const PATIENCE: Duration = Duration::from_secs(30);

/// Ports that lie together: clients, and what `milena up` derives for controllers and HTTP.
const NODES_MAX: u16 = 5;

/// A cluster in a directory of its own, which ends with this.
pub struct Up {
    folder: tempfile::TempDir,
    pub port: u16,
}

impl Up {
    pub fn new() -> Self {
        // It is found beside `milena`, so it must be built.
        process::program();
        Self { folder: tempfile::tempdir().expect("a directory"), port: base_port() }
    }

    pub fn directory(&self) -> String {
        self.folder.path().join("milena-cluster").display().to_string()
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = milena(words);
        let own = process::program();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", own.parent().expect("a folder").display()));
        command.args(["--data", &self.directory()]);
        command
    }

    pub fn run(&self, line: &str) -> Said {
        let words: Vec<&str> = line.split(' ').collect();
        self.command(&words).output().expect("milena runs").into()
    }

    /// Starts so many nodes.
    pub fn start(&self, brokers: u16) -> Value {
        self.run(&format!("up --brokers {brokers} --port {} --output json", self.port)).json()
    }

    pub fn bootstrap(&self, brokers: u16) -> String {
        (0..brokers).map(|index| format!("127.0.0.1:{}", self.port + index)).collect::<Vec<_>>().join(",")
    }

    /// Runs a command that talks to the cluster.
    pub fn ask(&self, brokers: u16, line: &str) -> Said {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = milena(&words);
        command.env("MILENA_BOOTSTRAP", self.bootstrap(brokers));
        command.output().expect("milena runs").into()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Where none was started, or all have ended, it fails or has nothing to do.
        for pid in pids(Path::new(&self.directory())) {
            let _ = syscalls::signal(pid, libc::SIGKILL);
        }
    }
}

/// Processes of the state file that still run these nodes; the test may have failed at any moment.
fn pids(directory: &Path) -> Vec<u32> {
    let text = fs::read_to_string(directory.join("cluster.json")).unwrap_or_default();
    let state: Value = serde_json::from_str(&text).unwrap_or_default();
    let nodes = state["nodes"].as_array().cloned().unwrap_or_default();
    let pids = nodes
        .iter()
        .filter_map(|node| node["process"]["pid"].as_u64())
        .filter_map(|pid| u32::try_from(pid).ok());
    pids.filter(|pid| command_line(*pid).contains(&directory.display().to_string())).collect()
}

fn command_line(pid: u32) -> String {
    fs::read(format!("/proc/{pid}/cmdline"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn base_port() -> u16 {
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut found = None;
    for _ in 0..100 {
        let base = ports::together(NODES_MAX);
        let all = (0..NODES_MAX).flat_map(|index| [base + 1000 + index, base + 372 + index]);
        if all.into_iter().all(is_free) {
            found = Some(base);
            break;
        }
    }
    found.expect("ports that lie together")
}

/// The process ids of an answer of `milena up`.
fn pid_of(nodes: &Value, index: usize) -> Option<u64> {
    nodes[index]["pid"].as_u64()
}

#[test]
fn one_node_goes_up_and_down() {
    let up = Up::new();
    let said = up.run(&format!("up --brokers 1 --port {}", up.port));
    assert!(
        said.err.contains("1 node is ready after ") && said.err.contains("export MILENA_BOOTSTRAP="),
        "{said:?}"
    );
    let shown = said.ok();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("NODE  ADDRESS") && lines.len() == 2, "{shown}");
    assert!(lines[1].contains(&up.bootstrap(1)) && lines[1].contains("node-1"), "{shown}");

    up.ask(1, "topic create t").ok();
    let again = up.run("up");
    assert!(again.err.contains("all nodes run already"), "{again:?}");
    again.ok();

    assert_eq!(up.run("down").ok(), "node 1 stopped\n");
    assert_eq!(up.run("down").ok(), "node 1 did not run\n");
    // What was written is there after the next start.
    up.run("up").ok();
    assert!(up.ask(1, "topic list").ok().contains('t'));
    let deleted = up.run("down --delete --output json").json();
    assert_eq!(deleted, serde_json::json!([{ "id": 1, "outcome": "stopped" }]));
    assert!(!Path::new(&up.directory()).exists());
    let gone = up.run("down").failed(1);
    assert!(gone.contains("there is no cluster in") && gone.contains("milena up"), "{gone}");
}

#[test]
fn a_node_is_killed_and_restarted_from_another_shell() {
    let up = Up::new();
    let nodes = up.start(1);
    let first = pid_of(&nodes, 0).expect("it runs");
    let killed = up.run("up --kill 1 --output json").json();
    assert_eq!((pid_of(&killed, 0), &killed[0]["running"]), (None, &Value::Bool(false)));
    let again = up.run("up --restart 1 --output json").json();
    let second = pid_of(&again, 0).expect("it runs");
    assert_ne!(first, second);
    // One that runs is stopped in order before.
    let restarted = up.run("up --restart 1 --output json").json();
    assert_ne!(pid_of(&restarted, 0), Some(second));
    let log = restarted[0]["log"].as_str().expect("a path");
    let log = fs::read_to_string(log).expect("a log");
    assert_eq!(log.matches("  listens on  ").count(), 3, "{log}");
    assert_eq!(log.matches("stopped").count(), 1, "{log}");
    let unknown = up.run("up --kill 7").failed(2);
    assert!(unknown.contains("no node 7, but 1"), "{unknown}");
    up.run("down").ok();
}

#[test]
fn a_node_that_dies_by_itself_is_noticed_and_started_again() {
    let up = Up::new();
    let nodes = up.start(1);
    let first = pid_of(&nodes, 0).and_then(|pid| u32::try_from(pid).ok()).expect("it runs");
    syscalls::signal(first, libc::SIGKILL).expect("it runs");
    let restarted = wait::poll(PATIENCE, || {
        let nodes = up.run("up --output json").json();
        pid_of(&nodes, 0).filter(|pid| *pid != u64::from(first))
    });
    assert!(restarted.is_some());
    up.run("down").ok();
}

#[test]
fn a_number_that_another_process_has_now_is_left_alone() {
    let up = Up::new();
    up.start(1);
    up.run("down").ok();
    // As if a node had run under the number of this test, at another time.
    let file = Path::new(&up.directory()).join("cluster.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("JSON");
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux");
    state["nodes"][0]["process"] =
        serde_json::json!({ "pid": std::process::id(), "started_ticks": 1, "boot_id": boot_id.trim() });
    fs::write(&file, state.to_string()).expect("written");
    assert_eq!(up.run("down").ok(), "node 1 did not run\n");
}

#[test]
fn what_is_in_use_is_refused() {
    let up = Up::new();
    let held = std::net::TcpListener::bind(("127.0.0.1", up.port)).expect("a port");
    let refused = up.run(&format!("up --brokers 1 --port {}", up.port)).failed(1);
    assert!(refused.contains(&up.port.to_string()) && refused.contains("in use"), "{refused}");
    assert!(!Path::new(&up.directory()).exists(), "nothing was made");
    drop(held);
    up.start(1);
    for (line, expected) in [
        ("up --brokers 3".to_owned(), "holds a cluster of 1 nodes"),
        (format!("up --port {}", up.port + 1), "at other ports"),
        ("up --override log.retention.hours=1".to_owned(), "server.properties"),
    ] {
        let refused = up.run(&line).failed(2);
        assert!(refused.contains(expected), "{line}: {refused}");
    }
    up.run("down").ok();
}

#[test]
fn a_node_that_does_not_start_says_why_and_leaves_nothing_behind() {
    let up = Up::new();
    let line = format!("up --brokers 1 --port {} --override log.retention.ms=0", up.port);
    let refused = up.run(&line).failed(1);
    assert!(
        refused.contains("node 1 ended at its start") && refused.contains("log.retention.ms"),
        "{refused}"
    );
    assert!(refused.contains("broker.log"), "{refused}");
    assert_eq!(up.run("down").ok(), "node 1 did not run\n");
    // The properties are the user's: with better ones it starts.
    let file = Path::new(&up.directory()).join("node-1/server.properties");
    let properties = fs::read_to_string(&file).expect("written").replace("log.retention.ms=0\n", "");
    fs::write(&file, properties).expect("written");
    up.run("up").ok();
    up.run("down").ok();
}
