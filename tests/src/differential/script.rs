//! A scenario: a list of steps that is the same for both brokers.
//!
//! Texts of the form `$name` in a request stand for what an earlier answer taught; `$node` is known from
//! the start. Each step has a name within its scenario, which the table of differences uses.

use milena_protocol::ApiKey;
use milena_protocol::versions::broker_4_3_1;
use serde_json::Value;

#[derive(Clone)]
pub struct Request {
    pub api: ApiKey,
    pub version: i16,
    pub body: Value,
}

#[derive(Clone)]
pub enum Act {
    /// Send, and wait for the answer.
    Call(Request),
    /// Send only: the answer is taken by a later step on this connection.
    Send(Request),
    Receive,
    /// Call again until the answer holds this value at this place.
    Until {
        request: Request,
        place: String,
        value: Value,
    },
    /// Bytes in a frame, whatever they are.
    Raw(Vec<u8>),
}

#[derive(Clone)]
pub struct Step {
    pub name: String,
    pub connection: String,
    pub act: Act,
    /// Name, and where in the answer its value is (a JSON pointer).
    pub learn: Vec<(String, String)>,
}

pub struct Script {
    pub name: String,
    pub steps: Vec<Step>,
    connection: String,
}

/// The versions that a 4.3.1 broker serves. Of Produce it names three more, which it refuses.
pub fn versions(api: ApiKey) -> std::ops::RangeInclusive<i16> {
    let (first, last) = broker_4_3_1(api).expect("a served API");
    if api == ApiKey::Produce { 3..=last } else { first..=last }
}

impl Script {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), steps: Vec::new(), connection: "main".to_owned() }
    }

    /// The steps that follow use this connection.
    pub fn on(&mut self, connection: &str) -> &mut Self {
        connection.clone_into(&mut self.connection);
        self
    }

    fn add(&mut self, name: &str, act: Act) -> &mut Self {
        let connection = self.connection.clone();
        self.steps.push(Step { name: name.to_owned(), connection, act, learn: Vec::new() });
        self
    }

    pub fn call(&mut self, name: &str, api: ApiKey, version: i16, body: Value) -> &mut Self {
        self.add(name, Act::Call(Request { api, version, body }))
    }

    /// The same call in the newest version.
    pub fn newest(&mut self, name: &str, api: ApiKey, body: Value) -> &mut Self {
        self.call(name, api, *versions(api).end(), body)
    }

    /// The same call in every version.
    pub fn each(&mut self, name: &str, api: ApiKey, body: &Value) -> &mut Self {
        for version in versions(api) {
            self.call(name, api, version, body.clone());
        }
        self
    }

    pub fn send(&mut self, name: &str, api: ApiKey, version: i16, body: Value) -> &mut Self {
        self.add(name, Act::Send(Request { api, version, body }))
    }

    pub fn receive(&mut self, name: &str) -> &mut Self {
        self.add(name, Act::Receive)
    }

    pub fn until(&mut self, name: &str, api: ApiKey, body: Value, place: &str, value: Value) -> &mut Self {
        let request = Request { api, version: *versions(api).end(), body };
        self.add(name, Act::Until { request, place: place.to_owned(), value })
    }

    pub fn raw(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.add(name, Act::Raw(bytes.to_vec()))
    }

    /// Keeps a part of the last step's answer under a name.
    pub fn learn(&mut self, name: &str, place: &str) -> &mut Self {
        let step = self.steps.last_mut().expect("a step came before");
        step.learn.push((name.to_owned(), place.to_owned()));
        self
    }
}
