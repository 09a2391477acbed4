use super::*;
use crate::config::topic::{Compression, Flush};

fn properties(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (name, value) = line.split_once('=').unwrap();
        (name.trim().to_owned(), value.to_owned())
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(pair).collect()
}

fn parsed(text: &str) -> Settings {
    Settings::parse(&properties(text)).unwrap_or_else(|error| panic!("{error}"))
}

/// Refused with a message that names each of these.
fn check_refused(text: &str, named: &[&str]) {
    let error = Settings::parse(&properties(text)).expect_err(text).to_string();
    for name in named {
        assert!(error.contains(name), "'{text}' was refused with: {error}");
    }
}

#[test]
fn without_a_file_there_is_one_node_on_the_loopback() {
    let settings = Settings::own_defaults();
    assert_eq!(settings.node_id, 1);
    assert_eq!(
        settings.listeners.iter().map(Listener::to_string).collect::<Vec<_>>(),
        ["PLAINTEXT://127.0.0.1:9092"]
    );
    assert_eq!(settings.advertised_listeners, settings.listeners);
    assert_eq!((settings.log_dirs, settings.metadata_log_dir), (vec!["./data".into()], "./data".into()));
    assert_eq!(settings.http_listener, Some(HttpListener { host: "127.0.0.1".to_owned(), port: 9464 }));
    assert_eq!((settings.num_network_threads, settings.queued_max_request_bytes), (None, None));
    assert_eq!(settings.topic, topic::Settings::kafka_defaults());
}

/// What Kafka 4.3.1 ships as `config/server.properties`, in facts.
#[test]
fn kafkas_own_example_starts() {
    let settings = parsed(
        "process.roles=broker,controller
         node.id=1
         controller.quorum.bootstrap.servers=localhost:9093
         listeners=PLAINTEXT://:9092,CONTROLLER://:9093
         inter.broker.listener.name=PLAINTEXT
         advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
         controller.listener.names=CONTROLLER
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
         num.network.threads=3
         num.io.threads=8
         socket.send.buffer.bytes=102400
         socket.receive.buffer.bytes=102400
         socket.request.max.bytes=104857600
         log.dirs=/tmp/kraft-combined-logs
         num.partitions=1
         num.recovery.threads.per.data.dir=2
         offsets.topic.replication.factor=1
         share.coordinator.state.topic.replication.factor=1
         share.coordinator.state.topic.min.isr=1
         transaction.state.log.replication.factor=1
         transaction.state.log.min.isr=1
         log.retention.hours=168
         log.segment.bytes=1073741824
         log.retention.check.interval.ms=300000",
    );
    assert_eq!(settings.listeners.len(), 1);
    assert_eq!(settings.controller_listeners[0].port, 9093);
    assert_eq!(settings.advertised_listeners[0].host, "localhost");
    assert_eq!(settings.num_network_threads, Some(3));
    assert_eq!(settings.internal_topics.offsets.replication_factor, 1);
    assert_eq!(settings.without_effect(), ["num.io.threads"]);
}

#[test]
fn durations_in_several_units_have_an_order() {
    let retention = |text: &str| parsed(text).topic.retention_ms;
    assert_eq!(retention("log.retention.hours=2"), Some(7_200_000));
    assert_eq!(retention("log.retention.hours=2\nlog.retention.minutes=3"), Some(180_000));
    assert_eq!(retention("log.retention.minutes=3\nlog.retention.ms=4"), Some(4));
    assert_eq!(retention("log.retention.ms=-1\nlog.retention.hours=2"), None);
    assert_eq!(retention("log.retention.hours=-1"), None);
    let settings = parsed("log.roll.hours=1\nlog.roll.jitter.ms=9\nlog.flush.scheduler.interval.ms=11");
    assert_eq!((settings.topic.segment_ms, settings.topic.segment_jitter_ms), (3_600_000, 9));
    assert_eq!(settings.topic.flush_ms, 11);
    assert_eq!(parsed("log.flush.interval.ms=7\nlog.flush.scheduler.interval.ms=11").topic.flush_ms, 7);
}

#[test]
fn broker_properties_are_the_defaults_of_topics() {
    let settings = parsed(
        "log.segment.bytes=2097152
         message.max.bytes=99
         compression.type=zstd
         compression.zstd.level=5
         log.segment.delete.delay.ms=1
         milena.flush=durable",
    );
    assert_eq!((settings.topic.segment_bytes, settings.topic.max_message_bytes), (2_097_152, 99));
    assert_eq!(settings.topic.compression, Compression::Zstd(5));
    assert_eq!((settings.topic.file_delete_delay_ms, settings.topic.flush), (1, Flush::Durable));
}

#[test]
fn bad_properties_are_named() {
    check_refused("log.roll.ms=0", &["log.roll.ms"]);
    check_refused("log.roll.jitter.ms=-1", &["log.roll.jitter.ms"]);
    check_refused("log.flush.interval.ms=-1", &["log.flush.interval.ms", "at least 0"]);
    check_refused("log.retension.ms=1", &["log.retension.ms", "did you mean 'log.retention.ms'?"]);
    check_refused("num.partitions=0", &["num.partitions", "at least 1"]);
    check_refused("num.partitions=many", &["num.partitions", "32-bit integer"]);
    check_refused("log.cleaner.threads=-1", &["log.cleaner.threads", "at least 0"]);
    check_refused("log.cleanup.policy=compress", &["log.cleanup.policy", "compact, delete"]);
    check_refused("cordoned.log.dirs=a", &["cordoned.log.dirs", "does not act yet"]);
    check_refused(
        "listener.name.plaintext.ssl.keystore.location=/k",
        &["listener.name.plaintext", "not act yet"],
    );
    check_refused("listener.name.plaintext.max.connections=-1", &["listener.name.plaintext.max.connections"]);
    let misspelt = ["listener.name.plaintext.max.conections", "unknown", "did you mean 'max.connections'?"];
    check_refused("listener.name.plaintext.max.conections=5", &misspelt);
    check_refused("log.retention.hours=0", &["log.retention.hours", "-1"]);
    check_refused("default.replication.factor=40000", &["default.replication.factor", "out of range"]);
    check_refused("log.dirs=a,b,a", &["log.dirs", "twice"]);
    check_refused("log.dirs=", &["log.dir"]);
    check_refused("milena.http.listener=9464", &["milena.http.listener", "host:port"]);
    check_refused("milena.flush=sometimes", &["milena.flush", "page-cache, durable"]);
}

#[test]
fn more_reactors_than_any_machine_has_cores_are_refused() {
    assert_eq!(parsed("num.network.threads=1024").num_network_threads, Some(1024));
    check_refused("num.network.threads=1025", &["num.network.threads", "1025", "at most 1024"]);
}

#[test]
fn impossible_combinations_name_both() {
    check_refused("node.id=1\nbroker.id=2", &["node.id", "broker.id"]);
    check_refused("queued.max.request.bytes=1000", &["queued.max.request.bytes", "socket.request.max.bytes"]);
    check_refused(
        "broker.heartbeat.interval.ms=5000",
        &["broker.heartbeat.interval.ms", "broker.session.timeout.ms"],
    );
    check_refused(
        "inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT",
        &["inter.broker.listener.name", "security.inter.broker.protocol"],
    );
    check_refused("inter.broker.listener.name=INSIDE", &["inter.broker.listener.name", "listeners"]);
    check_refused("controller.quorum.voters=2@h:9093", &["controller.quorum.voters", "node.id"]);
    check_refused("controller.quorum.voters=1@a:1,2@b:1", &["controller.listener.names", "listeners"]);
    check_refused("listeners=CONTROLLER://:9093", &["listeners", "controller.listener.names"]);
    check_refused("advertised.listeners=OTHER://h:1", &["advertised.listeners", "OTHER"]);
    check_refused(
        "advertised.listeners=SSL://h:1",
        &["advertised.listeners", "listeners", "no listener is named SSL"],
    );
}

#[test]
fn listeners_are_checked() {
    check_refused("listeners=PLAINTEXT://:9092,PLAINTEXT://:9093", &["listeners", "used twice"]);
    check_refused("listeners=PLAINTEXT://:9092,SSL://:9092", &["listeners", "same address"]);
    check_refused("listeners=SSL://:9092", &["listeners", "does not act yet"]);
    check_refused("listeners=localhost:9092", &["listeners", "NAME://host:port"]);
    check_refused("advertised.listeners=PLAINTEXT://0.0.0.0:9092", &["advertised.listeners", "wildcard"]);
    check_refused("listeners=PLAINTEXT://0.0.0.0:9092", &["advertised.listeners", "listeners", "wildcard"]);
    check_refused("listeners=PLAINTEXT://[::]:9092", &["advertised.listeners", "listeners", "wildcard"]);
    let two = parsed(
        "listeners=INSIDE://:0,OUTSIDE://127.0.0.1:0
         listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT
         inter.broker.listener.name=INSIDE
         advertised.listeners=OUTSIDE://example.org:9",
    );
    assert_eq!(two.inter_broker_listener_name, "INSIDE");
    let advertised: Vec<_> = two.advertised_listeners.iter().map(Listener::to_string).collect();
    assert_eq!(advertised, ["INSIDE://:0", "OUTSIDE://example.org:9"]);
}

#[test]
fn dynamic_values_lie_over_the_file_and_are_checked_like_it() {
    let settings = parsed("log.retention.ms=5\nlog.segment.bytes=2000000");
    let cluster = properties("log.retention.ms=6\nmessage.max.bytes=7");
    let broker = properties("message.max.bytes=8");
    let effective = settings.with_dynamic(&[&cluster, &broker]).unwrap();
    assert_eq!(effective.topic.retention_ms, Some(6));
    assert_eq!((effective.topic.max_message_bytes, effective.topic.segment_bytes), (8, 2_000_000));
    assert_eq!(effective.properties, settings.properties, "static properties stay what they were");
}

#[test]
fn broker_id_is_the_older_name_of_node_id() {
    assert_eq!(parsed("broker.id=7").node_id, 7);
    assert_eq!(parsed("node.id=8").properties["broker.id"], "8");
}

#[test]
fn log_dir_is_used_when_log_dirs_is_absent() {
    assert_eq!(parsed("log.dir=/a").log_dirs, [PathBuf::from("/a")]);
    assert_eq!(parsed("log.dir=/a\nlog.dirs=/b,/c").log_dirs, [PathBuf::from("/b"), PathBuf::from("/c")]);
}

/// Each broker property behind a topic property, in every unit that it has.
#[test]
fn every_default_of_topics_arrives_from_the_file() {
    let values = [
        ("compression.type", "snappy"),
        ("compression.gzip.level", "5"),
        ("compression.zstd.level", "5"),
        ("log.cleanup.policy", "compact"),
        ("log.cleaner.delete.retention.ms", "5"),
        ("log.cleaner.max.compaction.lag.ms", "5"),
        ("log.cleaner.min.cleanable.ratio", "0.25"),
        ("log.cleaner.min.compaction.lag.ms", "5"),
        ("log.flush.interval.messages", "5"),
        ("log.flush.interval.ms", "5"),
        ("log.flush.scheduler.interval.ms", "5"),
        ("log.index.interval.bytes", "5"),
        ("log.index.size.max.bytes", "5"),
        ("log.message.timestamp.after.max.ms", "5"),
        ("log.message.timestamp.before.max.ms", "5"),
        ("log.message.timestamp.type", "LogAppendTime"),
        ("log.preallocate", "true"),
        ("log.retention.bytes", "5"),
        ("log.retention.hours", "5"),
        ("log.retention.minutes", "5"),
        ("log.retention.ms", "5"),
        ("log.roll.hours", "5"),
        ("log.roll.jitter.hours", "5"),
        ("log.roll.jitter.ms", "5"),
        ("log.roll.ms", "5"),
        ("log.segment.bytes", "2000000"),
        ("log.segment.delete.delay.ms", "5"),
        ("message.max.bytes", "5"),
        ("milena.flush", "durable"),
        ("min.insync.replicas", "5"),
        ("unclean.leader.election.enable", "true"),
    ];
    for (name, value) in values {
        // A level is seen where its codec is chosen.
        let codec = name.strip_prefix("compression.").and_then(|rest| rest.strip_suffix(".level"));
        let with = codec.map(|codec| format!("compression.type={codec}\n")).unwrap_or_default();
        assert_ne!(parsed(&format!("{with}{name}={value}")).topic, parsed(&with).topic, "{name}");
    }
    let durations = TOPIC_DURATIONS.iter().flat_map(|(_, units)| units.iter().map(|(unit, _)| *unit));
    for name in TOPIC_SYNONYMS.iter().map(|(_, broker)| *broker).chain(durations) {
        let acts = definition(name).unwrap().acts == Acts::Yes;
        assert!(!acts || values.iter().any(|(covered, _)| *covered == name), "{name} is not in this test");
    }
}
