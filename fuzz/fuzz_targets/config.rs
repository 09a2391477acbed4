#![no_main]
//! Values of properties, as files and AlterConfigs bring them: whatever stands there is accepted or refused.
//!
//! Input: a byte chooses what the values are for, then pairs follow: two bytes choose a property, one has the length of
//! the text. What is accepted is kept in one spelling, which is accepted too and means the same.

use std::collections::{BTreeMap, BTreeSet};

use libfuzzer_sys::fuzz_target;
use milena_state::config::broker::{self, Settings};
use milena_state::config::definition::{Acts, Definition, Kind, list, parse_bool};
use milena_state::config::describe::{self, Layers};
use milena_state::config::{client_metrics, group, topic};

type Values = BTreeMap<String, String>;

/// Settings of nobody, which the others lie over.
static SETTINGS: std::sync::LazyLock<Settings> = std::sync::LazyLock::new(Settings::own_defaults);

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let table = match kind % 4 {
        0 => topic::TABLE,
        1 => broker::TABLE,
        2 => group::TABLE,
        _ => client_metrics::TABLE,
    };
    let rows: Vec<&'static Definition> = table.iter().flat_map(|rows| rows.iter()).collect();
    let values = values(&rows, rest);
    let kept: Values = values.iter().filter_map(|(name, value)| one(find(&rows, name)?, value)).collect();
    match kind % 4 {
        0 => of_topic(&values, &kept),
        1 => of_broker(&values, &kept),
        2 => of_group(&values, &kept),
        _ => {
            let _ = client_metrics::check(&values);
            describe::client_metrics(&kept, None).iter().for_each(shown);
        }
    }
});

/// Names of the table with any text, and now and then a name that nobody knows.
fn values(rows: &[&'static Definition], mut rest: &[u8]) -> Values {
    let mut values = Values::new();
    while let Some((&[a, b, size], after)) = rest.split_first_chunk::<3>() {
        let (text, after) = after.split_at(after.len().min(usize::from(size)));
        let text = String::from_utf8_lossy(text).into_owned();
        let name = match rows.get(usize::from(u16::from_be_bytes([a, b])) % (rows.len() + 1)) {
            Some(row) => row.name.to_owned(),
            None => text.clone(),
        };
        values.insert(name, text);
        rest = after;
    }
    values
}

fn find(rows: &[&'static Definition], name: &str) -> Option<&'static Definition> {
    rows.iter().find(|row| row.name == name).copied()
}

/// A value for itself: in the spelling in which it is kept, if it is valid.
fn one(row: &'static Definition, value: &str) -> Option<(String, String)> {
    let kept = row.canonical(value);
    assert_eq!(row.canonical(&kept), kept, "{}: one spelling is enough", row.name);
    let outcome = row.check(value);
    assert_eq!(outcome.is_ok(), row.check(&kept).is_ok(), "{}: '{value}' is kept as '{kept}'", row.name);
    if let Err(error) = outcome {
        assert!(error.to_string().contains(row.name), "{error}");
        return None;
    }
    means_the_same(row, value.trim(), &kept);
    Some((row.name.to_owned(), kept))
}

fn means_the_same(row: &Definition, value: &str, kept: &str) {
    match row.kind {
        Kind::Boolean => {
            assert_eq!(parse_bool(kept), parse_bool(value));
            assert!(matches!(kept, "true" | "false"));
        }
        Kind::Short | Kind::Int | Kind::Long => {
            let number: i64 = value.parse().expect("it was checked");
            assert_eq!(number.to_string(), kept);
        }
        Kind::Double => assert_eq!(kept.parse::<f64>(), value.parse::<f64>()),
        Kind::List => assert!(list(kept).collect::<BTreeSet<_>>() == list(value).collect::<BTreeSet<_>>()),
        Kind::String | Kind::Class | Kind::Password => assert_eq!(kept, value),
    }
    assert!(row.acts != Acts::NotYet || row.check(row.default_text()).is_ok() || row.default.is_none());
}

/// A row has a value and a place where it comes from, and says no secret.
fn shown(row: &describe::Row) {
    assert!(!row.is_sensitive || row.value.is_none(), "{} is shown", row.name);
    if let Some(first) = row.synonyms.first() {
        assert_eq!((&first.value, first.source), (&row.value, row.source), "{}", row.name);
    }
}

fn layers<'a>(settings: &'a Settings, cluster: &'a Values, broker: &'a Values) -> Layers<'a> {
    Layers { settings, cluster, broker }
}

/// Whatever a metadata log holds gives settings; what is valid gives the same in its one spelling.
fn of_topic(values: &Values, kept: &Values) {
    let _ = topic::check(values);
    let settings = topic::Settings::resolve(values, &SETTINGS.topic);
    let valid: Values = values
        .iter()
        .filter(|(name, _)| kept.contains_key(*name))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    assert_eq!(
        topic::Settings::resolve(&valid, &SETTINGS.topic),
        topic::Settings::resolve(kept, &SETTINGS.topic)
    );
    assert!(settings.segment_bytes > 0 || values.contains_key("segment.bytes"));
    let nothing = Values::new();
    let rows = describe::topic(kept, layers(&SETTINGS, &nothing, &nothing), None);
    rows.iter().for_each(shown);
    for row in rows.iter().filter(|row| kept.contains_key(&*row.name)) {
        assert_eq!(row.value.as_ref(), kept.get(&*row.name), "{}", row.name);
    }
}

/// In a file, and set while the broker runs.
fn of_broker(values: &Values, kept: &Values) {
    let parsed = Settings::parse(values);
    if let Ok(settings) = &parsed {
        let again = Settings::parse(&settings.properties).expect("what was read is valid");
        assert_eq!(again.properties, settings.properties);
        settings.without_effect();
    }
    for (name, value) in values {
        let _ = broker::check(name, value);
        let _ = broker::check_dynamic(name, value);
    }
    let _ = SETTINGS.with_dynamic(&[values]);
    if let Ok(settings) = SETTINGS.with_dynamic(&[kept]) {
        let _ = SETTINGS.cleaner.check_change(&settings.cleaner);
        let _ = topic::Settings::resolve(&Values::new(), &settings.topic);
    }
    let nothing = Values::new();
    let of_one = describe::broker(layers(&SETTINGS, &nothing, kept), None);
    let of_all = describe::all_brokers(kept, None);
    of_one.iter().chain(&of_all).for_each(shown);
}

fn of_group(values: &Values, kept: &Values) {
    let _ = group::check(values, &SETTINGS);
    let _ = group::check_pairs(values, kept, &SETTINGS);
    let nothing = Values::new();
    describe::group(kept, layers(&SETTINGS, &nothing, &nothing), None).iter().for_each(shown);
}
