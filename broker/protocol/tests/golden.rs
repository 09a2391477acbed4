//! Every message at every version against bytes made by Kafka's own classes (`tests/golden/make Messages`).

mod support;

use std::collections::{BTreeMap, BTreeSet};

use support::{entries, golden};

#[test]
fn every_golden_line_is_reproduced() {
    let entries: BTreeMap<_, _> = entries().into_iter().map(|entry| (entry.name, entry)).collect();
    let mut wrong = Vec::new();
    for line in golden() {
        let entry = entries.get(line.name.as_str()).unwrap_or_else(|| panic!("no message {}", line.name));
        let found = (entry.transcode)(&line.bytes, line.version);
        if found.as_ref() != Ok(&line.without_unknown) {
            wrong.push(format!(
                "{} {} {}: {found:02x?}\n  wanted {:02x?}",
                line.name, line.version, line.filling, line.without_unknown
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} lines differ, such as\n{}",
        wrong.len(),
        wrong[..wrong.len().min(10)].join("\n")
    );
}

#[test]
fn defaults_are_kafkas() {
    let entries: BTreeMap<_, _> = entries().into_iter().map(|entry| (entry.name, entry)).collect();
    for line in golden().into_iter().filter(|line| line.filling == "defaults") {
        let found = (entries[line.name.as_str()].default_bytes)(line.version);
        assert_eq!(found.as_ref(), Ok(&line.bytes), "{} {}", line.name, line.version);
    }
}

#[test]
fn golden_file_and_schema_have_the_same_messages_and_versions() {
    let golden: BTreeSet<_> = golden().into_iter().map(|line| (line.name, line.version)).collect();
    let kafkas = entries().into_iter().filter(|entry| !entry.is_private);
    let ours = kafkas.flat_map(|entry| {
        let name = entry.name;
        entry.versions.map(move |version| (name.to_owned(), version))
    });
    let ours: BTreeSet<_> = ours.collect();
    let only_golden: Vec<_> = golden.difference(&ours).collect();
    let only_ours: Vec<_> = ours.difference(&golden).collect();
    assert!(
        only_golden.is_empty() && only_ours.is_empty(),
        "only Kafka: {only_golden:?}\nonly here: {only_ours:?}"
    );
}
