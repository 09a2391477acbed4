//! The files of the repository, as the other checks read them.

use std::fs;
use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the repository")
}

/// Folders that hold no source of ours.
const SKIPPED: [&str; 7] = ["target", ".git", "node_modules", "corpus", "artifacts", "__pycache__", "data"];

/// Files below `folder` (relative to the root) whose name ends in `suffix`, with their path from the root.
pub fn files(folder: &str, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&root().join(folder), suffix, &mut found);
    found.sort();
    found.iter().map(|path| path.strip_prefix(root()).expect("below the root").to_owned()).collect()
}

fn collect(folder: &Path, suffix: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.expect("the folder can be read")) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
            collect(&path, suffix, found);
        } else if name.ends_with(suffix) && path.is_file() {
            found.push(path);
        }
    }
}

/// The text of a file given by its path from the root.
pub fn text(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A source file's code: without comments, and without the unit tests at its end. Strings stay.
pub fn code(path: &Path) -> String {
    let text = text(path);
    let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let without_comment = |line: &str| match line.find("//") {
        // A scheme such as `http://` is no comment.
        Some(at) if !line[..at].ends_with(':') => line[..at].to_owned(),
        _ => line.to_owned(),
    };
    shipped.lines().map(|line| without_comment(line) + "\n").collect()
}

/// Whether a file is there for tests only.
pub fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    name.ends_with("_test")
        || name.ends_with("_tests")
        || name == "tests"
        || path.components().any(|part| part.as_os_str() == "tests")
}
