//! The steps, a kind of things after the other. Each answers whether it came to the end.
//!
//! What is deleted is read from the beginning of its list until nothing is there. What stays as an ended item is passed
//! over.

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{Fate, Kind, Thing, Things, Work};
use crate::{
    agents::{AgentEntry, owners},
    api_keys::ApiKey,
    apps::Authorization,
    audit::{Action, Event},
    browser_sessions::{self, BrowserSession},
    connections::{self, AtProvider},
    delegations::{self, Delegation, DelegationPointer},
    error::{Error, Result},
    session_grants::{self, GrantPointer},
    sessions::Session,
    table::{Change, CommitError, Entity, Key, PAGE_SIZE, Page, Partition, Query, Stored, retry_on_conflict},
};

/// How many things one transaction deletes. Each is up to two items, and its event four: a transaction has 100.
const AT_ONCE: usize = 15;
/// How many delegations one transaction mostly has room for.
const DELEGATIONS_AT_ONCE: usize = 10;
/// How many providers are asked at the same time.
const PROVIDERS_AT_ONCE: usize = 8;

/// Any item, by its place.
#[derive(Debug, Serialize, Deserialize)]
struct Placed {
    pk: String,
    sk: String,
}

impl Entity for Placed {
    const KIND: &'static str = "item";
}

fn ended(id: &impl ToString, name: Option<String>) -> Thing {
    Thing { id: id.to_string(), name, fate: Fate::Ended, detail: None }
}

impl Work<'_> {
    pub(super) async fn end(&self, kind: Kind, things: &mut Things) -> Result<bool> {
        match kind {
            Kind::Agents => self.agents(things).await,
            Kind::Connections => self.connections(things).await,
            Kind::SessionGrants => self.session_grants(things).await,
            Kind::Delegations => self.delegations(things).await,
            Kind::Authorizations => {
                let end = |change: &mut Change, was: &Stored<Authorization>| {
                    change.delete(&was.key(), was.rev)?;
                    let event = self.event(Action::AuthorizationRevoke)?.about("authorization", was.id);
                    let event = event.changed(&was.recorded(), &())?;
                    change.record(&Event { client_id: Some(was.app.clone()), ..event })?;
                    Ok(ended(&was.id, was.app_name.clone()))
                };
                self.delete(&Partition::authorizations_of(self.user), things, end).await
            }
            Kind::RefreshTokens => {
                let end = |change: &mut Change, was: &Stored<Placed>| {
                    let Placed { pk, sk } = &was.value;
                    change.delete(&Key { pk: pk.clone(), sk: sk.clone() }, was.rev)?;
                    let id = sk.rsplit('#').next().unwrap_or_default();
                    change.record(&self.event(Action::TokenRevoke)?.about("token_family", id))?;
                    Ok(ended(&id, None))
                };
                self.delete(&Partition::token_families_of(self.user), things, end).await
            }
            Kind::ApiKeys => {
                let end = |change: &mut Change, was: &Stored<ApiKey>| {
                    change.delete(&Key::api_key(self.user, was.id), was.rev)?;
                    let event = self.event(Action::ApiKeyRevoke)?.about("api_key", was.id);
                    change.record(&event.changed(&was.recorded(), &())?)?;
                    Ok(ended(&was.id, Some(was.name.clone())))
                };
                self.delete(&Partition::api_keys_of(self.user), things, end).await
            }
            Kind::BrowserSessions => {
                let end = |change: &mut Change, was: &Stored<BrowserSession>| {
                    browser_sessions::end_as_read(change, was)?;
                    let event = self.event(Action::BrowserSessionEnd)?.about("browser_session", was.id);
                    change.record(&event)?;
                    Ok(ended(&was.id, None))
                };
                self.delete(&Partition::browser_sessions_of(self.user), things, end).await
            }
        }
    }

    fn event(&self, action: Action) -> Result<Event> {
        let event = self.caller.event(self.core, self.request, action)?;
        Ok(event.note(format!("of the user {}, who leaves", self.user)))
    }

    async fn page<T: Entity>(&self, list: &Partition, limit: usize, after: Option<Key>) -> Result<Page<T>> {
        let query = Query::partition(&list.pk, limit).prefix(list.prefix.as_str()).after(after);
        self.core.table.query(query).await
    }

    /// Deletes what is in a list, some at a time. `end` adds the end of one to a change.
    async fn delete<T: Entity>(
        &self,
        list: &Partition,
        things: &mut Things,
        end: impl Fn(&mut Change, &Stored<T>) -> Result<Thing>,
    ) -> Result<bool> {
        if self.dry_run {
            let mut after = None;
            loop {
                let page = self.page::<T>(list, PAGE_SIZE, after).await?;
                let mut unmade = Change::new();
                let all = page.items.iter().map(|item| end(&mut unmade, item)).collect::<Result<Vec<_>>>()?;
                things.add(all);
                after = page.next;
                if after.is_none() || !self.has_time() {
                    return Ok(after.is_none());
                }
            }
        }
        loop {
            let done = retry_on_conflict(|| async {
                let page = self.page::<T>(list, AT_ONCE, None).await?;
                if page.items.is_empty() {
                    return Ok(Vec::new());
                }
                let mut change = self.caller.change()?;
                let all = page.items.iter().map(|item| end(&mut change, item)).collect::<Result<Vec<_>>>()?;
                self.core.table.commit(change).await?;
                Ok::<_, CommitError>(all)
            });
            let done = done.await?;
            if done.is_empty() {
                return Ok(true);
            }
            things.add(done);
            if !self.has_time() {
                return Ok(false);
            }
        }
    }

    async fn agents(&self, things: &mut Things) -> Result<bool> {
        let Self { core, caller, request, user, successor, dry_run, .. } = *self;
        let list = Partition::agents_of(user);
        let mut after = None;
        loop {
            let page = self.page::<AgentEntry>(&list, PAGE_SIZE, after).await?;
            for entry in &page.items {
                let agent = entry.agent_account_id;
                let left = owners::leave(core, caller, request, agent, (user, successor), dry_run).await?;
                things.add(left.map(|(account, becomes)| Thing {
                    id: agent.to_string(),
                    name: Some(account.name),
                    fate: match becomes {
                        owners::WithoutOwner::Left => Fate::Left,
                        owners::WithoutOwner::Given => Fate::Given,
                        owners::WithoutOwner::Stopped => Fate::Stopped,
                    },
                    detail: Some(format!(
                        "{} client secrets and {} keys, which the user may know: replace them",
                        account.secrets.len(),
                        account.keys.len()
                    )),
                }));
                if !self.has_time() {
                    return Ok(false);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(true);
            }
        }
    }

    async fn connections(&self, things: &mut Things) -> Result<bool> {
        let Self { core, caller, request, user, dry_run, .. } = *self;
        let list = Partition::sessions_of(user);
        let mut after = None;
        loop {
            let page = self.page::<Session>(&list, PROVIDERS_AT_ONCE, after).await?;
            if dry_run {
                things.add(page.items.iter().map(|session| ended(&session.server_id, None)));
            } else {
                let end = page.items.iter().map(|session| async {
                    let server = &session.server_id;
                    let came_to = connections::end(core, caller, request, user, server).await?;
                    Ok::<_, Error>(came_to.map(|came_to| Thing {
                        id: server.to_string(),
                        name: None,
                        fate: if came_to == AtProvider::Revoked { Fate::Revoked } else { Fate::NotRevoked },
                        detail: Some(came_to.to_string()),
                    }))
                });
                things.add(try_join_all(end).await?.into_iter().flatten());
            }
            after = page.next;
            if after.is_none() || !self.has_time() {
                return Ok(after.is_none());
            }
        }
    }

    async fn session_grants(&self, things: &mut Things) -> Result<bool> {
        let Self { core, caller, request, user, dry_run, .. } = *self;
        let list = Partition::grants_given_by(user);
        let mut after = None;
        loop {
            let page = self.page::<GrantPointer>(&list, PAGE_SIZE, after).await?;
            let given: Vec<GrantPointer> = page.items.into_iter().map(|entry| entry.value).collect();
            for grant in session_grants::in_force(core, &given).await? {
                let pointer = GrantPointer::of(&grant);
                if dry_run || session_grants::end_given(core, caller, request, &pointer).await?.is_some() {
                    let about =
                        format!("agent account {}, server {}", grant.agent_account_id, grant.server_id);
                    things.add([Thing { detail: Some(about), ..ended(&grant.id, None) }]);
                }
                if !self.has_time() {
                    return Ok(false);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(true);
            }
        }
    }

    async fn delegations(&self, things: &mut Things) -> Result<bool> {
        let list = Partition::delegations_by(self.user);
        let mut after = None;
        loop {
            let page = self.page::<DelegationPointer>(&list, DELEGATIONS_AT_ONCE, after).await?;
            let keys: Vec<Key> = page.items.iter().map(|entry| entry.key()).collect();
            loop {
                let done = retry_on_conflict(|| async {
                    let found = self.core.table.read_all::<Delegation>(&keys).await?;
                    let now = self.core.clock.now();
                    let active: Vec<_> = found.into_iter().filter(|made| made.is_active(now)).collect();
                    let ended = if self.dry_run || active.is_empty() {
                        active.len()
                    } else {
                        delegations::revoke_of(self.core, self.caller, self.request, &active).await?
                    };
                    Ok::<_, CommitError>((active, ended))
                });
                let (active, done) = done.await?;
                things.add(active.iter().take(done).map(|made| {
                    let about = format!("agent account {}", made.agent_account_id);
                    Thing { detail: Some(about), ..ended(&made.id, None) }
                }));
                if done == active.len() {
                    break;
                }
            }
            after = page.next;
            if after.is_none() || !self.has_time() {
                return Ok(after.is_none());
            }
        }
    }
}
