use super::*;
use crate::metadata::brokers::tests::image_with_brokers;
use crate::metadata::record::{BrokerRegistrationChange, Record};

/// Brokers with their rack ("" for none) and whether they are fenced.
fn cluster(brokers: &[(i32, &str, bool)]) -> Image {
    let ids: Vec<i32> = brokers.iter().map(|(id, ..)| *id).collect();
    let mut image = image_with_brokers(&ids);
    for (id, rack, fenced) in brokers {
        let mut broker = image.broker(*id).unwrap().as_ref().clone();
        broker.rack = (!rack.is_empty()).then(|| (*rack).to_owned());
        image.apply(&Record::RegisterBroker(broker.to_record())).unwrap();
        let change = BrokerRegistrationChange {
            broker_id: *id,
            broker_epoch: broker.broker_epoch,
            fenced: Some(*fenced),
            in_controlled_shutdown: None,
            log_dirs: None,
        };
        image.apply(&Record::BrokerRegistrationChange(change)).unwrap();
    }
    image
}

fn placed(image: &Image, partitions: i32, factor: i16) -> Vec<Vec<i32>> {
    place(image, Uuid::from_u128(77), 0, partitions, factor).unwrap()
}

#[test]
fn replicas_of_a_partition_are_distinct_brokers_in_distinct_racks() {
    let image =
        cluster(&[(1, "a", false), (2, "a", false), (3, "b", false), (4, "b", false), (5, "c", false)]);
    let rack = |id: &i32| image.broker(*id).unwrap().rack.clone();
    for replicas in placed(&image, 30, 3) {
        let racks: std::collections::BTreeSet<_> = replicas.iter().map(rack).collect();
        assert_eq!(racks.len(), 3, "{replicas:?}");
    }
    for replicas in placed(&image, 30, 5) {
        let distinct: std::collections::BTreeSet<_> = replicas.iter().collect();
        assert_eq!(distinct.len(), 5, "{replicas:?}");
    }
}

#[test]
fn leaders_spread_evenly() {
    let image = cluster(&[(1, "", false), (2, "", false), (3, "", false)]);
    let mut leaders = BTreeMap::<i32, usize>::new();
    for replicas in placed(&image, 30, 2) {
        *leaders.entry(replicas[0]).or_default() += 1;
    }
    assert_eq!(leaders, [(1, 10), (2, 10), (3, 10)].into());
}

#[test]
fn fenced_brokers_are_used_last_and_never_lead() {
    let image = cluster(&[(1, "a", true), (2, "a", false), (3, "b", false)]);
    for replicas in placed(&image, 12, 2) {
        assert!(!replicas.contains(&1), "{replicas:?}");
    }
    for replicas in placed(&image, 12, 3) {
        assert_eq!(replicas[2], 1, "{replicas:?}");
    }
}

/// Kafka's placer takes a fenced broker of another rack before a second active one of the same rack.
#[test]
fn another_rack_is_worth_more_than_an_active_broker() {
    let image = cluster(&[(1, "a", false), (2, "a", false), (3, "b", true)]);
    for replicas in placed(&image, 12, 2) {
        assert!(replicas[0] != 3 && replicas[1] == 3, "{replicas:?}");
    }
}

#[test]
fn racks_lead_in_turn_whatever_their_size() {
    let image =
        cluster(&[(1, "a", false), (2, "b", false), (3, "b", false), (4, "b", false), (5, "c", true)]);
    let leaders: Vec<i32> = placed(&image, 240, 2).iter().map(|replicas| replicas[0]).collect();
    let led = |id: i32| leaders.iter().filter(|leader| **leader == id).count();
    assert_eq!(led(5), 0, "it is fenced");
    // Rack c leads nothing, and its turns go to its neighbours.
    assert!((60..=180).contains(&led(1)), "{}", led(1));
    assert!((2..=4).all(|id| led(id) >= 15), "{:?}", [led(2), led(3), led(4)]);
}

/// Otherwise one broker would have to take over everything that another led.
#[test]
fn followers_of_one_leader_are_spread() {
    let image = cluster(&[(1, "", false), (2, "", false), (3, "", false), (4, "", false)]);
    let mut seconds = BTreeMap::<i32, usize>::new();
    for replicas in placed(&image, 400, 3).iter().filter(|replicas| replicas[0] == 1) {
        *seconds.entry(replicas[1]).or_default() += 1;
    }
    assert_eq!(seconds.values().sum::<usize>(), 100, "each leads its share");
    assert!((2..=4).all(|id| seconds[&id] >= 15), "{seconds:?}");
}

#[test]
fn partitions_added_later_go_on_where_the_topic_stopped() {
    let image = cluster(&[(1, "a", false), (2, "b", false), (3, "c", false)]);
    let all = placed(&image, 9, 3);
    let later = place(&image, Uuid::from_u128(77), 4, 5, 3).unwrap();
    assert_eq!(later, all[4..]);
}

#[test]
fn too_few_brokers_are_named() {
    let check = |image: &Image, factor: i16, expected: &str| {
        let error = place(image, Uuid::from_u128(1), 0, 1, factor).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidReplicationFactor);
        assert!(error.message.contains(expected), "{}", error.message);
    };
    let one = cluster(&[(1, "", false)]);
    check(&one, 2, "only 1 broker(s) are registered");
    check(&one, 0, "must be positive");
    check(&cluster(&[(1, "", true)]), 1, "All brokers are currently fenced");
}
