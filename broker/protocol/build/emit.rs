//! Writes the Rust text of one message: its structs, their defaults and traits; `decode.rs` and `encode.rs`
//! have the rest.
//!
//! The generated code is a list of calls to helpers that are not generic (`Reader`, `Writer`), because
//! the crate holds over 600 structs and its compile time is the sum of what is written here.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::names::{field as field_name, snake};
use crate::schema::{Field, Kind, Message, Struct, Type, Versions};

/// A message that has versions, with what the emitters ask again and again.
pub struct Emitter<'m> {
    pub message: &'m Message,
    pub versions: Versions,
    /// Structs that borrow from the frame.
    borrowing: BTreeSet<&'m str>,
}

impl<'m> Emitter<'m> {
    pub fn new(message: &'m Message, versions: Versions) -> Self {
        let mut emitter = Emitter { message, versions, borrowing: BTreeSet::new() };
        // Structs inside come after those that hold them, shared ones before: repeat until nothing is added.
        loop {
            let before = emitter.borrowing.len();
            for s in &message.structs {
                if emitter.fields(s).any(|f| emitter.type_borrows(&f.ty)) {
                    emitter.borrowing.insert(&s.name);
                }
            }
            if emitter.borrowing.len() == before {
                return emitter;
            }
        }
    }

    /// The module of the message.
    pub fn module(&self, out: &mut String) {
        let message = self.message;
        let module = snake(&message.name);
        let _ = writeln!(out, "/// {}: versions {}.", message.name, range_text(self.versions));
        let _ = writeln!(out, "pub mod {module} {{\nuse super::prelude::*;");
        for s in &message.structs {
            self.declaration(out, s);
            self.default(out, s);
            self.decode(out, s);
            self.encode(out, s);
        }
        self.message_trait(out);
        let _ = writeln!(out, "}}\npub use {module}::{};", message.name);
    }

    /// Fields that exist in a version which the message still has.
    pub fn fields(&self, s: &'m Struct) -> impl Iterator<Item = &'m Field> + use<'m> {
        let versions = self.versions;
        s.fields.iter().filter(move |f| f.versions.within(versions).is_some())
    }

    pub fn tagged(&self, s: &'m Struct) -> Vec<&'m Field> {
        let mut fields: Vec<_> = self.fields(s).filter(|f| f.tag.is_some()).collect();
        fields.sort_by_key(|f| f.tag);
        fields
    }

    pub fn nullable(&self, f: &Field) -> Option<Versions> {
        f.nullable.and_then(|n| n.within(f.versions)).and_then(|n| n.within(self.versions))
    }

    /// Whether the Rust type is an `Option`. Records always are.
    pub fn optional(&self, f: &Field) -> bool {
        self.nullable(f).is_some() || f.ty == Type::Records
    }

    pub fn defaults_to_null(&self, f: &Field) -> bool {
        f.default.as_deref() == Some("null") || f.ty == Type::Records
    }

    fn type_borrows(&self, ty: &Type) -> bool {
        match ty {
            Type::String | Type::Bytes | Type::Records => true,
            Type::Struct(name) => self.borrowing.contains(name.as_str()),
            Type::Array(element) => self.type_borrows(element),
            _ => false,
        }
    }

    pub fn lifetime(&self, name: &str, lifetime: &str) -> String {
        if self.borrowing.contains(name) { format!("<{lifetime}>") } else { String::new() }
    }

    pub fn type_text(&self, ty: &Type) -> String {
        match ty {
            Type::Bool => "bool".into(),
            Type::Int8 => "i8".into(),
            Type::Int16 => "i16".into(),
            Type::Uint16 => "u16".into(),
            Type::Int32 => "i32".into(),
            Type::Uint32 => "u32".into(),
            Type::Int64 => "i64".into(),
            Type::Float64 => "f64".into(),
            Type::Uuid => "Uuid".into(),
            Type::String => "Str<'a>".into(),
            Type::Bytes => "Cow<'a, [u8]>".into(),
            Type::Records => "Records<'a>".into(),
            Type::Struct(name) => format!("{name}{}", self.lifetime(name, "'a")),
            Type::Array(element) => format!("Vec<{}>", self.type_text(element)),
        }
    }

    fn declaration(&self, out: &mut String, s: &'m Struct) {
        let derive = if self.derives_default(s) { ", Default" } else { "" };
        let _ = writeln!(out, "#[derive(Debug, Clone, PartialEq{derive})]");
        let _ = writeln!(out, "pub struct {}{} {{", s.name, self.lifetime(&s.name, "'a"));
        for f in self.fields(s) {
            let ty = self.type_text(&f.ty);
            let ty = if self.optional(f) { format!("Option<{ty}>") } else { ty };
            let versions = f.versions.within(self.versions).expect("fields() keeps only these");
            let _ = writeln!(out, "/// Versions {}.", range_text(versions));
            let _ = writeln!(out, "pub {}: {ty},", field_name(&f.name));
        }
        out.push_str("}\n");
    }

    fn derives_default(&self, s: &'m Struct) -> bool {
        self.fields(s).all(|f| if self.optional(f) { self.defaults_to_null(f) } else { f.default.is_none() })
    }

    pub fn default_text(&self, f: &Field) -> String {
        match (self.optional(f), self.defaults_to_null(f), f.default.as_deref()) {
            (true, true, _) => "None".into(),
            (true, false, _) => "Some(Default::default())".into(),
            (false, _, Some(value)) => value.to_owned(),
            (false, _, None) => match f.ty {
                Type::Bool => "false".into(),
                Type::Float64 => "0.0".into(),
                Type::Int8 | Type::Int16 | Type::Uint16 | Type::Int32 | Type::Uint32 | Type::Int64 => {
                    "0".into()
                }
                Type::Uuid => "Uuid::ZERO".into(),
                _ => "Default::default()".into(),
            },
        }
    }

    fn default(&self, out: &mut String, s: &'m Struct) {
        if self.derives_default(s) {
            return;
        }
        let _ = writeln!(out, "impl Default for {}{} {{", s.name, self.lifetime(&s.name, "'_"));
        out.push_str("fn default() -> Self { Self {");
        for f in self.fields(s) {
            let _ = write!(out, "{}: {},", field_name(&f.name), self.default_text(f));
        }
        out.push_str("} }\n}\n");
    }

    /// `version >= 3 && version <= 7`, as far as the message's own range does not say so already.
    pub fn condition(&self, versions: Versions) -> Option<String> {
        let (low, high) = (versions.first > self.versions.first, versions.last < self.versions.last);
        match (low, high) {
            (false, false) => None,
            (true, false) => Some(format!("version >= {}", versions.first)),
            (false, true) => Some(format!("version <= {}", versions.last)),
            (true, true) if versions.first == versions.last => Some(format!("version == {}", versions.first)),
            (true, true) => Some(format!("({}..={}).contains(&version)", versions.first, versions.last)),
        }
    }

    pub fn is_ever_flexible(&self) -> bool {
        self.message.flexible_from.is_some_and(|from| from <= self.versions.last)
    }

    pub fn flexible_text(&self) -> String {
        match self.message.flexible_from {
            Some(from) if from > self.versions.last => "false".into(),
            Some(from) if from <= self.versions.first => "true".into(),
            Some(from) => format!("version >= {from}"),
            None => "false".into(),
        }
    }

    /// The prologue of decode and encode: the version check of the message itself, and `flexible`.
    pub fn prologue(&self, out: &mut String, s: &Struct, cursor: &str) {
        if s.name == self.message.name {
            let Versions { first, last } = self.versions;
            let _ = writeln!(out, "{cursor}.check_version({:?}, {first}, {last}, version)?;", s.name);
        }
        let _ = writeln!(out, "let flexible = {};", self.flexible_text());
    }

    fn message_trait(&self, out: &mut String) {
        let message = self.message;
        let Versions { first, last } = self.versions;
        let _ = writeln!(out, "impl Message for {}{} {{", message.name, self.lifetime(&message.name, "'_"));
        let _ = writeln!(out, "const NAME: &'static str = {:?};", message.name);
        let _ = writeln!(out, "const KEY: Option<i16> = {:?};", message.key);
        let _ = writeln!(out, "const VERSIONS: RangeInclusive<i16> = {first}..={last};");
        let _ = writeln!(out, "const FLEXIBLE_FROM: Option<i16> = {:?};\n}}", message.flexible_from);
    }

    /// `impl Request`, which needs to know whether the response borrows.
    pub fn request_trait(&self, out: &mut String, response: &Emitter<'_>) {
        assert_eq!(self.message.kind, Kind::Request);
        let name = &self.message.name;
        let api = name.strip_suffix("Request").expect("a request's name ends so");
        let _ = writeln!(out, "impl Request for {name}{} {{", self.lifetime(name, "'_"));
        let _ = writeln!(out, "const API: ApiKey = ApiKey::{api};");
        let response_name = &response.message.name;
        let _ = writeln!(
            out,
            "type Response<'b> = {response_name}{};\n}}",
            response.lifetime(response_name, "'b")
        );
    }
}

pub fn range_text(versions: Versions) -> String {
    if versions.first == versions.last {
        versions.first.to_string()
    } else {
        format!("{}–{}", versions.first, versions.last)
    }
}
