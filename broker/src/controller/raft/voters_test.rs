//! Voters that are added, removed, moved and wiped.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_log::memory_files::Loss;
use milena_protocol::ErrorCode;
use milena_protocol::types::Uuid;

use super::quorum::Quorum;
use super::test_cluster::{Cluster, LONG, address, commit, image_at, knows_leader, voter, within};
use super::types::{VoterAddress, VoterId};

fn ids(quorum: &Quorum) -> Vec<i32> {
    quorum.voters().iter().map(|(voter, _)| voter.id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_quorum_of_one_grows_to_three_and_survives_the_first() {
    let mut cluster = Cluster::new();
    // Nobody dialled it, so its membership has no address.
    let nowhere = BTreeMap::from([(voter(1), VoterAddress::default())]);
    let first = cluster.start_with(voter(1), Some(nowhere)).await;
    commit(&first, 1).await;
    for id in [2, 3] {
        cluster.start(voter(id)).await;
        within(first.add_voter(voter(id), address(voter(id)), LONG)).await.expect("is added");
    }
    assert_eq!(ids(&first), [1, 2, 3]);
    assert!(first.voters().contains(&(voter(1), address(voter(1)))), "the new ones have to reach it");
    let index = commit(&first, 2).await;
    for quorum in cluster.running.values() {
        assert_eq!(image_at(quorum, index).await.features().get("test"), Some(&2));
    }
    cluster.kill(voter(1), Loss::Unsynced).await;
    let second = cluster.leader().await;
    assert!(commit(&second, 3).await > index);
}

#[tokio::test(start_paused = true)]
async fn a_late_voter_gets_a_snapshot_when_the_log_does_not_reach_back() {
    let mut cluster = Cluster::of([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let mut index = 0;
    for level in 1..30 {
        index = commit(&leader, level).await;
    }
    leader.snapshot().await.expect("runs");
    let wait = || leader.raft.wait(Some(LONG));
    wait().metrics(|now| now.snapshot.is_some(), "a snapshot").await.expect("is written");
    leader.raft.trigger().purge_log(index as u64 - 5).await.expect("runs");
    wait().metrics(|now| now.purged.is_some(), "a purge").await.expect("is purged");
    let late = cluster.start(voter(4)).await;
    within(leader.add_voter(voter(4), address(voter(4)), LONG)).await.expect("is added");
    let later = commit(&leader, 30).await;
    assert_eq!(image_at(&late, later).await, image_at(&leader, later).await);
    assert!(late.progress().snapshot_end_offset.is_some(), "it came by snapshot");
    assert_eq!(ids(&late), [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn voters_are_removed_the_leader_among_them() {
    let mut cluster = Cluster::of([1, 2, 3]).await;
    let leader = cluster.leader().await;
    commit(&leader, 1).await;
    within(leader.remove_voter(leader.voter(), LONG)).await.expect("is removed");
    let removed = leader.voter();
    cluster.kill(removed, Loss::Unsynced).await;
    let next = cluster.leader().await;
    assert!(!ids(&next).contains(&removed.id));
    let index = commit(&next, 2).await;
    let last = *cluster.running.keys().find(|voter| **voter != next.voter()).expect("two are left");
    assert_eq!(image_at(cluster.quorum(last), index).await.features().get("test"), Some(&2));
    within(next.remove_voter(last, LONG)).await.expect("is removed");
    let refused = within(next.remove_voter(next.voter(), LONG)).await.expect_err("the last one");
    assert_eq!(refused.code, ErrorCode::VoterNotFound);
    commit(&next, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_wiped_directory_is_a_new_voter() {
    let mut cluster = Cluster::of([1, 2, 3]).await;
    let leader = cluster.leader().await;
    commit(&leader, 1).await;
    let old = *cluster.running.keys().find(|voter| **voter != leader.voter()).expect("three");
    cluster.kill(old, Loss::Unsynced).await;
    let new = VoterId { directory: Uuid::from_u128(77), ..old };
    let wiped = cluster.start(new).await;
    let index = commit(&leader, 2).await;
    // What is sent to its predecessor does not reach it: it knows nothing and votes for nobody.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!wiped.has_membership() && wiped.progress().log_end_offset == 0);
    let refused = within(leader.add_voter(new, address(new), LONG)).await.expect_err("the old one votes");
    assert_eq!(refused.code, ErrorCode::DuplicateVoter);
    within(leader.remove_voter(old, LONG)).await.expect("is removed");
    within(leader.add_voter(new, address(new), LONG)).await.expect("is added");
    assert_eq!(image_at(&wiped, index).await.features().get("test"), Some(&2));
    assert!(wiped.is_voter());
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_cannot_be_reached_is_not_added() {
    let cluster = Cluster::of([1, 2, 3]).await;
    let leader = cluster.leader().await;
    commit(&leader, 1).await;
    let timeout = Duration::from_secs(3);
    let refused = within(leader.add_voter(voter(9), address(voter(9)), timeout)).await.expect_err("nobody");
    assert_eq!(refused.code, ErrorCode::RequestTimedOut);
    assert!(refused.message.contains("lagging behind"), "{}", refused.message);
    assert_eq!(ids(&leader), [1, 2, 3]);
    commit(&leader, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_without_a_majority_is_refused_in_time_and_not_made() {
    let mut cluster = Cluster::of([1, 2]).await;
    let leader = cluster.leader().await;
    commit(&leader, 1).await;
    let other = *cluster.running.keys().find(|voter| **voter != leader.voter()).expect("two");
    cluster.kill(other, Loss::Unsynced).await;
    // The lease of the leader ends.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let began = tokio::time::Instant::now();
    let refused = within(leader.remove_voter(other, LONG)).await.expect_err("one of two is no majority");
    assert_eq!(refused.code, ErrorCode::RequestTimedOut, "{}", refused.message);
    assert!(refused.message.contains("were not changed"), "{}", refused.message);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((ids(&leader), leader.is_joint()), (vec![1, 2], false));
    // Nothing was left behind that would be in the way when the other is back.
    cluster.start(other).await;
    cluster.commit(2).await;
    let leader = cluster.leader().await;
    let follower = *cluster.running.keys().find(|voter| **voter != leader.voter()).expect("two");
    within(leader.remove_voter(follower, LONG)).await.expect("is removed");
    assert_eq!(ids(&leader), [leader.voter().id]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_loses_its_majority_is_answered_in_time_and_may_be_made_later() {
    let cluster = Cluster::of([1, 2]).await;
    let leader = cluster.leader().await;
    commit(&leader, 1).await;
    let other = *cluster.running.keys().find(|voter| **voter != leader.voter()).expect("two");
    // The leader still has its lease when it is asked.
    cluster.cut(other);
    let timeout = Duration::from_secs(10);
    let began = tokio::time::Instant::now();
    let refused = within(leader.remove_voter(other, timeout)).await.expect_err("nobody acknowledges it");
    assert_eq!(refused.code, ErrorCode::RequestTimedOut, "{}", refused.message);
    assert!(refused.message.contains("may be later"), "{}", refused.message);
    assert!(began.elapsed() <= timeout + Duration::from_secs(1), "{:?}", began.elapsed());
    let again = within(leader.remove_voter(other, timeout)).await.expect_err("still nobody");
    assert_eq!(again.code, ErrorCode::RequestTimedOut, "{}", again.message);
    // Half done it is completed as soon as there is a majority.
    cluster.heal(other);
    let us = leader.voter();
    let alone = leader.raft.wait(Some(LONG)).voter_ids([us], "the change is completed").await;
    alone.expect("it leads on");
    commit(&leader, 2).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_changes_voters_and_says_where_they_are() {
    let cluster = Cluster::of([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let index = commit(&leader, 1).await;
    let follower = cluster.running.values().find(|quorum| quorum.voter() != leader.voter()).expect("three");
    let refused = within(follower.remove_voter(voter(1), LONG)).await.expect_err("does not lead");
    assert_eq!(refused.code, ErrorCode::NotLeaderOrFollower);
    let moved = VoterAddress { host: "elsewhere".to_owned(), port: 1 };
    within(leader.update_voter(leader.voter(), moved.clone(), LONG)).await.expect("is noted");
    knows_leader(follower, |known| known.address == moved).await;
    let unknown = within(leader.update_voter(voter(9), moved, LONG)).await.expect_err("unknown");
    assert_eq!(unknown.code, ErrorCode::VoterNotFound);
    // A majority has answered by now; heartbeats go to all.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let progress = leader.voter_progress();
    assert!(progress.iter().all(|voter| voter.answered_ago.is_some()), "{progress:?}");
    assert!(progress.iter().filter(|voter| voter.log_end_offset > index).count() >= 2, "{progress:?}");
}
