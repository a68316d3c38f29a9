//! A part of the answer. It says of each kind how many there are and by what, and names some of them: the first, or those
//! after a cursor.

use super::{
    classes::{Answer, Numbered},
    read::{Agents, People},
};
use crate::{
    email::Email,
    error::{Error, Result},
    ids::{AgentAccountId, UserId},
    paging::PageRequest,
};

/// How many of each kind are named.
#[derive(Clone, Debug)]
pub struct Page {
    limit: usize,
    after: Option<(Kind, String)>,
}

/// The most that one answer names of a kind.
const MAX_NAMED: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    People,
    Agents,
    OnBehalfOf,
}

impl Kind {
    const ALL: [(Self, &str); 3] =
        [(Self::People, "PEOPLE#"), (Self::Agents, "AGENTS#"), (Self::OnBehalfOf, "ON_BEHALF_OF#")];
}

impl Page {
    /// `limit` is 1 to 1,000, and 100 if left out. With a cursor, only its kind is answered.
    pub fn new(limit: Option<usize>, cursor: Option<&str>) -> Result<Self> {
        let limit = limit.unwrap_or(crate::paging::PAGE_SIZE);
        if !(1..=MAX_NAMED).contains(&limit) {
            return Err(Error::invalid(format!("limit must be from 1 to {MAX_NAMED}")));
        }
        let decoded = PageRequest::new(None, cursor)?;
        let after = decoded.cursor().map(|text| {
            let mut kinds = Kind::ALL.into_iter();
            let found = kinds.find_map(|(kind, name)| Some((kind, text.strip_prefix(name)?.to_owned())));
            found.ok_or_else(|| Error::invalid("cursor is not one of this list"))
        });
        Ok(Self { limit, after: after.transpose()? })
    }

    pub(super) fn wants(&self, kind: Kind) -> bool {
        self.after.as_ref().is_none_or(|(of, _)| *of == kind)
    }
}

/// Those of one kind who could.
#[derive(Debug)]
pub struct Section {
    /// How many could.
    pub count: usize,
    /// How many there are.
    pub of: usize,
    /// By what they could: each answer once, the most frequent first.
    pub groups: Vec<Group>,
    /// The cursor of those who come after the ones that are named.
    pub next: Option<String>,
}

/// Those who could by the same.
#[derive(Debug)]
pub struct Group {
    pub answer: Answer,
    pub count: usize,
    /// Those of them that this page names.
    pub members: Vec<Member>,
}

/// A person, an agent, or an agent on behalf of a person.
#[derive(Clone, Debug)]
pub struct Member {
    pub agent: Option<(AgentAccountId, String)>,
    pub user: Option<(UserId, Option<Email>)>,
}

/// Somebody who could, by the places of the agent and the person, and the number of the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) agent: Option<usize>,
    pub(super) person: Option<usize>,
    pub(super) answer: usize,
}

impl Section {
    /// `rows` are in the order of their ids.
    pub(super) fn of(
        (kind, page): (Kind, &Page),
        rows: &[Row],
        of: usize,
        answers: &Numbered<Answer, Answer>,
        (people, agents): (&People, &Agents),
    ) -> Self {
        let member = |row: &Row| Member {
            agent: row.agent.and_then(|at| agents.all.get(at)).map(|agent| (agent.id, agent.name.clone())),
            user: row
                .person
                .and_then(|at| people.all.get(at))
                .map(|person| (person.id, person.email.clone())),
        };
        let after = page.after.as_ref().map(|(_, after)| after.as_str());
        let rest = after.map_or(0, |after| rows.partition_point(|row| *member(row).key() <= *after));
        let shown = rows.get(rest..).unwrap_or_default();
        let shown = &shown[..shown.len().min(page.limit)];
        let mut groups: Vec<Group> = Vec::new();
        let mut place_of = vec![None; answers.all().len()];
        for row in rows {
            let place = match place_of.get(row.answer).copied().flatten() {
                Some(place) => place,
                None => {
                    let Some(answer) = answers.all().get(row.answer) else { continue };
                    groups.push(Group { answer: answer.clone(), count: 0, members: Vec::new() });
                    place_of[row.answer] = Some(groups.len() - 1);
                    groups.len() - 1
                }
            };
            groups[place].count += 1;
        }
        for row in shown {
            if let Some(place) = place_of.get(row.answer).copied().flatten() {
                groups[place].members.push(member(row));
            }
        }
        let depends = |group: &Group| matches!(group.answer, Answer::Depends(_));
        groups.sort_by_key(|group| (std::cmp::Reverse(group.count), depends(group)));
        let has_more = rest + shown.len() < rows.len();
        let name = Kind::ALL.iter().find(|(other, _)| *other == kind).map_or("", |(_, name)| name);
        let next = shown
            .last()
            .filter(|_| has_more)
            .map(|last| PageRequest::encode(&format!("{name}{}", member(last).key())));
        Self { count: rows.len(), of, groups, next }
    }
}

impl Member {
    /// What a cursor says of it: as the order of rows.
    fn key(&self) -> String {
        let ids = self.agent.iter().map(|(id, _)| id.to_string());
        ids.chain(self.user.iter().map(|(id, _)| id.to_string())).collect::<Vec<_>>().join("#")
    }
}
