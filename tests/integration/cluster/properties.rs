//! Properties that only a cluster can show: each of these tests fails when the property has no effect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_client::connection::{Connection, Options};
use milena_client::net::{Dialer, Tcp};
use milena_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use milena_tests::cluster::{Cluster, Setup};
use milena_tests::wait;

use crate::nodes::{PATIENCE, ask, produce, status, until_whole};
use crate::quorum;

/// The newest version that names topics.
const FETCH_BY_NAME: i16 = 12;

/// `controller.quorum.auto.join.enable`
#[test]
fn a_controller_that_lost_its_directory_votes_again_by_itself() {
    let mut cluster = Setup::new(3).by_servers().property("controller.quorum.auto.join.enable", true).start();
    let bootstrap = cluster.bootstrap();
    let before = quorum::directories(cluster.node(1)).expect("the leader answers");
    assert_eq!(before.keys().collect::<Vec<_>>(), [&1, &2, &3]);
    cluster.kill(3);
    cluster.wipe(3);
    cluster.start_again(3);
    let mut last = None;
    let joined = wait::poll(PATIENCE, || {
        last = quorum::directories(cluster.node(1));
        last.as_ref().filter(|now| now.len() == 3 && now[&3] != before[&3]).cloned()
    });
    let now = joined.unwrap_or_else(|| panic!("{before:?} became {last:?}"));
    assert_eq!((&now[&1], &now[&2]), (&before[&1], &before[&2]), "nobody else had to change");
    until_whole(&bootstrap, 3);
    // Its vote counts: without it there would be no majority any more.
    cluster.kill(2);
    ask(&bootstrap, "topic create with-its-vote --replication-factor 1").ok();
}

/// `milena.fence.on.disconnect`
#[test]
fn a_broker_that_dies_is_left_to_its_session_when_that_is_wanted() {
    let session = Duration::from_secs(6);
    let mut cluster = Setup::new(3)
        .property("milena.fence.on.disconnect", false)
        .property("broker.session.timeout.ms", session.as_millis())
        .property("broker.heartbeat.interval.ms", 500)
        .start();
    let bootstrap = cluster.bootstrap();
    until_whole(&bootstrap, 3);
    let began = Instant::now();
    cluster.kill(3);
    let fenced =
        wait::poll(PATIENCE, || (status(&bootstrap)?["brokers"][2]["state"] == "fenced").then_some(()));
    assert!(fenced.is_some(), "{:#?}", status(&bootstrap));
    // It was heard of last a heartbeat before, on a busy machine several.
    assert!(began.elapsed() > session / 2, "fenced after {:?}", began.elapsed());
}

/// `replica.selector.class`
#[test]
fn consumers_are_sent_to_the_replica_in_their_rack() {
    let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
    let cluster = Setup::new(3).property("replica.selector.class", selector).start();
    let bootstrap = cluster.bootstrap();
    ask(&bootstrap, "topic create t --partitions 1").ok();
    produce(&bootstrap, "t", 1);
    until_whole(&bootstrap, 3);
    let described = ask(&bootstrap, "topic describe t --output json").json();
    let leader = described[0]["partitions"][0]["leader"].as_i64().expect("somebody leads");
    let leader = i32::try_from(leader).expect("a node");
    for id in cluster.ids() {
        let expected = if id == leader { -1 } else { id };
        let mut last = None;
        let sent = wait::poll(PATIENCE, || {
            last = preferred_replica(&cluster.node(leader).bootstrap(), &format!("rack-{id}"));
            (last == Some(expected)).then_some(())
        });
        assert!(sent.is_some(), "leader {leader} sends rack-{id} to {last:?}");
    }
    assert_eq!(preferred_replica(&cluster.node(leader).bootstrap(), "elsewhere"), Some(-1));
}

/// `replica.high.watermark.checkpoint.interval.ms`
#[test]
fn high_watermarks_are_written_as_often_as_the_file_says() {
    let never = 3_600_000;
    let mut cluster = Setup::new(3).property("replica.high.watermark.checkpoint.interval.ms", never).start();
    let bootstrap = cluster.bootstrap();
    let written = |cluster: &Cluster, id: i32| {
        let text =
            std::fs::read_to_string(cluster.node(id).data().join("replication-offset-checkpoint")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("t 0 ")?.parse().ok())
    };
    ask(&bootstrap, "topic create t --assignment 1:2:3").ok();
    // The one that writes often shows how much time has passed for the others: a node looks once in a second.
    cluster.kill(3);
    cluster.node_mut(3).set_property("replica.high.watermark.checkpoint.interval.ms", "10");
    cluster.start_again(3);
    let rounds = 7;
    for round in 1..=rounds {
        produce(&bootstrap, "t", 1);
        let seen = wait::poll(PATIENCE, || written(&cluster, 3).filter(|offset| *offset >= round));
        assert!(seen.is_some(), "{round}: {:?}", written(&cluster, 3));
    }
    assert_eq!((written(&cluster, 1), written(&cluster, 2)), (None::<usize>, None));
}

/// A leader that starts again below the minimum of in-sync replicas cannot learn how far its log is committed.
#[test]
fn what_was_committed_can_be_read_after_a_restart_below_the_minimum_of_replicas() {
    let mut cluster = Cluster::start(3);
    let bootstrap = cluster.bootstrap();
    ask(&bootstrap, "topic create t --assignment 3:2 --config min.insync.replicas=2").ok();
    produce(&bootstrap, "t", 100);
    until_whole(&bootstrap, 3);
    cluster.stop(2);
    cluster.stop(3);
    cluster.start_again(3);
    let mut last = None;
    let read = wait::poll(PATIENCE, || {
        let said = ask(&bootstrap, "consume t");
        let is_all = said.out.lines().count() == 100;
        last = Some(said);
        is_all.then_some(())
    });
    assert!(read.is_some(), "{last:?}");
}

/// Where the leader at `address` sends a consumer in `rack`.
fn preferred_replica(address: &str, rack: &str) -> Option<i32> {
    let partition = FetchPartition { partition_max_bytes: 1000, ..FetchPartition::default() };
    let topic = FetchTopic { topic: "t".into(), partitions: vec![partition], ..FetchTopic::default() };
    let request = FetchRequest {
        topics: vec![topic],
        rack_id: rack.into(),
        session_epoch: -1,
        max_bytes: 1000,
        ..FetchRequest::default()
    };
    let options = Options {
        client_id: "test".to_owned(),
        connect_timeout: PATIENCE,
        request_timeout: PATIENCE,
        response_bytes_max: 1 << 20,
    };
    let dialer: Dialer = Arc::new(Tcp);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let connection = Connection::open(&dialer, address, options).await.ok()?;
        let answered = connection.call_within(&request, FETCH_BY_NAME, PATIENCE).await.ok()?;
        let response = answered.decode::<FetchRequest<'_>>().ok()?;
        let partition = response.responses.first()?.partitions.first()?;
        (partition.error_code == 0).then_some(partition.preferred_read_replica)
    })
}
