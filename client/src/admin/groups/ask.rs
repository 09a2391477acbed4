//! The way to the coordinators, for many groups at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;

use super::ByGroup;
use crate::admin::Admin;
use crate::connection::Connection;
use crate::error::{Error, Result};

/// Groups that one request names at most: answers have a bound, and a coordinator works on one request at a time.
const GROUPS_PER_REQUEST_MAX: usize = 100;

/// Coordinators that are looked up at once.
const LOOKUPS_MAX: usize = 16;

/// The coordinator of the groups that are asked for.
pub(super) struct Coordinator {
    pub id: i32,
    pub connection: Arc<Connection>,
}

impl Admin {
    /// Asks the coordinators of some groups, again where that may help, until every group has its answer or the time is
    /// over.
    pub(super) async fn ask_coordinators<T, F>(
        &self,
        groups: &[String],
        ask: impl Fn(Coordinator, Vec<String>) -> F,
    ) -> ByGroup<T>
    where
        F: Future<Output = Result<ByGroup<T>>>,
    {
        let mut retry = self.cluster.retry();
        let mut done = ByGroup::new();
        let mut due: BTreeSet<String> = groups.iter().cloned().collect();
        loop {
            let again = self.ask_once(due, &ask, &mut done).await;
            let Some((_, error)) = again.first_key_value() else { return done };
            if retry.pause(error.clone()).await.is_err() {
                done.extend(again.into_iter().map(|(group, error)| (group, Err(error))));
                return done;
            }
            due = again.into_keys().collect();
        }
    }

    /// One attempt. Gives the groups that may be asked for again, and why.
    async fn ask_once<T, F>(
        &self,
        due: BTreeSet<String>,
        ask: &impl Fn(Coordinator, Vec<String>) -> F,
        done: &mut ByGroup<T>,
    ) -> BTreeMap<String, Error>
    where
        F: Future<Output = Result<ByGroup<T>>>,
    {
        let mut again = BTreeMap::new();
        let mut settle = |group: String, result: Result<T>| match result {
            Err(error) if error.may_be_retried() => {
                self.cluster.doubt_coordinator(&group, &error);
                again.insert(group, error);
            }
            result => {
                done.insert(group, result);
            }
        };
        let (shares, unknown) = self.by_coordinator(due).await;
        unknown.into_iter().for_each(|(group, error)| settle(group, Err(error)));
        for (broker_id, groups) in shares {
            for groups in groups.chunks(GROUPS_PER_REQUEST_MAX) {
                let attempt = async {
                    let connection = self.cluster.broker(broker_id).await?;
                    ask(Coordinator { id: broker_id, connection }, groups.to_vec()).await
                };
                match attempt.await {
                    Ok(mut answers) => {
                        for group in groups {
                            let answer = answers.remove(group).unwrap_or_else(|| Err(unanswered(group)));
                            settle(group.clone(), answer);
                        }
                    }
                    Err(error) => groups.iter().for_each(|group| settle(group.clone(), Err(error.clone()))),
                }
            }
        }
        again
    }

    /// The groups of each coordinator, and those that have none.
    async fn by_coordinator(
        &self,
        groups: BTreeSet<String>,
    ) -> (BTreeMap<i32, Vec<String>>, Vec<(String, Error)>) {
        let lookups = groups.into_iter().map(|group| {
            let cluster = self.cluster.clone();
            async move { (cluster.coordinator(&group).await, group) }
        });
        let found: Vec<_> = stream::iter(lookups).buffered(LOOKUPS_MAX).collect().await;
        let (mut shares, mut unknown) = (BTreeMap::<i32, Vec<String>>::new(), Vec::new());
        for (coordinator, group) in found {
            match coordinator {
                Ok(broker_id) => shares.entry(broker_id).or_default().push(group),
                Err(error) => unknown.push((group, error)),
            }
        }
        (shares, unknown)
    }
}

fn unanswered(group: &str) -> Error {
    Error::Corrupt(format!("the coordinator said nothing of group {group}"))
}
