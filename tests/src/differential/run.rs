//! Runs scenarios against one broker and keeps what it answered.
//!
//! A closed connection and a silence are answers too. Apache Kafka answers changes before its broker has
//! published them, so after a change this waits until it has; Milena answers afterwards by design, and is
//! not waited for: an answer that came too early would show as a difference.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use milena_protocol::{ApiKey, Reader, Writer, frame, header};
use milena_tests::wait;
use serde_json::{Value, json};

use crate::catalogue::Catalogue;
use crate::script::{Act, Request, Script};
use crate::wire::Wire;

/// Longer than any wait that a scenario asks for.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);
const UNTIL_LIMIT: Duration = Duration::from_secs(15);
const PUBLISH_LIMIT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// One request and its answer.
pub struct Exchange {
    pub scenario: String,
    pub step: String,
    pub api: Option<ApiKey>,
    pub version: i16,
    pub answer: Value,
}

struct Connection {
    stream: TcpStream,
    correlation_id: i32,
    /// What was sent and not yet answered, in order.
    pending: Vec<Request>,
}

pub struct Runner<'c> {
    catalogue: &'c Catalogue,
    address: String,
    publishes_late: bool,
    connections: BTreeMap<String, Connection>,
    known: BTreeMap<String, Value>,
}

impl<'c> Runner<'c> {
    pub fn new(catalogue: &'c Catalogue, address: &str, publishes_late: bool) -> Self {
        let address = address.to_owned();
        Self { catalogue, address, publishes_late, connections: BTreeMap::new(), known: BTreeMap::new() }
    }

    pub fn run(&mut self, script: &Script) -> Vec<Exchange> {
        self.connections.clear();
        self.known = BTreeMap::from([("node".to_owned(), json!(1))]);
        let mut out = Vec::new();
        for step in &script.steps {
            let (request, answer) = self.act(&step.connection, &step.act);
            for (name, place) in &step.learn {
                let value = answer.pointer(place).cloned().unwrap_or(Value::Null);
                self.known.insert(name.clone(), value);
            }
            let Some(answer) = self.named(answer, &step.act) else { continue };
            let (api, version) = request.map_or((None, 0), |request| (Some(request.api), request.version));
            let (scenario, step) = (script.name.clone(), step.name.clone());
            out.push(Exchange { scenario, step, api, version, answer });
        }
        out
    }

    /// Learnt ids carry their names from here on, so that two answers with the same id still say so.
    fn named(&self, answer: Value, act: &Act) -> Option<Value> {
        if matches!(act, Act::Send(_)) {
            return None;
        }
        let ids = self.known.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
        let ids: Vec<_> = ids.filter(|(_, text)| text.len() > 8).collect();
        Some(map_texts(&answer, &|text| {
            let mut text = text.to_owned();
            for (name, id) in &ids {
                text = text.replace(id, &format!("${name}"));
            }
            json!(text)
        }))
    }

    fn act(&mut self, connection: &str, act: &Act) -> (Option<Request>, Value) {
        match act {
            Act::Call(request) => (Some(request.clone()), self.call(connection, request)),
            Act::Send(request) => {
                (Some(request.clone()), outcome(self.send(connection, request).map(|()| Value::Null)))
            }
            Act::Receive => {
                let pending = self.connections.get(connection).and_then(|open| open.pending.first().cloned());
                (pending, outcome(self.receive(connection)))
            }
            Act::Until { request, place, value } => {
                let mut last = Value::Null;
                let reached = wait::poll(UNTIL_LIMIT, || {
                    last = self.call(connection, request);
                    (last.pointer(place) == Some(value)).then(|| last.clone())
                });
                (Some(request.clone()), reached.unwrap_or_else(|| json!({"never": place, "last": last})))
            }
            Act::Raw(bytes) => (None, outcome(self.raw(connection, bytes))),
        }
    }

    fn call(&mut self, connection: &str, request: &Request) -> Value {
        let answer = self.send(connection, request).and_then(|()| match request.body["Acks"].as_i64() {
            Some(0) if request.api == ApiKey::Produce => {
                self.connections.get_mut(connection).expect("it was just used").pending.clear();
                Ok(json!("no answer is due"))
            }
            _ => self.receive(connection),
        });
        if self.publishes_late && changes(request) {
            self.settle();
        }
        outcome(answer)
    }

    fn open(&mut self, name: &str) -> io::Result<&mut Connection> {
        if !self.connections.contains_key(name) {
            let stream = TcpStream::connect(&self.address)?;
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            stream.set_nodelay(true)?;
            self.connections
                .insert(name.to_owned(), Connection { stream, correlation_id: 0, pending: Vec::new() });
        }
        Ok(self.connections.get_mut(name).expect("it is there now"))
    }

    fn send(&mut self, connection: &str, request: &Request) -> io::Result<()> {
        let body = map_texts(&request.body, &|text| match text.strip_prefix('$') {
            Some(name) => self.known.get(name).cloned().unwrap_or_else(|| panic!("nothing taught ${name}")),
            None => json!(text),
        });
        let message = self.catalogue.request(request.api);
        let body = Wire { message, version: request.version }.encode(&body, now_ms());
        let open = self.open(connection)?;
        open.correlation_id += 1;
        let mut w = Writer::new();
        let start = frame::begin(&mut w);
        header::encode_request(
            &mut w,
            request.api,
            request.version,
            open.correlation_id,
            Some("differential"),
        )
        .map_err(io::Error::other)?;
        w.raw(&body);
        frame::end(&mut w, start).map_err(io::Error::other)?;
        open.pending.push(request.clone());
        let sent = open.stream.write_all(w.bytes());
        self.forget_if_broken(connection, sent)
    }

    fn receive(&mut self, connection: &str) -> io::Result<Value> {
        let read = read_frame(&mut self.open(connection)?.stream);
        let bytes = self.forget_if_broken(connection, read)?;
        let open = self.connections.get_mut(connection).expect("it was just used");
        if open.pending.is_empty() {
            return Ok(json!("an answer that nobody asked for"));
        }
        let request = open.pending.remove(0);
        let mut r = Reader::new(&bytes);
        let decoded = header::decode_response(&mut r, request.api, request.version).and_then(|_| {
            let known = request.api.has_version(request.version);
            // ApiVersions alone answers a version that it does not know, in version 0.
            let version = if known { request.version } else { 0 };
            Wire { message: self.catalogue.response(request.api), version }.decode(&mut r)
        });
        Ok(decoded.unwrap_or_else(|error| json!({"undecodable": error.to_string()})))
    }

    fn raw(&mut self, connection: &str, bytes: &[u8]) -> io::Result<Value> {
        let sent = self.open(connection)?.stream.write_all(bytes);
        self.forget_if_broken(connection, sent)?;
        let read = read_frame(&mut self.open(connection)?.stream);
        self.forget_if_broken(connection, read).map(|bytes| crate::wire::readable(&bytes))
    }

    fn forget_if_broken<T>(&mut self, connection: &str, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.connections.remove(connection);
        }
        result
    }

    /// Waits until the broker has published what its controller has committed: its image must reach the
    /// high watermark, and then go on once more, because an image is shown before it has been acted upon.
    fn settle(&mut self) {
        let quorum = Request {
            api: ApiKey::DescribeQuorum,
            version: 2,
            body: json!({"Topics": [{"TopicName": "__cluster_metadata", "Partitions": [{"PartitionIndex": 0}]}]}),
        };
        let features = Request {
            api: ApiKey::ApiVersions,
            version: 4,
            body: json!({"ClientSoftwareName": "d", "ClientSoftwareVersion": "1"}),
        };
        let mut number = |request: &Request, place: &str| {
            let answer = self.send("settle", request).and_then(|()| self.receive("settle"));
            answer.ok().and_then(|answer| answer.pointer(place)?.as_i64())
        };
        let committed = number(&quorum, "/Topics/0/Partitions/0/HighWatermark").unwrap_or(0);
        let mut epoch = || number(&features, "/FinalizedFeaturesEpoch").unwrap_or(-1);
        let seen = wait::poll(PUBLISH_LIMIT, || Some(epoch()).filter(|epoch| *epoch >= committed - 1));
        let seen = seen.expect("Apache Kafka publishes what it committed");
        wait::poll(PUBLISH_LIMIT, || (epoch() > seen).then_some(())).expect("an idle controller writes on");
    }
}

/// Whether the answer may come before the change is seen.
fn changes(request: &Request) -> bool {
    use ApiKey::*;
    let only_checks = request.body["ValidateOnly"] == true || request.body["validateOnly"] == true;
    match request.api {
        Metadata => request.body["AllowAutoTopicCreation"] != false,
        CreateTopics | DeleteTopics | CreatePartitions => !only_checks,
        AlterConfigs | IncrementalAlterConfigs | AlterClientQuotas => !only_checks,
        UpdateFeatures => !only_checks,
        // The first transaction or share group makes a topic; of groups a scenario waits for the coordinator.
        FindCoordinator => request.body["KeyType"] == 1 || request.body["KeyType"] == 2,
        _ => false,
    }
}

fn outcome(result: io::Result<Value>) -> Value {
    match result {
        Ok(value) => value,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            json!("silence")
        }
        Err(_) => json!("closed"),
    }
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut prefix = [0; frame::PREFIX_SIZE];
    stream.read_exact(&mut prefix)?;
    let size = frame::size(&prefix, ANSWER_BYTES_MAX).map_err(io::Error::other)?.unwrap_or(0);
    let mut bytes = vec![0; size];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("within the range of a long")
}

/// The value with every text replaced.
pub fn map_texts(value: &Value, change: &impl Fn(&str) -> Value) -> Value {
    match value {
        Value::String(text) => change(text),
        Value::Array(elements) => elements.iter().map(|value| map_texts(value, change)).collect(),
        Value::Object(fields) => Value::Object(
            fields.iter().map(|(name, value)| (name.clone(), map_texts(value, change))).collect(),
        ),
        other => other.clone(),
    }
}
