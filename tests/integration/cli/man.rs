//! Help, manual pages and completion know every command.

use std::collections::BTreeMap;
use std::process::Command;

use milena_tests::process;

use crate::shell::{Said, milena};

fn said(words: &[&str]) -> String {
    Said::from(milena(words).output().expect("milena runs")).ok()
}

/// Manual pages by the name of their file.
fn pages() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a directory");
    let inner = folder.path().join("man/man1");
    let told = said(&["man", &inner.display().to_string()]);
    let files = std::fs::read_dir(&inner).expect("it was made").map(|entry| entry.expect("an entry").path());
    let pages: BTreeMap<String, String> = files
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("text"))
        })
        .collect();
    assert!(told.starts_with(&format!("{} pages written into ", pages.len())), "{told}");
    pages
}

/// Names of the commands below a command, as its help lists them.
fn listed(path: &[&str]) -> Vec<String> {
    let help = said(&[path, &["--help"]].concat());
    let list =
        help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    names
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Paths of all commands, with the ones that only have commands below them.
fn commands() -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    for outer in listed(&[]) {
        let inner = listed(&[&outer]).into_iter().map(|inner| vec![outer.clone(), inner]);
        commands.extend(inner);
        commands.push(vec![outer]);
    }
    assert!(commands.contains(&vec!["group".to_owned(), "reset".to_owned()]), "{commands:?}");
    commands
}

#[test]
fn every_command_has_a_manual_page_with_its_examples() {
    let mut pages = pages();
    for path in commands() {
        let path: &[&str] = &path.iter().map(String::as_str).collect::<Vec<_>>();
        let title = [&["milena"], path].concat().join("-");
        let page = pages.remove(&format!("{title}.1")).unwrap_or_else(|| panic!("{title} has no page"));
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\"", "\"SEE ALSO\""] {
            assert!(page.contains(&format!(".SH {section}\n")), "{title} has no {section}: {page}");
        }
        assert!(page.contains("\\-\\-bootstrap\\-server"), "{title}: {page}");
        let has_properties =
            ["milena-produce", "milena-consume"].contains(&&*title) || title.starts_with("milena-bench-");
        assert_eq!(page.contains(".SH NOTES\nProperties for"), has_properties, "{title}: {page}");
        let has_commands = !listed(path).is_empty();
        let sections = page.matches(".SH EXAMPLES\n").count();
        assert_eq!(sections, usize::from(!has_commands), "{title}: {page}");
        // Lines that are filled up with the next ones are no examples.
        assert!(!page.contains("Examples:"), "{title} has examples among its notes: {page}");
        assert!(has_commands || page.contains(&path.join(" ").replace('-', "\\-")), "{title}: {page}");
    }
    assert!(pages.is_empty(), "pages of nothing: {:?}", pages.keys());
}

#[test]
fn help_is_asked_for_in_two_ways() {
    for command in commands() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let before = said(&[&["help"], &words[..]].concat());
        let usage = format!("Usage: {}", [&["milena"], &words[..]].concat().join(" "));
        assert!(before.contains(&usage), "{before}");
        assert_eq!(said(&[&words[..], &["--help"]].concat()), before);
    }
}

#[test]
fn help_of_every_command_that_does_something_shows_examples_once() {
    for command in commands() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let help = said(&[&words[..], &["--help"]].concat());
        let expected = usize::from(!help.contains("\nCommands:\n"));
        assert_eq!(help.matches("Examples:").count(), expected, "{help}");
        assert_eq!(help.matches("\nExamples:\n  ").count(), expected, "{help}");
    }
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&["completion", shell]);
        for word in commands().concat() {
            assert!(script.contains(&word), "{shell}: {word}");
        }
    }
}

#[test]
fn the_broker_has_a_page_with_its_properties_and_signals() {
    let output = Command::new(process::program()).arg("--man-page").output().expect("the broker runs");
    let page = Said::from(output).ok();
    for part in [
        ".TH milena-broker 8 \"\" ",
        ".SH OPTIONS\n",
        "\\-\\-override",
        ".SH PROPERTIES\n",
        "milena.http.listener",
        ".SH SIGNALS\n",
        "SIGTERM",
        ".SH \"EXIT STATUS\"\n",
        ".SH EXAMPLES\n",
        "\\fBmilena\\fR(1)",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let below = file.path().join("man1").display().to_string();
    let error = Said::from(milena(&["man", &below]).output().expect("milena runs")).failed(1);
    assert!(error.contains(&below), "{error}");
}
