//! Random valid bytes of every message survive decoding and encoding; random garbage never panics.
//!
//! The valid bytes come from an interpreter of the schema tables that shares no code with the generator's
//! output. A failure prints its smallest case; `PROPTEST_CASES` sets how many are tried.

#[path = "../build/schema.rs"]
#[allow(dead_code)]
mod schema;
mod support;
// Beside `support` and not in it, because only this test reads the schema.
#[path = "support/interpreter.rs"]
mod interpreter;

use std::collections::BTreeMap;
use std::path::Path;

use interpreter::{Choices, bytes_of};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::{Entry, entries, golden};

fn tables() -> BTreeMap<String, schema::Message> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    schema::read_folder(&folder).into_iter().map(|message| (message.name.clone(), message)).collect()
}

fn runner() -> TestRunner {
    TestRunner::new(Config { failure_persistence: None, ..Config::default() })
}

#[test]
fn valid_bytes_of_every_message_survive_a_round_trip() {
    let (entries, tables) = (entries(), tables());
    let message_and_choices = (0..entries.len(), any::<prop::sample::Index>(), vec(any::<u8>(), 0..600));
    let result = Config::default().cases.saturating_mul(8);
    let mut runner =
        TestRunner::new(Config { cases: result, failure_persistence: None, ..Config::default() });
    let check = |(index, version, choices): (usize, prop::sample::Index, Vec<u8>)| {
        let entry: &Entry = &entries[index];
        let (first, last) = (*entry.versions.start(), *entry.versions.end());
        let version = first + version.index((last - first + 1) as usize) as i16;
        let bytes = bytes_of(&tables[entry.name], version, &mut Choices::new(&choices));
        prop_assert_eq!((entry.transcode)(&bytes, version), Ok(bytes.clone()), "{} {}", entry.name, version);
        Ok(())
    };
    runner.run(&message_and_choices, check).unwrap();
}

#[test]
fn smallest_bytes_of_every_message_and_version_survive_a_round_trip() {
    let tables = tables();
    for entry in entries() {
        for version in entry.versions {
            let bytes = bytes_of(&tables[entry.name], version, &mut Choices::new(&[]));
            assert_eq!((entry.transcode)(&bytes, version), Ok(bytes), "{} {version}", entry.name);
        }
    }
}

#[test]
fn garbage_never_panics() {
    let entries = entries();
    let garbage = (0..entries.len(), -1i16..20, vec(prop_oneof![any::<u8>(), 0u8..3, Just(0xff)], 0..400));
    let check = |(index, version, bytes): (usize, i16, Vec<u8>)| {
        // What decodes must encode; `transcode` panics where it does not.
        let _ = (entries[index].transcode)(&bytes, version);
        Ok(())
    };
    runner().run(&garbage, check).unwrap();
}

#[test]
fn damaged_golden_bytes_never_panic() {
    let entries: BTreeMap<_, _> = entries().into_iter().map(|entry| (entry.name, entry)).collect();
    let lines: Vec<_> = golden().into_iter().filter(|line| !line.bytes.is_empty()).collect();
    let damage = (
        0..lines.len(),
        vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        any::<prop::sample::Index>(),
    );
    let check = |(index, changes, cut): (usize, Vec<(prop::sample::Index, u8)>, prop::sample::Index)| {
        let line = &lines[index];
        let mut bytes = line.bytes.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let transcode = entries[line.name.as_str()].transcode;
        let _ = transcode(&bytes, line.version);
        let _ = transcode(&bytes[..cut.index(bytes.len())], line.version);
        Ok(())
    };
    runner().run(&damage, check).unwrap();
}

#[test]
fn every_shorter_golden_line_is_refused() {
    let entries: BTreeMap<_, _> = entries().into_iter().map(|entry| (entry.name, entry)).collect();
    for line in golden().into_iter().filter(|line| line.filling == "full") {
        let decode = entries[line.name.as_str()].decode;
        for size in 0..line.bytes.len() {
            let found = decode(&line.bytes[..size], line.version);
            assert!(found.is_err(), "{} {} decodes from {size} bytes", line.name, line.version);
        }
        let longer = [line.bytes.as_slice(), &[0]].concat();
        assert!(decode(&longer, line.version).is_err(), "{} {} ignores a byte", line.name, line.version);
    }
}
