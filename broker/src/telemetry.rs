//! Logs: where they go and what they look like.
//!
//! Lines go to standard error, as text or JSON (`milena.log.format`), at the level of `milena.log.level` unless
//! `RUST_LOG` says otherwise. While the broker runs its loggers are told levels through the protocol; like everything
//! of tracing these belong to the process, and a restart forgets them, as in Kafka.

pub mod levels;

use std::io::IsTerminal as _;
use std::sync::{LazyLock, Mutex, PoisonError};

use milena_state::config::broker::{LogFormat, Settings};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use levels::Levels;

/// openraft tells steps of its rounds at info and warns of stale messages at every start; an operator cares for ours.
const QUIET: &str = "openraft=error";

const ENVIRONMENT: &str = "RUST_LOG";

/// The levels in force and the filter that they act through; none where lines go to a subscriber of somebody else.
struct Loggers {
    levels: Levels,
    filter: Option<reload::Handle<Targets, Registry>>,
}

static LOGGERS: LazyLock<Mutex<Loggers>> = LazyLock::new(|| {
    let levels = Levels::new(Targets::new().with_default(tracing::Level::INFO));
    Mutex::new(Loggers { levels, filter: None })
});

/// Starts logging for this process. Later calls change nothing, so that several brokers may live in one test.
pub fn start(settings: &Settings) -> Result<(), levels::Unknown> {
    let start: Targets = match std::env::var(ENVIRONMENT) {
        Ok(directives) if !directives.is_empty() => levels::at_start(&directives)?,
        _ => levels::at_start(&format!("{QUIET},{}", settings.log_level))?,
    };
    let (filter, handle) = reload::Layer::new(start.clone());
    let lines = fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match settings.log_format {
        LogFormat::Text => registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    // A subscriber that is there already stays.
    if started.is_ok() {
        with_loggers(|loggers| *loggers = Loggers { levels: Levels::new(start), filter: Some(handle) });
    }
    log_panics();
    Ok(())
}

/// The levels of all loggers.
pub fn levels() -> Levels {
    with_loggers(|loggers| loggers.levels.clone())
}

/// Changes levels; all lines from now on follow them.
pub fn change(change: impl FnOnce(&mut Levels)) {
    with_loggers(|loggers| {
        change(&mut loggers.levels);
        if let Some(filter) = &loggers.filter {
            // Fails only when the subscriber is gone, and lines with it.
            let _ = filter.reload(loggers.levels.filter());
        }
    });
}

fn with_loggers<T>(work: impl FnOnce(&mut Loggers) -> T) -> T {
    work(&mut LOGGERS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A panic on a reactor ends one connection; its line belongs with the others, not bare on standard error.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(message, location, thread = thread.name(), "panic");
    }));
}
