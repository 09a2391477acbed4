//! What the nodes of a new cluster are told: roles, ports, racks. Nothing here touches the machine.

use std::fmt::Write as _;
use std::path::Path;

use super::state::Node;

/// More would take the ports of the next kind, and no laptop.
const BROKERS_MAX: u16 = 100;

/// From the port for clients to that of the controller, and to that for metrics: 9092 comes with 10092 and 9464.
const CONTROLLER_DISTANCE: u16 = 1000;
const HTTP_DISTANCE: u16 = 372;

/// Sizes of a quorum: more voters survive more, and each write waits for more.
const QUORUM_SIZES: [u16; 3] = [5, 3, 1];

const RACKS: [&str; 3] = ["a", "b", "c"];

/// What the user asked for.
pub struct Plan<'a> {
    pub brokers: u16,
    pub port: u16,
    pub overrides: &'a [(String, String)],
}

impl Plan<'_> {
    /// The nodes, numbered from 1 on. The first ones are controllers too.
    pub fn nodes(&self) -> Result<Vec<Node>, String> {
        if self.brokers > BROKERS_MAX {
            return Err(format!("--brokers {}: at most {BROKERS_MAX} run on one machine", self.brokers));
        }
        let last = u32::from(self.port) + u32::from(CONTROLLER_DISTANCE) + u32::from(self.brokers) - 1;
        if last > u32::from(u16::MAX) {
            return Err(format!(
                "--port {}: controllers would listen up to {last}, which is no port",
                self.port
            ));
        }
        let voters = QUORUM_SIZES.into_iter().find(|size| *size <= self.brokers).unwrap_or(1);
        let node = |index: u16| Node {
            id: i32::from(index) + 1,
            port: self.port + index,
            controller_port: (index < voters).then_some(self.port + CONTROLLER_DISTANCE + index),
            http_port: self.port + HTTP_DISTANCE + index,
            process: None,
        };
        Ok((0..self.brokers).map(node).collect())
    }

    /// The `server.properties` of a node whose files are below `folder`.
    pub fn properties(&self, nodes: &[Node], node: &Node, folder: &Path) -> String {
        let rack = RACKS[(node.id as usize - 1) % RACKS.len()];
        let copies = nodes.len().min(3);
        let mut lines = vec![
            ("node.id", node.id.to_string()),
            ("process.roles", node.roles().to_owned()),
            ("listeners", listeners(node)),
            ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned()),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            ("controller.quorum.voters", voters(nodes)),
            ("log.dirs", folder.join("data").display().to_string()),
            ("milena.http.listener", format!("127.0.0.1:{}", node.http_port)),
            ("broker.rack", rack.to_owned()),
            ("default.replication.factor", copies.to_string()),
            ("offsets.topic.replication.factor", copies.to_string()),
            // Two copies of three, so that what is acknowledged outlives one of them.
            ("min.insync.replicas", (copies / 2 + 1).to_string()),
            // As in the file that Kafka ships to try it out: the first member of a group does not wait for others.
            ("group.initial.rebalance.delay.ms", "0".to_owned()),
        ];
        lines.retain(|(name, _)| !self.overrides.iter().any(|(other, _)| other == name));
        let mut text =
            String::from("# Made by `milena up` and kept as it is from then on: change it as you like.\n");
        let given = self.overrides.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in lines.iter().map(|(name, value)| (*name, value)).chain(given) {
            let _ = writeln!(text, "{name}={value}");
        }
        text
    }
}

fn listeners(node: &Node) -> String {
    let clients = format!("PLAINTEXT://{}", node.address());
    match node.controller_port {
        Some(port) => format!("{clients},CONTROLLER://127.0.0.1:{port}"),
        None => clients,
    }
}

fn voters(nodes: &[Node]) -> String {
    let voters =
        nodes.iter().filter_map(|node| Some(format!("{}@127.0.0.1:{}", node.id, node.controller_port?)));
    voters.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(brokers: u16, port: u16) -> Plan<'static> {
        Plan { brokers, port, overrides: &[] }
    }

    fn value<'a>(properties: &'a str, name: &str) -> Vec<&'a str> {
        let values = properties.lines().filter_map(|line| line.split_once('='));
        values.filter(|(other, _)| *other == name).map(|(_, value)| value).collect()
    }

    #[test]
    fn a_quorum_has_one_three_or_five_voters() {
        for (brokers, expected) in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (9, 5)] {
            let nodes = plan(brokers, 9092).nodes().expect("a plan");
            assert_eq!(nodes.len(), usize::from(brokers));
            assert_eq!(voters(&nodes).split(',').count(), expected, "{brokers}");
        }
    }

    #[test]
    fn no_port_is_taken_twice() {
        let nodes = plan(BROKERS_MAX, 20_000).nodes().expect("a plan");
        let mut ports: Vec<u16> = nodes.iter().flat_map(Node::ports).collect();
        ports.sort_unstable();
        let count = ports.len();
        ports.dedup();
        assert_eq!(ports.len(), count);
    }

    #[test]
    fn what_no_machine_has_is_refused() {
        assert!(plan(BROKERS_MAX + 1, 9092).nodes().is_err());
        assert!(plan(1, 64_535).nodes().is_ok());
        assert!(plan(2, 64_535).nodes().expect_err("no such port").contains("65536"));
    }

    #[test]
    fn nodes_are_told_of_each_other() {
        let plan = plan(3, 9092);
        let nodes = plan.nodes().expect("a plan");
        let second = plan.properties(&nodes, &nodes[1], Path::new("/c/node-2"));
        for (name, expected) in [
            ("node.id", "2"),
            ("process.roles", "broker,controller"),
            ("listeners", "PLAINTEXT://127.0.0.1:9093,CONTROLLER://127.0.0.1:10093"),
            ("controller.quorum.voters", "1@127.0.0.1:10092,2@127.0.0.1:10093,3@127.0.0.1:10094"),
            ("log.dirs", "/c/node-2/data"),
            ("broker.rack", "b"),
            ("milena.http.listener", "127.0.0.1:9465"),
            ("min.insync.replicas", "2"),
        ] {
            assert_eq!(value(&second, name), [expected], "{name}");
        }
    }

    #[test]
    fn a_fourth_node_is_a_broker_only() {
        let plan = plan(4, 9092);
        let nodes = plan.nodes().expect("a plan");
        let fourth = plan.properties(&nodes, &nodes[3], Path::new("/c/node-4"));
        assert_eq!(value(&fourth, "process.roles"), ["broker"]);
        assert_eq!(value(&fourth, "listeners"), ["PLAINTEXT://127.0.0.1:9095"]);
        assert_eq!(value(&fourth, "broker.rack"), ["a"]);
    }

    #[test]
    fn the_user_has_the_last_word() {
        let overrides = [("min.insync.replicas", "1"), ("log.retention.hours", "2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let plan = Plan { brokers: 1, port: 9092, overrides: &overrides };
        let nodes = plan.nodes().expect("a plan");
        let properties = plan.properties(&nodes, &nodes[0], Path::new("/c/node-1"));
        assert_eq!(value(&properties, "min.insync.replicas"), ["1"]);
        assert_eq!(value(&properties, "log.retention.hours"), ["2"]);
        assert_eq!(value(&properties, "default.replication.factor"), ["1"]);
    }
}
