//! Log directories in plans: where in its broker a replica is to be (AlterReplicaLogDirs, KIP-113). A broker moves the
//! replicas that it has, and creates in the directory those that are to come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_client::admin::{Admin, ByPartition, LogDir};
use milena_client::consumer::PartitionKey;
use milena_protocol::ErrorCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::reassign::State;
use crate::error::Result;
use crate::{output, progress};

/// What a broker that does not have a replica yet is waited for, as Kafka's tool does.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(10);
/// How often it is asked.
const BEGIN_PAUSE: Duration = Duration::from_millis(100);

/// The directories that are wanted, by broker.
pub type Wanted = BTreeMap<i32, ByPartition<String>>;

/// A replica that is wanted in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub key: PartitionKey,
    pub broker: i32,
    pub target: String,
    /// Where it is, if its broker has it.
    pub now: Option<String>,
    /// Where it is being moved to.
    pub future: Option<String>,
}

impl Place {
    pub fn state(&self) -> State {
        match (&self.now, &self.future) {
            (_, Some(future)) if *future == self.target => State::Moving,
            (_, Some(_)) => State::MovingElsewhere,
            (Some(now), None) if *now == self.target => State::Complete,
            (_, None) => State::NotBegun,
        }
    }

    pub fn as_json(&self) -> Value {
        json!({
            "broker": self.broker,
            "directory": self.now,
            "target": self.target,
            "state": self.state().name(),
        })
    }
}

/// Where the replicas are now.
pub async fn places(admin: &Admin, wanted: &Wanted) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for (broker, directories) in wanted {
        let keys: BTreeSet<PartitionKey> = directories.keys().cloned().collect();
        let asking = admin.describe_log_dirs(*broker, Some(&keys));
        let found = progress::during(&format!("asking broker {broker}"), asking).await?;
        places.extend(directories.iter().map(|(key, target)| place(key, *broker, target, &found)));
    }
    places.sort_by(|a, b| (&a.key, a.broker).cmp(&(&b.key, b.broker)));
    Ok(places)
}

fn place(key: &PartitionKey, broker: i32, target: &str, found: &[LogDir]) -> Place {
    let of = |is_future: bool| {
        let holds = |directory: &&LogDir| {
            directory.replicas.iter().any(|replica| {
                (&replica.topic, replica.partition) == (&key.0, key.1) && replica.is_future == is_future
            })
        };
        found.iter().find(holds).map(|directory| directory.path.clone())
    };
    Place { key: key.clone(), broker, target: target.to_owned(), now: of(false), future: of(true) }
}

/// Those of some partitions.
pub fn only<'a>(wanted: &Wanted, keys: impl IntoIterator<Item = &'a PartitionKey>) -> Wanted {
    let keys: BTreeSet<&PartitionKey> = keys.into_iter().collect();
    let mut wanted = wanted.clone();
    wanted.values_mut().for_each(|directories| directories.retain(|key, _| keys.contains(key)));
    wanted.retain(|_, directories| !directories.is_empty());
    wanted
}

/// Names the directories to brokers that do not have the replicas yet, so that these are created there and need not be
/// moved. What comes of it is seen when the moves begin.
pub async fn announce(admin: &Admin, wanted: &Wanted, has: impl Fn(&PartitionKey, i32) -> bool) {
    for (broker, directories) in wanted {
        let mut coming = directories.clone();
        coming.retain(|key, _| !has(key, *broker));
        if !coming.is_empty() {
            let _ = admin.alter_replica_log_dirs(*broker, &coming).await;
        }
    }
}

/// Has the brokers move the replicas: what has begun, or is there already, and what has not. A broker that does not have
/// one yet is about to get it, and is asked again.
pub async fn begin(admin: &Admin, wanted: &Wanted) -> (Wanted, Vec<milena_client::Error>) {
    let (mut begun, mut failures) = (Wanted::new(), Vec::new());
    let (mut pending, until) = (wanted.clone(), Instant::now() + BEGIN_TIME_MAX);
    while !pending.is_empty() {
        let may_come = Instant::now() < until;
        let mut later = Wanted::new();
        for (broker, mut directories) in pending {
            let results = match admin.alter_replica_log_dirs(broker, &directories).await {
                Ok(results) => results,
                Err(error) => {
                    failures.push(error);
                    continue;
                }
            };
            for (key, result) in results {
                let Some(path) = directories.remove(&key) else { continue };
                let is_to_come = |error: &milena_client::Error| {
                    may_come && error.code() == Some(ErrorCode::ReplicaNotAvailable)
                };
                let list = match result {
                    Ok(()) => &mut begun,
                    Err(error) if is_to_come(&error) => &mut later,
                    Err(error) => {
                        failures.push(error);
                        continue;
                    }
                };
                list.entry(broker).or_default().insert(key, path);
            }
        }
        pending = later;
        if !pending.is_empty() {
            tokio::time::sleep(BEGIN_PAUSE).await;
        }
    }
    (begun, failures)
}

/// Has the replicas that are being moved stay where they are: the places of those, and what failed.
pub async fn end(admin: &Admin, wanted: &Wanted) -> Result<(Vec<Place>, Vec<milena_client::Error>)> {
    let mut moving = places(admin, wanted).await?;
    moving.retain(|place| place.future.is_some());
    let mut stay = Wanted::new();
    for place in &moving {
        if let Some(now) = &place.now {
            stay.entry(place.broker).or_default().insert(place.key.clone(), now.clone());
        }
    }
    let (stays, failures) = begin(admin, &stay).await;
    moving.retain(|place| stays.get(&place.broker).is_some_and(|own| own.contains_key(&place.key)));
    Ok((moving, failures))
}

pub fn show(places: &[Place]) -> Result<()> {
    let rows = places.iter().map(|place| {
        vec![
            place.key.0.clone(),
            place.key.1.to_string(),
            place.broker.to_string(),
            place.now.clone().unwrap_or_else(|| "-".to_owned()),
            place.target.clone(),
            place.state().name().to_owned(),
        ]
    });
    let headers = ["TOPIC", "PARTITION", "BROKER", "DIRECTORY", "TARGET", "STATE"];
    output::table(&headers, &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use milena_client::admin::LogDirReplica;

    use super::*;

    fn key(partition: i32) -> PartitionKey {
        ("t".to_owned(), partition)
    }

    fn directory(path: &str, replicas: &[(i32, bool)]) -> LogDir {
        let replicas = replicas.iter().map(|(partition, is_future)| LogDirReplica {
            topic: "t".to_owned(),
            partition: *partition,
            size_bytes: 0,
            offset_lag: 0,
            is_future: *is_future,
        });
        LogDir {
            path: path.to_owned(),
            error: None,
            total_bytes: None,
            usable_bytes: None,
            replicas: replicas.collect(),
        }
    }

    #[test]
    fn a_place_says_how_far_its_move_is() {
        let check = |found: &[LogDir], state: State| {
            assert_eq!(place(&key(0), 1, "/b", found).state(), state, "{found:?}");
        };
        check(&[directory("/a", &[(0, false)]), directory("/b", &[(1, false)])], State::NotBegun);
        check(&[directory("/a", &[(1, false)]), directory("/b", &[])], State::NotBegun);
        check(&[directory("/a", &[(0, false)]), directory("/b", &[(0, true)])], State::Moving);
        check(&[directory("/a", &[(0, false)]), directory("/c", &[(0, true)])], State::MovingElsewhere);
        check(&[directory("/b", &[(0, false)]), directory("/c", &[(0, true)])], State::MovingElsewhere);
        check(&[directory("/a", &[]), directory("/b", &[(0, false)])], State::Complete);
    }

    #[test]
    fn directories_of_other_partitions_are_left_out() {
        let paths = |partitions: &[i32]| -> ByPartition<String> {
            partitions.iter().map(|partition| (key(*partition), "/a".to_owned())).collect()
        };
        let wanted: Wanted = [(1, paths(&[0, 1])), (2, paths(&[1]))].into();
        assert_eq!(only(&wanted, [&key(0)]), [(1, paths(&[0]))].into());
        assert_eq!(only(&wanted, [&key(0), &key(1)]), wanted);
    }
}
