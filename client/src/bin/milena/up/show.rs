//! What `milena up` says: a line per node, and how to go on.

use std::time::Duration;

use serde_json::json;

use super::state::{Cluster, Node};
use crate::context::Context;
use crate::error::Result;
use crate::output;

pub fn nodes(context: &Context, cluster: &Cluster) -> Result<()> {
    if context.is_json() {
        let nodes = cluster.nodes().iter().map(|node| as_json(cluster, node));
        return output::json(&nodes.collect::<Vec<_>>());
    }
    let rows = cluster.nodes().iter().map(|node| {
        vec![
            node.id.to_string(),
            node.address(),
            node.roles().to_owned(),
            output::or_dash(pid(node)),
            cluster.folder(node.id).display().to_string(),
        ]
    });
    output::table(&["NODE", "ADDRESS", "ROLES", "PID", "DIRECTORY"], &rows.collect::<Vec<_>>())
}

pub fn ready(count: usize, took: Duration) {
    let nodes = if count == 1 { "1 node is".to_owned() } else { format!("{count} nodes are") };
    eprintln!("{nodes} ready after {} ms", took.as_millis());
}

/// What a shell that goes on from here wants to know. With the default ports the first node is asked by default, but it may
/// be the one that is killed.
pub fn how_to_go_on(cluster: &Cluster) {
    eprintln!("export MILENA_BOOTSTRAP={}", super::bootstrap(cluster.nodes()));
}

fn as_json(cluster: &Cluster, node: &Node) -> serde_json::Value {
    json!({
        "id": node.id,
        "address": node.address(),
        "roles": node.roles().split(',').collect::<Vec<_>>(),
        "controller": node.controller_port.map(|port| format!("127.0.0.1:{port}")),
        "http": format!("127.0.0.1:{}", node.http_port),
        "running": node.is_running(),
        "pid": pid(node),
        "directory": cluster.folder(node.id),
        "log": cluster.log(node.id),
    })
}

fn pid(node: &Node) -> Option<u32> {
    let process = node.process.as_ref().filter(|process| process.is_running())?;
    Some(process.pid)
}
