//! Reassignments under a throttle: new replicas fill at its rate, and nobody else is slowed.

use std::time::{Duration, Instant};

use milena_tests::cluster::Cluster;
use milena_tests::http::metric;
use serde_json::{Value, json};

use crate::nodes::{ask, until_whole};

const LINE_BYTES: usize = 1000;

/// Fetches that one broker answers in a second while little happens, by far: each of its followers waits half a second.
const FETCHES_PER_SECOND_MAX: f64 = 100.0;

struct Scene {
    cluster: Cluster,
    bootstrap: String,
    folder: tempfile::TempDir,
}

impl Scene {
    /// With topic `t`, whose one partition brokers 1 and 2 have, in that order.
    fn start() -> Self {
        let cluster = Cluster::start(3);
        let bootstrap = cluster.bootstrap();
        ask(&bootstrap, "topic create t --assignment 1:2").ok();
        Self { cluster, bootstrap, folder: tempfile::tempdir().expect("a directory") }
    }

    /// Writes so many bytes that all replicas in sync have.
    fn produce(&self, bytes: usize) {
        let file = self.folder.path().join("lines");
        std::fs::write(&file, format!("{}\n", "x".repeat(LINE_BYTES - 1)).repeat(bytes / LINE_BYTES))
            .expect("written");
        ask(&self.bootstrap, &format!("produce t --file {} --acks all", file.display())).ok();
    }

    /// The partition to all three, as the words behind the plan say.
    fn reassign(&self, words: &str) {
        self.plan("t", &[1, 2, 3], words);
    }

    fn plan(&self, topic: &str, replicas: &[i32], words: &str) {
        let partition = json!({ "topic": topic, "partition": 0, "replicas": replicas });
        let plan = json!({ "version": 1, "partitions": [partition] });
        let file = self.folder.path().join("plan.json");
        std::fs::write(&file, plan.to_string()).expect("written");
        ask(&self.bootstrap, &format!("partition reassign {} {words}", file.display())).ok();
    }

    fn under_way(&self) -> Value {
        ask(&self.bootstrap, "partition reassign --output json").json()
    }

    /// What is set of throttles, by resource.
    fn throttles(&self) -> Vec<String> {
        let resources = ["topic/t", "broker/1", "broker/2", "broker/3"];
        let of = |resource: &&str| {
            let entries = ask(&self.bootstrap, &format!("config describe {resource} --output json")).json();
            let entries = entries.as_array().expect("a list").clone();
            let set = entries
                .into_iter()
                .filter(|entry| entry["name"].as_str().is_some_and(|name| name.contains("throttled")));
            set.map(|entry| format!("{resource} {}={}", entry["name"], entry["value"]).replace('"', ""))
                .collect::<Vec<_>>()
        };
        resources.iter().flat_map(of).collect()
    }

    fn metric(&self, node: i32, name: &str, label: &str) -> f64 {
        let text = self.cluster.node(node).metrics().expect("it serves its metrics");
        metric(&text, name, label).unwrap_or(0.0)
    }

    fn throttled_bytes(&self, node: i32, direction: &str) -> f64 {
        self.metric(node, "milena_replication_throttled_bytes_total", &format!("direction=\"{direction}\""))
    }
}

#[test]
fn a_reassigned_replica_fills_at_the_rate_of_its_throttle() {
    const BYTES: usize = 10_000_000;
    const RATE: usize = 2_000_000;
    // One sample of the window is allowed at once, and one fetch goes beyond it.
    const AT_ONCE: usize = RATE + 2 * 1_048_576;

    let scene = Scene::start();
    scene.produce(BYTES);
    let fetches = |scene: &Scene| scene.metric(1, "milena_request_duration_seconds_count", "api=\"Fetch\"");
    let (began, fetches_before) = (Instant::now(), fetches(&scene));
    scene.reassign(&format!("--execute --wait --throttle {RATE}"));
    let took = began.elapsed();
    let at_least = Duration::from_secs_f64((BYTES - AT_ONCE) as f64 / RATE as f64);
    assert!(took >= at_least, "{BYTES} bytes at {RATE} a second took {took:?}, less than {at_least:?}");
    let fetches = fetches(&scene) - fetches_before;
    let fetches_max = FETCHES_PER_SECOND_MAX * took.as_secs_f64();
    assert!(fetches < fetches_max, "{fetches} fetches in {took:?}: who is held asks over and over");
    println!("{BYTES} bytes at {RATE} a second: {took:?}, {fetches} fetches at the leader");

    let copied = (scene.throttled_bytes(1, "out"), scene.throttled_bytes(3, "in"));
    assert!(copied.0 >= BYTES as f64 && copied.1 >= BYTES as f64, "{copied:?}");
    assert_eq!(scene.under_way(), json!([]));
    assert_eq!(scene.throttles(), [""; 0], "it ends with the reassignment");
    until_whole(&scene.bootstrap, 3);
}

#[test]
fn a_replica_in_sync_is_not_slowed_by_the_throttle_of_another() {
    const BYTES: usize = 6_000_000;
    const RATE: usize = 100_000;
    /// Less than a third of what the rate would allow, and far more than it takes.
    const PRODUCE_TIME_MAX: Duration = Duration::from_secs(20);

    let scene = Scene::start();
    scene.produce(BYTES);
    scene.reassign(&format!("--execute --throttle {RATE}"));
    let expected = [
        "topic/t follower.replication.throttled.replicas=0:3",
        "topic/t leader.replication.throttled.replicas=0:1,0:2",
    ];
    let of_brokers = [1, 2, 3].into_iter().flat_map(|id| {
        ["follower", "leader"].map(|side| format!("broker/{id} {side}.replication.throttled.rate={RATE}"))
    });
    let expected: Vec<String> = expected.map(str::to_owned).into_iter().chain(of_brokers).collect();
    assert_eq!(scene.throttles(), expected);

    let began = Instant::now();
    // All in sync must have it, of which there are two, both named in the throttle of leaders.
    scene.produce(BYTES);
    let took = began.elapsed();
    assert!(took < PRODUCE_TIME_MAX, "{BYTES} bytes were acknowledged after {took:?}");
    assert_eq!(scene.under_way()[0]["adding"], json!([3]), "the new replica is still held");
    assert!(scene.throttled_bytes(3, "in") < BYTES as f64);

    // Somebody looks after another plan meanwhile, which is complete.
    ask(&scene.bootstrap, "topic create other --assignment 1").ok();
    scene.plan("other", &[1], "--verify");
    assert_eq!(scene.throttles(), expected, "the throttle of what still moves stays");

    // A higher rate acts while it moves.
    let began = Instant::now();
    scene.reassign("--execute --throttle 1000000000 --wait");
    let took = began.elapsed();
    assert!(took < Duration::from_secs((BYTES / RATE) as u64), "{took:?} as if the rate had not changed");
    scene.reassign("--verify");
    assert_eq!(scene.throttles(), [""; 0]);
}
