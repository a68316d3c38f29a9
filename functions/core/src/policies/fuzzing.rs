//! What judging a call costs, whatever its arguments are.
#![allow(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]

use std::sync::LazyLock;

use serde_json::value::RawValue;

use super::{CompiledPolicies, Principals, fixture};
use crate::users::User;

/// Policies that read names that made-up arguments are likely to contain, in several ways.
static POLICIES: LazyLock<(CompiledPolicies, User)> = LazyLock::new(|| {
    let policies = [
        "permit(principal, action, resource);",
        r#"forbid(principal, action, resource) when {
            context.integers.hasTag("a") && context.integers.getTag("a") > 10 };"#,
        r#"forbid(principal, action, resource) when {
            context.arguments.hasTag("b") && context.arguments.getTag("b") like "secret-*" };"#,
        r#"forbid(principal, action, resource) when {
            context.arguments.hasTag("a.b") && context.arguments.getTag("a.b") == "secret" };"#,
        r#"forbid(principal, action, resource) when { context.arguments.hasTag("A.b.c") };"#,
    ];
    (fixture::compiled(&policies), fixture::user())
});

/// Makes what is made only once, so that it does not count as a call's cost.
pub fn prepare_to_decide() {
    decide("{}");
}

/// Judges a call with these arguments.
pub fn decide(arguments: &str) {
    let (policies, user) = &*POLICIES;
    let Ok(arguments) = serde_json::from_str::<&RawValue>(arguments) else { return };
    // A refused call counts too: it has used memory.
    drop(fixture::call(policies, Principals::User(user), arguments));
}
