//! `consume --group`, and the library beneath it, against a broker: members share, take over, go on and stay.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use milena_client::config::{ConsumerConfig, GroupConfig, OffsetReset};
use milena_client::group::{Assignor, Event, GroupConsumer};
use milena_client::{ClientConfig, Cluster};
use milena_tests::{process, syscalls, wait};

use crate::shell::Shell;

const PATIENCE: Duration = Duration::from_secs(60);

/// Groups begin at once, and sessions end as soon as Kafka allows.
fn shell() -> Shell {
    let config = process::Config::new()
        .property("group.initial.rebalance.delay.ms", 0)
        .property("group.min.session.timeout.ms", 1000);
    Shell { broker: config.start().expect("it starts") }
}

const QUICK: &str = "-X session.timeout.ms=3000 -X heartbeat.interval.ms=200";

/// A member that follows; what it prints is kept.
struct Follower {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Follower {
    fn start(shell: &Shell, options: &str) -> Self {
        let line = format!("consume t --group g --from beginning --follow {QUICK} {options}");
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut child = shell.command(&words).stdout(Stdio::piped()).spawn().expect("milena runs");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                kept.lock().expect("nobody panics with it").push(line);
            }
        });
        Self { child, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panics with it").clone()
    }

    fn has(&self, line: &str) -> bool {
        self.lines().iter().any(|other| other == line)
    }

    /// Ctrl-C.
    fn interrupt(self) -> Option<i32> {
        self.end(libc::SIGINT)
    }

    fn end(mut self, signal: i32) -> Option<i32> {
        syscalls::signal(self.child.id(), signal).expect("it runs");
        let ended = wait::poll(PATIENCE, || self.child.try_wait().expect("it can be asked"));
        ended.expect("it ends").code()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A record for each partition.
fn produce(shell: &Shell, partitions: i32, round: usize) -> Vec<String> {
    let values = (0..partitions).map(|partition| format!("{round}-{partition}"));
    let values: Vec<String> = values.collect();
    for (partition, value) in values.iter().enumerate() {
        shell.feed(&format!("produce t --partition {partition}"), value.as_bytes()).ok();
    }
    values
}

/// Produces until both have been given something of the same round, and says how many rounds there were.
fn until_shared(shell: &Shell, partitions: i32, one: &Follower, other: &Follower) -> usize {
    let mut round = 0;
    let shared = wait::poll(PATIENCE, || {
        let values = produce(shell, partitions, round);
        round += 1;
        let all_read = || values.iter().all(|value| one.has(value) || other.has(value));
        wait::eventually("a round is read", PATIENCE, all_read);
        let has_some = |member: &Follower| values.iter().any(|value| member.has(value));
        (has_some(one) && has_some(other)).then_some(())
    });
    shared.expect("both get partitions");
    round
}

#[test]
fn a_group_goes_on_where_it_ended() {
    let shell = shell();
    shell.run("topic create t --partitions 1").ok();
    shell.feed("produce t", b"a\nb\nc\n").ok();
    assert_eq!(shell.run("consume t --group g -n 1").ok(), "a\n");
    assert_eq!(shell.run("consume t --group g").ok(), "b\nc\n");
    assert_eq!(shell.run("consume t --group g").ok(), "");
    shell.feed("produce t", b"d\n").ok();
    // What was committed beats --from.
    assert_eq!(shell.run("consume t --group g --from beginning").ok(), "d\n");
    assert_eq!(shell.run("consume t --group other --from -2").ok(), "c\nd\n");
    assert_eq!(shell.run("consume t --group other").ok(), "");
    assert_eq!(shell.run("consume t --group third -X auto.offset.reset=latest").ok(), "");
    shell.feed("produce t", b"e\n").ok();
    assert_eq!(shell.run("consume t --group third").ok(), "e\n", "where it began was committed");
    let peek = "consume t --group fourth -X enable.auto.commit=false";
    assert_eq!(shell.run(peek).ok(), shell.run(peek).ok(), "nothing is committed");
    assert_eq!(shell.run("consume t --group g --show topic,offset -X group.id=ignored").ok(), "t\t4\te\n");
}

#[test]
fn several_topics_and_all_partitions_are_read_by_one_member() {
    let shell = shell();
    shell.run("topic create t u --partitions 3").ok();
    for topic in ["t", "u"] {
        for partition in 0..3 {
            let line = format!("produce {topic} --partition {partition}");
            shell.feed(&line, format!("{topic}{partition}").as_bytes()).ok();
        }
    }
    for strategy in ["range", "roundrobin", "sticky", "cooperative-sticky"] {
        let line = format!("consume t u --group {strategy} -X partition.assignment.strategy={strategy}");
        let read = shell.run(&line).ok();
        let lines: BTreeSet<&str> = read.lines().collect();
        assert_eq!(lines, ["t0", "t1", "t2", "u0", "u1", "u2"].into(), "{strategy}");
        assert_eq!(shell.run(&line).ok(), "", "{strategy}");
    }
}

#[test]
fn what_makes_no_sense_in_a_group_is_refused_with_the_reason() {
    let shell = shell();
    shell.run("topic create t --partitions 1").ok();
    assert!(shell.run("consume t --group g -p 0").failed(2).contains("--partition does not go with --group"));
    assert!(shell.run("consume t --group g --to 5").failed(2).contains("--to can only be end"));
    assert!(shell.run("consume t u").failed(2).contains("--group"));
    shell.run("consume t --group-instance-id i").failed(2);
    assert!(shell.run("consume u --group g").failed(1).contains("does not exist"));
    let error =
        shell.run("consume t --group g -X session.timeout.ms=100 -X heartbeat.interval.ms=10").failed(1);
    assert!(error.contains("INVALID_SESSION_TIMEOUT"), "{error}");
    let error = shell.run("consume t --group g -X auto.offset.reset=none").failed(1);
    assert!(error.contains("auto.offset.reset"), "{error}");
    let error = shell.run("consume t --group g -X partition.assignment.strategy=best").failed(2);
    assert!(error.contains("cooperative-sticky"), "{error}");
}

#[test]
fn ctrl_c_commits_and_leaves() {
    let shell = shell();
    shell.run("topic create t --partitions 2").ok();
    let first = Follower::start(&shell, "");
    let values = produce(&shell, 2, 0);
    wait::eventually("all is read", PATIENCE, || values.iter().all(|value| first.has(value)));
    assert_eq!(first.interrupt(), Some(130));
    // Nobody waits for its session, and nothing is read twice.
    let later = produce(&shell, 2, 1);
    let read = shell.run("consume t --group g").ok();
    let lines: BTreeSet<&str> = read.lines().collect();
    assert_eq!(lines, later.iter().map(String::as_str).collect());
}

#[test]
fn sigterm_commits_and_leaves() {
    let shell = shell();
    shell.run("topic create t --partitions 1").ok();
    // It commits nothing before it ends.
    let only = Follower::start(&shell, "-X auto.commit.interval.ms=600000");
    let values = produce(&shell, 1, 0);
    wait::eventually("all is read", PATIENCE, || values.iter().all(|value| only.has(value)));
    assert_eq!(only.end(libc::SIGTERM), Some(143));
    let groups = shell.run("group list --output json").json();
    assert_eq!(groups[0]["state"], "Empty", "{groups}");
    let offsets = shell.run("group describe g --output json").json();
    assert_eq!(offsets[0]["partitions"][0]["committed_offset"], values.len(), "{offsets}");
}

#[test]
fn two_members_share_and_the_one_that_is_left_takes_over() {
    for strategy in ["range", "cooperative-sticky"] {
        let shell = shell();
        shell.run("topic create t --partitions 4").ok();
        let options = format!("-X partition.assignment.strategy={strategy} -X auto.commit.interval.ms=100");
        let mut first = Follower::start(&shell, &options);
        let second = Follower::start(&shell, &options);
        let round = until_shared(&shell, 4, &first, &second);
        first.child.kill().expect("it runs");
        let values = produce(&shell, 4, round);
        let missing = || values.iter().filter(|value| !second.has(value)).cloned().collect::<Vec<_>>();
        // What the first had printed before it was killed is not printed again, unless it could not commit any more.
        wait::eventually("the heir reads all", PATIENCE, || missing().iter().all(|value| first.has(value)));
        let last = produce(&shell, 4, round + 1);
        wait::eventually("the heir reads all that comes", PATIENCE, || {
            last.iter().all(|value| second.has(value))
        });
        assert_eq!(second.interrupt(), Some(130), "{strategy}");
        let read = shell.run("consume t --group g").ok();
        assert_eq!(read, "", "{strategy}: everything is committed");
    }
}

/// A member that ends by itself. Its output is a pipe that is not read yet: that is full soon, and then it waits.
fn ending(shell: &Shell, strategy: &str) -> Child {
    let options = "--from beginning -X max.partition.fetch.bytes=1000";
    let line = format!(
        "consume t --group g {options} {QUICK} -X partition.assignment.strategy={strategy} -X session.timeout.ms=30000"
    );
    let words: Vec<&str> = line.split_whitespace().collect();
    shell.command(&words).stdout(Stdio::piped()).spawn().expect("milena runs")
}

type Lines = std::io::Lines<BufReader<ChildStdout>>;

fn output(child: &mut Child) -> Lines {
    BufReader::new(child.stdout.take().expect("piped")).lines()
}

/// Reads on in a thread until the output ends.
fn drained(lines: Lines) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || lines.map_while(Result::ok).collect())
}

#[test]
fn members_that_do_not_follow_read_their_shares_to_the_end() {
    for strategy in ["range", "cooperative-sticky"] {
        let shell = shell();
        shell.run("topic create t --partitions 4").ok();
        for partition in 0..4 {
            let mut lines: Vec<String> = (0..2000).map(|number| format!("{number:0100}")).collect();
            lines.push(format!("last-{partition}"));
            let line = format!("produce t --partition {partition} -X batch.size=1000");
            shell.feed(&line, lines.join("\n").as_bytes()).ok();
        }
        let mut first = ending(&shell, strategy);
        let state = |state: &str| shell.run("group describe g --state").out.contains(state);
        wait::eventually("the first is in the group", PATIENCE, || state("Stable"));
        let mut second = ending(&shell, strategy);
        wait::eventually("the second waits for the first", PATIENCE, || state("PreparingRebalance"));
        // The first goes on a little at a time, and hears of the second long before its end.
        let mut lines = output(&mut first);
        let mut outputs = [Vec::new(), Vec::new()];
        wait::eventually("both are in the group", PATIENCE, || {
            outputs[0].extend(lines.by_ref().take(20).map_while(Result::ok));
            !state("PreparingRebalance")
        });
        let rest = [drained(lines), drained(output(&mut second))];
        for (output, rest) in outputs.iter_mut().zip(rest) {
            output.extend(rest.join().expect("it is read"));
        }
        for child in [&mut first, &mut second] {
            let ended = wait::poll(PATIENCE, || child.try_wait().expect("it can be asked"));
            assert_eq!(ended.expect("it ends").code(), Some(0), "{strategy}");
        }
        // Each was given two partitions, and went on to their ends. The first may have read one of the second's before,
        // but not two.
        let lasts = |lines: &Vec<String>| lines.iter().filter(|line| line.starts_with("last-")).count();
        let lasts = outputs.each_ref().map(lasts);
        assert!(lasts == [2, 2] || lasts == [3, 1], "{strategy}: {lasts:?}");
        let lines: usize = outputs.iter().map(Vec::len).sum();
        assert_eq!(lines, 4 * 2001, "{strategy}: nothing is read twice, and all is read");
    }
}

#[test]
fn a_member_without_partitions_ends() {
    for strategy in ["range", "cooperative-sticky"] {
        let shell = shell();
        shell.run("topic create t --partitions 1").ok();
        let options = format!("-X partition.assignment.strategy={strategy}");
        let follower = Follower::start(&shell, &options);
        let values = produce(&shell, 1, 0);
        wait::eventually("it is in the group", PATIENCE, || follower.has(&values[0]));
        assert_eq!(shell.run(&format!("consume t --group g {QUICK} {options}")).ok(), "", "{strategy}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads")
}

fn member(shell: &Shell, config: GroupConfig) -> GroupConsumer {
    let client =
        ClientConfig { bootstrap_servers: vec![shell.broker.bootstrap()], ..ClientConfig::default() };
    let config = GroupConfig {
        group_id: "g".to_owned(),
        heartbeat_interval: Duration::from_millis(100),
        session_timeout: Duration::from_secs(10),
        auto_offset_reset: OffsetReset::Earliest,
        ..config
    };
    let consumer = GroupConsumer::new(Cluster::new(client), ConsumerConfig::default(), config);
    let mut consumer = consumer.expect("a sound config");
    consumer.subscribe(["t"]);
    consumer
}

/// The next event that is about partitions, as a word and how many.
async fn rebalanced(consumer: &mut GroupConsumer) -> (&'static str, usize) {
    let polling = async {
        loop {
            match consumer.poll().await.expect("no error") {
                Event::Records(_) => {}
                Event::Assigned(partitions) => return ("assigned", partitions.len()),
                Event::Revoked(partitions) => return ("revoked", partitions.len()),
                Event::Lost(partitions) => return ("lost", partitions.len()),
            }
        }
    };
    tokio::time::timeout(PATIENCE, polling).await.expect("a rebalance hangs")
}

/// Polls in a task until the consumer has so many partitions; then it can be asked for.
fn polled(
    mut consumer: GroupConsumer,
    partitions: usize,
) -> tokio::task::JoinHandle<(GroupConsumer, Vec<(&'static str, usize)>)> {
    tokio::spawn(async move {
        let mut events = Vec::new();
        while events.is_empty() || consumer.assignment().len() != partitions {
            events.push(rebalanced(&mut consumer).await);
        }
        (consumer, events)
    })
}

#[test]
fn a_cooperative_group_moves_only_what_the_newcomer_gets() {
    let shell = shell();
    shell.run("topic create t --partitions 4").ok();
    runtime().block_on(async {
        let config =
            || GroupConfig { assignors: vec![Assignor::CooperativeSticky], ..GroupConfig::default() };
        let mut first = member(&shell, config());
        assert_eq!(rebalanced(&mut first).await, ("assigned", 4));
        let second = polled(member(&shell, config()), 2);
        let (first, events) = polled(first, 2).await.expect("no panic");
        assert!(!events.contains(&("revoked", 4)) && events.contains(&("revoked", 2)), "{events:?}");
        // The first has to be polled on for the second round.
        let polling = tokio::spawn(async move {
            let mut first = first;
            let _ = tokio::time::timeout(PATIENCE, async { while first.poll().await.is_ok() {} }).await;
        });
        let (second, events) = second.await.expect("no panic");
        assert_eq!(second.assignment().len(), 2, "{events:?}");
        assert!(!events.iter().any(|(event, _)| *event == "lost"), "{events:?}");
        polling.abort();
        second.close().await.expect("it leaves");
    });
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let shell = shell();
    shell.run("topic create t --partitions 2").ok();
    runtime().block_on(async {
        let config = || GroupConfig { group_instance_id: Some("one".to_owned()), ..GroupConfig::default() };
        let mut first = member(&shell, config());
        assert_eq!(rebalanced(&mut first).await, ("assigned", 2));
        let (generation, id) = (first.generation(), first.member_id());
        first.close().await.expect("it is closed");
        let mut again = member(&shell, config());
        assert_eq!(rebalanced(&mut again).await, ("assigned", 2));
        assert_eq!(again.generation(), generation);
        assert_ne!(again.member_id(), id, "it is another process");
        // Two at once: the older is fenced.
        let mut third = member(&shell, config());
        assert_eq!(rebalanced(&mut third).await, ("assigned", 2));
        let fenced = async {
            loop {
                if let Err(error) = again.poll().await {
                    return error;
                }
            }
        };
        let error = tokio::time::timeout(PATIENCE, fenced).await.expect("it is told");
        assert_eq!(error.code().map(|code| code.name()), Some("FENCED_INSTANCE_ID"), "{error}");
    });
}

#[test]
fn topics_that_come_later_and_grow_are_noticed() {
    let shell = shell();
    runtime().block_on(async {
        let client = ClientConfig {
            bootstrap_servers: vec![shell.broker.bootstrap()],
            metadata_max_age: Duration::from_secs(1),
            ..ClientConfig::default()
        };
        let group = GroupConfig {
            group_id: "g".to_owned(),
            heartbeat_interval: Duration::from_millis(100),
            ..GroupConfig::default()
        };
        let consumer = GroupConsumer::new(Cluster::new(client), ConsumerConfig::default(), group);
        let mut consumer = consumer.expect("a sound config");
        consumer.subscribe_pattern("t.*").expect("a pattern");
        assert_eq!(rebalanced(&mut consumer).await, ("assigned", 0));
        let steps = [
            ("topic create t1 u1 --partitions 2", vec![("assigned", 2)]),
            ("topic create t2 --partitions 1", vec![("revoked", 2), ("assigned", 3)]),
            ("topic add-partitions t1 --count 4", vec![("revoked", 3), ("assigned", 5)]),
            ("topic delete t2", vec![("revoked", 5), ("assigned", 4)]),
        ];
        for (command, events) in steps {
            tokio::task::block_in_place(|| shell.run(command).ok());
            for expected in events {
                assert_eq!(rebalanced(&mut consumer).await, expected, "{command}");
            }
        }
        consumer.close().await.expect("it leaves");
    });
}
