//! `milena cluster status`: what an operator looks at first.

pub mod health;
mod show;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use milena_client::admin::{Admin, ClusterDescription, QuorumDescription, QuorumView, RegisteredBroker};
use milena_client::cluster::Topic;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::progress;

use health::Health;

const MIN_IN_SYNC: &str = "min.insync.replicas";

/// How long the quorum may take to say who leads it. Longer than an election; the rest is shown without it.
const QUORUM_TIME_MAX: Duration = Duration::from_secs(5);

/// All that is shown.
struct Status {
    cluster: ClusterDescription,
    brokers: Vec<RegisteredBroker>,
    quorum: QuorumView,
    health: Health,
}

impl Status {
    /// The quorum as its leader sees it, where there is one.
    fn described(&self) -> Option<&QuorumDescription> {
        match &self.quorum {
            QuorumView::Whole(quorum) | QuorumView::NoMajority { quorum, .. } => Some(quorum),
            QuorumView::Absent | QuorumView::NoLeader(_) => None,
        }
    }

    /// Why nothing can be decided in this cluster.
    fn quorum_trouble(&self) -> Option<String> {
        match &self.quorum {
            QuorumView::Whole(_) | QuorumView::Absent => None,
            QuorumView::NoLeader(reason) => {
                Some(format!("no leader of the metadata quorum answers: {reason}"))
            }
            QuorumView::NoMajority { quorum, heard } => Some(format!(
                "the metadata quorum has no majority: its leader {} has heard lately from {heard} of {} voters, \
                 itself included, and needs {}",
                quorum.leader_id,
                quorum.voters.len(),
                quorum.majority()
            )),
        }
    }
}

pub async fn run(context: &Context) -> Result<()> {
    let admin = context.connect().await?;
    let status = progress::during("asking for the cluster", ask(&admin)).await?;
    if context.is_json() {
        show::json(&status)?
    } else {
        show::print(&status)?
    }
    match status.quorum_trouble() {
        None => Ok(()),
        Some(message) => {
            let hint = Some("until a majority of the controllers runs, no topic, leader or ISR changes");
            Err(Error::Failed { message, hint })
        }
    }
}

async fn ask(admin: &Admin) -> Result<Status, milena_client::Error> {
    let cluster = admin.describe_cluster().await?;
    let brokers = admin.describe_brokers().await?;
    let topics = admin.list_topics().await?;
    let min_in_sync = min_in_sync(admin, &topics).await?;
    let ids = brokers.iter().map(|registered| registered.broker.id);
    let health = Health::of(ids, topics.iter().map(Arc::as_ref), &min_in_sync);
    // Last: a broker answers in turn, and this it may not answer for long.
    let quorum = admin.view_quorum(QUORUM_TIME_MAX).await?;
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
