//! What agents did for the person of late: counts over seven days, and when each was last used.
//!
//! The newest events are looked at, and no more: two round trips. Where there were more of them in the time, it is said
//! since when they are counted.

use std::{collections::HashMap, time::Duration};

use deputize_core::{
    Core,
    audit::{Action, Event, Outcome},
    caller::UserCaller,
    clock::Timestamp,
    error::Result,
    ids::AgentAccountId,
    paging::PageRequest,
    trail,
};
use maud::{Markup, html};

use deputize_pages::when::{DAY, days_ago};

/// How many days are counted.
const DAYS: usize = 7;
/// How far back it is looked for the last use.
pub(super) const LOOKED_BACK: Duration = Duration::from_hours(31 * 24);
/// How many events are looked at.
const LOOKED_AT: usize = 200;

/// The calls of one day.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    made: usize,
    refused: usize,
}

/// What one agent did.
#[derive(Clone, Debug, Default)]
pub(super) struct Doings {
    /// Today first.
    days: [Calls; DAYS],
    pub(super) last: Option<Event>,
}

impl Doings {
    pub(super) fn calls(&self) -> usize {
        self.days.iter().map(|day| day.made + day.refused).sum()
    }

    pub(super) fn refused(&self) -> usize {
        self.days.iter().map(|day| day.refused).sum()
    }

    /// The days as bars, the oldest first.
    pub(super) fn bars(&self) -> Markup {
        const HEIGHT: usize = 30;
        let most = self.days.iter().map(|day| day.made + day.refused).max().unwrap_or_default().max(1);
        // What there is at all is seen.
        let tall = |calls: usize| if calls == 0 { 0 } else { (calls * HEIGHT / most).max(2) };
        html! {
            svg.bars width="74" height="32" viewBox="0 0 74 32" aria-hidden="true" {
                @for (at, day) in self.days.iter().rev().enumerate() {
                    @let (x, made) = (at * 11, tall(day.made));
                    @let refused = tall(day.refused).min(HEIGHT - made.min(HEIGHT - 2));
                    rect.base x=(x) y="30" width="8" height="2" {}
                    @if made > 0 { rect.can x=(x) y=(HEIGHT - made) width="8" height=(made) {} }
                    @if refused > 0 {
                        rect.not x=(x) y=(HEIGHT.saturating_sub(made + refused)) width="8" height=(refused) {}
                    }
                }
            }
        }
    }
}

/// What all agents did for the person.
#[derive(Debug, Default)]
pub(super) struct Week {
    by_agent: HashMap<AgentAccountId, Doings>,
    /// Since when all that happened is known. Before, there may be more.
    known_since: Option<Timestamp>,
}

/// Whether it is something that an agent does at a server.
fn is_call(action: Action) -> bool {
    matches!(action, Action::ToolCall | Action::ResourceRead | Action::PromptGet)
}

impl Week {
    pub(super) async fn of(core: &Core, caller: &UserCaller) -> Result<Self> {
        let now = core.clock.now();
        let filter = trail::Filter {
            user_id: Some(caller.user.id),
            from: Some(now.minus(LOOKED_BACK)),
            ..trail::Filter::default()
        };
        let page = PageRequest::new(Some(LOOKED_AT), None)?;
        let events = trail::list(core, caller, filter, &page).await?;
        let is_cut = events.next.is_some();
        let known_since = events.items.last().map(|event| event.at).filter(|_| is_cut);
        let mut week = Self { by_agent: HashMap::new(), known_since };
        for event in events.items {
            if event.on_behalf_of() == Some(caller.user.id)
                && let Some(agent) = event.agent_account_id
            {
                week.by_agent.entry(agent).or_default().count(event, now);
            }
        }
        Ok(week)
    }

    pub(super) fn of_agent(&self, agent: AgentAccountId) -> Option<&Doings> {
        self.by_agent.get(&agent)
    }

    pub(super) fn calls(&self) -> usize {
        self.by_agent.values().map(Doings::calls).sum()
    }

    pub(super) fn refused(&self) -> usize {
        self.by_agent.values().map(Doings::refused).sum()
    }

    /// Since when they are counted, if that is not the whole time.
    pub(super) fn counted_since(&self, now: Timestamp) -> Option<Timestamp> {
        let begins = now.minus(DAY * u32::try_from(DAYS).unwrap_or_default());
        self.known_since.filter(|since| *since > begins)
    }

    /// Whether everything since then is known.
    pub(super) fn knows_all_since(&self, since: Timestamp, now: Timestamp) -> bool {
        self.known_since.unwrap_or(now.minus(LOOKED_BACK)) <= since
    }
}

impl Doings {
    fn count(&mut self, event: Event, now: Timestamp) {
        if is_call(event.action)
            && let Some(day) = self.days.get_mut(days_ago(event.at, now))
        {
            match event.outcome {
                Outcome::Denied => day.refused += 1,
                Outcome::Allowed | Outcome::Failed => day.made += 1,
            }
        }
        // The newest comes first.
        self.last.get_or_insert(event);
    }
}
