//! Replicas and leaders of partitions. One broker has little to move; what several do is tested in a cluster.

use serde_json::json;

use crate::shell::Shell;

#[test]
fn a_plan_is_shown_made_and_verified() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 2").ok();
    assert_eq!(shell.run("partition reassign").ok(), "no partition is being reassigned\n");
    let plan = shell.run("partition reassign --topic t --brokers 1 --export").ok();
    let parsed: serde_json::Value = serde_json::from_str(&plan).expect("a plan is JSON");
    assert_eq!(
        parsed["partitions"][1],
        json!({ "topic": "t", "partition": 1, "replicas": [1], "log_dirs": ["any"] })
    );

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("plan.json");
    std::fs::write(&file, &plan).expect("it is written");
    let path = file.display();
    let shown = shell.run(&format!("partition reassign {path}")).ok();
    assert!(
        shown.starts_with("TOPIC") && shown.contains("complete") && shown.contains("--execute"),
        "{shown}"
    );
    shell.run(&format!("partition reassign {path} --execute --wait")).ok();
    let verified = shell.run(&format!("--output json partition reassign {path} --verify")).json();
    assert_eq!((&verified[0]["state"], &verified[1]["target"]), (&json!("complete"), &json!([1])));
    assert_eq!(shell.run(&format!("partition reassign {path} --cancel")).ok(), "", "nothing is under way");
    assert_eq!(shell.run(&format!("partition reassign {path} --export")).ok(), plan);
}

#[test]
fn plans_that_cannot_be_are_refused_with_the_reason() {
    let shell = Shell::start();
    shell.run("topic create t").ok();
    let folder = tempfile::tempdir().expect("a folder");
    let refuse = |partition: &str, code, expected: &str| {
        let file = folder.path().join("plan.json");
        std::fs::write(&file, format!(r#"{{"version":1,"partitions":[{partition}]}}"#))
            .expect("it is written");
        let error = shell.run(&format!("partition reassign {} --execute", file.display())).failed(code);
        assert!(error.contains(expected), "{partition}: {error}");
    };
    refuse(r#"{"topic":"t","partition":0,"replicas":[1,9]}"#, 1, "no such broker is registered");
    refuse(r#"{"topic":"t","partition":0,"replicas":[1,1]}"#, 2, "broker 1 stands twice");
    refuse(r#"{"topic":"t","partition":7,"replicas":[1]}"#, 1, "topic t has no partition 7");
    refuse(r#"{"topic":"t","partition":0,"replicas":[]}"#, 2, "it has no replicas");
    refuse("", 2, "no partition");
    shell.fails("partition reassign --topic t --brokers 1,9", 1, "there is no broker 9");
    shell.fails("partition reassign nowhere.json", 1, "does not exist");
    shell.run("partition reassign --execute").failed(2);
}

#[test]
fn elections_that_are_not_needed_are_fine() {
    let shell = Shell::start();
    shell.run("topic create t --partitions 2").ok();
    assert_eq!(shell.run("partition elect --all").ok(), "no partition needs another leader\n");
    let said = shell.run("partition elect --topic t:0").ok();
    assert_eq!(said, "1 partition has the leader it ought to have\n");
    let both = shell.run("--output json partition elect --topic t --unclean").json();
    assert_eq!(both["elected"], json!([]));
    assert_eq!(both["not_needed"][1], json!({ "topic": "t", "partition": 1 }));
    shell.fails("partition elect --topic t:9", 1, "topic t has no partition 9");
    shell.run("partition elect").failed(2);
}
