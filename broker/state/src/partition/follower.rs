//! The follower's side: what it takes of an answer, what it knows to be committed, and where to cut the log so that it
//! agrees with the leader's.
//!
//! Everything is said under the leader epoch of a [`Follower`]; an answer to what was asked under another one is not for
//! it. Both logs map a leader epoch to its start offset. When they differ, records of the follower above
//! the point of agreement were never committed and go. Truncation is by epoch and never by the high
//! watermark, which may be behind (KIP-101, KIP-279, KIP-595).

use milena_protocol::records::{BatchError, Batches};

use super::fetch_plan::Position;

/// A replica that follows, and what it knows beside its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follower {
    leader_epoch: i32,
    high_watermark: i64,
}

impl Follower {
    /// Begins to follow under `leader_epoch`. What was known to be committed stays known, as far as the log goes.
    pub fn new(leader_epoch: i32, known_high_watermark: i64, log_end_offset: i64) -> Self {
        Self { leader_epoch, high_watermark: known_high_watermark.min(log_end_offset) }
    }

    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Where to fetch from, with a log of this start and end. The epoch is that of the last record: one that was led
    /// without a record is no part of the log.
    pub fn position(
        &self,
        (log_start_offset, log_end_offset): (i64, i64),
        epoch_at: impl FnOnce(i64) -> Option<i32>,
    ) -> Position {
        let has_records = log_end_offset > log_start_offset;
        let last_epoch = if has_records { epoch_at(log_end_offset - 1) } else { None };
        Position {
            leader_epoch: self.leader_epoch,
            fetch_offset: log_end_offset,
            last_fetched_epoch: last_epoch.unwrap_or(-1),
            log_start_offset,
            high_watermark: self.high_watermark,
        }
    }

    /// What came was appended, and the log ends there now. The high watermark, when it rises.
    pub fn appended(&mut self, log_end_offset: i64, leaders_high_watermark: i64) -> Option<i64> {
        let now = high_watermark(self.high_watermark, log_end_offset, leaders_high_watermark);
        let rises = now > self.high_watermark;
        self.high_watermark = now;
        rises.then_some(now)
    }

    /// Where our log is to begin when the leader's begins at `leaders`: what it deleted is deleted here too, but never
    /// what is not known to be committed.
    pub fn log_start_offset(&self, leaders: i64) -> i64 {
        leaders.min(self.high_watermark)
    }

    /// The log was cut, or begins anew, and has this start and end now. What is below its start counts as committed, or
    /// the replica could not serve from there.
    pub fn cut(&mut self, (log_start_offset, log_end_offset): (i64, i64)) {
        self.high_watermark = self.high_watermark.clamp(log_start_offset, log_end_offset);
    }
}

/// The part of what a leader of `leader_epoch` sent that is taken: the batches that came whole.
///
/// Errors: a batch that cannot be read, or of a later epoch than that of the leader who sent it, which is from nobody.
pub fn whole_batches(records: &[u8], leader_epoch: i32) -> Result<&[u8], Unfit> {
    let mut batches = Batches::maybe_truncated(records);
    for batch in batches.by_ref() {
        let batch = batch.map_err(Unfit::Batch)?;
        if batch.leader_epoch > leader_epoch {
            return Err(Unfit::Epoch { batch: batch.leader_epoch, leader: leader_epoch });
        }
    }
    Ok(&records[..records.len() - batches.rest().len()])
}

/// Why nothing of an answer is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error(transparent)]
    Batch(BatchError),
    #[error("leader epoch {batch} in an answer of epoch {leader}")]
    Epoch { batch: i32, leader: i32 },
}

/// Where a leader epoch begins in our log. Ascending in both fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    pub epoch: i32,
    pub start_offset: i64,
}

/// The leader's word about the last epoch we named: the largest epoch it has that is not greater,
/// and where that one ends in its log (`divergingEpoch` in Fetch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DivergingEpoch {
    pub epoch: i32,
    pub end_offset: i64,
}

/// What to do about a diverging epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// Cut here and fetch on: the logs agree below.
    To(i64),
    /// Cut here and fetch again: the leader's next answer may cut further.
    ToAndAskAgain(i64),
    /// No common epoch above the log start: begin anew at the leader's log start offset.
    Fully,
}

/// Offset below which this replica and its leader may hold the same records.
///
/// Truncating to the result never drops a committed record, because every committed record is in
/// the leader's log. The smaller of both ends is taken, since either log may be the shorter one.
///
/// Source: KIP-279, KIP-595.
pub fn truncation(
    history: &[EpochStart],
    log_start_offset: i64,
    log_end_offset: i64,
    diverging: DivergingEpoch,
) -> Truncation {
    debug_assert!(history.is_sorted_by_key(|e| e.epoch), "epochs ascend: {history:?}");
    // −1 is the leader saying that it has no epoch as old as ours.
    if diverging.epoch < 0 || diverging.end_offset < 0 {
        return Truncation::Fully;
    }
    let after = history.partition_point(|e| e.epoch <= diverging.epoch);
    let Some(ours) = after.checked_sub(1).map(|at| history[at]) else {
        // Everything we hold is of later epochs than the leader has: none of it is in its log.
        return cut(log_start_offset, diverging.end_offset);
    };
    let our_end = history.get(after).map_or(log_end_offset, |next| next.start_offset);
    let offset = our_end.min(diverging.end_offset);
    if offset < log_start_offset {
        return Truncation::Fully;
    }
    if ours.epoch == diverging.epoch { Truncation::To(offset) } else { Truncation::ToAndAskAgain(offset) }
}

fn cut(log_start_offset: i64, leader_end: i64) -> Truncation {
    if leader_end >= log_start_offset { Truncation::To(log_start_offset) } else { Truncation::Fully }
}

/// How a follower goes on whose log is not what its leader's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Cut here and ask again.
    CutTo(i64),
    /// Drop everything and begin here.
    BeginAt(i64),
}

/// What follows from a diverging epoch, with a log of the start and end `own` and a leader whose log begins at
/// `leader_log_start`. The next answer of the leader may cut further.
///
/// What a cut at the leader's start or below would leave is of another history and deleted there: nobody could tell it from
/// committed records if this replica forgot in a crash where its log starts.
pub fn diverged(
    history: &[EpochStart],
    own: (i64, i64),
    diverging: DivergingEpoch,
    leader_log_start: i64,
) -> Restart {
    match truncation(history, own.0, own.1, diverging) {
        Truncation::To(offset) | Truncation::ToAndAskAgain(offset) if offset > leader_log_start => {
            Restart::CutTo(offset)
        }
        Truncation::To(_) | Truncation::ToAndAskAgain(_) => Restart::BeginAt(leader_log_start),
        Truncation::Fully => Restart::BeginAt(leader_log_start.max(0)),
    }
}

/// What follows from OFFSET_OUT_OF_RANGE, after the leader was asked where its log begins and ends.
///
/// Above the leader's end we hold what was never committed. Below its start, what we need is deleted. In between only
/// our epochs can be the reason: the leader has none as old as our last, so nothing tells where the histories part.
/// Every committed record is in the leader's log, so nothing that counts is dropped.
pub fn out_of_range(own: (i64, i64), leader: (i64, i64)) -> Restart {
    let ((own_start, own_end), (leader_start, leader_end)) = (own, leader);
    if own_end > leader_end && leader_end >= own_start.max(leader_start) {
        Restart::CutTo(leader_end)
    } else {
        Restart::BeginAt(leader_start)
    }
}

/// The high watermark of a follower after an answer of its leader: as far as both know that it is committed. It never
/// goes back while the leadership lasts.
pub fn high_watermark(own: i64, own_log_end: i64, leaders: i64) -> i64 {
    own.max(leaders.min(own_log_end))
}

#[cfg(test)]
mod tests {
    use milena_protocol::records::Builder;

    use super::*;

    fn history(starts: &[(i32, i64)]) -> Vec<EpochStart> {
        starts.iter().map(|&(epoch, start_offset)| EpochStart { epoch, start_offset }).collect()
    }

    fn check(starts: &[(i32, i64)], ends: (i64, i64), diverging: (i32, i64), expected: Truncation) {
        let diverging = DivergingEpoch { epoch: diverging.0, end_offset: diverging.1 };
        assert_eq!(truncation(&history(starts), ends.0, ends.1, diverging), expected);
    }

    #[test]
    fn cuts_at_the_smaller_end_of_the_common_epoch() {
        check(&[(1, 0), (2, 10)], (0, 20), (2, 15), Truncation::To(15));
        check(&[(1, 0), (2, 10)], (0, 20), (2, 25), Truncation::To(20));
        check(&[(1, 0), (3, 10)], (0, 20), (1, 12), Truncation::To(10));
        check(&[(1, 0), (3, 10)], (0, 20), (1, 8), Truncation::To(8));
    }

    #[test]
    fn asks_again_when_the_leader_names_an_epoch_that_we_lack() {
        check(&[(1, 0), (4, 10)], (0, 20), (3, 14), Truncation::ToAndAskAgain(10));
    }

    #[test]
    fn starts_anew_without_a_common_epoch() {
        check(&[(1, 0)], (0, 20), (-1, -1), Truncation::Fully);
        check(&[(5, 100)], (100, 120), (3, 40), Truncation::Fully);
        check(&[(2, 50), (3, 60)], (55, 70), (2, 52), Truncation::Fully);
        check(&[(5, 100)], (100, 120), (3, 100), Truncation::To(100));
    }

    #[test]
    fn a_replica_without_a_common_epoch_begins_where_its_leader_does() {
        let history = history(&[(5, 100)]);
        let on = |epoch, end_offset, leader_log_start| {
            diverged(&history, (100, 120), DivergingEpoch { epoch, end_offset }, leader_log_start)
        };
        assert_eq!(on(5, 110, 7), Restart::CutTo(110));
        assert_eq!(on(3, 100, 7), Restart::CutTo(100));
        assert_eq!(on(3, 40, 7), Restart::BeginAt(7));
        // What a cut would leave is deleted at the leader.
        assert_eq!(on(5, 110, 110), Restart::BeginAt(110));
        assert_eq!(on(5, 110, 115), Restart::BeginAt(115));
        assert_eq!(on(3, 100, 109), Restart::BeginAt(109));
        assert_eq!(on(-1, -1, -1), Restart::BeginAt(0), "the leader did not say where it begins");
    }

    /// Where a batch says which format it has.
    const MAGIC_AT: usize = 16;

    fn batch(leader_epoch: i32) -> Vec<u8> {
        let mut batch = Builder::new().leader_epoch(leader_epoch);
        batch.append(0, None, Some(b"value"), &[]).expect("fits");
        batch.finish().expect("fits")
    }

    #[test]
    fn only_whole_batches_of_no_later_epoch_are_taken() {
        let records = [batch(3), batch(5)].concat();
        assert_eq!(whole_batches(&records, 5), Ok(&records[..]));
        assert_eq!(whole_batches(&records[..records.len() - 1], 5), Ok(&batch(3)[..]));
        assert_eq!(whole_batches(&[], 5), Ok(&[][..]));
        let later = [batch(5), batch(6)].concat();
        assert_eq!(whole_batches(&later, 5), Err(Unfit::Epoch { batch: 6, leader: 5 }));
        let mut of_nobody = records;
        of_nobody[MAGIC_AT] = 9;
        assert!(matches!(whole_batches(&of_nobody, 5), Err(Unfit::Batch(_))));
    }

    #[test]
    fn a_follower_asks_from_the_end_of_its_log_with_the_epoch_of_its_last_record() {
        let follower = Follower::new(5, 9, 7);
        let position = follower.position((2, 7), |offset| (offset == 6).then_some(4));
        let expected = Position {
            leader_epoch: 5,
            fetch_offset: 7,
            last_fetched_epoch: 4,
            log_start_offset: 2,
            high_watermark: 7,
        };
        assert_eq!(position, expected);
        let empty = follower.position((7, 7), |_| panic!("there is no record"));
        assert_eq!(empty.last_fetched_epoch, -1);
    }

    #[test]
    fn the_high_watermark_rises_with_answers_and_stays_within_a_log_that_is_cut() {
        let mut follower = Follower::new(5, 3, 10);
        assert_eq!(follower.appended(10, 7), Some(7));
        assert_eq!(follower.appended(10, 2), None, "never back");
        assert_eq!((follower.log_start_offset(9), follower.log_start_offset(4)), (7, 4));
        follower.cut((0, 5));
        assert_eq!(follower.high_watermark(), 5);
        follower.cut((8, 8));
        assert_eq!(follower.high_watermark(), 8, "it begins anew where nothing is below");
    }

    /// Two histories that share a prefix: follower and leader loop until they agree.
    #[test]
    fn repeated_truncation_ends_at_the_point_of_divergence() {
        let leader = history(&[(1, 0), (3, 10), (5, 30)]);
        let leader_end = 40;
        let mut ours = history(&[(1, 0), (2, 8), (4, 12)]);
        let mut our_end = 20;
        for _ in 0..5 {
            let last = ours.last().unwrap().epoch;
            let at = leader.partition_point(|e| e.epoch <= last) - 1;
            let end = leader.get(at + 1).map_or(leader_end, |e| e.start_offset);
            let diverging = DivergingEpoch { epoch: leader[at].epoch, end_offset: end };
            if diverging.epoch == last && end >= our_end {
                break;
            }
            let offset = match truncation(&ours, 0, our_end, diverging) {
                Truncation::To(offset) | Truncation::ToAndAskAgain(offset) => offset,
                Truncation::Fully => 0,
            };
            assert!(offset < our_end, "every round cuts something");
            our_end = offset;
            ours.retain(|e| e.start_offset < our_end);
        }
        assert_eq!((our_end, ours), (8, history(&[(1, 0)])));
    }

    #[test]
    fn out_of_range_cuts_above_the_leader_and_begins_anew_elsewhere() {
        for (own, leader, expected) in [
            ((0, 20), (0, 15), Restart::CutTo(15)),
            ((0, 20), (15, 15), Restart::CutTo(15)),
            // The leader deleted what we need.
            ((0, 20), (30, 40), Restart::BeginAt(30)),
            // Nothing of ours is left below the leader's end.
            ((10, 20), (0, 5), Restart::BeginAt(0)),
            // In range: the epochs have nothing in common.
            ((0, 20), (5, 25), Restart::BeginAt(5)),
            ((0, 20), (0, 20), Restart::BeginAt(0)),
        ] {
            assert_eq!(out_of_range(own, leader), expected, "{own:?} {leader:?}");
        }
    }

    #[test]
    fn a_follower_knows_to_be_committed_what_it_holds_below_the_leaders_watermark() {
        for (own, own_end, leaders, expected) in [(0, 10, 7, 7), (0, 10, 12, 10), (8, 10, 7, 8), (0, 0, 5, 0)]
        {
            assert_eq!(high_watermark(own, own_end, leaders), expected);
        }
    }
}
