//! What a command says to those who hold it wrong.

use serde_json::json;

use crate::shell::{Said, Shell, milena};

#[test]
fn wrong_usage_is_told_from_failure() {
    let words: [&[&str]; 5] = [
        &["topic", "create"],
        &["consume", "t", "--from", "yesterday"],
        &["-X", "no.such.property=1", "topic", "list"],
        &["-X", "linger.ms", "topic", "list"],
        &["produce", "t", "--partition", "first"],
    ];
    for words in words {
        Said::from(milena(words).output().expect("milena runs")).failed(2);
    }
}

fn said(words: &[&str]) -> Said {
    milena(words).output().expect("milena runs").into()
}

#[test]
fn a_misspelled_field_writes_nothing() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    for (entry, named) in [(r#"{"val":1}"#, "`val`"), (r#"{"value":"x","partition":2,"ofset":1}"#, "`ofset`")]
    {
        let said = shell.feed("produce t --format json", entry.as_bytes());
        assert_eq!(said.out, "");
        let error = said.failed(1);
        assert!(error.contains("entry 1: unknown field") && error.contains(named), "{error}");
    }
    assert_eq!(shell.run("consume t").ok(), "");
    let wanted = r#"{"topic":"u","partition":7,"offset":9,"timestamp_type":"CreateTime","value":"x"}"#;
    shell.feed("produce t --format json", wanted.as_bytes()).ok();
    assert_eq!(shell.run("consume t").ok(), "x\n");
}

#[test]
fn nothing_written_is_no_table() {
    let shell = Shell::start();
    shell.run("topic create t").ok();
    assert_eq!(shell.feed("produce t", b"").ok(), "");
    assert_eq!(shell.feed("produce t --output json", b"").json(), json!({ "topic": "t", "partitions": [] }));
    let said = shell.feed("produce t -D |", &vec![b'x'; 5_000_000]);
    assert_eq!(said.out, "");
    let error = said.failed(1);
    assert!(error.contains("no delimiter within ") && error.contains("hint: -D"), "{error}");
}

#[test]
fn acks_of_minus_one_are_all() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    shell.feed("produce t --acks -1 -t -15m", b"x\n").ok();
    assert_eq!(shell.run("consume t --from -16m --to -14m").ok(), "x\n");
    assert!(shell.run("produce t --acks -2").failed(2).contains("none of 0, 1, all"));
}

#[test]
fn what_is_there_is_described_beside_what_is_not() {
    let shell = Shell::start();
    shell.run("topic create a --config retention.ms=60000").ok();
    let said = shell.run("topic describe nosuch a");
    assert!(said.out.starts_with("topic   a\n"), "{said:?}");
    assert!(said.failed(1).contains("topic nosuch does not exist"));
    let all = shell.run("topic describe a --all-configs").ok();
    assert!(all.contains("config  retention.ms=60000\n"), "{all}");
    assert!(all.contains("config  cleanup.policy=delete  (default)\n"), "{all}");
}

#[test]
fn programs_are_told_what_became_of_each_topic() {
    let shell = Shell::start();
    shell.run("topic create a").ok();
    let made = shell.run("topic create a b --if-not-exists --output json").json();
    let outcomes: Vec<_> =
        made.as_array().expect("a list").iter().map(|t| (&t["name"], &t["outcome"])).collect();
    assert!(outcomes.contains(&(&json!("a"), &json!("exists"))), "{made}");
    assert!(outcomes.contains(&(&json!("b"), &json!("created"))), "{made}");
    let gone = shell.run("topic delete a c --if-exists --output json").json();
    assert_eq!(gone, json!({ "deleted": ["a"], "absent": ["c"] }));
    let said = shell.run("topic delete c --output json");
    assert_eq!(said.out, "");
    said.failed(1);
    let said = shell.run("topic create b --output json");
    assert_eq!(said.out, "");
    said.failed(1);
}

#[test]
fn a_name_that_collides_is_not_told_about_characters() {
    let shell = Shell::start();
    shell.run("topic create a_b").ok();
    let error = shell.run("topic create a.b").failed(1);
    assert!(error.contains("a_b") && !error.contains("hint: "), "{error}");
}

#[test]
fn properties_and_servers_are_explained() {
    let error = said(&["-b", "localhost", "topic", "list"]).failed(2);
    assert!(error.contains("such as localhost:9092") && !error.contains("hint: "), "{error}");
    let error = said(&["-X", "no.such=1", "topic", "list"]).failed(2);
    assert!(error.contains("milena produce --help"), "{error}");
    let error = said(&["-X", "linger.ms=soon", "topic", "list"]).failed(2);
    assert!(error.contains("it is a number"), "{error}");
    let help = said(&["produce", "--help"]).ok();
    assert!(help.contains("linger.ms") && help.contains("bootstrap.servers"), "{help}");
}

#[test]
fn files_that_cannot_be_dumped_are_told_apart() {
    assert!(said(&["dump-log", "/nonexist"]).failed(1).contains("/nonexist does not exist"));
    assert!(said(&["dump-log", "/"]).failed(2).contains("/ is a directory"));
}

#[test]
fn topics_of_the_cluster_are_not_deleted_by_accident() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    shell.feed("produce t", b"x\n").ok();
    shell.run("consume t --group g").ok();
    let error = shell.feed("produce __consumer_offsets", b"x\n").failed(1);
    assert!(error.contains("hint: ") && !error.contains("characters"), "{error}");
    let said = shell.run("topic delete __consumer_offsets t");
    assert_eq!(said.out, "t deleted\n");
    let error = said.failed(1);
    assert!(error.contains("__consumer_offsets") && error.contains("hint: --internal"), "{error}");
    let listed = shell.run("topic list --internal").ok();
    assert!(listed.contains("__consumer_offsets"), "{listed}");
    assert_eq!(shell.run("topic delete __consumer_offsets --internal").ok(), "__consumer_offsets deleted\n");
}
