//! All lags of one broker: commits and ends in, lags out, round by round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_protocol::types::Uuid;

use super::history::History;
use super::records::{self, Ends};
use super::timeline::Timeline;
use crate::group::Groups;

/// Lags that are kept and told, ordered by group, topic and partition; further ones are only counted.
pub const LAGS_MAX: usize = 10_000;

/// Groups with a history, in the order of their names.
pub const HISTORIES_MAX: usize = 1_000;

/// Records whose timestamps one round asks for; the others wait for the next.
pub const LOOKUPS_MAX: usize = 16;

/// What one group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit {
    pub group: Arc<str>,
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// Zero when it was committed by name.
    pub topic_id: Uuid,
}

/// The first commits in the order of group, topic and partition, at most [`LAGS_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    pub commits: Vec<Commit>,
    /// Commits behind them.
    pub left_out: usize,
}

/// How far one group is behind on one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    pub commit: Commit,
    pub ends: Ends,
    pub records: i64,
    /// Age of the oldest record that is not consumed, 0 when there is none; none when it is not known.
    pub age_ms: Option<i64>,
}

/// A record whose timestamp would help.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lookup {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
}

/// What a round has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// Ordered by group, topic and partition.
    pub lags: Vec<Lag>,
    /// Commits beyond [`LAGS_MAX`], whether or not they would have a lag.
    pub left_out: usize,
}

/// One partition that some group reads.
#[derive(Debug, Default)]
struct Tracked {
    topic_id: Uuid,
    timeline: Timeline,
    /// Where the slowest group reads on.
    lowest: i64,
}

/// A commit and where its partition stood in this round.
#[derive(Debug)]
struct Position {
    commit: Commit,
    ends: Ends,
    next_offset: i64,
}

#[derive(Debug, Default)]
pub struct Ledger {
    partitions: BTreeMap<(Arc<str>, i32), Tracked>,
    positions: Vec<Position>,
    left_out: usize,
    histories: BTreeMap<Arc<str>, History>,
    /// The last record that was asked for, so that the next round goes on behind it.
    asked: Option<Lookup>,
    now_ms: i64,
}

impl Ledger {
    /// Begins a round. `ends` is none for a partition that is not led here, and is asked once for each that
    /// groups read: in one round a partition ends at one place.
    pub fn observe(
        &mut self,
        collected: Collected,
        ends: impl Fn(&str, i32) -> Option<Ends>,
        now_ms: i64,
    ) -> Vec<Lookup> {
        // Time does not go back, whatever the clock does.
        self.now_ms = self.now_ms.max(now_ms);
        self.left_out = collected.left_out;
        let mut known: BTreeMap<(Arc<str>, i32), Option<Ends>> = BTreeMap::new();
        let position = |commit: Commit| {
            let key = (commit.topic.clone(), commit.partition);
            let ends = (*known.entry(key).or_insert_with(|| ends(&commit.topic, commit.partition)))?;
            let next_offset = records::next_offset(commit.offset, commit.topic_id, &ends)?;
            Some(Position { commit, ends, next_offset })
        };
        self.positions = collected.commits.into_iter().filter_map(position).collect();
        self.track();
        self.wanted()
    }

    /// A timestamp that was asked for.
    pub fn learn(&mut self, found: &Lookup, timestamp_ms: i64) {
        if let Some(tracked) = self.partitions.get_mut(&(found.topic.clone(), found.partition)) {
            tracked.timeline.learn(found.offset, timestamp_ms);
        }
    }

    /// Ends the round.
    pub fn finish(&mut self) -> Round {
        let positions = std::mem::take(&mut self.positions);
        let lags: Vec<Lag> = positions.into_iter().map(|position| self.lag(position)).collect();
        self.note(&lags);
        Round { lags, left_out: self.left_out }
    }

    pub fn history(&self, group: &str) -> Option<&History> {
        self.histories.get(group)
    }

    /// Whether nothing is remembered, so that a round without commits is none.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.histories.is_empty()
    }

    /// Takes the ends into the timelines, and forgets partitions that no group reads.
    fn track(&mut self) {
        let mut before = std::mem::take(&mut self.partitions);
        for position in &self.positions {
            let key = (position.commit.topic.clone(), position.commit.partition);
            if let Some(tracked) = self.partitions.get_mut(&key) {
                tracked.lowest = tracked.lowest.min(position.next_offset);
                continue;
            }
            let topic_id = position.ends.topic_id;
            let known = before.remove(&key).filter(|known| known.topic_id == topic_id);
            let mut timeline = known.map(|known| known.timeline).unwrap_or_default();
            timeline.observe(position.ends.end_offset, self.now_ms);
            self.partitions.insert(key, Tracked { topic_id, timeline, lowest: position.next_offset });
        }
        self.partitions.values_mut().for_each(|tracked| tracked.timeline.forget_below(tracked.lowest));
    }

    /// Records whose age is known too badly, beginning behind the last that was asked for.
    fn wanted(&mut self) -> Vec<Lookup> {
        let vague = self.positions.iter().filter(|position| {
            let written = self.timeline(position).and_then(|known| known.written(position.next_offset));
            let is_behind = records::behind(position.next_offset, &position.ends) > 0;
            is_behind && written.is_none_or(|written| written.is_vague(self.now_ms))
        });
        let all: BTreeSet<Lookup> = vague
            .map(|position| Lookup {
                topic: position.commit.topic.clone(),
                partition: position.commit.partition,
                offset: position.next_offset,
            })
            .collect();
        let is_later = |lookup: &&Lookup| self.asked.as_ref().is_some_and(|asked| *lookup > asked);
        let later = all.iter().filter(is_later);
        let others = all.iter().filter(|lookup| !is_later(lookup));
        let wanted: Vec<Lookup> = later.chain(others).take(LOOKUPS_MAX).cloned().collect();
        self.asked = wanted.last().cloned();
        wanted
    }

    fn timeline(&self, position: &Position) -> Option<&Timeline> {
        let key = (position.commit.topic.clone(), position.commit.partition);
        self.partitions.get(&key).map(|tracked| &tracked.timeline)
    }

    fn lag(&self, position: Position) -> Lag {
        let records = records::behind(position.next_offset, &position.ends);
        let age_ms = match records {
            0 => Some(0),
            _ => {
                let written = self.timeline(&position).and_then(|known| known.written(position.next_offset));
                written.map(|written| self.now_ms.saturating_sub(written.at_ms).max(0))
            }
        };
        Lag { commit: position.commit, ends: position.ends, records, age_ms }
    }

    /// Adds the sums of the groups to their histories.
    fn note(&mut self, lags: &[Lag]) {
        let mut before = std::mem::take(&mut self.histories);
        let of_groups = lags.chunk_by(|a, b| a.commit.group == b.commit.group);
        for lags in of_groups.take(HISTORIES_MAX) {
            let group = lags[0].commit.group.clone();
            let records = lags.iter().fold(0i64, |sum, lag| sum.saturating_add(lag.records));
            let mut history = before.remove(&group).unwrap_or_default();
            history.note(self.now_ms, records, lags.iter().filter_map(|lag| lag.age_ms).max());
            self.histories.insert(group, history);
        }
    }
}

/// The first commits of the groups of one coordinator. It is called while commits wait, and so clones no more of
/// them than may be told.
pub fn collect(groups: &Groups) -> Collected {
    let mut commits = Vec::new();
    let offsets = groups.offsets();
    for group in groups.group_ids() {
        for (topic, partitions) in offsets.group(group).into_iter().flatten() {
            let room = LAGS_MAX - commits.len();
            commits.extend(partitions.iter().take(room).map(|(partition, committed)| Commit {
                group: group.clone(),
                topic: topic.clone(),
                partition: *partition,
                offset: committed.value.offset,
                topic_id: committed.value.topic_id,
            }));
            if commits.len() == LAGS_MAX {
                let left_out = offsets.count() - LAGS_MAX;
                return Collected { commits, left_out };
            }
        }
    }
    Collected { commits, left_out: 0 }
}

impl Collected {
    /// What several coordinators have together. The first of all are among the first of each.
    pub fn join(all: impl IntoIterator<Item = Self>) -> Self {
        let mut joined = Self::default();
        for one in all {
            joined.commits.extend(one.commits);
            joined.left_out += one.left_out;
        }
        // Each part is in order, which this sort makes use of.
        joined.commits.sort();
        joined.left_out += joined.commits.len().saturating_sub(LAGS_MAX);
        joined.commits.truncate(LAGS_MAX);
        joined
    }
}
