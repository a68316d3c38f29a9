//! What of an event says who a person is, and taking it out.
//!
//! **The pseudonym is the user's id,** a random UUID. What led from it to the person was the user's item, and what led to
//! the item: once those are erased, nothing else does. So ids stay, and the trail still says that one and the same user
//! did all of that, when, by which credential and what was decided.
//!
//! What is taken out of an event is replaced by [`ERASED`], so that a reader sees that something was there:
//!
//! - the fields of changes that are named in [`PERSONAL_FIELDS`], before and after;
//! - the address from which the user, or an agent for them, sent a request;
//! - a text that names the user: by an email address, a name or an issuer's subject of theirs.
//!
//! [`Event::forget`] decides about each field of an event. It does not compile if there is one more.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, Event, FieldChange, is_listed_subject};
use crate::ids::UserId;

/// What is in the place of what was erased.
pub const ERASED: &str = "erased";

/// The fields of changes that say who a person is, by what they are of and their name. Of users it is their own, and of
/// API keys what their user called them. All others are about what somebody may do, or are the organization's.
pub const PERSONAL_FIELDS: [(&str, &str); 4] =
    [("user", "email"), ("user", "name"), ("user", "identities"), ("api_key", "name")];

/// The address from which a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SourceIp {
    Known(IpAddr),
    /// It was a person's, who has been erased.
    Erased(Erased),
}

/// [`ERASED`], and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Erased {
    #[serde(rename = "erased")]
    Erased,
}

impl SourceIp {
    const ERASED: Self = Self::Erased(Erased::Erased);

    pub fn known(self) -> Option<IpAddr> {
        match self {
            Self::Known(ip) => Some(ip),
            Self::Erased(_) => None,
        }
    }
}

/// A person who is taken out of the trail, and how texts may name them.
#[derive(Debug)]
pub(crate) struct Person {
    id: UserId,
    /// What events about them are about.
    subject: String,
    /// In lower case.
    names: BTreeSet<String>,
}

/// A shorter name is found in texts that do not mean it.
const SHORTEST_NAME: usize = 3;
/// The most names of one person. Each address that they ever had is one.
const MAX_NAMES: usize = 1_000;

impl Person {
    pub(crate) fn new(id: UserId) -> Self {
        Self { id, subject: format!("user:{id}"), names: BTreeSet::new() }
    }

    /// What events about them are about.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// An email address, a name, or an issuer's subject of theirs.
    pub(crate) fn is_called(&mut self, name: &str) {
        let name = name.trim().to_lowercase();
        if name.chars().count() >= SHORTEST_NAME && name != ERASED && self.names.len() < MAX_NAMES {
            self.names.insert(name);
        }
    }

    /// Learns their names, also former ones, from an event about them.
    pub(crate) fn learn_from(&mut self, event: &Event) {
        if event.subject.as_ref() != Some(&self.subject) {
            return;
        }
        let personal = event.changes.iter().filter(|change| is_personal("user", &change.field));
        for value in personal.flat_map(|change| [&change.before, &change.after]) {
            match value {
                Value::String(text) => self.is_called(text),
                Value::Array(identities) => {
                    let subjects = identities.iter().filter_map(|identity| identity["subject"].as_str());
                    subjects.for_each(|subject| self.is_called(subject));
                }
                _ => {}
            }
        }
    }

    /// Whether a text has one of their names, as a whole word.
    fn is_named_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.names.iter().any(|name| {
            text.match_indices(name.as_str()).any(|(at, found)| {
                let before = text[..at].chars().next_back();
                let after = text[at + found.len()..].chars().next();
                [before, after].into_iter().flatten().all(|beside| !beside.is_alphanumeric())
            })
        })
    }
}

fn is_personal(kind: &str, field: &str) -> bool {
    PERSONAL_FIELDS.contains(&(kind, field))
}

/// The kind of thing that a subject names.
fn kind_of(subject: Option<&str>) -> &str {
    subject.and_then(|subject| subject.split_once(':')).map_or("", |(kind, _)| kind)
}

/// Whose the thing is that was changed: of an API key.
fn owner_in(changes: &[FieldChange]) -> Option<UserId> {
    let owner = changes.iter().find(|change| change.field == "user_id")?;
    [&owner.before, &owner.after].into_iter().find_map(|user| user.as_str()?.parse().ok())
}

impl Event {
    /// The person whose personal data is in an event that somebody else set off and that is not about them: it is listed
    /// by them, so that it can be found when they are erased.
    pub(super) fn tells_of(&self) -> Option<UserId> {
        let kind = kind_of(self.subject.as_deref());
        let tells = kind != "user" && self.changes.iter().any(|change| is_personal(kind, &change.field));
        owner_in(&self.changes).filter(|owner| tells && Some(*owner) != self.user_id)
    }

    /// Takes out what says who a person is. `false` if there is nothing of that in it, or no more.
    pub(crate) fn forget(&mut self, person: &Person) -> bool {
        // Each field is decided about here. Those that are named only say what was done, by and for which ids.
        let Self {
            id: _,
            at: _,
            action,
            outcome: _,
            agent_account_id: _,
            user_id,
            server_id: _,
            // An app, not its user.
            client_id: _,
            // A kind and a random id, or an issuer.
            credential: _,
            token_id: _,
            subject,
            // The server's word for what it does.
            tool: _,
            // Of a call's arguments nothing else is kept. It proves what was called to somebody who has the arguments.
            arguments_sha256: _,
            policies: _,
            logged,
            credentials_of: _,
            grant_id: _,
            detail,
            changes,
            // It leads to lines of the log, which are kept for a while only and name nobody.
            request_id: _,
            source_ip,
            duration_ms: _,
        } = self;
        let is_own = *user_id == Some(person.id);
        let is_about = subject.as_ref() == Some(&person.subject);
        let mut found = false;
        // Of an agent that acts for the user, it may be the user's own machine.
        if is_own && source_ip.is_some_and(|ip| ip != SourceIp::ERASED) {
            *source_ip = Some(SourceIp::ERASED);
            found = true;
        }
        let is_theirs = is_about || owner_in(changes) == Some(person.id);
        let kind = kind_of(subject.as_deref()).to_owned();
        for FieldChange { field, before, after } in changes.iter_mut().filter(|_| is_theirs) {
            if is_personal(&kind, field) {
                for value in [before, after] {
                    found |= erase_value(value);
                }
            }
        }
        if detail
            .as_deref()
            .is_some_and(|text| (is_about && notes_identities(*action, text)) || person.is_named_in(text))
        {
            found |= erase(detail);
        }
        // What an MCP request is about comes from outside, and is in no list.
        let outer = subject.as_deref().filter(|subject| !is_listed_subject(subject));
        if outer.is_some_and(|subject| person.is_named_in(subject)) {
            let erased = format!("{kind}:{ERASED}");
            found |= subject.as_ref() != Some(&erased);
            *subject = Some(erased);
        }
        if let Some(reason) = logged.as_mut().map(|logged| &mut logged.reason)
            && reason.as_deref().is_some_and(|text| person.is_named_in(text))
        {
            found |= erase(reason);
        }
        found
    }
}

/// Whether what is noted of a change of a user can name their identities. What an issuer says of their groups begins with
/// `by`.
fn notes_identities(action: Action, text: &str) -> bool {
    let writes = matches!(
        action,
        Action::UserCreate | Action::UserUpdate | Action::UserProvision | Action::IdentityBind
    );
    writes && !text.starts_with("by ")
}

fn erase(text: &mut Option<String>) -> bool {
    let found = text.as_deref().is_some_and(|text| text != ERASED);
    if found {
        *text = Some(ERASED.to_owned());
    }
    found
}

/// What was not there stays so: it says whether the thing was made, changed or deleted.
fn erase_value(value: &mut Value) -> bool {
    let found = !value.is_null() && value.as_str() != Some(ERASED);
    if found {
        *value = Value::from(ERASED);
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{
        audit::{LoggedDecision, LoggedVerdict, Outcome},
        clock::Timestamp,
        ids::{AgentAccountId, AppId, EventId, GrantId, ServerId},
    };

    const BOB: UserId = UserId(Uuid::from_u128(2));
    const ALICE: UserId = UserId(Uuid::from_u128(1));

    fn bob() -> Person {
        let mut bob = Person::new(BOB);
        bob.is_called("bob@acme.test");
        bob
    }

    fn change(field: &str, before: Value, after: Value) -> FieldChange {
        FieldChange { field: field.to_owned(), before, after }
    }

    /// With every field, each of which could name somebody.
    fn event(user: UserId, subject: &str) -> Event {
        Event {
            id: EventId(Uuid::from_u128(9)),
            at: Timestamp::from_millis(0),
            action: Action::UserUpdate,
            outcome: Outcome::Allowed,
            agent_account_id: Some(AgentAccountId(Uuid::from_u128(3))),
            user_id: Some(user),
            server_id: Some("mail".parse::<ServerId>().unwrap()),
            client_id: Some(AppId("https://client.example/app".to_owned())),
            credential: Some("user_token:https://idp.example".to_owned()),
            token_id: Some(Uuid::from_u128(4)),
            subject: Some(subject.to_owned()),
            tool: Some("send".to_owned()),
            arguments_sha256: Some("00".to_owned()),
            policies: vec!["p".to_owned()],
            logged: Some(LoggedDecision {
                decision: LoggedVerdict::Deny,
                policies: Vec::new(),
                reason: Some("Bob@acme.test is not permitted".to_owned()),
            }),
            credentials_of: Some(user),
            grant_id: Some(GrantId(Uuid::from_u128(5))),
            detail: Some("the server knows no bob@acme.test.".to_owned()),
            changes: vec![
                change("email", Value::Null, json!("bob@acme.test")),
                change(
                    "identities",
                    json!([{ "issuer": "i", "subject": "b-1" }]),
                    json!({ "omitted_bytes": 1 }),
                ),
                change("role", json!("user"), json!("admin")),
            ],
            request_id: Uuid::from_u128(6),
            source_ip: Some(SourceIp::Known([192, 0, 2, 1].into())),
            duration_ms: Some(1),
        }
    }

    /// The fields that differ between two events.
    fn differing(one: &Event, other: &Event) -> Vec<(String, Value)> {
        let [one, other] = [one, other].map(|event| serde_json::to_value(event).unwrap());
        let fields = other.as_object().unwrap().iter();
        fields
            .filter(|(name, value)| one[*name] != **value)
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect::<std::collections::BTreeMap<_, _>>()
            .into_iter()
            .collect()
    }

    fn forgotten(event: &Event, person: &Person) -> Vec<(String, Value)> {
        let mut erased = event.clone();
        let found = erased.forget(person);
        let differs = differing(event, &erased);
        assert_eq!(found, !differs.is_empty());
        let mut again = erased.clone();
        assert!(!again.forget(person), "it is taken out once: {again:?}");
        assert_eq!(differing(&erased, &again), []);
        differs
    }

    fn named(name: &str, value: Value) -> (String, Value) {
        (name.to_owned(), value)
    }

    fn reason() -> (String, Value) {
        named("logged", json!({ "decision": "deny", "reason": "erased" }))
    }

    #[test]
    fn of_an_event_about_a_person_by_themselves_only_ids_and_what_they_may_do_stay() {
        let changes = json!([
            { "field": "email", "before": null, "after": "erased" },
            { "field": "identities", "before": "erased", "after": "erased" },
            { "field": "role", "before": "user", "after": "admin" },
        ]);
        assert_eq!(
            forgotten(&event(BOB, &format!("user:{BOB}")), &bob()),
            [
                named("changes", changes),
                named("detail", json!("erased")),
                reason(),
                named("source_ip", json!("erased"))
            ]
        );
    }

    #[test]
    fn an_admins_address_stays_when_the_person_is_erased_whom_they_changed() {
        let found = forgotten(&event(ALICE, &format!("user:{BOB}")), &bob());
        let fields: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(fields, ["changes", "detail", "logged"]);
    }

    #[test]
    fn what_a_person_did_to_others_stays_but_for_their_own_address_and_their_names() {
        let found = forgotten(&event(BOB, &format!("user:{ALICE}")), &bob());
        assert_eq!(found, [named("detail", json!("erased")), reason(), named("source_ip", json!("erased"))]);
        let nothing = Person::new(BOB);
        let found = forgotten(&event(BOB, &format!("user:{ALICE}")), &nothing);
        assert_eq!(found, [named("source_ip", json!("erased"))]);
    }

    #[test]
    fn a_resource_that_names_a_person_is_named_no_more() {
        let read = |uri: &str| Event {
            detail: None,
            logged: None,
            changes: Vec::new(),
            source_ip: None,
            ..event(BOB, &format!("resource:{uri}"))
        };
        let found = forgotten(&read("mail://bob@acme.test/inbox"), &bob());
        assert_eq!(found, [named("subject", json!("resource:erased"))]);
        assert_eq!(forgotten(&read("mail://notbob@acme.test/inbox"), &bob()), []);
    }

    #[test]
    fn what_a_user_called_their_api_key_is_theirs_whoever_revokes_it() {
        let revoked = |of: UserId| Event {
            action: Action::ApiKeyRevoke,
            changes: vec![
                change("name", json!("Bob's laptop"), Value::Null),
                change("user_id", json!(of), Value::Null),
            ],
            detail: None,
            logged: None,
            source_ip: None,
            ..event(ALICE, "api_key:1")
        };
        let changes = json!([
            { "field": "name", "before": "erased", "after": null },
            { "field": "user_id", "before": BOB, "after": null },
        ]);
        assert_eq!(forgotten(&revoked(BOB), &bob()), [named("changes", changes)]);
        assert_eq!(forgotten(&revoked(ALICE), &bob()), []);
        assert_eq!(revoked(BOB).tells_of(), Some(BOB));
        assert_eq!(revoked(ALICE).tells_of(), None, "it is in her own list");
        assert_eq!(event(ALICE, &format!("user:{BOB}")).tells_of(), None, "it is in the list about him");
    }

    #[test]
    fn a_note_of_identities_is_taken_out_though_no_name_in_it_is_known() {
        let bare = |action: Action, detail: &str| Event {
            action,
            detail: Some(detail.to_owned()),
            logged: None,
            changes: Vec::new(),
            source_ip: None,
            ..event(ALICE, &format!("user:{BOB}"))
        };
        let nothing = Person::new(BOB);
        let erased = [named("detail", json!("erased"))];
        assert_eq!(
            forgotten(&bare(Action::UserUpdate, "identities: https://idp.example 7"), &nothing),
            erased
        );
        assert_eq!(forgotten(&bare(Action::IdentityBind, "https://idp.example 7"), &nothing), erased);
        assert_eq!(forgotten(&bare(Action::UserUpdate, "by https://idp.example: role none"), &nothing), []);
        assert_eq!(forgotten(&bare(Action::UserOffboard, "agents: stop"), &nothing), []);
    }

    #[test]
    fn former_names_are_learned_from_events_about_the_person_alone() {
        let mut bob = Person::new(BOB);
        bob.learn_from(&event(ALICE, &format!("user:{ALICE}")));
        assert!(!bob.is_named_in("bob@acme.test"));
        bob.learn_from(&event(ALICE, &format!("user:{BOB}")));
        for named in ["no b-1 here", "(BOB@acme.test)", "bob@acme.test"] {
            assert!(bob.is_named_in(named), "{named}");
        }
        for other in ["", "b-12", "notbob@acme.test", "bob@acme.testing", "erased"] {
            assert!(!bob.is_named_in(other), "{other}");
        }
        bob.is_called("Al");
        assert!(!bob.is_named_in("al"), "too short to mean somebody");
        bob.is_called("Çelik");
        assert!(bob.is_named_in("von çelik."));
    }

    #[test]
    fn an_address_reads_back_as_it_was_written_and_so_does_its_mark() {
        for text in ["192.0.2.1", "2001:db8::1", "erased"] {
            let ip: SourceIp = serde_json::from_value(json!(text)).unwrap();
            assert_eq!(serde_json::to_value(ip).unwrap(), text);
            assert_eq!(ip.known().is_none(), text == ERASED);
        }
        serde_json::from_value::<SourceIp>(json!("localhost")).unwrap_err();
    }
}
