//! Log directories of a broker, and replicas that move between them.

use milena_tests::process::Config;

use crate::shell::Shell;

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
