//! Appending, finding what a reader wants, and opening many logs, on a real file system.
//!
//! `cargo bench -p milena-log`. Numbers to worry about, on the machine of `docs/benchmarks.md`: an append of
//! 16 KiB that costs more than a pwrite of 16 KiB and a microsecond; a read at the end of the log above
//! 200 ns, anywhere else above 10 µs; opening 1,000 logs of 2 segments above 100 ms.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use milena_log::directory::Options;
use milena_log::producers::Origin;
use milena_log::{AppendAs, Config, Directory, Log, Read, ReadError, RealFiles, Slice};
use milena_protocol::records::Builder;

const NOW_MS: i64 = 1_700_000_000_000;
const LEADER: AppendAs = AppendAs::Leader { leader_epoch: 0, log_append_time: None, origin: Origin::Client };

fn directory(path: &Path) -> Arc<Directory> {
    Directory::open(Arc::new(RealFiles), path, Options::default()).expect("usable")
}

fn batch(size: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.append(NOW_MS, None, Some(&vec![b'x'; size]), &[]).expect("small");
    builder.finish().expect("small")
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    for size in [1 << 10, 16 << 10, 256 << 10] {
        let bytes = batch(size);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_custom(|count| {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let directory = directory(folder.path());
                let (mut log, _) =
                    Log::open(&directory, "t-0", Arc::new(Config::default()), NOW_MS).expect("new");
                let begin = Instant::now();
                for _ in 0..count {
                    black_box(log.append(&bytes, LEADER, NOW_MS).expect("valid"));
                }
                begin.elapsed()
            });
        });
    }
    group.finish();
}

fn read(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let directory = directory(folder.path());
    let config = Config { segment_bytes: 64 << 20, ..Config::default() };
    let (mut log, _) = Log::open(&directory, "t-0", Arc::new(config), NOW_MS).expect("new");
    let bytes = batch(16 << 10);
    for _ in 0..20_000 {
        log.append(&bytes, LEADER, NOW_MS).expect("valid");
    }
    let end = log.log_end_offset();
    let read = |from_offset| Read {
        from_offset,
        upto_offset: end,
        max_bytes: 1 << 20,
        min_one_batch: true,
        hot_only: true,
    };
    let mut group = c.benchmark_group("read");
    group.bench_function("tail", |b| b.iter(|| black_box(log.read(read(end - 1)).expect("hot"))));
    let mut from_offset = 0;
    group.bench_function("anywhere", |b| {
        b.iter(|| {
            from_offset = (from_offset + 7919) % end;
            black_box(read_warmed(&mut log, read(from_offset)))
        });
    });
    group.finish();
}

/// As a broker reads: what is not in memory is read ahead first.
fn read_warmed(log: &mut Log, read: Read) -> Option<Slice> {
    loop {
        match log.read(read) {
            Ok(slice) => return slice,
            Err(ReadError::Cold(cold)) => cold.warm().expect("readable"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// 1,000 logs of two segments after a clean stop.
fn open(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = Arc::new(Config { segment_bytes: 20 << 10, ..Config::default() });
    let bytes = batch(16 << 10);
    let names: Vec<String> = (0..1000).map(|index| format!("t-{index}")).collect();
    let fill = directory(folder.path());
    for name in &names {
        let (mut log, _) = Log::open(&fill, name, config.clone(), NOW_MS).expect("new");
        for _ in 0..2 {
            log.append(&bytes, LEADER, NOW_MS).expect("valid");
        }
        assert_eq!(log.segments_count(), 2);
        log.close_clean().expect("writable");
    }
    fill.close_clean(1).expect("writable");
    drop(fill);
    let mut group = c.benchmark_group("open");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    group.bench_function("1000 logs", |b| {
        b.iter_custom(|count| {
            let mut total = Duration::ZERO;
            for _ in 0..count {
                let begin = Instant::now();
                let directory = directory(folder.path());
                assert!(directory.clean_stop().is_some());
                let opened = names.iter().map(|name| Log::open(&directory, name, config.clone(), NOW_MS));
                let logs: Vec<Log> = opened.map(|opened| opened.expect("clean").0).collect();
                total += begin.elapsed();
                logs.into_iter().for_each(|log| log.close_clean().expect("writable"));
                directory.close_clean(1).expect("writable");
            }
            total
        });
    });
    group.finish();
}

criterion_group!(benches, append, read, open);
criterion_main!(benches);
