//! Who may tell others what is committed: members that hear of a quorum that lives.

use std::time::Duration;

use milena_log::memory_files::Loss;

use super::pulse::SILENCE_MAX;
use super::test_cluster::{Cluster, LONG, address, commit, image_at, voter, within};
use crate::controller::raft::quorum::Quorum;

/// More than it takes to notice, in virtual time.
const NOTICED: Duration = Duration::from_secs(3);

/// Waits until a member is current, in virtual time.
async fn becomes_current(quorum: &Quorum) {
    let current = async {
        while !quorum.is_current() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(current).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_cut_off_is_not_current_and_is_again_when_it_is_back() {
    let cluster = Cluster::of([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let index = commit(&leader, 1).await;
    let follower = cluster.running.values().find(|quorum| quorum.voter() != leader.voter()).expect("three");
    image_at(follower, index).await;
    for cut_off in [follower, &leader] {
        for quorum in cluster.running.values() {
            becomes_current(quorum).await;
        }
        // Idle, they stay it.
        tokio::time::sleep(NOTICED).await;
        assert!(cluster.running.values().all(Quorum::is_current));
        cluster.cut(cut_off.voter());
        assert!(cut_off.is_current(), "a moment is nothing");
        tokio::time::sleep(NOTICED).await;
        assert!(!cut_off.is_current(), "{:?}", cut_off.silence());
        for other in cluster.running.values().filter(|quorum| quorum.voter() != cut_off.voter()) {
            assert!(other.is_current(), "{:?}", other.silence());
        }
        cluster.heal(cut_off.voter());
        becomes_current(cut_off).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_of_a_leader_without_a_majority_is_not_current() {
    let mut cluster = Cluster::of([1, 2, 3, 4, 5]).await;
    let leader = cluster.leader().await;
    let index = commit(&leader, 1).await;
    let others: Vec<_> = cluster.running.keys().copied().filter(|v| *v != leader.voter()).collect();
    let follower = cluster.quorum(others[0]).clone();
    image_at(&follower, index).await;
    for gone in &others[1..] {
        cluster.kill(*gone, Loss::Unsynced).await;
    }
    tokio::time::sleep(SILENCE_MAX + NOTICED).await;
    // The leader still tries to reach a majority, and the follower hears it.
    for _ in 0..40 {
        assert!(
            !leader.is_current() && !follower.is_current(),
            "{:?}",
            (leader.silence(), follower.silence())
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.start(others[1]).await;
    becomes_current(&follower).await;
}

#[tokio::test(start_paused = true)]
async fn the_only_voter_is_current_and_one_that_was_removed_or_never_added_is_not() {
    let mut cluster = Cluster::of([1]).await;
    let first = cluster.leader().await;
    commit(&first, 1).await;
    tokio::time::sleep(NOTICED).await;
    assert!(first.is_current());
    let second = cluster.start(voter(2)).await;
    tokio::time::sleep(NOTICED).await;
    assert!(!second.is_current());
    within(first.add_voter(voter(2), address(voter(2)), LONG)).await.expect("is added");
    becomes_current(&second).await;
    within(first.remove_voter(voter(2), LONG)).await.expect("is removed");
    tokio::time::sleep(NOTICED).await;
    assert!(!second.is_current() && first.is_current());
    first.stop().await;
    assert!(!first.is_current(), "it has stopped");
}
