//! Log directories of a broker, and replicas that move between them.

use milena_tests::process::Config;
use serde_json::json;

use crate::shell::{Said, Shell};

#[test]
fn replicas_are_listed_and_moved() {
    let config = Config::new();
    let directories = ["one", "two"].map(|name| config.data().with_file_name(name).display().to_string());
    let broker = config.property("log.dirs", directories.join(",")).start().expect("starts");
    let shell = Shell { broker };
    shell.run("topic create t --partitions 2").ok();
    let directory_of = |partition: i64| {
        let listed = shell.run("log-dirs list --topic t --output json").json();
        let listed = listed.as_array().expect("directories").clone();
        let has = |dir: &serde_json::Value| {
            let replicas = dir["replicas"].as_array().expect("replicas");
            replicas.iter().any(|r| r["partition"] == partition && r["future"] == false)
        };
        let found = listed.iter().find(|dir| has(dir)).expect("it is somewhere");
        assert_eq!((&found["broker"], &found["online"]), (&1.into(), &true.into()));
        found["directory"].as_str().expect("a path").to_owned()
    };
    for target in [&directories[0], &directories[1], &directories[0]] {
        let moved = shell.run(&format!("log-dirs move t --broker 1 --to {target} --wait")).ok();
        assert!(moved.starts_with("TOPIC") && moved.contains(target), "{moved}");
        assert_eq!((&directory_of(0), &directory_of(1)), (target, target));
    }
    let listed = shell.run("log-dirs list --broker 1").ok();
    assert!(listed.contains("current") && listed.contains("empty"), "{listed}");
    shell.fails("log-dirs move t:0 --broker 1 --to /nowhere", 1, "LOG_DIR_NOT_FOUND");
    shell.fails(&format!("log-dirs move t:0 --broker 9 --to {}", directories[0]), 1, "9");
}

/// A broker with two directories, and a plan that has partition 0 of topic t in either of them.
struct Scene {
    shell: Shell,
    directories: [String; 2],
    folder: tempfile::TempDir,
}

impl Scene {
    fn start() -> Self {
        let config = Config::new();
        let directories = ["one", "two"].map(|name| config.data().with_file_name(name).display().to_string());
        let broker = config.property("log.dirs", directories.join(",")).start().expect("starts");
        let shell = Shell { broker };
        shell.run("topic create t").ok();
        Self { shell, directories, folder: tempfile::tempdir().expect("a folder") }
    }

    fn reassign(&self, directory: &str, words: &str) -> Said {
        let partition = json!({ "topic": "t", "partition": 0, "replicas": [1], "log_dirs": [directory] });
        let file = self.folder.path().join("plan.json");
        std::fs::write(&file, json!({ "version": 1, "partitions": [partition] }).to_string())
            .expect("it is written");
        self.shell.run(&format!("partition reassign {} {words}", file.display()))
    }

    /// Where the replica is, and where not.
    fn places(&self) -> (&str, &str) {
        let [one, two] = &self.directories;
        let exported = self.reassign(one, "--export").json();
        match exported["partitions"][0]["log_dirs"][0].as_str() {
            Some(now) if now == one => (one, two),
            Some(now) if now == two => (two, one),
            other => panic!("in {other:?}"),
        }
    }
}

#[test]
fn a_plan_says_where_in_its_broker_a_replica_is_to_be() {
    let scene = Scene::start();
    let (now, target) = scene.places();
    let shown = scene.reassign(target, "--output json").json();
    let place = json!({ "broker": 1, "directory": now, "target": target, "state": "not begun" });
    assert_eq!((&shown[0]["state"], &shown[0]["directories"]), (&json!("complete"), &json!([place])));
    let error = scene.reassign(target, "--verify").failed(1);
    assert!(error.contains("1 of 1 partitions are not where the plan wants them"), "{error}");
    let begun = scene.reassign(target, "--execute").ok();
    assert!(begun.contains(&format!(r#""log_dirs":["{now}"]"#)), "the way back: {begun}");
    let moved = scene.reassign(target, "--execute --wait").ok();
    assert!(moved.contains("DIRECTORY") && moved.contains("complete"), "{moved}");
    assert_eq!(scene.places(), (target, now));
    scene.reassign(target, "--verify").ok();
    scene.reassign("any", "--verify").ok();
    let error = scene.reassign("/nowhere", "--execute --wait").failed(1);
    assert!(error.contains("LOG_DIR_NOT_FOUND"), "{error}");
}

#[test]
fn a_move_of_a_plan_is_taken_back() {
    let scene = Scene::start();
    let (now, target) = scene.places();
    // The first step is more than it may copy for a long time.
    scene.shell.run("config set broker/1 replica.alter.log.dirs.io.max.bytes.per.second=1").ok();
    let line = format!("{}\n", "x".repeat(1000));
    scene.shell.feed("produce t", line.repeat(3000).as_bytes()).ok();
    scene.reassign(target, "--execute").ok();
    let moving = scene.reassign(target, "--output json").json();
    assert_eq!(moving[0]["directories"][0]["state"], "moving");
    assert_eq!(scene.reassign(now, "--output json").json()[0]["directories"][0]["state"], "moving elsewhere");
    let said = scene.reassign(target, "--cancel").ok();
    assert_eq!(said, format!("t-0 stays in {now} on broker 1\n"));
    assert_eq!(scene.reassign(target, "--cancel").ok(), "", "nothing is under way");
    scene.reassign(now, "--verify").ok();
}
