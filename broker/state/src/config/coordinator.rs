//! What the group coordinators of a broker act on.

use milena_protocol::records::Compression;

use super::broker::Values;
use super::definition::ConfigError;
use crate::group;

/// The `group.*` and `offsets.*` properties of the classic protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCoordinator {
    /// What the machine decides by.
    pub machine: group::Config,
    /// `offsets.commit.timeout.ms`
    pub commit_timeout_ms: u64,
    /// `offsets.retention.check.interval.ms`
    pub expiry_interval_ms: u64,
    /// `offsets.load.buffer.size`
    pub load_bytes_max: usize,
    /// `offsets.topic.compression.codec`
    pub compression: Compression,
}

impl Values<'_> {
    pub(super) fn group_coordinator(&self) -> Result<GroupCoordinator, ConfigError> {
        Ok(GroupCoordinator {
            machine: self.group_machine()?,
            commit_timeout_ms: self.number("offsets.commit.timeout.ms")?,
            expiry_interval_ms: self.number("offsets.retention.check.interval.ms")?,
            load_bytes_max: self.number("offsets.load.buffer.size")?,
            compression: self.codec("offsets.topic.compression.codec")?,
        })
    }

    fn group_machine(&self) -> Result<group::Config, ConfigError> {
        let size = |name: &str| Ok(usize::try_from(self.number::<i64>(name)?).unwrap_or(0));
        Ok(group::Config {
            session_timeout_ms_min: self.number("group.min.session.timeout.ms")?,
            session_timeout_ms_max: self.number("group.max.session.timeout.ms")?,
            initial_rebalance_delay_ms: self.number("group.initial.rebalance.delay.ms")?,
            members_max: size("group.max.size")?,
            offset_metadata_size_max: size("offset.metadata.max.bytes")?,
            offsets_retention_ms: self.number::<i64>("offsets.retention.minutes")?.saturating_mul(60_000),
        })
    }

    /// A codec by its number in the attributes of a batch.
    fn codec(&self, name: &str) -> Result<Compression, ConfigError> {
        let number: i64 = self.number(name)?;
        let codec = u8::try_from(number).ok().and_then(Compression::from_code);
        codec.ok_or_else(|| ConfigError::Invalid {
            name: name.to_owned(),
            value: number.to_string(),
            reason: "codecs are 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) and 4 (zstd)".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::broker::Settings;
    use super::*;

    fn parse(properties: &[(&str, &str)]) -> Result<GroupCoordinator, ConfigError> {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::parse(&properties.collect::<BTreeMap<_, _>>()).map(|settings| settings.group_coordinator)
    }

    #[test]
    fn defaults_are_those_of_the_machine() {
        let coordinator = parse(&[]).expect("defaults");
        assert_eq!(coordinator.machine, group::Config::default());
        assert_eq!(
            coordinator,
            GroupCoordinator {
                machine: group::Config::default(),
                commit_timeout_ms: 5_000,
                expiry_interval_ms: 600_000,
                load_bytes_max: 5_242_880,
                compression: Compression::None,
            }
        );
    }

    #[test]
    fn every_property_arrives() {
        let coordinator = parse(&[
            ("group.min.session.timeout.ms", "1"),
            ("group.max.session.timeout.ms", "2"),
            ("group.initial.rebalance.delay.ms", "3"),
            ("group.max.size", "4"),
            ("offset.metadata.max.bytes", "5"),
            ("offsets.retention.minutes", "6"),
            ("offsets.commit.timeout.ms", "7"),
            ("offsets.retention.check.interval.ms", "8"),
            ("offsets.load.buffer.size", "9"),
            ("offsets.topic.compression.codec", "4"),
        ]);
        let machine = group::Config {
            session_timeout_ms_min: 1,
            session_timeout_ms_max: 2,
            initial_rebalance_delay_ms: 3,
            members_max: 4,
            offset_metadata_size_max: 5,
            offsets_retention_ms: 360_000,
        };
        let expected = GroupCoordinator {
            machine,
            commit_timeout_ms: 7,
            expiry_interval_ms: 8,
            load_bytes_max: 9,
            compression: Compression::Zstd,
        };
        assert_eq!(coordinator, Ok(expected));
    }

    #[test]
    fn a_codec_that_does_not_exist_is_refused() {
        for codec in ["-1", "5", "256"] {
            assert!(matches!(
                parse(&[("offsets.topic.compression.codec", codec)]),
                Err(ConfigError::Invalid { .. })
            ));
        }
    }
}
