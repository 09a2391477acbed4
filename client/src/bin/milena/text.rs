//! Text of options: escapes in delimiters, pairs of name and value.

/// Bytes of an option such as `\n`, `\t`, `\0`, `\\`, `\x1f`.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match rest.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2);
                byte.ok_or_else(|| format!("\\x{digits} is not a byte in hexadecimal"))?
            }
            Some(other) => return Err(format!("\\{other} is none of \\n \\r \\t \\0 \\\\ \\xHH")),
            None => return Err("a backslash at the end".to_owned()),
        });
    }
    Ok(bytes)
}

/// As [`unescape`] for something that separates, which an empty text cannot.
pub fn separator(text: &str) -> Result<Bytes, String> {
    let bytes = bytes(text)?;
    if bytes.0.is_empty() { Err("empty".to_owned()) } else { Ok(bytes) }
}

/// Bytes of an option. A type of its own, because clap takes a vector for many values of one option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// As [`unescape`], for clap.
pub fn bytes(text: &str) -> Result<Bytes, String> {
    unescape(text).map(Bytes)
}

/// A `NAME=VALUE` option.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "NAME=VALUE is needed".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A number from `MIN` on, for clap.
pub fn at_least<T: TryFrom<i64>, const MIN: i64>(text: &str) -> Result<T, String> {
    let number = text.parse::<i64>().ok().filter(|number| *number >= MIN);
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| format!("it is a number, from {MIN} on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_bytes() {
        assert_eq!(unescape("a\\n\\t\\0\\\\\\xffé"), Ok(b"a\n\t\0\\\xff\xc3\xa9".to_vec()));
    }

    #[test]
    fn what_is_no_escape_is_named() {
        for wrong in ["\\q", "\\", "\\xg1", "\\x1"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
        assert!(separator("").is_err());
    }

    #[test]
    fn numbers_have_a_least() {
        assert_eq!(at_least::<i32, 1>("7"), Ok(7));
        for wrong in ["-1", "0", "x", "", "99999999999"] {
            assert_eq!(at_least::<i32, 1>(wrong), Err("it is a number, from 1 on".to_owned()), "{wrong}");
        }
    }
}
