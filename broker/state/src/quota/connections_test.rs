use super::*;

const WINDOW: Window = Window { samples_max: 11, sample_ms: 1000 };

fn address(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

fn connections(bounds: Bounds) -> Connections {
    Connections::new(WINDOW, bounds)
}

fn rate(per_second: f64) -> Bound {
    Bound { rate: Some(per_second), ..Bound::default() }
}

fn max(max: usize) -> Bound {
    Bound { max, ..Bound::default() }
}

/// The waits of so many connections that come at once.
fn waits(connections: &mut Connections, listener: &str, count: usize) -> Vec<i64> {
    (0..count).map(|_| connections.came(listener, 0).ms).collect()
}

#[test]
fn connections_beyond_the_rate_wait_for_no_longer_than_a_sample() {
    let mut connections = connections(Bounds { all: rate(0.5), ..Bounds::default() });
    // Ten seconds of the window hold five.
    assert_eq!(waits(&mut connections, "A", 5), [0; 5]);
    assert_eq!(connections.came("A", 0), Wait { ms: 1000, scope: Scope::Broker });
    assert_eq!(connections.wait("A", 11_000).ms, 0, "what came long ago counts no longer");
}

#[test]
fn listener_has_a_rate_of_its_own_and_shares_that_of_all() {
    let listeners = BTreeMap::from([("A".to_owned(), rate(0.2)), ("B".to_owned(), rate(100.0))]);
    let mut connections = connections(Bounds { all: rate(0.4), listeners, ..Bounds::default() });
    assert_eq!(waits(&mut connections, "A", 2), [0; 2]);
    assert_eq!(connections.came("A", 0), Wait { ms: 1000, scope: Scope::Listener });
    assert_eq!(connections.came("B", 0).ms, 0);
    assert_eq!(connections.came("B", 0), Wait { ms: 1000, scope: Scope::Broker }, "the fifth of all");
}

#[test]
fn listener_between_brokers_is_held_up_by_no_other() {
    let protected = Some("INSIDE".to_owned());
    let listeners = BTreeMap::from([("INSIDE".to_owned(), Bound { max: 2, rate: None })]);
    let all = Bound { max: 1, rate: Some(0.1) };
    let mut connections = connections(Bounds { all, listeners, protected, ..Bounds::default() });
    assert_eq!(waits(&mut connections, "OUTSIDE", 2), [0, 1000]);
    assert_eq!(waits(&mut connections, "INSIDE", 9), [0; 9]);
    assert_eq!(connections.admit("OUTSIDE", address(1), 0), Ok(()));
    assert!(!connections.has_room("OUTSIDE") && connections.has_room("INSIDE"));
    for last in [2, 3] {
        assert_eq!(connections.admit("INSIDE", address(last), 0), Ok(()));
    }
    assert!(!connections.has_room("INSIDE"), "its own bound holds");
    connections.closed("OUTSIDE", address(1));
    assert!(!connections.has_room("OUTSIDE"), "all are counted");
    connections.allow(Bounds { total_max: 2, ..Bounds::default() });
    assert!(!connections.has_room("INSIDE"), "nobody gets what the process cannot hold");
}

#[test]
fn address_beyond_its_rate_is_closed_late_and_counts_for_nobody() {
    let mut connections = connections(Bounds { all: rate(1.0), ..Bounds::default() });
    connections.set_ip_rates(BTreeMap::from([(address(1), 0.2)]), Some(1000.0));
    let open = |connections: &mut Connections, last| {
        assert_eq!(connections.came("A", 0).ms, 0);
        connections.admit("A", address(last), 0)
    };
    assert_eq!([open(&mut connections, 1), open(&mut connections, 1)], [Ok(()); 2]);
    for _ in 0..100 {
        assert_eq!(open(&mut connections, 1), Err(Refusal::TooFast { ms: 1000 }));
    }
    // Eight more are within the rate of all: those that were refused are not among them.
    for last in 2..10 {
        assert_eq!(open(&mut connections, last), Ok(()));
    }
    assert_eq!(connections.came("A", 0).ms, 1000);
    assert_eq!((connections.total(), connections.measured_addresses()), (10, 9));
    connections.set_ip_rates(BTreeMap::new(), None);
    assert_eq!(connections.admit("A", address(1), 0), Ok(()), "the quota was taken away");
}

#[test]
fn some_addresses_may_have_more_connections_or_none() {
    let per_ip_overrides = BTreeMap::from([(address(1), 2), (address(2), 0)]);
    let mut connections = connections(Bounds { per_ip_max: 1, per_ip_overrides, ..Bounds::default() });
    let mut open = |last| connections.admit("A", address(last), 0);
    assert_eq!([open(1), open(1), open(1)], [Ok(()), Ok(()), Err(Refusal::TooMany)]);
    assert_eq!([open(2), open(3), open(3)], [Err(Refusal::TooMany), Ok(()), Err(Refusal::TooMany)]);
    connections.closed("A", address(3));
    assert_eq!(connections.admit("A", address(3), 0), Ok(()));
}

#[test]
fn number_of_a_listener_is_bounded_beside_that_of_all() {
    let listeners = BTreeMap::from([("A".to_owned(), max(1))]);
    let mut connections = connections(Bounds { all: max(2), listeners, ..Bounds::default() });
    assert_eq!(connections.admit("A", address(1), 0), Ok(()));
    assert!(!connections.has_room("A") && connections.has_room("B"));
    assert_eq!(connections.admit("B", address(1), 0), Ok(()));
    assert!(!connections.has_room("B"));
    connections.closed("A", address(1));
    assert!(connections.has_room("A") && connections.has_room("B"));
}

#[test]
fn rates_of_addresses_are_those_of_the_image() {
    use crate::metadata::record::{ClientQuotaRecord, Record};
    let mut image = Image::default();
    for (entity, value) in [
        (Entity::ip(Name::exactly("10.0.0.1")), 5.0),
        (Entity::ip(Name::exactly("host.example")), 6.0),
        (Entity::ip(Name::Default), 7.0),
    ] {
        let value = Some(crate::quota::Value::new(value));
        let record = ClientQuotaRecord { entity, key: Key::ConnectionCreationRate, value };
        image.apply(&Record::ClientQuota(record)).expect("it fits");
    }
    let hosts = BTreeMap::from([("10.0.0.1".to_owned(), 5.0), ("host.example".to_owned(), 6.0)]);
    assert_eq!(IpRates::of(&image), IpRates { hosts, default: Some(7.0) });
}
