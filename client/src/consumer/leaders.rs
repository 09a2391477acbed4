//! Leaders of partitions, looked up beside the fetches: a partition that nobody leads does not hold up the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, Retry, Topic};
use crate::error::{Error, Result};

pub(super) struct Leaders {
    cluster: Cluster,
    /// One look at each topic at a time.
    under_way: FuturesUnordered<JoinHandle<Look>>,
    looked_at: BTreeSet<String>,
    /// Topics with a partition that nobody led when last looked: the next look waits, longer each time.
    leaderless: BTreeMap<String, (Retry, Error)>,
}

/// What a look at a topic has found.
pub(super) struct Look {
    pub(super) topic: String,
    retry: Retry,
    found: Result<Arc<Topic>>,
}

impl Leaders {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            under_way: FuturesUnordered::new(),
            looked_at: BTreeSet::new(),
            leaderless: BTreeMap::new(),
        }
    }

    /// Asks the cluster for the leaders of a topic, unless that is under way.
    pub(super) fn look_up(&mut self, topic: &str) {
        if self.looked_at.insert(topic.to_owned()) {
            let before = self.leaderless.remove(topic);
            self.under_way.push(tokio::spawn(look(self.cluster.clone(), topic.to_owned(), before)));
        }
    }

    /// The next look that is over, none when none is under way. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Result<Look>> {
        // A look ends early only with the runtime.
        self.under_way.next().await.map(|look| look.map_err(|_| Error::Closed))
    }

    /// Takes a look in for the partitions of its topic that are wanted.
    ///
    /// Errors: `UnknownTopic`, `UnknownPartition`, and what stayed wrong for `default.api.timeout.ms`.
    pub(super) fn take(&mut self, look: Look, wanted: impl Iterator<Item = i32>) -> Result<()> {
        self.looked_at.remove(&look.topic);
        let found = look.found?;
        let errors = wanted.filter_map(|partition| found.leader(partition).err());
        let (leaderless, failed): (Vec<Error>, Vec<Error>) = errors.partition(Error::may_be_retried);
        if let Some(error) = leaderless.into_iter().next() {
            self.leaderless.insert(look.topic, (look.retry, error));
        }
        failed.into_iter().next().map_or(Ok(()), Err)
    }
}

async fn look(cluster: Cluster, topic: String, before: Option<(Retry, Error)>) -> Look {
    let (mut retry, error) = match before {
        Some((retry, error)) => (retry, Some(error)),
        None => (cluster.retry(), None),
    };
    let found = async {
        if let Some(error) = error {
            retry.pause(error).await?;
        }
        // What is known is not forgotten before: others are read from the leaders that it names.
        cluster.refresh(Some(std::slice::from_ref(&topic)), false).await?;
        cluster.topic(&topic, false).await
    };
    let found = found.await;
    Look { topic, retry, found }
}
