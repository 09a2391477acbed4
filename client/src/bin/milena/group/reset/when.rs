//! Times and durations as Kafka's tool takes them, and as the rest of this program does.

use crate::time;

const DURATION_FORMS: &str = "a duration is PT15M, PT1H30M, P7D, or 15m, 6h, 7d";

/// Milliseconds since 1970 of `2026-11-21T10:00:00.000`, which is UTC, with `Z`, `+02:00`, `+0200` or `+02`; or of what
/// `consume --from` takes.
pub fn datetime(text: &str) -> Result<i64, String> {
    datetime_at(text, time::now_ms())
}

fn datetime_at(text: &str, now_ms: i64) -> Result<i64, String> {
    let time = time::parse(&with_colon(text), now_ms);
    time.ok_or_else(|| format!("none of 2026-11-21T10:00:00.000, {}", time::FORMS))
}

/// ISO 8601 also has offsets from UTC without a colon, and of whole hours.
fn with_colon(text: &str) -> String {
    let sign = text.find(['T', 't']).and_then(|at| Some(at + text[at..].rfind(['+', '-'])?));
    let Some(sign) = sign else { return text.to_owned() };
    let (time, offset) = text.split_at(sign + 1);
    match (offset.len(), offset.bytes().all(|byte| byte.is_ascii_digit())) {
        (2, true) => format!("{time}{offset}:00"),
        (4, true) => format!("{time}{}:{}", &offset[..2], &offset[2..]),
        _ => text.to_owned(),
    }
}

/// Milliseconds of an ISO 8601 duration of days to seconds, or of `15m`.
pub fn duration(text: &str) -> Result<i64, String> {
    let parsed = match text.strip_prefix(['P', 'p']) {
        Some(parts) => iso(parts),
        None => short(text),
    };
    // A duration ahead would be a time that has not come.
    parsed.filter(|millis| *millis >= 0).ok_or_else(|| DURATION_FORMS.to_owned())
}

/// `15m` as `consume --from -15m` has it.
fn short(text: &str) -> Option<i64> {
    let is_number = text.starts_with(|first: char| first.is_ascii_digit());
    if is_number { time::parse(&format!("-{text}"), 0).map(|ago| -ago) } else { None }
}

/// What follows the P: days, and behind a T hours, minutes and seconds, each at most once and in this order.
fn iso(text: &str) -> Option<i64> {
    let (date, of_day) = match text.split_once(['T', 't']) {
        Some((_, "")) => return None,
        Some((date, of_day)) => (date, of_day),
        None => (text, ""),
    };
    if date.is_empty() && of_day.is_empty() {
        return None;
    }
    let days = parts(date, &[('D', 86_400_000)])?;
    days.checked_add(parts(of_day, &[('H', 3_600_000), ('M', 60_000), ('S', 1000)])?)
}

fn parts(text: &str, units: &[(char, i64)]) -> Option<i64> {
    let (mut rest, mut units, mut total) = (text, units.iter(), 0_i64);
    while !rest.is_empty() {
        let at = rest.find(|letter: char| letter.is_ascii_alphabetic())?;
        let letter = rest[at..].chars().next()?.to_ascii_uppercase();
        let (_, unit_ms) = units.find(|(unit, _)| *unit == letter)?;
        total = total.checked_add(amount(&rest[..at], *unit_ms)?)?;
        rest = &rest[at + 1..];
    }
    Some(total)
}

/// A number of units; only of seconds there are fractions.
fn amount(text: &str, unit_ms: i64) -> Option<i64> {
    let (whole, fraction) = match text.split_once(['.', ',']) {
        Some((whole, fraction)) if unit_ms == 1000 => (whole, fraction),
        Some(_) => return None,
        None => (text, "0"),
    };
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    let millis: i64 = if unit_ms == 1000 { millis.parse().ok()? } else { 0 };
    let signed = if whole.starts_with('-') { -millis } else { millis };
    whole.parse::<i64>().ok()?.checked_mul(unit_ms)?.checked_add(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_kafka_writes_them_and_as_we_do() {
        let ten = 1_795_255_200_000; // 2026-11-21T10:00:00Z
        for text in [
            "2026-11-21T10:00:00.000",
            "2026-11-21T10:00:00.000Z",
            "2026-11-21T12:00:00.000+02:00",
            "2026-11-21T12:00:00.000+0200",
            "2026-11-21T12:00:00.000+02",
            "2026-11-21T04:30:00.000-0530",
            "2026-11-21T10:00:00",
            "2026-11-21T10:00",
            "@1795255200000",
        ] {
            assert_eq!(datetime_at(text, 0), Ok(ten), "{text}");
        }
        assert_eq!(datetime_at("2026-11-21", 0), Ok(ten - 36_000_000));
        assert_eq!(datetime_at("-15m", ten), Ok(ten - 900_000));
        for wrong in ["", "T", "now", "2026-11-21T", "2026-11-21T25:00:00", "2026-11-21T10:00:00+0", "é"] {
            assert!(datetime_at(wrong, 0).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_as_java_reads_them_and_as_we_do() {
        let cases = [
            ("PT15M", 900_000),
            ("pt15m", 900_000),
            ("P7D", 7 * 86_400_000),
            ("P1DT2H3M4.005S", 86_400_000 + 2 * 3_600_000 + 3 * 60_000 + 4005),
            ("PT0S", 0),
            ("PT0.5S", 500),
            ("PT1H-30M", 1_800_000),
            ("15m", 900_000),
            ("90s", 90_000),
            ("7d", 7 * 86_400_000),
        ];
        for (text, expected) in cases {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "P",
            "PT",
            "P1DT",
            "PT15",
            "P15M",
            "PT1.5H",
            "PT5M1H",
            "PT1M1M",
            "P1Y",
            "-PT5M",
            "PT-5M",
            "15",
            "-15m",
            "5y",
            "PT99999999999999999999S",
            "P9223372036854775807D",
            "PT1é",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
