//! `milena up`: a cluster of real brokers on this machine, to try things out.
//!
//! Each node is the program `milena-broker` with files of its own below one directory. The nodes outlive the command:
//! what one wants of a cluster is to use it from several shells, and to kill a node of it from one of them; `milena down`
//! ends it. What was started is in the state file of the directory, with the start time of each process, because a number
//! of a process that ended is given to another one day.

mod launch;
mod plan;
mod process;
mod ready;
mod show;
pub mod state;

use std::path::PathBuf;
use std::time::Instant;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::text;

use plan::Plan;
use state::{Cluster, Node};

pub use launch::{STOP_TIME_MAX, signal_failed};
pub use process::Handle;

/// Where a cluster is kept, unless said otherwise.
pub const DIRECTORY: &str = "milena-cluster";

const BROKERS: u16 = 3;
const PORT: u16 = 9092;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Nodes of a new cluster [default: 3]
    #[arg(long, value_name = "COUNT", value_parser = text::at_least::<u16, 1>)]
    brokers: Option<u16>,
    /// Directory of the cluster: a folder per node with its properties, its log and its data
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    data: PathBuf,
    /// Port for clients of the first node of a new cluster; the others follow [default: 9092]
    #[arg(long, value_name = "PORT", value_parser = text::at_least::<u16, 1>)]
    port: Option<u16>,
    /// A broker property of all nodes of a new cluster, such as log.retention.hours=1
    #[arg(long = "override", value_name = "NAME=VALUE", value_parser = text::pair)]
    overrides: Vec<(String, String)>,
    /// Kills these nodes at once, as a crash does
    #[arg(long, value_name = "NODE,…", value_delimiter = ',', conflicts_with_all = ["brokers", "port", "overrides"])]
    kill: Vec<i32>,
    /// Starts these nodes again: first those that do not run, together, then those that run, one after the other
    #[arg(long, value_name = "NODE,…", value_delimiter = ',', conflicts_with_all = ["brokers", "port", "overrides"])]
    restart: Vec<i32>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    if arguments.kill.is_empty() && arguments.restart.is_empty() {
        return start(context, &arguments).await;
    }
    let mut cluster = Cluster::open(&arguments.data)?;
    for id in arguments.kill.iter().chain(&arguments.restart) {
        cluster.node(*id)?;
    }
    for id in arguments.kill {
        kill(&mut cluster, id).await?;
    }
    let began = Instant::now();
    let restarted = restart(&mut cluster, arguments.restart).await?;
    show::nodes(context, &cluster)?;
    if restarted > 0 {
        show::ready(restarted, began.elapsed());
    }
    Ok(())
}

/// Those that do not run are started together: each may need the others for a quorum before it is ready. Those that run
/// follow one after the other, so that the cluster serves meanwhile.
async fn restart(cluster: &mut Cluster, mut ids: Vec<i32>) -> Result<usize> {
    ids.sort_unstable();
    ids.dedup();
    let runs = |id: &i32| cluster.node(*id).is_ok_and(Node::is_running);
    let (running, missing): (Vec<i32>, Vec<i32>) = ids.iter().partition(|id| runs(id));
    if !missing.is_empty() {
        launch::start(cluster, &missing).await?;
    }
    for id in running {
        launch::stop(cluster, id).await?;
        launch::start(cluster, &[id]).await?;
    }
    Ok(ids.len())
}

/// Starts a new cluster, or what does not run of one that is there.
async fn start(context: &Context, arguments: &Arguments) -> Result<()> {
    let mut cluster = match Cluster::find(&arguments.data)? {
        Some(cluster) => {
            agrees(&cluster, arguments)?;
            cluster
        }
        None => create(arguments)?,
    };
    let missing: Vec<i32> =
        cluster.nodes().iter().filter(|node| !node.is_running()).map(|node| node.id).collect();
    let began = Instant::now();
    launch::start(&mut cluster, &missing).await?;
    show::nodes(context, &cluster)?;
    if missing.is_empty() {
        eprintln!("all nodes run already");
    } else {
        show::ready(missing.len(), began.elapsed());
    }
    show::how_to_go_on(&cluster);
    Ok(())
}

fn create(arguments: &Arguments) -> Result<Cluster> {
    let plan = Plan {
        brokers: arguments.brokers.unwrap_or(BROKERS),
        port: arguments.port.unwrap_or(PORT),
        overrides: &arguments.overrides,
    };
    let nodes = plan.nodes().map_err(Error::Usage)?;
    launch::check_ports(&nodes)?;
    Cluster::create(&arguments.data, nodes, |nodes, node, folder| plan.properties(nodes, node, folder))
}

/// A cluster that is there is what it is: its nodes know each other by their ports.
fn agrees(cluster: &Cluster, arguments: &Arguments) -> Result<()> {
    let nodes = cluster.nodes();
    let there = format!("{} holds a cluster of {} nodes", cluster.directory().display(), nodes.len());
    if arguments.brokers.is_some_and(|asked| usize::from(asked) != nodes.len()) {
        return Err(Error::Usage(format!("{there}; another --data makes another cluster")));
    }
    if arguments.port.is_some_and(|asked| nodes.first().is_some_and(|first| first.port != asked)) {
        return Err(Error::Usage(format!("{there} at other ports; another --data makes another cluster")));
    }
    if !arguments.overrides.is_empty() {
        let message = format!("{there}; change the server.properties of its nodes, and --restart them");
        return Err(Error::Usage(message));
    }
    Ok(())
}

async fn kill(cluster: &mut Cluster, id: i32) -> Result<()> {
    let Some(handle) = cluster.node(id)?.handle() else {
        eprintln!("node {id} does not run");
        return Ok(());
    };
    handle.kill().await.map_err(|error| launch::signal_failed(id, &error))?;
    cluster.ended(id)
}

/// Address for clients of all nodes.
pub fn bootstrap(nodes: &[Node]) -> String {
    nodes.iter().map(Node::address).collect::<Vec<_>>().join(",")
}
