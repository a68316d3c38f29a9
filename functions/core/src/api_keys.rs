//! User API keys. A key is its owner's, works wherever the owner's JWT works, and never at the token
//! endpoint. Revoking one deletes its item, so that the next call with it finds nothing.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    Core,
    audit::{Action, Request},
    caller::UserCaller,
    clock::Timestamp,
    error::{Error, Result},
    ids::{ApiKeyId, UserId},
    paging::{Listing, PageRequest},
    secret::{self, SecretHash},
    table::{Change, Entity, Key, settle},
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
}

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

/// Creates a key for the caller; its text is answered once.
pub async fn create(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    name: String,
    expires_at: Option<Timestamp>,
) -> Result<(ApiKey, SecretString)> {
    if expires_at.is_some_and(|expires| expires <= core.clock.now()) {
        return Err(Error::invalid("expires_at must be in the future"));
    }
    let mut change = Change::new();
    let (key, text) = add_key(core, &mut change, caller.user.id, name, expires_at)?;
    change.record(&caller.event(core, request, Action::ApiKeyCreate)?.about("api_key", key.id))?;
    core.table.commit(change).await.map_err(crate::fresh_id)?;
    Ok((key, text))
}

/// A user's keys, without their texts: one's own, or anybody's for an admin.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    owner: UserId,
    page: &PageRequest,
) -> Result<Listing<ApiKey>> {
    caller.require_self_or_admin(owner)?;
    let keys = page.list_items::<ApiKey>(core, &Key::user(owner).pk, "KEY#").await?;
    Ok(keys.map(|stored| stored.value))
}

/// Revokes a key: one's own, or anybody's for an admin.
pub async fn revoke(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    owner: UserId,
    id: ApiKeyId,
) -> Result<()> {
    caller.require_self_or_admin(owner)?;
    settle(|| async {
        let key = Key::api_key(owner, id);
        let was = core.table.read_one::<ApiKey>(key.clone()).await?.ok_or(Error::NotFound(ApiKeyId::WHAT))?;
        let mut change = Change::new();
        change.delete(&key, was.rev)?;
        change.record(&caller.event(core, request, Action::ApiKeyRevoke)?.about("api_key", id))?;
        core.table.commit(change).await
    })
    .await
}
