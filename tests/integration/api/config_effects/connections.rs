//! How many connections a broker holds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Effect;
use super::scene::{Scene, eventually};

#[rustfmt::skip]
pub const EFFECTS: &[Effect] = &[
    Effect { topic: None, broker: Some("max.connections"), values: ("1", "2147483647"), with: &[], shows: waits },
];

#[test]
fn connections_are_held_by_values_of_now() {
    Scene::start(&[]).check(EFFECTS);
}

/// ApiVersions in version 0 of a client without a name.
const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

/// Beside the connection of the test another one is answered, or waits until there may be more again.
fn waits(scene: &Scene, _: &str, acts: bool) {
    let refused = || scene.node.metric("milena_limit_reached_total", "limit=\"connections\"");
    if acts {
        // The one that was waited for when the number changed comes in; no other does.
        let before = refused();
        let _expected = TcpStream::connect(scene.node.address()).expect("it listens");
        eventually("there are too many", || refused() > before);
        assert!(ask(scene, Duration::from_millis(20)).is_err(), "it is not answered");
    } else {
        assert_eq!(ask(scene, Duration::from_secs(20)).expect("an answer"), 1);
    }
}

fn ask(scene: &Scene, patience: Duration) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(scene.node.address())?;
    stream.write_all(&REQUEST)?;
    stream.set_read_timeout(Some(patience))?;
    stream.read(&mut [0])
}
