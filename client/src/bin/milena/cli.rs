//! The tree of commands and the options that all of them have.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::{
    api_versions, bench, cluster, completion, config, consume, down, dump_log, examples, group, log_dirs,
    man, partition, produce, quota, topic, up,
};

/// Work with a Kafka cluster: topics, records, groups, brokers, log files.
#[derive(Debug, Parser)]
#[command(name = "milena", version, arg_required_else_help = true, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Brokers to ask first, separated by commas [default: localhost:9092]
    #[arg(short, long, global = true, env = "MILENA_BOOTSTRAP", value_name = "HOST:PORT")]
    pub bootstrap_server: Option<String>,
    /// How results are shown
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub output: Format,
    /// File with client properties, name=value per line
    #[arg(long, global = true, value_name = "FILE")]
    pub command_config: Option<PathBuf>,
    /// A client property by Kafka's name, such as linger.ms=20; beats the file
    #[arg(short = 'X', long = "property", global = true, value_name = "NAME=VALUE")]
    pub properties: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List, create, describe and delete topics
    #[command(subcommand)]
    Topic(topic::Command),
    /// Move partitions to other brokers and elect their leaders
    #[command(subcommand)]
    Partition(partition::Command),
    /// Show the log directories of brokers and move replicas between them
    #[command(subcommand)]
    LogDirs(log_dirs::Command),
    /// Show and change configuration while the cluster runs
    #[command(subcommand)]
    Config(config::Command),
    /// Show, reset and delete consumer groups and their offsets
    #[command(subcommand)]
    Group(group::Command),
    /// Show and set what clients may use
    #[command(subcommand)]
    Quota(quota::Command),
    /// Write records, one per line of standard input or of files
    Produce(produce::Arguments),
    /// Read records
    Consume(consume::Arguments),
    /// Measure how fast records are written and read
    #[command(subcommand)]
    Bench(bench::Command),
    /// What the cluster is made of
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Start a cluster on this machine, to try things out
    Up(up::Arguments),
    /// Stop the cluster that `milena up` started
    Down(down::Arguments),
    /// Which requests a broker serves, in which versions
    ApiVersions(api_versions::Arguments),
    /// Show what is in the files of a log directory
    DumpLog(dump_log::Arguments),
    /// Print a script that completes this command line in a shell
    Completion(completion::Arguments),
    /// Write the manual pages of this program into a folder
    Man(man::Arguments),
}

/// The tree of commands, each with its examples.
pub fn command() -> clap::Command {
    examples::added_to(Cli::command())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_behind_the_command() {
        for line in ["milena -b a:1 --output json topic list", "milena topic list -b a:1 --output json"] {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            assert_eq!(cli.global.bootstrap_server.as_deref(), Some("a:1"), "{line}");
            assert_eq!(cli.global.output, Format::Json, "{line}");
        }
    }

    #[test]
    fn every_option_can_be_read() {
        let produce = "milena produce t -f a -f - --format text -D , -K : -H a=b --null-value x -p 1 -t 5 -z lz4 --acks 1 \
                       --idempotent false";
        let consume = "milena consume t -p 0,1 --from 5 --to end -n 1 --format text -s key,offset -K : -D | --null-value x \
                       --committed";
        let member = "milena consume t u -g group --group-instance-id one --from -5 --follow";
        let create = "milena topic create a b -p 1 -r 1 -c a=b --if-not-exists --validate-only";
        let others =
            ["milena produce t -k key", "milena consume t -f", "milena topic create a --assignment 1:2,2:1"];
        let benches = [
            "milena bench produce t -n 5 --seconds 1 -s 10 --keys 7 --key-size 3 --rate 9 -z lz4 --acks 1 --create \
             --partitions 3 --replication-factor 1",
            "milena bench produce t --seconds 1 --payload-file f --payload-delimiter |",
            "milena bench consume t u -n 5 --seconds 1 --from end --timeout 3",
            "milena bench latency t -n 5 --seconds 1 -s 10 --acks -1 --timeout 3 --create --partitions 1",
        ];
        let changes = [
            "milena config get topic/t retention.ms",
            "milena config set broker/1 a=b c+=d e-=f --validate-only",
            "milena config unset brokers a b",
            "milena config describe group/g --all",
            "milena topic alter a b -c x=y --unset z --validate-only",
            "milena topic add-partitions t --count 3 --assignment 1:2,2:1 --validate-only",
            "milena topic delete-records t --before 5 -p 0,1",
            "milena partition reassign",
            "milena partition reassign plan.json --execute --wait",
            "milena partition reassign plan.json --execute --throttle 1000000",
            "milena partition reassign plan.json --cancel",
            "milena partition reassign plan.json --verify",
            "milena partition reassign --topic t:0,1 --brokers 1,2,3 --export",
            "milena log-dirs list --broker 1,2 --topic t:0,1 --topic u",
            "milena log-dirs move t:0,1 u --broker 1 --to /data/2 --wait",
            "milena partition elect --all",
            "milena partition elect --unclean --topic t:0 --topic u",
            "milena partition elect --from-file f",
            "milena group list --state stable,Empty --type classic",
            "milena group describe --all --members",
            "milena group reset g h --topic t:0,1 --topic u --shift-by -5 --dry-run",
            "milena group reset --all-groups --all-topics --to-datetime 2026-11-21T10:00:00.000 --execute --export",
            "milena group reset g --from-file f",
            "milena group delete g --offsets --topic t:0",
            "milena quota get --user u --client-id-default --strict",
            "milena quota set --user-default --client-id c a=1 b= --remove d --validate-only",
            "milena up --brokers 3 --data d --port 9092 --override a=b --override c=d",
            "milena up --data d --kill 1,2 --restart 2 --output json",
            "milena down --data d --delete",
            "milena cluster status -b a:1",
            "milena cluster drain 2 --dry-run",
            "milena cluster undrain 2 --output json",
        ];
        for line in [produce, consume, member, create].into_iter().chain(others).chain(benches).chain(changes)
        {
            let parsed = Cli::try_parse_from(line.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }

    #[test]
    fn a_reset_has_one_strategy_and_one_scope() {
        for line in [
            "",
            "--to-earliest --to-latest",
            "--to-earliest --topic t --all-topics",
            "--from-file f --topic t",
            "--to-earliest --topic t --dry-run --execute",
        ] {
            let line = format!("milena group reset g {line}");
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }

    #[test]
    fn negative_values_reach_the_option() {
        for line in ["consume t --from -5", "consume t --to -15m", "produce t --acks -1", "produce t -t -15m"]
        {
            let parsed = Cli::try_parse_from(format!("milena {line}").split(' '));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }

    #[test]
    fn values_that_are_no_numbers_are_refused_by_their_option() {
        for line in [
            "consume t -p -1",
            "consume t -p first",
            "consume t -n -1",
            "produce t -p -1",
            "produce t -p first",
            "topic add-partitions t --count 0",
            "topic create t --partitions -1",
            "topic create t --partitions many",
            "topic create t --replication-factor -1",
            "api-versions --broker -1",
        ] {
            let refused = Cli::try_parse_from(format!("milena {line}").split(' ')).expect_err(line);
            assert!(refused.to_string().contains("it is a number, from "), "{line}: {refused}");
        }
    }
}
