//! From an entry of the input to a record.

use memchr::memmem;
use milena_client::producer::ProducerRecord;
use milena_protocol::records::Header;

use crate::json::{Blob, Produced};

/// How entries become records.
#[derive(Debug, Default)]
pub struct Shape {
    pub is_json: bool,
    pub key_separator: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Text that stands for null.
    pub null: Option<Vec<u8>>,
    pub partition: Option<i32>,
    pub timestamp: Option<i64>,
}

impl Shape {
    /// Headers that all records have.
    pub fn common_headers(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(|(key, value)| Header { key, value: Some(value) }).collect()
    }

    /// The record in an entry of text.
    pub fn text_record<'a>(
        &'a self,
        entry: &'a [u8],
        headers: &'a [Header<'a>],
    ) -> Result<ProducerRecord<'a>, String> {
        let (key, value) = match &self.key_separator {
            None => (self.key.as_deref(), entry),
            Some(separator) => {
                let at = memmem::find(entry, separator).ok_or("no key separator in it")?;
                (self.unless_null(&entry[..at]), &entry[at + separator.len()..])
            }
        };
        let value = self.unless_null(value);
        Ok(ProducerRecord { key, value, headers, timestamp: self.timestamp, partition: self.partition })
    }

    fn unless_null<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        (self.null.as_deref() != Some(bytes)).then_some(bytes)
    }

    /// What an entry of JSON says.
    pub fn parse_json<'a>(&self, entry: &'a [u8]) -> Result<Produced<'a>, String> {
        // A list would do for serde, which then takes its members for the fields.
        if entry.trim_ascii_start().first() != Some(&b'{') {
            return Err("not a JSON object".to_owned());
        }
        serde_json::from_slice(entry).map_err(|error| error.to_string())
    }

    /// The record of an entry of JSON; `headers` are all of it. Options of the command fill what the entry leaves open.
    pub fn json_record<'a>(
        &'a self,
        entry: &'a Produced<'_>,
        headers: &'a [Header<'a>],
    ) -> ProducerRecord<'a> {
        ProducerRecord {
            key: entry.key.as_ref().map(|Blob(bytes)| &**bytes).or(self.key.as_deref()),
            value: entry.value.as_ref().map(|Blob(bytes)| &**bytes),
            headers,
            timestamp: self.timestamp.or(entry.timestamp),
            partition: self.partition,
        }
    }
}

impl Produced<'_> {
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.headers.iter().map(|header| Header {
            key: &header.key.0,
            value: header.value.as_ref().map(|Blob(bytes)| &**bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type KeyValue<'a> = (Option<&'a str>, Option<&'a str>);

    fn check(shape: &Shape, entry: &str, expected: Result<KeyValue<'_>, ()>) {
        let record = shape.text_record(entry.as_bytes(), &[]);
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).expect("text"));
        let found = record.map(|record| (text(record.key), text(record.value))).map_err(drop);
        let expected = expected.map(|(key, value)| (key.map(str::to_owned), value.map(str::to_owned)));
        assert_eq!(found, expected, "{entry}");
    }

    #[test]
    fn a_line_is_a_value_or_a_key_and_a_value() {
        let plain = Shape::default();
        check(&plain, "a:b", Ok((None, Some("a:b"))));
        check(&plain, "", Ok((None, Some(""))));
        let keyed =
            Shape { key_separator: Some(b":".to_vec()), null: Some(b"NULL".to_vec()), ..Shape::default() };
        check(&keyed, "a:b:c", Ok((Some("a"), Some("b:c"))));
        check(&keyed, "a:NULL", Ok((Some("a"), None)));
        check(&keyed, "NULL:v", Ok((None, Some("v"))));
        check(&keyed, "ab", Err(()));
        let same_key = Shape { key: Some(b"k".to_vec()), ..Shape::default() };
        check(&same_key, "v", Ok((Some("k"), Some("v"))));
    }

    #[test]
    fn json_decides_and_options_fill_what_it_leaves_open() {
        let shape = Shape { is_json: true, key: Some(b"k".to_vec()), partition: Some(2), ..Shape::default() };
        let entry =
            shape.parse_json(br#"{"value": null, "timestamp": 5, "headers": [{"key": "h"}]}"#).expect("JSON");
        let headers: Vec<_> = entry.headers().collect();
        assert_eq!(headers, [Header { key: b"h", value: None }]);
        let record = shape.json_record(&entry, &headers);
        assert_eq!((record.key, record.value), (Some(&b"k"[..]), None));
        assert_eq!((record.timestamp, record.partition), (Some(5), Some(2)));
    }

    #[test]
    fn json_that_is_no_object_is_refused() {
        for wrong in ["[]", "\"text\"", "5", "null", "{"] {
            assert!(Shape::default().parse_json(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
