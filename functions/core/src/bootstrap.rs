//! The beginning of a deployment: the control versions, the first signing key, the first admin. Done by its
//! operator, with rights on the table that no function has.
//!
//! Each step is one transaction that happens or does not, and what is there is left alone. So it can be run twice,
//! by two at once, or again after it broke off.

use secrecy::SecretString;

use crate::{
    Core, api_keys,
    audit::{Action, Event, Request},
    error::{Error, Result},
    ids::UserId,
    table::{Attempt, Change, Key, settle},
    users::{self, Email, NewUser, Role, User, UserPointer},
};

/// What [`admin`] came to.
#[derive(Debug)]
pub enum Admin {
    /// A new admin, with their API key, which nobody can see again.
    Made(UserId, SecretString),
    /// Another API key of an admin who was there.
    NewKey(UserId, SecretString),
    /// The admin was there.
    WasThere(UserId),
}

/// The name of the API keys that are made here.
const KEY_NAME: &str = "bootstrap";

/// Makes a bootstrapped deployment's admin, unless somebody with that email is. `new_key` gives one who was there
/// another API key.
///
/// A user who is there and no admin stays what they are: an email that an issuer has told of is not enough for
/// making somebody an admin.
pub async fn admin(core: &Core, request: &Request, email: &Email, new_key: bool) -> Result<Admin> {
    settle(|| async {
        match core.table.read_one::<UserPointer>(Key::user_by_email(email)).await? {
            None => make(core, request, email).await,
            Some(pointer) => Ok(known(core, request, pointer.user_id, new_key).await?),
        }
    })
    .await
}

async fn make(core: &Core, request: &Request, email: &Email) -> Result<Admin, Attempt> {
    let mut change = Change::new();
    let new = NewUser {
        email: Some(email.clone()),
        name: None,
        role: Role::Admin,
        groups: Vec::new(),
        identity: None,
    };
    let user = users::add_user(core, &mut change, new)?;
    let (_, text) = api_keys::add_key(core, &mut change, user.id, KEY_NAME.to_owned(), None)?;
    change.record(&event(core, request, Action::UserCreate)?.about("user", user.id))?;
    core.table.commit(change).await?;
    Ok(Admin::Made(user.id, text))
}

async fn known(core: &Core, request: &Request, id: UserId, new_key: bool) -> Result<Admin> {
    let user = core.table.read_one::<User>(Key::user(id)).await?.ok_or(Error::NotFound(UserId::WHAT))?;
    if !user.is_admin() {
        return Err(Error::Conflict(
            "a user with that email is there, and is no admin: let an admin change that, or give another email"
                .to_owned(),
        ));
    }
    if !user.active {
        return Err(Error::Conflict(
            "the admin with that email is deactivated: let another admin change that, or give another email"
                .to_owned(),
        ));
    }
    if !new_key {
        return Ok(Admin::WasThere(id));
    }
    let mut change = Change::new();
    let (key, text) = api_keys::add_key(core, &mut change, id, KEY_NAME.to_owned(), None)?;
    change.record(&event(core, request, Action::ApiKeyCreate)?.about("api_key", key.id))?;
    core.table.commit(change).await.map_err(crate::fresh_id)?;
    Ok(Admin::NewKey(id, text))
}

/// Done by whoever has rights on the table, which is all that is known of them.
fn event(core: &Core, request: &Request, action: Action) -> Result<Event> {
    Ok(Event { credential: Some("operator".to_owned()), ..Event::new(core, request, action)? })
}
