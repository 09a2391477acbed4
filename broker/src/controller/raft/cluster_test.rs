//! What a quorum of several members does when some die, are cut off or come back.

use std::time::Duration;

use milena_log::memory_files::Loss;
use tokio::time::Instant;

use super::test_cluster::{Cluster, commit, image_at, knows_leader, records, voter, within};
use crate::controller::raft::quorum::ProposeError;

#[tokio::test(start_paused = true)]
async fn three_members_elect_and_hold_the_same_image() {
    let cluster = Cluster::of([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let index = commit(&leader, 5).await;
    let image = image_at(&leader, index).await;
    assert_eq!(image.features().get("test"), Some(&5));
    for quorum in cluster.running.values() {
        assert_eq!(image_at(quorum, index).await, image);
        let known = knows_leader(quorum, |_| true).await;
        assert_eq!((known.voter, known.term), (leader.voter(), leader.progress().term));
        assert_eq!(quorum.voters().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_is_replaced_soon_and_nothing_committed_is_lost() {
    for ids in [1..=3, 1..=5] {
        let mut cluster = Cluster::of(ids).await;
        let first = cluster.leader().await;
        let index = commit(&first, 1).await;
        let died = Instant::now();
        cluster.kill(first.voter(), Loss::Unsynced).await;
        let second = cluster.leader().await;
        let later = commit(&second, 2).await;
        assert!(died.elapsed() < Duration::from_millis(1_500), "{:?}", died.elapsed());
        assert!(later > index && second.voter() != first.voter());
        // The dead one comes back from what its disk kept, and follows.
        let back = cluster.start(first.voter()).await;
        assert_eq!(image_at(&back, later).await, image_at(&second, later).await);
    }
}

#[tokio::test(start_paused = true)]
async fn all_restart_from_what_was_synced() {
    let mut cluster = Cluster::of([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let mut index = 0;
    for level in 1..20 {
        index = commit(&leader, level).await;
    }
    let image = image_at(&leader, index).await;
    for id in 1..=3 {
        cluster.kill(voter(id), Loss::Unsynced).await;
    }
    for id in 1..=3 {
        cluster.start(voter(id)).await;
    }
    let leader = cluster.leader().await;
    let features = image_at(&leader, index).await.features().clone();
    assert_eq!(&features, image.features());
    assert!(commit(&leader, 20).await > index);
}

#[tokio::test(start_paused = true)]
async fn leadership_is_handed_over_without_an_election_timeout() {
    let cluster = Cluster::of([1, 2, 3]).await;
    let first = cluster.leader().await;
    commit(&first, 1).await;
    let begun = Instant::now();
    within(first.transfer()).await;
    let others: Vec<_> = cluster.running.keys().copied().filter(|v| *v != first.voter()).collect();
    let second = cluster.leader_among(&others).await;
    commit(&second, 2).await;
    // The shortest timeout of an election.
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_cut_off_does_not_raise_the_term() {
    let cluster = Cluster::of([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let index = commit(&leader, 1).await;
    let alone = cluster.running.values().find(|quorum| quorum.voter() != leader.voter()).expect("three");
    image_at(alone, index).await;
    let term = leader.progress().term;
    cluster.cut(alone.voter());
    // Many elections long it asks in vain whether it would be elected.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(alone.progress().term, term, "it asked only, and was never a candidate");
    let later = commit(&leader, 2).await;
    cluster.heal(alone.voter());
    image_at(alone, later).await;
    assert_eq!((leader.progress().term, leader.leadership().is_some()), (term, true), "nobody was disturbed");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_commits_nothing_and_follows_when_it_is_back() {
    let cluster = Cluster::of([1, 2, 3]).await;
    let old = cluster.leader().await;
    commit(&old, 1).await;
    let leadership = old.leadership().expect("leads");
    cluster.cut(old.voter());
    let others: Vec<_> = cluster.running.keys().copied().filter(|v| *v != old.voter()).collect();
    let new = cluster.leader_among(&others).await;
    let index = commit(&new, 2).await;
    let refused = within(old.propose(leadership, records(9), 0)).await;
    assert!(matches!(refused, Err(ProposeError::NotLeader | ProposeError::Unknown)), "{refused:?}");
    cluster.heal(old.voter());
    assert_eq!(image_at(&old, index).await, image_at(&new, index).await);
    knows_leader(&old, |leader| leader.voter == new.voter()).await;
    assert!(old.leadership().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_quorum_that_lost_its_majority_elects_nobody_until_one_is_back() {
    let mut cluster = Cluster::of([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let index = commit(&leader, 1).await;
    let others: Vec<_> = cluster.running.keys().copied().filter(|v| *v != leader.voter()).collect();
    for other in &others {
        image_at(cluster.quorum(*other), index).await;
        cluster.kill(*other, Loss::Unsynced).await;
    }
    let leadership = leader.leadership().expect("its lease has not run out");
    // It is not answered, or refused: what nobody agrees to is not said to be done.
    let asked = leader.propose(leadership, records(2), 0);
    let answered = tokio::time::timeout(Duration::from_secs(5), asked).await;
    assert!(!matches!(answered, Ok(Ok(_))), "{answered:?}");
    cluster.start(others[0]).await;
    assert!(within(cluster.commit(3)).await > index);
}
