//! From a properties file and the command line to settings.
//!
//! The format is Java's (`java.util.Properties`), which users of Apache Kafka have: `#` and `!` comments,
//! `=`, `:` or blanks between name and value, lines continued by a backslash, `\t \n \r \f \uXXXX` escapes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use milena_state::config::ConfigError;
use milena_state::config::broker::Settings;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: line {line}: {reason}", path.display())]
    Syntax { path: PathBuf, line: usize, reason: &'static str },
    #[error("'{0}' is not of the form name=value")]
    Override(String),
    #[error(transparent)]
    Settings(#[from] ConfigError),
}

/// Reads `file`, lays `overrides` (each `name=value`) over it, and checks the whole.
pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Settings, Error> {
    let mut properties = match file {
        Some(path) => read(path)?,
        None => BTreeMap::new(),
    };
    for text in overrides {
        let (name, value) = text.split_once('=').ok_or_else(|| Error::Override(text.clone()))?;
        properties.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    Ok(Settings::parse(&properties)?)
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    parse(&text).map_err(|(line, reason)| Error::Syntax { path: path.to_path_buf(), line, reason })
}

/// Parses the text of a properties file. Fails with the number of a line and what is wrong there.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, (usize, &'static str)> {
    let mut properties = BTreeMap::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while is_continued(&logical) {
            logical.pop();
            // A backslash at the end of the file continues with nothing.
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        let (name, value) = split(&logical);
        let unescaped = |text| unescape(text).map_err(|reason| (index + 1, reason));
        properties.insert(unescaped(name)?, unescaped(value)?);
    }
    Ok(properties)
}

/// An odd number of backslashes at the end escapes the end of the line.
fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Splits at the first `=`, `:` or blank that is not escaped; blanks around it belong to neither side.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let separates = !escaped && (c == '=' || c == ':' || is_blank(c));
        escaped = c == '\\' && !escaped;
        separates
    });
    let Some(end) = end else { return (line, "") };
    let value = line[end..].trim_start_matches(is_blank);
    let value = value.strip_prefix(['=', ':']).unwrap_or(value);
    (&line[..end], value.trim_start_matches(is_blank))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn unescape(text: &str) -> Result<String, &'static str> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => plain.push(unicode(&mut rest)?),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Ok(plain)
}

/// One `\uXXXX`, or two when they are the halves of a character beyond the first 65,536.
fn unicode(rest: &mut std::str::Chars<'_>) -> Result<char, &'static str> {
    const MALFORMED: &str = "malformed \\uXXXX escape";
    let high = hex(rest).ok_or(MALFORMED)?;
    if !(0xd800..0xdc00).contains(&high) {
        return char::from_u32(high).ok_or(MALFORMED);
    }
    if (rest.next(), rest.next()) != (Some('\\'), Some('u')) {
        return Err(MALFORMED);
    }
    let low = hex(rest).filter(|low| (0xdc00..0xe000).contains(low)).ok_or(MALFORMED)?;
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or(MALFORMED)
}

fn hex(rest: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value * 16 + rest.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        assert_eq!(parse(text), Ok(expected.collect()), "{text:?}");
    }

    #[test]
    fn separators_and_blanks_are_javas() {
        check(
            "a=1\nb = 2\nc:3\nd 4\n\te\t=\t5 ",
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5 ")],
        );
        check("listeners=PLAINTEXT://:9092", &[("listeners", "PLAINTEXT://:9092")]);
        check("a\\=b = c=d", &[("a=b", "c=d")]);
        check("alone", &[("alone", "")]);
        check("# no\n! no\n\n  # no\n", &[]);
    }

    #[test]
    fn lines_continue_after_an_odd_number_of_backslashes() {
        check("a = 1,\\\n   2,\\\n   3\nb=4", &[("a", "1,2,3"), ("b", "4")]);
        check("a = 1\\\\\nb = 2", &[("a", "1\\"), ("b", "2")]);
        check("a = 1\\", &[("a", "1")]);
    }

    #[test]
    fn escapes_become_characters() {
        check(r"a = \t\n\\ \u00e4 \ud83d\ude00 \q", &[("a", "\t\n\\ ä 😀 q")]);
        assert_eq!(parse("ok=1\na=\\u12g4"), Err((2, "malformed \\uXXXX escape")));
        assert_eq!(parse("a=\\ud83d"), Err((1, "malformed \\uXXXX escape")));
    }

    #[test]
    fn last_value_of_a_name_wins_and_the_command_line_wins_over_the_file() {
        check("a=1\na=2", &[("a", "2")]);
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "node.id=5\nnum.partitions=3\n").expect("it can be written");
        let settings = load(Some(file.path()), &["node.id = 7".to_owned()]).expect("valid");
        assert_eq!((settings.node_id, settings.num_partitions), (7, 3));
    }

    #[test]
    fn errors_name_the_file_the_line_or_the_property() {
        let missing = load(Some(Path::new("/does/not/exist")), &[]).expect_err("there is no such file");
        assert!(missing.to_string().contains("/does/not/exist"), "{missing}");
        let bare = load(None, &["node.id".to_owned()]).expect_err("a value is missing");
        assert!(bare.to_string().contains("'node.id'"), "{bare}");
        let unknown = load(None, &["no.such.property=1".to_owned()]).expect_err("nobody knows it");
        assert!(unknown.to_string().contains("no.such.property"), "{unknown}");
    }
}
