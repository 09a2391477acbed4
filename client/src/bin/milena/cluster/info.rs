//! `milena cluster info`.

use milena_client::admin::ClusterDescription;
use serde_json::json;

use crate::context::Context;
use crate::error::Result;
use crate::{output, progress};

pub async fn run(context: &Context) -> Result<()> {
    let admin = context.connect().await?;
    let described = progress::during("asking for the cluster", admin.describe_cluster()).await?;
    if context.is_json() { output::json(&as_json(&described)) } else { print(&described) }
}

fn as_json(cluster: &ClusterDescription) -> serde_json::Value {
    let brokers = cluster.brokers.iter().map(
        |broker| json!({ "id": broker.id, "host": broker.host, "port": broker.port, "rack": broker.rack }),
    );
    json!({
        "cluster_id": cluster.cluster_id,
        "controller_id": cluster.controller_id,
        "brokers": brokers.collect::<Vec<_>>(),
    })
}

fn print(cluster: &ClusterDescription) -> Result<()> {
    output::line(&format!("cluster     {}", cluster.cluster_id))?;
    output::line(&format!("controller  {}", output::or_dash(cluster.controller_id)))?;
    output::line("")?;
    let mut brokers: Vec<_> = cluster.brokers.iter().collect();
    brokers.sort_by_key(|broker| broker.id);
    let rows = brokers
        .into_iter()
        .map(|broker| vec![broker.id.to_string(), broker.address(), output::or_dash(broker.rack.as_ref())]);
    output::table(&["BROKER", "ADDRESS", "RACK"], &rows.collect::<Vec<_>>())
}
