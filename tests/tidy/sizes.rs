//! A file is read in one sitting.

use crate::source::{files, is_test, text};

const LINES_MAX: usize = 500;

/// Files that may be longer, each with the reason.
const LONGER: &[(&str, &str)] = &[];

#[test]
fn no_file_is_longer_than_one_sitting() {
    let mut found = Vec::new();
    for path in files("", ".rs") {
        let lines = text(&path).lines().count();
        let allowed = LONGER.iter().any(|(name, _)| path.ends_with(name));
        if lines > LINES_MAX && !allowed {
            found.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert!(found.is_empty(), "longer than {LINES_MAX} lines:\n{}", found.join("\n"));
}

#[test]
fn every_shipped_module_says_what_it_is() {
    let shipped = files("", ".rs").into_iter().filter(|path| !is_test(path));
    let silent: Vec<_> = shipped.filter(|path| !opens_with_docs(&text(path))).collect();
    assert!(silent.is_empty(), "no module documentation at the top: {silent:?}");
}

fn opens_with_docs(text: &str) -> bool {
    let first = text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
    first.is_none_or(|line| line.starts_with("//!"))
}
