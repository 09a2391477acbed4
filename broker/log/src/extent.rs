//! How much of a log there was at a clean stop, so that the next start sees from names and sizes alone whether it is
//! all still there.

use std::collections::BTreeMap;

use crate::log::Log;
use crate::segment::Segment;

/// A log's segments, in numbers that cost nothing to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where the first segment begins.
    pub first_offset: i64,
    pub log_end_offset: i64,
    pub segments_count: u64,
    /// Bytes of all segments.
    pub bytes: u64,
}

/// Extents by the name of the log's folder.
pub(crate) type Extents = BTreeMap<String, Extent>;

impl Extent {
    pub fn of(log: &Log) -> Extent {
        Extent {
            first_offset: log.segments[0].base_offset,
            log_end_offset: log.log_end_offset,
            segments_count: log.segments.len() as u64,
            bytes: log.size_bytes(),
        }
    }

    /// Whether these segments may be all there were: nothing is missing and nothing came.
    pub fn is_of(&self, segments: &[Segment]) -> bool {
        let bytes: u64 = segments.iter().map(|segment| u64::from(segment.size)).sum();
        segments.first().is_some_and(|first| first.base_offset == self.first_offset)
            && (segments.len() as u64, bytes) == (self.segments_count, self.bytes)
    }

    /// What `found` lacks of this, in words; `None` when there is at least as much.
    pub fn missing_in(&self, found: &Extent) -> Option<String> {
        let is_less = found.first_offset > self.first_offset
            || found.log_end_offset < self.log_end_offset
            || found.segments_count < self.segments_count
            || found.bytes < self.bytes;
        is_less.then(|| {
            format!("when it was closed it had {}, now it has {}", self.in_words(), found.in_words())
        })
    }

    fn in_words(&self) -> String {
        let Extent { first_offset, log_end_offset, segments_count, bytes } = self;
        format!(
            "{segments_count} segments of {bytes} bytes with the offsets {first_offset} to {log_end_offset}"
        )
    }

    /// The line of the folder `name` in `closed-logs`.
    pub fn to_line(self, name: &str) -> String {
        let Extent { first_offset, log_end_offset, segments_count, bytes } = self;
        format!("{name} {first_offset} {log_end_offset} {segments_count} {bytes}")
    }

    pub fn parse_line(line: &str) -> Option<(String, Extent)> {
        let mut fields = line.split(' ');
        let name = fields.next()?.to_owned();
        let extent = Extent {
            first_offset: fields.next()?.parse().ok()?,
            log_end_offset: fields.next()?.parse().ok()?,
            segments_count: fields.next()?.parse().ok()?,
            bytes: fields.next()?.parse().ok()?,
        };
        fields.next().is_none().then_some((name, extent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent { first_offset: 5, log_end_offset: 90, segments_count: 2, bytes: 300 };

    #[test]
    fn line_round_trips() {
        let line = EXTENT.to_line("t-0");
        assert_eq!(line, "t-0 5 90 2 300");
        assert_eq!(Extent::parse_line(&line), Some(("t-0".to_owned(), EXTENT)));
        for other in ["", "t-0", "t-0 5 90 2", "t-0 5 90 2 x", "t-0 5 90 2 300 1"] {
            assert_eq!(Extent::parse_line(other), None, "{other}");
        }
    }

    #[test]
    fn names_and_sizes_tell_what_is_missing() {
        let segments = |sizes: &[(i64, u32)]| -> Vec<Segment> {
            sizes.iter().map(|(base_offset, size)| Segment::new(*base_offset, *size)).collect()
        };
        assert!(EXTENT.is_of(&segments(&[(5, 100), (40, 200)])));
        for other in [&[][..], &[(40, 200)], &[(5, 100)], &[(5, 0), (40, 200)], &[(6, 100), (40, 200)]] {
            assert!(!EXTENT.is_of(&segments(other)), "{other:?}");
        }
        assert_eq!(EXTENT.missing_in(&EXTENT), None);
        assert_eq!(EXTENT.missing_in(&Extent { bytes: 301, ..EXTENT }), None);
        assert!(EXTENT.missing_in(&Extent { segments_count: 1, ..EXTENT }).is_some());
        assert!(EXTENT.missing_in(&Extent { first_offset: 6, ..EXTENT }).is_some());
    }
}
