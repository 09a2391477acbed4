//! The manual page `milena-broker(8)`: options from the command line's own tree, properties from the tables.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use milena_state::config::broker::{self, OWN_DEFAULTS};
use milena_state::config::definition::{Acts, Definition};

/// Commands of system administrators.
const SECTION: &str = "8";

/// Lines that are typed, each below what it is for.
const EXAMPLES: [(&str, &str); 3] = [
    ("A broker on 127.0.0.1:9092 that keeps its data in ./data:", "milena-broker"),
    (
        "With a properties file, and one property over it:",
        "milena-broker /etc/milena/server.properties --override log.dirs=/srv/milena",
    ),
    (
        "Where nothing acknowledged may be lost to a power cut:",
        "milena-broker --override milena.flush=durable",
    ),
];

const SIGNALS: [(&str, &str); 2] = [
    ("SIGTERM, SIGINT", "Closes the listeners, finishes what is in flight, closes the logs and ends."),
    ("SIGKILL", "Loses nothing that was acknowledged; the next start takes longer."),
];

const EXIT_CODES: [(&str, &str); 3] = [
    ("0", "Stopped by SIGTERM or SIGINT, also while it waited for its cluster."),
    ("1", "Cannot start: a bad configuration, a port or a directory that is taken."),
    ("2", "An option that it does not have."),
];

/// The whole page.
pub fn page(command: Command) -> std::io::Result<Vec<u8>> {
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command);
    // Written by hand, because the library leaves out a date that is empty, and what follows would be taken for it.
    let mut page = format!(".TH milena-broker {SECTION} \"\" \"milena {version}\" Milena\n").into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    properties().to_writer(&mut page)?;
    list("SIGNALS", &SIGNALS).to_writer(&mut page)?;
    list("EXIT STATUS", &EXIT_CODES).to_writer(&mut page)?;
    let variable = "Which lines are logged, over milena.log.level: info, milena_broker=debug and the like.";
    list("ENVIRONMENT", &[("RUST_LOG", variable)]).to_writer(&mut page)?;
    examples().to_writer(&mut page)?;
    let mut others = Roff::new();
    others.control("SH", ["SEE ALSO"]).text([bold("milena"), roman("(1)")]);
    others.to_writer(&mut page)?;
    Ok(page)
}

/// A section of terms and what they mean.
fn list(heading: &str, rows: &[(&str, &str)]) -> Roff {
    let mut section = Roff::new();
    section.control("SH", [heading]);
    for (term, meaning) in rows {
        section.control("TP", []).text([bold(*term)]).text([roman(*meaning)]);
    }
    section
}

fn examples() -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["EXAMPLES"]);
    for (what, line) in EXAMPLES {
        section.control("PP", []).text([roman(what)]).control("PP", []).control("RS", ["4"]);
        section.text([bold(line)]).control("RE", []);
    }
    section
}

/// The properties that act: others are accepted for the sake of files that name them.
fn properties() -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["PROPERTIES"]);
    section.text([roman(
        "Names and meanings are those of Apache Kafka; names that begin with milena. are our own.",
    )]);
    let all = broker::definitions().into_iter();
    for property in all.filter(|property| property.acts == Acts::Yes) {
        section.control("TP", []).text(term(property)).text([roman(property.doc)]);
    }
    section
}

fn term(property: &Definition) -> Vec<Inline> {
    let own = OWN_DEFAULTS.iter().find(|(name, _)| *name == property.name).map(|(_, value)| *value);
    let name = bold(property.name);
    match own.or(property.default) {
        Some(default) if !default.is_empty() => vec![name, roman(" = "), italic(default)],
        _ => vec![name],
    }
}
