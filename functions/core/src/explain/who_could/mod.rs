//! All who could make a call: people by themselves, agents by themselves, and agents on behalf of people.
//!
//! | file | holds |
//! | --- | --- |
//! | `read` | all people, agents and delegations, in parallel, within bounds |
//! | `classes` | those that the policies cannot tell apart, each decided once |
//! | `pages` | a part of the answer |
//!
//! With 20,000 people and their delegations, a decision for each would be too much. The policies that could decide of
//! the tool are found by one partial evaluation for each kind of principal, and with them what they look at
//! ([`crate::policies`], `prune`). Principals that are the same in all of that are one class. A class is decided once, by
//! the function that decides calls.
//!
//! It asks whether somebody is active, what the policies say, and whether a delegation is in force, covers the server
//! and rests on an app's authorization that stands. It does not ask whether there is a connection to the server: see
//! [`super::check()`] of one.
//!
//! Items are read as they are at different moments: who is changed meanwhile is told as before or as after.

mod classes;
mod pages;
mod read;

pub use self::{
    classes::Answer,
    pages::{Group, Member, Page, Section},
};

use std::collections::HashMap;

use self::{
    classes::Numbered,
    pages::{Kind, Row},
    read::{Agents, Delegations, People},
};
use super::{
    as_of::AsOf,
    check::{compiled, server_at},
    target::{CallDetails, Target},
};
use crate::{
    Core,
    caller::{Power, UserCaller},
    clock::Timestamp,
    control::{self, Control},
    entities::server::{Server, ServerAuth},
    error::Result,
    ids::ServerId,
    policies::{CallFacts, CompiledPolicies, Principals, Pruned},
    table::Key,
};

/// The call.
#[derive(Debug)]
pub struct WhoCouldRequest {
    pub server_id: ServerId,
    pub target: Target,
    pub details: CallDetails,
    pub page: Page,
    /// The time at which the call would have been made; now if left out.
    pub at: Option<Timestamp>,
}

#[derive(Debug)]
pub struct WhoCould {
    pub policies_version: u64,
    pub people: Option<Section>,
    pub agents: Option<Section>,
    pub on_behalf_of: Option<Section>,
    /// What the answer does not say.
    pub notes: Vec<String>,
}

/// Who could make the call, now or at a time.
pub async fn who_could(core: &Core, caller: &UserCaller, request: WhoCouldRequest) -> Result<WhoCould> {
    caller.require(Power::Read)?;
    request.target.require_fitting(&request.details)?;
    let (control_key, server_key) = (Control::any_key(core)?, Key::server(&request.server_id));
    let mut found = core.table.read(vec![control_key.clone(), server_key.clone()]).await?;
    let control = found.take::<Control>(&control_key)?.ok_or_else(control::missing)?;
    let as_of = AsOf::of(core, request.at).await?;
    let server = server_at(core, &as_of, &request.server_id, found.take::<Server>(&server_key)?).await?;
    let compiled = compiled(core, control.version_of_policies(), None, &as_of).await?;
    let facts = request.target.facts(&server, &request.details);
    let question = Question { core, target: &request.target, facts, page: &request.page, as_of: &as_of };
    question.answer(&compiled).await
}

struct Question<'a> {
    core: &'a Core,
    target: &'a Target,
    facts: CallFacts<'a>,
    page: &'a Page,
    as_of: &'a AsOf,
}

/// The answers, each once.
type Answers = Numbered<Answer, Answer>;

impl Question<'_> {
    async fn answer(&self, compiled: &CompiledPolicies) -> Result<WhoCould> {
        let (of_users, of_agents) = (compiled.of_users(&self.facts)?, compiled.of_agents(&self.facts)?);
        let (people, agents) = futures::try_join!(
            People::read(self.core, self.as_of, &of_users.looks_at, &of_agents.looks_at),
            Agents::read(self.core, self.as_of, &of_agents.looks_at),
        )?;
        let mut answers = Answers::default();
        let by_person = self.of_each(&of_users, people.classes.all(), Principals::User, &mut answers).await?;
        let by_agent =
            self.of_each(&of_agents, agents.classes.all(), Principals::Agent, &mut answers).await?;
        let rows_of_people: Vec<Row> = (0..)
            .zip(&people.all)
            .filter_map(|(at, person)| {
                Some(Row { agent: None, person: Some(at), answer: by_person.get(person.class).copied()?? })
            })
            .collect();
        let rows_of_agents: Vec<Row> = (0..)
            .zip(&agents.all)
            .filter_map(|(at, agent)| {
                Some(Row { agent: Some(at), person: None, answer: by_agent.get(agent.class).copied()?? })
            })
            .collect();
        let (delegations, rows_of_both) = if self.page.wants(Kind::OnBehalfOf) {
            self.on_behalf(&of_agents, (&people, &agents), &by_person, &mut answers).await?
        } else {
            (Delegations::default(), Vec::new())
        };
        let is_up = self.facts.server.active;
        let section = |kind: Kind, rows: &[Row], of: usize| {
            let rows = if is_up { rows } else { &[] };
            let section = || Section::of((kind, self.page), rows, of, &answers, (&people, &agents));
            self.page.wants(kind).then(section)
        };
        Ok(WhoCould {
            policies_version: compiled.version,
            people: section(Kind::People, &rows_of_people, people.all.len()),
            agents: section(Kind::Agents, &rows_of_agents, agents.all.len()),
            on_behalf_of: section(Kind::OnBehalfOf, &rows_of_both, delegations.all.len()),
            notes: self.notes(&people, &agents, &delegations),
        })
    }

    /// The answer for one of each class.
    async fn of_each<'p, T>(
        &self,
        pruned: &Pruned,
        classes: &'p [T],
        principals: impl Fn(&'p T) -> Principals<'p>,
        answers: &mut Answers,
    ) -> Result<Vec<Option<usize>>> {
        let mut all = Vec::with_capacity(classes.len());
        for one in classes {
            all.push(self.of_one(pruned, principals(one), answers)?);
            tokio::task::yield_now().await;
        }
        Ok(all)
    }

    fn of_one(
        &self,
        pruned: &Pruned,
        principals: Principals<'_>,
        answers: &mut Answers,
    ) -> Result<Option<usize>> {
        let answer = Answer::of(self.target.judge(&pruned.policies, principals, &self.facts)?);
        Ok(answer.map(|answer| answers.number(answer.clone(), || answer)))
    }

    /// Agents on behalf of people: both must be permitted.
    async fn on_behalf(
        &self,
        of_agents: &Pruned,
        (people, agents): (&People, &Agents),
        by_person: &[Option<usize>],
        answers: &mut Answers,
    ) -> Result<(Delegations, Vec<Row>)> {
        let delegators = people.classes_as_delegators.all();
        let mut sides = HashMap::new();
        // If all people are one to the policies of agents, an agent that may not act for one may not for anybody.
        if let [delegator] = delegators {
            for (class, agent) in agents.classes.all().iter().enumerate() {
                let side = Principals::AgentSide(agent, delegator);
                sides.insert((class, 0), self.of_one(of_agents, side, answers)?);
            }
        }
        let may_act =
            |class: usize| delegators.len() != 1 || sides.get(&(class, 0)).copied().flatten().is_some();
        let may_act: Vec<usize> =
            (0..).zip(&agents.all).filter(|(_, agent)| may_act(agent.class)).map(|(at, _)| at).collect();
        let at = (self.as_of, &self.facts.server.id);
        let given = Delegations::read(self.core, at, (agents, may_act), people).await?;
        let (mut rows, mut together) = (Vec::new(), HashMap::new());
        for (agent, person) in given.all.iter().copied() {
            let (Some(an_agent), Some(a_person)) = (agents.all.get(agent), people.all.get(person)) else {
                continue;
            };
            let Some(by_user) = by_person.get(a_person.class).copied().flatten() else { continue };
            let classes = (an_agent.class, a_person.class_as_delegator);
            let side = match sides.get(&classes) {
                Some(side) => *side,
                None => {
                    let one = agents.classes.all().get(classes.0).zip(delegators.get(classes.1));
                    let side = match one {
                        Some((agent, user)) => {
                            self.of_one(of_agents, Principals::AgentSide(agent, user), answers)?
                        }
                        None => None,
                    };
                    sides.insert(classes, side);
                    tokio::task::yield_now().await;
                    side
                }
            };
            let Some(side) = side else { continue };
            let answer = *together.entry((side, by_user)).or_insert_with(|| {
                let both = answers
                    .all()
                    .get(side)
                    .zip(answers.all().get(by_user))
                    .map(|(one, other)| one.and(other));
                both.map(|both| answers.number(both.clone(), || both))
            });
            if let Some(answer) = answer {
                rows.push(Row { agent: Some(agent), person: Some(person), answer });
            }
        }
        Ok((given, rows))
    }

    fn notes(&self, people: &People, agents: &Agents, delegations: &Delegations) -> Vec<String> {
        let mut notes = self.as_of.notes();
        if !self.facts.server.active {
            notes.push("The server is deactivated: it takes no calls".to_owned());
        }
        if self.as_of.is_now && self.facts.server.auth == ServerAuth::OAuth {
            notes.push(
                "The server asks for OAuth. Whether somebody is connected is not looked at: ask policies/check".to_owned(),
            );
        }
        for (erased, what) in [(people.erased, "people"), (agents.erased, "agent accounts")] {
            if erased > 0 {
                notes.push(format!(
                    "It is not known of all: {erased} of the {what} of that time have been erased since"
                ));
            }
        }
        let cut = |what: &str, most: usize| format!("Only {most} {what} were looked at; there are more");
        if people.is_cut {
            notes.push(cut("people", read::MAX_PEOPLE));
        }
        if agents.is_cut {
            notes.push(cut("agent accounts", read::MAX_AGENTS));
        }
        if delegations.is_cut {
            notes.push(cut("delegations", read::MAX_DELEGATIONS));
        }
        notes
    }
}
