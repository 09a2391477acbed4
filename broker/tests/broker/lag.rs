//! Lag over a whole broker: commits at a real coordinator, read from `/metrics` and from the console's API.

use milena_broker::broker::now_ms;
use milena_protocol::Uuid;
use milena_protocol::messages::*;

use crate::console::{get, with_topics};
use crate::groups::{await_coordinator, commits};
use crate::harness::{self, Running, ask, eventually};

const GROUP: &str = "<b>g</b>";

/// Produces records that say they are a minute old.
fn produce(running: &Running, topic: &str, count: usize) {
    harness::produce(&mut running.connect(), topic, now_ms() - 60_000, count);
}

fn commit(running: &Running, topic: &str, offset: i64) {
    await_coordinator(GROUP, || running.connect());
    let committed = [(topic, Uuid::ZERO, 0, offset, None)];
    let response = commits::commit(&mut running.connect(), 9, &commits::nobody(GROUP), &committed);
    assert_eq!(commits::codes(&response), [0]);
}

fn delete_records(running: &Running, topic: &str, before: i64) {
    let partition = delete_records_request::DeleteRecordsPartition { partition_index: 0, offset: before };
    let topic =
        delete_records_request::DeleteRecordsTopic { name: topic.into(), partitions: vec![partition] };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000 };
    let response = ask(&mut running.connect(), 2, &request);
    assert_eq!(response.topics[0].partitions[0].error_code, 0, "{response:?}");
}

/// The value of a lag of the group, if it is told.
fn lag(running: &Running, unit: &str, topic: &str, partition: i32) -> Option<f64> {
    let series =
        format!("milena_group_lag_{unit}{{group=\"{GROUP}\",topic=\"{topic}\",partition=\"{partition}\"}} ");
    running.metrics().lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
}

#[test]
fn lag_in_metrics_follows_commits_produces_and_deleted_records() {
    let running = with_topics(&["orders"]);
    produce(&running, "orders", 5);
    assert_eq!(lag(&running, "records", "orders", 0), None, "nobody has committed");
    commit(&running, "orders", 2);
    eventually("a lag of 3", || lag(&running, "records", "orders", 0) == Some(3.0));
    let seconds = lag(&running, "seconds", "orders", 0).expect("the record was looked at");
    assert!((59.0..90.0).contains(&seconds), "{seconds}");
    assert_eq!(lag(&running, "records", "orders", 1), None, "nothing is committed there");

    produce(&running, "orders", 4);
    eventually("a lag of 7", || lag(&running, "records", "orders", 0) == Some(7.0));
    delete_records(&running, "orders", 8);
    eventually("a lag from the log start", || lag(&running, "records", "orders", 0) == Some(1.0));
    commit(&running, "orders", 9);
    eventually("no lag", || lag(&running, "records", "orders", 0) == Some(0.0));
    assert_eq!(lag(&running, "seconds", "orders", 0), Some(0.0));
}

#[test]
fn console_tells_the_groups_and_their_lag() {
    let running = with_topics(&["orders"]);
    produce(&running, "orders", 5);
    commit(&running, "orders", 1);
    eventually("a lag of 4", || lag(&running, "records", "orders", 0) == Some(4.0));
    let (_, groups) = get(&running, "/api/v1/groups?search=%3CB");
    let group = &groups["items"][0];
    assert_eq!(
        (&groups["total"], &group["group"], &group["state"]),
        (&1.into(), &GROUP.into(), &"Empty".into())
    );
    assert_eq!((&group["members"], &group["lag_records"]), (&0.into(), &4.into()));
    let (_, group) = get(&running, "/api/v1/group?name=%3Cb%3Eg%3C%2Fb%3E");
    let partition = &group["partitions"]["items"][0];
    assert_eq!((&partition["committed"], &partition["end_offset"]), (&1.into(), &5.into()));
    assert!(partition["lag_ms"].as_i64() > Some(59_000) && partition["member"].is_null(), "{partition}");
    assert!(group["history"]["points"].as_array().is_some_and(|points| !points.is_empty()), "{group}");
    let (_, topic) = get(&running, "/api/v1/topic?name=orders");
    assert_eq!(
        (&topic["readers"][0]["group"], &topic["readers"][0]["lag_records"]),
        (&GROUP.into(), &4.into())
    );
    let (_, cluster) = get(&running, "/api/v1/cluster");
    assert_eq!(cluster["most_behind"][0]["group"], GROUP);
    assert_eq!(get(&running, "/api/v1/group?name=nobody").0, 404);
}
