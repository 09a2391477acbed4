//! Log directories of several brokers, each with two.

use serde_json::{Value, json};

use crate::nodes::until_whole;
use crate::up::Up;

const PARTITIONS: i32 = 4;

/// The path of a directory of a node.
fn path(up: &Up, node: i32, name: &str) -> String {
    format!("{}/node-{node}/{name}", up.directory())
}

/// How many replicas each directory of a broker holds, by path.
fn held(up: &Up, broker: i32) -> Vec<(String, usize)> {
    let listed = up.ask(2, &format!("log-dirs list --broker {broker} --topic t --output json")).json();
    let count = |directory: &Value| directory["replicas"].as_array().map_or(0, Vec::len);
    let directories = listed.as_array().expect("directories").iter();
    directories
        .map(|directory| (directory["directory"].as_str().expect("a path").to_owned(), count(directory)))
        .collect()
}

#[test]
fn replicas_come_to_the_directory_of_another_broker_that_their_plan_names() {
    let up = Up::new();
    let port = up.port;
    up.run(&format!("up --brokers 2 --port {port} --override log.dirs=data,more")).ok();
    let assignment = ["1"; PARTITIONS as usize].join(",");
    up.ask(2, &format!("topic create t --assignment {assignment}")).ok();
    until_whole(&up.bootstrap(2), 2);

    let more = path(&up, 2, "more");
    let partitions: Vec<Value> = (0..PARTITIONS)
        .map(|index| json!({ "topic": "t", "partition": index, "replicas": [2], "log_dirs": [more] }))
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let plan = folder.path().join("plan.json");
    std::fs::write(&plan, json!({ "version": 1, "partitions": partitions }).to_string()).expect("written");
    let said = up.ask(2, &format!("partition reassign {} --execute --wait", plan.display())).ok();
    assert!(said.contains(&more), "{said}");
    let expected = [(path(&up, 2, "data"), 0), (more, PARTITIONS as usize)];
    assert_eq!(held(&up, 2), expected);
    let log = std::fs::read_to_string(path(&up, 2, "broker.log")).expect("its log");
    let moves = log.matches("replica is moved to another directory").count();
    assert_eq!(moves, 0, "it knew where to create them");
    up.ask(2, &format!("partition reassign {} --verify", plan.display())).ok();
    up.run("down").ok();
}
