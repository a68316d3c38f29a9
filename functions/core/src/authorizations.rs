//! What users allow apps: consent, and how it ends.
//!
//! An authorization is an item of the user's, one for each (app, resource, scope). All of the app's tokens rest on it, so
//! revoking it, which deletes the item, ends them with the next call. It ends by itself after 90 days without use and
//! after a year. Allowing the same again keeps the item and begins its year anew.
//!
//! A user has at most [`MAX_AUTHORIZATIONS`]. A new one takes the place of the one that was unused the longest.

use secrecy::SecretString;

use crate::{
    Core,
    apps::{AppMetadata, Authorization, redirect_uri::RedirectUri},
    audience::Resource,
    audit::{Action, Event, RequestContext},
    caller::{Power, UserCaller},
    clock::Timestamp,
    error::{Error, Result},
    gone,
    ids::{AuthorizationId, ServerId, UserId},
    paging::{Listing, PageRequest},
    scope::Scopes,
    servers::{Server, ServerAuth},
    sessions::Session,
    table::{Change, Key, Partition, Stored, retry_on_conflict},
    tokens::{NewCode, add_code},
    users,
};

/// How many authorizations a user can have. Several that are made at the same moment may exceed the number.
pub const MAX_AUTHORIZATIONS: usize = 200;
/// How many one change removes.
const DROPPED_AT_ONCE: usize = 20;

/// What an app asks a user to allow.
#[derive(Clone, Copy, Debug)]
pub struct Consent<'a> {
    pub app: &'a AppMetadata,
    /// Where the answer goes.
    pub redirect_uri: &'a RedirectUri,
    /// As the request had it, if it had one.
    pub asked_redirect_uri: Option<&'a str>,
    /// The `code_challenge` (RFC 7636), by `S256`.
    pub challenge: &'a str,
    pub resource: &'a Resource,
    pub scopes: Scopes,
}

impl Consent<'_> {
    fn is_of(&self, caller: &UserCaller, given: &Authorization, now: Timestamp) -> bool {
        given.app == self.app.id
            && given.app_kind == self.app.kind
            && given.app_host.as_deref() == self.app.host_at(self.redirect_uri)
            && given.resource == *self.resource
            && given.scope == self.scopes
            && given.user_epoch == caller.user.epoch
            && given.is_live(now)
    }

    fn event(&self, core: &Core, caller: &UserCaller, request: &RequestContext) -> Result<Event> {
        let event = caller.event(core, request, Action::AuthorizationCreate)?;
        let name = self.app.name.as_deref().unwrap_or("an app without a name");
        let (resource, scopes) = (self.resource.name(&core.settings), self.scopes);
        let note = format!("{name}: {scopes} at {resource}");
        Ok(Event { client_id: Some(self.app.id.clone()), ..event.note(note) })
    }
}

/// What the caller has allowed before, of what is asked now.
pub async fn given(core: &Core, caller: &UserCaller, consent: &Consent<'_>) -> Result<Option<Authorization>> {
    let all = core.table.query_all::<Authorization>(&Partition::authorizations_of(caller.user.id)).await?;
    let now = core.clock.now();
    let mut given = all.into_iter().map(|stored| stored.value);
    Ok(given.find(|given| consent.is_of(caller, given, now)))
}

/// Who says that an app is allowed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowedBy {
    /// The user, just now.
    Person,
    /// The user, when they were last asked: the app is a trusted one.
    Earlier,
}

/// What is made beside the authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    Code,
    /// Nothing yet: a code lives for a minute, and something is to be done first.
    Nothing,
}

/// Notes that the caller allows an app something, and makes its code. One transaction. There is no code if nothing is to
/// be made, or if what was allowed earlier has ended meanwhile: a revocation that was faster counts.
pub async fn allow(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    consent: &Consent<'_>,
    by: AllowedBy,
    gives: Gives,
) -> Result<Option<SecretString>> {
    caller.require_own_credential()?;
    retry_on_conflict(|| async {
        let now = core.clock.now();
        let mut change = caller.change()?;
        let mut all =
            core.table.query_all::<Authorization>(&Partition::authorizations_of(caller.user.id)).await?;
        let was =
            all.iter().position(|given| consent.is_of(caller, given, now)).map(|at| all.swap_remove(at));
        if was.is_none() && by == AllowedBy::Earlier {
            return Ok(None);
        }
        let authorization = match &was {
            Some(was) => Authorization {
                app_name: consent.app.name.clone(),
                allowed_at: if by == AllowedBy::Person { now } else { was.allowed_at },
                used_at: now,
                ..was.value.clone()
            },
            None => Authorization {
                id: AuthorizationId(core.random.uuid()?),
                user_id: caller.user.id,
                user_epoch: caller.user.epoch,
                app: consent.app.id.clone(),
                app_kind: consent.app.kind,
                app_name: consent.app.name.clone(),
                app_host: consent.app.host_at(consent.redirect_uri).map(str::to_owned),
                resource: consent.resource.clone(),
                scope: consent.scopes,
                created_at: now,
                allowed_at: now,
                used_at: now,
            },
        };
        let (key, expires) = (authorization.key(), authorization.expires_at());
        match &was {
            Some(was) => change.replace_expiring(key, &authorization, was.rev, expires)?,
            None => change.create_expiring(key, &authorization, expires)?,
        };
        make_room(&mut change, all, now)?;
        let made = match gives {
            Gives::Nothing => None,
            Gives::Code => Some(add_code(
                core,
                &mut change,
                &NewCode {
                    authorization: &authorization,
                    auth: &consent.app.auth,
                    client_id: &consent.app.client_id,
                    redirect_uri: consent.asked_redirect_uri,
                    challenge: consent.challenge,
                    scopes: consent.scopes,
                },
            )?),
        };
        let before = was.as_ref().map(|was| was.recorded());
        let event = consent.event(core, caller, request)?.about("authorization", authorization.id);
        change.record(&event.changed(&before, &authorization.recorded())?)?;
        core.table.commit(change).await?;
        Ok(made)
    })
    .await
}

/// Removes what has ended, and of the others as many as leave room for one more: those unused the longest.
fn make_room(change: &mut Change, mut all: Vec<Stored<Authorization>>, now: Timestamp) -> Result<()> {
    let live = all.iter().filter(|given| given.is_live(now)).count();
    let too_many = (live + 1).saturating_sub(MAX_AUTHORIZATIONS);
    let ended = all.len() - live;
    all.sort_unstable_by_key(|given| (given.is_live(now), given.used_at));
    for given in all.iter().take((ended + too_many).min(DROPPED_AT_ONCE)) {
        change.remove(&given.key())?;
    }
    Ok(())
}

/// Notes that the caller does not allow it.
pub async fn deny(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    consent: &Consent<'_>,
) -> Result<()> {
    core.table.append(&consent.event(core, caller, request)?.denied("The user did not allow it")).await
}

/// What an authorization is for, as a page names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Proxy,
    Management,
    Server {
        id: ServerId,
        name: String,
        /// Whether the server asks for an account of the user's, and there is none yet.
        needs_connection: bool,
    },
}

/// What a resource is. `None` if there is no such server.
pub async fn target(core: &Core, caller: &UserCaller, resource: &Resource) -> Result<Option<Target>> {
    let id = match resource {
        Resource::Proxy => return Ok(Some(Target::Proxy)),
        Resource::Management => return Ok(Some(Target::Management)),
        Resource::Server(id) => id,
    };
    let (server_key, session_key) = (Key::server(id), Key::session(caller.user.id, id));
    let mut found = core.table.read(vec![server_key.clone(), session_key.clone()]).await?;
    let server = found.take::<Server>(&server_key)?.filter(|server| server.active);
    let Some(Stored { value: server, .. }) = server else { return Ok(None) };
    let session = found.take::<Session>(&session_key)?;
    let is_connected =
        session.is_some_and(|session| session.resource == server.url && session.ended.is_none());
    let needs_connection = server.auth == ServerAuth::OAuth && !is_connected;
    Ok(Some(Target::Server { id: server.id, name: server.name, needs_connection }))
}

/// What a user allowed: the caller's own, or any user's for an admin. What has ended is left out.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    owner: UserId,
    page: &PageRequest,
) -> Result<Listing<Authorization>> {
    caller.require_self_or(owner, Power::Read)?;
    let listed = page.list_items::<Authorization>(core, &Partition::authorizations_of(owner)).await?;
    let (now, Listing { items, next }) = (core.clock.now(), listed.map(|stored| stored.value));
    let user = users::looked_at(core, caller, owner).await?;
    let is_of = |given: &Authorization| {
        user.as_ref().is_none_or(|user| user.vouches_for(Some(given.user_epoch), given.created_at))
    };
    let items = items.into_iter().filter(|given| given.is_live(now) && is_of(given)).collect();
    Ok(Listing { items, next })
}

/// Revokes an authorization: the caller's own, or any user's for an admin. An app can revoke the one that it rests on.
pub async fn revoke(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    owner: UserId,
    id: AuthorizationId,
) -> Result<()> {
    caller.require_self_or(owner, Power::Operate)?;
    if caller.app.as_ref().is_none_or(|app| app.authorization != id) {
        caller.require_own_credential()?;
    }
    let key = Key::authorization(owner, id);
    let revoked = retry_on_conflict(|| async {
        let was = core.table.read_one::<Authorization>(key.clone()).await?;
        let was = was.ok_or(Error::NotFound(AuthorizationId::WHAT))?;
        let mut change = caller.change_of(&key)?;
        change.delete(&key, was.rev)?;
        let event = caller.event(core, request, Action::AuthorizationRevoke)?.about("authorization", id);
        let event = event.note(format!("{owner}")).changed(&was.recorded(), &())?;
        change.record(&Event { client_id: Some(was.app.clone()), ..event })?;
        gone::note(core, &mut change, &key)?;
        core.table.commit(change).await
    });
    gone::or_before(core, &key, AuthorizationId::WHAT, revoked.await).await
}
