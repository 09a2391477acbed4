//! Which partition of `__consumer_offsets` keeps a group.
//!
//! Clients never compute it, but Kafka's tools and a cluster that changes brokers do, so it is Kafka's
//! function to the bit: Java's hash of the group id over UTF-16 units, its absolute value, modulo.

/// The partition, of `count` many, whose leader coordinates `group`.
///
/// Kafka takes the absolute value before the remainder, and 0 for the one hash that has none.
pub fn partition_of(group: &str, count: i32) -> i32 {
    let hash = java_hash(group);
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % count.max(1)
}

fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_live_in_the_partition_where_kafka_keeps_them() {
        for (group, partition) in [
            ("group1", 40),
            ("my-group", 12),
            ("消费者组", 38),
            ("", 0),
            // Its hash is i32::MIN, which has no absolute value.
            ("polygenelubricants", 0),
        ] {
            assert_eq!(partition_of(group, 50), partition, "{group:?}");
        }
    }
}
