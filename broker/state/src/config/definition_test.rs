use super::*;
use crate::config::{broker, group, topic};

const TABLES: [&[&[Definition]]; 3] = [broker::TABLE, topic::TABLE, group::TABLE];

#[test]
fn rows_are_sorted_unique_and_their_defaults_are_valid() {
    for table in TABLES {
        let mut names = std::collections::BTreeSet::new();
        for rows in table {
            assert!(rows.is_sorted_by(|a, b| a.name < b.name), "near {}", rows[0].name);
            for row in rows.iter() {
                assert!(names.insert(row.name), "{} twice", row.name);
                assert!(std::ptr::eq(find(table, row.name).unwrap(), row));
                if let Some(default) = row.default {
                    assert_eq!(row.check(default), Ok(()), "{}", row.name);
                }
            }
        }
    }
}

fn check(kind: Kind, valid: Valid, value: &str, expected: bool) {
    let row = Definition {
        name: "some.property",
        kind,
        default: None,
        valid,
        update: Update::ReadOnly,
        acts: Acts::Yes,
        doc: "",
    };
    let outcome = row.check(value);
    assert_eq!(outcome.is_ok(), expected, "{kind:?} {valid:?} '{value}': {outcome:?}");
    if let Err(error) = outcome {
        assert!(error.to_string().contains("some.property"), "{error}");
    }
}

#[test]
fn values_are_checked_by_type_and_range() {
    check(Kind::Boolean, Valid::Any, "TRUE", true);
    check(Kind::Boolean, Valid::Any, "yes", false);
    check(Kind::Short, Valid::Any, "32768", false);
    check(Kind::Int, Valid::Any, " 2147483647 ", true);
    check(Kind::Int, Valid::Any, "2147483648", false);
    check(Kind::Int, Valid::Any, "1e3", false);
    check(Kind::Long, Valid::Any, "-9223372036854775808", true);
    check(Kind::Long, Valid::Any, "9223372036854775808", false);
    check(Kind::Double, Valid::Any, "1.7976931348623157E308", true);
    check(Kind::Double, Valid::Any, "NaN", false);
    check(Kind::Int, Valid::AtLeast(1), "0", false);
    check(Kind::Int, Valid::Between(1, 9), "9", true);
    check(Kind::Int, Valid::Between(1, 9), "10", false);
    check(Kind::Int, Valid::BetweenOrMinusOne(1, 9), "-1", true);
    check(Kind::Int, Valid::BetweenOrMinusOne(1, 9), "0", false);
    check(Kind::Double, Valid::Fraction, "1.0", true);
    check(Kind::Double, Valid::Fraction, "1.01", false);
    check(Kind::String, Valid::OneOf(&["a", "b"]), "A", false);
    check(Kind::String, Valid::OneOfIgnoreCase(&["a", "b"]), "A", true);
    check(Kind::List, Valid::Elements(&["a", "b"]), "a, b, a", true);
    check(Kind::List, Valid::Elements(&["a", "b"]), "a, b,", false);
    check(Kind::List, Valid::Any, ",", false);
    check(Kind::List, Valid::Any, "", true);
    check(Kind::List, Valid::Elements(&["a", "b"]), "a,c", false);
    check(Kind::String, Valid::NonEmpty, "", false);
    check(Kind::List, Valid::ThrottledReplicas, "0:1, 2:3", true);
    check(Kind::List, Valid::ThrottledReplicas, "*", true);
    check(Kind::List, Valid::ThrottledReplicas, "0", false);
}

#[test]
fn what_does_not_act_yet_accepts_its_default_however_it_is_written() {
    let row = |name: &str| broker::definition(name).unwrap();
    assert_eq!(row("sasl.kerberos.ticket.renew.jitter").check("0.050"), Ok(()));
    assert_eq!(row("transaction.partition.verification.enable").check("TRUE"), Ok(()));
    assert_eq!(row("group.coordinator.rebalance.protocols").check("classic, consumer ,streams"), Ok(()));
    assert_eq!(row("ssl.keystore.password").check(""), Ok(()));
    let error = row("connections.max.reauth.ms").check("2").unwrap_err();
    assert!(error.to_string().contains("connections.max.reauth.ms is known but does not act yet"), "{error}");
    let secret = row("ssl.keystore.password").check("hunter2").unwrap_err();
    assert!(!format!("{secret} {secret:?}").contains("hunter2"), "{secret}");
}

#[test]
fn a_misspelt_name_is_answered_with_the_one_that_was_meant() {
    let hint = |name: &str| match unknown(broker::TABLE, name) {
        ConfigError::Unknown { hint, .. } => hint,
        other => panic!("{other:?}"),
    };
    assert_eq!(hint("log.retension.hours"), Some("log.retention.hours"));
    assert_eq!(hint("listener"), Some("listeners"));
    assert_eq!(hint("node_id"), Some("node.id"));
    assert_eq!(hint("zookeeper.connect"), None);
    assert_eq!(hint(&"x".repeat(1 << 24)), None, "and at once");
    let error = unknown(broker::TABLE, "num.partition").to_string();
    assert_eq!(error, "unknown property 'num.partition'; did you mean 'num.partitions'?");
}

/// As Java's `Double.toString` has them.
#[test]
fn numbers_are_kept_as_kafka_describes_them() {
    let row = Definition {
        name: "some.property",
        kind: Kind::Double,
        default: None,
        valid: Valid::Any,
        update: Update::ReadOnly,
        acts: Acts::Yes,
        doc: "",
    };
    for (value, kept) in [
        ("1", "1.0"),
        (" 0.50", "0.5"),
        ("0", "0.0"),
        ("-0", "-0.0"),
        ("0.001", "0.001"),
        ("0.0001", "1.0E-4"),
        ("9999999", "9999999.0"),
        ("1e7", "1.0E7"),
        ("123456789", "1.23456789E8"),
        ("1.7976931348623157E308", "1.7976931348623157E308"),
        ("NaN", "NaN"),
    ] {
        assert_eq!(row.canonical(value), kept, "{value}");
    }
}

/// As a Kafka 4.3.1 node kept and refused them.
#[test]
fn elements_of_a_list_are_kept_once_and_an_empty_one_is_refused() {
    let row = topic::definition("cleanup.policy").unwrap();
    assert_eq!(row.canonical(" compact , delete,compact"), "compact,delete");
    for value in ["compact,", ",", "compact,,delete"] {
        assert_eq!(row.canonical(value), value, "what is refused is not mended before");
        assert!(row.check(value).is_err(), "{value}");
    }
}
