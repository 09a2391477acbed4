//! The level of each logger, in Kafka's words.
//!
//! A logger is a module and those below it, with dots between the names, as Kafka's tools take no colons; `root` is
//! everything else. A logger without a level of its own has that of the nearest one above it.

use std::collections::BTreeMap;

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Everything that no other logger is told.
pub const ROOT: &str = "root";

/// The loggers that can be told, beside [`ROOT`]: the crates that log, and the parts of the broker.
pub const NAMES: &[&str] = &[
    "milena_broker",
    "milena_broker.admin",
    "milena_broker.api",
    "milena_broker.console",
    "milena_broker.controller",
    "milena_broker.coordinator",
    "milena_broker.lag",
    "milena_broker.lifecycle",
    "milena_broker.metadata",
    "milena_broker.partition",
    "milena_broker.server",
    "milena_broker.telemetry",
    "milena_log",
    "openraft",
];

/// Kafka's names, the most talkative first. Nothing of ours is fatal: a logger at FATAL is silent.
const WORDS: [(&str, LevelFilter); 6] = [
    ("TRACE", LevelFilter::TRACE),
    ("DEBUG", LevelFilter::DEBUG),
    ("INFO", LevelFilter::INFO),
    ("WARN", LevelFilter::WARN),
    ("ERROR", LevelFilter::ERROR),
    ("FATAL", LevelFilter::OFF),
];

pub fn is_logger(name: &str) -> bool {
    name == ROOT || NAMES.contains(&name)
}

pub fn parse(word: &str) -> Option<LevelFilter> {
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, level)| *level)
}

/// The words of [`parse`], as a sentence lists them.
pub fn words() -> String {
    let mut words = WORDS.map(|(word, _)| word);
    words.sort_unstable();
    words.join(", ")
}

/// What `milena.log.level` or `RUST_LOG` says does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither a level (off, error, warn, info, debug, trace) nor MODULE=LEVEL")]
pub struct Unknown(String);

/// A level for everything, and `MODULE=LEVEL` for what differs, with commas between them. A word that is no level is
/// refused: as the name of a module it would silence all others.
pub fn at_start(text: &str) -> Result<Targets, Unknown> {
    let mut targets = Targets::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (module, level) =
            part.split_once('=').map_or((None, part), |(module, level)| (Some(module), level));
        let is_module = |name: &str| {
            !name.is_empty()
                && name.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | ':'))
        };
        let level = level.trim().parse::<LevelFilter>().map_err(|_| Unknown(part.to_owned()))?;
        targets = match module.map(str::trim) {
            None => targets.with_default(level),
            Some(module) if is_module(module) => targets.with_target(module, level),
            Some(_) => return Err(Unknown(part.to_owned())),
        };
    }
    Ok(targets)
}

/// The path of the module that a logger is.
fn module(logger: &str) -> String {
    logger.replace('.', "::")
}

fn word(level: LevelFilter) -> &'static str {
    WORDS.iter().find(|(_, known)| *known == level).map_or("FATAL", |(word, _)| word)
}

/// What the start said, and what was changed since.
#[derive(Debug, Clone)]
pub struct Levels {
    start: Targets,
    changed: BTreeMap<String, LevelFilter>,
}

impl Levels {
    pub fn new(start: Targets) -> Self {
        Self { start, changed: BTreeMap::new() }
    }

    /// One that is called [`ROOT`] or stands in [`NAMES`].
    pub fn set(&mut self, logger: &str, level: LevelFilter) {
        self.changed.insert(logger.to_owned(), level);
    }

    /// Back to what the start said.
    pub fn unset(&mut self, logger: &str) {
        self.changed.remove(logger);
    }

    pub fn filter(&self) -> Targets {
        let root = self.changed.get(ROOT).copied().or(self.start.default_level()).unwrap_or(LevelFilter::OFF);
        let changed = self.changed.iter().filter(|(logger, _)| *logger != ROOT);
        let changed = changed.map(|(logger, level)| (module(logger), *level));
        let start = self.start.iter().map(|(target, level)| (target.to_owned(), level));
        Targets::new().with_targets(start.chain(changed)).with_default(root)
    }

    /// Every logger by name with the word for its level.
    pub fn all(&self) -> Vec<(&'static str, &'static str)> {
        let filter = self.filter();
        let level = |logger: &str| {
            let logger = module(logger);
            let above = filter.iter().filter(|(target, _)| logger.starts_with(target));
            let nearest = above.max_by_key(|(target, _)| target.len()).map(|(_, level)| level);
            nearest.or(filter.default_level()).unwrap_or(LevelFilter::OFF)
        };
        NAMES.iter().chain([&ROOT]).map(|name| (*name, word(level(name)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    use super::{Levels, NAMES, ROOT, at_start, parse, words};

    fn levels() -> Levels {
        Levels::new(at_start("openraft=error,info").unwrap())
    }

    fn level_of(levels: &Levels, logger: &str) -> &'static str {
        levels.all().iter().find(|(name, _)| *name == logger).unwrap().1
    }

    #[test]
    fn a_logger_has_the_level_of_the_nearest_above_it() {
        let mut levels = levels();
        levels.set("milena_broker", LevelFilter::WARN);
        levels.set("milena_broker.server", LevelFilter::TRACE);
        let told = ["root", "openraft", "milena_log", "milena_broker.api", "milena_broker.server"];
        let found = told.map(|logger| level_of(&levels, logger));
        assert_eq!(found, ["INFO", "ERROR", "INFO", "WARN", "TRACE"]);
    }

    #[test]
    fn the_filter_does_what_is_said() {
        let mut levels = levels();
        levels.set(ROOT, LevelFilter::OFF);
        levels.set("milena_broker.server", LevelFilter::DEBUG);
        let filter = levels.filter();
        assert!(filter.would_enable("milena_broker::server::connection", &tracing::Level::DEBUG));
        assert!(!filter.would_enable("milena_broker::partition", &tracing::Level::ERROR));
        assert!(filter.would_enable("openraft", &tracing::Level::ERROR));
    }

    #[test]
    fn what_is_unset_is_as_at_the_start() {
        let mut levels = levels();
        levels.set("openraft", LevelFilter::TRACE);
        levels.set(ROOT, LevelFilter::DEBUG);
        levels.unset("openraft");
        levels.unset(ROOT);
        assert_eq!(levels.all(), self::levels().all());
    }

    #[test]
    fn what_is_no_level_is_refused_by_name() {
        for wrong in [
            "warning",
            "loud",
            "info,milena_broker=lod",
            "milena_broker",
            "[request]=debug",
            "a[b]=info",
            "=info",
        ] {
            let error = at_start(wrong).unwrap_err().to_string();
            assert!(error.contains(wrong.split(',').next_back().unwrap()), "{error}");
        }
        let right = at_start(" WARN, milena_log = trace ,openraft::core=off").unwrap();
        assert_eq!(right.default_level(), Some(LevelFilter::WARN));
        assert!(right.would_enable("milena_log::append", &tracing::Level::TRACE));
        assert!(!right.would_enable("openraft::core", &tracing::Level::ERROR));
    }

    #[test]
    fn words_are_those_of_kafka() {
        assert_eq!(words(), "DEBUG, ERROR, FATAL, INFO, TRACE, WARN");
        assert_eq!(parse("FATAL"), Some(LevelFilter::OFF));
        assert_eq!(parse("debug"), None);
    }

    #[test]
    fn names_are_in_order_and_once() {
        assert!(NAMES.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
