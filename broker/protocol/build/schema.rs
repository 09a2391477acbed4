//! Reads the tables under `schema/` (their format is in `schema/README.md`).
//!
//! Shared by the generator and by the tests that interpret the schema, so it uses nothing but std.
//! A mistake in a table stops the build with file and line.

use std::ops::RangeInclusive;
use std::path::Path;

/// Versions `first..=last`; `last` is `i16::MAX` when open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Versions {
    pub first: i16,
    pub last: i16,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Request,
    Response,
    Header,
    Data,
    Key,
    Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

#[derive(Debug, Clone)]
pub struct Field {
    pub name: String,
    pub ty: Type,
    pub versions: Versions,
    pub nullable: Option<Versions>,
    pub default: Option<String>,
    pub tag: Option<u32>,
    pub ignorable: bool,
    /// Not compact even where the message is flexible: the client id of a request header.
    pub inflexible: bool,
}

#[derive(Debug, Clone)]
pub struct Struct {
    pub name: String,
    pub fields: Vec<Field>,
}

#[derive(Debug, Clone)]
pub struct Message {
    pub kind: Kind,
    pub name: String,
    pub key: Option<i16>,
    /// None when every version has been removed from Kafka.
    pub versions: Option<Versions>,
    pub flexible_from: Option<i16>,
    pub unstable: bool,
    pub listeners: Vec<String>,
    /// The message's own struct first, then those inside.
    pub structs: Vec<Struct>,
}

impl Versions {
    pub fn contains(self, version: i16) -> bool {
        (self.first..=self.last).contains(&version)
    }

    pub fn within(self, outer: Versions) -> Option<Versions> {
        let first = self.first.max(outer.first);
        let last = self.last.min(outer.last);
        (first <= last).then_some(Versions { first, last })
    }

    pub fn range(self) -> RangeInclusive<i16> {
        self.first..=self.last
    }

    fn parse(text: &str) -> Option<Versions> {
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
            None => match text.strip_suffix('+') {
                Some(first) => (first.parse().ok()?, i16::MAX),
                None => (text.parse().ok()?, text.parse().ok()?),
            },
        };
        Some(Versions { first, last })
    }
}

impl Type {
    fn parse(text: &str) -> Option<Type> {
        if let Some(element) = text.strip_prefix("[]") {
            return Some(Type::Array(Box::new(Type::parse(element)?)));
        }
        Some(match text {
            "bool" => Type::Bool,
            "int8" => Type::Int8,
            "int16" => Type::Int16,
            "uint16" => Type::Uint16,
            "int32" => Type::Int32,
            "uint32" => Type::Uint32,
            "int64" => Type::Int64,
            "float64" => Type::Float64,
            "uuid" => Type::Uuid,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "records" => Type::Records,
            name if name.starts_with(|c: char| c.is_ascii_uppercase()) => Type::Struct(name.to_owned()),
            _ => return None,
        })
    }

    /// The struct that this is, or is an array of.
    pub fn struct_name(&self) -> Option<&str> {
        match self {
            Type::Struct(name) => Some(name),
            Type::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}

impl Message {
    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible_from.is_some_and(|from| version >= from)
    }

    pub fn struct_named(&self, name: &str) -> &Struct {
        let found = self.structs.iter().find(|s| s.name == name);
        found.unwrap_or_else(|| panic!("{} has no struct {name}", self.name))
    }
}

/// All messages of all tables in `folder`, in the order of their names.
pub fn read_folder(folder: &Path) -> Vec<Message> {
    let mut messages = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the schema folder is there") {
        let path = entry.expect("the schema folder can be listed").path();
        if path.extension().is_some_and(|extension| extension == "schema") {
            let text = std::fs::read_to_string(&path).expect("a schema table can be read");
            parse(&text, &path.display().to_string(), &mut messages);
        }
    }
    messages.sort_by(|a, b| a.name.cmp(&b.name));
    messages
}

fn parse(text: &str, file: &str, messages: &mut Vec<Message>) {
    // The struct that fields of each depth belong to, as an index into the message's structs.
    let mut owners: Vec<usize> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let words: Vec<&str> = line.split_whitespace().collect();
        let depth = indent / 4;
        let parsed = if depth == 0 {
            owners = vec![0];
            parse_message(&words).map(|message| messages.push(message))
        } else {
            owners.truncate(depth);
            let message = messages.last_mut().expect("a table starts with a message");
            parse_line(&words, message, &mut owners, depth)
        };
        assert!(parsed.is_some() && indent % 4 == 0, "{file}:{}: cannot read `{line}`", index + 1);
    }
}

fn parse_message(words: &[&str]) -> Option<Message> {
    let kind = match *words.first()? {
        "request" => Kind::Request,
        "response" => Kind::Response,
        "header" => Kind::Header,
        "data" => Kind::Data,
        "key" => Kind::Key,
        "value" => Kind::Value,
        _ => return None,
    };
    let name = (*words.get(1)?).to_owned();
    let structs = vec![Struct { name: name.clone(), fields: Vec::new() }];
    let mut message = Message {
        kind,
        name,
        key: None,
        versions: None,
        flexible_from: None,
        unstable: false,
        listeners: Vec::new(),
        structs,
    };
    let mut rest = words[2..].iter();
    while let Some(word) = rest.next() {
        match *word {
            "key" => message.key = Some(rest.next()?.parse().ok()?),
            "versions" => match *rest.next()? {
                "none" => {}
                versions => message.versions = Some(Versions::parse(versions)?),
            },
            "flexible" => message.flexible_from = Some(Versions::parse(rest.next()?)?.first),
            "unstable" => message.unstable = true,
            "on" => message.listeners = rest.next()?.split(',').map(str::to_owned).collect(),
            _ => return None,
        }
    }
    Some(message)
}

/// A field, or the head of a struct that several fields share.
fn parse_line(words: &[&str], message: &mut Message, owners: &mut Vec<usize>, depth: usize) -> Option<()> {
    if words[0] == "struct" {
        owners.push(struct_index(message, words.get(1)?));
        return Some(());
    }
    let field = parse_field(words)?;
    let owner = *owners.get(depth - 1)?;
    if let Some(name) = field.ty.struct_name() {
        owners.push(struct_index(message, name));
    }
    message.structs[owner].fields.push(field);
    Some(())
}

/// The struct of that name, which may be named before its fields are listed.
fn struct_index(message: &mut Message, name: &str) -> usize {
    message.structs.iter().position(|s| s.name == name).unwrap_or_else(|| {
        message.structs.push(Struct { name: name.to_owned(), fields: Vec::new() });
        message.structs.len() - 1
    })
}

fn parse_field(words: &[&str]) -> Option<Field> {
    let mut field = Field {
        name: words.first()?.strip_suffix(':')?.to_owned(),
        ty: Type::parse(words.get(1)?)?,
        versions: Versions::parse(words.get(2)?)?,
        nullable: None,
        default: None,
        tag: None,
        ignorable: false,
        inflexible: false,
    };
    let mut rest = words[3..].iter();
    while let Some(word) = rest.next() {
        match *word {
            "tag" => field.tag = Some(rest.next()?.parse().ok()?),
            "ignorable" => field.ignorable = true,
            "inflexible" => field.inflexible = true,
            "?" => field.nullable = Some(field.versions),
            word if word.starts_with('?') => field.nullable = Some(Versions::parse(&word[1..])?),
            word => field.default = Some(word.strip_prefix('=')?.to_owned()),
        }
    }
    Some(field)
}
