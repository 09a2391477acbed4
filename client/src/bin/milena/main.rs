//! `milena`: the command line of a Kafka cluster.
//!
//! Each command is a module: its options, what it asks of the cluster, how it shows the answer. Results go to standard
//! output, as tables or as JSON; errors, hints and progress go to standard error. Exit codes: 0 done, 1 failed, 2 wrong
//! usage, 130 interrupted, 143 terminated.

mod api_versions;
mod bench;
mod cli;
mod cluster;
mod completion;
mod config;
mod consume;
mod context;
mod down;
mod dump_log;
mod error;
mod examples;
mod group;
mod interrupt;
mod json;
mod log_dirs;
mod man;
mod output;
mod partition;
mod produce;
mod progress;
mod properties;
mod quota;
mod text;
mod time;
mod topic;
mod up;

use std::process::ExitCode;

use clap::FromArgMatches;

use cli::{Cli, Command};
use context::Context;
use error::Error;
use interrupt::{Interrupt, Outcome};

fn main() -> ExitCode {
    let cli = Cli::from_arg_matches(&cli::command().get_matches()).unwrap_or_else(|error| error.exit());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return ExitCode::from(error::FAILED);
        }
    };
    let (interrupt, listener) = interrupt::channel();
    // These end in order by themselves, with what they have; all others just stop.
    let ends_itself = matches!(cli.command, Command::Produce(_) | Command::Consume(_) | Command::Bench(_));
    let outcome = runtime.block_on(interrupt::run(run(cli, interrupt), listener, ends_itself));
    // A thread that waits for standard input must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Outcome::Interrupted(signal) => ExitCode::from(signal.exit_code()),
        Outcome::ByItself(Ok(()) | Err(Error::ClosedPipe)) => ExitCode::SUCCESS,
        Outcome::ByItself(Err(error)) => {
            report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(cli: Cli, interrupt: Interrupt) -> Result<(), Error> {
    let context = Context::new(cli.global)?;
    match cli.command {
        Command::Topic(command) => topic::run(&context, command).await,
        Command::Partition(command) => partition::run(&context, command).await,
        Command::LogDirs(command) => log_dirs::run(&context, command).await,
        Command::Config(command) => config::run(&context, command).await,
        Command::Group(command) => group::run(&context, command).await,
        Command::Quota(command) => quota::run(&context, command).await,
        Command::Produce(arguments) => produce::run(&context, arguments, interrupt).await,
        Command::Consume(arguments) => consume::run(&context, arguments, interrupt).await,
        Command::Bench(command) => bench::run(&context, command, interrupt).await,
        Command::Cluster(command) => cluster::run(&context, command).await,
        Command::Up(arguments) => up::run(&context, arguments).await,
        Command::Down(arguments) => down::run(&context, arguments).await,
        Command::ApiVersions(arguments) => api_versions::run(&context, arguments).await,
        Command::DumpLog(arguments) => dump_log::run(&context, &arguments),
        Command::Completion(arguments) => completion::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}

fn report(error: &Error) {
    eprintln!("error: {}", output::visible_lines(&error.to_string()));
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
}
