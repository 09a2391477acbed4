//! Both brokers, started with the same properties and ended with this program.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use milena_tests::{ports, process};

/// What both are told; what is not here has its default.
const BOTH: &[(&str, &str)] = &[
    ("offsets.topic.num.partitions", "3"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "100"),
];

/// An idle controller writes often, so that waiting for a published change is short.
const KAFKA_ONLY: &[(&str, &str)] = &[("metadata.max.idle.interval.ms", "10")];

pub struct ApacheKafka {
    cluster: String,
    pub address: String,
}

impl ApacheKafka {
    pub fn start() -> io::Result<Self> {
        // Its controller listens 1,001 ports higher, outside of the range that `ports` gives.
        let port = ports::free();
        let cluster = format!("differential-{}", std::process::id());
        let port_word = port.to_string();
        let mut words = vec!["start", "--name", &cluster, "--heap", "512m", "--port", &port_word];
        let set: Vec<String> =
            BOTH.iter().chain(KAFKA_ONLY).map(|(name, value)| format!("{name}={value}")).collect();
        for property in &set {
            words.extend(["--set", property]);
        }
        script(&words)?;
        Ok(Self { cluster, address: ports::address(port) })
    }
}

impl Drop for ApacheKafka {
    fn drop(&mut self) {
        if let Err(error) = script(&["stop", &self.cluster]) {
            eprintln!("differential: apache-kafka could not be stopped: {error}");
        }
    }
}

fn script(words: &[&str]) -> io::Result<()> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "apache-kafka"].iter().collect();
    let status = Command::new(&path).args(words).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("apache-kafka {} failed", words.join(" "))))
    }
}

pub fn milena() -> io::Result<process::Broker> {
    let config = process::Config::new();
    // Apache Kafka is told its own by the script that starts it.
    let advertised = format!("PLAINTEXT://{}", ports::address(config.port()));
    let mut config = config.property("node.id", 1).property("advertised.listeners", advertised);
    for (name, value) in BOTH {
        config = config.property(name, value);
    }
    config.start()
}
