//! Several members of one group.

use milena_protocol::ErrorCode;
use milena_protocol::messages::*;

use super::client::{Client, Join, Joined, heartbeat_request};
use super::{NONE, Place, code, unique};
use crate::harness::{SESSION_MS_MIN, eventually, receive, send};

/// Waits until the answers to a member's requests tell of a rebalance.
fn await_rebalance(client: &Client, error_of: impl Fn(&mut Client) -> i16) {
    eventually("the rebalance", || {
        let stream = client.stream.try_clone().expect("a socket can be cloned");
        let error = error_of(&mut Client { stream });
        assert!([NONE, code(ErrorCode::RebalanceInProgress)].contains(&error), "{error}");
        error != NONE
    });
}

fn two(place: &Place, join: &Join) -> [(Client, Joined); 2] {
    two_of(place, join, join)
}

/// Two members in a stable group of generation 2: the leader first.
fn two_of(place: &Place, join: &Join, second: &Join) -> [(Client, Joined); 2] {
    let (mut a, mut b) = (place.client(), place.client());
    let leader = a.stable(join);
    let second = Join { member_id: b.id_of(second), ..second.clone() };
    b.begin_join(&second);
    await_rebalance(&a, |a| a.heartbeat(4, &leader));
    let again = a.join(9, &Join { member_id: leader.id.clone(), ..join.clone() });
    let other = b.end_join();
    assert_eq!((again.error_code, other.error_code), (NONE, NONE));
    assert_eq!((again.generation_id, other.generation_id), (2, 2));
    assert_eq!((again.members.len(), other.members.len()), (2, 0), "the leader alone hears of all");
    assert_eq!((&*other.leader, &*again.leader), (&*leader.id, &*leader.id));
    let leader = Joined { generation: 2, ..leader };
    let follower = Joined { id: second.member_id, ..leader.clone() };
    b.begin_sync(&follower);
    let synced = a.sync(5, &leader, &[(&leader.id, b"a"), (&follower.id, b"b")]);
    assert_eq!((synced.error_code, &*synced.assignment), (NONE, &b"a"[..]));
    let synced = b.end_sync();
    assert_eq!((synced.error_code, &*synced.assignment), (NONE, &b"b"[..]));
    [(a, leader), (b, follower)]
}

#[test]
fn newcomer_makes_the_members_join_again_and_each_gets_its_part() {
    let place = Place::start();
    let [(mut a, leader), (mut b, follower)] = two(&place, &Join::of(&unique("two")));
    assert_eq!(a.heartbeat(4, &leader), NONE);
    assert_eq!(b.leave(5, &follower).members[0].error_code, NONE);
    assert_eq!(a.heartbeat(4, &leader), code(ErrorCode::RebalanceInProgress));
}

/// A connection is answered request by request: what is behind a join sees the group as the join left it. A
/// heartbeat that ran ahead would tell of a rebalance that is over when it is read.
#[test]
fn heartbeat_behind_a_join_on_one_connection_is_taken_after_it() {
    let place = Place::start();
    let join = Join::of(&unique("line"));
    let [(mut a, leader), (mut b, follower)] = two(&place, &join);
    b.begin_join(&Join {
        member_id: follower.id.clone(),
        protocols: vec![("range", b"other".to_vec())],
        ..join.clone()
    });
    send(&mut b.stream, 4, &heartbeat_request(&follower));
    await_rebalance(&a, |a| a.heartbeat(4, &leader));
    let again = a.join(9, &Join { member_id: leader.id.clone(), ..join });
    assert_eq!((again.error_code, again.generation_id), (NONE, 3));
    assert_eq!(b.end_join().generation_id, 3);
    let beat = receive::<HeartbeatRequest<'_>>(&mut b.stream, 4);
    assert_eq!(beat.error_code, code(ErrorCode::IllegalGeneration));
}

#[test]
fn member_that_is_silent_is_removed_and_the_rest_goes_on() {
    let place = Place::start();
    let join = Join::of(&unique("silent"));
    let session_timeout_ms = SESSION_MS_MIN.parse().expect("a number");
    let [(mut a, leader), (b, _)] = two_of(&place, &join, &Join { session_timeout_ms, ..join.clone() });
    drop(b);
    await_rebalance(&a, |a| a.heartbeat(4, &leader));
    let again = a.join(9, &Join { member_id: leader.id.clone(), ..join });
    assert_eq!((again.error_code, again.generation_id, again.members.len()), (NONE, 3, 1));
}

#[test]
fn sync_of_a_generation_that_is_over_hears_of_the_rebalance() {
    let place = Place::start();
    let join = Join::of(&unique("over"));
    let [(mut a, leader), (mut b, follower)] = two(&place, &join);
    b.begin_join(&Join {
        member_id: follower.id.clone(),
        protocols: vec![("range", b"other".to_vec())],
        ..join.clone()
    });
    await_rebalance(&a, |a| a.sync(5, &leader, &[]).error_code);
    a.join(9, &Join { member_id: leader.id.clone(), ..join });
    b.end_join();
    assert_eq!(a.sync(5, &leader, &[]).error_code, code(ErrorCode::IllegalGeneration));
}
