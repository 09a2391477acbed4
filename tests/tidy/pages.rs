//! Pages in Markdown: links lead somewhere, and commands can be run.

use std::path::Path;
use std::process::Command;

use milena_tests::process;

use crate::source::{files, root, text};

/// Targets of the links `[…](target)` of a page, without those to other hosts and within the page.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in page.lines() {
        in_code ^= line.trim_start().starts_with("```");
        for part in line.split("](").skip(1).filter(|_| !in_code) {
            let target = part.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push(target.to_owned());
            }
        }
    }
    found
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for page in files("", ".md") {
        let folder = root().join(page.parent().unwrap_or(Path::new("")));
        let dead = links(&text(&page)).into_iter().filter(|target| !folder.join(target).exists());
        broken.extend(dead.map(|target| format!("{}: {target}", page.display())));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Lines of the shell blocks of a page, without comments.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_shell = false;
    for line in page.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            in_shell = language == "sh";
        } else if in_shell && !line.trim_start().starts_with('#') {
            found.push(line.split(" # ").next().unwrap_or_default().trim().to_owned());
        }
    }
    found
}

const PAGES: [&str; 2] = ["README.md", "CONTRIBUTING.md"];

#[test]
fn scripts_in_commands_exist() {
    let mut missing = Vec::new();
    for page in PAGES.map(Path::new) {
        for command in commands(&text(page)) {
            for word in command.split_whitespace() {
                let script = ["tests/", "fuzz/", ".ci/"].iter().any(|folder| word.starts_with(folder));
                if script && !root().join(word).exists() {
                    missing.push(format!("{}: {word}", page.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn milena_knows_the_commands_of_the_readme() {
    let program = process::command_line();
    let readme = text(Path::new("README.md"));
    let stages = commands(&readme)
        .into_iter()
        .flat_map(|line| line.split('|').map(|stage| stage.trim().to_owned()).collect::<Vec<_>>());
    let mut tried = 0;
    for stage in stages.filter(|stage| stage.starts_with("milena ")) {
        // With --help at its end a command does nothing, but its words and options are still judged.
        let output = Command::new(&program)
            .args(stage.split_whitespace().skip(1))
            .arg("--help")
            .output()
            .expect("milena runs");
        assert!(output.status.success(), "`{stage}`: {}", String::from_utf8_lossy(&output.stderr));
        tried += 1;
    }
    assert!(tried > 0, "the README shows no command of milena");
}
