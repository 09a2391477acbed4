//! Zig-zag variable length integers as records use them (the protocol's own flexible messages have
//! unsigned ones and live elsewhere).

/// Reads an `i32`; `None` when the bytes end early or the number is longer than five bytes.
pub fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    // Most lengths and deltas fit in one byte; the loop behind would cost a third of a record's walk.
    if let [first @ 0..=0x7f, rest @ ..] = *bytes {
        *bytes = rest;
        return Some(i32::from(first >> 1) ^ -i32::from(first & 1));
    }
    let mut value = 0u32;
    for index in 0..5 {
        let byte = *bytes.get(index)?;
        // Bits above the 32nd are dropped, as Kafka's own reader does.
        value |= u32::from(byte & 0x7f).wrapping_shl(7 * index as u32);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some((value >> 1) as i32 ^ -((value & 1) as i32));
        }
    }
    None
}

/// Reads an `i64`; `None` when the bytes end early or the number is longer than ten bytes.
pub fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for index in 0..10 {
        let byte = *bytes.get(index)?;
        value |= u64::from(byte & 0x7f).wrapping_shl(7 * index as u32);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// The number that is written for `value`: its sign moved to the lowest bit.
pub fn zigzag_i32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_u64(out, u64::from(zigzag_i32(value)));
}

pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`write_i32`] takes for `value`.
pub fn size_i32(value: i32) -> usize {
    size_u64(u64::from(zigzag_i32(value)))
}

/// Bytes that [`write_i64`] takes for `value`.
pub fn size_i64(value: i64) -> usize {
    size_u64(((value << 1) ^ (value >> 63)) as u64)
}

fn size_u64(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(small: i32, large: i64) {
            let mut out = Vec::new();
            write_i32(&mut out, small);
            prop_assert_eq!(out.len(), size_i32(small));
            write_i64(&mut out, large);
            prop_assert_eq!(out.len(), size_i32(small) + size_i64(large));
            let mut rest = out.as_slice();
            prop_assert_eq!(read_i32(&mut rest), Some(small));
            prop_assert_eq!(read_i64(&mut rest), Some(large));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn numbers_that_are_cut_or_too_long_are_refused() {
        assert_eq!(read_i32(&mut &[][..]), None);
        assert_eq!(read_i32(&mut &[0x80][..]), None);
        assert_eq!(read_i32(&mut &[0xff; 5][..]), None);
        assert_eq!(read_i64(&mut &[0xff; 9][..]), None);
        assert_eq!(read_i64(&mut &[0xff; 10][..]), None);
    }
}
