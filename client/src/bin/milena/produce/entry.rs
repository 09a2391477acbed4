//! From an entry of the input to a record.

use memchr::memmem;
use milena_client::producer::ProducerRecord;
use milena_protocol::records::Header;

use crate::json::{self, Produced};

/// How entries become records.
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
    pub fn common_headers(&self) -> Vec<Header<'static>> {
        // Leaked once per run would be simpler, but tests make many shapes: the few bytes are copied per chunk instead.
        Vec::new()
    }
}
