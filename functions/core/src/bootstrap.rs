//! The beginning of a deployment: the control versions, the first signing key, the first admin. Its operator makes them
//! (`deputize bootstrap`), with rights on the table that no function has.
//!
//! Each step is one transaction that happens or does not, and existing items are left alone. So it can be run twice, by
//! two operators at once, or again after a crash.
//!
//! A function learns that there are control versions by the read that every call and token makes. Where users manage
//! things, it learns it once, when a credential leads nowhere.

use secrecy::SecretString;

use crate::{
    Core,
    api_keys::{self, NewApiKey},
    audit::{Action, Event, RequestContext},
    error::{Error, Result},
    ids::UserId,
    table::{Change, CommitError, Key, retry_on_conflict},
    users::{self, Email, NewUser, Role, User, UserPointer},
};

/// The result of [`admin`].
#[derive(Debug)]
pub enum Admin {
    /// A new admin with an API key, whose text cannot be read again.
    Made(UserId, SecretString),
    /// Another API key of an existing admin.
    NewKey(UserId, SecretString),
    /// The admin existed already.
    WasThere(UserId),
}

/// The name of the API keys that are made here.
const KEY_NAME: &str = "bootstrap";

/// Makes the first admin of a bootstrapped deployment, unless an admin with this email exists. `new_key`
/// gives an existing admin another API key.
///
/// An existing user who is not an admin stays as they are. Their email may come from an issuer, which is not
/// enough to make them an admin.
pub async fn admin(core: &Core, request: &RequestContext, email: &Email, new_key: bool) -> Result<Admin> {
    retry_on_conflict(|| async {
        match core.table.read_one::<UserPointer>(Key::user_by_email(email)).await? {
            None => make(core, request, email).await,
            Some(pointer) => Ok(known(core, request, pointer.user_id, new_key).await?),
        }
    })
    .await
}

async fn make(core: &Core, request: &RequestContext, email: &Email) -> Result<Admin, CommitError> {
    let mut change = Change::new();
    let new = NewUser {
        email: Some(email.clone()),
        name: None,
        role: Role::Admin,
        groups: Vec::new(),
        identity: None,
    };
    let user = users::add_user(core, &mut change, new)?;
    let key = NewApiKey::for_everything(core, KEY_NAME);
    let (_, text) = api_keys::add_key(core, &mut change, (user.id, user.epoch), key)?;
    let event = event(core, request, Action::UserCreate)?.about("user", user.id);
    change.record(&event.changed(&(), &user.recorded())?)?;
    core.table.commit(change).await?;
    Ok(Admin::Made(user.id, text))
}

async fn known(core: &Core, request: &RequestContext, id: UserId, new_key: bool) -> Result<Admin> {
    let user = core.table.read_one::<User>(Key::user(id)).await?.ok_or(Error::NotFound(UserId::WHAT))?;
    if !user.is_admin() {
        return Err(Error::conflict(
            "a user with that email is there, and is no admin: let an admin change that, or give another email"
                .to_owned(),
        ));
    }
    if !user.active {
        return Err(Error::conflict(
            "the admin with that email is deactivated: let another admin change that, or give another email"
                .to_owned(),
        ));
    }
    if !new_key {
        return Ok(Admin::WasThere(id));
    }
    let mut change = Change::new();
    let new = NewApiKey::for_everything(core, KEY_NAME);
    let (key, text) = api_keys::add_key(core, &mut change, (id, user.epoch), new)?;
    let event = event(core, request, Action::ApiKeyCreate)?.about("api_key", key.id);
    change.record(&event.changed(&(), &key.recorded())?)?;
    core.table.commit(change).await.map_err(crate::fresh_id)?;
    Ok(Admin::NewKey(id, text))
}

/// An event of an action by an operator. All that is known of them is that they have rights on the table.
fn event(core: &Core, request: &RequestContext, action: Action) -> Result<Event> {
    Ok(Event { credential: Some("operator".to_owned()), ..Event::new(core, request, action)? })
}
