use super::{unambiguous::MAX_NAMES, *};
use crate::policies::reads_of;

fn raw(json: impl Into<String>) -> Box<RawValue> {
    RawValue::from_string(json.into()).unwrap()
}

fn read(json: &str) -> Result<()> {
    Arguments::read(&raw(json), &Reads::default()).map(drop)
}

fn refusal(json: &str) -> String {
    read(json).unwrap_err().to_string()
}

/// What policies see that read `texts` as text and `integers` as integers.
fn told(json: &str, texts: &[&str], integers: &[&str], reading: Reading) -> Option<String> {
    let reads = reads_of(texts, integers);
    let json = raw(json);
    let arguments = Arguments::read(&json, &reads).unwrap();
    arguments.tags(reading).map(|Tags { texts, integers, unreadable }| {
        let texts = texts.iter().map(|(name, text)| format!("{name} = {text:?}"));
        let integers = integers.iter().map(|(name, integer)| format!("{name} = {integer}"));
        let unreadable = unreadable.iter().map(|value| format!("{}: {value}", value.name));
        texts.chain(integers).chain(unreadable).collect::<Vec<_>>().join("\n")
    })
}

const AS_WRITTEN: Reading = Reading { any_case: false, floats: false };
const ANY_CASE: Reading = Reading { any_case: true, floats: false };
const FLOATS: Reading = Reading { any_case: false, floats: true };
const BOTH: Reading = Reading { any_case: true, floats: true };

#[test]
fn only_what_policies_read_is_kept_under_dotted_names() {
    let json = r#"{"org": "acme", "repo": {"name": "x", "stars": 3, "not": 1}, "dry": true, "other": [1], "no": null}"#;
    let texts = ["org", "repo.name", "repo.stars", "dry", "no", "absent"];
    insta::assert_snapshot!(told(json, &texts, &["repo.stars"], AS_WRITTEN).unwrap(), @r#"
    org = "acme"
    repo.name = "x"
    repo.stars = "3"
    dry = "true"
    no = "null"
    repo.stars = 3
    "#);
}

#[test]
fn numbers_are_read_however_they_are_written() {
    let json = r#"{"a": 11.0, "b": 1e3, "c": 1.50, "d": -0.0}"#;
    let names = ["a", "b", "d"];
    insta::assert_snapshot!(told(json, &["a", "b", "c", "d"], &names, AS_WRITTEN).unwrap(), @r#"
    a = "11"
    b = "1000"
    c = "1.5"
    d = "0"
    a = 11
    b = 1000
    d = 0
    "#);
}

#[test]
fn what_is_no_integer_cannot_be_read_as_one() {
    let json = r#"{"a": "1000", "b": true, "c": null, "d": [1], "e": {"f": 1}, "g": 1.5, "h": 18446744073709551615}"#;
    let names = ["a", "b", "c", "d", "e", "g", "h", "absent"];
    insta::assert_snapshot!(told(json, &[], &names, AS_WRITTEN).unwrap(), @r"
    a: reads the argument `a` as an integer, but it is text
    b: reads the argument `b` as an integer, but it is true or false
    c: reads the argument `c` as an integer, but it is null
    d: reads the argument `d` as an integer, but it is an array
    e: reads the argument `e` as an integer, but it is an object
    g: reads the argument `g` as an integer, but it is a number with a fraction
    h: reads the argument `h` as an integer, but it is a number beyond 64 bits
    ");
}

#[test]
fn what_is_no_text_is_there_and_cannot_be_compared() {
    let json = r#"{"a": ["x"], "b": {}, "c": " [\"x\"]\n", "d": "{\"x\": 1}", "e": "[draft] x", "f": 9223372036854775808}"#;
    insta::assert_snapshot!(told(json, &["a", "b", "c", "d", "e", "f"], &[], AS_WRITTEN).unwrap(), @r#"
    a = ""
    b = ""
    c = ""
    d = ""
    e = "[draft] x"
    f = ""
    a: compares the argument `a` as text, but it is an array
    b: compares the argument `b` as text, but it is an object
    c: compares the argument `c` as text, but it is text with JSON in it
    d: compares the argument `d` as text, but it is text with JSON in it
    f: compares the argument `f` as text, but it is a number beyond 64 bits
    "#);
}

#[test]
fn in_what_is_no_object_nothing_can_be_read() {
    let names = ["repo.org", "repo.owner.id"];
    let told = |json: &str| told(json, &names, &[], AS_WRITTEN).unwrap();
    insta::assert_snapshot!(told(r#"{"repo": [{"org": "secret"}]}"#), @r"
    repo.org: reads `repo.org`, but the argument `repo` is an array and no object
    repo.owner.id: reads `repo.owner.id`, but the argument `repo` is an array and no object
    ");
    insta::assert_snapshot!(told(r#"{"repo": {"org": "acme", "owner": "{\"id\": 1}"}}"#), @r#"
    repo.org = "acme"
    repo.owner.id: reads `repo.owner.id`, but the argument `repo.owner` is text with JSON in it and no object
    "#);
    insta::assert_snapshot!(told(r#"{"repo.owner": 7}"#), @"repo.owner.id: reads `repo.owner.id`, but the argument `repo.owner` is a number and no object");
    assert_eq!(told(r#"{"repo": {}, "other": [{"org": "secret"}], "repository": 1}"#), "");
}

#[test]
fn names_that_policies_read_are_offered_in_all_their_spellings() {
    let texts = ["org", "repo.stars", "Repo.Stars", "other"];
    let told = |json: &str, reading| told(json, &texts, &["repo.stars"], reading);
    let json = r#"{"ORG": "acme", "repo": {"stars": 3}, "Dry": true}"#;
    insta::assert_snapshot!(told(json, AS_WRITTEN).unwrap(), @r#"
    repo.stars = "3"
    repo.stars = 3
    "#);
    insta::assert_snapshot!(told(json, ANY_CASE).unwrap(), @r#"
    org = "acme"
    Repo.Stars = "3"
    repo.stars = "3"
    repo.stars = 3
    "#);
    insta::assert_snapshot!(told(r#"{"REPO": [{"stars": 3}]}"#, ANY_CASE).unwrap(), @r"
    Repo.Stars: reads `Repo.Stars`, but the argument `REPO` is an array and no object
    repo.stars: reads `repo.stars`, but the argument `REPO` is an array and no object
    ");
    assert_eq!(told(r#"{"REPO": [{"stars": 3}]}"#, AS_WRITTEN).unwrap(), "");
    assert_eq!(told(json, FLOATS), None);
}

#[test]
fn integers_that_a_floating_point_number_cannot_be_are_offered_as_what_they_become() {
    let told = |json: &str, reading| told(json, &["id"], &["id"], reading);
    let json = r#"{"id": 9007199254740993}"#;
    insta::assert_snapshot!(told(json, AS_WRITTEN).unwrap(), @r#"
    id = "9007199254740993"
    id = 9007199254740993
    "#);
    insta::assert_snapshot!(told(json, FLOATS).unwrap(), @r#"
    id = "9007199254740992"
    id = 9007199254740992
    "#);
    assert_eq!(told(json, ANY_CASE), None);
    assert_eq!(told(json, BOTH), None);
    insta::assert_snapshot!(told(r#"{"ID": 9007199254740993}"#, BOTH).unwrap(), @r#"
    id = "9007199254740992"
    id = 9007199254740992
    "#);
    insta::assert_snapshot!(told(r#"{"id": 9223372036854775807}"#, FLOATS).unwrap(), @r#"
    id = ""
    id: compares the argument `id` as text, but it is a number beyond 64 bits
    id: reads the argument `id` as an integer, but it is a number beyond 64 bits
    "#);
}

#[test]
fn what_is_written_as_policies_read_it_is_judged_once() {
    let reads = reads_of(&["org", "repo.name"], &["perPage"]);
    let json = raw(r#"{"org": "acme", "repo": {"name": "x"}, "perPage": 100, "ids": [9007199254740993]}"#);
    let arguments = Arguments::read(&json, &reads).unwrap();
    let judged = Reading::ALL.into_iter().filter(|reading| arguments.tags(*reading).is_some());
    assert_eq!(judged.collect::<Vec<_>>(), [AS_WRITTEN]);
}

#[test]
fn arguments_that_two_readers_could_read_differently_are_refused() {
    for json in [
        r#"{"org": "mine", "org": "yours"}"#,
        r#"{"list": [{"org": 1, "org": 2}]}"#,
        r#"{"a.b": 1, "a": {"b": 2}}"#,
        r#"{"a.b": {"c": 1}, "a": {"b": {"d": 2}}}"#,
        r#"{"": {"b": 1}, ".b": 2}"#,
        r#"["no", "object"]"#,
        r#""text""#,
    ] {
        assert!(matches!(read(json), Err(Error::Invalid(_))), "{json}");
    }
    for json in [
        "null",
        "{}",
        r#"{"a.b": 1, "a": {"c": 2}, "b": [{"a.b": 1, "a": {"b": 1}}]}"#,
        r#"{"": {"b": 1}, "b": 2}"#,
        r#"{"list": [{"org": 1, "ORG": 2}]}"#,
    ] {
        read(json).unwrap();
    }
}

/// An environment has `PATH` and `Path`, and a map of HTTP headers or of people's names may have such a pair too.
#[test]
fn names_that_differ_in_case_are_refused_by_the_policies_that_read_them_and_by_no_others() {
    let names = ["org", "repo.id", "a.b"];
    let told = |json: &str, reading| told(json, &names, &["org"], reading);
    let json = r#"{"org": "mine", "Org": "yours", "env": {"PATH": 1, "Path": 2}}"#;
    insta::assert_snapshot!(told(json, AS_WRITTEN).unwrap(), @r#"
    org = "mine"
    org: reads the argument `org` as an integer, but it is text
    "#);
    insta::assert_snapshot!(told(json, ANY_CASE).unwrap(), @r#"
    org = ""
    org: compares the argument `org` as text, but it is one of several whose names differ only in case
    org: reads the argument `org` as an integer, but it is one of several whose names differ only in case
    "#);
    insta::assert_snapshot!(told(r#"{"Repo": {"id": 1}, "repo": {"id": 2}}"#, AS_WRITTEN).unwrap(), @r#"repo.id = "2""#);
    insta::assert_snapshot!(told(r#"{"Repo": {"id": 1}, "repo": {"name": 2}}"#, ANY_CASE).unwrap(), @r#"
    repo.id = "1"
    repo.id: reads `repo.id`, but the argument `Repo` is one of several whose names differ only in case
    "#);
    for json in [r#"{"a.b": 1, "A": {"B": 2}}"#, "{\"a\u{ff0e}b\": 1, \"a\": {\"b\": 2}}"] {
        assert!(told(json, ANY_CASE).unwrap().contains("is one of several"), "{json}");
    }
    for json in ["{\"list\": \"mine\", \"li\u{17f}t\": \"yours\"}", r#"{"other": 1, "Other": 2}"#] {
        assert_eq!(told(json, AS_WRITTEN).as_deref(), Some(""), "{json}");
        assert_eq!(told(json, ANY_CASE), None, "{json}");
    }
}

#[test]
fn too_many_too_deep_or_too_long_arguments_are_refused() {
    let object = |names: &mut dyn Iterator<Item = String>| {
        format!("{{{}}}", names.map(|name| format!("\"{name}\": 0")).collect::<Vec<_>>().join(","))
    };
    let nested =
        |name: &str, depth| format!("{}1{}", format!("{{\"{name}\":").repeat(depth), "}".repeat(depth));
    let many = |count: usize| object(&mut (0..count).map(|n| format!("a{n}")));
    read(&many(MAX_NAMES)).unwrap();
    insta::assert_snapshot!(refusal(&many(MAX_NAMES + 1)), @"arguments: more than 1000 names in one object");
    read(&format!(r#"{{"list": [{}]}}"#, [many(MAX_NAMES), many(MAX_NAMES)].join(","))).unwrap();
    insta::assert_snapshot!(refusal(&format!(r#"{{"list": [{}]}}"#, many(MAX_NAMES + 1))), @"arguments: more than 1000 names in one object");
    insta::assert_snapshot!(refusal(&format!(r#"{{"a": {}, "b": {}}}"#, many(600), many(600))), @"arguments: more than 1000 values, or nested deeper than 32");
    read(&nested("a", MAX_DEPTH)).unwrap();
    insta::assert_snapshot!(refusal(&nested("a", MAX_DEPTH + 1)), @"arguments: more than 1000 values, or nested deeper than 32");
    let long = |bytes: usize| "x".repeat(bytes);
    read(&nested(&long(256), 3)).unwrap();
    insta::assert_snapshot!(refusal(&nested(&long(257), 1)), @"arguments: a name is longer than 256 bytes");
    insta::assert_snapshot!(refusal(&format!(r#"{{"list": [{}]}}"#, nested(&long(257), 1))), @"arguments: a name is longer than 256 bytes");
    insta::assert_snapshot!(refusal(&nested(&long(256), 4)), @"arguments: a dotted name is longer than 1024 bytes");
    let wide = object(&mut (0..300).map(|n| format!("{}{n:03}", long(230))));
    insta::assert_snapshot!(refusal(&wide), @"arguments: the names together are longer than 65536 bytes");
}

/// This took 2.5 GB when each dotted name was a text of its own.
#[test]
fn a_long_name_around_many_is_refused_and_nothing_is_kept_of_it() {
    let inner = (0..999).map(|n| format!("\"a{n}\":0")).collect::<Vec<_>>().join(",");
    let json = format!("{{\"{}\": {{{inner}}}}}", "x".repeat(400_000));
    insta::assert_snapshot!(refusal(&json), @"arguments: a name is longer than 256 bytes");
}

#[test]
fn of_many_values_within_a_long_name_only_those_are_kept_that_policies_read() {
    let inner = (0..990).map(|n| format!("\"a{n}\":0")).collect::<Vec<_>>().join(",");
    let name = "x".repeat(255);
    let json = raw(format!(r#"{{"{name}": {{"{name}": {{"{name}": {{{inner}}}}}}}}}"#));
    let read = format!("{name}.{name}.{name}.a7");
    let reads = reads_of(&[&read], &[]);
    let arguments = Arguments::read(&json, &reads).unwrap();
    let kept: usize = arguments.found.iter().map(|found| found.name.len()).sum();
    assert_eq!(kept, (255 + 511 + 767) + read.len());
    assert!(kept < json.get().len(), "{kept} of {}", json.get().len());
}
