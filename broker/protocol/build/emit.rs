//! Writes the Rust text of one message: its structs, their defaults, `Decode` and `Encode`.
//!
//! The generated code is a list of calls to helpers that are not generic (`Reader`, `Writer`), because
//! the crate holds over 600 structs and its compile time is the sum of what is written here.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::names::{field as field_name, snake};
use crate::schema::{Field, Kind, Message, Struct, Type, Versions};

/// A message that has versions, with what the emitters ask again and again.
pub struct Emitter<'m> {
    message: &'m Message,
    versions: Versions,
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
    fn fields(&self, s: &'m Struct) -> impl Iterator<Item = &'m Field> + use<'m> {
        let versions = self.versions;
        s.fields.iter().filter(move |f| f.versions.within(versions).is_some())
    }

    fn tagged(&self, s: &'m Struct) -> Vec<&'m Field> {
        let mut fields: Vec<_> = self.fields(s).filter(|f| f.tag.is_some()).collect();
        fields.sort_by_key(|f| f.tag);
        fields
    }

    fn nullable(&self, f: &Field) -> Option<Versions> {
        f.nullable.and_then(|n| n.within(f.versions)).and_then(|n| n.within(self.versions))
    }

    /// Whether the Rust type is an `Option`. Records always are.
    fn optional(&self, f: &Field) -> bool {
        self.nullable(f).is_some() || f.ty == Type::Records
    }

    fn defaults_to_null(&self, f: &Field) -> bool {
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

    fn lifetime(&self, name: &str, lifetime: &str) -> String {
        if self.borrowing.contains(name) { format!("<{lifetime}>") } else { String::new() }
    }

    fn type_text(&self, ty: &Type) -> String {
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

    fn default_text(&self, f: &Field) -> String {
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
    fn condition(&self, versions: Versions) -> Option<String> {
        let (low, high) = (versions.first > self.versions.first, versions.last < self.versions.last);
        match (low, high) {
            (false, false) => None,
            (true, false) => Some(format!("version >= {}", versions.first)),
            (false, true) => Some(format!("version <= {}", versions.last)),
            (true, true) if versions.first == versions.last => Some(format!("version == {}", versions.first)),
            (true, true) => Some(format!("({}..={}).contains(&version)", versions.first, versions.last)),
        }
    }

    fn is_ever_flexible(&self) -> bool {
        self.message.flexible_from.is_some_and(|from| from <= self.versions.last)
    }

    fn flexible_text(&self) -> String {
        match self.message.flexible_from {
            Some(from) if from > self.versions.last => "false".into(),
            Some(from) if from <= self.versions.first => "true".into(),
            Some(from) => format!("version >= {from}"),
            None => "false".into(),
        }
    }

    /// The prologue of decode and encode: the version check of the message itself, and `flexible`.
    fn prologue(&self, out: &mut String, s: &Struct, cursor: &str) {
        if s.name == self.message.name {
            let Versions { first, last } = self.versions;
            let _ = writeln!(out, "{cursor}.check_version({:?}, {first}, {last}, version)?;", s.name);
        }
        let _ = writeln!(out, "let flexible = {};", self.flexible_text());
    }

    fn decode(&self, out: &mut String, s: &'m Struct) {
        let _ = writeln!(out, "impl<'a> Decode<'a> for {}{} {{", s.name, self.lifetime(&s.name, "'a"));
        out.push_str("fn decode(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {\n");
        self.prologue(out, s, "r");
        let tagged = self.tagged(s);
        let mutable = if tagged.is_empty() { "" } else { "mut " };
        let _ = writeln!(out, "let {mutable}this = Self {{");
        for f in self.fields(s) {
            let value = if f.tag.is_some() { self.default_text(f) } else { self.decode_in_version(f) };
            let _ = writeln!(out, "{}: {value},", field_name(&f.name));
        }
        out.push_str("};\n");
        if self.is_ever_flexible() {
            self.decode_tags(out, &tagged);
        }
        out.push_str("Ok(this)\n}\n}\n");
    }

    fn decode_in_version(&self, f: &Field) -> String {
        let value = self.decode_nullable(f);
        match self.condition(f.versions) {
            None => value,
            Some(condition) => format!("if {condition} {{ {value} }} else {{ {} }}", self.default_text(f)),
        }
    }

    fn decode_nullable(&self, f: &Field) -> String {
        let required = |text: String| if self.optional(f) { format!("Some({text})") } else { text };
        let Some(nullable) = self.nullable(f) else { return required(self.decode_value(f, false)) };
        let always = f.versions.within(self.versions) == Some(nullable);
        match self.condition(nullable) {
            Some(condition) if !always => {
                let value = required(self.decode_value(f, false));
                format!("if {condition} {{ {} }} else {{ {value} }}", self.decode_value(f, true))
            }
            _ => self.decode_value(f, true),
        }
    }

    fn decode_value(&self, f: &Field, nullable: bool) -> String {
        let n = if nullable { "nullable_" } else { "" };
        let flexible = if f.inflexible { "false" } else { "flexible" };
        match &f.ty {
            Type::Bytes => format!("r.{n}bytes({flexible})?"),
            Type::String => format!("r.{n}string({flexible})?"),
            Type::Records => format!("r.{n}records({flexible})?"),
            Type::Struct(_) if nullable => "r.nullable_struct(version)?".into(),
            Type::Struct(name) => format!("{name}::decode(r, version)?"),
            Type::Array(element) if **element == Type::String => format!("r.{n}strings({flexible})?"),
            Type::Array(element) => {
                format!("r.{n}array(version, {flexible}, {})?", self.size_min_text(f.versions, element))
            }
            primitive => format!("r.{}()?", self.type_text(primitive).to_lowercase()),
        }
    }

    fn decode_tags(&self, out: &mut String, tagged: &[&Field]) {
        let conditional = self.flexible_text() != "true";
        if conditional {
            out.push_str("if flexible {\n");
        }
        if tagged.is_empty() {
            out.push_str("r.skip_tags()?;\n");
        } else {
            out.push_str("let mut tags = r.tags()?;\n");
            out.push_str("while let Some(tag) = r.next_tag(&mut tags)? {\nmatch tag {\n");
            for f in tagged {
                let guard = self.condition(f.versions).map(|c| format!(" if {c}")).unwrap_or_default();
                let tag = f.tag.expect("only tagged fields come here");
                let value = self.decode_nullable(f);
                let _ = writeln!(out, "{tag}{guard} => this.{} = {value},", field_name(&f.name));
            }
            out.push_str("_ => r.skip_tag(&tags)?,\n}\nr.end_tag(&tags)?;\n}\n");
        }
        if conditional {
            out.push_str("}\n");
        }
    }

    fn encode(&self, out: &mut String, s: &'m Struct) {
        let _ = writeln!(out, "impl Encode for {}{} {{", s.name, self.lifetime(&s.name, "'_"));
        out.push_str("fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {\n");
        self.prologue(out, s, "w");
        for f in self.fields(s) {
            let value = if f.tag.is_some() { None } else { Some(self.encode_nullable(f)) };
            self.encode_in_version(out, f, value);
        }
        if self.is_ever_flexible() {
            self.encode_tags(out, &self.tagged(s));
        }
        out.push_str("Ok(())\n}\n}\n");
    }

    /// Writes the field where the version has it; elsewhere refuses a value that would be lost.
    fn encode_in_version(&self, out: &mut String, f: &Field, value: Option<String>) {
        let name = field_name(&f.name);
        let Some(condition) = self.condition(f.versions) else {
            out.push_str(&value.unwrap_or_default());
            return;
        };
        let lost =
            format!("{} {{ return Err(not_in_version({:?}, version)); }}", self.is_set(f), snake(&f.name));
        match (value, f.ignorable) {
            (Some(value), true) => drop(writeln!(out, "if {condition} {{ {value} }}")),
            (Some(value), false) => drop(writeln!(out, "if {condition} {{ {value} }} else if {lost}")),
            (None, true) => {}
            (None, false) => drop(writeln!(out, "if !({condition}) && {lost}")),
        }
        debug_assert!(!name.is_empty());
    }

    /// A condition: the field does not hold its default.
    fn is_set(&self, f: &Field) -> String {
        let name = format!("self.{}", field_name(&f.name));
        match (self.optional(f), self.defaults_to_null(f), &f.ty) {
            (true, true, _) => format!("{name}.is_some()"),
            (true, false, Type::Struct(_)) => format!("{name} != Some(Default::default())"),
            (true, false, _) => format!("{name}.as_ref().is_none_or(|v| !v.is_empty())"),
            (false, _, Type::String | Type::Bytes | Type::Array(_)) => format!("!{name}.is_empty()"),
            (false, _, Type::Struct(_)) => format!("{name} != Default::default()"),
            (false, _, Type::Bool) if self.default_text(f) == "true" => format!("!{name}"),
            (false, _, Type::Bool) => name,
            (false, _, _) => format!("{name} != {}", self.default_text(f)),
        }
    }

    fn encode_nullable(&self, f: &Field) -> String {
        let name = format!("self.{}", field_name(&f.name));
        if !self.optional(f) {
            return self.encode_value(f, false, &name);
        }
        let required = format!("required({name}.as_ref(), {:?})?", snake(&f.name));
        let Some(nullable) = self.nullable(f) else { return self.encode_value(f, false, &required) };
        let always = f.versions.within(self.versions) == Some(nullable);
        match self.condition(nullable) {
            Some(condition) if !always => {
                let (null, value) =
                    (self.encode_value(f, true, &name), self.encode_value(f, false, &required));
                format!("if {condition} {{ {null} }} else {{ {value} }}")
            }
            _ => self.encode_value(f, true, &name),
        }
    }

    /// A statement that writes `value`: a field, or a reference when it came out of `required`.
    fn encode_value(&self, f: &Field, nullable: bool, value: &str) -> String {
        let flexible = if f.inflexible { "false" } else { "flexible" };
        let reference = if value.starts_with("self.") { format!("&{value}") } else { value.to_owned() };
        let call = match (&f.ty, nullable) {
            (Type::Bytes, true) => format!("nullable_bytes({value}.as_deref(), {flexible})?"),
            (Type::Bytes, false) => format!("sized_bytes({reference}, {flexible})?"),
            (Type::String, true) => format!("nullable_string({value}.as_deref(), {flexible})?"),
            (Type::String, false) => format!("string({reference}, {flexible})?"),
            (Type::Records, true) => format!("nullable_records({value}.as_ref(), {flexible})?"),
            (Type::Records, false) => format!("records({reference}, {flexible})?"),
            (Type::Struct(_), true) => format!("nullable_struct({value}.as_ref(), version)?"),
            (Type::Struct(_), false) => return format!("{value}.encode(w, version)?;\n"),
            (Type::Array(element), true) if **element == Type::String => {
                format!("nullable_strings({value}.as_deref(), {flexible})?")
            }
            (Type::Array(element), false) if **element == Type::String => {
                format!("strings({reference}, {flexible})?")
            }
            (Type::Array(_), true) => format!("nullable_array({value}.as_deref(), version, {flexible})?"),
            (Type::Array(_), false) => format!("array({reference}, version, {flexible})?"),
            (primitive, _) => format!("{}({value})", self.type_text(primitive).to_lowercase()),
        };
        format!("w.{call};\n")
    }

    fn encode_tags(&self, out: &mut String, tagged: &[&Field]) {
        let conditional = self.flexible_text() != "true";
        if conditional {
            out.push_str("if flexible {\n");
        }
        if tagged.is_empty() {
            out.push_str("w.uvarint(0);\n");
        } else {
            out.push_str("let mut tags = 0;\n");
            for f in tagged {
                let _ = writeln!(out, "if {} {{ tags += 1; }}", self.tag_condition(f));
            }
            out.push_str("w.uvarint(tags);\n");
            for f in tagged {
                let tag = f.tag.expect("only tagged fields come here");
                let value = self.encode_nullable(f);
                let condition = self.tag_condition(f);
                let _ = writeln!(
                    out,
                    "if {condition} {{ let start = w.begin_tag({tag}); {value} w.end_tag(start)?; }}"
                );
            }
        }
        if conditional {
            out.push_str("}\n");
        }
    }

    fn tag_condition(&self, f: &Field) -> String {
        match self.condition(f.versions) {
            Some(condition) => format!("{condition} && {}", self.is_set(f)),
            None => self.is_set(f),
        }
    }

    /// The least bytes that an element takes, as an expression of `version`.
    fn size_min_text(&self, versions: Versions, element: &Type) -> String {
        let versions = versions.within(self.versions).expect("fields() keeps only these");
        let mut arms: Vec<(i16, usize)> = Vec::new();
        for version in versions.range() {
            let size = self.size_min(element, version);
            assert!(size > 0, "{}: an element without bytes would have no bound", self.message.name);
            match arms.last_mut() {
                Some((last, same)) if *same == size => *last = version,
                _ => arms.push((version, size)),
            }
        }
        let (_, size_last) = arms.pop().expect("a field has a version");
        let mut text = String::new();
        for (last, size) in &arms {
            let _ = write!(text, "if version <= {last} {{ {size} }} else ");
        }
        if arms.is_empty() { size_last.to_string() } else { format!("{text}{{ {size_last} }}") }
    }

    fn size_min(&self, ty: &Type, version: i16) -> usize {
        let flexible = self.message.is_flexible(version);
        match ty {
            Type::Bool | Type::Int8 => 1,
            Type::Int16 | Type::Uint16 => 2,
            Type::Int32 | Type::Uint32 => 4,
            Type::Int64 | Type::Float64 => 8,
            Type::Uuid => 16,
            Type::String => 2 - usize::from(flexible),
            Type::Bytes | Type::Records | Type::Array(_) => 4 - 3 * usize::from(flexible),
            Type::Struct(name) => {
                let fields = self.message.struct_named(name).fields.iter();
                let present = fields.filter(|f| f.versions.contains(version) && f.tag.is_none());
                let size: usize = present.map(|f| self.field_size_min(f, version)).sum();
                size + usize::from(flexible)
            }
        }
    }

    fn field_size_min(&self, f: &Field, version: i16) -> usize {
        match f.ty {
            Type::Struct(_) if f.nullable.is_some_and(|n| n.contains(version)) => 1,
            _ => self.size_min(&f.ty, version),
        }
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
