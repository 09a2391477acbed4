//! Offsets in files: `TOPIC,PARTITION,OFFSET` per line for one group, or `GROUP,TOPIC,PARTITION,OFFSET`, as Kafka's tool
//! exports and reads them.

use std::collections::BTreeMap;

use milena_client::admin::ByPartition;
use milena_client::consumer::PartitionKey;

/// Offsets by group. Lines without a group are those of `only`, the one group that is asked for.
///
/// Errors: the first line that cannot be read, by number, and why.
pub fn parse(text: &str, only: Option<&str>) -> Result<BTreeMap<String, ByPartition<i64>>, String> {
    let mut plan: BTreeMap<String, ByPartition<i64>> = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at_line = |error: String| format!("line {}: {error}", index + 1);
        let (group, key, offset) = entry(line, only).map_err(at_line)?;
        let name = format!("{}-{}", key.0, key.1);
        if plan.entry(group).or_default().insert(key, offset).is_some() {
            return Err(at_line(format!("{name} stands twice")));
        }
    }
    if plan.is_empty() { Err("there is no offset in it".to_owned()) } else { Ok(plan) }
}

fn entry(line: &str, only: Option<&str>) -> Result<(String, PartitionKey, i64), String> {
    let fields = fields(line)?;
    let (group, topic, partition, offset) = match (fields.as_slice(), only) {
        ([topic, partition, offset], Some(only)) => (only, topic, partition, offset),
        ([_, _, _], None) => {
            return Err("of several groups GROUP,TOPIC,PARTITION,OFFSET is needed".to_owned());
        }
        ([group, topic, partition, offset], _) => (group.as_str(), topic, partition, offset),
        _ => return Err("neither TOPIC,PARTITION,OFFSET nor GROUP,TOPIC,PARTITION,OFFSET".to_owned()),
    };
    let index = partition.trim().parse::<i32>().ok().filter(|index| *index >= 0);
    let index = index.ok_or_else(|| format!("'{partition}' is not a partition"))?;
    let offset = offset.trim().parse().map_err(|_| format!("'{offset}' is not an offset"))?;
    Ok((group.to_owned(), (topic.clone(), index), offset))
}

/// Fields between commas; one in quotes may have commas, and quotes that stand twice.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let (mut fields, mut field, mut rest) = (Vec::new(), String::new(), line.trim().chars().peekable());
    let mut is_quoted = false;
    while let Some(character) = rest.next() {
        match character {
            '"' if is_quoted && rest.peek() == Some(&'"') => field.extend(rest.next()),
            '"' if is_quoted || field.is_empty() => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    if is_quoted { Err("a quote without its end".to_owned()) } else { Ok(fields) }
}

/// A line that [`parse`] reads, with its end.
pub fn line(group: Option<&str>, topic: &str, partition: i32, offset: i64) -> String {
    let group = group.map(|group| format!("{},", quoted(group))).unwrap_or_default();
    format!("{group}{},{partition},{offset}\n", quoted(topic))
}

/// Quotes where a reader would otherwise read something else.
fn quoted(field: &str) -> String {
    let is_plain = !field.contains([',', '"', '\r', '\n']) && field.trim() == field;
    if is_plain { field.to_owned() } else { format!("\"{}\"", field.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(entries: &[(&str, &str, i32, i64)]) -> BTreeMap<String, ByPartition<i64>> {
        let mut plan: BTreeMap<String, ByPartition<i64>> = BTreeMap::new();
        for (group, topic, partition, offset) in entries {
            plan.entry((*group).to_owned()).or_default().insert(((*topic).to_owned(), *partition), *offset);
        }
        plan
    }

    #[test]
    fn both_forms_are_read() {
        let cases = [
            ("t,0,5\nt,1,7\n", plan(&[("g", "t", 0, 5), ("g", "t", 1, 7)])),
            ("g,t,0,5\r\nh,t,0,6\r\n", plan(&[("g", "t", 0, 5), ("h", "t", 0, 6)])),
            ("\"t\",0,5", plan(&[("g", "t", 0, 5)])),
            ("\"a,\"\"b\",t,0,5\n\n", plan(&[("a,\"b", "t", 0, 5)])),
            ("t, 0, -5", plan(&[("g", "t", 0, -5)])),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, Some("g")), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let cases = [
            ("", "no offset"),
            ("t,0", "line 1: neither"),
            ("t,0,5\nt,x,5", "line 2: 'x' is not a partition"),
            ("t,-1,5", "line 1: '-1' is not a partition"),
            ("t,0,many", "line 1: 'many' is not an offset"),
            ("t,0,5\nt,0,6", "line 2: t-0 stands twice"),
            ("\"t,0,5", "line 1: a quote without its end"),
        ];
        for (text, expected) in cases {
            let error = parse(text, Some("g")).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(parse("t,0,5", None).is_err_and(|error| error.contains("several groups")));
    }

    #[test]
    fn lines_come_back() {
        for group in ["g", "a,b", "say \"hi\"", " x"] {
            let text = line(Some(group), "t", 3, 9);
            assert_eq!(parse(&text, None), Ok(plan(&[(group, "t", 3, 9)])), "{text}");
        }
        assert_eq!(line(None, "t", 0, 5), "t,0,5\n");
    }
}
