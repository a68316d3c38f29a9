//! Whether *some* arguments could be permitted: what lists show, and what an admin is told who names no arguments.
//!
//! Cedar evaluates the policies with the arguments unknown. What it cannot decide remains, as a policy in which all else
//! has been filled in. A tool is listed unless it is certain that each call of it is denied. So a list can show a tool
//! of which no call is permitted: one policy may permit only what another forbids, or the agent's only what the user's
//! does not. A call itself is judged by [`CompiledPolicies::decide`].
//!
//! Cedar knows the unknown entity by its id, `Arguments::"call"`. In what an admin is told it is `context.arguments`
//! again, as it is written in policies, and without what [`super::reads`] has put around each use of it.

use cedar_policy::{Authorizer, Decision as CedarDecision, Effect, PartialResponse, Policy};
use serde_json::{Value, json};

use super::{
    CallFacts, CompiledPolicies, Decision, Operation,
    engine::{Principals, Side, denied, ids, merged, question},
    prune::not_false,
    reads::{TagSource, attribute, is_marker},
};
use crate::{
    denial::{Denial, DeniedFor},
    error::{Error, Result},
    ids::PolicyId,
};

/// What is certain of a call whose arguments are not known.
#[derive(Clone, Debug)]
pub enum Possibility {
    /// It is decided in the same way whatever the arguments are.
    Decided(Decision),
    /// It depends on the arguments.
    Depends(Vec<Condition>),
}

/// A policy that may permit or forbid, by the arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    pub policy: PolicyId,
    /// Whether it permits; otherwise it forbids.
    pub permits: bool,
    /// For whom.
    pub of: DeniedFor,
    /// What remains of the policy, as a policy.
    pub text: String,
}

impl CompiledPolicies {
    /// Whether some arguments could be permitted, for all that is known.
    pub(crate) fn could_permit(&self, principals: Principals<'_>, facts: &CallFacts<'_>) -> Result<bool> {
        if let Operation::ReadAnyOf(template) = facts.operation {
            return self.could_permit_one_of(template, principals, facts);
        }
        for (_, response) in self.ask(principals, facts)? {
            if response.decision() == Some(CedarDecision::Deny) || has_failed(&response) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a resource of a URI template could be read: one that a policy names or describes, or any other one.
    fn could_permit_one_of(
        &self,
        template: &str,
        principals: Principals<'_>,
        facts: &CallFacts<'_>,
    ) -> Result<bool> {
        let server = format!("{}/", facts.server.id);
        let end = template.rsplit_once('}').map_or("", |(_, end)| end);
        let named = self.examples.iter().map(|text| text.strip_prefix(&server).unwrap_or(text));
        // A pattern may end before the template does.
        let named = named.flat_map(|uri| [uri.to_owned(), format!("{uri}{end}")]);
        let named = named.filter(|uri| is_of_template(uri, template)).take(MAX_EXAMPLES);
        for uri in named.chain([expanded(template)]) {
            let facts = CallFacts { operation: Operation::ReadResource(&uri), ..facts.clone() };
            if matches!(self.decide(principals, &facts)?, Decision::Permitted(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is certain, and which conditions remain.
    pub(crate) fn possibility(
        &self,
        principals: Principals<'_>,
        facts: &CallFacts<'_>,
    ) -> Result<Possibility> {
        let mut permitting = Vec::new();
        let mut conditions = Vec::new();
        for (of, response) in self.ask(principals, facts)? {
            if has_failed(&response) {
                let reason = "a policy could not be evaluated".to_owned();
                let policies = ids(response.definitely_errored());
                return Ok(Possibility::Decided(Decision::Denied(Denial {
                    denied_for: of,
                    policies,
                    reason,
                })));
            }
            let satisfied: Vec<Policy> = response.definitely_satisfied().collect();
            match response.decision() {
                Some(CedarDecision::Deny) => {
                    let forbidding = satisfied.iter().filter(|policy| policy.effect() == Effect::Forbid);
                    let denial = denied(of, ids(forbidding.map(Policy::id)));
                    return Ok(Possibility::Decided(Decision::Denied(denial)));
                }
                Some(CedarDecision::Allow) => {
                    permitting = merged(permitting, ids(satisfied.iter().map(Policy::id)));
                }
                None => {
                    let remaining = response.nontrivial_residuals().map(|policy| condition(of, &policy));
                    conditions.extend(remaining.collect::<Result<Vec<_>>>()?.into_iter().flatten());
                }
            }
        }
        conditions.sort_by_key(|condition| (condition.of == DeniedFor::User, condition.policy));
        Ok(if conditions.is_empty() {
            Possibility::Decided(Decision::Permitted(permitting))
        } else {
            Possibility::Depends(conditions)
        })
    }

    /// Whether one of the policies could have a part in a decision, with some arguments.
    pub(crate) fn has_part(&self, principals: Principals<'_>, facts: &CallFacts<'_>) -> Result<bool> {
        Ok(self.ask(principals, facts)?.iter().any(|(_, response)| not_false(response).next().is_some()))
    }

    /// Cedar's answers, for each principal.
    fn ask(
        &self,
        principals: Principals<'_>,
        facts: &CallFacts<'_>,
    ) -> Result<Vec<(DeniedFor, PartialResponse)>> {
        let ask = |Side { of, principal, on_behalf_of }: Side<'_>| -> Result<_> {
            let (request, entities) = question(principal, on_behalf_of, facts, None)?;
            Ok((of, Authorizer::new().is_authorized_partial(&request, &self.set, &entities)))
        };
        principals.sides()?.into_iter().map(ask).collect()
    }
}

/// A policy that fails whatever the arguments are denies every call.
fn has_failed(response: &PartialResponse) -> bool {
    response.definitely_errored().next().is_some()
}

fn condition(of: DeniedFor, policy: &Policy) -> Result<Option<Condition>> {
    let Some(id) = ids(std::iter::once(policy.id())).pop() else { return Ok(None) };
    let mut text = policy.to_json().map_err(Error::internal)?;
    readable(&mut text);
    let text = Policy::from_json(Some(policy.id().clone()), text).map_err(Error::internal)?;
    let permits = policy.effect() == Effect::Permit;
    Ok(Some(Condition { policy: id, permits, of, text: text.to_string() }))
}

/// Takes out of what remains of a policy (in
/// [JSON](https://docs.cedarpolicy.com/policies/json-format.html)) what is not in the policy as it was written.
fn readable(expression: &mut Value) {
    match expression {
        Value::Object(fields) => fields.values_mut().for_each(readable),
        Value::Array(items) => items.iter_mut().for_each(readable),
        _ => return,
    }
    let is_true = |value: Option<&Value>| value == Some(&json!({ "Value": true }));
    let in_its_place = if let Some(unknown) = expression.pointer("/unknown/0/Value").and_then(Value::as_str) {
        let of = match unknown {
            r#"Arguments::"call""# => Some(TagSource::Arguments),
            r#"Integers::"call""# => Some(TagSource::Integers),
            _ => None,
        };
        of.map(attribute)
    } else if expression.pointer("/if-then-else/if/hasTag/right/Value").is_some_and(is_marker) {
        expression.pointer_mut("/if-then-else/else").map(Value::take)
    } else if is_true(expression.pointer("/&&/left")) {
        expression.pointer_mut("/&&/right").map(Value::take)
    } else if is_true(expression.pointer("/&&/right")) {
        expression.pointer_mut("/&&/left").map(Value::take)
    } else {
        None
    };
    if let Some(in_its_place) = in_its_place {
        *expression = in_its_place;
    }
}

/// The most resources of one template that are judged.
const MAX_EXAMPLES: usize = 20;

/// A URI of a template (RFC 6570): an `x` in place of each expression.
fn expanded(template: &str) -> String {
    let mut parts = template.split('{');
    let mut uri = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        uri.push('x');
        uri.push_str(part.split_once('}').map_or("", |(_, literal)| literal));
    }
    uri
}

/// Whether a URI could be one of a template: its literal parts are there, in their order.
fn is_of_template(uri: &str, template: &str) -> bool {
    let Some((first, mut rest)) = template.split_once('{') else { return uri == template };
    let Some(mut uri) = uri.strip_prefix(first) else { return false };
    loop {
        let Some((_, after)) = rest.split_once('}') else { return false };
        match after.split_once('{') {
            None => return uri.ends_with(after),
            Some((literal, next)) => {
                let Some((_, after)) = uri.split_once(literal) else { return false };
                (uri, rest) = (after, next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::policies::fixture::{agent, compiled, server, user};

    fn told(policies: &[&str], operation: Operation<'_>) -> String {
        let (compiled, server, user) = (compiled(policies), server(), user());
        let facts =
            CallFacts { server: &server, operation, arguments: None, source_ip: None, client_name: None };
        let principals = Principals::User(&user);
        let possibility = compiled.possibility(principals, &facts).unwrap();
        let listed = compiled.could_permit(principals, &facts).unwrap();
        let told = match possibility {
            Possibility::Decided(Decision::Permitted(_)) => "permitted".to_owned(),
            Possibility::Decided(Decision::Denied(denial)) => format!("denied: {}", denial.reason),
            Possibility::Depends(conditions) => {
                let all: Vec<_> = conditions.iter().map(|condition| condition.text.clone()).collect();
                all.join("\n")
            }
        };
        format!("{}{told}", if listed { "listed; " } else { "" })
    }

    const TOOL: Operation<'_> = Operation::CallTool("tool");
    const PERMIT: &str = "permit(principal, action, resource);";

    #[test]
    fn what_is_permitted_or_denied_whatever_the_arguments_is_decided() {
        assert_eq!(told(&[PERMIT], TOOL), "listed; permitted");
        assert_eq!(told(&[], TOOL), "denied: no policy permits it");
        assert_eq!(
            told(&[PERMIT, "forbid(principal, action, resource);"], TOOL),
            "denied: a policy forbids it"
        );
        let reading =
            r#"permit(principal, action in [Action::"read_resource", Action::"get_prompt"], resource);"#;
        assert_eq!(told(&[reading], TOOL), "denied: no policy permits it");
        let this = r#"forbid(principal, action in [Action::"call_tool", Action::"get_prompt"], resource == Tool::"demo/tool");"#;
        assert_eq!(told(&[PERMIT, this], TOOL), "denied: a policy forbids it");
        let of_a_group =
            r#"permit(principal in Group::"staff", action, resource) when { principal in Group::"other" };"#;
        assert_eq!(told(&[of_a_group], TOOL), "denied: no policy permits it");
        let elsewhere = r#"permit(principal, action, resource in Server::"other") when { context.arguments.hasTag("a") };"#;
        assert_eq!(told(&[elsewhere], TOOL), "denied: no policy permits it");
        let never = r#"permit(principal, action, resource) when { context.arguments.hasTag("a") && resource.name == "other" };"#;
        assert_snapshot!(told(&[never], TOOL), @r#"listed; permit(principal, action, resource) when { context.arguments.hasTag("a") && false };"#);
    }

    #[test]
    fn what_depends_on_the_arguments_is_listed_with_the_conditions_that_remain() {
        let org = r#"permit(principal is User, action == Action::"call_tool", resource in Server::"demo") when { principal.role == "user" && context.arguments.hasTag("org") && context.arguments.getTag("org") like "acme-*" };"#;
        assert_snapshot!(told(&[org], TOOL), @r#"listed; permit(principal, action, resource) when { context.arguments.hasTag("org") && (context.arguments.getTag("org") like "acme-*") };"#);
        let limit = r#"forbid(principal, action, resource) when { context.integers.hasTag("limit") && context.integers.getTag("limit") > 10 };"#;
        assert_snapshot!(told(&[PERMIT, limit], TOOL), @r#"listed; forbid(principal, action, resource) when { context.integers.hasTag("limit") && (!(context.integers.getTag("limit") <= 10)) };"#);
        assert_snapshot!(told(&[org, limit], TOOL), @r#"
        listed; permit(principal, action, resource) when { context.arguments.hasTag("org") && (context.arguments.getTag("org") like "acme-*") };
        forbid(principal, action, resource) when { context.integers.hasTag("limit") && (!(context.integers.getTag("limit") <= 10)) };
        "#);
        assert_eq!(told(&[limit], TOOL), "denied: no policy permits it");
        assert_eq!(told(&[PERMIT, limit], Operation::GetPrompt("prompt")), told(&[PERMIT, limit], TOOL));
    }

    #[test]
    fn a_policy_that_fails_whatever_the_arguments_hides_the_tool() {
        let failing = r#"permit(principal is User, action, resource) when { principal.email == "x" && context.arguments.hasTag("a") };"#;
        assert_eq!(told(&[PERMIT, failing], TOOL), "denied: a policy could not be evaluated");
    }

    #[test]
    fn both_the_agent_and_its_user_must_be_able_to() {
        let (server, user, agent) = (server(), user(), agent("bot"));
        let facts = CallFacts {
            server: &server,
            operation: TOOL,
            arguments: None,
            source_ip: None,
            client_name: None,
        };
        let agents =
            r#"permit(principal is Agent, action, resource) when { context.arguments.hasTag("a") };"#;
        let users = r#"permit(principal is User, action, resource) when { context.arguments.hasTag("b") };"#;
        let could = |policies: &[&str]| {
            compiled(policies).could_permit(Principals::AgentFor(&agent, &user), &facts).unwrap()
        };
        assert!(could(&[agents, users]));
        assert!(!could(&[agents]));
        assert!(!could(&[users]));
    }

    #[test]
    fn a_template_is_listed_if_one_of_its_resources_could_be_read() {
        let (server, user) = (server(), user());
        let listed = |policies: &[&str]| {
            let operation = Operation::ReadAnyOf("file:///{area}/{name}.txt");
            let facts =
                CallFacts { server: &server, operation, arguments: None, source_ip: None, client_name: None };
            compiled(policies).could_permit(Principals::User(&user), &facts).unwrap()
        };
        let named_like = |pattern: &str| {
            format!(r#"permit(principal, action, resource) when {{ resource.name like "{pattern}" }};"#)
        };
        assert!(listed(&[PERMIT]));
        assert!(!listed(&[]));
        assert!(listed(&[&named_like("file:///public/*")]));
        assert!(listed(&[&named_like("file:///public/*.txt")]));
        assert!(!listed(&[&named_like("mail:*")]));
        assert!(listed(&[r#"permit(principal, action, resource == Resource::"demo/file:///a/b.txt");"#]));
        assert!(listed(&[
            r#"permit(principal, action, resource) when { resource.name == "file:///a/b.txt" };"#
        ]));
        assert!(listed(&[
            PERMIT,
            r#"forbid(principal, action, resource == Resource::"demo/file:///a/b.txt");"#
        ]));
        for other in ["demo/file:///a/b.md", "demo/file:/a/b.txt", "other/file:///a/b.txt", "demo/mail:1"] {
            let other = format!(r#"permit(principal, action, resource == Resource::"{other}");"#);
            assert!(!listed(&[&other]), "{other}");
        }
        assert!(!listed(&[r#"permit(principal, action, resource in Server::"other");"#]));
    }
}
