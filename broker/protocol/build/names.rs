//! Kafka's names in Rust's spelling.

/// `TopicNameIds` → `topic_name_ids`, `KRaftVersion` → `kraft_version`.
pub fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let mut out = String::new();
    for (index, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && index > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A field's name, escaped where Rust reserves the word.
pub fn field(name: &str) -> String {
    match snake(name).as_str() {
        name @ ("type" | "match") => format!("r#{name}"),
        name => name.to_owned(),
    }
}
