//! Each name of Kafka 4.3.1's tables and each of our own, with what proves that it does what it says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use milena_state::config::definition::{Acts, Definition};
use milena_state::config::{broker, client_metrics, group, topic};

use super::Effect;
use super::{
    cleaner, cleaning, connections, fixed, flush, harmless, produce, producers, refused, relocation, segments,
};

/// What a property belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Topic,
    Broker,
    Group,
    ClientMetrics,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Set and unset while the node runs, and seen to act in between.
    Effect,
    /// A test elsewhere, which is looked for.
    Test(&'static str, &'static str),
    Refused,
    Harmless,
}

const EFFECTS: &[&[Effect]] = &[
    produce::EFFECTS,
    segments::EFFECTS,
    segments::ON_DISK,
    flush::EFFECTS,
    cleaner::EFFECTS,
    cleaning::PASSES,
    cleaning::SMALL_MAP,
    cleaning::SLOW,
    cleaning::RESTS,
    producers::EFFECTS,
    connections::EFFECTS,
    relocation::EFFECTS,
];

type Proofs = BTreeMap<(Place, &'static str), Vec<Proof>>;

fn proofs() -> Proofs {
    let mut proofs = Proofs::new();
    let mut put = |place, name, proof| proofs.entry((place, name)).or_default().push(proof);
    for effect in EFFECTS.iter().flat_map(|effects| effects.iter()) {
        effect.topic.into_iter().for_each(|name| put(Place::Topic, name, Proof::Effect));
        effect.broker.into_iter().for_each(|name| put(Place::Broker, name, Proof::Effect));
    }
    for (name, file, test) in fixed::TESTS {
        put(Place::Broker, name, Proof::Test(file, test));
    }
    for (name, file, test) in fixed::TOPIC_TESTS {
        put(Place::Topic, name, Proof::Test(file, test));
    }
    refused::names(refused::TOPICS).for_each(|name| put(Place::Topic, name, Proof::Refused));
    refused::names(refused::BROKERS).for_each(|name| put(Place::Broker, name, Proof::Refused));
    for harmless in harmless::ALL {
        for name in harmless.names.split_whitespace() {
            put(harmless.place, name, Proof::Harmless);
        }
    }
    proofs
}

fn rows() -> impl Iterator<Item = (Place, &'static Definition)> {
    let tables = [
        (Place::Topic, topic::TABLE),
        (Place::Broker, broker::TABLE),
        (Place::Group, group::TABLE),
        (Place::ClientMetrics, client_metrics::TABLE),
    ];
    tables
        .into_iter()
        .flat_map(|(place, table)| table.iter().flat_map(|rows| rows.iter()).map(move |row| (place, row)))
}

/// The whole: a property that is new, or whose test is gone, is named here.
#[test]
fn every_property_has_one_proof_and_nothing_else_has() {
    let mut proofs = proofs();
    let mut wrong = Vec::new();
    for (place, row) in rows() {
        match proofs.remove(&(place, row.name)).as_deref() {
            Some([proof]) if fits(*proof, row) => {}
            found => wrong.push(format!("{place:?} {}: {:?} with {found:?}", row.name, row.acts)),
        }
    }
    wrong.extend(proofs.keys().map(|(place, name)| format!("{place:?} {name}: no such property")));
    assert!(wrong.is_empty(), "{} have not one proof each:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the table of properties says of it, and what is proved.
fn fits(proof: Proof, row: &Definition) -> bool {
    match proof {
        Proof::Effect | Proof::Test(..) => row.acts == Acts::Yes,
        Proof::Refused => row.acts == Acts::NotYet,
        Proof::Harmless => {
            row.acts == Acts::NoEffect
                || matches!(row.name, "min.insync.replicas" | "unclean.leader.election.enable")
        }
    }
}

/// What changes while the broker runs is seen to change, not only read at the start.
#[test]
fn every_dynamic_property_that_acts_is_proved_while_the_node_runs() {
    let proofs = proofs();
    for (place, row) in rows().filter(|(_, row)| row.acts == Acts::Yes) {
        if place == Place::Broker && broker::is_dynamic(row) {
            let is_proved = match proofs[&(place, row.name)][..] {
                [Proof::Test(_, test)] => fixed::WHILE_RUNNING.contains(&test),
                _ => true,
            };
            assert!(is_proved, "{} is dynamic", row.name);
        }
    }
}

#[test]
fn every_name_of_kafka_is_in_the_table() {
    let known: Vec<(Place, &str)> = rows().map(|(place, row)| (place, row.name)).collect();
    for (place, file) in [
        (Place::Topic, "described-topic.tsv"),
        (Place::Broker, "described-broker.tsv"),
        (Place::Group, "described-group.tsv"),
        (Place::ClientMetrics, "described-client-metrics.tsv"),
    ] {
        let text = read(&format!("broker/state/tests/kafka-4.3.1/{file}"));
        let names = text.lines().skip(1).filter_map(|line| line.split('\t').next());
        let missing: Vec<_> = names.filter(|name| !known.contains(&(place, name))).collect();
        assert!(missing.is_empty(), "{place:?}: {missing:?}");
    }
}

#[test]
fn tests_that_are_named_exist() {
    let rules = harmless::ALL.iter().filter_map(|harmless| harmless.rule);
    let fixed = fixed::TESTS.iter().chain(fixed::TOPIC_TESTS).map(|(_, file, test)| (*file, *test));
    for (file, test) in fixed.chain(rules) {
        let text = read(file);
        let at = text.find(&format!("fn {test}()")).unwrap_or_else(|| panic!("{file} has no {test}"));
        let attribute = text[..at].trim_end_matches("async ").trim_end().lines().last().unwrap_or_default();
        let is_test =
            ["#[test]", "#[tokio::test"].iter().any(|test| attribute.trim_start().starts_with(test));
        assert!(is_test, "{test} of {file} is no test");
    }
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
