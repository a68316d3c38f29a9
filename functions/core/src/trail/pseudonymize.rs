//! Taking a person who is erased out of the trail.
//!
//! The events stay, with all that was decided. What says who the person is, is replaced
//! ([`crate::audit`], `personal`). Their id stays as the pseudonym.
//!
//! **Which events.** Three lists have all that a person can be named in, so that nothing is looked through:
//!
//! 1. what they did, and what was done for them: the index by user;
//! 2. events of others that have something of theirs: [`AuditList::Person`];
//! 3. events about them, which say what they were called. They come last: the names that are looked for in the texts of
//!    the others are read from them first, and would be lost if the work broke off in between.
//!
//! An entry of a list has ids only, so the event is the one copy.
//!
//! **Each page is a transaction.** It writes over events that must be as they were read, so it puts none back that has
//! expired meanwhile, and two who do this at once lose nothing. An item is written with every attribute that it had, its
//! `ttl` among them. How far the work has come is written in the same transaction. So it can break off anywhere and goes
//! on from there, and what it does twice changes nothing.
//!
//! Up to [`AT_ONCE`] events take a `Query`, a `BatchGetItem` and a `TransactWriteItems`, or the first two if they are
//! clean. Memory holds one page.
//!
//! **Events that come later.** What the person set off can be stored after this: a call under way, and an agent's token
//! that is presented until it expires. And the index is a moment behind the table. So this is for a time when that is
//! over ([`EVENTS_SETTLE_IN`]); called again, it takes what has come since.

use std::{collections::HashMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::days;
use crate::{
    Core,
    audit::{Event, Person},
    clock::first_uuid_at,
    deleted::{Deleted, Kind},
    email::Email,
    entities::user::{Identity, User},
    error::Result,
    ids::{EventId, UserId},
    table::{AuditIndex, AuditList, Change, CommitError, Entity, Key, Query, Stored, retry_on_conflict},
};

/// How long after a user is deleted events of theirs can still come: as long as a token lasts, and a call that began with
/// it.
pub const EVENTS_SETTLE_IN: Duration = Duration::from_hours(2);

/// How many events one transaction writes. It has 100 items, and one of them says how far the work has come.
const AT_ONCE: usize = 98;
/// The most that the events of one transaction come to, in bytes of JSON. DynamoDB takes 4 MB (Developer Guide,
/// "Transactions").
const MOST_BYTES: usize = 2 * 1024 * 1024;
/// How far the index may be behind. The next time begins so long before the end of this one.
const INDEX_LAGS: Duration = Duration::from_mins(10);
/// How long it is known how far the work has come. After that it begins anew.
const REMEMBERED_FOR: Duration = Duration::from_hours(24 * 90);

/// Where the events of a person are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Own,
    OfOthers,
    About,
}

/// How far the work has come in each list: up to this event, in the order of ids.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Progress {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own: Option<EventId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of_others: Option<EventId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    about: Option<EventId>,
}

impl Entity for Progress {
    const KIND: &'static str = "progress of an erasure";
}

impl Progress {
    fn place(&mut self, list: List) -> &mut Option<EventId> {
        match list {
            List::Own => &mut self.own,
            List::OfOthers => &mut self.of_others,
            List::About => &mut self.about,
        }
    }
}

/// An event with every other attribute of its item, also of a later version: all of them are written again.
#[derive(Debug, Serialize, Deserialize)]
struct Whole {
    #[serde(flatten)]
    event: Event,
    #[serde(flatten)]
    rest: HashMap<String, Value>,
}

impl Entity for Whole {
    const KIND: &'static str = Event::KIND;
}

/// Takes what says who a user is out of every event that there is. `false` if there was too little time: the next call
/// goes on. For a user who was deleted, before their kept item is erased: it says what they were called last.
pub async fn pseudonymize(core: &Core, user: UserId, has_time: impl Fn() -> bool) -> Result<bool> {
    let (mut person, mut progress) = begin(core, user).await?;
    let subject = AuditList::Subject(person.subject().to_owned());
    // What they were called, also formerly.
    let mut after = None;
    loop {
        let (events, next) = page(core, user, (List::About, &subject), after).await?;
        let keys: Vec<Key> = events.into_iter().map(Key::audit_event).collect();
        for event in core.table.read_all::<Event>(&keys).await? {
            person.learn_from(&event);
        }
        after = next;
        match after {
            None => break,
            Some(_) if !has_time() => return Ok(false),
            Some(_) => {}
        }
    }
    let mut work = Work { core, person, user, subject, is_saved: true };
    for list in [List::Own, List::OfOthers, List::About] {
        loop {
            if !has_time() {
                work.save(progress).await?;
                return Ok(false);
            }
            if !work.step(list, &mut progress).await? {
                break;
            }
        }
    }
    work.save(progress).await?;
    Ok(true)
}

/// What they are called by their item, which is a deleted one, and how far the work has come.
async fn begin(core: &Core, user: UserId) -> Result<(Person, Progress)> {
    let mut person = Person::new(user);
    let (kept, there) = (Key::deleted(Kind::User.name(), &user.to_string()), Key::user(user));
    let progress = Key::audit_erased(user);
    let mut found = core.table.read(vec![kept.clone(), there.clone(), progress.clone()]).await?;
    let kept = found.take::<Deleted>(&kept)?.map(|deleted| deleted.item::<User>()).transpose()?;
    let there = found.take::<User>(&there)?.map(|user| user.value);
    for User { email, name, identities, .. } in kept.into_iter().chain(there) {
        let subjects = identities.iter().map(|Identity { subject, .. }| subject.as_str());
        let called = email.iter().map(Email::as_str).chain(name.as_deref()).chain(subjects);
        called.for_each(|name| person.is_called(name));
    }
    let progress = found.take::<Progress>(&progress)?.map(|progress| progress.value);
    Ok((person, progress.unwrap_or_default()))
}

/// The events of a page of a list that begins after one, and the event after which the next page begins, if there is one.
async fn page(
    core: &Core,
    user: UserId,
    (list, subject): (List, &AuditList),
    after: Option<EventId>,
) -> Result<(Vec<EventId>, Option<EventId>)> {
    let low = after.map_or(Uuid::nil(), |EventId(last)| days::after(last)).to_string();
    let high = Uuid::max().to_string();
    let in_partition = |list: &AuditList| list.partitions().into_iter().next().unwrap_or_default();
    let (index, partition) = match list {
        List::Own => (Some(AuditIndex::User), user.to_string()),
        List::OfOthers => (None, in_partition(&AuditList::Person(user))),
        List::About => (None, in_partition(subject)),
    };
    let query = match index {
        Some(index) => Query::index(index, &partition, AT_ONCE),
        None => Query::partition(&partition, AT_ONCE),
    };
    let (keys, next) = core.table.query_keys(query.between(low, high)).await?;
    let id = |key: &Key| days::id_of(key).map(EventId);
    Ok((keys.iter().map(id).collect::<Result<_>>()?, next.as_ref().map(id).transpose()?))
}

struct Work<'a> {
    core: &'a Core,
    person: Person,
    user: UserId,
    subject: AuditList,
    /// Whether the table knows how far it has come.
    is_saved: bool,
}

impl Work<'_> {
    /// Takes the person out of the next page of a list. `false` if that was the last one.
    async fn step(&mut self, list: List, progress: &mut Progress) -> Result<bool> {
        let (events, next) = page(self.core, self.user, (list, &self.subject), *progress.place(list)).await?;
        let Some(place) = next.or(events.last().copied()) else { return Ok(false) };
        *progress.place(list) = Some(place);
        self.is_saved = self.take_out(&events, progress).await?;
        Ok(next.is_some())
    }

    /// Whether something was written, and with it how far the work has come.
    async fn take_out(&self, events: &[EventId], progress: &Progress) -> Result<bool> {
        let keys: Vec<Key> = events.iter().copied().map(Key::audit_event).collect();
        retry_on_conflict(|| async {
            let (mut change, mut bytes) = (Change::new(), 0);
            for Stored { rev, value: mut whole } in self.core.table.read_all::<Whole>(&keys).await? {
                if !whole.event.forget(&self.person) {
                    continue;
                }
                let length = serde_json::to_string(&whole).map_err(crate::Error::internal)?.len();
                if bytes + length > MOST_BYTES && !change.is_empty() {
                    self.core.table.commit(std::mem::take(&mut change)).await?;
                    bytes = 0;
                }
                bytes += length;
                change.replace(Key::audit_event(whole.event.id), &whole, rev)?;
            }
            if change.is_empty() {
                return Ok(false);
            }
            self.add_progress(&mut change, progress)?;
            self.core.table.commit(change).await?;
            Ok::<_, CommitError>(true)
        })
        .await
    }

    fn add_progress(&self, change: &mut Change, progress: &Progress) -> Result<()> {
        let now = self.core.clock.now();
        let known = EventId(first_uuid_at(now.minus(INDEX_LAGS)));
        let mut stored = progress.clone();
        for list in [List::Own, List::OfOthers, List::About] {
            let place = stored.place(list);
            *place = place.map(|place| place.min(known));
        }
        change.put_expiring(Key::audit_erased(self.user), &stored, now.plus(REMEMBERED_FOR))?;
        Ok(())
    }

    /// Notes how far the work has come, unless that is known already.
    async fn save(&self, progress: Progress) -> Result<()> {
        if self.is_saved {
            return Ok(());
        }
        let mut change = Change::new();
        self.add_progress(&mut change, &progress)?;
        match self.core.table.commit(change).await {
            Ok(()) | Err(CommitError::ConditionFailed) => Ok(()),
            Err(CommitError::Failed(error)) => Err(error),
        }
    }
}
