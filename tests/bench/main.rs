//! Benchmarks of the broker against the floor and the real Apache Kafka, in the same run.
//!
//! `bench run SCENARIO… [--peer floor] [--peer apache-kafka] [--seconds N] [--rounds N] [--json FILE]`
//! starts the broker under test and its peers, puts the same load from librdkafka on each in alternating
//! rounds, reads their CPU time and memory from `/proc`, and prints medians with ratios. A round in which other
//! processes used more than a tenth of a core is repeated; `--noisy` takes it as it is.
//! Only ratios of one run mean something: absolute figures differ by 2× between machines.

mod connections;
mod contender;
mod group_wire;
mod load;
mod measure;
mod members;
mod pages;
mod report;
mod runner;
mod scenarios;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use contender::Kind;
use load::Failure;

const OPEN_FILES: u64 = 65_536;

#[derive(Parser)]
#[command(name = "bench", about = "Benchmarks of the broker against the floor and Apache Kafka")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the scenarios
    List,
    /// Run scenarios and print a table for each
    Run(Options),
}

#[derive(Args, Clone)]
pub struct Options {
    /// Names of scenarios, such as P1; `all` for every one
    #[arg(required = true)]
    scenarios: Vec<String>,
    /// Compare with floor, apache-kafka or before, an older build that MILENA_BEFORE names (repeat for several)
    #[arg(long = "peer", value_parser = parse_kind)]
    peers: Vec<Kind>,
    /// The broker under test
    #[arg(long, default_value = "milena", value_parser = parse_kind)]
    subject: Kind,
    /// Seconds of load per round; each scenario has its own default
    #[arg(long, value_parser = parse_seconds)]
    seconds: Option<Duration>,
    /// Rounds that count, per broker
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load on a JVM before its rounds count
    #[arg(long, default_value = "30", value_parser = parse_seconds)]
    warm: Duration,
    /// Of P1 and P2 only the cases whose title contains this
    #[arg(long)]
    case: Option<String>,
    /// Count rounds however busy the machine was
    #[arg(long)]
    noisy: bool,
    /// Write every round to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where the brokers' data goes
    #[arg(long, default_value_os_t = default_directory())]
    directory: PathBuf,
}

fn default_directory() -> PathBuf {
    let target = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.parent()?.to_owned()));
    target.unwrap_or_else(std::env::temp_dir).join("bench")
}

fn parse_kind(name: &str) -> Result<Kind, String> {
    Kind::peer(name).ok_or_else(|| "it is milena, before, floor or apache-kafka".to_owned())
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::List => {
            for scenario in scenarios::ALL {
                println!("{:4} {}", scenario.name, scenario.what);
            }
            ExitCode::SUCCESS
        }
        Command::Run(options) => match run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("bench: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let all = options.scenarios.iter().any(|name| name == "all");
    let known = |name: &String| scenarios::ALL.iter().any(|one| one.name.eq_ignore_ascii_case(name));
    if let Some(name) = options.scenarios.iter().find(|name| !all && !known(name)) {
        return Err(format!("no scenario {name}; see `bench list`").into());
    }
    std::fs::create_dir_all(&options.directory)?;
    // Ten thousand connections here, and files as well in the brokers, which inherit the limit.
    milena_tests::syscalls::raise_open_files(OPEN_FILES)?;
    let mut cases = Vec::new();
    for scenario in scenarios::ALL {
        if all || options.scenarios.iter().any(|name| scenario.name.eq_ignore_ascii_case(name)) {
            eprintln!("{}: {}", scenario.name, scenario.what);
            for case in (scenario.run)(scenario.name, options)? {
                case.print();
                cases.push(case);
            }
        }
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&cases)?)?;
    }
    Ok(())
}
