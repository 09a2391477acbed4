//! `milena cluster status`: what an operator looks at first.

pub mod health;
mod show;

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_client::admin::{Admin, ClusterDescription, QuorumDescription, RegisteredBroker};
use milena_client::cluster::Topic;

use crate::context::Context;
use crate::error::Result;
use crate::progress;

use health::Health;

const MIN_IN_SYNC: &str = "min.insync.replicas";

/// All that is shown.
struct Status {
    cluster: ClusterDescription,
    brokers: Vec<RegisteredBroker>,
    /// None where the cluster has no quorum, as those with ZooKeeper.
    quorum: Option<QuorumDescription>,
    health: Health,
}

pub async fn run(context: &Context) -> Result<()> {
    let admin = context.connect().await?;
    let status = progress::during("asking for the cluster", ask(&admin)).await?;
    if context.is_json() { show::json(&status) } else { show::print(&status) }
}

async fn ask(admin: &Admin) -> Result<Status, milena_client::Error> {
    let cluster = admin.describe_cluster().await?;
    let brokers = admin.describe_brokers().await?;
    let quorum = match admin.describe_quorum().await {
        Err(milena_client::Error::UnsupportedApi { .. }) => None,
        described => Some(described?),
    };
    let topics = admin.list_topics().await?;
    let min_in_sync = min_in_sync(admin, &topics).await?;
    let ids = brokers.iter().map(|registered| registered.broker.id);
    let health = Health::of(ids, topics.iter().map(Arc::as_ref), &min_in_sync);
    Ok(Status { cluster, brokers, quorum, health })
}

/// Of topics that can be below it: where all replicas are in sync nobody asks how many there must be.
async fn min_in_sync(
    admin: &Admin,
    topics: &[Arc<Topic>],
) -> Result<BTreeMap<String, usize>, milena_client::Error> {
    let lacking = topics.iter().filter(|topic| topic.partitions.iter().any(health::is_under_replicated));
    let names: Vec<String> = lacking.map(|topic| topic.name.clone()).collect();
    let values = admin.topic_values(&names, MIN_IN_SYNC).await?;
    Ok(values.into_iter().filter_map(|(topic, value)| Some((topic, value.parse().ok()?))).collect())
}
