//! Plans in files, as `kafka-reassign-partitions` writes and reads them: which replicas partitions are to have.
//!
//! ```json
//! {"version":1,"partitions":[{"topic":"orders","partition":0,"replicas":[1,2],"log_dirs":["any","any"]}]}
//! ```

use std::collections::BTreeSet;

use milena_client::admin::ByPartition;
use milena_client::consumer::PartitionKey;
use serde::{Deserialize, Serialize};

use super::directories::Wanted;

/// The only version that there is.
const VERSION: i32 = 1;
/// A directory of the broker's choice.
const ANY: &str = "any";

#[derive(Debug, Serialize, Deserialize)]
struct File {
    #[serde(default = "version")]
    version: i32,
    partitions: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    topic: String,
    partition: i32,
    replicas: Vec<i32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log_dirs: Vec<String>,
}

fn version() -> i32 {
    VERSION
}

/// What is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The replicas of each partition, the preferred leader first.
    pub replicas: ByPartition<Vec<i32>>,
    /// Where in their brokers replicas are to be, without those whose broker may choose.
    pub directories: Wanted,
}

/// Reads a plan.
///
/// Errors: the first thing that Kafka's tool would not take either.
pub fn parse(text: &str) -> Result<Plan, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if file.version != VERSION {
        return Err(format!("version {} is not known, only {VERSION}", file.version));
    }
    let mut plan = Plan::default();
    for entry in file.partitions {
        let name = format!("{}-{}", entry.topic, entry.partition);
        check(&entry).map_err(|error| format!("{name}: {error}"))?;
        let key = (entry.topic, entry.partition);
        for (broker, directory) in entry.replicas.iter().zip(entry.log_dirs) {
            if directory != ANY {
                plan.directories.entry(*broker).or_default().insert(key.clone(), directory);
            }
        }
        if plan.replicas.insert(key, entry.replicas).is_some() {
            return Err(format!("{name} stands twice"));
        }
    }
    if plan.replicas.is_empty() { Err("there is no partition in it".to_owned()) } else { Ok(plan) }
}

fn check(entry: &Entry) -> Result<(), String> {
    if entry.partition < 0 {
        return Err("no partition has a number below 0".to_owned());
    }
    if entry.replicas.is_empty() {
        return Err("it has no replicas".to_owned());
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = entry.replicas.iter().find(|id| !seen.insert(**id)) {
        return Err(format!("broker {twice} stands twice"));
    }
    if !entry.log_dirs.is_empty() && entry.log_dirs.len() != entry.replicas.len() {
        return Err("log_dirs and replicas have not the same length".to_owned());
    }
    Ok(())
}

/// What [`parse`] and Kafka's tool read, in one line.
pub fn text(plan: &Plan) -> String {
    let entries = plan.replicas.iter().map(|(key, replicas)| {
        let wanted = |broker| plan.directories.get(broker).and_then(|directories| directories.get(key));
        Entry {
            topic: key.0.clone(),
            partition: key.1,
            replicas: replicas.clone(),
            log_dirs: replicas
                .iter()
                .map(|broker| wanted(broker).map_or(ANY, String::as_str).to_owned())
                .collect(),
        }
    });
    let file = File { version: VERSION, partitions: entries.collect() };
    serde_json::to_string(&file).expect("names and numbers are JSON")
}

/// Partitions of a file as `kafka-leader-election` reads it: `{"partitions":[{"topic":"orders","partition":0}]}`.
///
/// Errors: as of [`parse`].
pub fn parse_partitions(text: &str) -> Result<BTreeSet<PartitionKey>, String> {
    #[derive(Deserialize)]
    struct Named {
        topic: String,
        partition: i32,
    }
    #[derive(Deserialize)]
    struct File {
        partitions: Vec<Named>,
    }
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut partitions = BTreeSet::new();
    for Named { topic, partition } in file.partitions {
        if !partitions.insert((topic.clone(), partition)) {
            return Err(format!("{topic}-{partition} stands twice"));
        }
    }
    if partitions.is_empty() { Err("there is no partition in it".to_owned()) } else { Ok(partitions) }
}

/// A plan that spreads partitions over brokers: each keeps its number of replicas, leaders go round, and brokers of a
/// partition are in different racks where there are enough. `racks` has every broker that may be used.
pub fn spread(present: &ByPartition<usize>, racks: &[(i32, Option<String>)]) -> ByPartition<Vec<i32>> {
    let order = by_turns(racks);
    let mut plan = ByPartition::new();
    for (turn, (key, count)) in present.iter().enumerate() {
        // After each round over the brokers followers are others, so that not one takes over from a lost leader.
        let shift = turn / order.len();
        let leader = turn % order.len();
        let others = (1..order.len()).map(|place| 1 + (place - 1 + shift) % (order.len() - 1).max(1));
        let candidates: Vec<&(i32, Option<String>)> =
            std::iter::once(0).chain(others).map(|place| &order[(leader + place) % order.len()]).collect();
        plan.insert(key.clone(), pick(&candidates, *count));
    }
    plan
}

/// Brokers of each rack in turn, so that neighbours are in different racks.
fn by_turns(racks: &[(i32, Option<String>)]) -> Vec<(i32, Option<String>)> {
    let names: BTreeSet<&Option<String>> = racks.iter().map(|(_, rack)| rack).collect();
    let mut lists: Vec<Vec<&(i32, Option<String>)>> =
        names.into_iter().map(|name| racks.iter().filter(|(_, rack)| rack == name).rev().collect()).collect();
    let mut order = Vec::with_capacity(racks.len());
    while order.len() < racks.len() {
        lists.iter_mut().for_each(|list| order.extend(list.pop().cloned()));
    }
    order
}

/// The first that are in racks of their own, then the first others.
fn pick(candidates: &[&(i32, Option<String>)], count: usize) -> Vec<i32> {
    let mut chosen: Vec<i32> = Vec::new();
    let mut used: BTreeSet<&Option<String>> = BTreeSet::new();
    for (id, rack) in candidates {
        if chosen.len() < count && used.insert(rack) {
            chosen.push(*id);
        }
    }
    for (id, _) in candidates {
        if chosen.len() < count && !chosen.contains(id) {
            chosen.push(*id);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(topic: &str, partition: i32) -> PartitionKey {
        (topic.to_owned(), partition)
    }

    #[test]
    fn kafkas_plan_is_read_and_written() {
        let line = r#"{"version":1,"partitions":[{"topic":"__consumer_offsets","partition":0,"replicas":[1,2,3],"log_dirs":["any","any","any"]},{"topic":"t","partition":7,"replicas":[2],"log_dirs":["any"]}]}"#;
        let plan = parse(line).expect("as Kafka's tool prints it");
        let replicas = [(key("__consumer_offsets", 0), vec![1, 2, 3]), (key("t", 7), vec![2])].into();
        assert_eq!(plan, Plan { replicas, directories: Wanted::new() });
        assert_eq!(text(&plan), line);
        let by_hand = r#"{"partitions": [{"topic": "t", "partition": 7, "replicas": [2]}], "version": 1}"#;
        let replicas = [(key("t", 7), vec![2])].into();
        assert_eq!(parse(by_hand), Ok(Plan { replicas, directories: Wanted::new() }));
    }

    #[test]
    fn directories_are_read_and_written_by_broker() {
        let line = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["/a","any"]},{"topic":"t","partition":1,"replicas":[2,1],"log_dirs":["/b","/a"]}]}"#;
        let plan = parse(line).expect("as Kafka's tool reads it");
        let paths = |places: &[(i32, &str)]| {
            places.iter().map(|(partition, path)| (key("t", *partition), (*path).to_owned())).collect()
        };
        assert_eq!(plan.directories, [(1, paths(&[(0, "/a"), (1, "/a")])), (2, paths(&[(1, "/b")]))].into());
        assert_eq!(text(&plan), line);
    }

    #[test]
    fn plans_that_cannot_be_are_refused_with_the_reason() {
        let refuse = |partitions: &str, reason: &str| {
            let error =
                parse(&format!(r#"{{"version":1,"partitions":[{partitions}]}}"#)).expect_err(partitions);
            assert!(error.contains(reason), "{partitions}: {error}");
        };
        refuse("", "no partition");
        refuse(r#"{"topic":"t","partition":0,"replicas":[]}"#, "t-0: it has no replicas");
        refuse(r#"{"topic":"t","partition":0,"replicas":[1,1]}"#, "t-0: broker 1 stands twice");
        refuse(r#"{"topic":"t","partition":-1,"replicas":[1]}"#, "below 0");
        let one = r#"{"topic":"t","partition":0,"replicas":[1]}"#;
        refuse(&format!("{one},{one}"), "t-0 stands twice");
        refuse(r#"{"topic":"t","partition":0,"replicas":[1],"log_dirs":["any","any"]}"#, "same length");
        assert!(parse(r#"{"version":2,"partitions":[]}"#).is_err_and(|error| error.contains("version 2")));
        assert!(parse("[1").is_err());
    }

    #[test]
    fn partitions_of_an_election_are_read() {
        let text = r#"{"partitions":[{"topic":"t","partition":1},{"topic":"t","partition":0}]}"#;
        assert_eq!(parse_partitions(text), Ok([key("t", 0), key("t", 1)].into()));
        assert!(parse_partitions(r#"{"partitions":[]}"#).is_err());
        let twice = r#"{"partitions":[{"topic":"t","partition":1},{"topic":"t","partition":1}]}"#;
        assert!(parse_partitions(twice).is_err_and(|error| error.contains("t-1 stands twice")));
    }

    #[test]
    fn partitions_are_spread_over_racks_and_brokers() {
        let rack = |id: i32, rack: &str| (id, Some(rack.to_owned()));
        let brokers = [rack(1, "a"), rack(2, "a"), rack(3, "b"), rack(4, "b")];
        let present: ByPartition<usize> = (0..40).map(|index| (key("t", index), 2)).collect();
        let plan = spread(&present, &brokers);
        let rack_of = |id: &i32| &brokers.iter().find(|(broker, _)| broker == id).expect("one of them").1;
        let mut leaders = std::collections::BTreeMap::<i32, usize>::new();
        for replicas in plan.values() {
            *leaders.entry(replicas[0]).or_default() += 1;
            assert_ne!(rack_of(&replicas[0]), rack_of(&replicas[1]), "{replicas:?}");
        }
        assert_eq!(leaders, [(1, 10), (2, 10), (3, 10), (4, 10)].into());
        let seconds: BTreeSet<i32> = plan.values().filter(|r| r[0] == 1).map(|r| r[1]).collect();
        assert_eq!(seconds, [3, 4].into(), "followers of one leader are not all the same");
    }

    #[test]
    fn as_many_replicas_as_there_are_brokers_is_enough() {
        let present: ByPartition<usize> = [(key("t", 0), 3), (key("t", 1), 1)].into();
        let plan = spread(&present, &[(7, None), (8, None), (9, None)]);
        assert_eq!(plan[&key("t", 0)].iter().collect::<BTreeSet<_>>(), [&7, &8, &9].into());
        assert_eq!(plan[&key("t", 1)].len(), 1);
        let alone = spread(&[(key("t", 0), 1)].into(), &[(7, None)]);
        assert_eq!(alone[&key("t", 0)], [7]);
    }
}
