//! Messages as JSON values, by a walk over the protocol's schema tables with the protocol's own primitives.
//!
//! A request names the fields that matter, in Kafka's spelling; the others have their defaults, and those that
//! a version lacks are left out, so that one value serves every version. Unlike the generated types this
//! walk writes null where it is not allowed and strings beyond the limit: bad requests are part of the
//! comparison. A field that no version has is a mistake in a scenario and ends the program.

use milena_protocol::{DecodeError, Reader, Uuid, Writer};
use serde_json::{Map, Value, json};

use crate::records;
use crate::schema::{Field, Message, Struct, Type};

/// One message at one version.
#[derive(Clone, Copy)]
pub struct Wire<'m> {
    pub message: &'m Message,
    pub version: i16,
}

impl Wire<'_> {
    fn flexible(&self) -> bool {
        self.message.is_flexible(self.version)
    }

    /// The bytes of `value`; `now_ms` is what the times of its record batches count from.
    pub fn encode(&self, value: &Value, now_ms: i64) -> Vec<u8> {
        let mut w = Writer::new();
        self.write_struct(&mut w, &self.message.structs[0], value, now_ms);
        w.into_bytes().expect("no detached records here")
    }

    pub fn decode(&self, r: &mut Reader<'_>) -> Result<Value, DecodeError> {
        let value = self.read_struct(r, &self.message.structs[0])?;
        r.finish()?;
        Ok(value)
    }

    fn write_struct(&self, w: &mut Writer, s: &Struct, value: &Value, now_ms: i64) {
        let empty = Map::new();
        let given = value.as_object().unwrap_or(&empty);
        for name in given.keys() {
            let known = s.fields.iter().any(|field| field.name == *name);
            assert!(known, "{} has no field {name} in {}", self.message.name, s.name);
        }
        let present = || s.fields.iter().filter(|field| field.versions.contains(self.version));
        for field in present().filter(|field| field.tag.is_none()) {
            let value = given.get(&field.name).cloned().unwrap_or_else(|| self.default(field));
            self.write_field(w, field, &value, now_ms);
        }
        if !self.flexible() {
            return;
        }
        let mut tagged: Vec<_> =
            present().filter_map(|field| Some((field.tag?, field, given.get(&field.name)?))).collect();
        tagged.sort_by_key(|(tag, ..)| *tag);
        w.uvarint(tagged.len() as u32);
        for (tag, field, value) in tagged {
            let start = w.begin_tag(tag);
            self.write_field(w, field, value, now_ms);
            w.end_tag(start).expect("a tagged field is short");
        }
    }

    fn write_field(&self, w: &mut Writer, field: &Field, value: &Value, now_ms: i64) {
        let flexible = self.flexible() && !field.inflexible;
        let nullable = field.nullable.is_some_and(|versions| versions.contains(self.version));
        if matches!(field.ty, Type::Struct(_)) && nullable {
            w.i8(if value.is_null() { -1 } else { 1 });
            if value.is_null() {
                return;
            }
        }
        self.write(w, &field.ty, value, flexible, now_ms);
    }

    fn write(&self, w: &mut Writer, ty: &Type, value: &Value, flexible: bool, now_ms: i64) {
        let number = integer(value);
        match ty {
            Type::Bool => w.bool(value.as_bool().unwrap_or(number != 0)),
            Type::Int8 => w.i8(number as i8),
            Type::Int16 => w.i16(number as i16),
            Type::Uint16 => w.u16(number as u16),
            Type::Int32 => w.i32(number as i32),
            Type::Uint32 => w.u32(number as u32),
            Type::Int64 => w.i64(number),
            Type::Float64 => w.f64(float(value)),
            Type::Uuid => w.uuid(value.as_str().and_then(|text| text.parse().ok()).unwrap_or(Uuid::ZERO)),
            Type::String => write_string(w, value.as_str(), flexible),
            Type::Bytes => w.nullable_bytes(bytes(value).as_deref(), flexible).expect("bytes are short"),
            Type::Records => {
                let bytes = if value.is_null() { None } else { Some(records::encode(value, now_ms)) };
                w.nullable_bytes(bytes.as_deref(), flexible).expect("records are short");
            }
            Type::Struct(name) => self.write_struct(w, self.message.struct_named(name), value, now_ms),
            Type::Array(element) => {
                let Some(elements) = value.as_array() else {
                    return w.nullable_bytes(None, flexible).expect("null has no size");
                };
                write_count(w, elements.len(), flexible);
                for value in elements {
                    self.write(w, element, value, flexible, now_ms);
                }
            }
        }
    }

    /// What a field holds that nobody set.
    fn default(&self, field: &Field) -> Value {
        let text = field.default.as_deref();
        match (&field.ty, text) {
            (_, Some("null")) => Value::Null,
            (Type::Bool, text) => json!(text == Some("true")),
            (Type::String, text) => json!(text.unwrap_or_default()),
            (Type::Bytes, _) => json!(""),
            (Type::Records, _) => Value::Null,
            (Type::Uuid, _) => json!(Uuid::ZERO.to_string()),
            (Type::Array(_), _) => json!([]),
            (Type::Struct(name), _) => {
                let fields = &self.message.struct_named(name).fields;
                let present = fields.iter().filter(|field| field.versions.contains(self.version));
                Value::Object(present.map(|field| (field.name.clone(), self.default(field))).collect())
            }
            (_, text) => json!(text.and_then(|text| text.parse::<i64>().ok()).unwrap_or(0)),
        }
    }

    fn read_struct(&self, r: &mut Reader<'_>, s: &Struct) -> Result<Value, DecodeError> {
        let mut out = Map::new();
        for field in s.fields.iter().filter(|field| field.versions.contains(self.version)) {
            let value = if field.tag.is_some() { self.default(field) } else { self.read_field(r, field)? };
            out.insert(field.name.clone(), value);
        }
        if self.flexible() {
            let mut tags = r.tags()?;
            while let Some(tag) = r.next_tag(&mut tags)? {
                let known = |field: &&Field| field.tag == Some(tag) && field.versions.contains(self.version);
                match s.fields.iter().find(known) {
                    Some(field) => out.insert(field.name.clone(), self.read_field(r, field)?),
                    None => {
                        r.skip_tag(&tags)?;
                        out.insert(format!("unknown tag {tag}"), Value::Bool(true))
                    }
                };
                r.end_tag(&tags)?;
            }
        }
        Ok(Value::Object(out))
    }

    fn read_field(&self, r: &mut Reader<'_>, field: &Field) -> Result<Value, DecodeError> {
        let flexible = self.flexible() && !field.inflexible;
        let nullable = field.nullable.is_some_and(|versions| versions.contains(self.version));
        if matches!(field.ty, Type::Struct(_)) && nullable && r.i8()? < 0 {
            return Ok(Value::Null);
        }
        self.read(r, &field.ty, flexible)
    }

    fn read(&self, r: &mut Reader<'_>, ty: &Type, flexible: bool) -> Result<Value, DecodeError> {
        Ok(match ty {
            Type::Bool => json!(r.bool()?),
            Type::Int8 => json!(r.i8()?),
            Type::Int16 => json!(r.i16()?),
            Type::Uint16 => json!(r.u16()?),
            Type::Int32 => json!(r.i32()?),
            Type::Uint32 => json!(r.u32()?),
            Type::Int64 => json!(r.i64()?),
            Type::Float64 => json!(r.f64()?),
            Type::Uuid => json!(r.uuid()?.to_string()),
            Type::String => json!(r.nullable_string(flexible)?),
            Type::Bytes => r.nullable_bytes(flexible)?.map_or(Value::Null, |bytes| readable(&bytes)),
            Type::Records => r.nullable_bytes(flexible)?.map_or(Value::Null, |bytes| records::decode(&bytes)),
            Type::Struct(name) => self.read_struct(r, self.message.struct_named(name))?,
            Type::Array(element) => {
                let count = if flexible { i64::from(r.uvarint()?) - 1 } else { i64::from(r.i32()?) };
                if count < 0 {
                    return Ok(Value::Null);
                }
                // Grows as elements are read, so a count that lies costs nothing.
                let mut out = Vec::new();
                for _ in 0..count {
                    out.push(self.read(r, element, flexible)?);
                }
                Value::Array(out)
            }
        })
    }
}

fn integer(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).unwrap_or(0)
}

/// JSON has no name for what is not a number, so text stands for it.
fn float(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).unwrap_or(0.0)
}

fn write_count(w: &mut Writer, count: usize, flexible: bool) {
    if flexible { w.uvarint(count as u32 + 1) } else { w.i32(count as i32) }
}

fn write_string(w: &mut Writer, text: Option<&str>, flexible: bool) {
    let Some(text) = text else { return w.nullable_string(None, flexible).expect("null has no size") };
    if flexible {
        w.uvarint(text.len() as u32 + 1)
    } else {
        w.i16(text.len() as i16)
    }
    w.raw(text.as_bytes());
}

/// Bytes as text, or as `{"hex": …}`, or as `{"zeros": count}`.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    if let Some(text) = value.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    if let Some(count) = value["zeros"].as_u64() {
        return Some(vec![0; count as usize]);
    }
    value["hex"].as_str().map(unhex)
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).expect("a hex digit") as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Bytes as text where they are text.
pub fn readable(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => json!(text),
        _ => json!(format!("hex:{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    #[test]
    fn one_value_serves_every_version_and_reads_back() {
        let catalogue = Catalogue::read();
        let message = catalogue.message("MetadataResponse");
        let value = json!({"ClusterId": "c", "Topics": [{"Name": "t", "ErrorCode": 3}]});
        for version in 0..=13 {
            let wire = Wire { message, version };
            let bytes = wire.encode(&value, 0);
            let read = wire.decode(&mut Reader::new(&bytes)).expect("what was written can be read");
            assert_eq!(read["Topics"][0]["Name"], "t", "version {version}");
            assert_eq!(read.get("ClusterId").is_some(), version >= 2, "version {version}");
        }
    }

    #[test]
    fn generated_types_read_what_the_walk_writes() {
        let catalogue = Catalogue::read();
        let message = catalogue.message("MetadataRequest");
        let bytes = Wire { message, version: 12 }.encode(&json!({"Topics": [{"Name": null}]}), 0);
        let typed: milena_protocol::messages::MetadataRequest<'_> =
            milena_protocol::decode_exact(&bytes, 12).expect("a request");
        assert_eq!(typed.topics.expect("topics").len(), 1);
        assert!(typed.allow_auto_topic_creation, "defaults come from the schema");
    }

    #[test]
    #[should_panic(expected = "has no field Topisc")]
    fn misspelt_field_is_refused() {
        let catalogue = Catalogue::read();
        Wire { message: catalogue.message("MetadataRequest"), version: 1 }.encode(&json!({"Topisc": []}), 0);
    }
}
