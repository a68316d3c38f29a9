//! What callers have been told, and the rules by which that is held against what was decided.
//!
//! Time is counted in *moments*: each note takes one. A caller knows when it began to ask and when it was told, and
//! nothing in between. So the rules speak of what was over before something else began:
//!
//! 1. A change that was acknowledged has one event in the trail. One that was said not to have been made has none,
//!    ever. One of which nothing was known has one at most. ([`History::hold_against`])
//! 2. What had ended before a decision began is nothing that the decision rests on. ([`History::allowed`])
//! 3. What stood before a decision began, and nobody had begun to end when it was made, is there.
//!    ([`History::refused`])

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
};

use deputize_tests::TestResponse;
use serde_json::Value;

pub(crate) type Moment = u64;

/// What a caller knows about the result of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It was made.
    Done,
    /// It was not made, and will not be.
    Nothing,
    Unknown,
}

/// A thing on which decisions rest.
#[derive(Debug)]
struct Thing {
    /// When its maker sent the request, if that matters.
    asked_for: Moment,
    /// When its creation was acknowledged.
    made: Moment,
    /// When a caller first began to end it.
    ending: Option<Moment>,
    /// When its end was first acknowledged.
    ended: Option<Moment>,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    /// Whether to print the history, to examine one seed.
    pub(crate) is_told: bool,
    now: Moment,
    things: BTreeMap<String, Thing>,
    /// By request id: the change, and what its caller was told.
    changes: HashMap<String, (String, Told)>,
    /// Who has shared a grant of a pair, or may have, and from when to when.
    promotions: Vec<(String, Moment, Option<Moment>)>,
    broken: Vec<String>,
    pub(crate) decisions: u64,
}

impl History {
    pub(crate) fn now(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    fn tell(&self, what: impl Display) {
        if self.is_told {
            eprintln!("{:5} {what}", self.now);
        }
    }

    /// Records that a rule was broken.
    pub(crate) fn broken(&mut self, what: impl Display) {
        self.tell(format_args!("BROKEN {what}"));
        self.broken.push(what.to_string());
    }

    pub(crate) fn all_broken(&self) -> &[String] {
        &self.broken
    }

    /// What an answer says about the change. `None` for a caller that has disconnected.
    pub(crate) fn told(&mut self, what: &str, answer: Option<&TestResponse>) -> Told {
        let Some(answer) = answer else { return Told::Unknown };
        match answer.status.as_u16() {
            200..300 => Told::Done,
            503 if answer.json()["safe_to_retry"] == true => Told::Nothing,
            503 => Told::Unknown,
            400..500 => Told::Nothing,
            _ => {
                self.broken(format!("{what} was answered {}", answer.refusal()));
                Told::Unknown
            }
        }
    }

    /// The same for a request that makes at most one change.
    pub(crate) fn answered(&mut self, what: &str, answer: Option<&TestResponse>) -> Told {
        let told = self.told(what, answer);
        self.tell(format_args!("{what}: {told:?}"));
        if let Some(id) = answer.and_then(|answer| answer.header("x-request-id")) {
            self.changes.insert(id.to_owned(), (what.to_owned(), told));
        }
        told
    }

    /// A thing exists: a caller has just been told so.
    pub(crate) fn made(&mut self, id: impl Display) {
        let made = self.now();
        self.tell(format_args!("{id} is there"));
        self.things.entry(id.to_string()).or_insert(Thing {
            asked_for: made,
            made,
            ending: None,
            ended: None,
        });
    }

    /// Sets when the maker of a thing sent the request.
    pub(crate) fn asked_for(&mut self, id: impl Display, began: Moment) {
        if let Some(thing) = self.things.get_mut(&id.to_string()) {
            thing.asked_for = thing.asked_for.min(began);
        }
    }

    /// A caller begins to end a thing. From now on it need not exist. Returns whether it existed until now.
    pub(crate) fn ending(&mut self, id: impl Display) -> (Moment, bool) {
        let began = self.now();
        let thing = self.things.get_mut(&id.to_string());
        let stood = thing.as_ref().is_some_and(|thing| thing.ending.is_none());
        if let Some(thing) = thing {
            thing.ending.get_or_insert(began);
        }
        (began, stood)
    }

    /// A caller that began at `began` to end a thing was told this.
    pub(crate) fn ended(&mut self, id: impl Display, began: Moment, told: Told) {
        let now = self.now();
        self.tell(format_args!("{id} was to end from {began} on: {told:?}"));
        let Some(thing) = self.things.get_mut(&id.to_string()) else { return };
        match told {
            Told::Nothing if thing.ending == Some(began) => thing.ending = None,
            Told::Nothing => {}
            Told::Done | Told::Unknown => {
                thing.ending.get_or_insert(began);
            }
        }
        if told == Told::Done {
            thing.ended.get_or_insert(now);
        }
    }

    /// Whether a thing existed before `began`, and no caller has begun to end it since.
    pub(crate) fn stands(&self, id: impl Display, began: Moment) -> bool {
        self.things.get(&id.to_string()).is_some_and(|thing| thing.made < began && thing.ending.is_none())
    }

    /// A user begins to share their grant, which ends all others.
    pub(crate) fn promotes(&mut self, who: &str) -> usize {
        let began = self.now();
        self.promotions.push((who.to_owned(), began, None));
        self.promotions.len() - 1
    }

    /// They have the answer, so it is over. If the result is unknown, the change may still come.
    pub(crate) fn promoted(&mut self, which: usize, told: Told) {
        let now = self.now();
        if told != Told::Unknown {
            self.promotions[which].2 = Some(now);
        }
    }

    /// Whether another user may have ended a grant of `who` since it was requested.
    pub(crate) fn may_be_displaced(&self, who: &str, id: &str) -> bool {
        let since = self.things.get(id).map_or(0, |thing| thing.asked_for);
        self.promotions.iter().any(|(by, _, end)| by != who && end.is_none_or(|end| end >= since))
    }

    /// The things of a kind that no caller has begun to end, oldest first, by the rest of their ids.
    pub(crate) fn standing(&self, kind: &str) -> Vec<String> {
        let things = self.things.iter().filter(|(_, thing)| thing.ending.is_none());
        let mut of_kind: Vec<_> =
            things.filter_map(|(id, thing)| Some((thing.made, id.strip_prefix(kind)?))).collect();
        of_kind.sort_unstable();
        of_kind.into_iter().map(|(_, id)| id.to_owned()).collect()
    }

    /// Something was allowed. Its decision began at `began` and rests on these things.
    pub(crate) fn allowed(&mut self, what: impl Display, began: Moment, rests_on: &[String]) {
        self.decisions += 1;
        for id in rests_on {
            let ended = self.things.get(id).and_then(|thing| thing.ended);
            if let Some(ended) = ended.filter(|ended| *ended < began) {
                self.broken(format!("{what} rests on {id}, which had ended at {ended}, before {began}"));
            }
        }
    }

    /// Something was refused. Its decision began at `began`. If all these things exist, that is wrong.
    pub(crate) fn refused(
        &mut self,
        what: impl Display,
        why: impl Display,
        began: Moment,
        if_all: &[String],
    ) {
        self.decisions += 1;
        if if_all.iter().all(|id| self.stands(id, began)) {
            self.broken(format!("{what} was refused ({why}), though {if_all:?} stand"));
        }
    }

    /// Compares the trail at the end with what the callers were told.
    pub(crate) fn hold_against(&mut self, trail: &[Value]) {
        let mut events: HashMap<&str, usize> = HashMap::new();
        for event in trail {
            let is_change =
                event["outcome"].is_null() || event["outcome"] == "allowed" || event["outcome"] == "success";
            let is_own = event["action"] != "connection.refresh" && event["action"] != "user.provision";
            if is_change && is_own {
                *events.entry(event["request_id"].as_str().unwrap_or_default()).or_default() += 1;
            }
        }
        for (request, (what, told)) in std::mem::take(&mut self.changes) {
            let count = events.get(&*request).copied().unwrap_or_default();
            let fits = match told {
                Told::Done => count == 1,
                Told::Nothing => count == 0,
                Told::Unknown => count <= 1,
            };
            if !fits {
                self.broken(format!(
                    "of {what}, its caller was told {told:?}, and the trail has {count} events"
                ));
            }
        }
    }
}
