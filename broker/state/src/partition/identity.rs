//! Whose a partition folder is, when its `partition.metadata` names another topic id than the image does.

use milena_protocol::types::Uuid;

/// Bits in which a damaged id may differ from the true one: one character of its text has six, one byte eight. Two
/// random ids (122 bits) come as close once in 10^24.
const DAMAGED_BITS_MAX: u32 = 8;

/// Whether `found` is more likely `expected` with a few bits changed than the id of another topic: then the folder's
/// records are the partition's, which must not begin anew beside them.
pub fn is_damaged(found: Uuid, expected: Uuid) -> bool {
    found != expected && (found.as_u128() ^ expected.as_u128()).count_ones() <= DAMAGED_BITS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_differ_in_a_byte_are_one_damaged() {
        let id = Uuid::from_u128(0x6f2b_9d1c_44e8_4b7a_9c3d_5a60_71f2_e8b4);
        for byte in 0..16 {
            assert!(is_damaged(Uuid::from_u128(id.as_u128() ^ 0xff << (8 * byte)), id), "{byte}");
        }
        assert!(!is_damaged(id, id), "it is whole");
        assert!(!is_damaged(Uuid::from_u128(id.as_u128() ^ 0x1ff), id), "too much of it is different");
        assert!(!is_damaged(Uuid::from_u128(!id.as_u128()), id));
    }
}
