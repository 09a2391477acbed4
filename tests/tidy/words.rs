//! Words that must not appear in some places, because a design decision says so.

use crate::source::{code, files, is_test, root};

struct Rule {
    folder: &'static str,
    words: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        folder: "broker/state/src",
        words: &[
            "std::fs",
            "std::net",
            "std::thread",
            "std::env",
            "SystemTime",
            "Instant::now",
            "rand::",
            "tokio",
            "async fn",
            ".await",
            "HashMap",
            "HashSet",
            "tracing::",
            "prometheus",
        ],
        why: "state is pure: no I/O, clock, randomness or order that depends on a hash",
    },
    Rule {
        folder: "broker/log/src",
        words: &["tokio", "std::net", "async fn", ".await", "SystemTime::now"],
        why: "the log is synchronous, and time enters it as a value",
    },
    Rule {
        folder: "broker/protocol/src",
        words: &["tokio", "std::fs", "std::net", "async fn", "SystemTime::now", "Instant::now"],
        why: "the protocol is bytes and messages only",
    },
];

#[test]
fn forbidden_words_are_absent() {
    let mut found = Vec::new();
    for rule in RULES {
        for path in files(rule.folder, ".rs").iter().filter(|path| !is_test(path)) {
            let code = code(path);
            for word in rule.words.iter().filter(|word| code.contains(**word)) {
                found.push(format!("{}: {word} ({})", path.display(), rule.why));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn openraft_is_named_in_one_folder() {
    let found: Vec<_> = files("broker/src", ".rs")
        .into_iter()
        .filter(|path| !path.starts_with("broker/src/controller/raft") && !is_test(path))
        .filter(|path| path != std::path::Path::new("broker/src/controller/raft.rs"))
        .filter(|path| ["openraft::", "use openraft"].iter().any(|form| code(path).contains(form)))
        .collect();
    assert!(found.is_empty(), "openraft belongs below broker/src/controller/raft: {found:?}");
}

/// Programs of their own below another crate's folder.
const PROGRAMS: [&str; 3] = ["tests/bench/floor", "tests/crash", "broker/log/examples"];
const CRATES: [&str; 6] =
    ["broker/protocol/src", "broker/log/src", "broker/state/src", "broker/src", "client/src", "operator/src"];

#[test]
fn unsafe_code_is_in_one_module_per_crate_and_explained() {
    for folder in CRATES.into_iter().chain(["tests"]).chain(PROGRAMS) {
        let own = |path: &&std::path::PathBuf| {
            folder != "tests" || !PROGRAMS.iter().any(|program| path.starts_with(program))
        };
        let has_unsafe = |path: &&std::path::PathBuf| {
            let code = code(path);
            ["unsafe {", "unsafe impl", "unsafe fn"].iter().any(|form| code.contains(form))
        };
        let all = files(folder, ".rs");
        // This file names the forms that it looks for.
        let found: Vec<_> =
            all.iter().filter(own).filter(has_unsafe).filter(|path| !path.ends_with("words.rs")).collect();
        assert!(found.len() <= 1, "unsafe code belongs in one module of {folder}: {found:?}");
        for path in found {
            let text = std::fs::read_to_string(root().join(path)).expect("the file can be read");
            let (blocks, reasons) = (text.matches("unsafe {").count(), text.matches("SAFETY:").count());
            assert!(reasons >= blocks, "{}: {blocks} unsafe blocks, {reasons} reasons", path.display());
        }
    }
}
