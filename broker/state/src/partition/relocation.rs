//! Moving a replica between the directories of its broker (KIP-113): what a request begins or ends, how the copy goes on,
//! and what a start makes of a copy that it finds.
//!
//! The copy, Kafka's future replica, is filled from the log beside which it comes to be, up to the log's end; with the
//! log's end it takes its place. Whatever is cut from the log is cut from the copy, before anything is copied again.

use milena_protocol::types::Uuid;

use super::follower::{self, DivergingEpoch, EpochStart, Restart};
use super::reads;

/// What follows from the wish to have a replica in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It is there, or on its way.
    Granted,
    /// It is there, and on its way to another one, which ends.
    Stay,
    /// It moves from now on; the move to another directory, if there is one, ends.
    Move,
}

/// For a replica in the directory `current`, with a copy in `future` if it is being moved.
pub fn wish(current: Uuid, future: Option<Uuid>, target: Uuid) -> Wish {
    match future {
        Some(future) if future == target => Wish::Granted,
        None if current == target => Wish::Granted,
        Some(_) if current == target => Wish::Stay,
        _ => Wish::Move,
    }
}

/// How a copy goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Cut here: the log was.
    CutTo(i64),
    /// Drop everything and begin here: what would come next is deleted from the log.
    BeginAt(i64),
    /// Copy from here on.
    CopyFrom(i64),
    /// The copy has all there is.
    Complete,
}

/// Of a copy and a log with these starts and ends. `cut_to` is the lowest offset to which the log was cut since the copy
/// was last cut; what lies above may be something else now.
pub fn next(copy: (i64, i64), log: (i64, i64), cut_to: Option<i64>) -> Step {
    debug_assert!(copy.0 <= copy.1 && log.0 <= log.1, "start <= end: copy {copy:?}, log {log:?}");
    let ((_, copied_upto), (log_start, log_end)) = (copy, log);
    let valid_upto = cut_to.map_or(log_end, |cut_to| cut_to.min(log_end));
    if copied_upto > valid_upto {
        Step::CutTo(valid_upto)
    } else if copied_upto < log_start {
        Step::BeginAt(log_start)
    } else if copied_upto < log_end {
        Step::CopyFrom(copied_upto)
    } else {
        Step::Complete
    }
}

/// Where a copy that an earlier process left goes on, when that is not at its end: the log may have been cut, and have got
/// other records, since. Asked again until there is nothing to cut. `copy` and `log` are starts and ends; `last_epoch` is that
/// of the copy's last record, `ours` the largest epoch of the log that is not above, and where it ends.
pub fn rejoin(
    history: &[EpochStart],
    (copy, last_epoch): ((i64, i64), Option<i32>),
    log: (i64, i64),
    ours: Option<DivergingEpoch>,
) -> Option<Restart> {
    let last_epoch = last_epoch.filter(|_| copy.0 < copy.1)?;
    match reads::diverging(last_epoch, copy.1, ours) {
        Ok(None) => None,
        Ok(Some(diverging)) => Some(follower::diverged(history, copy, diverging, log.0)),
        Err(_) => Some(Restart::BeginAt(log.0)),
    }
}

/// What a start makes of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStart {
    /// Copying goes on.
    Resume,
    /// It has all that the log had, which is gone: the process died just when it was to take its place.
    Promote,
    /// The log may be in a directory that is offline.
    Leave,
    /// It is not wanted.
    Discard,
    /// The log is gone, and the copy may lack some of it. Only a person can say what it is good for.
    SetAside,
    /// The log is gone, and several copies have been complete: nobody can know which of them was to take its place.
    Undecided,
}

/// What is known of a partition when its copies are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The directory of its log, if there is one.
    pub home: Option<Uuid>,
    /// Copies that are marked as complete. They were once; as long as the log is there that means nothing.
    pub complete_count: usize,
    /// Every directory could be opened: what is not found is not there.
    pub all_online: bool,
}

/// Of a copy in `copied_to`; there may be others.
pub fn at_start(found: Found, copied_to: Uuid, is_complete: bool) -> AtStart {
    match (found.home, found.complete_count) {
        (Some(home), _) if home == copied_to => AtStart::Discard,
        (Some(_), _) => AtStart::Resume,
        (None, _) if !found.all_online => AtStart::Leave,
        (None, 0) => AtStart::SetAside,
        (None, 1) if is_complete => AtStart::Promote,
        (None, 1) => AtStart::Discard,
        (None, _) => AtStart::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(100);
    const B: Uuid = Uuid::from_u128(101);
    const C: Uuid = Uuid::from_u128(102);

    #[test]
    fn a_wish_moves_a_replica_ends_its_move_or_changes_nothing() {
        assert_eq!(wish(A, None, A), Wish::Granted);
        assert_eq!(wish(A, None, B), Wish::Move);
        assert_eq!(wish(A, Some(B), B), Wish::Granted);
        assert_eq!(wish(A, Some(B), A), Wish::Stay);
        assert_eq!(wish(A, Some(B), C), Wish::Move);
    }

    #[test]
    fn a_copy_goes_on_at_its_end_until_it_has_all() {
        assert_eq!(next((0, 0), (0, 0), None), Step::Complete);
        assert_eq!(next((0, 0), (0, 9), None), Step::CopyFrom(0));
        assert_eq!(next((0, 5), (0, 9), None), Step::CopyFrom(5));
        assert_eq!(next((0, 5), (5, 9), None), Step::CopyFrom(5));
        assert_eq!(next((0, 9), (7, 9), None), Step::Complete);
    }

    #[test]
    fn a_copy_that_retention_has_passed_begins_anew() {
        assert_eq!(next((0, 0), (6, 9), None), Step::BeginAt(6));
        assert_eq!(next((0, 5), (6, 9), None), Step::BeginAt(6));
        assert_eq!(next((0, 5), (9, 9), None), Step::BeginAt(9));
    }

    #[test]
    fn what_was_cut_from_the_log_is_cut_from_the_copy_first() {
        assert_eq!(next((0, 9), (0, 4), Some(4)), Step::CutTo(4));
        assert_eq!(next((0, 9), (0, 20), Some(4)), Step::CutTo(4), "the log has grown again");
        assert_eq!(next((0, 9), (0, 4), None), Step::CutTo(4));
        assert_eq!(next((0, 3), (0, 20), Some(4)), Step::CopyFrom(3));
        assert_eq!(next((5, 9), (2, 20), Some(2)), Step::CutTo(2), "the log begins anew, below");
        assert_eq!(next((2, 2), (2, 20), None), Step::CopyFrom(2));
    }

    /// The log of some epochs as `ours` of the copy's last one.
    fn ours(log: &[(i32, i64)], end: i64, last_epoch: i32) -> Option<DivergingEpoch> {
        let after = log.partition_point(|(epoch, _)| *epoch <= last_epoch);
        let (epoch, _) = *log.get(after.checked_sub(1)?)?;
        Some(DivergingEpoch { epoch, end_offset: log.get(after).map_or(end, |(_, start)| *start) })
    }

    #[test]
    fn a_copy_that_was_left_is_cut_where_the_histories_part() {
        let check = |copy: &[(i32, i64)], copy_end: i64, log: &[(i32, i64)], log_end: i64, expected| {
            let history: Vec<_> =
                copy.iter().map(|&(epoch, start_offset)| EpochStart { epoch, start_offset }).collect();
            let last = copy.last().map(|(epoch, _)| *epoch);
            let named = last.and_then(|last| ours(log, log_end, last));
            assert_eq!(rejoin(&history, ((0, copy_end), last), (0, log_end), named), expected);
        };
        check(&[(1, 0)], 10, &[(1, 0)], 20, None);
        check(&[(1, 0)], 10, &[(1, 0), (2, 10)], 20, None);
        check(&[(1, 0)], 10, &[(1, 0)], 7, Some(Restart::CutTo(7)));
        check(&[(1, 0), (2, 10)], 15, &[(1, 0), (3, 20)], 25, Some(Restart::CutTo(10)));
        check(&[(1, 0), (2, 10)], 15, &[(1, 0), (3, 8)], 25, Some(Restart::CutTo(8)));
        check(&[(1, 0)], 10, &[(4, 0)], 25, Some(Restart::BeginAt(0)));
        check(&[], 0, &[(4, 0)], 25, None);
    }

    #[test]
    fn a_start_never_takes_a_copy_for_the_log_while_that_may_be_somewhere() {
        for (complete_count, is_complete) in [(0, false), (1, false), (1, true), (2, true), (2, false)] {
            for all_online in [false, true] {
                let found = Found { home: Some(A), complete_count, all_online };
                assert_eq!(at_start(found, B, is_complete), AtStart::Resume);
                assert_eq!(at_start(found, A, is_complete), AtStart::Discard);
            }
            let found = Found { home: None, complete_count, all_online: false };
            assert_eq!(at_start(found, B, is_complete), AtStart::Leave);
        }
    }

    #[test]
    fn the_one_complete_copy_of_a_log_that_is_gone_takes_its_place() {
        let without = |complete_count| Found { home: None, complete_count, all_online: true };
        assert_eq!(at_start(without(1), B, true), AtStart::Promote);
        assert_eq!(at_start(without(1), C, false), AtStart::Discard);
        assert_eq!(at_start(without(0), B, false), AtStart::SetAside);
        assert_eq!(at_start(without(2), B, true), AtStart::Undecided);
        assert_eq!(at_start(without(2), C, false), AtStart::Undecided);
    }
}
