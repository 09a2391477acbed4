//! Writes a data directory with one partition that has a bit of everything: all codecs, an idempotent
//! producer, committed and aborted transactions, several leader epochs and segments. Prints each record as
//! `offset timestamp key value`. `tests/compat/files` lets Apache Kafka read it.
//!
//! Usage: `cargo run -p milena-log --example write_log -- FOLDER`

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use milena_log::directory::Options;
use milena_log::producers::Origin;
use milena_log::{AppendAs, Config, Directory, Log, RealFiles};
use milena_protocol::records::control::EndTxnMarker;
use milena_protocol::records::{Builder, Compression};

type Failure = Box<dyn std::error::Error>;

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

struct Writer {
    log: Log,
    leader_epoch: i32,
    records_count: i64,
    /// Recent, or Kafka takes the producers for expired.
    now_ms: i64,
}

impl Writer {
    /// Appends a batch of `count` records as a client does.
    fn produce(&mut self, builder: Builder, count: i64) -> Result<(), Failure> {
        let mut builder = builder;
        let first_offset = self.log.log_end_offset();
        for index in 0..count {
            self.records_count += 1;
            let (key, timestamp) =
                (format!("key-{}", self.records_count % 13), self.now_ms + self.records_count);
            let value =
                format!("value-{}-", self.records_count).repeat((self.records_count % 9 + 1) as usize);
            builder.append(timestamp, Some(key.as_bytes()), Some(value.as_bytes()), &[])?;
            println!("{} {timestamp} {key} {value}", first_offset + index);
        }
        self.append(&builder.finish()?, Origin::Client)
    }

    fn end_transaction(&mut self, producer_id: i64, committed: bool) -> Result<(), Failure> {
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        let batch = marker.batch(producer_id, 0, self.leader_epoch, self.now_ms + self.records_count)?;
        self.append(&batch, Origin::Coordinator { transaction_version: 0 })
    }

    fn append(&mut self, batch: &[u8], origin: Origin) -> Result<(), Failure> {
        let append_as = AppendAs::Leader { leader_epoch: self.leader_epoch, log_append_time: None, origin };
        self.log.append(batch, append_as, self.now_ms)?;
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).ok_or("usage: write_log FOLDER")?;
    let directory = Directory::open(Arc::new(RealFiles), Path::new(&folder), Options::default())?;
    let config = Config { segment_bytes: 16 << 10, index_interval_bytes: 512, ..Config::default() };
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let (log, _) = Log::open(&directory, "files-0", Arc::new(config), now_ms)?;
    let mut writer = Writer { log, leader_epoch: 0, records_count: 0, now_ms };
    let (mut idempotent, mut first, mut second) = (0, 0, 0);
    for round in 0..12 {
        for codec in CODECS {
            let builder = || Builder::new().compression(codec, None);
            writer.produce(builder(), 6)?;
            writer.produce(builder().producer(7, 0, idempotent), 4)?;
            writer.produce(builder().producer(8, 0, first).transactional(true), 3)?;
            writer.produce(builder().producer(9, 0, second).transactional(true), 2)?;
            (idempotent, first, second) = (idempotent + 4, first + 3, second + 2);
        }
        writer.end_transaction(8, true)?;
        writer.end_transaction(9, round % 2 == 0)?;
        writer.leader_epoch += i32::from(round % 4 == 3);
    }
    writer.log.close_clean()?;
    directory.close_clean(-1)?;
    Ok(())
}
