//! Writes `Encode` of a struct, and the checks that nothing is lost on the way to an older version.

use std::fmt::Write;

use crate::emit::Emitter;
use crate::names::{field as field_name, snake};
use crate::schema::{Field, Struct, Type};

impl<'m> Emitter<'m> {
    pub fn encode(&self, out: &mut String, s: &'m Struct) {
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
            // The one field that is filled in after the message was encoded.
            (Type::Int32, _) if f.name == "ThrottleTimeMs" => format!("throttle_time({value})"),
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
}
