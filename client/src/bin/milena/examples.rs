//! Examples of every command, for `--help` and the manual pages.
//!
//! A line that begins with `#` says what the line below it does.

use clap::Command;

/// Commands without `milena` in front, and their examples.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("topic list", &["milena topic list", "# with the cluster's own", "milena topic list --internal"]),
    (
        "topic create",
        &[
            "milena topic create orders --partitions 3 --config retention.ms=604800000",
            "# two partitions, each on two brokers of our choice, in a cluster of three",
            "milena topic create audit --assignment 1:2,2:3",
        ],
    ),
    (
        "topic describe",
        &["milena topic describe orders", "milena topic describe orders --all-configs --output json"],
    ),
    ("topic alter", &["milena topic alter orders audit --config retention.ms=60000 --unset segment.ms"]),
    ("topic add-partitions", &["milena topic add-partitions orders --count 6"]),
    (
        "topic delete-records",
        &[
            "milena topic delete-records orders --before 100 --partition 0,1",
            "# all that is there now",
            "milena topic delete-records orders --before end",
        ],
    ),
    ("topic delete", &["milena topic delete orders", "milena topic delete orders audit --if-exists"]),
    (
        "partition reassign",
        &[
            "# what is under way",
            "milena partition reassign",
            "# which replicas would move by the plan of a file; --execute moves them",
            "milena partition reassign plan.json",
            "milena partition reassign plan.json --execute --wait",
            "# at most 50 MB/s from and to each broker; --verify removes that when all is moved",
            "milena partition reassign plan.json --execute --throttle 50000000",
            "milena partition reassign plan.json --verify",
            "# back to where they were",
            "milena partition reassign plan.json --cancel",
            "# a plan for brokers 1, 2 and 3, to look at and to keep",
            "milena partition reassign --topic orders --brokers 1,2,3 --export > plan.json",
        ],
    ),
    (
        "partition elect",
        &[
            "# leaderships back to the first replicas",
            "milena partition elect --all",
            "milena partition elect --topic orders:0,2 --topic audit",
            "# of partitions that lost all replicas in sync: records may be lost",
            "milena partition elect --topic orders:0 --unclean",
        ],
    ),
    (
        "log-dirs list",
        &["milena log-dirs list", "milena log-dirs list --broker 1 --topic orders --output json"],
    ),
    (
        "log-dirs move",
        &[
            "milena log-dirs move orders:0,2 --broker 1 --to /data/2 --wait",
            "# back: the move ends if it has not ended yet",
            "milena log-dirs move orders:0 --broker 1 --to /data/1",
        ],
    ),
    ("config get", &["milena config get topic/orders retention.ms"]),
    (
        "config set",
        &[
            "milena config set topic/orders retention.ms=60000 segment.ms=3600000",
            "# add to a list",
            "milena config set topic/orders cleanup.policy+=compact",
            "# of all brokers",
            "milena config set brokers log.retention.ms=86400000",
        ],
    ),
    ("config unset", &["milena config unset topic/orders retention.ms segment.ms"]),
    ("config describe", &["milena config describe topic/orders", "milena config describe broker/1 --all"]),
    (
        "group list",
        &[
            "milena group list",
            "# classic groups that nobody is in",
            "milena group list --state empty --type classic",
            "milena group list --state stable,empty",
        ],
    ),
    (
        "group describe",
        &[
            "# how far it has come and is behind",
            "milena group describe billing",
            "milena group describe billing reports --members",
            "milena group describe --all --state",
            "milena group describe billing --output json",
        ],
    ),
    (
        "group reset",
        &[
            "# shows what would be committed; --execute does it",
            "milena group reset billing --topic orders --to-earliest",
            "milena group reset billing --topic orders:0,2 --shift-by -100 --execute",
            "milena group reset billing --all-topics --to-datetime 2026-11-21T10:00:00.000 --execute",
            "milena group reset billing --all-topics --by-duration PT6H --execute",
            "# keeps what is committed in a file, and goes back to it",
            "milena group reset billing --all-topics --to-current --export > billing.csv",
            "milena group reset billing --from-file billing.csv --execute",
        ],
    ),
    (
        "group delete",
        &[
            "milena group delete billing reports",
            "# only what it has committed in some topics",
            "milena group delete billing --offsets --topic orders --topic audit:0,1",
        ],
    ),
    (
        "quota get",
        &[
            "milena quota get",
            "milena quota get --user alice",
            "# only that of the two together",
            "milena quota get --user alice --client-id-default --strict",
        ],
    ),
    (
        "quota set",
        &[
            "milena quota set --user alice producer_byte_rate=1048576 consumer_byte_rate=2097152",
            "# of every client id that has none of its own, until it is removed",
            "milena quota set --client-id-default producer_byte_rate=1048576",
            "milena quota set --client-id-default --remove producer_byte_rate",
            "milena quota set --user alice controller_mutation_rate=5 producer_byte_rate= --remove consumer_byte_rate",
        ],
    ),
    (
        "produce",
        &[
            "printf 'hello\\nworld\\n' | milena produce orders",
            "# keys before a colon, compressed",
            "printf 'a:1\\nb:2\\n' | milena produce orders --key-separator : -z zstd",
            "# copy a topic with keys, headers and timestamps",
            "milena consume orders --format json | milena produce orders-copy --format json",
        ],
    ),
    (
        "consume",
        &[
            "milena consume orders",
            "# new records as they come",
            "milena consume orders --follow",
            "# the last quarter of an hour, with times and keys",
            "milena consume orders --from -15m --show timestamp,key",
            "# one record by its offset",
            "milena consume orders --partition 0 --from 42 -n 1",
            "# as a member of a group, which goes on where it was",
            "milena consume orders payments --group audit --follow",
        ],
    ),
    (
        "bench produce",
        &[
            "milena bench produce load --records 1000000 --size 100 --create --partitions 3",
            "# a minute at a steady rate, with keys",
            "milena bench produce load --seconds 60 --rate 5000 --keys 1000",
            "# lines of a file, compressed in larger batches",
            "milena bench produce load -n 100000 --payload-file access.log -z zstd -X batch.size=262144",
        ],
    ),
    (
        "bench consume",
        &[
            "# all that is there",
            "milena bench consume load",
            "milena bench consume load --records 1000000 --output json",
            "# as a member of a group, which commits nothing",
            "milena bench consume load --group perf --records 1000000",
        ],
    ),
    ("bench latency", &["milena bench latency load --records 10000 --size 100"]),
    ("cluster info", &["milena cluster info", "milena cluster info -b broker-1:9092,broker-2:9092"]),
    ("cluster status", &["milena cluster status", "milena cluster status --output json"]),
    ("cluster drain", &["milena cluster drain 2 --dry-run", "milena cluster drain 2"]),
    ("cluster undrain", &["milena cluster undrain 2"]),
    (
        "up",
        &[
            "milena up",
            "# elsewhere, with other ports and with records that live for an hour",
            "milena up --brokers 5 --data /tmp/five --port 19092 --override log.retention.hours=1",
            "# a crash, and its end",
            "milena up --kill 2",
            "milena up --restart 2",
        ],
    ),
    ("down", &["milena down", "milena down --data /tmp/five --delete"]),
    (
        "api-versions",
        &[
            "milena api-versions",
            "# of one broker, where there are several",
            "milena api-versions --broker 2",
        ],
    ),
    (
        "dump-log",
        &[
            "milena dump-log --records data/orders-0/00000000000000000000.log",
            "milena dump-log data/orders-0/partition.metadata data/__cluster_metadata-0/*.log",
        ],
    ),
    (
        "completion",
        &[
            "milena completion bash > /etc/bash_completion.d/milena",
            "milena completion fish > ~/.config/fish/completions/milena.fish",
        ],
    ),
    ("man", &["milena man /usr/local/share/man/man1", "man milena-topic-create"]),
];

/// The examples of a command; none where only its subcommands do something.
pub fn of(path: &str) -> &'static [&'static str] {
    EXAMPLES.iter().find(|(command, _)| *command == path).map_or(&[], |(_, lines)| lines)
}

/// The tree with the examples of each command at the end of its help.
pub fn added_to(root: Command) -> Command {
    root.mut_subcommands(|command| {
        let path = command.get_name().to_owned();
        below(command, &path)
    })
}

fn below(command: Command, path: &str) -> Command {
    let lines = of(path);
    let command = command.mut_subcommands(|inner| {
        let path = format!("{path} {}", inner.get_name());
        below(inner, &path)
    });
    if lines.is_empty() {
        return command;
    }
    let examples = format!("Examples:\n  {}", lines.join("\n  "));
    let help = match command.get_after_help() {
        Some(before) => format!("{before}\n\n{examples}"),
        None => examples,
    };
    command.after_help(help)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    /// Paths of the commands that do something.
    fn leaves(command: &Command, path: &str) -> BTreeSet<String> {
        let inner = command.get_subcommands();
        let paths =
            inner.flat_map(|inner| leaves(inner, format!("{path} {}", inner.get_name()).trim_start()));
        let paths: BTreeSet<String> = paths.collect();
        if paths.is_empty() { [path.to_owned()].into() } else { paths }
    }

    /// Words of a line as a shell takes them apart, of each program in a pipeline.
    fn programs(line: &str) -> Vec<Vec<String>> {
        let (mut programs, mut word, mut quoted) = (vec![Vec::new()], String::new(), false);
        for character in line.chars().chain([' ']) {
            match character {
                '\'' => quoted = !quoted,
                ' ' if !quoted => {
                    let done = std::mem::take(&mut word);
                    match &*done {
                        "" => {}
                        "|" => programs.push(Vec::new()),
                        _ => programs.last_mut().expect("one is there").push(done),
                    }
                }
                other => word.push(other),
            }
        }
        // What a shell keeps for itself.
        for program in &mut programs {
            if let Some(at) = program.iter().position(|word| word == ">") {
                program.truncate(at);
            }
        }
        programs
    }

    #[test]
    fn every_command_has_examples_and_none_is_left_over() {
        let with_examples: BTreeSet<String> = EXAMPLES
            .iter()
            .filter(|(_, lines)| !lines.is_empty())
            .map(|(path, _)| (*path).to_owned())
            .collect();
        assert_eq!(with_examples, leaves(&Cli::command(), ""));
        assert_eq!(with_examples.len(), EXAMPLES.len(), "a command stands twice");
    }

    #[test]
    fn examples_are_right_and_show_their_command() {
        for (path, lines) in EXAMPLES {
            let mut is_shown = false;
            for line in lines.iter().filter(|line| !line.starts_with('#')) {
                for words in programs(line).iter().filter(|words| words[0] == "milena") {
                    let parsed = crate::cli::command().try_get_matches_from(words);
                    assert!(parsed.is_ok(), "{line}: {parsed:?}");
                    is_shown |= words[1..].join(" ").starts_with(path);
                }
            }
            assert!(is_shown, "{path}");
        }
    }

    #[test]
    fn help_ends_with_the_examples() {
        let mut command = added_to(Cli::command());
        let produce = command.find_subcommand_mut("produce").expect("it is there");
        let help = produce.render_help().to_string();
        assert!(help.contains("Properties for -X: acks") && help.contains("\nExamples:\n  printf"), "{help}");
    }

    /// A page that leaves a command out is worse than none: people believe that it is whole.
    #[test]
    fn every_command_is_in_the_page_of_the_command_line() {
        let page = include_str!("../../../../docs/cli.md");
        let root = Cli::command();
        for command in root.get_subcommands() {
            let name = format!("`milena {}`", command.get_name());
            let heading = page.lines().find(|line| line.starts_with("## ") && line.contains(&name));
            assert!(heading.is_some(), "no heading of docs/cli.md has {name}");
        }
        for path in leaves(&root, "") {
            let shown = page.lines().flat_map(|line| line.split(" | ")).any(|part| {
                let part = part.trim_start_matches("$ ");
                part == format!("milena {path}") || part.starts_with(&format!("milena {path} "))
            });
            assert!(shown, "no line of docs/cli.md shows `milena {path}`");
        }
    }
}
