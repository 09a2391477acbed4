//! The assignors against answers of Kafka's classes (`tests/golden/make Assignments`), and against what they promise.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const GOLDEN: &str = include_str!("../../tests/golden/assignments-4.3.1.jsonl");

/// A group, and what Kafka's class answered.
struct Case {
    line: usize,
    assignor: Assignor,
    topics: Topics,
    members: Vec<Member>,
    expected: Assignment,
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list").iter()
}

fn partitions(value: &Value) -> Vec<PartitionKey> {
    let partition = |pair: &Value| (text(&pair[0]), pair[1].as_i64().expect("a number") as i32);
    list(value).map(partition).collect()
}

fn cases() -> Vec<Case> {
    let object = |value: &Value| value.as_object().expect("an object").clone();
    let case = |(line, json): (usize, &str)| {
        let value: Value = serde_json::from_str(json).expect("JSON");
        let racks =
            |partitions: &Value| list(partitions).map(|racks| list(racks).map(text).collect()).collect();
        let member = |member: &Value| Member {
            id: text(&member["id"]),
            instance_id: member["instance"].as_str().map(str::to_owned),
            topics: list(&member["topics"]).map(text).collect(),
            owned: partitions(&member["owned"]),
            generation: member["generation"].as_i64().filter(|g| *g >= 0).map(|g| g as i32),
            rack: member["rack"].as_str().map(str::to_owned),
        };
        Case {
            line: line + 1,
            assignor: Assignor::from_name(&text(&value["assignor"])).expect("one of ours"),
            topics: object(&value["topics"]).iter().map(|(topic, all)| (topic.clone(), racks(all))).collect(),
            members: list(&value["members"]).map(member).collect(),
            expected: object(&value["assignment"])
                .iter()
                .map(|(member, given)| (member.clone(), partitions(given)))
                .collect(),
        }
    };
    GOLDEN.lines().enumerate().map(case).collect()
}

fn sorted(assignment: Assignment) -> Assignment {
    assignment
        .into_iter()
        .map(|(member, mut partitions)| {
            partitions.sort();
            (member, partitions)
        })
        .collect()
}

/// How many partitions have another owner than before; those that nobody had are no moves.
fn moves(members: &[Member], assignment: &Assignment) -> usize {
    let given = |member: &Member, key: &PartitionKey| assignment[&member.id].contains(key);
    let all: BTreeSet<&PartitionKey> = assignment.values().flatten().collect();
    let moved =
        |member: &Member| member.owned.iter().filter(|key| all.contains(key) && !given(member, key)).count();
    members.iter().map(moved).sum()
}

fn loads(assignment: &Assignment) -> Vec<usize> {
    let mut loads: Vec<usize> = assignment.values().map(Vec::len).collect();
    loads.sort_unstable();
    loads
}

fn squares(assignment: &Assignment) -> usize {
    assignment.values().map(|partitions| partitions.len() * partitions.len()).sum()
}

fn are_equal(members: &[Member]) -> bool {
    members.windows(2).all(|pair| pair[0].topics == pair[1].topics)
}

#[test]
fn range_and_round_robin_answer_as_kafkas_classes_do() {
    let mut checked = BTreeMap::new();
    for case in
        cases().into_iter().filter(|case| matches!(case.assignor, Assignor::Range | Assignor::RoundRobin))
    {
        let answer = sorted(case.assignor.assign(&case.topics, &case.members));
        assert_eq!(answer, case.expected, "{} in line {}", case.assignor, case.line);
        *checked.entry(case.assignor.name()).or_insert(0) += 1;
    }
    assert_eq!(checked, [("range", 120), ("roundrobin", 80)].into());
}

#[test]
fn sticky_answers_as_kafkas_class_does_where_nothing_was_owned_and_subscriptions_are_equal() {
    let mut checked = 0;
    for case in cases() {
        let is_fresh = case.members.iter().all(|member| member.owned.is_empty());
        let is_sticky = matches!(case.assignor, Assignor::Sticky | Assignor::CooperativeSticky);
        if is_sticky && is_fresh && are_equal(&case.members) {
            let answer = sorted(case.assignor.assign(&case.topics, &case.members));
            assert_eq!(answer, case.expected, "{} in line {}", case.assignor, case.line);
            checked += 1;
        }
    }
    assert!(checked >= 20, "{checked}");
}

#[test]
fn sticky_is_as_balanced_and_moves_as_little_as_kafkas_class() {
    let (mut checked, mut same) = (0, 0);
    for case in cases().into_iter().filter(|case| case.assignor == Assignor::Sticky) {
        let answer = sorted(case.assignor.assign(&case.topics, &case.members));
        let ours = (squares(&answer), moves(&case.members, &answer));
        let theirs = (squares(&case.expected), moves(&case.members, &case.expected));
        assert!(ours <= theirs, "line {}: {ours:?} and theirs {theirs:?}: {answer:?}", case.line);
        if are_equal(&case.members) {
            assert_eq!(loads(&answer), loads(&case.expected), "line {}", case.line);
        }
        checked += 1;
        same += usize::from(answer == case.expected);
    }
    assert!(checked == 120 && same * 2 > checked, "{same} of {checked} are the same");
}

#[test]
fn cooperative_sticky_withholds_what_kafkas_class_withholds() {
    for case in cases().into_iter().filter(|case| case.assignor == Assignor::CooperativeSticky) {
        if !are_equal(&case.members) {
            continue;
        }
        let answer = sorted(case.assignor.assign(&case.topics, &case.members));
        let count = |assignment: &Assignment| assignment.values().map(Vec::len).sum::<usize>();
        assert_eq!(count(&answer), count(&case.expected), "line {}", case.line);
    }
}

/// Names of topics with their partitions.
fn topics_of(sizes: &[usize]) -> Topics {
    let sizes = sizes.iter().enumerate();
    sizes.map(|(number, size)| (format!("t{number}"), vec![BTreeSet::new(); *size])).collect()
}

fn subscribed(id: usize, topics: &[bool]) -> Member {
    let names = topics.iter().enumerate().filter(|(_, reads)| **reads);
    Member {
        id: format!("m{id}"),
        topics: names.map(|(number, _)| format!("t{number}")).collect(),
        ..Member::default()
    }
}

/// The members with what they were given.
fn given(members: &[Member], assignment: &Assignment, generation: i32) -> Vec<Member> {
    let with = |member: &Member| Member {
        owned: assignment[&member.id].clone(),
        generation: Some(generation),
        ..member.clone()
    };
    members.iter().map(with).collect()
}

/// Every partition that somebody reads has one owner, who reads it.
fn check_sound(topics: &Topics, members: &[Member], assignment: &Assignment) {
    let mut owners: BTreeMap<&PartitionKey, &str> = BTreeMap::new();
    for (id, partitions) in assignment {
        let member = members.iter().find(|member| member.id == *id).expect("a member");
        for partition in partitions {
            assert!(member.topics.contains(&partition.0), "{id} does not read {partition:?}");
            assert_eq!(owners.insert(partition, id), None, "{partition:?} has two owners");
        }
    }
    let read = topics.iter().filter(|(topic, _)| members.iter().any(|member| member.topics.contains(*topic)));
    assert_eq!(owners.len(), read.map(|(_, racks)| racks.len()).sum::<usize>());
}

fn check_balanced(assignment: &Assignment) {
    let loads = loads(assignment);
    assert!(loads.last().unwrap_or(&0) - loads.first().unwrap_or(&0) <= 1, "{loads:?}");
}

proptest! {
    #[test]
    fn every_assignor_gives_each_partition_to_one_who_reads_it(
        sizes in prop::collection::vec(0_usize..9, 1..5),
        reads in prop::collection::vec(prop::collection::vec(any::<bool>(), 5), 1..7),
    ) {
        let topics = topics_of(&sizes);
        let members: Vec<Member> = reads.iter().enumerate().map(|(id, reads)| subscribed(id, reads)).collect();
        for assignor in Assignor::ALL {
            check_sound(&topics, &members, &assignor.assign(&topics, &members));
        }
    }

    #[test]
    fn whoever_leaves_moves_only_what_was_its_own(sizes in prop::collection::vec(0_usize..12, 1..4), count in 2_usize..8, leaver in 0_usize..8) {
        let topics = topics_of(&sizes);
        let mut members: Vec<Member> = (0..count).map(|id| subscribed(id, &[true; 4])).collect();
        let first = Assignor::Sticky.assign(&topics, &members);
        members = given(&members, &first, 1);
        members.remove(leaver % count);
        let second = Assignor::Sticky.assign(&topics, &members);
        check_sound(&topics, &members, &second);
        check_balanced(&second);
        prop_assert_eq!(moves(&members, &second), 0);
    }

    #[test]
    fn whoever_joins_takes_its_share_and_nothing_else_moves(sizes in prop::collection::vec(0_usize..12, 1..4), count in 1_usize..8) {
        let topics = topics_of(&sizes);
        let members: Vec<Member> = (0..count).map(|id| subscribed(id, &[true; 4])).collect();
        let first = Assignor::Sticky.assign(&topics, &members);
        let mut members = given(&members, &first, 1);
        members.push(subscribed(count, &[true; 4]));
        let second = Assignor::Sticky.assign(&topics, &members);
        check_sound(&topics, &members, &second);
        check_balanced(&second);
        prop_assert_eq!(moves(&members, &second), second[&format!("m{count}")].len());
    }

    #[test]
    fn cooperative_rounds_come_to_rest_and_share_nothing_meanwhile(
        sizes in prop::collection::vec(0_usize..9, 1..4),
        reads in prop::collection::vec(prop::collection::vec(any::<bool>(), 4), 2..6),
        equal in any::<bool>(),
    ) {
        let topics = topics_of(&sizes);
        let reads = reads.iter().map(|own| if equal { &reads[0] } else { own });
        let members: Vec<Member> = reads.enumerate().map(|(id, reads)| subscribed(id, reads)).collect();
        let alone = Assignor::CooperativeSticky.assign(&topics, &members[..1]);
        let mut all = given(&members[..1], &alone, 1);
        all.extend(members[1..].iter().cloned());
        let mut rounds = 0;
        loop {
            let next = Assignor::CooperativeSticky.assign(&topics, &all);
            // Nobody is given what somebody still has.
            for member in &all {
                for (id, partitions) in next.iter().filter(|(id, _)| **id != member.id) {
                    prop_assert!(partitions.iter().all(|key| !member.owned.contains(key)), "{id}");
                }
            }
            let before = all.clone();
            rounds += 1;
            all = given(&all, &next, rounds + 1);
            let is_same = |(one, other): (&Member, &Member)| one.owned == other.owned;
            if before.iter().zip(&all).all(is_same) {
                check_sound(&topics, &all, &next);
                break;
            }
        }
        // The last one finds that nothing changes. Where subscriptions differ, what was held back may settle elsewhere.
        prop_assert!(rounds <= if equal { 3 } else { 6 }, "{rounds} rounds");
    }
}

#[test]
fn of_two_claims_the_younger_counts_and_of_equal_ones_none() {
    let topics = topics_of(&[2]);
    let claim = |id, partition, generation| Member {
        owned: vec![("t0".to_owned(), partition)],
        generation: Some(generation),
        ..subscribed(id, &[true])
    };
    let answer = Assignor::CooperativeSticky.assign(&topics, &[claim(0, 0, 1), claim(1, 0, 2)]);
    assert_eq!(
        answer["m1"],
        [("t0".to_owned(), 0)],
        "the younger claim is kept, though another has it still"
    );
}
