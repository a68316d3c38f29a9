//! Compiled policies, and deciding with them.

use std::{collections::HashSet, net::IpAddr, str::FromStr, sync::LazyLock};

use cedar_policy::{
    Authorizer, Context, Decision as CedarDecision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, RestrictedExpression, Schema, ValidationMode, Validator,
};
use miette::Diagnostic;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    MAX_POLICY_LENGTH, Policy,
    spellings::{Names as ArgumentNames, Spellings},
};
use crate::{
    agents::AgentAccount,
    arguments::Arguments,
    error::{Error, Result},
    ids::{PolicyId, UserId},
    servers::Server,
    users::{Role, User},
};

const SCHEMA_TEXT: &str = include_str!("schema.cedarschema");

/// What policies are checked against when they are saved. No decision needs it, and to parse it is several times
/// the work of a function's first decision.
static SCHEMA: LazyLock<Result<Schema, String>> = LazyLock::new(|| {
    Schema::from_cedarschema_str(SCHEMA_TEXT).map(|(schema, _)| schema).map_err(|error| error.to_string())
});

/// The names that every decision needs, parsed once. Like the schema they are constants of ours: that they
/// parse is tested, and a build in which they do not refuses every call.
struct Names {
    group: EntityTypeName,
    agent: EntityTypeName,
    user: EntityTypeName,
    server: EntityTypeName,
    tool: EntityTypeName,
    resource: EntityTypeName,
    prompt: EntityTypeName,
    method: EntityTypeName,
    call_tool: EntityUid,
    read_resource: EntityUid,
    get_prompt: EntityUid,
    send_request: EntityUid,
    arguments: EntityUid,
    integers: EntityUid,
}

static NAMES: LazyLock<Result<Names, String>> = LazyLock::new(|| {
    let name = |text| EntityTypeName::from_str(text).map_err(|error| error.to_string());
    let uid = |text| EntityUid::from_str(text).map_err(|error: cedar_policy::ParseErrors| error.to_string());
    Ok(Names {
        group: name("Group")?,
        agent: name("Agent")?,
        user: name("User")?,
        server: name("Server")?,
        tool: name("Tool")?,
        resource: name("Resource")?,
        prompt: name("Prompt")?,
        method: name("Method")?,
        call_tool: uid(r#"Action::"call_tool""#)?,
        read_resource: uid(r#"Action::"read_resource""#)?,
        get_prompt: uid(r#"Action::"get_prompt""#)?,
        send_request: uid(r#"Action::"send_request""#)?,
        arguments: uid(r#"Arguments::"call""#)?,
        integers: uid(r#"Integers::"call""#)?,
    })
});

fn names() -> Result<&'static Names> {
    NAMES.as_ref().map_err(Error::internal)
}

fn named(type_name: &EntityTypeName, id: impl AsRef<str>) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}

/// Has Cedar make what it makes once, which is most of the work of a process's first decision. Should it fail, that
/// decision will say so.
pub fn prepare() {
    let _ = parse(PolicyId(uuid::Uuid::nil()), "permit(principal, action, resource);");
    let _ = names().and_then(|names| {
        let server = named(&names.server, "");
        Entity::new(server, [("name".to_owned(), text(""))].into(), HashSet::new()).map_err(Error::internal)
    });
}

/// Checks a policy's text: one policy, no template, valid against the schema, its arguments named.
pub(super) fn validate(id: PolicyId, text: &str) -> Result<()> {
    if text.len() > MAX_POLICY_LENGTH {
        return Err(Error::invalid(format!("text: longer than {MAX_POLICY_LENGTH} bytes")));
    }
    let policy = parse(id, text)?;
    let mut set = PolicySet::new();
    set.add(policy.clone()).map_err(Error::internal)?;
    let schema = SCHEMA.as_ref().map_err(Error::internal)?.clone();
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    // The first in the text: the validator gives them in an order that differs from run to run.
    match result.validation_errors().min_by_key(|error| (offset(*error), error.to_string())) {
        None if ArgumentNames::of(&policy)?.any_computed => Err(Error::invalid(
            "text: hasTag and getTag take the name of an argument in quotes, and no expression in its place",
        )),
        None => Ok(()),
        Some(error) => Err(Error::invalid(format!("text: {}{error}", place(text, error)))),
    }
}

fn parse(id: PolicyId, text: &str) -> Result<cedar_policy::Policy> {
    let id = cedar_policy::PolicyId::new(id.to_string());
    cedar_policy::Policy::parse(Some(id), text).map_err(|errors| {
        let error = errors.iter().next();
        match error {
            Some(error) => {
                let help = error.help().map(|help| format!(" ({help})")).unwrap_or_default();
                Error::invalid(format!("text: {}{error}{help}", place(text, error)))
            }
            None => Error::invalid("text: not a Cedar policy"),
        }
    })
}

/// Where an error is in its text, in bytes.
fn offset(error: &dyn Diagnostic) -> Option<usize> {
    error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset())
}

/// `line L, column C: ` of an error, both counted from 1.
fn place(text: &str, error: &dyn Diagnostic) -> String {
    let Some(offset) = offset(error) else { return String::new() };
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: ")
}

/// All policies of one version.
#[derive(Debug)]
pub struct Compiled {
    pub version: u64,
    set: PolicySet,
    /// Of the arguments that they speak of.
    spellings: Spellings,
}

/// What somebody wants to do at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed<'a> {
    /// By the tool's name.
    CallTool(&'a str),
    /// By the resource's URI.
    ReadResource(&'a str),
    /// By the prompt's name.
    GetPrompt(&'a str),
    /// By the JSON-RPC method.
    SendRequest(&'a str),
}

impl Deed<'_> {
    /// What it is done to.
    pub fn name(&self) -> &str {
        match self {
            Self::CallTool(name)
            | Self::ReadResource(name)
            | Self::GetPrompt(name)
            | Self::SendRequest(name) => name,
        }
    }

    fn action_and_kind(self, names: &Names) -> (&EntityUid, &EntityTypeName) {
        match self {
            Self::CallTool(_) => (&names.call_tool, &names.tool),
            Self::ReadResource(_) => (&names.read_resource, &names.resource),
            Self::GetPrompt(_) => (&names.get_prompt, &names.prompt),
            Self::SendRequest(_) => (&names.send_request, &names.method),
        }
    }
}

/// What a decision is about.
#[derive(Clone, Debug)]
pub struct CallFacts<'a> {
    pub server: &'a Server,
    pub deed: Deed<'a>,
    /// The arguments as they came; `None` for a tool that is only being listed.
    pub arguments: Option<&'a RawValue>,
    pub source_ip: Option<IpAddr>,
    pub client_name: Option<&'a str>,
}

/// Who must be permitted: an agent account alone, an agent account and its user each on their own, or a
/// user alone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Principals<'a> {
    Agent(&'a AgentAccount),
    AgentFor(&'a AgentAccount, &'a User),
    User(&'a User),
}

#[derive(Clone, Debug)]
pub enum Decision {
    /// All principals are permitted; by these policies.
    Permitted(Vec<PolicyId>),
    Denied(Denial),
}

/// Why a call is denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// For whom: the first principal that may not.
    pub denied_for: DeniedFor,
    /// The policies that forbid it; empty if none permits it.
    pub policies: Vec<PolicyId>,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeniedFor {
    Agent,
    User,
}

impl Compiled {
    pub fn new(version: u64, policies: &[Policy]) -> Result<Self> {
        let mut set = PolicySet::new();
        let mut names = Vec::new();
        for policy in policies {
            let policy = parse(policy.id, &policy.text)?;
            names.extend(ArgumentNames::of(&policy)?.literal);
            set.add(policy).map_err(Error::internal)?;
        }
        Ok(Self { version, set, spellings: Spellings::of_all(names) })
    }

    /// Whether all principals may make the call. Each is judged on its own; the result is the intersection.
    ///
    /// Where arguments are called as policies call them but for their case, only the server knows whether it
    /// takes them for those. So both readings are judged, and both must be permitted.
    pub(crate) fn decide(&self, principals: Principals<'_>, facts: &CallFacts<'_>) -> Result<Decision> {
        let arguments = facts.arguments.map(Arguments::read).transpose()?.unwrap_or_default();
        let permitted = match self.decide_on(principals, facts, &arguments)? {
            Decision::Permitted(permitted) => permitted,
            denied @ Decision::Denied(_) => return Ok(denied),
        };
        let Some(respelled) = arguments.respelled(&self.spellings) else {
            return Ok(Decision::Permitted(permitted));
        };
        Ok(match self.decide_on(principals, facts, &respelled)? {
            Decision::Permitted(again) => Decision::Permitted(merged(permitted, again)),
            Decision::Denied(Denial { denied_for, policies, reason }) => {
                let reason = format!("{reason}, if the server ignores the case of the arguments' names");
                Decision::Denied(Denial { denied_for, policies, reason })
            }
        })
    }

    fn decide_on(
        &self,
        principals: Principals<'_>,
        facts: &CallFacts<'_>,
        arguments: &Arguments,
    ) -> Result<Decision> {
        let mut permitting = Vec::new();
        let (agent, user) = match principals {
            Principals::Agent(agent) => (Some(agent), None),
            Principals::AgentFor(agent, user) => (Some(agent), Some(user)),
            Principals::User(user) => (None, Some(user)),
        };
        if let Some(agent) = agent {
            match self.decide_one(DeniedFor::Agent, agent_entity(agent)?, user, facts, arguments)? {
                Decision::Permitted(policies) => permitting = policies,
                denied @ Decision::Denied(_) => return Ok(denied),
            }
        }
        if let Some(user) = user {
            match self.decide_one(DeniedFor::User, user_entity(user)?, None, facts, arguments)? {
                Decision::Permitted(policies) => permitting = merged(permitting, policies),
                denied @ Decision::Denied(_) => return Ok(denied),
            }
        }
        Ok(Decision::Permitted(permitting))
    }

    fn decide_one(
        &self,
        who: DeniedFor,
        principal: Entity,
        on_behalf_of: Option<&User>,
        facts: &CallFacts<'_>,
        arguments: &Arguments,
    ) -> Result<Decision> {
        let names = names()?;
        let (action, kind) = facts.deed.action_and_kind(names);
        let resource = named(kind, format!("{}/{}", facts.server.id, facts.deed.name()));
        let context = context(facts, on_behalf_of.map(|user| user.id))?;
        let request =
            cedar_policy::Request::new(principal.uid(), action.clone(), resource.clone(), context, None)
                .map_err(Error::internal)?;
        let on_behalf_of = on_behalf_of.map(user_entity).transpose()?;
        let entities = entities([Some(principal), on_behalf_of], resource, facts, arguments)?;
        let response = Authorizer::new().is_authorized(&request, &self.set, &entities);
        let ids = response.diagnostics().reason().filter_map(|id| AsRef::<str>::as_ref(id).parse().ok());
        let mut policies: Vec<PolicyId> = ids.collect();
        policies.sort_unstable();
        // Cedar leaves a policy that fails to evaluate out. If that one forbids, leaving it out would permit.
        if let Some(error) = response.diagnostics().errors().next() {
            let reason = format!("a policy could not be evaluated: {error}");
            return Ok(Decision::Denied(Denial { denied_for: who, policies: Vec::new(), reason }));
        }
        Ok(match response.decision() {
            CedarDecision::Allow => Decision::Permitted(policies),
            CedarDecision::Deny => {
                let reason = if policies.is_empty() { "no policy permits it" } else { "a policy forbids it" };
                Decision::Denied(Denial { denied_for: who, policies, reason: reason.to_owned() })
            }
        })
    }
}

/// What permits, by one judgement and another.
fn merged(mut policies: Vec<PolicyId>, others: Vec<PolicyId>) -> Vec<PolicyId> {
    policies.extend(others);
    policies.sort_unstable();
    policies.dedup();
    policies
}

fn context(facts: &CallFacts<'_>, on_behalf_of: Option<UserId>) -> Result<Context> {
    let names = names()?;
    let mut pairs = vec![
        ("arguments".to_owned(), RestrictedExpression::new_entity_uid(names.arguments.clone())),
        ("integers".to_owned(), RestrictedExpression::new_entity_uid(names.integers.clone())),
    ];
    if let Some(ip) = facts.source_ip {
        pairs.push(("source_ip".to_owned(), RestrictedExpression::new_ip(ip.to_string())));
    }
    if let Some(name) = facts.client_name {
        pairs.push(("client_name".to_owned(), RestrictedExpression::new_string(name.to_owned())));
    }
    if let Some(user) = on_behalf_of {
        let user = RestrictedExpression::new_entity_uid(named(&names.user, user.to_string()));
        pairs.push(("on_behalf_of".to_owned(), user));
    }
    Context::from_pairs(pairs).map_err(Error::internal)
}

fn groups(groups: &[String]) -> Result<HashSet<EntityUid>> {
    let names = names()?;
    Ok(groups.iter().map(|group| named(&names.group, group)).collect())
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn agent_entity(agent: &AgentAccount) -> Result<Entity> {
    let names = names()?;
    let owner = text(&agent.owner_user_id.to_string());
    let attributes = [("name".to_owned(), text(&agent.name)), ("owner_id".to_owned(), owner)];
    let id = named(&names.agent, agent.id.to_string());
    Entity::new(id, attributes.into(), groups(&agent.groups)?).map_err(Error::internal)
}

fn user_entity(user: &User) -> Result<Entity> {
    let role = match user.role {
        Role::Admin => "admin",
        Role::User => "user",
    };
    let mut attributes = std::collections::HashMap::from([("role".to_owned(), text(role))]);
    if let Some(email) = &user.email {
        attributes.insert("email".to_owned(), text(email.as_str()));
    }
    let id = named(&names()?.user, user.id.to_string());
    Entity::new(id, attributes, groups(&user.groups)?).map_err(Error::internal)
}

fn entities(
    people: [Option<Entity>; 2],
    resource: EntityUid,
    facts: &CallFacts<'_>,
    arguments: &Arguments,
) -> Result<Entities> {
    let names = names()?;
    let server = named(&names.server, facts.server.id.as_str());
    let named_as = |name: &str| [("name".to_owned(), text(name))].into();
    let resource = Entity::new(resource, named_as(facts.deed.name()), HashSet::from([server.clone()]))
        .map_err(Error::internal)?;
    let server =
        Entity::new(server, named_as(&facts.server.name), HashSet::new()).map_err(Error::internal)?;
    let texts = arguments.texts().map(|(name, value)| (name.to_owned(), text(value)));
    let texts = Entity::new_with_tags(names.arguments.clone(), [], [], texts).map_err(Error::internal)?;
    let integers =
        arguments.integers().map(|(name, value)| (name.to_owned(), RestrictedExpression::new_long(value)));
    let integers =
        Entity::new_with_tags(names.integers.clone(), [], [], integers).map_err(Error::internal)?;
    let people = people.into_iter().flatten();
    Entities::from_entities(people.chain([resource, server, texts, integers]), None).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        validate(PolicyId(uuid::Uuid::nil()), text).unwrap_err().to_string()
    }

    #[test]
    fn policies_that_use_the_whole_schema_are_valid() {
        for text in [
            r"permit(principal, action, resource);",
            r#"permit(principal in Group::"bots", action == Action::"call_tool", resource in Server::"demo");"#,
            r#"forbid(principal is User, action, resource == Tool::"demo/delete_repo")
               unless { principal.role == "admin" };"#,
            r#"permit(principal is Agent, action, resource) when {
                 context.arguments.hasTag("org") && context.arguments.getTag("org") like "acme-*" &&
                 context.integers.hasTag("limit") && context.integers.getTag("limit") <= 100 &&
                 context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/8")) &&
                 context has on_behalf_of && context.on_behalf_of.role == "user" && context.on_behalf_of in Group::"staff"
               };"#,
        ] {
            validate(PolicyId(uuid::Uuid::nil()), text).unwrap();
        }
    }

    #[test]
    fn an_invalid_policy_is_refused_with_line_and_column() {
        insta::assert_snapshot!(refusal("permit(principal, action,\n  resorce);"), @"text: line 2, column 3: found an invalid variable in the policy scope: resorce (policy scopes must contain a `principal`, `action`, and `resource` element in that order)");
        insta::assert_snapshot!(refusal("permit(principal, action, resource)\n  when { principal.colour == 1 };"), @"text: line 2, column 10: for policy `00000000-0000-0000-0000-000000000000`, attribute `colour` on entity type `Agent` not found");
        insta::assert_snapshot!(refusal("permit(principal, action, resource);\nforbid(principal, action, resource);"), @"text: line 2, column 1: unexpected token `forbid`");
        insta::assert_snapshot!(refusal("permit(principal == ?principal, action, resource);"), @"text: line 1, column 21: expected a static policy, got a template containing the slot ?principal (try removing the template slot(s) from this policy)");
        insta::assert_snapshot!(refusal("permit(principal, action, resource)\n  when { context.arguments.hasTag(resource.name) };"), @"text: hasTag and getTag take the name of an argument in quotes, and no expression in its place");
        insta::assert_snapshot!(refusal(r#"permit(principal, action == Action::"call_tool", resource) when { context.integers.hasTag(if principal is User then "a" else "b") };"#), @"text: hasTag and getTag take the name of an argument in quotes, and no expression in its place");
        insta::assert_snapshot!(refusal(""), @"text: line 1, column 1: unexpected end of input");
    }
}
