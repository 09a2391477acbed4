use super::*;

fn entity(parts: &[(&str, Option<&str>)]) -> AskedEntity {
    parts.iter().map(|(kind, name)| ((*kind).to_owned(), name.map(str::to_owned))).collect()
}

fn alteration(parts: &[(&str, Option<&str>)], changes: &[(&str, Option<f64>)]) -> Alteration {
    let changes = changes.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
    Alteration { entity: entity(parts), changes }
}

/// Decides and applies; the codes of the outcomes.
fn alter_codes(image: &mut Image, alterations: Vec<Alteration>, validate_only: bool) -> Vec<ErrorCode> {
    let unresolved = ["no such host".to_owned()].into();
    let command = AlterClientQuotas { alterations, validate_only, unresolved };
    let decision = alter(image, &command);
    for record in &decision.records {
        image.apply(record).expect("fits");
    }
    let Reply::AlterClientQuotas(outcomes) = decision.reply else { panic!("another reply") };
    outcomes.into_iter().map(|(_, outcome)| outcome.err().map_or(ErrorCode::None, |e| e.code)).collect()
}

fn client(name: &str) -> Entity {
    Entity::client_id(Name::exactly(name))
}

const PRODUCE: &str = "producer_byte_rate";
const PERCENT: &str = "request_percentage";
const CREATION: &str = "connection_creation_rate";

type Parts<'a> = &'a [(&'a str, Option<&'a str>)];

/// Each as a broker of 4.3.1 answers it.
#[test]
fn what_may_be_set_on_whom_is_as_in_kafka() {
    let a = &[("client-id", Some("a"))][..];
    let ip = &[("ip", Some("127.0.0.9"))][..];
    let cases: &[(Parts<'_>, &str, f64, bool)] = &[
        (a, PRODUCE, 1000.0, true),
        (a, PRODUCE, 1.0000001, true),
        (a, PRODUCE, 9_223_372_036_854_775_808.0, true),
        (a, PRODUCE, f64::NAN, true),
        (a, PRODUCE, 1.5, false),
        (a, PRODUCE, 0.0, false),
        (a, PRODUCE, -1.0, false),
        (a, PRODUCE, f64::INFINITY, false),
        (a, PRODUCE, 18_446_744_073_709_551_616.0, false),
        (a, PERCENT, f64::INFINITY, true),
        (a, PERCENT, f64::NAN, true),
        (a, "controller_mutation_rate", 0.001, true),
        (a, CREATION, 1.0, false),
        (a, "bogus", 1.0, false),
        (a, "", 1.0, false),
        (&[("user", None)], PERCENT, 25.0, true),
        (&[("user", None), ("client-id", None)], "consumer_byte_rate", 25.0, true),
        (&[("user", Some("u")), ("client-id", Some("a"))], PRODUCE, 10.0, true),
        (ip, CREATION, 7.0, true),
        (ip, CREATION, 7.5, false),
        (ip, CREATION, 3e9, false),
        (ip, PRODUCE, 7.0, false),
        (&[("ip", None)], CREATION, 7.0, true),
        (&[("ip", Some("no such host"))], CREATION, 7.0, false),
        (&[("ip", Some("127.0.0.1")), ("user", Some("x"))], CREATION, 7.0, false),
        (&[], PRODUCE, 7.0, false),
        (&[("group", Some("g"))], PRODUCE, 7.0, false),
        (&[("", Some("g"))], PRODUCE, 7.0, false),
        (&[("client-id", Some(""))], PRODUCE, 7.0, false),
        (&[("user", Some(""))], PRODUCE, 7.0, false),
        (&[("ip", Some(""))], CREATION, 7.0, false),
    ];
    for (parts, key, value, accepted) in cases {
        let mut image = Image::default();
        let codes = alter_codes(&mut image, vec![alteration(parts, &[(key, Some(*value))])], false);
        let expected = if *accepted { ErrorCode::None } else { ErrorCode::InvalidRequest };
        assert_eq!(codes, [expected], "{parts:?} {key}={value}");
        assert_eq!(image.client_quotas().count(), usize::from(*accepted), "{parts:?} {key}={value}");
    }
}

#[test]
fn alteration_acts_as_a_whole_or_not_at_all() {
    let mut image = Image::default();
    let changes = [(PRODUCE, Some(7.0)), ("bogus", Some(1.0))];
    let good = alteration(&[("client-id", Some("good"))], &[(PRODUCE, Some(7.0))]);
    let bad = alteration(&[("client-id", Some("bad"))], &changes);
    let codes = alter_codes(&mut image, vec![bad, good], false);
    assert_eq!(codes, [ErrorCode::InvalidRequest, ErrorCode::None]);
    assert_eq!(image.client_quotas().map(|(entity, _)| entity.clone()).collect::<Vec<_>>(), [client("good")]);
}

#[test]
fn repeated_entity_is_refused_and_its_first_alteration_carried_out() {
    let mut image = Image::default();
    let of = |value| alteration(&[("client-id", Some("a"))], &[(PRODUCE, Some(value))]);
    assert_eq!(alter_codes(&mut image, vec![of(7.0), of(8.0)], false), [ErrorCode::InvalidRequest]);
    assert_eq!(image.client_quota(&client("a"))[&Key::ProducerByteRate], Value::new(7.0));
    let twice = alteration(&[("client-id", Some("b"))], &[(PRODUCE, Some(7.0)), (PRODUCE, Some(8.0))]);
    assert_eq!(alter_codes(&mut image, vec![twice], false), [ErrorCode::InvalidRequest]);
    assert!(image.client_quota(&client("b")).is_empty());
}

#[test]
fn removing_takes_values_and_in_the_end_the_entity_away() {
    let mut image = Image::default();
    let a = [("client-id", Some("a"))];
    alter_codes(&mut image, vec![alteration(&a, &[(PRODUCE, Some(7.0)), (PERCENT, Some(5.0))])], false);
    let remove = |keys: &[&str]| {
        alteration(&a, &keys.iter().map(|key| (*key, None)).collect::<Vec<(&str, Option<f64>)>>())
    };
    alter_codes(&mut image, vec![remove(&[PRODUCE])], true);
    assert_eq!(image.client_quota(&client("a")).len(), 2, "only validated");
    assert_eq!(alter_codes(&mut image, vec![remove(&[PRODUCE, "bogus"])], false), [ErrorCode::None]);
    assert_eq!(image.client_quota(&client("a")).keys().collect::<Vec<_>>(), [&Key::RequestPercentage]);
    alter_codes(&mut image, vec![remove(&[PERCENT])], false);
    assert_eq!(image.client_quotas().count(), 0);
}

#[test]
fn value_that_is_set_already_makes_no_record() {
    let mut image = Image::default();
    for (value, records) in [(f64::NAN, 1), (f64::NAN, 0), (5.0, 1), (5.0, 0)] {
        let alterations = vec![alteration(&[("user", None)], &[(PERCENT, Some(value))])];
        let command = AlterClientQuotas { alterations, validate_only: false, unresolved: BTreeSet::new() };
        let decision = alter(&image, &command);
        assert_eq!(decision.records.len(), records, "{value}");
        decision.records.iter().for_each(|record| image.apply(record).expect("fits"));
    }
}

#[test]
fn more_quotas_than_an_entry_takes_are_refused_one_by_one() {
    let name = "n".repeat(30_000);
    let alterations = (0..100).map(|n| {
        let name = format!("{name}{n}");
        alteration(&[("client-id", Some(&name))], &[(PRODUCE, Some(1.0))])
    });
    let codes = alter_codes(&mut Image::default(), alterations.collect(), false);
    let refused = codes.iter().filter(|code| **code == ErrorCode::PolicyViolation).count();
    assert!((1..100).contains(&refused), "{refused} of 100");
}

fn component(entity_type: &str, match_type: i8, name: Option<&str>) -> Component {
    Component { entity_type: entity_type.to_owned(), match_type, name: name.map(str::to_owned) }
}

#[test]
fn filters_find_what_kafka_finds() {
    let u_a = Entity::user_and_client_id(Name::exactly("u"), Name::exactly("a"));
    let defaults = Entity::user_and_client_id(Name::Default, Name::Default);
    let all = [
        client("a"),
        Entity::client_id(Name::Default),
        u_a,
        defaults,
        Entity::user(Name::exactly("u")),
        Entity::ip(Name::Default),
    ];
    let check = |components: &[Component], strict, expected: &[usize]| {
        let filter = Filter::new(components, strict).expect("a valid filter");
        let found: Vec<usize> = (0..all.len()).filter(|at| filter.matches(&all[*at])).collect();
        assert_eq!(found, expected, "{components:?} {strict}");
    };
    check(&[], false, &[0, 1, 2, 3, 4, 5]);
    check(&[], true, &[]);
    check(&[component("client-id", 0, Some("a"))], false, &[0, 2]);
    check(&[component("client-id", 0, Some("a"))], true, &[0]);
    check(&[component("client-id", 1, None)], false, &[1, 3]);
    check(&[component("client-id", 1, None)], true, &[1]);
    check(&[component("client-id", 2, None)], false, &[0, 1, 2, 3]);
    check(&[component("client-id", 2, None), component("user", 0, Some("u"))], true, &[2]);
    check(&[component("ip", 2, None)], false, &[5]);
    check(&[component("client-id", 0, Some(""))], false, &[]);
}

#[test]
fn filters_that_make_no_sense_are_refused_as_in_kafka() {
    let check = |components: &[Component], expected| {
        let refused = Filter::new(components, false).expect_err("refused");
        assert_eq!(refused.code, expected, "{components:?}");
    };
    let invalid = [
        vec![component("client-id", 0, None)],
        vec![component("client-id", 1, Some("x"))],
        vec![component("client-id", 2, Some("x"))],
        vec![component("client-id", 3, None)],
        vec![component("client-id", -1, None)],
        vec![component("client-id", 2, None), component("client-id", 0, Some("a"))],
        vec![component("ip", 2, None), component("user", 2, None)],
        vec![component("", 2, None)],
    ];
    invalid.iter().for_each(|components| check(components, ErrorCode::InvalidRequest));
    check(&[component("group", 2, None)], ErrorCode::UnsupportedVersion);
}
