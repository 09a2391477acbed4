//! The program: arguments, banner, signals, exit codes.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use crate::harness::{connect, create_topic, eventually};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milena-broker"));
    command.env_remove("RUST_LOG");
    command
}

/// A broker as a process of its own; killed when a test fails.
pub struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub fn start(data: &Path) -> Self {
        let listeners = [("listeners", "PLAINTEXT://127.0.0.1:0"), ("milena.http.listener", "127.0.0.1:0")];
        Self::start_with(data, &listeners)
    }

    pub fn start_with(data: &Path, properties: &[(&str, &str)]) -> Self {
        let mut command = program();
        for (name, value) in properties {
            command.args(["--override", &format!("{name}={value}")]);
        }
        let mut child = command
            .args(["--override", &format!("log.dirs={}", data.display())])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program is there");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, stdout }
    }

    /// The value of a line of the banner, such as `listens on`.
    fn banner(&mut self, name: &str) -> String {
        loop {
            let mut line = String::new();
            let count = self.stdout.read_line(&mut line).expect("it is text");
            assert!(count > 0, "the banner ended before {name}");
            if let Some(value) = line.trim().strip_prefix(name) {
                return value.trim().to_owned();
            }
        }
    }

    /// Where it listens.
    pub fn address(&mut self) -> SocketAddr {
        let listener = self.banner("listens on");
        listener.strip_prefix("PLAINTEXT://").expect("one listener").parse().expect("an address")
    }

    pub fn stop_by(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill is there").success());
        let mut log = String::new();
        self.child.stderr.take().expect("it is piped").read_to_string(&mut log).expect("it is text");
        (self.child.wait().expect("it ends").code(), log)
    }
}

#[test]
fn standard_output_that_cannot_be_written_is_no_reason_to_end() {
    let data = tempfile::tempdir().expect("a directory");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut child = program()
        .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
        .args(["--override", "milena.http.listener=127.0.0.1:0"])
        .args(["--override", &format!("log.dirs={}", data.path().display())])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is there");
    let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    while !line.contains("standard output cannot be written") {
        line.clear();
        assert!(log.read_line(&mut line).expect("it is text") > 0, "it ended");
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill is there").success());
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("it is text");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{rest}");
}

fn refused(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = program().args(arguments).output().expect("the program is there");
    assert_eq!(status.code(), Some(1), "{arguments:?}");
    String::from_utf8(stderr).expect("it is text")
}

#[test]
fn signals_stop_it_cleanly_and_topics_survive() {
    let data = tempfile::tempdir().expect("a directory");
    for (name, signal) in [("first", "-TERM"), ("second", "-INT")] {
        let mut process = Process::start(data.path());
        let address = process.address();
        assert_eq!(process.banner("data"), data.path().display().to_string());
        create_topic(&mut connect(address), name, 1);
        let (code, log) = process.stop_by(signal);
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("ERROR") && !log.contains("panic"), "{log}");
        eventually("the topic is on disk", || data.path().join(format!("{name}-0")).is_dir());
    }
    assert!(data.path().join("first-0").is_dir());
    assert!(data.path().join(".kafka_cleanshutdown").is_file());
}

#[test]
fn wrong_settings_are_refused_with_the_name_of_the_property() {
    assert!(refused(&["--override", "no.such.property=1"]).contains("no.such.property"));
    assert!(refused(&["--override", "num.partitions=many"]).contains("num.partitions"));
    assert!(refused(&["/does/not/exist.properties"]).contains("/does/not/exist.properties"));
}

#[test]
fn port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let listener = format!("listeners=PLAINTEXT://{}", taken.local_addr().expect("an address"));
    let data = tempfile::tempdir().expect("a directory");
    let log_dirs = format!("log.dirs={}", data.path().join("untouched").display());
    let message = refused(&["--override", &listener, "--override", &log_dirs]);
    assert!(message.contains("property listeners") && message.contains("in use"), "{message}");
    assert!(!data.path().join("untouched").exists(), "data was touched before the port was ours");
}

#[test]
fn version_and_help_are_told() {
    let version = program().arg("--version").output().expect("the program is there");
    assert_eq!(version.stdout, format!("milena-broker {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
    let help = program().arg("--help").output().expect("the program is there");
    assert!(String::from_utf8_lossy(&help.stdout).contains("--override <name=value>"));
}
