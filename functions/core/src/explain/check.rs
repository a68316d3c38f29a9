//! What a call would say, without calling anything: each step that decides about it, in the order of a call.
//!
//! A step after the first that refuses is told as well, so that all that stands in the way is seen at once. The answer is
//! that of the first.
//!
//! | step | asks |
//! | --- | --- |
//! | `caller` | is the agent account active; of a user alone: are they |
//! | `delegation` | for an agent on behalf of a user: is there one in force, is the user active, does the authorization stand of the app that made it |
//! | `server` | is it active, and does the delegation cover it |
//! | `policies` | all that are in force, or a draft |
//! | `credentials` | whose would be used at the server, and could they be |
//!
//! What a credential of the caller's own can say is left out: its audience, its origin, whether it is revoked.
//!
//! Who may read everything may ask about everything. Others may ask about themselves, and about an agent that acts for
//! them: an agent to which they have not delegated is as one that is not there.

use std::sync::Arc;

use deputize_api::reason::Reason;

use super::{
    as_of::AsOf,
    drafts::Draft,
    target::{CallDetails, Target},
};
use crate::{
    Core,
    access::{self, CredentialSource},
    agents::{AgentAccount, owners},
    app_standing,
    audit::LoggedDecision,
    caller::{Power, UserCaller},
    clock::Timestamp,
    control::{self, Control, Version},
    delegations::Delegation,
    entities::server::Server,
    error::{Error, Result, TokenError, Told},
    ids::{AgentAccountId, ServerId, UserId},
    policies::{self, CompiledPolicies, Decision, Possibility, Principals},
    table::{Key, Stored},
    users::User,
};

/// The call to check: by an agent account alone, by a user alone, or by an agent account on behalf of a user.
#[derive(Debug)]
pub struct CheckRequest {
    pub agent_account_id: Option<AgentAccountId>,
    pub user_id: Option<UserId>,
    pub server_id: ServerId,
    pub target: Target,
    pub details: CallDetails,
    /// Policies to judge by in place of those in force.
    pub draft: Option<Draft>,
    /// The time at which the call would have been made; now if left out.
    pub at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepName {
    Caller,
    Delegation,
    Server,
    Policies,
    Credentials,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    Passed,
    Refused(Refusal),
    /// On the arguments.
    Depends,
    /// It was not looked at: the caller may not know, or there is nothing to look at.
    Skipped,
}

/// Why a call would be refused: as the call would say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub name: StepName,
    pub outcome: Outcome,
    /// Whose credentials would be used.
    pub credentials: Option<CredentialSource>,
}

#[derive(Clone, Debug)]
pub enum Verdict {
    /// What the policies say.
    Policies(Possibility),
    /// It would be refused for another reason.
    Refused(Refusal),
}

/// What a call would say, and the version of the policies that decide.
#[derive(Debug)]
pub struct Explanation {
    pub verdict: Verdict,
    pub steps: Vec<Step>,
    /// What those in mode `log` would decide.
    pub logged: Option<LoggedDecision>,
    pub policies_version: u64,
    /// What cannot be known of an earlier time.
    pub notes: Vec<String>,
}

/// All that a call rests on, beside its credential.
struct Basis {
    server: Server,
    agent: Option<AgentAccount>,
    user: Option<User>,
    /// Whether an agent acts for a user.
    on_behalf: bool,
    delegation: Option<Delegation>,
    /// Whether the app's authorization stands that made the delegation.
    stands: bool,
    /// Whether somebody answers for the agent, where the deployment asks for that.
    has_owner: bool,
}

/// Says what a call would say; without arguments, what they would decide.
pub async fn check(core: &Core, caller: &UserCaller, request: CheckRequest) -> Result<Explanation> {
    let sees_all = caller.has(Power::Read);
    if request.user_id != Some(caller.user.id) || request.draft.is_some() || request.at.is_some() {
        caller.require(Power::Read)?;
    }
    request.target.require_fitting(&request.details)?;
    let as_of = AsOf::of(core, request.at).await?;
    let (control, basis) = read(core, &request, sees_all, &as_of).await?;
    let compiled = compiled(core, control.version_of_policies(), request.draft.as_ref(), &as_of).await?;
    let delegation = basis.delegation(as_of.at);
    if let Some(Err(refusal)) = delegation.as_ref().filter(|_| !sees_all) {
        return Ok(nothing_but(refusal.clone(), compiled.version));
    }
    let Basis { server, agent, user, .. } = &basis;
    let principals = match (agent, user) {
        (Some(agent), Some(user)) => Principals::AgentFor(agent, user),
        (Some(agent), None) => Principals::Agent(agent),
        (None, Some(user)) => Principals::User(user),
        (None, None) => return Err(Error::invalid("name an agent_account_id, a user_id, or both")),
    };
    let facts = request.target.facts(server, &request.details);
    let possibility = request.target.judge(&compiled, principals, &facts)?;
    let logged = match &possibility {
        Possibility::Decided(decision) if sees_all => compiled.would_decide(principals, &facts, decision),
        _ => None,
    };
    let credentials = if as_of.is_now {
        let (source, usable) =
            access::foresee_credentials(core, server, agent.as_ref(), user.as_ref()).await?;
        let usable = usable.map_err(|error| Refusal::of(&error));
        Step { credentials: source, ..Step::new(StepName::Credentials, usable) }
    } else {
        Step { name: StepName::Credentials, outcome: Outcome::Skipped, credentials: None }
    };
    let steps = [
        Some(Step::new(StepName::Caller, basis.caller())),
        delegation.map(|stands| Step::new(StepName::Delegation, stands)),
        Some(Step::new(StepName::Server, basis.server())),
        Some(Step { name: StepName::Policies, outcome: Outcome::of(&possibility), credentials: None }),
        Some(credentials),
    ];
    let steps: Vec<Step> = steps.into_iter().flatten().collect();
    let first = steps.iter().find_map(|step| match &step.outcome {
        Outcome::Refused(refusal) => Some((step.name, refusal.clone())),
        _ => None,
    });
    let verdict = match first {
        Some((name, refusal)) if name != StepName::Policies => Verdict::Refused(refusal),
        _ => Verdict::Policies(possibility),
    };
    Ok(Explanation { verdict, steps, logged, policies_version: compiled.version, notes: as_of.notes() })
}

/// The policies of that time, or a draft of them.
pub(super) async fn compiled(
    core: &Core,
    seen: Version,
    draft: Option<&Draft>,
    as_of: &AsOf,
) -> Result<Arc<CompiledPolicies>> {
    if as_of.is_now && draft.is_none() {
        return core.policies_at(seen).await;
    }
    let (version, live) = policies::load(core, seen).await?;
    let (version, were) = as_of.policies(version, live)?;
    let judged = match draft {
        Some(draft) => draft.of(were, core.clock.now())?,
        None => were,
    };
    Ok(Arc::new(CompiledPolicies::new(version, &judged)?))
}

/// Reads everything in one round trip, and in another what a delegation that an app made rests on.
async fn read(core: &Core, request: &CheckRequest, sees_all: bool, as_of: &AsOf) -> Result<(Control, Basis)> {
    let (control_key, server_key) = (Control::any_key(core)?, Key::server(&request.server_id));
    let agent_key = request.agent_account_id.map(Key::agent);
    let user_key = request.user_id.map(Key::user);
    let both = request.agent_account_id.zip(request.user_id);
    let delegation_key = both.map(|(agent, user)| Key::delegation(agent, user));
    let keys = [
        Some(&control_key),
        Some(&server_key),
        agent_key.as_ref(),
        user_key.as_ref(),
        delegation_key.as_ref(),
    ];
    let mut found = core.table.read(keys.into_iter().flatten().cloned().collect()).await?;
    let control = found.take::<Control>(&control_key)?.ok_or_else(control::missing)?.value;
    let server = server_at(core, as_of, &request.server_id, found.take::<Server>(&server_key)?).await?;
    let mut agent = None;
    if let Some((key, id)) = agent_key.as_ref().zip(request.agent_account_id) {
        let there = match found.take::<AgentAccount>(key)? {
            Some(agent) => Some(agent.value),
            None => as_of.deleted_agent(core, id).await?,
        };
        agent = there.map(|agent| as_of.agent(agent)).transpose()?.flatten();
        if agent.is_none() && sees_all {
            return Err(Error::NotFound(AgentAccountId::WHAT));
        }
    }
    let mut user = None;
    if let Some((key, id)) = user_key.as_ref().zip(request.user_id) {
        let there = match found.take::<User>(key)? {
            Some(user) => Some(user.value),
            None => as_of.deleted_user(core, id).await?,
        };
        user = there.map(|user| as_of.user(core, user)).transpose()?.flatten();
        if user.is_none() {
            return Err(Error::NotFound(UserId::WHAT));
        }
    }
    let mut delegation = None;
    if let Some(key) = &delegation_key {
        let stored = found.take::<Delegation>(key)?;
        delegation = stored.map(|delegation| as_of.delegation(delegation.value)).transpose()?.flatten();
    }
    let made_by = delegation.as_ref().and_then(|delegation: &Delegation| delegation.made_by.as_ref());
    let made = request.user_id.map(|user| (user, made_by));
    let stands = !as_of.is_now || app_standing::read(core, made).await?.of(made_by);
    let has_owner = match agent.as_ref().filter(|_| as_of.is_now) {
        Some(agent) => owners::has_active_owner(core, &found, agent).await?,
        None => true,
    };
    Ok((control, Basis { server, agent, user, on_behalf: both.is_some(), delegation, stands, has_owner }))
}

/// The server of that time. It may have been deleted since.
pub(super) async fn server_at(
    core: &Core,
    as_of: &AsOf,
    id: &ServerId,
    now: Option<Stored<Server>>,
) -> Result<Server> {
    let there = match now {
        Some(server) => Some(server.value),
        None => as_of.deleted_server(core, id).await?,
    };
    there.map(|server| as_of.server(server)).transpose()?.flatten().ok_or(Error::NotFound(ServerId::WHAT))
}

/// The answer to who may not know more than this.
fn nothing_but(refusal: Refusal, policies_version: u64) -> Explanation {
    let all =
        [StepName::Caller, StepName::Delegation, StepName::Server, StepName::Policies, StepName::Credentials];
    let outcome = |name| match name {
        StepName::Delegation => Outcome::Refused(refusal.clone()),
        _ => Outcome::Skipped,
    };
    let steps = all.map(|name| Step { name, outcome: outcome(name), credentials: None }).to_vec();
    let notes = Vec::new();
    Explanation { verdict: Verdict::Refused(refusal), steps, logged: None, policies_version, notes }
}

impl Basis {
    fn caller(&self) -> Result<(), Refusal> {
        match (&self.agent, &self.user) {
            (Some(agent), _) if !agent.active => {
                Err(Refusal::new(Reason::TokenRevoked, "The agent account is disabled"))
            }
            (Some(_), _) if !self.has_owner => {
                Err(Refusal::of(&Error::Forbidden(Told::by(Reason::OwnerMissing, TokenError::NoActiveOwner))))
            }
            (None, Some(user)) if !user.active => {
                Err(Refusal::new(Reason::UserInactive, "The user is deactivated"))
            }
            _ => Ok(()),
        }
    }

    /// `None` if nobody acts for anybody.
    fn delegation(&self, at: Timestamp) -> Option<Result<(), Refusal>> {
        let user = self.user.as_ref().filter(|_| self.on_behalf)?;
        let missing = |why: &str| {
            let error = TokenError::NoDelegation;
            Err(Refusal::new(error.reason(), format!("{error}: {why}")))
        };
        Some(match &self.delegation {
            None => missing("the user has not delegated to the agent"),
            Some(delegation) if delegation.revoked_at.is_some() => missing("it was revoked"),
            Some(delegation) if !delegation.is_active(at) => missing("it has expired"),
            Some(_) if !user.active => Err(Refusal::of(&TokenError::DelegatorDeactivated.into())),
            Some(delegation) if !delegation.is_of(user) => {
                missing("it ended when the user was deactivated, and did not come back with them")
            }
            Some(_) if !self.stands => {
                missing("it was made by an app, and has ended with what the user allowed the app")
            }
            Some(_) => Ok(()),
        })
    }

    fn server(&self) -> Result<(), Refusal> {
        if !self.server.active {
            return Err(Refusal::of(&Error::NotFound(ServerId::WHAT)));
        }
        access::require_covered(self.delegation.as_ref(), &self.server).map_err(|error| Refusal::of(&error))
    }
}

impl Refusal {
    fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }

    pub(super) fn of(error: &Error) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}

impl Step {
    fn new(name: StepName, result: Result<(), Refusal>) -> Self {
        let outcome = match result {
            Ok(()) => Outcome::Passed,
            Err(refusal) => Outcome::Refused(refusal),
        };
        Self { name, outcome, credentials: None }
    }
}

impl Outcome {
    fn of(possibility: &Possibility) -> Self {
        match possibility {
            Possibility::Depends(_) => Self::Depends,
            Possibility::Decided(Decision::Permitted(_)) => Self::Passed,
            Possibility::Decided(Decision::Denied(denial)) => {
                let reason = Error::PolicyDenied(denial.clone()).reason();
                Self::Refused(Refusal::new(reason, denial.reason.clone()))
            }
        }
    }
}
