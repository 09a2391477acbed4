//! The program while its start waits for others: it answers for itself, and it can be stopped.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use crate::harness::{PATIENCE, eventually, try_http};
use crate::program::Process;

const MARKER: &str = ".kafka_cleanshutdown";
/// As a clean stop of the broker epoch 42 left it.
const CLEAN_STOP: &str = "{\"version\":0,\"brokerEpoch\":42}\n";
/// Of a broker that is in a cluster already.
const IDENTITY: &str = "version=1\ncluster.id=ours\nnode.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAKg\n";

/// Addresses that differ, at which nobody listens.
fn free<const COUNT: usize>() -> [SocketAddr; COUNT] {
    let held = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.each_ref().map(|listener| listener.local_addr().expect("it is bound"))
}

/// Starts a node that waits, and stops it.
fn check_wait(data: &Path, roles: &str, waits_for: &str) {
    std::fs::write(data.join(MARKER), CLEAN_STOP).expect("written");
    let [own, other, admin] = free();
    let (own, other, port) = (own.to_string(), other.to_string(), admin.to_string());
    let is_controller = roles.contains("controller");
    let (listener, voters) = match is_controller {
        true => (format!(",CONTROLLER://{own}"), format!("1@{own},2@{other}")),
        false => (String::new(), format!("2@{other}")),
    };
    let process = Process::start_with(
        data,
        &[
            ("process.roles", roles),
            ("node.id", "1"),
            ("listeners", &format!("PLAINTEXT://127.0.0.1:0{listener}")),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.voters", &voters),
            ("milena.http.listener", &port),
        ],
    );
    eventually("HTTP is on", || TcpStream::connect(admin).is_ok());
    eventually("what it waits for is told", || {
        let Ok((status, body)) = try_http(admin, "/readyz") else { return false };
        assert_eq!(status, 503, "{body}");
        body.starts_with("starting: ") && body.contains(waits_for)
    });
    let is_alive = || try_http(admin, "/healthz").is_ok_and(|answer| answer == (200, "ok\n".to_owned()));
    eventually("it lives", is_alive);
    let asked = Instant::now();
    let (code, log) = process.stop_by("-TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(asked.elapsed() < PATIENCE, "it took {:?}", asked.elapsed());
    let marker = std::fs::read_to_string(data.join(MARKER)).expect("the stop was a clean one");
    assert!(marker.contains("\"brokerEpoch\":42"), "{marker}");
}

#[test]
fn a_node_that_waits_for_other_controllers_is_stopped_and_leaves_the_last_clean_stop() {
    let data = tempfile::tempdir().expect("a directory");
    check_wait(data.path(), "broker,controller", "1 of 2 controllers do not answer");
}

#[test]
fn a_broker_that_waits_for_its_registration_is_stopped_and_leaves_the_last_clean_stop() {
    let data = tempfile::tempdir().expect("a directory");
    std::fs::write(data.path().join("meta.properties"), IDENTITY).expect("written");
    check_wait(data.path(), "broker", "this broker is not registered yet");
}
