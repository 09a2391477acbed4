//! Plays on our log what `golden/LogHistory.java` played on Apache Kafka's, and compares every answer and, at
//! the end, the files.
//!
//! The histories hold duplicates, gaps, zombies, transactions with all kinds of markers, truncation,
//! deleted records and restarts; `golden/make-data-dir` makes them again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_log::directory::Options;
use milena_log::producers::{Origin, Refusal};
use milena_log::{AppendAs, AppendError, Config, Directory, Log, RealFiles, TimestampOffset};

const NOW_MS: i64 = 1_700_000_100_000;

fn golden(seed: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/history-{seed}"))
}

fn config() -> Arc<Config> {
    Arc::new(Config {
        segment_bytes: 3_000,
        segment_ms: i64::MAX,
        index_interval_bytes: 300,
        retention_ms: None,
        file_delete_delay_ms: 0,
        producer_id_expiration_ms: i64::MAX,
        ..Config::default()
    })
}

/// Our side of the history.
struct Player {
    folder: PathBuf,
    batches: Vec<u8>,
    directory: Arc<Directory>,
    log: Option<Log>,
    high_watermark: i64,
    leader_epoch: i32,
}

impl Player {
    fn new(folder: &Path, batches: Vec<u8>) -> Self {
        let directory = open_directory(folder);
        let log = Some(open_log(&directory));
        let mut player =
            Player { folder: folder.to_owned(), batches, directory, log, high_watermark: 0, leader_epoch: 0 };
        player.lead();
        player
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("open between two steps")
    }

    fn answer(&mut self, request: &[&str]) -> String {
        let number = |index: usize| request[index].parse::<i64>().expect("a number");
        match request[0] {
            "append" => self.append(request),
            "lead" => {
                self.leader_epoch = number(1) as i32;
                self.lead();
                "ok".into()
            }
            "replicated" => {
                self.high_watermark = number(1);
                self.log().high_watermark_reached(number(1));
                "ok".into()
            }
            "aborted" => {
                let found = self.log().aborted_transactions(number(1), number(2)).expect("readable");
                let found =
                    found.iter().map(|aborted| format!(" {}/{}", aborted.producer_id, aborted.first_offset));
                format!("ok{}", found.collect::<String>())
            }
            "time" => found(self.log().offset_for_timestamp(number(1)).expect("readable")),
            "largest" => found(self.log().max_timestamp().expect("readable")),
            "end" => self
                .log()
                .end_offset_for_epoch(number(1) as i32)
                .map_or("none".into(), |end| format!("{} {}", end.epoch, end.end_offset)),
            "truncate" => {
                let high_watermark = self.high_watermark;
                self.log().truncate_to(number(1)).expect("writable");
                self.log().high_watermark_reached(high_watermark);
                self.lead();
                "ok".into()
            }
            "start" => {
                let high_watermark = self.high_watermark;
                self.log().set_log_start_offset(number(1));
                self.log().delete_old_segments(high_watermark, NOW_MS).expect("writable");
                format!("ok {}", self.log().segments_count())
            }
            "reopen" => {
                self.reopen(request[1] == "clean");
                "ok".into()
            }
            "producers" => self.producers(),
            other => panic!("unknown request {other}"),
        }
    }

    fn append(&mut self, request: &[&str]) -> String {
        let origin = match request[1] {
            "CLIENT" => Origin::Client,
            _ => Origin::Coordinator { transaction_version: request[2].parse().expect("a number") },
        };
        let leader_epoch = request[3].parse().expect("a number");
        let position: usize = request[4].parse().expect("a number");
        let size: usize = request[5].parse().expect("a number");
        let batch = self.batches[position..position + size].to_vec();
        let append_as = AppendAs::Leader { leader_epoch, log_append_time: None, origin };
        match self.log().append(&batch, append_as, NOW_MS) {
            Ok(appended) => {
                let outcome = if appended.duplicate { "duplicate" } else { "accepted" };
                format!("{outcome} {} {}", appended.base_offset, appended.last_offset)
            }
            Err(AppendError::Refused(refusal)) => format!("refused {}", kafkas_name(refusal)),
            Err(other) => panic!("{other}"),
        }
    }

    fn producers(&mut self) -> String {
        let mut text = String::from("ok");
        for (id, producer) in self.log().producers().iter() {
            let first_offset = producer.transaction_first_offset;
            text += &format!(" {id}:{}:{}:{first_offset}:", producer.epoch, producer.coordinator_epoch);
            for batch in producer.batches() {
                text += &format!("{}-{}@{},", batch.base_sequence(), batch.last_sequence, batch.last_offset);
            }
        }
        text
    }

    fn reopen(&mut self, clean: bool) {
        let log = self.log.take().expect("open between two steps");
        if clean {
            log.close_clean().expect("writable");
            self.directory.close_clean(-1).expect("writable");
        } else {
            // The start of the log is known to the next run from the checkpoint only.
            self.directory.checkpoint().expect("writable");
            drop(log);
        }
        // The lock must be gone before the next run takes it.
        let placeholder = tempfile::tempdir().expect("a temporary folder");
        self.directory = open_directory(placeholder.path());
        self.directory = open_directory(&self.folder);
        let mut log = open_log(&self.directory);
        log.high_watermark_reached(self.high_watermark);
        self.log = Some(log);
        self.lead();
    }

    /// What a partition does when it becomes leader.
    fn lead(&mut self) {
        let leader_epoch = self.leader_epoch;
        self.log().assign_epoch_start(leader_epoch);
    }

    fn state(&mut self) -> String {
        let log = self.log();
        format!("{} {} {}", log.log_start_offset(), log.log_end_offset(), log.last_stable_offset())
    }
}

fn open_directory(folder: &Path) -> Arc<Directory> {
    let options = Options { flusher_thread: false, ..Options::default() };
    Directory::open(Arc::new(RealFiles), folder, options).expect("a usable folder")
}

fn open_log(directory: &Arc<Directory>) -> Log {
    Log::open(directory, "h-0", config(), NOW_MS).expect("a readable log").0
}

fn found(found: Option<TimestampOffset>) -> String {
    found.map_or("none".into(), |found| {
        format!("{} {} {}", found.offset, found.timestamp, found.leader_epoch.unwrap_or(-1))
    })
}

fn kafkas_name(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::OutOfOrderSequence { .. } | Refusal::NewEpochNotFromZero { .. } => "OutOfOrderSequence",
        Refusal::InvalidEpoch { .. } => "InvalidProducerEpoch",
        Refusal::NotTransactional { .. } => "InvalidTxnState",
        Refusal::CoordinatorFenced { .. } => "TransactionCoordinatorFenced",
    }
}

/// Kafka's snapshots hold the last batch of a producer, ours all that are remembered: after a reload we
/// recognise repeats that Kafka refuses.
fn agrees_after_reload(ours: &str, kafkas: &str, reloaded: bool) -> bool {
    if !reloaded || (ours.starts_with("duplicate") && kafkas == "refused OutOfOrderSequence") {
        return reloaded;
    }
    let (ours, kafkas): (Vec<&str>, Vec<&str>) = (ours.split(' ').collect(), kafkas.split(' ').collect());
    let same_producer =
        |(ours, kafkas): (&&str, &&str)| match (ours.rsplit_once(':'), kafkas.rsplit_once(':')) {
            (Some((ours, our_batches)), Some((kafkas, kafkas_batches))) => {
                ours == kafkas
                    && (our_batches.ends_with(kafkas_batches) || kafkas_batches.ends_with(our_batches))
            }
            _ => ours == kafkas,
        };
    ours.len() == kafkas.len() && ours.iter().zip(&kafkas).all(same_producer)
}

/// Log start, log end and last stable offset. Right after records were deleted, Kafka's last stable offset may
/// lie below the log start until the next append; ours does not.
fn kafkas_state(state: &str) -> String {
    let numbers: Vec<i64> = state.split(' ').map(|number| number.parse().expect("a number")).collect();
    format!("{} {} {}", numbers[0], numbers[1], numbers[2].max(numbers[0]))
}

/// Names and contents of the files that a replica shares byte for byte.
fn shared_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        let name =
            path.file_name().and_then(|name| name.to_str()).expect("Kafka's names are text").to_owned();
        let contents = fs::read(&path).expect("readable");
        let is_shared = name.ends_with(".log")
            || name.ends_with(".txnindex") && !contents.is_empty()
            || name == "leader-epoch-checkpoint";
        if is_shared {
            found.push((name, contents));
        }
    }
    found.sort();
    found
}

fn play(seed: u32) {
    let golden = golden(seed);
    let batches = fs::read(golden.join("batches.bin")).expect("a golden file");
    let history = fs::read_to_string(golden.join("history.txt")).expect("a golden file");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut player = Player::new(folder.path(), batches);
    let (mut accepted_count, mut reloaded) = (0, false);
    for (index, line) in history.lines().enumerate() {
        let (request, rest) = line.split_once(" = ").expect("request = answer ; state");
        let (answer, state) = rest.split_once(" ; ").expect("request = answer ; state");
        let request_fields: Vec<&str> = request.split(' ').collect();
        let ours = player.answer(&request_fields);
        assert!(
            ours == answer || agrees_after_reload(&ours, answer, reloaded),
            "seed {seed}, line {}: {request}\n  ours: {ours}\nkafkas: {answer}",
            index + 1
        );
        reloaded |= matches!(request_fields[0], "reopen" | "truncate");
        let (ours, kafkas) = (player.state(), kafkas_state(state));
        assert_eq!(ours, kafkas, "seed {seed}, line {}: state after {request}", index + 1);
        accepted_count += usize::from(answer.starts_with("accepted"));
    }
    assert!(accepted_count > 100, "the history is worth playing");
    player.log.take().expect("open").close_clean().expect("writable");
    let (ours, kafkas) = (shared_files(&folder.path().join("h-0")), shared_files(&golden.join("h-0")));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&kafkas), "seed {seed}");
    for ((name, ours), (_, kafkas)) in ours.iter().zip(&kafkas) {
        assert!(ours == kafkas, "seed {seed}: {name} differs");
    }
}

#[test]
fn first_history_has_kafkas_answers_and_files() {
    play(1);
}

#[test]
fn second_history_has_kafkas_answers_and_files() {
    play(2);
}
