//! How many connections there may be and how fast they may come, over sockets.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use milena_protocol::messages::api_versions_request::ApiVersionsRequest;
use milena_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use milena_protocol::{ApiKey, Writer, header};
use milena_tests::wait;

use crate::node::Node;
use crate::quotas::set_on;

/// Longer than any wait that a test has asked for.
const PATIENCE: Duration = Duration::from_secs(20);

/// `PLAINTEXT`, which brokers use, and `OTHER`; two samples of a second, of which one is full: at once may come what
/// may come in a second.
const TWO_LISTENERS: [(&str, &str); 4] = [
    ("listeners", "PLAINTEXT://127.0.0.1:0,OTHER://127.0.0.1:0"),
    ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT,CONTROLLER:PLAINTEXT"),
    ("quota.window.num", "2"),
    ("quota.window.size.seconds", "1"),
];

/// What becomes of a connection, and after what time.
#[derive(Debug, PartialEq)]
enum Fate {
    Served,
    Closed,
}

fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let mut w = Writer::new();
    header::request_frame(&mut w, ApiKey::ApiVersions, 0, 1, None, &ApiVersionsRequest::default())
        .expect("fits");
    // One that is closed at once may refuse it.
    let _ = stream.write_all(&w.into_bytes().expect("plain bytes"));
    stream
}

fn fate(stream: &mut TcpStream) -> Fate {
    match stream.read(&mut [0; 1]) {
        Ok(1) => Fate::Served,
        Ok(_) => Fate::Closed,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Fate::Closed,
        Err(error) => panic!("neither served nor closed in time: {error}"),
    }
}

fn is_served_within(stream: &mut TcpStream, time: Duration) -> bool {
    stream.set_read_timeout(Some(time)).expect("a timeout can be set");
    let served = matches!(stream.read(&mut [0; 1]), Ok(1));
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    served
}

/// Sets a property of all brokers; the code of the answer, and its message.
fn alter(node: &Node, name: &str, value: Option<&str>) -> (i16, String) {
    let config = AlterableConfig {
        name: name.into(),
        config_operation: i8::from(value.is_none()),
        value: value.map(Into::into),
    };
    let resource = AlterConfigsResource { resource_type: 4, resource_name: "".into(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let response = node.call(&request, 1);
    let response = response.decode::<IncrementalAlterConfigsRequest<'_>>().expect("IncrementalAlterConfigs");
    let message = response.responses[0].error_message.as_deref().unwrap_or_default().to_owned();
    (response.responses[0].error_code, message)
}

fn set(node: &Node, name: &str, value: Option<&str>) {
    assert_eq!(alter(node, name, value), (0, String::new()), "{name}={value:?}");
}

/// Asks again until it is so: bounds of listeners follow their property within a moment.
fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    wait::eventually(what, PATIENCE, is_so);
}

#[test]
fn connections_faster_than_the_rate_of_the_broker_are_served_late_but_on_the_listener_of_brokers() {
    let node = Node::start(&TWO_LISTENERS);
    set(&node, "max.connection.creation.rate", Some("2"));
    let other = node.address_of("OTHER");
    let began = Instant::now();
    eventually("a connection is served late", || {
        let began = Instant::now();
        fate(&mut connect(other)) == Fate::Served && began.elapsed() >= Duration::from_millis(100)
    });
    let mut waiting: Vec<_> = (0..4).map(|_| connect(other)).collect();
    assert_eq!(fate(&mut connect(node.address_of("PLAINTEXT"))), Fate::Served, "nobody holds it up");
    assert!(waiting.iter_mut().all(|stream| fate(stream) == Fate::Served));
    assert!(
        began.elapsed() >= Duration::from_millis(1000),
        "four of them took as long: {:?}",
        began.elapsed()
    );
    let metrics = node.metrics();
    let waited = |name: &str| {
        let line = format!("milena_{name}{{scope=\"broker\"}} ");
        let value = metrics.lines().find_map(|found| found.strip_prefix(&line)).expect("it is told");
        value.parse::<f64>().expect("a number")
    };
    assert!(
        waited("connections_throttled_total") >= 4.0 && waited("connection_throttle_seconds_total") > 0.9
    );
    set(&node, "max.connection.creation.rate", None);
    eventually("nobody is held up without a rate", || {
        let began = Instant::now();
        (0..8).all(|_| fate(&mut connect(other)) == Fate::Served)
            && began.elapsed() < Duration::from_millis(500)
    });
}

#[test]
fn listener_has_a_rate_and_a_number_of_its_own() {
    let properties = [&TWO_LISTENERS[..], &[("listener.name.other.max.connections", "1")]].concat();
    let node = Node::start(&properties);
    let other = node.address_of("OTHER");
    let mut first = connect(other);
    assert_eq!(fate(&mut first), Fate::Served);
    let mut second = connect(other);
    assert!(!is_served_within(&mut second, Duration::from_millis(200)), "one is all it may have");
    assert_eq!(fate(&mut connect(node.address_of("PLAINTEXT"))), Fate::Served);
    set(&node, "listener.name.other.max.connections", Some("2"));
    assert_eq!(fate(&mut second), Fate::Served, "it may have two now");
    drop(first);
    drop(second);

    set(&node, "listener.name.other.max.connections", Some("100"));
    set(&node, "listener.name.other.max.connection.creation.rate", Some("2"));
    eventually("a connection is served late", || {
        let began = Instant::now();
        fate(&mut connect(other)) == Fate::Served && began.elapsed() >= Duration::from_millis(100)
    });
    assert!(node.metrics().contains("milena_connections_throttled_total{scope=\"listener\"} "));
}

#[test]
fn address_faster_than_its_quota_is_closed_after_a_while_and_served_again_without_it() {
    let windows = [("quota.window.num", "2"), ("quota.window.size.seconds", "1")];
    let node = Node::start(&windows);
    let address = node.address_of("PLAINTEXT");
    // It acts when it is answered: the address is in no need of a resolver.
    set_on(&node, ("ip", "127.0.0.1"), "connection_creation_rate", Some(1.0));
    assert_eq!(fate(&mut connect(address)), Fate::Served);
    let began = Instant::now();
    assert_eq!(fate(&mut connect(address)), Fate::Closed);
    assert!(began.elapsed() >= Duration::from_millis(500), "not at once: {:?}", began.elapsed());
    let metrics = node.metrics();
    assert!(metrics.contains("milena_connections_throttled_total{scope=\"ip\"} 1\n"));
    assert!(metrics.contains("milena_quota_clients{quota=\"connection_creation_rate\"} 1\n"));
    set_on(&node, ("ip", "127.0.0.1"), "connection_creation_rate", None);
    assert!((0..4).all(|_| fate(&mut connect(address)) == Fate::Served));
    set_on(&node, ("ip", "127.0.0.2"), "connection_creation_rate", Some(1.0));
    assert!((0..4).all(|_| fate(&mut connect(address)) == Fate::Served), "that of another address");
}

#[test]
fn single_hosts_may_have_fewer_or_more_connections_than_others() {
    let node = Node::start(&[("max.connections.per.ip.overrides", "localhost:2")]);
    let address = node.address_of("PLAINTEXT");
    let mut second = connect(address);
    assert_eq!(
        [fate(&mut second), fate(&mut connect(address))],
        [Fate::Served, Fate::Closed],
        "a test has one"
    );
    set(&node, "max.connections.per.ip.overrides", Some("127.0.0.1:3,127.0.0.9:0"));
    eventually("three are allowed", || fate(&mut connect(address)) == Fate::Served);
    set(&node, "max.connections.per.ip.overrides", None);
    set(&node, "max.connections.per.ip", Some("1"));
    eventually("one is allowed", || fate(&mut connect(address)) == Fate::Closed);
}

#[test]
fn bounds_that_nobody_could_take_back_or_understand_are_refused() {
    let node = Node::start(&TWO_LISTENERS);
    for (name, value) in [
        ("max.connection.creation.rate", "0"),
        ("max.connection.creation.rate", "-1"),
        ("listener.name.other.max.connection.creation.rate", "0"),
        ("listener.name.other.max.connections", "0"),
        ("listener.name.other.max.connections", "many"),
        ("max.connections.per.ip.overrides", "127.0.0.1"),
        ("max.connections.per.ip.overrides", "127.0.0.1:many"),
    ] {
        let (code, message) = alter(&node, name, Some(value));
        assert!(code != 0 && !message.is_empty(), "{name}={value}");
    }
}

#[test]
fn bounds_of_a_listener_are_described_with_those_behind_them() {
    let properties = [&TWO_LISTENERS[..], &[("listener.name.other.max.connections", "7")]].concat();
    let node = Node::start(&properties);
    let name = "listener.name.other.max.connections";
    set(&node, name, Some("9"));
    let resource = DescribeConfigsResource {
        resource_type: 4,
        resource_name: "1".into(),
        configuration_keys: Some(vec![name.into()]),
    };
    let request =
        DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() };
    let response = node.call(&request, 4);
    let response = response.decode::<DescribeConfigsRequest<'_>>().expect("DescribeConfigs");
    let config = &response.results[0].configs[0];
    assert_eq!(
        (&*config.name, config.value.as_deref(), config.read_only),
        (name, Some("9"), true),
        "as Kafka says"
    );
    let synonyms: Vec<_> = config
        .synonyms
        .iter()
        .map(|synonym| (&*synonym.name, synonym.value.as_deref(), synonym.source))
        .collect();
    let expected = [(name, Some("9"), 3), (name, Some("7"), 4), ("max.connections", Some("2147483647"), 5)];
    assert_eq!(synonyms, expected);
}
