//! `milena bench …`: what is measured was really done.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use milena_tests::process::Config;
use milena_tests::{syscalls, wait};
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::shell::Shell;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Percentiles that are there and in order.
fn check_latencies(latencies: &Value) {
    let all = ["p50", "p95", "p99", "p99.9", "max"].map(|name| number(&latencies[name]));
    assert!(all[0] > 0.0 && all.is_sorted(), "{latencies}");
}

#[test]
fn what_is_written_is_there_and_is_read() {
    let shell = Shell::start();
    let written = shell.run("bench produce t -n 5000 -s 100 --create --partitions 3 --output json").json();
    assert_eq!((&written["records"], &written["bytes"]), (&json!(5000), &json!(500_000)), "{written}");
    assert_eq!((&written["failed"], &written["unanswered"]), (&json!(0), &json!(0)), "{written}");
    assert!(number(&written["records_per_second"]) > 0.0, "{written}");
    check_latencies(&written["latency_ms"]);

    let described = shell.run("topic describe t --output json").json();
    let partitions = described[0]["partitions"].as_array().expect("a list");
    let ends = partitions.iter().map(|partition| partition["log_end_offset"].as_i64().expect("a number"));
    assert_eq!((partitions.len(), ends.sum::<i64>()), (3, 5000));

    let read = shell.run("bench consume t --output json").json();
    assert_eq!((&read["records"], &read["bytes"]), (&json!(5000), &json!(500_000)), "{read}");
    assert!(number(&read["first_record_ms"]) >= 0.0 && number(&read["fetches"]) >= 1.0, "{read}");
    let some = shell.run("bench consume t t --records 700 --output json").json();
    assert_eq!(some["records"], 700);
    let text = shell.run("bench consume t").ok();
    assert!(text.starts_with("records     5000 read in ") && text.contains("\nthroughput  "), "{text}");
    let text = shell.run("bench produce t -n 10").ok();
    assert!(text.starts_with("records     10 written in ") && text.contains("\nlatency     p50 "), "{text}");
}

#[test]
fn a_record_is_sent_and_read_back() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 2").ok();
    shell.feed("produce t", b"somebody else's\n").ok();
    let measured = shell.run("bench latency t -n 50 -s 10 --output json").json();
    assert_eq!((&measured["records"], &measured["bytes"]), (&json!(50), &json!(500)), "{measured}");
    check_latencies(&measured["end_to_end_ms"]);
    check_latencies(&measured["acknowledged_ms"]);
    // It is read after it was acknowledged.
    assert!(
        number(&measured["end_to_end_ms"]["mean"]) >= number(&measured["acknowledged_ms"]["mean"]),
        "{measured}"
    );
    // One more record opened the connections.
    assert_eq!(shell.run("consume t").ok().lines().count(), 52);
    let text = shell.run("bench latency t -n 1 -s 10").ok();
    assert!(text.contains("\nacknowledged  p50 ") && text.contains("\nend to end    p50 "), "{text}");
    assert!(shell.run("bench latency t -n 1 --acks 0").failed(2).contains("acks=0"));
}

#[test]
fn a_member_of_a_group_begins_where_the_group_is_and_commits_nothing() {
    let config = Config::new().property("group.initial.rebalance.delay.ms", 0);
    let shell = Shell { broker: config.start().expect("a broker") };
    shell.run("bench produce t -n 100 -s 10 --create --partitions 2").ok();
    shell.run("group reset g --topic t --to-earliest --execute").ok();
    for _ in 0..2 {
        let read = shell.run("bench consume t --group g -n 100 --output json").json();
        assert_eq!(
            (&read["group"], &read["records"], &read["bytes"]),
            (&json!("g"), &json!(100), &json!(1000))
        );
        // It has left, and so the next one need not wait for its session to expire.
        assert!(number(&read["assigned_ms"]) <= number(&read["first_record_ms"]), "{read}");
    }
    let after = shell.run("group describe g --output json").json();
    assert_eq!((&after[0]["state"], &after[0]["member_count"]), (&json!("Empty"), &json!(0)), "{after}");
    for partition in after[0]["partitions"].as_array().expect("a list") {
        assert_eq!(partition["committed_offset"], 0, "{after}");
    }
    shell.run("group reset g --topic t --to-latest --execute").ok();
    let error = shell.run("bench consume t --group g -n 1 --timeout 1").failed(1);
    assert!(error.contains("no record came for 1 s after 0"), "{error}");
}

#[test]
fn no_topic_is_created_silently() {
    let shell = Shell::start();
    for line in ["bench produce t -n 1", "bench consume t", "bench latency t -n 1"] {
        let error = shell.run(line).failed(1);
        assert!(error.contains("topic t does not exist"), "{line}: {error}");
    }
    assert_eq!(shell.run("topic list --output json").json(), json!([]));
    shell.run("bench produce t -n 1 --create").ok();
    shell.run("bench produce t -n 1 --create --partitions 7").ok();
    assert_eq!(
        shell.run("topic describe t --output json").json()[0]["partitions"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn records_that_fail_are_counted_with_their_reason() {
    let shell = Shell::start();
    shell.run("topic create t --config max.message.bytes=200").ok();
    let said = shell.run("bench produce t -n 20 -s 500 --output json");
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((&report["records"], &report["failed"]), (&json!(0), &json!(20)), "{report}");
    assert_eq!((&report["latency_ms"], &report["seconds"]), (&Value::Null, &json!(0.0)), "{report}");
    assert_eq!(report["failures"][0]["records"], 20);
    let error = said.failed(1);
    assert!(
        error.contains("20 records failed:")
            && error.contains("20 × ")
            && error.contains("MESSAGE_TOO_LARGE"),
        "{error}"
    );
    let text = shell.run("bench produce t -n 20 -s 500");
    assert!(text.out.contains("\nfailed      20\n"), "{text:?}");
}

#[test]
fn values_and_keys_are_those_asked_for() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("values");
    std::fs::write(&path, "one|two|").expect("written");
    let file = path.display();
    shell.run(&format!("bench produce t -n 3 --payload-file {file} --payload-delimiter |")).ok();
    assert_eq!(shell.run("consume t").ok(), "one\ntwo\none\n");
    shell.run("bench produce t -n 40 -s 5 --keys 10 --key-size 4 -z zstd").ok();
    let read = shell.run("consume t --from 3 -K :").ok();
    let mut keys: Vec<&str> = read.lines().map(|line| line.split_once(':').expect("a key").0).collect();
    assert!(keys.iter().all(|key| key.len() == 4 && key.starts_with("000")), "{keys:?}");
    keys.sort_unstable();
    keys.dedup();
    assert!(keys.len() > 5, "{keys:?}");
    assert!(read.lines().all(|line| line.len() == 10), "{read}");
}

#[test]
fn a_rate_is_kept() {
    let shell = Shell::start();
    let report = shell.run("bench produce t -n 300 -s 10 --rate 500 --create --output json").json();
    // The last of 300 is due after 598 ms.
    assert!(number(&report["seconds"]) >= 0.598, "{report}");
    let report = shell.run("bench produce t --seconds 1 -s 10 --rate 100 --output json").json();
    assert!(number(&report["records"]) <= 100.0, "{report}");
}

#[test]
fn records_that_do_not_come_are_not_waited_for_forever() {
    let shell = Shell::start();
    shell.run("bench produce t -n 5 --create").ok();
    let said = shell.run("bench consume t -n 10 --timeout 1");
    assert!(said.out.starts_with("records     5 read in "), "{said:?}");
    let error = said.failed(1);
    assert!(error.contains("no record came for 1 s after 5") && error.contains("hint: --timeout"), "{error}");
    let report = shell.run("bench consume t --from end --seconds 1 --output json").json();
    assert_eq!((&report["records"], &report["first_record_ms"]), (&json!(0), &Value::Null));
}

#[test]
fn an_interrupted_run_shows_what_it_has() {
    check_interrupted_run(libc::SIGINT, 130);
    check_interrupted_run(libc::SIGTERM, 143);
}

fn check_interrupted_run(signal: i32, code: i32) {
    let shell = Shell::start();
    shell.run("topic create t").ok();
    let mut command =
        shell.command(&["bench", "produce", "t", "--seconds", "600", "-s", "10", "--rate", "1000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("milena runs");
    let mut progress = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    progress.read_line(&mut line).expect("it is told once a second");
    assert!(line.contains(" records/s, ") && line.contains(" MiB/s, mean "), "{line}");
    syscalls::signal(child.id(), signal).expect("it runs");
    let status = wait::poll(PATIENCE, || child.try_wait().expect("a child")).expect("it ends");
    assert_eq!(status.code(), Some(code));
    let mut out = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().expect("piped"), &mut out).expect("text");
    assert!(out.starts_with("records     ") && out.contains("\nlatency     p50 "), "{out}");
}

#[test]
fn runs_that_make_no_sense_are_refused() {
    let shell = Shell::start();
    for (line, said) in [
        ("bench produce t", "--records NUMBER or --seconds NUMBER"),
        ("bench latency t", "--records NUMBER or --seconds NUMBER"),
        ("bench produce t -n 0", "from 1 on"),
        ("bench produce t -n 1 --partitions 3", "--create"),
        ("bench produce t -n 1 --keys 1000 --key-size 2", "at least 3"),
        ("bench produce t -n 1 --key-size 2", "--keys"),
        ("bench produce t -n 1 -s 2000000", "max.request.size"),
        ("bench produce t -n 1 -s 20 --payload-file x", "--payload-file"),
        ("bench consume t --from end", "--records or --seconds"),
        ("bench consume t --group g", "--records NUMBER or --seconds NUMBER"),
    ] {
        let error = shell.run(line).failed(2);
        assert!(error.contains(said), "{line}: {error}");
    }
}
