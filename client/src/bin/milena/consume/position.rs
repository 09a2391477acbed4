//! `--from` and `--to`: places in a partition as people say them.

use crate::time;

/// A place in each partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    Beginning,
    End,
    Offset(i64),
    /// So many offsets before the end.
    Last(i64),
    /// What is stamped so or later, in milliseconds since 1970; as an end, what is stamped earlier.
    Time(i64),
}

pub fn parse(text: &str) -> Result<Position, String> {
    parse_at(text, time::now_ms())
}

fn parse_at(text: &str, now_ms: i64) -> Result<Position, String> {
    match text {
        "beginning" => return Ok(Position::Beginning),
        "end" => return Ok(Position::End),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return Ok(if text.starts_with('-') {
            Position::Last(number.saturating_neg())
        } else {
            Position::Offset(number)
        });
    }
    let time = time::parse(text, now_ms).map(Position::Time);
    time.ok_or_else(|| format!("none of: beginning, end, OFFSET, -N, {}", time::FORMS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_words_numbers_and_times() {
        let now_ms = 10_000_000;
        let cases = [
            ("beginning", Position::Beginning),
            ("end", Position::End),
            ("0", Position::Offset(0)),
            ("17", Position::Offset(17)),
            ("-5", Position::Last(5)),
            ("@17", Position::Time(17)),
            ("-15m", Position::Time(now_ms - 900_000)),
            ("1970-01-02", Position::Time(86_400_000)),
            ("@1970-01-01T00:00:01Z", Position::Time(1000)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_at(text, now_ms), Ok(expected), "{text}");
        }
        for wrong in ["", "start", "5m", "-", "@", "1e3"] {
            assert!(parse_at(wrong, now_ms).is_err(), "{wrong}");
        }
    }
}
