//! What a member subscribed to, and the watch for topics that come, go and grow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_protocol::ErrorCode;
use regex::Regex;

use crate::cluster::{Cluster, Metadata};
use crate::error::{Error, Result};

/// The topics that a member wants to read.
#[derive(Debug, Clone)]
pub(super) enum Subscription {
    Topics(BTreeSet<String>),
    Pattern(Pattern),
}

/// All topics whose whole name matches.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    exclude_internal: bool,
}

impl Pattern {
    /// Errors: `Config`, for what is no regular expression.
    pub(super) fn new(pattern: &str, exclude_internal: bool) -> Result<Self> {
        let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| Error::Config {
            name: "subscription".to_owned(),
            reason: format!("'{pattern}' is no regular expression: {error}"),
        })?;
        Ok(Self { regex, exclude_internal })
    }

    fn of(&self, metadata: &Metadata) -> BTreeSet<String> {
        let topics = metadata.topics().into_iter().filter(|topic| {
            self.regex.is_match(&topic.name) && !(self.exclude_internal && topic.is_internal)
        });
        topics.map(|topic| topic.name.clone()).collect()
    }
}

impl Subscription {
    /// The topics by name; a pattern looks at all that the cluster has now.
    pub(super) async fn resolve(&self, cluster: &Cluster) -> Result<BTreeSet<String>> {
        match self {
            Subscription::Topics(topics) => Ok(topics.clone()),
            Subscription::Pattern(pattern) => {
                let metadata = cluster.refresh(None, false).await?;
                Ok(pattern.of(&metadata))
            }
        }
    }

    pub(super) fn takes(&self, topic: &str) -> bool {
        match self {
            Subscription::Topics(topics) => topics.contains(topic),
            Subscription::Pattern(pattern) => pattern.regex.is_match(topic),
        }
    }
}

/// What must stay as it is for an assignment to stay right.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) subscription: Subscription,
    /// The topics that this member named when it joined.
    pub(super) joined: BTreeSet<String>,
    /// Partitions of each topic of the group, as they were assigned; only the leader looks after them.
    pub(super) counts: Option<BTreeMap<String, usize>>,
}

/// How many partitions of each topic can be assigned. What is in doubt for the moment stays as it was.
pub(super) fn counts<'a>(
    metadata: &Metadata,
    topics: impl Iterator<Item = &'a String>,
    before: &BTreeMap<String, usize>,
) -> BTreeMap<String, usize> {
    let count = |name: &String| match metadata.topic(name) {
        Some(topic) if topic.is_usable() => topic.partitions.len(),
        Some(topic) if topic.error != Some(ErrorCode::UnknownTopicOrPartition) => {
            before.get(name).copied().unwrap_or(0)
        }
        _ => 0,
    };
    topics.map(|name| (name.clone(), count(name))).collect()
}

impl Watched {
    /// Waits until the assignment should be made anew: a topic matches that did not, is gone, came, or has more
    /// partitions. Looks once in `metadata.max.age.ms`, and each `retry.backoff.max.ms` while a topic is missing.
    pub(super) async fn changed(self, cluster: &Cluster) {
        let is_pattern = matches!(self.subscription, Subscription::Pattern(_));
        if !is_pattern && self.counts.is_none() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(self.interval(cluster)).await;
            match self.look(cluster).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "the topics of a group could not be looked at"),
            }
        }
    }

    fn interval(&self, cluster: &Cluster) -> Duration {
        let config = cluster.config();
        let is_missing = self.counts.iter().flat_map(BTreeMap::values).any(|count| *count == 0);
        let age_max = config.metadata_max_age.max(AGE_MIN);
        if is_missing { config.retry_backoff_max.clamp(AGE_MIN, age_max) } else { age_max }
    }

    async fn look(&self, cluster: &Cluster) -> Result<bool> {
        if let Subscription::Pattern(pattern) = &self.subscription {
            let metadata = cluster.refresh(None, false).await?;
            if pattern.of(&metadata) != self.joined {
                return Ok(true);
            }
        }
        let Some(before) = &self.counts else { return Ok(false) };
        let names: Vec<String> = before.keys().cloned().collect();
        if names.is_empty() {
            return Ok(false);
        }
        let metadata = cluster.refresh(Some(&names), false).await?;
        Ok(counts(&metadata, names.iter(), before) != *before)
    }
}

/// The cluster is not asked more often, whatever is configured.
const AGE_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let subscription = Subscription::Pattern(Pattern::new("a.*|b", true).expect("it is one"));
        for (topic, expected) in [("a", true), ("ab", true), ("b", true), ("bc", false), ("xa", false)] {
            assert_eq!(subscription.takes(topic), expected, "{topic}");
        }
        assert!(Pattern::new("(", true).is_err());
    }
}
