//! `milena down`: ends the cluster that `milena up` started.

use std::path::PathBuf;

use futures_util::future::join_all;
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::up::state::Cluster;
use crate::up::{DIRECTORY, Handle, STOP_TIME_MAX, signal_failed};
use crate::{output, progress};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Directory of the cluster
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    data: PathBuf,
    /// Also deletes the cluster, with all its records
    #[arg(long)]
    delete: bool,
}

/// What became of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Stopped,
    /// It did not stop in time.
    Killed,
    DidNotRun,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let mut cluster = Cluster::open(&arguments.data)?;
    let nodes: Vec<_> = cluster.nodes().iter().map(|node| (node.id, node.handle())).collect();
    // All at once: there is nobody to hand over to.
    let stopping = join_all(nodes.iter().map(|(id, handle)| stop(*id, handle.as_ref())));
    let outcomes = progress::during("stopping the nodes", stopping).await;
    let outcomes = outcomes.into_iter().collect::<Result<Vec<_>>>()?;
    for (id, _) in &outcomes {
        cluster.ended(*id)?;
    }
    if arguments.delete {
        cluster.delete()?;
    }
    show(context, &outcomes)
}

async fn stop(id: i32, handle: Option<&Handle>) -> Result<(i32, Outcome)> {
    let Some(handle) = handle else { return Ok((id, Outcome::DidNotRun)) };
    let stopped = async {
        handle.terminate()?;
        match tokio::time::timeout(STOP_TIME_MAX, handle.ended()).await {
            Ok(ended) => ended.map(|()| Outcome::Stopped),
            Err(_) => handle.kill().await.map(|()| Outcome::Killed),
        }
    };
    stopped.await.map(|outcome| (id, outcome)).map_err(|error| signal_failed(id, &error))
}

/// A node that had to be killed has lost nothing that was acknowledged, but something is wrong with it.
fn show(context: &Context, outcomes: &[(i32, Outcome)]) -> Result<()> {
    if context.is_json() {
        let nodes = outcomes.iter().map(|(id, outcome)| json!({ "id": id, "outcome": name(*outcome) }));
        output::json(&nodes.collect::<Vec<_>>())?;
    } else {
        for (id, outcome) in outcomes {
            output::line(&format!("node {id} {}", name(*outcome)))?;
        }
    }
    if outcomes.iter().all(|(_, outcome)| *outcome != Outcome::Killed) {
        return Ok(());
    }
    let message = format!("not all nodes stopped within {} s", STOP_TIME_MAX.as_secs());
    Err(Error::Failed { message, hint: Some("the end of their broker.log may say why") })
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Stopped => "stopped",
        Outcome::Killed => "killed",
        Outcome::DidNotRun => "did not run",
    }
}
