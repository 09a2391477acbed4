use super::*;

fn directory(id: i32) -> Uuid {
    Uuid::from_u128(100 + id.unsigned_abs() as u128)
}

fn own(node_id: i32) -> Own {
    Own { node_id, is_controller: true, directory_id: directory(node_id), cluster_id: None, wished: None }
}

/// A controller that was told of 1, 2 and 3 and belongs to nothing.
fn fresh(node_id: i32) -> Option<Seen> {
    Some(Seen {
        node_id,
        directory_id: directory(node_id),
        cluster_id: None,
        has_membership: false,
        named: BTreeSet::from([1, 2, 3]),
    })
}

fn with(seen: Option<Seen>, change: impl FnOnce(&mut Seen)) -> Option<Seen> {
    seen.map(|mut seen| {
        change(&mut seen);
        seen
    })
}

fn of_cluster(node_id: i32, cluster: &str) -> Option<Seen> {
    with(fresh(node_id), |seen| seen.cluster_id = Some(cluster.to_owned()))
}

fn member(node_id: i32, cluster: &str) -> Option<Seen> {
    with(of_cluster(node_id, cluster), |seen| seen.has_membership = true)
}

fn join(cluster: &str) -> Step {
    Step::Join { cluster_id: cluster.to_owned() }
}

#[test]
fn the_lowest_id_founds_when_all_have_answered_and_none_remembers() {
    let all = [fresh(3), fresh(1), fresh(2)];
    assert_eq!(decide(&own(1), &all), Ok(Step::Found { cluster_id: None }));
    assert_eq!(decide(&own(2), &all), Ok(Step::Wait(Reason::Founder { founder: 1 })));
    let wishing = Own { wished: Some("w".to_owned()), ..own(1) };
    assert_eq!(decide(&wishing, &all), Ok(Step::Found { cluster_id: Some("w".to_owned()) }));
}

#[test]
fn nobody_founds_while_one_is_silent_or_still_looks() {
    let silent = [fresh(1), None, fresh(3)];
    assert_eq!(decide(&own(1), &silent), Ok(Step::Wait(Reason::Silent { missing: 1, named: 3 })));
    let looking = [fresh(1), with(fresh(2), |seen| seen.named.clear()), fresh(3)];
    assert_eq!(decide(&own(1), &looking), Ok(Step::Wait(Reason::Looking { node_id: 2 })));
    // We are the one that has only now seen all.
    let we_looked = [with(fresh(1), |seen| seen.named.clear()), fresh(2), fresh(3)];
    assert_eq!(decide(&own(1), &we_looked), Ok(Step::Found { cluster_id: None }));
}

#[test]
fn a_cluster_that_exists_is_joined_whoever_is_silent() {
    for (own, said) in [
        (own(1), vec![fresh(1), None, member(3, "c")]),
        (own(2), vec![None, fresh(2), member(3, "c")]),
        (Own { cluster_id: Some("c".to_owned()), ..own(1) }, vec![of_cluster(1, "c"), member(2, "c"), None]),
        (Own { is_controller: false, ..own(9) }, vec![None, None, member(3, "c")]),
    ] {
        assert_eq!(decide(&own, &said), Ok(join("c")), "{own:?}");
    }
}

#[test]
fn a_broker_waits_until_a_controller_has_a_quorum() {
    let broker = Own { is_controller: false, ..own(9) };
    // One that has only been told its cluster may be told another when the founding begins anew.
    for said in [vec![None], vec![fresh(1), of_cluster(2, "c"), fresh(3)]] {
        assert_eq!(decide(&broker, &said), Ok(Step::Wait(Reason::NotFounded)));
    }
}

#[test]
fn an_id_from_an_earlier_attempt_stays() {
    let all = [fresh(1), of_cluster(2, "early"), fresh(3)];
    let early = Step::Found { cluster_id: Some("early".to_owned()) };
    assert_eq!(decide(&own(1), &all), Ok(early.clone()));
    // It has left the founding and tells no more whom it was told of.
    let waiting = [fresh(1), with(of_cluster(2, "early"), |seen| seen.named.clear()), fresh(3)];
    assert_eq!(decide(&own(1), &waiting), Ok(early.clone()));
    let ours = Own { cluster_id: Some("early".to_owned()), ..own(1) };
    assert_eq!(decide(&ours, &[of_cluster(1, "early"), fresh(2), fresh(3)]), Ok(early));
}

#[test]
fn what_does_not_fit_is_refused() {
    let ours = Own { cluster_id: Some("a".to_owned()), ..own(1) };
    let other = decide(&ours, &[of_cluster(1, "a"), member(2, "b"), None]).expect_err("two clusters");
    assert!(other.to_string().contains("cluster a") && other.to_string().contains("cluster b"), "{other}");
    let two = decide(&own(1), &[fresh(1), of_cluster(2, "a"), of_cluster(3, "b")]);
    assert!(matches!(two, Err(Refusal::TwoClusters { first: 2, second: 3, .. })), "{two:?}");
    let wish = Own { wished: Some("w".to_owned()), ..own(1) };
    let wish = decide(&wish, &[fresh(1), member(2, "b"), None]);
    assert!(matches!(wish, Err(Refusal::OtherWish { node_id: 2, .. })), "{wish:?}");
    let twin = with(fresh(2), |seen| seen.directory_id = directory(77));
    assert_eq!(decide(&own(1), &[fresh(1), fresh(2), twin]), Err(Refusal::SameId { node_id: 2 }));
    let told_otherwise = with(fresh(2), |seen| seen.named = BTreeSet::from([2, 3]));
    let told_otherwise = decide(&own(1), &[fresh(1), told_otherwise, fresh(3)]);
    assert!(
        matches!(told_otherwise, Err(Refusal::OtherControllers { node_id: 2, .. })),
        "{told_otherwise:?}"
    );
}

#[test]
fn one_that_is_not_named_founds_nothing() {
    assert_eq!(decide(&own(1), &[fresh(2), fresh(3)]).expect_err("of other controllers"), {
        Refusal::OtherControllers { node_id: 2, theirs: vec![1, 2, 3], ours: vec![2, 3] }
    });
    let two = |id| with(fresh(id), |seen| seen.named = BTreeSet::from([2, 3]));
    assert_eq!(decide(&own(1), &[two(2), two(3)]), Ok(Step::Wait(Reason::NotNamed)));
}

#[test]
fn a_founder_is_followed_when_it_means_us_and_ours() {
    let voters = [(1, directory(1)), (2, directory(2))];
    let named = BTreeSet::from([1, 2]);
    let check = |own: &Own, named: &BTreeSet<i32>, founder| accept(own, named, "c", founder, &voters);
    assert_eq!(check(&own(2), &named, 1), Ok(()));
    assert_eq!(check(&own(2), &BTreeSet::new(), 1), Ok(()), "who has not found all may be told");
    assert_eq!(check(&Own { cluster_id: Some("c".to_owned()), ..own(2) }, &named, 1), Ok(()));
    let other = check(&Own { cluster_id: Some("b".to_owned()), ..own(2) }, &named, 1);
    assert!(matches!(other, Err(Refusal::OtherCluster { .. })), "{other:?}");
    let wish = check(&Own { wished: Some("b".to_owned()), ..own(2) }, &named, 1);
    assert!(matches!(wish, Err(Refusal::OtherWish { .. })), "{wish:?}");
    let wiped = check(&Own { directory_id: directory(50), ..own(2) }, &named, 1);
    assert!(matches!(wiped, Err(Refusal::OtherDirectory { node_id: 2, .. })), "{wiped:?}");
    let second = check(&own(2), &named, 2);
    assert!(matches!(second, Err(Refusal::NotTheFounder { founder: 2, .. })), "{second:?}");
    let others = check(&own(2), &BTreeSet::from([1, 2, 3]), 1);
    assert!(matches!(others, Err(Refusal::OtherControllers { node_id: 1, .. })), "{others:?}");
    let stranger = check(&own(7), &BTreeSet::new(), 1);
    assert!(matches!(stranger, Err(Refusal::OtherControllers { .. })), "{stranger:?}");
}
