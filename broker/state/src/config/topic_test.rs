use super::*;

fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolved(pairs: &[(&str, &str)]) -> Settings {
    Settings::resolve(&overrides(pairs), &Settings::kafka_defaults())
}

#[test]
fn defaults_are_kafkas() {
    let settings = Settings::kafka_defaults();
    assert_eq!(settings.cleanup, Cleanup { delete: true, compact: false });
    assert_eq!(settings.compression, Compression::Producer);
    assert_eq!(settings.retention_ms, Some(604_800_000));
    assert_eq!(settings.retention_bytes, None);
    assert_eq!((settings.segment_bytes, settings.segment_ms), (1 << 30, 604_800_000));
    assert_eq!(settings.max_message_bytes, 1_048_588);
    assert_eq!((settings.flush_ms, settings.flush), (i64::MAX, Flush::PageCache));
    assert_eq!(settings.message_timestamp_after_max_ms, 3_600_000);
    assert_eq!(settings.min_insync_replicas, 1);
}

#[test]
fn overrides_win_and_minus_one_lifts_a_limit() {
    let settings = resolved(&[
        ("retention.ms", "-1"),
        ("retention.bytes", "7"),
        ("cleanup.policy", "compact, delete"),
        ("message.timestamp.type", "LogAppendTime"),
        ("unclean.leader.election.enable", "TRUE"),
        ("milena.flush", "durable"),
        ("min.cleanable.dirty.ratio", "0.25"),
    ]);
    assert_eq!((settings.retention_ms, settings.retention_bytes), (None, Some(7)));
    assert_eq!(settings.cleanup, Cleanup { delete: true, compact: true });
    assert_eq!(settings.message_timestamp_type, TimestampType::LogAppendTime);
    assert!(settings.unclean_leader_election);
    assert_eq!((settings.flush, settings.min_cleanable_dirty_ratio), (Flush::Durable, 0.25));
    assert_eq!(resolved(&[("cleanup.policy", "")]).cleanup, Cleanup { delete: false, compact: false });
}

#[test]
fn every_override_of_an_acting_property_changes_the_settings() {
    let values = [
        ("cleanup.policy", ""),
        ("compression.type", "snappy"),
        ("file.delete.delay.ms", "5"),
        ("flush.messages", "5"),
        ("flush.ms", "5"),
        ("follower.replication.throttled.replicas", "0:1"),
        ("index.interval.bytes", "5"),
        ("delete.retention.ms", "5"),
        ("leader.replication.throttled.replicas", "*"),
        ("max.compaction.lag.ms", "5"),
        ("min.cleanable.dirty.ratio", "0.25"),
        ("min.compaction.lag.ms", "5"),
        ("max.message.bytes", "5"),
        ("message.timestamp.after.max.ms", "5"),
        ("message.timestamp.before.max.ms", "5"),
        ("message.timestamp.type", "LogAppendTime"),
        ("milena.flush", "durable"),
        ("min.insync.replicas", "5"),
        ("preallocate", "true"),
        ("retention.bytes", "5"),
        ("retention.ms", "5"),
        ("segment.bytes", "2000000"),
        ("segment.index.bytes", "5"),
        ("segment.jitter.ms", "5"),
        ("segment.ms", "5"),
        ("unclean.leader.election.enable", "true"),
    ];
    for (name, value) in values {
        assert_eq!(check(&overrides(&[(name, value)])), Ok(()));
        assert_ne!(resolved(&[(name, value)]), Settings::kafka_defaults(), "{name}");
    }
    let covered = |name: &str| values.iter().any(|(n, _)| *n == name) || name.ends_with(".level");
    for row in TABLE.iter().flat_map(|rows| rows.iter()).filter(|row| row.acts == Acts::Yes) {
        assert!(covered(row.name), "{} acts and is not in this test", row.name);
    }
}

#[test]
fn a_compression_level_waits_for_its_type() {
    assert_eq!(resolved(&[("compression.type", "gzip")]).compression, Compression::Gzip(-1));
    let both = [("compression.type", "zstd"), ("compression.zstd.level", "7")];
    assert_eq!(resolved(&both).compression, Compression::Zstd(7));
    let broker = resolved(&[("compression.lz4.level", "12")]);
    assert_eq!(broker.compression, Compression::Producer);
    let topic = Settings::resolve(&overrides(&[("compression.type", "lz4")]), &broker);
    assert_eq!(topic.compression, Compression::Lz4(12));
}

#[test]
fn values_nobody_could_have_set_leave_the_defaults() {
    let settings = resolved(&[
        ("retention.ms", "soon"),
        ("compression.type", "brotli"),
        ("message.timestamp.type", "Never"),
        ("from.the.future", "1"),
    ]);
    assert_eq!(settings, Settings::kafka_defaults());
}

#[test]
fn segments_are_deleted_compacted_both_or_kept() {
    let cases = [
        ("delete", true, false),
        ("compact", false, true),
        ("delete,compact", true, true),
        ("compact, delete", true, true),
        ("", false, false),
    ];
    for (value, delete, compact) in cases {
        assert_eq!(check(&overrides(&[("cleanup.policy", value)])), Ok(()));
        assert_eq!(resolved(&[("cleanup.policy", value)]).cleanup, Cleanup { delete, compact }, "{value}");
    }
    let error = check(&overrides(&[("cleanup.policy", "compress")])).unwrap_err().to_string();
    assert!(error.contains("cleanup.policy") && error.contains("compact, delete"), "{error}");
}

#[test]
fn values_that_do_not_go_together_are_found_when_one_of_them_changes() {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let all = map(&[("max.compaction.lag.ms", "5"), ("min.compaction.lag.ms", "10"), ("retention.ms", "1")]);
    let changed = map(&[("min.compaction.lag.ms", "10")]);
    assert!(matches!(check_pairs(&changed, &all), Err(ConfigError::Conflict { .. })));
    // What is wrong already must not block the rest.
    assert_eq!(check_pairs(&map(&[("retention.ms", "1")]), &all), Ok(()));
}
