//! `milena-operator crd`: prints the custom resource definitions as YAML, ready for `kubectl apply -f -`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Kubernetes resources of Milena.
#[derive(Parser)]
#[command(name = "milena-operator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the definitions of Topic and ConsumerGroup as YAML.
    Crd,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Crd => print_definitions(),
    }
}

fn print_definitions() -> ExitCode {
    match milena_operator::crd::to_yaml() {
        Ok(yaml) => {
            print!("{yaml}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("milena-operator: cannot write the definitions as YAML: {error}");
            ExitCode::FAILURE
        }
    }
}
