//! Throttles on both sides of one follower, with rates as they are set while the broker runs.

use milena_state::metadata::configs::{Asked, Change, IncrementalAlterConfigs};

use super::*;

const LEADERS_RATE: &str = "leader.replication.throttled.rate";
const BROKER_RESOURCE: i8 = 4;

/// A fetch of a follower has three of these.
const VALUE_BYTES: usize = 300_000;
const RECORDS: i64 = 12;

/// Less than a thousandth of one record: after one fetch nothing comes for as long as a test takes.
const CRAWL: i64 = 100;

/// What a follower that nobody holds has copied by then, long before another sample of the window begins.
const SOON: Duration = Duration::from_secs(8);

impl Leading {
    /// With records that the follower lacks, so that it is not in sync.
    fn ahead(topic_configs: &[(&str, &str)]) -> Self {
        let leading = Self::start(topic_configs);
        for _ in 0..RECORDS {
            leading.append(&"v".repeat(VALUE_BYTES));
        }
        eventually("the ISR shrinks", || leading.isr() == [LEADER]);
        leading
    }

    /// Sets a property of the broker, or unsets it.
    fn set(&self, name: &str, value: Option<i64>) {
        let change = Change {
            name: name.to_owned(),
            operation: i8::from(value.is_none()),
            value: value.map(|value| value.to_string()),
        };
        let asked = Asked { resource_type: BROKER_RESOURCE, name: LEADER.to_string(), changes: vec![change] };
        let command =
            IncrementalAlterConfigs { resources: vec![asked], validate_only: false, receiver: LEADER };
        let (reply, _) = self.submit(Command::IncrementalAlterConfigs(command));
        assert!(
            matches!(&reply, Reply::IncrementalAlterConfigs(outcomes) if outcomes[0].is_ok()),
            "{reply:?}"
        );
    }
}

/// As the publisher does with what is set while the broker runs.
fn followers_rate(follower: &Follower, bytes_per_second: i64) {
    let own = settings(&[]).replication;
    let set =
        milena_state::config::replication::Settings { follower_throttled_rate: bytes_per_second, ..own };
    follower.replication.throttles().set_rates(&set);
}

fn copies_the_rest_soon(follower: &Follower) {
    let began = Instant::now();
    eventually("the rest is copied", || follower.end() == RECORDS);
    assert!(began.elapsed() < SOON, "held until the window forgot it: {:?}", began.elapsed());
}

#[test]
fn a_leader_withholds_what_its_rate_does_not_allow_until_the_rate_is_taken_away() {
    let leading = Leading::ahead(&[("leader.replication.throttled.replicas", "0:1")]);
    leading.set(LEADERS_RATE, Some(CRAWL));
    let follower = Follower::of(&leading, &[]);
    follower.follow(&leading.assigned());
    eventually("the first fetch is answered", || follower.end() > 0);
    // Long polls end and are asked again meanwhile: they hear of nothing.
    let held = Instant::now();
    eventually("several fetches went by", || {
        assert!(follower.end() < RECORDS, "nothing held it");
        held.elapsed() > Duration::from_millis(600)
    });
    leading.set(LEADERS_RATE, None);
    copies_the_rest_soon(&follower);
    assert_same(&leading, &follower);
}

#[test]
fn a_follower_does_not_ask_for_what_its_rate_does_not_allow_until_the_rate_is_taken_away() {
    let leading = Leading::ahead(&[("follower.replication.throttled.replicas", "0:2")]);
    let follower = Follower::of(&leading, &[]);
    followers_rate(&follower, CRAWL);
    follower.follow(&leading.assigned());
    eventually("the first fetch is answered", || follower.end() > 0);
    let held = Instant::now();
    eventually("several fetches could have gone by", || {
        assert!(follower.end() < RECORDS, "nothing held it");
        held.elapsed() > Duration::from_millis(600)
    });
    followers_rate(&follower, i64::MAX);
    copies_the_rest_soon(&follower);
    assert_same(&leading, &follower);
}

#[test]
fn replicas_that_are_not_named_are_not_held() {
    // Of the leaders' side the leader is named, of the other the follower: neither is.
    let names = [
        ("leader.replication.throttled.replicas", "0:2,1:1"),
        ("follower.replication.throttled.replicas", "0:1,1:2"),
    ];
    let leading = Leading::ahead(&names);
    leading.set(LEADERS_RATE, Some(CRAWL));
    let follower = Follower::of(&leading, &[]);
    followers_rate(&follower, CRAWL);
    follower.follow(&leading.assigned());
    copies_the_rest_soon(&follower);
}

#[test]
fn a_follower_in_sync_is_never_held() {
    let names =
        [("leader.replication.throttled.replicas", "*"), ("follower.replication.throttled.replicas", "*")];
    let leading = Leading::start(&names);
    let follower = Follower::of(&leading, &[]);
    follower.follow(&leading.assigned());
    leading.acknowledge(&leading.append("a"));
    eventually("the ISR is whole", || leading.isr() == [LEADER, FOLLOWER]);
    leading.set(LEADERS_RATE, Some(CRAWL));
    followers_rate(&follower, CRAWL);
    let began = Instant::now();
    for _ in 0..RECORDS {
        leading.acknowledge(&leading.append(&"v".repeat(VALUE_BYTES)));
    }
    assert!(began.elapsed() < SOON, "acknowledged after {:?}", began.elapsed());
    assert_eq!(leading.isr(), [LEADER, FOLLOWER]);
}
