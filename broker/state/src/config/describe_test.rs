//! Compared with what a Kafka 4.3.1 node described (`tests/kafka-4.3.1`, written by its admin client).

use super::*;

const BROKER: &str = include_str!("../../tests/kafka-4.3.1/described-broker.tsv");
const TOPIC: &str = include_str!("../../tests/kafka-4.3.1/described-topic.tsv");
const CLIENT_METRICS: &str = include_str!("../../tests/kafka-4.3.1/described-client-metrics.tsv");
const GROUP: &str = include_str!("../../tests/kafka-4.3.1/described-group.tsv");

/// A line: name, type, default, read-only, sensitive, synonyms as `name@source`.
struct Expected<'a> {
    name: &'a str,
    kind: &'a str,
    default: &'a str,
    read_only: bool,
    sensitive: bool,
    synonyms: Vec<&'a str>,
}

fn lines(text: &str) -> impl Iterator<Item = Expected<'_>> {
    text.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        Expected {
            name: fields[0],
            kind: fields[1],
            default: fields[2],
            read_only: fields[3] == "true",
            sensitive: fields[4] == "true",
            synonyms: fields[5].split_whitespace().collect(),
        }
    })
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The properties that were set on the node that was described.
fn node() -> Settings {
    let properties = map(&[
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.quorum.voters", "1@localhost:9093"),
        ("controller.listener.names", "CONTROLLER"),
        ("listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
        ("advertised.listeners", "PLAINTEXT://localhost:9092"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("log.dirs", "/data"),
        ("broker.rack", "r"),
        ("group.initial.rebalance.delay.ms", "3000"),
        ("offsets.topic.replication.factor", "1"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("share.coordinator.state.topic.replication.factor", "1"),
        ("share.coordinator.state.topic.min.isr", "1"),
    ]);
    Settings::parse(&properties).unwrap()
}

/// Defaults that are deliberately not Kafka's, each with a page in `docs/adr`.
const OWN_DEFAULTS: &[(&str, &str)] = &[("socket.receive.buffer.bytes", "-1")];

fn compare(rows: &[Row], expected: &str) {
    let ours: Vec<&Row> = rows.iter().filter(|row| !row.name.starts_with("milena.")).collect();
    assert_eq!(ours.len(), lines(expected).count());
    for (row, expected) in ours.iter().zip(lines(expected)) {
        let name = expected.name;
        assert_eq!(row.name, name);
        assert_eq!(format!("{:?}", row.kind).to_uppercase(), expected.kind, "{name}");
        assert_eq!((row.read_only, row.is_sensitive), (expected.read_only, expected.sensitive), "{name}");
        let synonyms: Vec<String> =
            row.synonyms.iter().map(|s| format!("{}@{}", s.name, s.source.name())).collect();
        assert_eq!(synonyms, expected.synonyms, "{name}");
        if let Some((_, own)) = OWN_DEFAULTS.iter().find(|(own, _)| *own == name) {
            assert_eq!(row.value.as_deref(), Some(*own), "{name}");
        } else if row.source == Source::Default {
            assert_eq!(row.value.as_deref().unwrap_or("null"), expected.default, "{name}");
        }
    }
}

#[test]
fn broker_rows_are_kafkas() {
    let settings = node();
    let cluster = map(&[("min.insync.replicas", "1")]);
    let layers = Layers { settings: &settings, cluster: &cluster, broker: &BTreeMap::new() };
    compare(&broker(layers, None), BROKER);
}

#[test]
fn topic_rows_are_kafkas() {
    let settings = node();
    let cluster = map(&[("min.insync.replicas", "1")]);
    let layers = Layers { settings: &settings, cluster: &cluster, broker: &BTreeMap::new() };
    compare(&topic(&BTreeMap::new(), layers, None), TOPIC);
}

#[test]
fn group_rows_are_kafkas() {
    let settings = node();
    let (cluster, of_broker) = (BTreeMap::new(), BTreeMap::new());
    let layers = Layers { settings: &settings, cluster: &cluster, broker: &of_broker };
    compare(&group(&BTreeMap::new(), layers, None), GROUP);
    let set = map(&[("consumer.session.timeout.ms", "50000")]);
    let rows = group(&set, layers, Some(&["consumer.session.timeout.ms".to_owned()]));
    let shown: Vec<_> =
        rows[0].synonyms.iter().map(|s| (s.name.as_str(), s.value.as_deref(), s.source)).collect();
    assert_eq!(rows[0].source, Source::Group);
    assert_eq!(
        shown,
        [
            ("consumer.session.timeout.ms", Some("50000"), Source::Group),
            ("group.consumer.session.timeout.ms", Some("45000"), Source::Default),
        ]
    );
}

#[test]
fn rows_of_subscriptions_are_kafkas() {
    compare(&client_metrics(&BTreeMap::new(), None), CLIENT_METRICS);
    let rows = client_metrics(&map(&[("metrics", "a,b")]), None);
    let metrics = &rows[2];
    assert_eq!((metrics.value.as_deref(), metrics.source), (Some("a,b"), Source::ClientMetrics));
    assert_eq!(metrics.synonyms.len(), 1);
}

#[test]
fn the_strongest_value_is_shown_with_all_others_behind_it() {
    let settings = Settings::parse(&map(&[("message.max.bytes", "4")])).unwrap();
    let (cluster, of_broker) = (map(&[("message.max.bytes", "3")]), map(&[("message.max.bytes", "2")]));
    let layers = Layers { settings: &settings, cluster: &cluster, broker: &of_broker };
    let keys = ["max.message.bytes".to_owned()];
    let rows = topic(&map(&[("max.message.bytes", "1")]), layers, Some(&keys));
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].value.as_deref(), rows[0].source), (Some("1"), Source::DynamicTopic));
    let synonyms: Vec<_> =
        rows[0].synonyms.iter().map(|s| (s.name.as_str(), s.value.as_deref().unwrap(), s.source)).collect();
    assert_eq!(
        synonyms,
        [
            ("max.message.bytes", "1", Source::DynamicTopic),
            ("message.max.bytes", "2", Source::DynamicBroker),
            ("message.max.bytes", "3", Source::DynamicDefaultBroker),
            ("message.max.bytes", "4", Source::StaticBroker),
            ("message.max.bytes", "1048588", Source::Default),
        ]
    );
}

#[test]
fn secrets_are_never_shown() {
    let row = broker::definition("ssl.key.password").unwrap();
    let shown = synonym(row, row.name, "hunter2", Source::StaticBroker);
    assert_eq!(shown.value, None);
}

#[test]
fn the_defaults_of_all_brokers_show_only_what_is_set() {
    let rows = all_brokers(&map(&[("log.retention.ms", "9")]), None);
    let seen: Vec<_> = rows.iter().map(|row| (&*row.name, row.value.as_deref(), row.source)).collect();
    assert_eq!(seen, [("log.retention.ms", Some("9"), Source::DynamicDefaultBroker)]);
}

/// As a Kafka 4.3.1 node answered with these properties.
#[test]
fn durations_show_their_weaker_units_behind_them() {
    let check = |properties: &[(&str, &str)], cluster: &[(&str, &str)], value: &str, expected: &[&str]| {
        let (settings, cluster) = (Settings::parse(&map(properties)).unwrap(), map(cluster));
        let layers = Layers { settings: &settings, cluster: &cluster, broker: &BTreeMap::new() };
        let rows = topic(&BTreeMap::new(), layers, Some(&["retention.ms".to_owned()]));
        let synonyms: Vec<String> = rows[0]
            .synonyms
            .iter()
            .map(|s| format!("{}={}@{}", s.name, s.value.as_deref().unwrap_or("null"), s.source.name()))
            .collect();
        assert_eq!(
            (rows[0].value.as_deref(), synonyms),
            (Some(value), expected.iter().map(|s| (*s).to_owned()).collect())
        );
    };
    check(&[("log.retention.minutes", "3"), ("log.retention.hours", "9")], &[], "180000", &[]);
    check(
        &[("log.retention.ms", "5000000")],
        &[],
        "5000000",
        &["log.retention.ms=5000000@STATIC_BROKER_CONFIG", "log.retention.hours=168@DEFAULT_CONFIG"],
    );
    check(
        &[("log.retention.hours", "24")],
        &[("log.retention.ms", "77")],
        "77",
        &[
            "log.retention.ms=77@DYNAMIC_DEFAULT_BROKER_CONFIG",
            "log.retention.hours=24@STATIC_BROKER_CONFIG",
            "log.retention.hours=168@DEFAULT_CONFIG",
        ],
    );
}

#[test]
fn empty_list_of_keys_asks_for_all() {
    let (settings, nothing) = (node(), BTreeMap::new());
    let layers = Layers { settings: &settings, cluster: &nothing, broker: &nothing };
    assert_eq!(topic(&nothing, layers, Some(&[])), topic(&nothing, layers, None));
    assert_eq!(broker(layers, Some(&[])), broker(layers, None));
    assert_eq!(client_metrics(&nothing, Some(&[])), client_metrics(&nothing, None));
    let one = ["retention.ms".to_owned()];
    assert_eq!(topic(&nothing, layers, Some(&one)).len(), 1);
}
