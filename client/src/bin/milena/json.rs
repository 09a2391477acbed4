//! Records as JSON. What is text is a string; other bytes are `{"base64": "…"}`; null is null.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a key, a value or a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob<'a>(pub Cow<'a, [u8]>);

/// A header of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header<'a> {
    #[serde(borrow)]
    pub key: Blob<'a>,
    #[serde(borrow, default)]
    pub value: Option<Blob<'a>>,
}

/// A record as it was read.
#[derive(Debug, Serialize)]
pub struct Consumed<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub timestamp_type: &'static str,
    pub key: Option<Blob<'a>>,
    pub value: Option<Blob<'a>>,
    pub headers: Vec<Header<'a>>,
}

/// A record to write. Where it was read before does not matter: those fields of [`Consumed`] may be there and are not
/// looked at. Any other field is refused: a misspelled `value` would write null.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Produced<'a> {
    #[serde(default, rename = "topic")]
    _topic: IgnoredAny,
    #[serde(default, rename = "partition")]
    _partition: IgnoredAny,
    #[serde(default, rename = "offset")]
    _offset: IgnoredAny,
    #[serde(default, rename = "timestamp_type")]
    _timestamp_type: IgnoredAny,
    #[serde(default)]
    pub timestamp: Option<i64>,
    #[serde(borrow, default)]
    pub key: Option<Blob<'a>>,
    #[serde(borrow, default)]
    pub value: Option<Blob<'a>>,
    #[serde(borrow, default, deserialize_with = "headers")]
    pub headers: Vec<Header<'a>>,
}

/// A list of headers. A type of its own only for what it says of anything else.
fn headers<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Header<'a>>, D::Error> {
    deserializer.deserialize_any(HeadersVisitor)
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Vec<Header<'de>>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list such as [{\"key\": \"trace\", \"value\": \"7\"}]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut headers = Vec::new();
        while let Some(header) = list.next_element()? {
            headers.push(header);
        }
        Ok(headers)
    }
}

impl<'a> Blob<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &BASE64_STANDARD.encode(&self.0))?;
                map.end()
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Blob<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BlobVisitor).map(Self)
    }
}

struct BlobVisitor;

impl<'de> Visitor<'de> for BlobVisitor {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a string, null or {\"base64\": \"…\"}")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text.as_bytes()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.as_bytes().to_vec()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        match map.next_key::<Cow<'de, str>>()? {
            Some(key) if key == "base64" => {}
            _ => return Err(A::Error::custom("an object other than {\"base64\": \"…\"}")),
        }
        let encoded: Cow<'de, str> = map.next_value()?;
        if map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("more than base64 in an object of bytes"));
        }
        BASE64_STANDARD.decode(encoded.as_bytes()).map(Cow::Owned).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let blob = Blob::of(bytes);
        let text = serde_json::to_string(&blob).expect("it is written");
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Blob<'_>>(&text).expect("it is read"), blob);
    }

    #[test]
    fn bytes_come_back() {
        check(b"", "\"\"");
        check("text é \"quoted\"".as_bytes(), "\"text é \\\"quoted\\\"\"");
        check(b"\xff\x00", "{\"base64\":\"/wA=\"}");
    }

    #[test]
    fn a_record_that_was_read_can_be_written() {
        let header = Header { key: Blob::of(b"h"), value: None };
        let consumed = Consumed {
            topic: "t",
            partition: 1,
            offset: 7,
            timestamp: Some(5),
            timestamp_type: "CreateTime",
            key: None,
            value: Some(Blob::of(b"v\xfe")),
            headers: vec![header.clone()],
        };
        let text = serde_json::to_string(&consumed).expect("it is written");
        let produced: Produced<'_> = serde_json::from_str(&text).expect("it is read");
        let expected = Produced {
            timestamp: Some(5),
            key: None,
            value: Some(Blob::of(b"v\xfe")),
            headers: vec![header],
            ..Produced::default()
        };
        assert_eq!(produced, expected);
    }

    #[test]
    fn fields_that_no_record_has_are_named() {
        for (entry, named) in [
            (r#"{"val": "1"}"#, "val"),
            (r#"{"value": "x", "partition": 2, "ofset": 1}"#, "ofset"),
            (r#"{"value": "x", "headers": [{"key": "a", "valeu": "b"}]}"#, "valeu"),
            (r#"{"value": "x", "headers": {"a": "b"}}"#, r#"[{"key": "trace", "value": "7"}]"#),
        ] {
            let error = serde_json::from_str::<Produced<'_>>(entry).expect_err(entry).to_string();
            assert!(error.contains(named), "{entry}: {error}");
        }
    }

    #[test]
    fn what_is_neither_text_nor_bytes_is_refused() {
        for wrong in [
            "{\"value\": 5}",
            "{\"value\": {}}",
            "{\"value\": {\"base64\": \"%\"}}",
            "{\"value\": {\"base64\": \"\", \"x\": 1}}",
        ] {
            assert!(serde_json::from_str::<Produced<'_>>(wrong).is_err(), "{wrong}");
        }
    }
}
