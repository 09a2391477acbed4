//! Logs: where they go and what they look like.
//!
//! Lines go to standard error, as text or JSON (`milena.log.format`), at the level of `milena.log.level` unless
//! `RUST_LOG` says otherwise.

use std::io::IsTerminal as _;

use milena_state::config::broker::{LogFormat, Settings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// openraft tells steps of its rounds at info and warns of stale messages at every start; an operator cares for ours.
const QUIET: &str = "openraft=error";

/// Starts logging for this process. Later calls change nothing, so that several brokers may live in one test.
pub fn start(settings: &Settings) -> Result<(), ParseError> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(directives)?,
        _ => EnvFilter::try_new(format!("{QUIET},{}", settings.log_level))?,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A subscriber that is there already stays.
    let _ = match settings.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    log_panics();
    Ok(())
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
