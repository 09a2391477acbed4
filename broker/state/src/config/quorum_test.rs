use std::collections::BTreeMap;

use super::super::broker;
use super::*;

fn parse(text: &str) -> Result<broker::Settings, ConfigError> {
    let pair = |line: &str| {
        let (name, value) = line.split_once('=').expect("name=value");
        (name.trim().to_owned(), value.trim().to_owned())
    };
    let properties: BTreeMap<_, _> =
        text.split(';').filter(|line| !line.trim().is_empty()).map(pair).collect();
    broker::Settings::parse(&properties)
}

fn parsed(text: &str) -> broker::Settings {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn check_refused(text: &str, named: &[&str]) {
    let error = parse(text).expect_err(text).to_string();
    for name in named {
        assert!(error.contains(name), "'{text}' was refused with: {error}");
    }
}

const BOTH: &str = "node.id=1;listeners=PLAINTEXT://h:9092,CONTROLLER://h:9093;";
const THREE: &str = "controller.quorum.voters=1@h:9093,2@h:9193,3@[::1]:9293;";
const BROKER: &str = "node.id=7;process.roles=broker;listeners=PLAINTEXT://h:9092;";
const CONTROLLER: &str = "node.id=1;process.roles=controller;listeners=CONTROLLER://h:9093;";

#[test]
fn who_names_nobody_else_is_alone() {
    for text in [
        "",
        BOTH,
        &format!("{BOTH}controller.quorum.voters=1@h:9093"),
        &format!("{BOTH}controller.quorum.bootstrap.servers=h:9093"),
        "listeners=PLAINTEXT://:9092,CONTROLLER://:9093;controller.quorum.bootstrap.servers=localhost:9093",
        "controller.quorum.bootstrap.servers=anything:1",
    ] {
        assert!(parsed(text).quorum.is_alone, "{text}");
    }
    for text in [
        &format!("{BOTH}{THREE}"),
        &format!("{BOTH}controller.quorum.bootstrap.servers=h:9093,h:9193"),
        &format!("{BOTH}controller.quorum.bootstrap.servers=other:9093"),
        &format!("{BROKER}{THREE}"),
        &format!("{CONTROLLER}controller.quorum.voters=1@h:9093"),
    ] {
        assert!(!parsed(text).quorum.is_alone, "{text}");
    }
}

#[test]
fn voters_and_servers_are_read_and_counted_once() {
    let settings = parsed(&format!("{BOTH}{THREE}controller.quorum.bootstrap.servers=h:9093,g:1"));
    let ids: Vec<_> = settings.quorum.voters.iter().map(|voter| voter.id).collect();
    assert_eq!(ids, [1, 2, 3]);
    let addresses: Vec<_> = settings.quorum.controllers().iter().map(Address::to_string).collect();
    assert_eq!(addresses, ["[::1]:9293", "g:1", "h:9093", "h:9193"]);
    check_refused(&format!("{BOTH}controller.quorum.voters=1@h:9093,1@h:9193"), &["voters", "twice"]);
    check_refused(&format!("{BOTH}controller.quorum.voters=1@h:9093,2@h:9093"), &["voters", "twice"]);
    for bad in ["h:9093", "x@h:9093", "-1@h:9093", "2@h", "2@:9093", "2@::1:9093"] {
        check_refused(&format!("{BOTH}controller.quorum.voters=1@h:9093,{bad}"), &["voters", "id@host:port"]);
    }
    check_refused(
        &format!("{BOTH}controller.quorum.bootstrap.servers=h"),
        &["bootstrap.servers", "host:port"],
    );
}

#[test]
fn roles_decide_which_listeners_there_are() {
    let broker = parsed(&format!("{BROKER}{THREE}"));
    assert_eq!(broker.quorum.roles, Roles { broker: true, controller: false });
    assert_eq!((broker.listeners.len(), broker.controller_listeners.len()), (1, 0));
    let controller = parsed(&format!("{CONTROLLER}{THREE}"));
    assert_eq!(controller.quorum.roles, Roles { broker: false, controller: true });
    assert_eq!((controller.listeners.len(), controller.controller_listeners.len()), (0, 1));
    assert_eq!(controller.advertised_controllers, controller.controller_listeners);
    assert!(controller.advertised_listeners.is_empty());

    check_refused("process.roles=", &["process.roles"]);
    check_refused(
        &format!("node.id=7;process.roles=broker;listeners=PLAINTEXT://h:1,CONTROLLER://h:2;{THREE}"),
        &["listeners", "process.roles"],
    );
    check_refused(
        &format!("node.id=1;process.roles=controller;listeners=PLAINTEXT://h:1,CONTROLLER://h:2;{THREE}"),
        &["listeners", "process.roles"],
    );
    check_refused(&format!("node.id=1;process.roles=controller;{THREE}"), &["listeners", "process.roles"]);
    check_refused(
        &format!("{CONTROLLER}{THREE}advertised.listeners=PLAINTEXT://h:9092"),
        &["advertised.listeners"],
    );
    check_refused(
        &format!("{BOTH}{THREE}inter.broker.listener.name=CONTROLLER"),
        &["inter.broker.listener.name"],
    );
}

#[test]
fn impossible_memberships_are_refused() {
    check_refused(BROKER, &["controller.quorum.bootstrap.servers", "process.roles"]);
    check_refused(CONTROLLER, &["controller.quorum.bootstrap.servers", "process.roles"]);
    check_refused(
        &format!("{BOTH}controller.quorum.voters=2@h:9193"),
        &["controller.quorum.voters", "node.id"],
    );
    check_refused(
        &format!("node.id=2;process.roles=broker;listeners=PLAINTEXT://h:9092;{THREE}"),
        &["controller.quorum.voters", "process.roles"],
    );
    check_refused(&format!("node.id=1;{THREE}"), &["controller.listener.names", "listeners"]);
    check_refused(
        &format!("{BOTH}{THREE}controller.quorum.auto.join.enable=true"),
        &["controller.quorum.auto.join.enable", "controller.quorum.voters"],
    );
    check_refused(
        &format!("{BROKER}{THREE}controller.quorum.auto.join.enable=true"),
        &["controller.quorum.auto.join.enable", "process.roles"],
    );
}
