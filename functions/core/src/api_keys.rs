//! User API keys. A key is its owner's, works wherever the owner's JWT works, and never at the token
//! endpoint. Revoking one deletes its item, so that the next call with it finds nothing.

use deputize_api::reason::Reason;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{CredentialId, Power, UserCaller},
    clock::Timestamp,
    error::{Error, Result, Told},
    ids::{ApiKeyId, UserId},
    paging::{Listing, PageRequest},
    retention::{Ends, RetentionClass},
    secret::{self, SecretHash},
    table::{Change, Entity, Key, Partition, retry_on_conflict},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub user_id: UserId,
    pub name: String,
    pub hash: SecretHash,
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
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires| now < expires)
    }
}

/// Makes a key for `user` and adds it to a change.
pub(crate) fn add_key(
    core: &Core,
    change: &mut Change,
    user: UserId,
    name: String,
    expires_at: Option<Timestamp>,
) -> Result<(ApiKey, SecretString)> {
    let id = ApiKeyId(core.random.uuid()?);
    let made = secret::new_api_key(&core.random, user, id)?;
    let key = ApiKey { id, user_id: user, name, hash: made.hash, created_at: core.clock.now(), expires_at };
    change.create(Key::api_key(user, id), &key)?;
    Ok((key, made.text))
}

/// Removes enough of the caller's expired keys to make room for another. 409 if too many are live.
async fn make_room(core: &Core, change: &mut Change, caller: &UserCaller) -> Result<()> {
    let user = caller.user.id;
    let mut keys = core.table.query_all::<ApiKey>(&Partition::api_keys_of(user)).await?;
    let too_many = (keys.len() + 1).saturating_sub(MAX_API_KEYS);
    let now = core.clock.now();
    // The caller's own key may have expired just now, but the change rests on it.
    keys.retain(|key| !key.is_live(now) && caller.credential != CredentialId::ApiKey(key.id));
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
    name: String,
    expires_at: Option<Timestamp>,
) -> Result<(ApiKey, SecretString)> {
    caller.require_own_credential()?;
    if expires_at.is_some_and(|expires| expires <= core.clock.now()) {
        return Err(Error::invalid("expires_at must be in the future"));
    }
    retry_on_conflict(|| async {
        let mut change = caller.change()?;
        make_room(core, &mut change, caller).await?;
        let (key, text) = add_key(core, &mut change, caller.user.id, name.clone(), expires_at)?;
        change.record(&caller.event(core, request, Action::ApiKeyCreate)?.about("api_key", key.id))?;
        core.table.commit(change).await?;
        Ok((key, text))
    })
    .await
}

/// A user's keys, without their texts: the caller's own, or any user's for an admin.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    owner: UserId,
    page: &PageRequest,
) -> Result<Listing<ApiKey>> {
    caller.require_self_or(owner, Power::Read)?;
    let keys = page.list_items::<ApiKey>(core, &Partition::api_keys_of(owner)).await?;
    Ok(keys.map(|stored| stored.value))
}

/// Revokes a key: the caller's own, or any user's for an admin.
pub async fn revoke(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    owner: UserId,
    id: ApiKeyId,
) -> Result<()> {
    caller.require_self_or(owner, Power::Operate)?;
    retry_on_conflict(|| async {
        let key = Key::api_key(owner, id);
        let was = core.table.read_one::<ApiKey>(key.clone()).await?.ok_or(Error::NotFound(ApiKeyId::WHAT))?;
        let mut change = caller.change_of(&key)?;
        change.delete(&key, was.rev)?;
        change.record(&caller.event(core, request, Action::ApiKeyRevoke)?.about("api_key", id))?;
        core.table.commit(change).await
    })
    .await
}
