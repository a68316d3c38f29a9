//! Compiled policies, and deciding with them.

use std::{
    collections::HashSet,
    net::IpAddr,
    str::FromStr,
    sync::{Arc, LazyLock},
};

use cedar_policy::{
    AuthorizationError, Authorizer, CedarSchemaError, Context, Decision as CedarDecision, Entities, Entity,
    EntityId, EntityTypeName, EntityUid, ParseErrors, PolicySet, RestrictedExpression, Schema,
    ValidationMode, Validator, authorization_errors::PolicyEvaluationError,
};
use deputize_api::reason::Reason;
use miette::Diagnostic;
use serde_json::value::RawValue;

use super::{
    MAX_POLICY_LENGTH, Mode, Policy,
    logged::Logged,
    reads::{GuardedPolicy, Objection, Reads, TagSource},
};
use crate::{
    denial::{Denial, DeniedFor},
    entities::agent_account::AgentAccount,
    entities::server::Server,
    entities::user::User,
    error::{Error, Result, Told},
    ids::PolicyId,
    policies::arguments::{Arguments, Reading, Tags, Unreadable},
};

const SCHEMA_TEXT: &str = include_str!("schema.cedarschema");

/// What policies are checked against when they are saved. No decision needs it, and to parse it is several times
/// the work of a function's first decision.
static SCHEMA: LazyLock<Result<Schema, Arc<CedarSchemaError>>> =
    LazyLock::new(|| Schema::from_cedarschema_str(SCHEMA_TEXT).map(|(schema, _)| schema).map_err(Arc::new));

/// The names that every decision needs, parsed once. They are constants, like the schema. A test checks that
/// they parse; if they did not, every call would be refused.
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

static NAMES: LazyLock<Result<Names, Arc<ParseErrors>>> = LazyLock::new(|| {
    let name = |text| EntityTypeName::from_str(text).map_err(Arc::new);
    let uid = |text| EntityUid::from_str(text).map_err(Arc::new);
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
    NAMES.as_ref().map_err(|error| Error::internal(Arc::clone(error)))
}

fn named(type_name: &EntityTypeName, id: impl AsRef<str>) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}

/// Makes Cedar do its one-time work now. That is most of the work of a process's first decision. If this
/// fails, that decision reports it.
pub fn prepare() {
    let _ = parse(PolicyId(uuid::Uuid::nil()), "permit(principal, action, resource);");
    let _ = names().and_then(|names| {
        let server = named(&names.server, "");
        Entity::new(server, [("name".to_owned(), text(""))].into(), HashSet::new()).map_err(Error::internal)
    });
}

/// Checks a policy's text: one policy, not a template, valid against the schema, with the names of arguments
/// in quotes.
pub(crate) fn validate(id: PolicyId, text: &str) -> Result<()> {
    if text.len() > MAX_POLICY_LENGTH {
        return Err(Error::Invalid(Told::of(
            Reason::PolicyInvalid,
            format!("text: longer than {MAX_POLICY_LENGTH} bytes"),
        )));
    }
    let policy = parse(id, text)?;
    let refused = |objection: Objection| {
        Err(Error::Invalid(Told::of(Reason::PolicyInvalid, format!("text: {}", objection.why()))))
    };
    let objection = GuardedPolicy::of(policy.clone())?.objection;
    // Otherwise the error would say that the attribute does not exist, and not why.
    if let Some(objection @ Objection::AgentName) = objection {
        return refused(objection);
    }
    let mut set = PolicySet::new();
    set.add(policy).map_err(Error::internal)?;
    let schema = SCHEMA.as_ref().map_err(|error| Error::internal(Arc::clone(error)))?.clone();
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    // The first error in the text: the validator's own order differs from run to run.
    match result.validation_errors().min_by_key(|error| (offset(*error), error.to_string())) {
        None => objection.map_or(Ok(()), refused),
        Some(error) => {
            let told = Told::of(Reason::PolicyInvalid, format!("text: {}{error}", place(text, error)));
            Err(Error::Invalid(told.because(error.clone())))
        }
    }
}

pub(super) fn parse(id: PolicyId, text: &str) -> Result<cedar_policy::Policy> {
    let id = cedar_policy::PolicyId::new(id.to_string());
    cedar_policy::Policy::parse(Some(id), text).map_err(|errors| {
        let told = errors.iter().next().map(|error| {
            let help = error.help().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("text: {}{error}{help}", place(text, error))
        });
        let told =
            Told::of(Reason::PolicyInvalid, told.unwrap_or_else(|| "text: not a Cedar policy".to_owned()));
        Error::Invalid(told.because(errors))
    })
}

/// The byte offset of an error in its text.
fn offset(error: &dyn Diagnostic) -> Option<usize> {
    error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset())
}

/// `line L, column C: ` for an error, both counted from 1.
fn place(text: &str, error: &dyn Diagnostic) -> String {
    let Some(offset) = offset(error) else { return String::new() };
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: ")
}

/// All policies of one version.
#[derive(Clone, Debug)]
pub struct CompiledPolicies {
    pub version: u64,
    pub(super) set: PolicySet,
    /// The arguments that they read.
    pub(super) reads: Reads,
    /// Texts in them that may be resources' URIs.
    pub(super) examples: Vec<String>,
    /// The same with the policies in mode `log`, if there are any.
    pub(super) logged: Option<Box<Logged>>,
}

/// What a caller wants to do at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// By the tool's name.
    CallTool(&'a str),
    /// By the resource's URI.
    ReadResource(&'a str),
    /// By the prompt's name.
    GetPrompt(&'a str),
    /// By the JSON-RPC method.
    SendRequest(&'a str),
    /// Any resource of a URI template (RFC 6570). Only a list asks about it.
    ReadAnyOf(&'a str),
}

impl Operation<'_> {
    /// The name of its object.
    pub fn name(&self) -> &str {
        match self {
            Self::CallTool(name)
            | Self::ReadResource(name)
            | Self::GetPrompt(name)
            | Self::SendRequest(name)
            | Self::ReadAnyOf(name) => name,
        }
    }

    fn action_and_kind(self, names: &Names) -> (&EntityUid, &EntityTypeName) {
        match self {
            Self::CallTool(_) => (&names.call_tool, &names.tool),
            Self::ReadResource(_) | Self::ReadAnyOf(_) => (&names.read_resource, &names.resource),
            Self::GetPrompt(_) => (&names.get_prompt, &names.prompt),
            Self::SendRequest(_) => (&names.send_request, &names.method),
        }
    }
}

/// What a decision is about.
#[derive(Clone, Debug)]
pub struct CallFacts<'a> {
    pub server: &'a Server,
    pub operation: Operation<'a>,
    /// The arguments as they came; `None` if there are none.
    pub arguments: Option<&'a RawValue>,
    pub source_ip: Option<IpAddr>,
    pub client_name: Option<&'a str>,
}

/// Who must be permitted: an agent account alone, an agent account and its user, each separately, or a user
/// alone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Principals<'a> {
    Agent(&'a AgentAccount),
    AgentFor(&'a AgentAccount, &'a User),
    User(&'a User),
    /// Of an agent account that acts for a user, the agent account alone: half of a decision.
    AgentSide(&'a AgentAccount, &'a User),
}

/// A principal that is judged by itself.
pub(super) struct Side<'a> {
    pub(super) of: DeniedFor,
    pub(super) principal: Entity,
    pub(super) on_behalf_of: Option<&'a User>,
}

impl<'a> Principals<'a> {
    /// All that are judged, in this order.
    pub(super) fn sides(self) -> Result<Vec<Side<'a>>> {
        let agent = |agent: &AgentAccount, on_behalf_of| {
            agent_entity(agent).map(|principal| Side { of: DeniedFor::Agent, principal, on_behalf_of })
        };
        let user = |user: &User| {
            user_entity(user).map(|principal| Side { of: DeniedFor::User, principal, on_behalf_of: None })
        };
        Ok(match self {
            Self::Agent(account) => vec![agent(account, None)?],
            Self::AgentSide(account, person) => vec![agent(account, Some(person))?],
            Self::AgentFor(account, person) => vec![agent(account, Some(person))?, user(person)?],
            Self::User(person) => vec![user(person)?],
        })
    }
}

#[derive(Clone, Debug)]
pub enum Decision {
    /// All principals are permitted, by these policies.
    Permitted(Vec<PolicyId>),
    Denied(Denial),
}

impl CompiledPolicies {
    pub fn new(version: u64, policies: &[Policy]) -> Result<Self> {
        let (set, reads) = (PolicySet::new(), Reads::default());
        let mut compiled = Self { version, set, reads, examples: Vec::new(), logged: None };
        for policy in policies.iter().filter(|policy| policy.mode == Mode::Enforce) {
            compiled.add(policy)?;
        }
        let mut logged = policies.iter().filter(|policy| policy.mode == Mode::Log).peekable();
        Ok(if logged.peek().is_some() { compiled.logging(logged) } else { compiled })
    }

    pub(super) fn add(&mut self, Policy { id, text, .. }: &Policy) -> Result<()> {
        let guarded = GuardedPolicy::of(parse(*id, text)?)?;
        if let Some(objection) = guarded.objection {
            // It was saved under older rules. Its conditions on names still hold; everything else in it denies.
            let why = objection.why();
            tracing::warn!(policy = %id, why, "a policy could not be saved like this any more: write it anew");
        }
        self.set.add(guarded.policy).map_err(Error::internal)?;
        guarded.reads.iter().for_each(|tag| self.reads.add(tag));
        self.examples.extend(guarded.examples);
        Ok(())
    }

    /// Of the policies in force, those with these ids. What arguments are read stays the same, as does how they are.
    pub(crate) fn only(&self, ids: &HashSet<PolicyId>) -> Result<Self> {
        let mut set = PolicySet::new();
        for policy in self.set.policies() {
            if AsRef::<str>::as_ref(policy.id()).parse().is_ok_and(|id| ids.contains(&id)) {
                set.add(policy.clone()).map_err(Error::internal)?;
            }
        }
        let (version, reads, examples) = (self.version, self.reads.clone(), self.examples.clone());
        Ok(Self { version, set, reads, examples, logged: None })
    }

    /// Whether all principals may make the call. Each is judged separately, and all must be permitted.
    ///
    /// An argument's name may differ in case from a policy's, and a number may be one that some readers
    /// round. Only the server knows how it reads them. So each reading is judged, and all must be permitted.
    pub(crate) fn decide(&self, principals: Principals<'_>, facts: &CallFacts<'_>) -> Result<Decision> {
        let arguments = match facts.arguments {
            Some(raw) => Arguments::read(raw, &self.reads)?,
            None => Arguments::default(),
        };
        let mut permitting = Vec::new();
        for reading in Reading::ALL {
            let Some(tags) = arguments.tags(reading) else { continue };
            match self.decide_on(principals, facts, &tags)? {
                Decision::Permitted(policies) => permitting = merged(permitting, policies),
                Decision::Denied(Denial { denied_for, policies, reason }) => {
                    let reason = reason + reading.caveat();
                    return Ok(Decision::Denied(Denial { denied_for, policies, reason }));
                }
            }
        }
        Ok(Decision::Permitted(permitting))
    }

    fn decide_on(
        &self,
        principals: Principals<'_>,
        facts: &CallFacts<'_>,
        tags: &Tags<'_>,
    ) -> Result<Decision> {
        let mut permitting = Vec::new();
        for Side { of, principal, on_behalf_of } in principals.sides()? {
            match self.decide_one(of, principal, on_behalf_of, facts, tags)? {
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
        tags: &Tags<'_>,
    ) -> Result<Decision> {
        let (request, entities) = question(principal, on_behalf_of, facts, Some(tags))?;
        let response = Authorizer::new().is_authorized(&request, &self.set, &entities);
        let policies = ids(response.diagnostics().reason());
        // Cedar skips a policy whose evaluation fails. If that policy forbids, skipping it would permit.
        let failed = response.diagnostics().errors();
        let failed = failed.map(|AuthorizationError::PolicyEvaluationError(error)| error);
        if let Some(error) = failed.min_by(|one, other| one.policy_id().cmp(other.policy_id())) {
            return Ok(Decision::Denied(refused(who, error, tags)));
        }
        Ok(match response.decision() {
            CedarDecision::Allow => Decision::Permitted(policies),
            CedarDecision::Deny => Decision::Denied(denied(who, policies)),
        })
    }
}

/// The ids of policies, in order.
pub(super) fn ids<'a>(policies: impl Iterator<Item = &'a cedar_policy::PolicyId>) -> Vec<PolicyId> {
    let mut ids: Vec<PolicyId> = policies.filter_map(|id| AsRef::<str>::as_ref(id).parse().ok()).collect();
    ids.sort_unstable();
    ids
}

pub(super) fn denied(who: DeniedFor, policies: Vec<PolicyId>) -> Denial {
    let reason = if policies.is_empty() { "no policy permits it" } else { "a policy forbids it" };
    Denial { denied_for: who, policies, reason: reason.to_owned() }
}

/// What Cedar is asked. Without `tags`, the arguments are unknown.
pub(super) fn question(
    principal: Entity,
    on_behalf_of: Option<&User>,
    facts: &CallFacts<'_>,
    tags: Option<&Tags<'_>>,
) -> Result<(cedar_policy::Request, Entities)> {
    let (action, kind) = facts.operation.action_and_kind(names()?);
    let resource = named(kind, format!("{}/{}", facts.server.id, facts.operation.name()));
    let for_whom = on_behalf_of.map(|user| -> Result<_> {
        Ok(RestrictedExpression::new_entity_uid(named(&names()?.user, user.id.to_string())))
    });
    let context = context(facts, for_whom.transpose()?)?;
    let request =
        cedar_policy::Request::new(principal.uid(), action.clone(), resource.clone(), context, None)
            .map_err(Error::internal)?;
    let on_behalf_of = on_behalf_of.map(user_entity).transpose()?;
    let entities = entities([Some(principal), on_behalf_of], resource, facts, tags)?;
    Ok((request, entities))
}

/// The denial after a policy's evaluation failed.
fn refused(who: DeniedFor, error: &PolicyEvaluationError, tags: &Tags<'_>) -> Denial {
    let why = error.inner().to_string();
    let (policies, reason) = match tags.unreadable.iter().find(|value| value.is_told_by(&why)) {
        Some(value) => {
            let id = error.policy_id();
            (AsRef::<str>::as_ref(id).parse().into_iter().collect(), format!("the policy {id} {value}"))
        }
        None => (Vec::new(), format!("a policy could not be evaluated: {error}")),
    };
    Denial { denied_for: who, policies, reason }
}

/// The policies that permit, of two judgements.
pub(super) fn merged(mut policies: Vec<PolicyId>, others: Vec<PolicyId>) -> Vec<PolicyId> {
    policies.extend(others);
    policies.sort_unstable();
    policies.dedup();
    policies
}

/// A principal of whom only the kind is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnyOf {
    Users,
    /// Agents by themselves.
    Agents,
    /// Agents on behalf of users, of whom nothing is known either.
    AgentsForUsers,
}

/// What Cedar is asked of any principal of a kind. The arguments are unknown as well.
pub(super) fn question_of_any(
    any: AnyOf,
    facts: &CallFacts<'_>,
) -> Result<(cedar_policy::Request, Entities)> {
    let names = names()?;
    let (action, kind) = facts.operation.action_and_kind(names);
    let resource = named(kind, format!("{}/{}", facts.server.id, facts.operation.name()));
    let principal = if any == AnyOf::Users { &names.user } else { &names.agent };
    let for_whom = (any == AnyOf::AgentsForUsers).then(|| RestrictedExpression::new_unknown("on_behalf_of"));
    let request = cedar_policy::Request::builder()
        .unknown_principal_with_type(principal.clone())
        .action(action.clone())
        .resource(resource.clone())
        .context(context(facts, for_whom)?)
        .build();
    Ok((request, entities([None, None], resource, facts, None)?))
}

fn context(facts: &CallFacts<'_>, on_behalf_of: Option<RestrictedExpression>) -> Result<Context> {
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
        pairs.push(("on_behalf_of".to_owned(), user));
    }
    Context::from_pairs(pairs).map_err(Error::internal)
}

fn groups<'a>(groups: impl IntoIterator<Item = &'a String>) -> Result<HashSet<EntityUid>> {
    let names = names()?;
    Ok(groups.into_iter().map(|group| named(&names.group, group)).collect())
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

pub(super) fn agent_entity(agent: &AgentAccount) -> Result<Entity> {
    let names = names()?;
    let owners = agent.owners();
    let first = agent.owner_user_id().map(|owner| owner.to_string()).unwrap_or_default();
    let set = |texts: &mut dyn Iterator<Item = String>| {
        RestrictedExpression::new_set(texts.map(|one| text(&one)).collect::<Vec<_>>())
    };
    let users = set(&mut owners.iter().filter_map(|owner| owner.user().map(|user| user.to_string())));
    let groups_of = set(&mut owners.iter().filter_map(|owner| owner.group().map(str::to_owned)));
    let attributes = [
        ("name".to_owned(), text(&agent.name)),
        ("owner_id".to_owned(), text(&first)),
        ("owners".to_owned(), users),
        ("owner_groups".to_owned(), groups_of),
    ];
    let id = named(&names.agent, agent.id.to_string());
    Entity::new(id, attributes.into(), groups(&agent.groups)?).map_err(Error::internal)
}

pub(super) fn user_entity(user: &User) -> Result<Entity> {
    let role = user.effective_role().name();
    let mut attributes = std::collections::HashMap::from([("role".to_owned(), text(role))]);
    if let Some(email) = &user.email {
        attributes.insert("email".to_owned(), text(email.as_str()));
    }
    let id = named(&names()?.user, user.id.to_string());
    Entity::new(id, attributes, groups(user.effective_groups())?).map_err(Error::internal)
}

fn entities(
    people: [Option<Entity>; 2],
    resource: EntityUid,
    facts: &CallFacts<'_>,
    tags: Option<&Tags<'_>>,
) -> Result<Entities> {
    let names = names()?;
    let server = named(&names.server, facts.server.id.as_str());
    let named_as = |name: &str| [("name".to_owned(), text(name))].into();
    let resource = Entity::new(resource, named_as(facts.operation.name()), HashSet::from([server.clone()]))
        .map_err(Error::internal)?;
    let server =
        Entity::new(server, named_as(&facts.server.name), HashSet::new()).map_err(Error::internal)?;
    let known = people.into_iter().flatten().chain([resource, server]);
    let Some(tags) = tags else {
        // What is not there is unknown: the arguments. So the action is there, which else would never have to be.
        let (action, _) = facts.operation.action_and_kind(names);
        let known = known.chain([Entity::new_no_attrs(action.clone(), HashSet::new())]);
        return Entities::from_entities(known, None).map(Entities::partial).map_err(Error::internal);
    };
    let texts = tags.texts.iter().map(|(name, value)| ((*name).to_owned(), text(value)));
    let integers = tags.integers.iter();
    let integers = integers.map(|(name, value)| ((*name).to_owned(), RestrictedExpression::new_long(*value)));
    let markers = |wanted: TagSource| {
        let markers = tags.unreadable.iter().flat_map(Unreadable::markers);
        markers
            .filter(move |(of, _)| *of == wanted)
            .map(|(_, marker)| (marker, RestrictedExpression::new_bool(true)))
    };
    let texts =
        Entity::new_with_tags(names.arguments.clone(), [], [], texts.chain(markers(TagSource::Arguments)))
            .map_err(Error::internal)?;
    let integers =
        Entity::new_with_tags(names.integers.clone(), [], [], integers.chain(markers(TagSource::Integers)))
            .map_err(Error::internal)?;
    Entities::from_entities(known.chain([texts, integers]), None).map_err(Error::internal)
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
