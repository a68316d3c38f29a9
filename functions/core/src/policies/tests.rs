//! What policies make of arguments that are not written as the policies' authors thought of.

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

use super::{
    CompiledPolicies, Decision, Principals,
    fixture::{self, agent, compiled, user},
};
use crate::error::Error;

const PERMIT: &str = "permit(principal, action, resource);";

/// The result of a user's call with these arguments, where all calls are permitted except what these policies
/// forbid.
fn told(policies: &[&str], arguments: &str) -> String {
    let policies: Vec<&str> = [PERMIT].iter().chain(policies).copied().collect();
    decided(&policies, arguments)
}

fn decided(policies: &[&str], arguments: &str) -> String {
    decided_by(&compiled(policies), arguments)
}

fn decided_by(policies: &CompiledPolicies, arguments: &str) -> String {
    let arguments = RawValue::from_string(arguments.to_owned()).unwrap();
    let user = user();
    match fixture::call(policies, Principals::User(&user), &arguments) {
        Ok(Decision::Permitted(_)) => "permitted".to_owned(),
        Ok(Decision::Denied(denial)) => {
            let by: Vec<_> = denial.policies.iter().map(|id| id.0.as_u128().to_string()).collect();
            let reason = denial.reason.replace("00000000-0000-0000-0000-00000000000", "…");
            format!("denied by {}: {reason}", by.join(", "))
        }
        Err(Error::Invalid(why)) => format!("invalid: {why}"),
        Err(error) => panic!("{error}"),
    }
}

const LIMIT: &str = r#"forbid(principal, action, resource) when {
    context.integers.hasTag("limit") && context.integers.getTag("limit") > 10 };"#;
const FORCE: &str = r#"forbid(principal, action, resource) when { context.arguments.hasTag("force") };"#;
const ORG: &str = r#"forbid(principal, action, resource) when {
    context.arguments.hasTag("org") && context.arguments.getTag("org") like "secret-*" };"#;
const REPO: &str = r#"forbid(principal, action, resource) when {
    context.arguments.hasTag("repo.org") && context.arguments.getTag("repo.org") == "secret" };"#;

#[test]
fn a_refusal_names_the_policy_and_the_argument() {
    assert_snapshot!(told(&[LIMIT], r#"{"limit": "1000"}"#), @"denied by 2: the policy …2 reads the argument `limit` as an integer, but it is text");
    assert_snapshot!(told(&[ORG, LIMIT], r#"{"limit": 18446744073709551615}"#), @"denied by 3: the policy …3 reads the argument `limit` as an integer, but it is a number beyond 64 bits");
    assert_snapshot!(told(&[ORG], r#"{"org": ["secret-x"]}"#), @"denied by 2: the policy …2 compares the argument `org` as text, but it is an array");
    assert_snapshot!(told(&[REPO], r#"{"repo": "{\"org\": \"secret\"}"}"#), @"denied by 2: the policy …2 reads `repo.org`, but the argument `repo` is text with JSON in it and no object");
    assert_snapshot!(told(&[REPO], r#"{"Repo": [{"org": "secret"}]}"#), @"denied by 2: the policy …2 reads `repo.org`, but the argument `Repo` is an array and no object, if the server ignores the case of the arguments' names");
    assert_snapshot!(told(&[FORCE], r#"{"force": {}}"#), @"denied by 2: a policy forbids it");
    assert_snapshot!(told(&[r#"forbid(principal, action, resource) when {
        context.integers.hasTag("id") && context.integers.getTag("id") == 9007199254740992 };"#], r#"{"id": 9007199254740993}"#), @"denied by 2: a policy forbids it, if the server reads numbers as floating-point ones");
}

#[test]
fn what_a_policy_does_not_come_to_read_does_not_refuse() {
    for (condition, arguments) in [
        (r#"resource in Server::"other" && context.integers.hasTag("limit")"#, r#"{"limit": "x"}"#),
        (r#"principal in Group::"bots" && context.arguments.hasTag("repo.org")"#, r#"{"repo": [1]}"#),
        (
            r#"context.arguments.hasTag("org") && context.arguments.getTag("org") == "x" && context.integers.hasTag("limit")"#,
            r#"{"org": "y", "limit": "x"}"#,
        ),
        (
            r#"context.arguments.hasTag("limit") && false && context.arguments.getTag("limit") == "x""#,
            r#"{"limit": [1]}"#,
        ),
        (r#"context.integers.hasTag("other")"#, r#"{"limit": "x", "org": ["secret-x"], "repo": [1]}"#),
    ] {
        let forbid = format!("forbid(principal, action, resource) when {{ {condition} }};");
        assert_eq!(told(&[&forbid], arguments), "permitted", "{condition}");
    }
    let elsewhere = format!(r#"forbid(principal, action, resource in Server::"other") {}"#, &LIMIT[36..]);
    assert_eq!(told(&[&elsewhere], r#"{"limit": "x"}"#), "permitted");
    assert_ne!(told(&[LIMIT], r#"{"limit": "x"}"#), "permitted");
}

#[test]
fn names_that_differ_in_case_are_refused_only_where_a_policy_comes_to_read_them() {
    let environment = r#"{"env": {"PATH": "/bin", "Path": "C:"}, "Org": "a", "org": "b"}"#;
    assert_eq!(told(&[LIMIT, FORCE, REPO], environment), "permitted");
    assert_snapshot!(told(&[LIMIT, ORG], environment), @"denied by 3: the policy …3 compares the argument `Org` as text, but it is one of several whose names differ only in case, if the server ignores the case of the arguments' names");
    let elsewhere = ORG.replace("resource)", r#"resource in Server::"other")"#);
    assert_eq!(told(&[&elsewhere], environment), "permitted");
    assert_snapshot!(told(&[REPO], r#"{"repo": {"name": 1}, "Repo": {"org": "acme"}}"#), @"denied by 2: the policy …2 reads `repo.org`, but the argument `repo` is one of several whose names differ only in case, if the server ignores the case of the arguments' names");
}

#[test]
fn a_permission_that_rests_on_a_value_is_not_had_by_another_kind_of_value() {
    for condition in [
        r#"when { context.integers.hasTag("limit") && context.integers.getTag("limit") <= 10 }"#,
        r#"unless { context.integers.hasTag("limit") && context.integers.getTag("limit") > 10 }"#,
        r#"when { if context.integers.hasTag("limit") then context.integers.getTag("limit") <= 10 else true }"#,
    ] {
        let permit = format!("permit(principal, action, resource) {condition};");
        for limit in ["10", "10.0", "1e1", "-0.0", "100e-1"] {
            let arguments = format!(r#"{{"limit": {limit}}}"#);
            assert_eq!(decided(&[&permit], &arguments), "permitted", "{condition} {limit}");
        }
        for limit in
            [r#""11""#, r#""1""#, "11.0", "11.5", "[11]", r#"{"v": 11}"#, "null", "true", "1e400", "1e19"]
        {
            let arguments = format!(r#"{{"limit": {limit}}}"#);
            assert_ne!(decided(&[&permit], &arguments), "permitted", "{condition} {limit}");
        }
    }
}

#[test]
fn tags_that_are_asked_for_in_ways_that_are_not_seen_refuse() {
    for condition in [
        r#"Integers::"call".hasTag("limit")"#,
        r#"(if true then context.integers else context.integers).hasTag("limit")"#,
        "context.arguments.hasTag(resource.name)",
    ] {
        let forbid = format!("forbid(principal, action, resource) when {{ {condition} }};");
        assert!(told(&[&forbid], "{}").starts_with("denied"), "{condition}");
    }
}

#[test]
fn a_policy_from_before_that_uses_an_agents_name_still_does_what_it_says() {
    let policies =
        compiled(&[r#"permit(principal is Agent, action, resource) when { principal.name == "bot" };"#]);
    let none = RawValue::from_string("{}".to_owned()).unwrap();
    for (name, permitted) in [("bot", true), ("other", false)] {
        let agent = agent(name);
        let decision = fixture::call(&policies, Principals::Agent(&agent), &none).unwrap();
        assert_eq!(matches!(decision, Decision::Permitted(_)), permitted, "{name}");
    }
}

/// Other spellings of an integer.
fn numbers(integer: i64, zeros: usize) -> Vec<String> {
    let (sign, digits) =
        if integer < 0 { ("-", integer.unsigned_abs()) } else { ("", integer.unsigned_abs()) };
    let (digits, some) = (digits.to_string(), "0".repeat(zeros));
    let (first, rest) = digits.split_at(1);
    vec![
        format!("{sign}{digits}"),
        format!("{sign}{digits}.0{some}"),
        format!("{sign}{digits}e{some}0"),
        format!("{sign}{digits}E-0"),
        format!("{sign}{digits}{some}e-{zeros}"),
        format!("{sign}{first}.{rest}{some}0e+{}", rest.len()),
        format!("{sign}0.{some}{digits}e{}", zeros + digits.len()),
    ]
}

/// Values that a server may take for this value, in any spelling.
fn near(written: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(written).unwrap_or_default();
    let text = json!(written).to_string();
    vec![
        format!("[{written}]"),
        format!("[[{written}]]"),
        format!("{{\"v\": {written}}}"),
        format!("{{\"value\": [{value}]}}"),
        json!(format!("[{written}]")).to_string(),
        json!(format!(" {{\"v\": {written}}}\n")).to_string(),
        format!("[{text}]"),
    ]
}

/// Objects from which a server may read this value at this name.
fn objects(name: &str, inner: &str, value: &str) -> Vec<String> {
    let object = format!("{{\"{inner}\": {value}}}");
    let mut all = vec![
        format!("{{\"{name}\": {object}}}"),
        format!("{{\"{name}.{inner}\": {value}}}"),
        format!("{{\"{}\": {object}}}", name.to_uppercase()),
        format!("{{\"{name}\": {{\"{}\": {value}}}}}", inner.to_uppercase()),
        format!("{{\"\\u{:04x}{}\": {object}}}", name.as_bytes()[0], &name[1..]),
    ];
    // An object inside an object is a different case.
    let near = near(&object).into_iter().filter(|near| !near.starts_with('{'));
    all.extend(near.map(|near| format!("{{\"{name}\": {near}}}")));
    all.push(format!("{{\"{name}\": {}}}", json!(object)));
    all
}

fn none_is_permitted(forbid: &str, written: impl IntoIterator<Item = String>) {
    let policies = compiled(&[PERMIT, forbid]);
    for arguments in written {
        assert_ne!(decided_by(&policies, &arguments), "permitted", "{arguments}");
    }
}

fn integers() -> impl Strategy<Value = i64> {
    prop_oneof![-30_i64..3_000, any::<i64>(), Just(i64::MAX), Just(i64::MIN), Just(9_007_199_254_740_993)]
}

proptest! {
    // Each is written in dozens of ways, so a few cases are enough.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_way_to_write_an_integer_gets_around_a_ban_on_it(integer in integers(), zeros in 0_usize..30) {
        let forbid = format!(r#"forbid(principal, action, resource) when {{
            context.integers.hasTag("n") && context.integers.getTag("n") == ({integer}) }};"#);
        let as_text = format!(r#"forbid(principal, action, resource) when {{
            context.arguments.hasTag("n") && context.arguments.getTag("n") == "{integer}" }};"#);
        let written = numbers(integer, zeros);
        let all = |value: &String| [format!("{{\"n\": {value}}}"), format!("{{\"N\": {value}}}")];
        let ways = written.iter().flat_map(|number| near(number)).chain(written.iter().cloned());
        none_is_permitted(&as_text, ways.flat_map(|value| all(&value)));
        let texts = written.iter().map(|number| json!(number).to_string());
        let texts = texts.chain(written.iter().map(|number| json!(format!(" {number}")).to_string()));
        let others = written.iter().flat_map(|number| near(number)).chain(texts).chain(written.iter().cloned());
        none_is_permitted(&forbid, others.flat_map(|value| all(&value)));
    }

    #[test]
    fn no_way_to_write_a_text_gets_around_a_ban_on_it(text in "\\PC{1,12}") {
        prop_assume!(!crate::policies::arguments::holds_json(&text));
        let literal = text.escape_unicode().to_string();
        let plain = format!(r#"forbid(principal, action, resource) when {{
            context.arguments.hasTag("org") && context.arguments.getTag("org") == "{literal}" }};"#);
        let inner = format!(r#"forbid(principal, action, resource) when {{
            context.arguments.hasTag("repo.org") && context.arguments.getTag("repo.org") == "{literal}" }};"#);
        let escaped = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
        let mut objects_with = Vec::new();
        let mut plainly = Vec::new();
        for written in [json!(text).to_string(), format!("\"{escaped}\"")] {
            let ways = near(&written).into_iter().chain([written.clone()]);
            for value in ways {
                plainly.push(format!("{{\"org\": {value}}}"));
                objects_with.extend(objects("repo", "org", &value));
            }
        }
        none_is_permitted(&plain, plainly);
        none_is_permitted(&inner, objects_with);
    }

    #[test]
    fn no_second_argument_of_another_case_gets_around_a_ban_or_into_a_permission(
        banned in "[a-z]{1,6}", other in "[A-Z]{1,6}", number in integers(), another in integers(),
        spelling in 0_usize..4, turn in 1_usize..4,
    ) {
        prop_assume!(number != another);
        let text = |value: &str| json!(value).to_string();
        let has = |name: &str| format!(r#"context.arguments.hasTag("{name}")"#);
        let ban = |name: &str, test: &str| format!(
            "forbid(principal, action, resource) when {{ {} && {test} }};", has(name));
        let spellings = ["org", "Org", "ORG", "oRg"];
        let (name, twin) = (spellings[spelling], spellings[(spelling + turn) % 4]);
        let both = |one: &str, two: &str| [
            format!("{{\"{name}\": {one}, \"{twin}\": {two}}}"),
            format!("{{\"x\": 1, \"{name}\": {one}, \"y\": [], \"{twin}\": {two}}}"),
        ];
        let inner = |one: &str, two: &str| [
            format!("{{\"repo\": {{\"{name}\": {one}, \"{twin}\": {two}}}}}"),
            format!("{{\"repo\": {{\"{name}\": {one}}}, \"Repo\": {{\"{twin}\": {two}}}}}"),
            format!("{{\"repo\": {{\"{name}\": {one}}}, \"REPO\": {{\"z\": {two}}}}}"),
            format!("{{\"repo.{name}\": {one}, \"Repo\": {{\"{twin}\": {two}}}}}"),
        ];
        let (bad, good) = (text(&banned), text(&other));
        let plain = ban("org", &format!(r#"context.arguments.getTag("org") == "{banned}""#));
        none_is_permitted(&plain, both(&bad, &good).into_iter().chain(both(&good, &bad)));
        let nested = ban("repo.org", &format!(r#"context.arguments.getTag("repo.org") == "{banned}""#));
        none_is_permitted(&nested, inner(&bad, &good).into_iter().chain(inner(&good, &bad).into_iter().take(2)));
        none_is_permitted(
            &format!("forbid(principal, action, resource) when {{ {} }};", has("org")),
            both(&bad, &good),
        );
        let (bad, good) = (number.to_string(), another.to_string());
        let integers = format!(r#"forbid(principal, action, resource) when {{
            context.integers.hasTag("org") && context.integers.getTag("org") == ({number}) }};"#);
        none_is_permitted(&integers, both(&bad, &good).into_iter().chain(both(&good, &bad)));
        // A permission that rests on a value is not had by a pair of which one has it.
        let permit = format!(r#"permit(principal, action, resource) when {{
            {} && context.arguments.getTag("org") == "{other}" }};"#, has("org"));
        let policies = compiled(&[&permit]);
        for arguments in both(&text(&banned), &text(&other)).into_iter().chain(both(&text(&other), &text(&banned))) {
            prop_assert_ne!(decided_by(&policies, &arguments), "permitted", "{}", arguments);
        }
    }

    #[test]
    fn no_kind_of_value_gets_around_a_ban_on_an_argument(value in prop_oneof![
        Just(json!(null)), Just(json!(true)), Just(json!({})), Just(json!([])), Just(json!("")), Just(json!(1.5)),
        any::<i64>().prop_map(|integer| json!(integer)), "\\PC{0,9}".prop_map(|text| json!(text)),
    ]) {
        let value = value.to_string();
        let ways = near(&value).into_iter().chain([value]);
        none_is_permitted(FORCE, ways.flat_map(|value| [
            format!("{{\"force\": {value}}}"), format!("{{\"Force\": {value}}}"), format!("{{\"other\": 1, \"FORCE\": {value}}}"),
        ]));
    }
}
