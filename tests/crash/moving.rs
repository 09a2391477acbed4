//! Replicas move between directories while the broker is killed.

use crate::client::Client;
use crate::random::Random;
use crate::{Load, PARTITIONS, TOPIC_CONFIGS, crash, number};
use milena_tests::process::Config;

/// Has every replica move to a directory of the draw, also those that are on their way elsewhere.
fn scatter(port: u16, directories: &[String], random: &mut Random) {
    let mut client = Client::connect(port).expect("the broker is ready");
    for topic in ["once", "plain"] {
        for partition in 0..PARTITIONS {
            let path = &directories[random.below(directories.len() as u64) as usize];
            client.move_replica(topic, partition, path).expect("an answer").unwrap_or_else(|error| {
                panic!("{topic}-{partition} to {path}: {error}");
            });
        }
    }
}

#[test]
fn kill_9_while_replicas_move_loses_nothing_acknowledged_and_repeats_nothing() {
    let rounds = number("MILENA_CRASH_ROUNDS").unwrap_or(4);
    let seed = number("MILENA_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("{rounds} rounds with MILENA_SEED={seed}");
    let mut random = Random(seed);
    let config = Config::new();
    let directories = ["one", "two", "three"].map(|name| config.data().with_file_name(name));
    let directories = directories.map(|path| path.display().to_string());
    let mut broker = config
        .property("log.dirs", directories.join(","))
        .property("log.flush.offset.checkpoint.interval.ms", 200)
        .start()
        .expect("starts");
    let mut load = Load::start(broker.port(), PARTITIONS, TOPIC_CONFIGS, 40, &mut random);
    for round in 1..=rounds {
        load.progress(200 + random.below(5_000));
        scatter(broker.port(), &directories, &mut random);
        load.progress(1 + random.below(3_000));
        crash(&mut broker, &mut random);
        load.check(broker.port(), &format!("seed {seed}, round {round}"));
        println!("round {round}: {} acknowledged", load.acked_count());
    }
    load.finish(broker.port(), &format!("seed {seed}"));
    for name in directories.iter().flat_map(|path| std::fs::read_dir(path).expect("a directory")) {
        let name = name.expect("readable").file_name().to_string_lossy().into_owned();
        assert!(!name.ends_with("-stray"), "{name}: nothing here is nobody's");
    }
}
