//! Commands that change configuration, partitions and records of what is there.

use serde_json::json;

use crate::shell::Shell;

#[test]
fn values_are_set_shown_and_taken_back() {
    let shell = Shell::start();
    shell.run("topic create t").ok();
    assert_eq!(shell.run("config set topic/t retention.ms=60000").ok(), "topic t: retention.ms set\n");
    assert_eq!(shell.run("config get topic/t retention.ms").ok(), "60000\n");
    let shown = shell.run("config describe topic/t").ok();
    assert!(
        shown.starts_with("NAME") && shown.contains("retention.ms") && shown.contains("topic"),
        "{shown}"
    );
    assert!(!shown.contains("segment.bytes"), "{shown}");
    assert!(shell.run("config describe topic/t --all").ok().contains("segment.bytes"));
    let one = shell.run("--output json config get topic/t retention.ms").json();
    assert_eq!(one, json!({ "name": "retention.ms", "value": "60000", "source": "topic" }));
    assert_eq!(shell.run("config unset topic/t retention.ms").ok(), "topic t: retention.ms unset\n");
    let one = shell.run("--output json config get topic/t retention.ms").json();
    assert_eq!((&one["value"], &one["source"]), (&json!("604800000"), &json!("default")));
}

#[test]
fn brokers_groups_and_lists_have_values_too() {
    let shell = Shell::start();
    shell.run("topic create t").ok();
    shell.run("config set brokers log.retention.ms=7000").ok();
    assert_eq!(shell.run("config get topic/t retention.ms").ok(), "7000\n");
    let of_all = shell.run("--output json config describe brokers").json();
    assert!(
        of_all
            .as_array()
            .expect("a list")
            .iter()
            .any(|entry| { entry["name"] == "log.retention.ms" && entry["source"] == "all brokers" })
    );
    shell.run("config set topic/t cleanup.policy-=delete").ok();
    assert_eq!(shell.run("config get topic/t cleanup.policy").ok(), "\n");
    shell.run("config set topic/t cleanup.policy+=delete").ok();
    assert_eq!(shell.run("config get topic/t cleanup.policy").ok(), "delete\n");
    shell.run("config set group/g consumer.session.timeout.ms=50000").ok();
    assert_eq!(shell.run("config get group/g consumer.session.timeout.ms").ok(), "50000\n");
    let valid = shell.run("config set client-metrics/m interval.ms=1000 --validate-only").ok();
    assert_eq!(valid, "client metrics subscription m: interval.ms could be set\n");
    assert_eq!(shell.run("config get client-metrics/m interval.ms").ok(), "300000\n");
}

#[test]
fn values_that_cannot_be_are_refused_with_the_reason() {
    let shell = Shell::start();
    shell.run("topic create t").ok();
    let error = shell.run("config set topic/t retention.ms=soon").failed(1);
    assert!(error.contains("INVALID_CONFIG") && error.contains("retention.ms"), "{error}");
    let error = shell.run("config set topic/u retention.ms=1").failed(1);
    assert!(error.contains("UNKNOWN_TOPIC_OR_PARTITION") && !error.contains("--if-exists"), "{error}");
    assert!(shell.run("topic delete u").failed(1).contains("--if-exists"));
    let error = shell.run("config set brokers num.partitions=3").failed(1);
    assert!(error.contains("INVALID_REQUEST") && error.contains("num.partitions"), "{error}");
    let error = shell.run("config get topic/t nonsense").failed(1);
    assert!(error.contains("has no property nonsense") && error.contains("hint: "), "{error}");
    let error = shell.run("config get brokers num.partitions").failed(1);
    assert!(error.contains("num.partitions is not set for all brokers"), "{error}");
    let error = shell.run("config set t retention.ms=1").failed(2);
    assert!(error.contains("topic/NAME"), "{error}");
    shell.run("config set topic/t retention.ms").failed(2);
    shell.run("config unset topic/t").failed(2);
}

#[test]
fn loggers_are_told_levels() {
    let shell = Shell::start();
    let logger = "milena_broker.server";
    assert_eq!(shell.run(&format!("config get loggers/1 {logger}")).ok(), "INFO\n");
    shell.run(&format!("config set loggers/1 {logger}=DEBUG")).ok();
    let described = shell.run("--output json config describe loggers/1").json();
    let told = described.as_array().expect("a list").iter().find(|one| one["name"] == logger);
    assert_eq!(told.expect("it is there")["value"], "DEBUG");
    shell.run(&format!("config unset loggers/1 {logger}")).ok();
    assert_eq!(shell.run(&format!("config get loggers/1 {logger}")).ok(), "INFO\n");
    let error = shell.run("config set loggers/1 no.such=DEBUG").failed(1);
    assert!(error.contains("INVALID_CONFIG") && error.contains("no.such"), "{error}");
    shell.run("config set loggers/x root=DEBUG").failed(2);
}

#[test]
fn topics_are_altered_together() {
    let shell = Shell::start();
    shell.run("topic create a b --config segment.ms=5000").ok();
    let altered = shell.run("topic alter a b --config retention.ms=60000 --unset segment.ms").ok();
    assert_eq!(altered, "a altered\nb altered\n");
    let described = shell.run("--output json topic describe b").json();
    assert_eq!(described[0]["configs"], json!({ "retention.ms": "60000" }));
    assert_eq!(shell.run("topic alter a -c retention.ms=1 --validate-only").ok(), "a could be altered\n");
    let error = shell.run("topic alter a c -c retention.ms=70000").failed(1);
    assert!(error.contains("'c' does not exist"), "{error}");
    assert_eq!(shell.run("config get topic/a retention.ms").ok(), "70000\n");
    shell.run("topic alter a").failed(2);
}

#[test]
fn partitions_are_added_and_never_taken() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 1").ok();
    assert_eq!(
        shell.run("topic add-partitions t --count 4 --validate-only").ok(),
        "t could have 4 partitions\n"
    );
    assert_eq!(shell.run("topic add-partitions t --count 2 --assignment 1").ok(), "t has 2 partitions\n");
    let grown = shell.run("--output json topic add-partitions t -c 3").json();
    assert_eq!(grown, json!({ "name": "t", "outcome": "grown", "partitions": 3 }));
    let error = shell.run("topic add-partitions t --count 3").failed(1);
    assert!(error.contains("INVALID_PARTITIONS") && error.contains("already has 3"), "{error}");
    let error = shell.run("topic add-partitions t --count 4 --assignment 9").failed(1);
    assert!(error.contains("INVALID_REPLICA_ASSIGNMENT"), "{error}");
    shell.run("topic add-partitions t").failed(2);
}

#[test]
fn the_oldest_records_are_deleted() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 2").ok();
    shell.feed("produce t --partition 0", b"a\nb\nc\n").ok();
    shell.feed("produce t --partition 1", b"d\n").ok();
    let said = shell.run("topic delete-records t --before 2 --partition 0").ok();
    assert_eq!(said, "PARTITION  START\n        0      2\n");
    assert_eq!(shell.run("consume t --partition 0 --from beginning --to end").ok(), "c\n");
    let all = shell.run("--output json topic delete-records t --before end").json();
    let start = |index: usize| (all[index]["partition"].clone(), all[index]["log_start_offset"].clone());
    assert_eq!((start(0), start(1)), ((json!(0), json!(3)), (json!(1), json!(1))));
    let error = shell.run("topic delete-records t --before 9").failed(1);
    assert!(error.contains("OFFSET_OUT_OF_RANGE"), "{error}");
    shell.run("topic delete-records t").failed(2);
    shell.run("topic delete-records t --before -2").failed(2);
    assert!(shell.run("topic delete-records u --before 1").failed(1).contains("does not exist"));
}
