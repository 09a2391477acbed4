//! What a broker does to each batch: CRC, parse, walk, patch; and what it should rarely do: pack, unpack.
//!
//! Numbers to worry about, on the machine of `docs/benchmarks.md`: a CRC below 10 GB/s at 16 KiB, a parse
//! above 20 ns, a walk above 15 ns per record, a look above 8 ns per record, lz4 unpacking below 1 GB/s.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use milena_protocol::records::crc::crc32c;
use milena_protocol::records::{Batch, Builder, Compression, Limits, compression, record, skim};

/// A batch of `count` records of about `size` bytes of text.
fn batch(count: usize, size: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    for index in 0..count {
        let mut value =
            format!("record {index} of a log, user {}, path /index/{}; ", index * 7919 % 1000, index % 13);
        value = value.repeat(size.div_ceil(value.len()));
        value.truncate(size);
        builder.append(1_700_000_000_000 + index as i64, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.finish().unwrap()
}

fn checks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crc32c");
    for size in [1 << 10, 16 << 10, 1 << 20] {
        let bytes = vec![0x5a; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bench| {
            bench.iter(|| crc32c(&[black_box(&bytes)]))
        });
    }
    group.finish();

    let bytes = batch(160, 100);
    let (parsed, _) = Batch::parse(&bytes).unwrap();
    criterion.bench_function("parse", |bench| {
        bench.iter(|| Batch::parse(black_box(&bytes)).unwrap().0.next_offset())
    });
    criterion.bench_function("patch", |bench| bench.iter(|| black_box(&parsed).patched_header(7, 1, None)));
    let mut group = criterion.benchmark_group("walk");
    group.throughput(Throughput::Elements(160));
    group.bench_function("100 B", |bench| {
        bench.iter(|| record::validate(black_box(parsed.payload()), 160).unwrap())
    });
    group.bench_function("100 B, looked at only", |bench| {
        bench.iter(|| {
            let mut counted_up = true;
            let sound =
                skim(black_box(parsed.payload()), 160, |index, r| counted_up &= r.offset_delta == index);
            assert!(sound && counted_up);
        })
    });
    group.finish();
}

fn codecs(criterion: &mut Criterion) {
    let bytes = batch(64, 1024);
    let payload = Batch::parse(&bytes).unwrap().0.payload();
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut packed = Vec::new();
        compression::compress(codec, None, payload, &mut packed).unwrap();
        let mut group = criterion.benchmark_group(codec.name());
        group.throughput(Throughput::Bytes(payload.len() as u64));
        let mut out = Vec::new();
        group.bench_function("compress", |bench| {
            bench.iter(|| {
                out.clear();
                compression::compress(codec, None, black_box(payload), &mut out).unwrap();
            });
        });
        group.bench_function("decompress", |bench| {
            bench.iter(|| {
                out.clear();
                compression::decompress(codec, black_box(&packed), Limits::default(), &mut out).unwrap();
            });
        });
        group.finish();
    }
}

criterion_group!(benches, checks, codecs);
criterion_main!(benches);
