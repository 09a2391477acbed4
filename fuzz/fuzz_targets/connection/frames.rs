//! From the fuzzer's choices to the bytes of one request.

use std::path::Path;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use milena_broker::api::ROUTES;
use milena_fuzz::messages;
use milena_protocol::{Uuid, Writer, frame, header};

use crate::batches::Plan;
use crate::interpreter::{Choices, bytes_of};
use crate::requests;
use crate::schema::{Message, read_folder};

#[derive(Arbitrary, Debug)]
pub enum Step {
    /// A sensible request to a topic that exists.
    Sensible { request: u8, version: u8, changes: Vec<Change> },
    /// A valid request that makes little sense.
    Valid { route: u8, version: u8, choices: Vec<u8>, changes: Vec<Change> },
    /// Records.
    Produce { version: u8, acks: i8, partition: u8, batch: Plan },
    /// A frame of anything.
    Frame(Vec<u8>),
    /// No frame at all.
    Raw(Vec<u8>),
}

/// A change to the bytes of a request behind its length, or to those of a batch. Positions are modulo the size.
#[derive(Arbitrary, Debug)]
pub enum Change {
    Byte { at: u16, value: u8 },
    Bit { at: u16, bit: u8 },
    Short { at: u16, value: i16 },
    Int { at: u16, value: i32 },
    Long { at: u16, value: i64 },
    Insert { at: u16, bytes: Vec<u8> },
    Remove { at: u16, count: u8 },
}

impl Change {
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |at: u16| usize::from(at) % bytes.len().max(1);
        match self {
            Change::Byte { at, value } => overwrite(place(*at), &[*value], bytes),
            Change::Short { at, value } => overwrite(place(*at), &value.to_be_bytes(), bytes),
            Change::Int { at, value } => overwrite(place(*at), &value.to_be_bytes(), bytes),
            Change::Long { at, value } => overwrite(place(*at), &value.to_be_bytes(), bytes),
            Change::Bit { at, bit } => {
                let at = place(*at);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (bit % 8));
            }
            Change::Insert { at, bytes: inserted } => {
                let at = place(*at);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Change::Remove { at, count } => {
                let at = place(*at);
                let end = (at + usize::from(*count)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
}

fn overwrite(at: usize, with: &[u8], bytes: &mut [u8]) {
    bytes.iter_mut().skip(at).zip(with).for_each(|(old, new)| *old = *new);
}

impl Step {
    /// The bytes to send; none when the choices make no request.
    pub fn frame(&self, topic_id: Uuid, correlation_id: i32) -> Option<Vec<u8>> {
        match self {
            Step::Sensible { request, version, changes } => {
                let frame = requests::sensible(*request, *version, topic_id, correlation_id)?;
                Some(changed(frame, changes, correlation_id))
            }
            Step::Valid { route, version, choices, changes } => {
                let frame = valid(*route, *version, choices, correlation_id)?;
                Some(changed(frame, changes, correlation_id))
            }
            Step::Produce { version, acks, partition, batch } => {
                requests::produce(*version, *acks, *partition, batch.bytes()?, topic_id, correlation_id)
            }
            Step::Frame(bytes) => Some(framed(bytes)),
            Step::Raw(bytes) => Some(bytes.clone()),
        }
    }
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let size = i32::try_from(bytes.len()).expect("inputs are short");
    [&size.to_be_bytes(), bytes].concat()
}

/// The length follows the changes, and the correlation id stays what tells answers apart.
fn changed(frame: Vec<u8>, changes: &[Change], correlation_id: i32) -> Vec<u8> {
    let mut bytes = frame[frame::PREFIX_SIZE..].to_vec();
    changes.iter().take(8).for_each(|change| change.apply(&mut bytes));
    if let Some(place) = bytes.get_mut(4..8) {
        place.copy_from_slice(&correlation_id.to_be_bytes());
    }
    framed(&bytes)
}

/// The tables of the requests that the broker serves, in the order of its routes.
static TABLES: LazyLock<Vec<Message>> = LazyLock::new(|| {
    let tables = read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../broker/protocol/schema"));
    let request =
        |name: String| tables.iter().find(|table| table.name == name).expect("it has a table").clone();
    ROUTES.iter().map(|route| request(format!("{}Request", route.key.name()))).collect()
});

fn valid(route: u8, version: u8, choices: &[u8], correlation_id: i32) -> Option<Vec<u8>> {
    let place = usize::from(route) % ROUTES.len();
    let key = ROUTES[place].key;
    let version = messages::of_api(key)?.0.version(version);
    let mut w = Writer::new();
    header::encode_request(&mut w, key, version, correlation_id, Some("fuzz")).ok()?;
    let mut bytes = w.into_bytes().ok()?;
    bytes.extend(bytes_of(&TABLES[place], version, &mut Choices::new(choices)));
    Some(framed(&bytes))
}
