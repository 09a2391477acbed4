//! Rounds of the ledger: tables, and random histories against a model that knows when every record was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::types::Uuid;

use super::ledger::{HISTORIES_MAX, LAGS_MAX, LOOKUPS_MAX};
use super::timeline::WITHIN_MS;
use super::*;
use crate::group::record::CommittedOffset;
use crate::group::{Config, Groups, Record};

const TOPIC: Uuid = Uuid::from_u128(1);

fn commit(group: &str, topic: &str, partition: i32, offset: i64) -> Commit {
    Commit { group: group.into(), topic: topic.into(), partition, offset, topic_id: TOPIC }
}

fn ends(end_offset: i64) -> Ends {
    Ends { topic_id: TOPIC, log_start_offset: 0, end_offset }
}

/// As several coordinators would give them, each one commit.
fn collected(commits: &[Commit]) -> Collected {
    Collected::join(commits.iter().map(|commit| Collected { commits: vec![commit.clone()], left_out: 0 }))
}

/// A round in which nothing is looked up.
fn round(ledger: &mut Ledger, commits: &[Commit], end: Option<i64>, now_ms: i64) -> Vec<(i64, Option<i64>)> {
    ledger.observe(collected(commits), |_, _| end.map(ends), now_ms);
    ledger.finish().lags.into_iter().map(|lag| (lag.records, lag.age_ms)).collect()
}

#[test]
fn group_that_keeps_up_has_no_lag_and_asks_for_nothing() {
    let mut ledger = Ledger::default();
    for second in 0..100 {
        let caught_up = [commit("g", "t", 0, second)];
        assert!(ledger.observe(collected(&caught_up), |_, _| Some(ends(second)), second * 1_000).is_empty());
        assert_eq!(ledger.finish().lags[0].age_ms, Some(0));
    }
}

#[test]
fn age_is_that_of_the_first_record_that_was_not_consumed() {
    let mut ledger = Ledger::default();
    let at = [commit("g", "t", 0, 10)];
    assert_eq!(round(&mut ledger, &at, Some(10), 1_000), [(0, Some(0))]);
    assert_eq!(round(&mut ledger, &at, Some(10), 9_000), [(0, Some(0))]);
    assert_eq!(round(&mut ledger, &at, Some(14), 10_000), [(4, Some(1_000))]);
    assert_eq!(round(&mut ledger, &at, Some(14), 60_000), [(4, Some(51_000))]);
    assert_eq!(round(&mut ledger, &[commit("g", "t", 0, 12)], Some(14), 60_500), [(2, Some(51_000))]);
    assert_eq!(round(&mut ledger, &[commit("g", "t", 0, 14)], Some(14), 61_000), [(0, Some(0))]);
}

#[test]
fn no_lag_is_told_where_none_is_known() {
    let mut ledger = Ledger::default();
    assert_eq!(round(&mut ledger, &[commit("g", "t", 0, 3)], None, 0), [], "led elsewhere");
    assert_eq!(round(&mut ledger, &[commit("g", "t", 0, -1)], Some(5), 0), [], "nothing committed");
    let earlier = Commit { topic_id: Uuid::from_u128(2), ..commit("g", "t", 0, 3) };
    assert_eq!(round(&mut ledger, &[earlier], Some(5), 0), [], "another topic of that name");
    assert_eq!(round(&mut ledger, &[commit("g", "t", 0, 3)], Some(5), 0), [(2, None)], "written before");
    assert_eq!(round(&mut ledger, &[], Some(5), 0), []);
    assert!(ledger.is_empty());
}

#[test]
fn backlog_from_before_the_start_is_asked_for_once() {
    let mut ledger = Ledger::default();
    let at = [commit("g", "t", 0, 5)];
    let wanted = ledger.observe(collected(&at), |_, _| Some(ends(900)), 100_000);
    assert_eq!(wanted, [Lookup { topic: "t".into(), partition: 0, offset: 5 }]);
    ledger.learn(&wanted[0], 30_000);
    assert_eq!(ledger.finish().lags[0].age_ms, Some(70_000));
    assert!(ledger.observe(collected(&at), |_, _| Some(ends(901)), 101_000).is_empty());
    assert_eq!(ledger.finish().lags[0].age_ms, Some(71_000));
}

#[test]
fn lookups_of_a_round_are_bounded_and_every_partition_gets_its_turn() {
    let mut ledger = Ledger::default();
    let commits: Vec<_> = (0..50).map(|partition| commit("g", "t", partition, 0)).collect();
    let mut asked = BTreeMap::new();
    for second in 0..5 {
        let wanted = ledger.observe(collected(&commits), |_, _| Some(ends(9)), second * 1_000);
        assert!(wanted.len() <= LOOKUPS_MAX);
        // None can be read; those are asked for again, behind all others.
        wanted.into_iter().for_each(|lookup| *asked.entry(lookup.partition).or_insert(0) += 1);
        ledger.finish();
    }
    assert_eq!(asked.len(), 50);
    assert!(asked.values().all(|times| (1..=2).contains(times)), "{asked:?}");
}

#[test]
fn lags_beyond_the_bound_are_counted_and_the_same_ones_stay() {
    let mut ledger = Ledger::default();
    let commits: Vec<_> =
        (0..LAGS_MAX + 7).rev().map(|at| commit(&format!("g{:05}", at / 5), "t", at as i32 % 5, 1)).collect();
    for now_ms in [0, 1_000] {
        ledger.observe(collected(&commits), |_, _| Some(ends(1)), now_ms);
        let found = ledger.finish();
        assert_eq!((found.lags.len(), found.left_out), (LAGS_MAX, 7));
        assert_eq!(&*found.lags[0].commit.group, "g00000");
    }
    let with_history = (0..LAGS_MAX / 5).filter(|at| ledger.history(&format!("g{at:05}")).is_some());
    assert_eq!(with_history.count(), HISTORIES_MAX);
}

#[test]
fn history_has_the_sum_of_the_group_and_ends_with_it() {
    let mut ledger = Ledger::default();
    let commits = [commit("g", "t", 0, 3), commit("g", "t", 1, 0), commit("h", "t", 0, 9)];
    round(&mut ledger, &commits, Some(10), 5_000);
    let points: Vec<_> = ledger.history("g").expect("it has lag").points().map(|p| p.records).collect();
    assert_eq!(points, [17]);
    round(&mut ledger, &commits[2..], Some(10), 6_000);
    assert!(ledger.history("g").is_none() && ledger.history("h").is_some());
}

#[test]
fn end_of_a_partition_is_asked_once_however_many_groups_read_it() {
    let mut ledger = Ledger::default();
    let groups = ["a", "b", "c"].map(|group| [commit(group, "t", 0, 1), commit(group, "t", 1, 1)]).concat();
    let asked = std::cell::Cell::new(0);
    // A log that grows while the round asks.
    let end = |_: &str, _| {
        asked.set(asked.get() + 1);
        Some(ends(10 + asked.get()))
    };
    ledger.observe(collected(&groups), end, 1_000);
    let lags: Vec<_> = ledger.finish().lags.iter().map(|lag| lag.records).collect();
    assert_eq!((asked.get(), lags), (2, vec![10, 11, 10, 11, 10, 11]));
}

/// Commits of one coordinator's groups; none is a tombstone.
fn coordinator(commits: impl IntoIterator<Item = (String, i32, Option<i64>)>) -> Groups {
    let mut groups = Groups::new(Config::default());
    let topic: Arc<str> = "t".into();
    for (place, (group, partition, offset)) in commits.into_iter().enumerate() {
        let value = offset.map(|offset| CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: "".into(),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
            topic_id: TOPIC,
        });
        groups.apply(&Record::offset(&group.into(), &topic, partition, value), place as i64);
    }
    groups
}

#[test]
fn commits_of_the_groups_are_collected() {
    let commits = [(0, Some(5)), (1, Some(6)), (0, Some(8)), (1, None)];
    let groups = coordinator(commits.map(|(partition, offset)| ("g".to_owned(), partition, offset)));
    assert_eq!(collect(&groups), Collected { commits: vec![commit("g", "t", 0, 8)], left_out: 0 });
}

#[test]
fn first_commits_of_all_coordinators_are_among_the_first_of_each() {
    let group = |at: usize| format!("g{:05}", at / 5);
    let all = LAGS_MAX + 4_007;
    // One coordinator has more than may be kept, and the other has groups between its groups.
    let is_rare = |at: &usize| (at / 5).is_multiple_of(7);
    let part = |rare: bool| {
        let own = (0..all).filter(move |at| is_rare(at) == rare);
        collect(&coordinator(own.map(|at| (group(at), at as i32 % 5, Some(1)))))
    };
    let parts = [part(false), part(true)];
    assert_eq!(parts.each_ref().map(|part| part.left_out > 0), [true, false]);
    assert!(parts.iter().all(|part| part.commits.len() <= LAGS_MAX && part.commits.is_sorted()));
    let joined = Collected::join(parts);
    let expected: Vec<_> = (0..LAGS_MAX).map(|at| commit(&group(at), "t", at as i32 % 5, 1)).collect();
    assert_eq!((joined.commits == expected, joined.left_out), (true, 4_007));
}

/// Small, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as i64
    }
}

/// One partition whose every record's time is known, and the commits of its readers.
#[derive(Default)]
struct Model {
    written_ms: Vec<i64>,
    log_start: i64,
    commits: [i64; 3],
    now_ms: i64,
}

impl Model {
    fn step(&mut self, random: &mut Random) {
        self.now_ms += 500;
        if random.below(3) > 0 {
            for _ in 0..random.below(20) {
                let at_ms = self.now_ms - 500 + random.below(500);
                self.written_ms.push(at_ms.max(self.written_ms.last().copied().unwrap_or(0)));
            }
        }
        let end = self.written_ms.len() as i64;
        for commit in &mut self.commits {
            match random.below(40) {
                0 => *commit = random.below(end + 1),
                1..10 => *commit = (*commit + random.below(30)).min(end),
                _ => {}
            }
        }
        if random.below(50) == 0 {
            self.log_start = (self.log_start + random.below(100)).min(end);
        }
    }

    fn ends(&self) -> Ends {
        Ends { topic_id: TOPIC, log_start_offset: self.log_start, end_offset: self.written_ms.len() as i64 }
    }

    fn commits(&self) -> Vec<Commit> {
        let groups = self.commits.iter().enumerate();
        groups.map(|(index, offset)| commit(&format!("g{index}"), "t", 0, *offset)).collect()
    }

    fn check(&self, lag: &Lag, context: &str) {
        let next = lag.commit.offset.max(self.log_start);
        let end = self.written_ms.len() as i64;
        assert_eq!(lag.records, (next..end).count() as i64, "{context}");
        let age_ms = self.written_ms.get(next as usize).map_or(0, |at_ms| self.now_ms - at_ms);
        let told_ms = lag.age_ms.unwrap_or_else(|| panic!("{context}: no age"));
        // What is vague was looked up; what was moved with the clock of another mark is at most as far off.
        let allowed_ms = WITHIN_MS.max(age_ms / 15);
        assert!((told_ms - age_ms).abs() <= allowed_ms, "{context}: {told_ms} for {age_ms}");
    }
}

#[test]
fn lags_of_random_histories_are_exact_in_records_and_close_in_time() {
    for seed in 1..=40 {
        let mut random = Random(seed);
        let (mut model, mut ledger) = (Model::default(), Ledger::default());
        for step in 0..1_500 {
            model.step(&mut random);
            // A restart of the broker forgets everything.
            if random.below(400) == 0 {
                ledger = Ledger::default();
            }
            for lookup in ledger.observe(collected(&model.commits()), |_, _| Some(model.ends()), model.now_ms)
            {
                ledger.learn(&lookup, model.written_ms[lookup.offset as usize]);
            }
            let found = ledger.finish();
            assert_eq!(found.lags.len(), 3);
            found.lags.iter().for_each(|lag| model.check(lag, &format!("seed {seed}, step {step}")));
        }
    }
}
