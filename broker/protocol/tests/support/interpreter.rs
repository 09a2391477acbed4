//! A second reading of the schema tables, without the generator: it makes valid bytes of any message from
//! a stream of choices, in the one form that an encoder may produce.

use super::schema::{Field, Message, Struct, Type};

/// Where the choices come from. When they run out every choice is 0, which is always the smallest value,
/// so that a shorter stream is a simpler message.
pub struct Choices<'c> {
    rest: std::slice::Iter<'c, u8>,
}

impl<'c> Choices<'c> {
    pub fn new(bytes: &'c [u8]) -> Self {
        Choices { rest: bytes.iter() }
    }

    fn byte(&mut self) -> u8 {
        self.rest.next().copied().unwrap_or(0)
    }

    /// A number below `bound`, which is at most 256.
    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        (0..size).map(|_| self.byte()).collect()
    }
}

/// Bytes of `message` at `version`.
pub fn bytes_of(message: &Message, version: i16, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let interpreter = Interpreter { message, version, flexible: message.is_flexible(version) };
    interpreter.structure(&message.structs[0], Some(choices), &mut out);
    out
}

struct Interpreter<'m> {
    message: &'m Message,
    version: i16,
    flexible: bool,
}

impl Interpreter<'_> {
    /// Without choices every field has its default.
    fn structure(&self, s: &Struct, mut choices: Option<&mut Choices<'_>>, out: &mut Vec<u8>) {
        let present = |f: &&Field| f.versions.contains(self.version);
        for field in s.fields.iter().filter(present).filter(|f| f.tag.is_none()) {
            self.field(field, choices.as_deref_mut(), out);
        }
        if !self.flexible {
            return;
        }
        let mut tagged: Vec<&Field> = s.fields.iter().filter(present).filter(|f| f.tag.is_some()).collect();
        tagged.sort_by_key(|f| f.tag);
        let mut values = Vec::new();
        for field in tagged {
            let (mut value, mut default) = (Vec::new(), Vec::new());
            self.field(field, choices.as_deref_mut(), &mut value);
            self.field(field, None, &mut default);
            if value != default {
                values.push((field.tag.expect("only tagged fields are here"), value));
            }
        }
        uvarint(values.len(), out);
        for (tag, value) in values {
            uvarint(tag as usize, out);
            uvarint(value.len(), out);
            out.extend(value);
        }
    }

    fn field(&self, f: &Field, choices: Option<&mut Choices<'_>>, out: &mut Vec<u8>) {
        let flexible = self.flexible && !f.inflexible;
        let nullable = f.nullable.is_some_and(|n| n.contains(self.version));
        let null_by_default = f.default.as_deref() == Some("null") || f.ty == Type::Records;
        let null = match &choices {
            None => nullable && null_by_default,
            Some(_) => false,
        };
        let Some(choices) = choices else { return self.default(f, null, nullable, flexible, out) };
        if nullable && choices.below(4) == 0 {
            return null_prefix(&f.ty, flexible, out);
        }
        if nullable && matches!(f.ty, Type::Struct(_)) {
            out.push(1);
        }
        self.value(&f.ty, choices, flexible, out);
    }

    fn default(&self, f: &Field, null: bool, nullable: bool, flexible: bool, out: &mut Vec<u8>) {
        if null {
            return null_prefix(&f.ty, flexible, out);
        }
        let number: i64 = match f.default.as_deref() {
            Some("true") => 1,
            Some(text) => text.parse().unwrap_or(0),
            None => 0,
        };
        match &f.ty {
            Type::Struct(name) => {
                if nullable {
                    out.push(1);
                }
                self.structure(self.message.struct_named(name), None, out);
            }
            Type::String | Type::Bytes | Type::Records | Type::Array(_) => {
                size_prefix(&f.ty, 0, flexible, out)
            }
            Type::Uuid => out.extend([0; 16]),
            ty => out.extend(&number.to_be_bytes()[8 - width(ty)..]),
        }
    }

    fn value(&self, ty: &Type, choices: &mut Choices<'_>, flexible: bool, out: &mut Vec<u8>) {
        match ty {
            Type::Bool => out.push(u8::from(choices.byte() & 1 == 1)),
            Type::Uuid => out.extend(choices.bytes(16)),
            Type::String => {
                let text: String =
                    (0..choices.below(12)).map(|_| LETTERS[choices.below(LETTERS.len())]).collect();
                size_prefix(ty, text.len(), flexible, out);
                out.extend(text.as_bytes());
            }
            Type::Bytes | Type::Records => {
                let size = choices.below(20) * choices.below(20);
                size_prefix(ty, size, flexible, out);
                out.extend(choices.bytes(size));
            }
            Type::Array(element) => {
                let count = choices.below(4);
                size_prefix(ty, count, flexible, out);
                for _ in 0..count {
                    self.value(element, choices, flexible, out);
                }
            }
            Type::Struct(name) => self.structure(self.message.struct_named(name), Some(choices), out),
            ty => out.extend(choices.bytes(width(ty))),
        }
    }
}

const LETTERS: [char; 8] = ['a', 'b', '.', '\0', 'ż', '漢', '😀', '\u{7f}'];

fn width(ty: &Type) -> usize {
    match ty {
        Type::Bool | Type::Int8 => 1,
        Type::Int16 | Type::Uint16 => 2,
        Type::Int32 | Type::Uint32 => 4,
        Type::Int64 | Type::Float64 => 8,
        other => panic!("{other:?} has no fixed width"),
    }
}

fn uvarint(mut value: usize, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn size_prefix(ty: &Type, size: usize, flexible: bool, out: &mut Vec<u8>) {
    match ty {
        _ if flexible => uvarint(size + 1, out),
        Type::String => out.extend((size as u16).to_be_bytes()),
        _ => out.extend((size as u32).to_be_bytes()),
    }
}

fn null_prefix(ty: &Type, flexible: bool, out: &mut Vec<u8>) {
    match ty {
        Type::Struct(_) => out.push(0xff),
        _ if flexible => out.push(0),
        Type::String => out.extend([0xff; 2]),
        _ => out.extend([0xff; 4]),
    }
}
