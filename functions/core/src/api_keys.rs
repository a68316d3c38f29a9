//! User API keys. A key is its owner's, works wherever the owner's JWT works, and never at the token
//! endpoint. Revoking one moves its item, so that the next call with it finds nothing ([`crate::deleted`]). What a key narrows of its user is
//! in [`crate::caller::KeyLimits`].

use deputize_api::reason::Reason;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{CredentialId, Gives, KeyLimits, Power, UserCaller},
    clock::Timestamp,
    deleted::{self, About, Deleted, Kind},
    entities::stopped::StoppedBy,
    epoch::Epoch,
    error::{Error, Result, Told},
    gone,
    ids::{ApiKeyId, ServerId, UserId},
    once::{Holds, once},
    paging::{Listing, PageRequest},
    retention::{Ends, RetentionClass},
    scope::Scopes,
    secret::{self, NotedSecret, SecretHash},
    servers,
    table::{Change, Entity, Key, Partition, retry_on_conflict},
    users::{self, User},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub user_id: UserId,
    /// How often the user had been deactivated. A key does not come back with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_epoch: Option<Epoch>,
    pub name: String,
    pub hash: SecretHash,
    /// What it is for. A key that was made before keys had scopes has none here, and is for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scopes: Option<Scopes>,
    /// `None` means all servers. A list is sorted and names each server once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_ids: Option<Vec<ServerId>>,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl Entity for ApiKey {
    const KIND: &'static str = "API key";

    fn ends(&self) -> Option<Ends> {
        self.expires_at.map(|at| Ends { class: RetentionClass::ApiKeys, at })
    }
}

/// How many API keys a user can have. Expired keys make room for new ones. Several keys that are created at
/// the same moment may exceed the number.
pub const MAX_API_KEYS: usize = 100;
/// How many expired keys one change removes.
const DROPPED_AT_ONCE: usize = 50;

impl ApiKey {
    /// What the trail shows of it.
    pub(crate) fn recorded(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Recorded<'a> {
            user_id: UserId,
            name: &'a str,
            scopes: Scopes,
            server_ids: &'a Option<Vec<ServerId>>,
            expires_at: Option<Timestamp>,
        }
        let Self { user_id, name, server_ids, expires_at, .. } = self;
        Recorded { user_id: *user_id, name, scopes: self.scopes(), server_ids, expires_at: *expires_at }
    }

    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires| now < expires)
    }

    /// Whether it is in force, as far as it rests on its user.
    pub(crate) fn is_of(&self, user: &User) -> bool {
        user.vouches_for(self.user_epoch, self.created_at)
    }

    pub fn scopes(&self) -> Scopes {
        self.scopes.unwrap_or(Scopes::OF_API_KEYS)
    }

    /// What it narrows of its user.
    pub(crate) fn limits(self) -> Option<KeyLimits> {
        let Self { scopes, server_ids, expires_at, .. } = self;
        scopes.map(|scopes| KeyLimits { scopes, server_ids, expires_at })
    }
}

/// A key to make.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    pub name: String,
    /// All if left out.
    pub scopes: Option<Scopes>,
    /// All servers if left out.
    pub server_ids: Option<Vec<ServerId>>,
    pub expires_at: Option<Timestamp>,
}

impl NewApiKey {
    /// A key for everything, for as long as keys may last here.
    pub(crate) fn for_everything(core: &Core, name: &str) -> Self {
        let longest = core.settings.longest_api_key;
        let expires_at = longest.map(|longest| core.clock.now().plus(longest));
        Self { name: name.to_owned(), scopes: None, server_ids: None, expires_at }
    }
}

/// Makes a key for a user in their epoch, and adds it to a change.
pub(crate) fn add_key(
    core: &Core,
    change: &mut Change,
    (user, epoch): (UserId, Epoch),
    new: NewApiKey,
) -> Result<(ApiKey, SecretString)> {
    let NewApiKey { name, scopes, server_ids, expires_at } = new;
    let id = ApiKeyId(core.random.uuid()?);
    let made = secret::new_api_key(&core.random, user, id)?;
    let key = ApiKey {
        id,
        user_id: user,
        user_epoch: Some(epoch),
        name,
        hash: made.hash,
        scopes: Some(scopes.unwrap_or(Scopes::OF_API_KEYS)),
        server_ids,
        created_at: core.clock.now(),
        expires_at,
    };
    change.create(Key::api_key(user, id), &key)?;
    Ok((key, made.text))
}

/// Removes enough of the caller's keys that are over to make room for another. 409 if too many are live.
async fn make_room(core: &Core, change: &mut Change, caller: &UserCaller) -> Result<()> {
    let user = caller.user.id;
    let mut keys = core.table.query_all::<ApiKey>(&Partition::api_keys_of(user)).await?;
    let too_many = (keys.len() + 1).saturating_sub(MAX_API_KEYS);
    let now = core.clock.now();
    // The caller's own key may have expired just now, but the change rests on it.
    let is_over = |key: &ApiKey| !key.is_live(now) || !key.is_of(&caller.user);
    keys.retain(|key| is_over(key) && caller.credential != CredentialId::ApiKey(key.id));
    if too_many > keys.len() {
        return Err(Error::Conflict(Told::of(
            Reason::LimitReached,
            format!("you have {MAX_API_KEYS} live API keys; revoke one before making another"),
        )));
    }
    keys.sort_unstable_by_key(|key| key.expires_at);
    for key in keys.iter().take(too_many.min(DROPPED_AT_ONCE)) {
        change.delete(&Key::api_key(user, key.id), key.rev)?;
    }
    Ok(())
}

/// Creates a key for the caller. Its text is answered once.
pub async fn create(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    new: NewApiKey,
) -> Result<(ApiKey, SecretString)> {
    caller.require_own_credential()?;
    let by = (caller.user.id, caller.user.epoch);
    let made = once(core, caller, request, Holds::Secret, || async {
        if new.expires_at.is_some_and(|expires| expires <= core.clock.now()) {
            return Err(Error::invalid("expires_at must be in the future").into());
        }
        require_short_enough(core, new.expires_at)?;
        caller.require_to_give(&Gives {
            scopes: new.scopes.unwrap_or(Scopes::OF_API_KEYS),
            server_ids: new.server_ids.as_deref(),
            expires_at: new.expires_at,
        })?;
        let mut new = new.clone();
        if let Some(servers) = &mut new.server_ids {
            *servers = servers::existing(core, servers).await?;
        }
        let mut change = caller.change()?;
        make_room(core, &mut change, caller).await?;
        let (key, text) = add_key(core, &mut change, by, new)?;
        let event = caller.event(core, request, Action::ApiKeyCreate)?.about("api_key", key.id);
        change.record(&event.changed(&(), &key.recorded())?)?;
        Ok((change, (key, NotedSecret(text))))
    })
    .await?;
    let (key, NotedSecret(text)) = made.value;
    Ok((key, text))
}

/// Refuses a key that would last longer than the deployment lets keys last.
fn require_short_enough(core: &Core, expires_at: Option<Timestamp>) -> Result<()> {
    let Some(longest) = core.settings.longest_api_key else { return Ok(()) };
    let latest = core.clock.now().plus(longest);
    if expires_at.is_some_and(|expires| expires <= latest) {
        return Ok(());
    }
    let days = longest.as_secs() / (24 * 60 * 60);
    Err(Error::invalid(format!(
        "expires_at must be given, and be within {days} days: API keys last no longer here"
    )))
}

/// A user's keys, without their texts: the caller's own, or any user's for auditors, operators and admins. Without
/// those that ended when the user was deactivated.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    owner: UserId,
    page: &PageRequest,
) -> Result<Listing<ApiKey>> {
    caller.require_self_or(owner, Power::Read)?;
    let keys = page.list_items::<ApiKey>(core, &Partition::api_keys_of(owner)).await?;
    let user = users::looked_at(core, caller, owner).await?;
    let Listing { items, next } = keys.map(|stored| stored.value);
    let is_of = |key: &ApiKey| user.as_ref().is_none_or(|user| key.is_of(user));
    Ok(Listing { items: items.into_iter().filter(is_of).collect(), next })
}

/// Revokes a key: the caller's own, or any user's for operators and admins.
pub async fn revoke(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    owner: UserId,
    id: ApiKeyId,
) -> Result<()> {
    caller.require_self_or(owner, Power::Operate)?;
    let key = Key::api_key(owner, id);
    let revoked = retry_on_conflict(|| async {
        let was = core.table.read_one::<ApiKey>(key.clone()).await?.ok_or(Error::NotFound(ApiKeyId::WHAT))?;
        let mut change = caller.change_of(&key)?;
        change.delete(&key, was.rev)?;
        let about =
            About { key: &key, kind: Kind::ApiKey, id: &id, name: Some(&was.name), of_user: Some(owner) };
        deleted::keep(core, &mut change, caller, &about, &was.value)?;
        let event = caller.event(core, request, Action::ApiKeyRevoke)?.about("api_key", id);
        change.record(&event.changed(&was.recorded(), &())?)?;
        core.table.commit(change).await
    });
    gone::or_before(core, &key, ApiKeyId::WHAT, revoked.await).await
}

/// Adds to a change that a revoked key is good again. The caller's own, or any user's for operators and admins; and only by
/// those who could have revoked it as it was. A key that ended meanwhile, by its time or with its user, stays ended.
pub(crate) async fn bring_back(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    change: &mut Change,
    deleted: &Deleted,
) -> Result<()> {
    caller.require_own_credential()?;
    if !caller.stops_as().may_lift(Some(deleted.deleted_as)) {
        let may = StoppedBy::lifted_by(Some(deleted.deleted_as));
        return Err(Error::forbidden(format!("Only {may} can restore the key")));
    }
    let key: ApiKey = deleted.item()?;
    let (scopes, servers) = (key.scopes(), key.server_ids.as_deref());
    caller.require_to_give(&Gives { scopes, server_ids: servers, expires_at: key.expires_at })?;
    let user = users::looked_at(core, caller, key.user_id).await?;
    let is_good = user.as_ref().is_some_and(|user| user.active && key.is_of(user));
    if !is_good || !key.is_live(core.clock.now()) {
        return Err(Error::conflict("the key has ended, by its time or with its user: make a new one"));
    }
    let live = core.table.query_all::<ApiKey>(&Partition::api_keys_of(key.user_id)).await?;
    if live.len() >= MAX_API_KEYS {
        let why = format!("the user has {MAX_API_KEYS} API keys; revoke one first");
        return Err(Error::Conflict(Told::of(Reason::LimitReached, why)));
    }
    change.create(Key::api_key(key.user_id, key.id), &key)?;
    let event = caller.event(core, request, Action::ApiKeyRestore)?.about("api_key", key.id);
    change.record(&event.changed(&(), &key.recorded())?)?;
    Ok(())
}
