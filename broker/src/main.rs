//! The program `milena-broker`.

mod man;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser};
use milena_broker::broker::{self, Broker};
use milena_broker::error::StartError;
use milena_broker::server::limits::Limits;
use milena_broker::shutdown::Stop;
use milena_broker::{config, telemetry};
use milena_log::RealFiles;
use milena_state::config::broker::Settings;
use milena_state::config::quorum::Roles;

/// Small requests allocate and free small pieces: mimalloc does that faster than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milena: a Kafka-compatible streaming broker.
///
/// Without arguments it listens on 127.0.0.1:9092 and keeps its data in ./data.
#[derive(Debug, Parser)]
#[command(name = "milena-broker", version)]
struct Arguments {
    /// Properties file with Apache Kafka's names.
    #[arg(value_name = "server.properties")]
    file: Option<PathBuf>,

    /// Sets a property, over the file. May be given many times.
    #[arg(long = "override", value_name = "name=value")]
    overrides: Vec<String>,

    /// Prints the manual page milena-broker(8) and ends.
    #[arg(long, hide = true)]
    man_page: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.man_page {
        return print_man_page();
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("milena-broker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_man_page() -> ExitCode {
    let printed = man::page(Arguments::command()).and_then(|page| std::io::stdout().write_all(&page));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("milena-broker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), StartError> {
    // Before the threads and their arenas exist.
    let small_pages = milena_broker::disable_huge_pages();
    let settings = config::load(arguments.file.as_deref(), &arguments.overrides)?;
    telemetry::start(&settings)?;
    if let Err(error) = small_pages {
        tracing::debug!(%error, "transparent huge pages stay on");
    }
    for property in settings.without_effect() {
        tracing::warn!(property, "property is accepted and has no effect");
    }
    let background = broker::background()?;
    // Before anything that may wait for others.
    let caught =
        background.block_on(async { Stop::not_at_file_size_limit().and_then(|()| Stop::on_signals()) });
    let mut stop = caught.map_err(StartError::Thread)?;
    let limits = Limits::of(&settings);
    let mut broker =
        match Broker::start_unless(background, Arc::new(RealFiles), settings, limits, stop.clone()) {
            Err(error) if error.is_stop() => {
                tracing::info!("stopped before it had started");
                return Ok(());
            }
            started => started?,
        };
    // A full disk or a closed pipe behind the standard output is no reason to end.
    if let Err(error) = std::io::stdout().write_all(banner(&broker).as_bytes()) {
        tracing::warn!(%error, "standard output cannot be written");
    }
    let ended = broker.background().clone().block_on(async {
        tokio::select! {
            biased;
            signal = stop.asked_for() => Ok(signal),
            error = broker.ended() => Err(error),
        }
    });
    match &ended {
        Ok(signal) => tracing::info!(signal, "stopping"),
        Err(error) => tracing::error!(%error, "stopping"),
    }
    broker.stop();
    tracing::info!("stopped");
    ended.map(|_| ())
}

/// What a new user wants to know.
fn banner(broker: &Broker) -> String {
    let settings: &Settings = &broker.node().settings;
    let all = settings.listeners.iter().chain(&settings.controller_listeners);
    let listeners = all.map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let dirs = settings.log_dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ");
    let http = match broker.http_address() {
        Some(address) => format!("http://{address}/console, /metrics, /healthz, /readyz"),
        None => "off".to_owned(),
    };
    let roles = match settings.quorum.roles {
        Roles { broker: true, controller: true } => "",
        Roles { broker: true, controller: false } => ", broker",
        Roles { broker: false, .. } => ", controller",
    };
    let try_it = match settings.quorum.roles.broker {
        true => {
            let bootstrap = broker.bootstrap();
            format!(
                "\n\
                 Try it:\n  \
                   echo hello | kcat -P -b {bootstrap} -t greetings\n  \
                   kcat -C -b {bootstrap} -t greetings -e\n"
            )
        }
        false => String::new(),
    };
    format!(
        "Milena {version}, node {node}{roles}\n  \
           listens on  {listeners}\n  \
           data        {dirs}\n  \
           HTTP        {http}\n\
         {try_it}",
        version = env!("CARGO_PKG_VERSION"),
        node = settings.node_id,
    )
}
