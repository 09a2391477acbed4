//! Text files: checkpoints of offsets and leader epochs, and properties.

use std::io::{self, Read};

use serde_json::json;

use super::lines::{Lines, Stop};

/// A checkpoint of a million partitions is smaller.
const SIZE_MAX: u64 = 512 << 20;

/// A version line, a line with the number of entries, the entries: `topic partition offset`, or `epoch offset`.
pub fn dump(reader: &mut impl Read, lines: &mut Lines) -> Result<(), Stop> {
    let text = read(reader)?;
    let mut rest = text.lines();
    let version = rest.next().unwrap_or_default();
    if version != "0" {
        return Ok(lines.damage(0, &format!("version {version:?}"))?);
    }
    let expected: Option<usize> = rest.next().and_then(|count| count.parse().ok());
    let mut found = 0;
    for line in rest {
        found += 1;
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<i64>().ok();
        match words[..] {
            [epoch, offset] if let (Some(epoch), Some(offset)) = (number(epoch), number(offset)) => {
                lines.entry("epoch", &[("leader_epoch", json!(epoch)), ("start_offset", json!(offset))])?;
            }
            [topic, partition, offset]
                if let (Some(partition), Some(offset)) = (number(partition), number(offset)) =>
            {
                let fields =
                    [("topic", json!(topic)), ("partition", json!(partition)), ("offset", json!(offset))];
                lines.entry("offset", &fields)?;
            }
            _ => lines.damage(0, &format!("malformed: {line:?}"))?,
        }
    }
    if expected != Some(found) {
        let announced = expected.map_or_else(|| "no number of".to_owned(), |expected| expected.to_string());
        lines.damage(0, &format!("{announced} entries are announced, {found} are there"))?;
    }
    Ok(())
}

/// `name=value` or `name: value` per line.
pub fn properties(reader: &mut impl Read, lines: &mut Lines) -> Result<(), Stop> {
    for line in read(reader)?.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match line.split_once(['=', ':']) {
            Some((name, value)) => lines.entry("property", &[(name, json!(value.trim()))])?,
            None => lines.damage(0, &format!("malformed: {line:?}"))?,
        }
    }
    Ok(())
}

fn read(reader: &mut impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.take(SIZE_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let mut lines = Lines::new(Path::new("x-checkpoint"), false);
        dump(&mut text.as_bytes(), &mut lines).expect("memory can be read");
        assert_eq!(lines.text().lines().map(str::trim).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn entries_are_offsets_or_epochs() {
        check(
            "0\n2\nt 0 17\nu 1 4\n",
            &["offset topic=t partition=0 offset=17", "offset topic=u partition=1 offset=4"],
        );
        check("0\n1\n3 17\n", &["epoch leader_epoch=3 start_offset=17"]);
        check("0\n0\n", &[]);
    }

    #[test]
    fn what_does_not_fit_is_damage() {
        check("1\n0\n", &["damage position=0 reason=version \"1\""]);
        check(
            "0\n2\n3 17\n",
            &[
                "epoch leader_epoch=3 start_offset=17",
                "damage position=0 reason=2 entries are announced, 1 are there",
            ],
        );
        check("0\n1\nt x 17\n", &["damage position=0 reason=malformed: \"t x 17\""]);
    }
}
