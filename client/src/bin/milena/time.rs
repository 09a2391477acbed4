//! Times as people write them: RFC 3339 in UTC, milliseconds since 1970, or so long ago.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970, now.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `2026-11-21T10:00:00.000Z`. A time that no calendar has is shown as its number.
pub fn format(timestamp_ms: i64) -> String {
    let days = timestamp_ms.div_euclid(DAY_MS);
    let (year, month, day) = civil(days);
    if !(0..=9999).contains(&year) {
        return timestamp_ms.to_string();
    }
    let of_day = timestamp_ms.rem_euclid(DAY_MS);
    let (hour, minute, second, millis) =
        (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// What [`parse`] takes, for messages.
pub const FORMS: &str = "@MILLISECONDS, 2026-11-21T10:00:00Z, 2026-11-21, -15m";

/// Parses `@1795255200000`, `2026-11-21`, `2026-11-21T10:00`, with seconds, fraction, `Z` or an offset; or so long ago: `-90s`, `-15m`,
/// `-6h`, `-7d`.
pub fn parse(text: &str, now_ms: i64) -> Option<i64> {
    if let Some(rest) = text.strip_prefix('@') {
        let millis = rest.parse().ok().filter(|millis| *millis >= 0);
        return millis.or_else(|| parse(rest, now_ms));
    }
    if let Some(ago) = text.strip_prefix('-') {
        return Some(now_ms - duration(ago)?);
    }
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00"));
    let mut parts = date.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days(year, month, day);
    // The 31st of a month with 30 days comes out as another day.
    if civil(days) != (year, month, day) {
        return None;
    }
    Some(days * DAY_MS + time_of_day(time)?)
}

fn duration(text: &str) -> Option<i64> {
    let unit_ms = match text.chars().last()? {
        's' => 1000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => DAY_MS,
        _ => return None,
    };
    let count: u32 = text[..text.len() - 1].parse().ok()?;
    Some(i64::from(count) * unit_ms)
}

/// Milliseconds of the day in UTC, which may lie outside of it by the offset.
fn time_of_day(text: &str) -> Option<i64> {
    let (time, offset_minutes) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) if matches!(&text[at..], "Z" | "z") => (&text[..at], 0),
        Some(at) => {
            let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
            let (hours, minutes) = text[at + 1..].split_once(':')?;
            (&text[..at], sign * (number(hours, 2)? * 60 + number(minutes, 2)?))
        }
        None => (text, 0),
    };
    let mut parts = time.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second_ms = match parts.next() {
        Some(seconds) => seconds_ms(seconds)?,
        None => 0,
    };
    let is_valid = parts.next().is_none() && hour < 24 && minute < 60 && second_ms < 60_000;
    is_valid.then_some(((hour * 60 + minute) - offset_minutes) * 60_000 + second_ms)
}

fn seconds_ms(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    Some(number(seconds, 2)? * 1000 + millis.parse::<i64>().ok()?)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Days since 1970 of a date of the Gregorian calendar. Years begin in March, so that leap days end them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The date of a day since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of GNU date.
    const KNOWN: [(i64, &str); 6] = [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_000_000_000_123, "2001-09-09T01:46:40.123Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (-2_208_988_800_000, "1900-01-01T00:00:00.000Z"),
    ];

    #[test]
    fn times_are_written_and_read() {
        for (timestamp, text) in KNOWN {
            assert_eq!(format(timestamp), text);
            assert_eq!(parse(text, 0), Some(timestamp), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in (-800 * 365..800 * 365).step_by(7) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn short_forms_offsets_and_long_ago() {
        let noon = 1_000_036_800_000; // 2001-09-09T12:00:00Z
        for text in [
            "2001-09-09T12:00",
            "2001-09-09 12:00:00",
            "2001-09-09T14:00:00+02:00",
            "2001-09-09T07:00:00-05:00",
        ] {
            assert_eq!(parse(text, 0), Some(noon), "{text}");
        }
        assert_eq!(parse("2001-09-09", 0), Some(noon - 12 * 3_600_000));
        assert_eq!(parse("@1000036800000", 0), Some(noon));
        assert_eq!(parse("-90s", noon), Some(noon - 90_000));
        assert_eq!(parse("-7d", noon), Some(noon - 7 * DAY_MS));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "-",
            "@",
            "@-5",
            "-5",
            "2001",
            "2001-13-01",
            "2001-02-30",
            "2001-09-09T24:00",
            "2001-09-09T1:00",
            "5m",
            "-5y",
            "-é",
        ] {
            assert_eq!(parse(text, 0), None, "{text}");
        }
    }

    #[test]
    fn impossible_times_are_numbers() {
        assert_eq!(format(i64::MAX), i64::MAX.to_string());
        assert_eq!(format(i64::MIN), i64::MIN.to_string());
    }
}
