//! Properties files as `--command-config` takes them: the plain part of Java's format.

use std::collections::BTreeMap;

/// Names and values: `name=value`, `name: value` or `name value` per line, comments behind `#` and `!`.
pub fn parse(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    let pairs = lines.map(|line| {
        let (name, value) =
            line.split_once(['=', ':']).or_else(|| line.split_once(' ')).unwrap_or((line, ""));
        (name.trim().to_owned(), value.trim().to_owned())
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_values_and_comments() {
        let parsed = parse("# comment\n! too\n\nacks = all\nbootstrap.servers=a:1,b:2\nlinger.ms: 5\n");
        let expected = [("acks", "all"), ("bootstrap.servers", "a:1,b:2"), ("linger.ms", "5")];
        assert_eq!(parsed, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
