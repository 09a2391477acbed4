//! The README's walk with three nodes, as it stands there but for its ports.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::said::Said;
use crate::up::Up;

const HEADING: &str = "\n## A cluster on this machine\n";

/// Lines of the section's shell blocks that need no build.
fn lines(readme: &str) -> Vec<&str> {
    let start = readme.find(HEADING).expect("the section is there") + HEADING.len();
    let section = readme[start..].split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).filter(|line| !line.starts_with("cargo ")).collect()
}

#[test]
#[ignore = "several nodes are not there yet"]
fn the_readme_does_what_it_says_with_three_nodes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(path).expect("the README");
    let up = Up::new();
    let lines = lines(&readme);
    assert!(lines.len() >= 8, "{lines:?}");
    let mut script = lines.join("\n");
    script = script.replace("milena up --brokers 3", &format!("milena up --brokers 3 --port {}", up.port));
    for (index, port) in (9092..).take(3).enumerate() {
        script = script
            .replace(&format!("localhost:{port}"), &format!("127.0.0.1:{}", usize::from(up.port) + index));
    }
    // `milena up` keeps the cluster in the folder that it is called in.
    let folder = Path::new(&up.directory()).parent().expect("a folder").to_owned();
    let programs = milena_tests::process::command_line();
    let path = format!(
        "{}:{}",
        programs.parent().unwrap_or(Path::new(".")).display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut shell = Command::new("sh");
    shell.args(["-ec", &script]).current_dir(&folder).env("PATH", path).env_remove("MILENA_BOOTSTRAP");
    let said = Said::from(shell.stdin(Stdio::null()).output().expect("sh runs"));
    let out = said.ok();
    assert!(out.contains("10\n") && out.contains("20\n") && out.contains("30\n"), "{out}");
    assert!(out.ends_with("node 1 stopped\nnode 2 stopped\nnode 3 stopped\n"), "{out}");
    assert!(!folder.join("milena-cluster").exists());
}
