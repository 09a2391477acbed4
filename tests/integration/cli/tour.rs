//! The session of the README and of docs/tour.md: every command is run as it stands there, in order, against a broker of
//! its own, and what it prints is what the page shows.
//!
//! Blocks of `sh` are commands; blocks of `console` are commands behind `$ ` with what they print. What differs from run
//! to run (ids, times, speeds) is compared by its form.

use std::path::Path;
use std::process::{Command, Stdio};

use milena_tests::process::{self, Broker};

use crate::shell::Said;

/// Programs of others that a page may use; where they are missing, so are these steps.
const OTHERS: [&str; 2] = ["curl", "kcat"];

/// A command of a page.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    /// What the page says it prints, if it does.
    prints: Option<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut language = None;
    let mut unfinished = String::new();
    for line in page.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            language = if language.is_none() { Some(fence) } else { None };
            continue;
        }
        let command = match language {
            Some("sh") => Some(line.split(" # ").next().unwrap_or_default().trim_end()),
            Some("console") if unfinished.is_empty() => line.strip_prefix("$ "),
            Some("console") => Some(line),
            _ => continue,
        };
        match command {
            Some(command) if command.is_empty() || command.starts_with('#') => {}
            Some(command) => {
                unfinished.push_str(command);
                if !unfinished.ends_with('\\') {
                    let prints = (language == Some("console")).then(String::new);
                    steps.push(Step { command: std::mem::take(&mut unfinished), prints });
                } else {
                    unfinished.pop();
                }
            }
            None => {
                let step = steps.last_mut().expect("a block begins with a command");
                step.prints.get_or_insert_default().push_str(&format!("{line}\n"));
            }
        }
    }
    steps
}

/// One section of a page.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(heading).unwrap_or_else(|| panic!("no {heading}"));
    let rest = &page[start + heading.len()..];
    rest.split("\n## ").next().unwrap_or_default()
}

/// A text without what differs from run to run, and without the widths that follow from it.
fn masked(text: &str) -> String {
    // Where the table that is being printed has a column of seconds.
    let mut seconds_at = None;
    let lines = text.lines().map(|line| {
        let mut words: Vec<String> = line.split_whitespace().map(masked_word).collect();
        if let Some(at) = words.iter().position(|word| word == "SECONDS") {
            seconds_at = Some(at);
        } else if let Some(seconds) = seconds_at.and_then(|at| words.get_mut(at)) {
            *seconds = "AGE".to_owned();
        }
        words.join(" ") + "\n"
    });
    lines.collect()
}

fn masked_word(word: &str) -> String {
    let (bare, tail) = match word.find(|character: char| [',', ';', ')'].contains(&character)) {
        Some(at) if at + 1 == word.len() => word.split_at(at),
        _ => (word, ""),
    };
    let has = |kind: fn(&char) -> bool| bare.chars().any(|character| kind(&character));
    let is_id = bare.len() == 22
        && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        && (has(char::is_ascii_uppercase) || has(char::is_ascii_digit));
    let is_uuid = bare.len() >= 36
        && bare.bytes().filter(|byte| *byte == b'-').count() >= 4
        && has(char::is_ascii_digit);
    let is_time = bare.len() >= 20 && bare.ends_with('Z') && bare.as_bytes()[10] == b'T';
    let is_measured = bare.contains('.') && bare.parse::<f64>().is_ok();
    let form = match () {
        () if is_id || is_uuid => "ID",
        () if is_time => "TIME",
        () if is_measured => "NUMBER",
        () => bare,
    };
    format!("{form}{tail}")
}

struct Guide {
    broker: Broker,
    folder: tempfile::TempDir,
}

impl Guide {
    fn start() -> Self {
        Self { broker: Broker::start(), folder: tempfile::tempdir().expect("a directory") }
    }

    /// What a page says of the default ports, as it is here; and back.
    fn here(&self, text: &str) -> String {
        text.replace("localhost:9092", &self.broker.bootstrap())
            .replace("localhost:9464", &format!("127.0.0.1:{}", self.broker.http_port()))
    }

    fn there(&self, text: &str) -> String {
        text.replace(&self.broker.bootstrap(), "127.0.0.1:9092")
    }

    fn run(&self, command: &str) -> Said {
        let mut shell = Command::new("sh");
        let programs = process::command_line();
        let path = std::env::var("PATH").unwrap_or_default();
        let own = programs.parent().unwrap_or(Path::new("."));
        shell.env("PATH", format!("{}:{path}", own.display()));
        shell.env("MILENA_BOOTSTRAP", self.broker.bootstrap()).current_dir(self.folder.path());
        shell.args(["-c", &self.here(command)]).stdin(Stdio::null());
        shell.output().expect("sh runs").into()
    }

    /// Walks through the steps; gives how many were walked.
    fn walk(&self, page: &str, steps: &[Step]) -> usize {
        let mut walked = 0;
        for Step { command, prints } in steps.iter().filter(|step| can_run(&step.command)) {
            let said = self.run(command);
            assert_eq!(said.code, Some(0), "{page}: {command}: {said:?}");
            if let Some(prints) = prints {
                let printed = self.there(&said.out);
                assert_eq!(masked(&printed), masked(prints), "{page}: {command} prints\n{printed}");
            }
            walked += 1;
        }
        walked
    }
}

fn can_run(command: &str) -> bool {
    let is_there = |program: &str| {
        let found =
            Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    };
    let missing = OTHERS.iter().filter(|program| !is_there(program));
    let needs = |program: &str| command.split(['|', ';', '&']).any(|stage| stage.trim().starts_with(program));
    !needs("cargo ") && !missing.into_iter().any(|program| needs(program))
}

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_readme_does_what_it_says() {
    let readme = page("README.md");
    let guide = Guide::start();
    let steps = steps(section(&readme, "\n## Try it\n"));
    let walked = guide.walk("README.md", &steps);
    assert!(walked >= 8, "only {walked} steps of the README can be run");
}

#[test]
fn the_tour_does_what_it_says() {
    let guide = Guide::start();
    let steps = steps(&page("docs/tour.md"));
    assert!(steps.iter().filter(|step| step.prints.is_some()).count() >= 10, "{steps:?}");
    let walked = guide.walk("docs/tour.md", &steps);
    assert!(walked >= 15, "only {walked} steps of the tour can be run");
}

#[test]
fn commands_and_what_they_print_are_told_apart() {
    let page = "text\n```sh\na b    # why\n\n# note\nc \\\n  d\n```\n```console\n$ e\nout\n\nmore\n$ f \\\ng\n```\n```\nno step\n```\n";
    let step = |command: &str, prints: Option<&str>| Step {
        command: command.to_owned(),
        prints: prints.map(str::to_owned),
    };
    let expected =
        [step("a b", None), step("c   d", None), step("e", Some("out\n\nmore\n")), step("f g", Some(""))];
    assert_eq!(steps(page), expected);
}

#[test]
fn what_differs_from_run_to_run_is_masked_and_nothing_else() {
    assert_eq!(masked("topic   orders\nid      hTvkXqIUTYuaAuWg3M2Dxw"), "topic orders\nid ID\n");
    assert_eq!(masked("at 2026-11-21T10:00:00.000Z, 1.25 s"), "at TIME, NUMBER s\n");
    assert_eq!(masked("A  SECONDS\n1  7"), masked("A  SECONDS\n1  8"));
    assert_ne!(masked("A  SECONDS\n1  7"), masked("A  SECONDS\n2  7"));
    assert_ne!(masked("0  3  orders"), masked("0  4  orders"));
    assert_ne!(masked("abcdefghijklmnopqrstuv"), masked("abcdefghijklmnopqrstuw"));
}
