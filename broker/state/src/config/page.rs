//! The reference page `docs/config.md`, rendered from the tables.

use std::fmt::Write;

use super::broker::OWN_DEFAULTS;
use super::definition::{Acts, Definition, Kind, Update, Valid};
use super::{broker, client_metrics, group, topic};

const HEAD: &str = "\
# Configuration

Generated from the tables in `broker/state/src/config/rows`; a test keeps it true. Names, types,
defaults and ranges are those of Apache Kafka 4.3.1; names that start with `milena.` are ours.

*acts*: **yes**, Milena does what the property says; *not yet*, only the default is accepted; *no
effect*, any valid value is accepted because the property tunes a mechanism that Milena does not have.
*change*: *restart*, only in the properties file; *broker* and *cluster*, also while running, for one
broker or for all.

";

/// The whole page.
pub fn render() -> String {
    let mut page = HEAD.to_owned();
    page.push_str(
        "## Values that Milena chooses\n\nWithout a properties file, or where it does not mention them:\n\n",
    );
    page.push_str("| property | value |\n|---|---|\n");
    for (name, value) in OWN_DEFAULTS {
        let _ = writeln!(page, "| `{name}` | `{value}` |");
    }
    table(&mut page, "Broker", broker::definitions().into_iter());
    table(&mut page, "Topic", topic::TABLE.iter().flat_map(|rows| rows.iter()));
    table(&mut page, "Group", group::TABLE.iter().flat_map(|rows| rows.iter()));
    table(&mut page, "Client metrics", client_metrics::TABLE.iter().flat_map(|rows| rows.iter()));
    page
}

fn table(page: &mut String, title: &str, rows: impl Iterator<Item = &'static Definition>) {
    let _ = writeln!(page, "\n## {title} properties\n");
    page.push_str("| property | type | default | valid | change | acts | |\n|---|---|---|---|---|---|---|\n");
    for row in rows {
        let Definition { name, default, doc, .. } = row;
        let default = match default {
            None => "–".to_owned(),
            Some("") => "empty".to_owned(),
            Some(value) => format!("`{value}`"),
        };
        let _ = writeln!(
            page,
            "| `{name}` | {} | {default} | {} | {} | {} | {doc} |",
            kind(row.kind),
            valid(row.valid),
            update(row),
            acts(row.acts),
        );
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "boolean",
        Kind::String => "string",
        Kind::Short => "short",
        Kind::Int => "int",
        Kind::Long => "long",
        Kind::Double => "double",
        Kind::List => "list",
        Kind::Class => "class",
        Kind::Password => "password",
    }
}

fn valid(valid: Valid) -> String {
    match valid {
        Valid::Any => String::new(),
        Valid::AtLeast(least) => format!("≥ {least}"),
        Valid::Between(least, most) => format!("{least} to {most}"),
        Valid::BetweenOrMinusOne(least, most) => format!("{least} to {most}, or −1"),
        Valid::Fraction => "0 to 1".to_owned(),
        Valid::OneOf(names) | Valid::OneOfIgnoreCase(names) => names.join(", "),
        Valid::Elements(names) => format!("list of {}", names.join(", ")),
        Valid::NonEmpty => "not empty".to_owned(),
        Valid::ThrottledReplicas => "`*` or partition:broker, …".to_owned(),
    }
}

fn update(row: &Definition) -> &'static str {
    if broker::RESTART_ONLY.contains(&row.name) {
        return "restart";
    }
    match row.update {
        Update::ReadOnly => "restart",
        Update::PerBroker => "broker",
        Update::ClusterWide => "cluster",
        Update::Resource => "any time",
    }
}

fn acts(acts: Acts) -> &'static str {
    match acts {
        Acts::Yes => "**yes**",
        Acts::NotYet => "not yet",
        Acts::NoEffect => "no effect",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_has_a_sentence_and_a_line_on_the_page() {
        let page = render();
        let tables = [broker::TABLE, topic::TABLE, group::TABLE, client_metrics::TABLE];
        for row in tables.iter().flat_map(|table| table.iter()).flat_map(|rows| rows.iter()) {
            assert!(row.doc.len() > 20 && row.doc.ends_with('.'), "{} has no sentence", row.name);
            assert!(!row.doc.contains('|'), "{} would break the table", row.name);
            assert!(page.contains(&format!("| `{}` |", row.name)), "{} is not on the page", row.name);
        }
    }
}
