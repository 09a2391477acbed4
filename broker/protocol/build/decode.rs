//! Writes `Decode` of a struct: fields in order, then tagged fields, each where its version has it.

use std::fmt::Write;

use crate::emit::Emitter;
use crate::names::field as field_name;
use crate::schema::{Field, Struct, Type, Versions};

impl<'m> Emitter<'m> {
    pub fn decode(&self, out: &mut String, s: &'m Struct) {
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
}
