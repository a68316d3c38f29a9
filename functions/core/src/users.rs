//! People: who they are, how a credential of theirs leads to them, and what they may do.

use std::collections::HashSet;

use deputize_api::reason::Reason;

use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    epoch::Epoch,
    error::{Error, Result, Told},
    ids::UserId,
    paging::{Listing, PageRequest},
    table::{Change, CommitError, Key, Partition, Stored, retry_on_conflict},
};
pub use crate::{
    email::{Email, InvalidEmail},
    entities::user::{CountedClaims, Identity, IssuerClaims, MAX_IDENTITIES, Role, User, UserPointer},
};

#[derive(Clone, Debug)]
pub struct NewUser {
    pub email: Option<Email>,
    pub name: Option<String>,
    pub role: Role,
    pub groups: Vec<String>,
    pub identity: Option<Identity>,
}

/// What to change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UserUpdate {
    pub name: Option<String>,
    pub role: Option<Role>,
    pub active: Option<bool>,
    pub groups: Option<Vec<String>>,
    /// The complete new list of the user's identities.
    pub identities: Option<Vec<Identity>>,
}

impl Core {
    /// The user, with the claims of theirs that count now: not too old, of an issuer that may make them and that knows
    /// the user. This is the only place that decides it.
    pub(crate) fn counting_claims(&self, mut user: User) -> User {
        let since = self.clock.now().minus(self.settings.claims_max_age);
        let mut counted = CountedClaims::default();
        for said in user.claims.iter().filter(|said| since <= said.issued_at) {
            if user.identity_at(&said.issuer).is_none() {
                continue;
            }
            let gives = self.issuers.gives(&said.issuer);
            if gives.groups {
                counted.groups.extend(said.groups.iter().cloned());
            }
            counted.is_admin |= gives.role && said.role == Some(Role::Admin);
        }
        user.counted = counted;
        user
    }
}

/// Adds a user, and the pointers that lead to them, to a change.
pub(crate) fn add_user(core: &Core, change: &mut Change, new: NewUser) -> Result<User> {
    let now = core.clock.now();
    let user = User {
        id: UserId(core.random.uuid()?),
        email: new.email,
        name: new.name,
        role: new.role,
        active: true,
        epoch: Epoch::default(),
        groups: new.groups,
        identities: new.identity.into_iter().collect(),
        claims: Vec::new(),
        counted: CountedClaims::default(),
        created_at: now,
        updated_at: now,
    };
    let pointer = UserPointer { user_id: user.id };
    change.create(Key::user(user.id), &user)?.create(Key::user_entry(user.id), &pointer)?;
    if let Some(email) = &user.email {
        change.create(Key::user_by_email(email), &pointer)?;
    }
    for identity in &user.identities {
        change.create(identity.key(), &pointer)?;
    }
    Ok(user)
}

/// Creates a user. Admins only.
pub async fn create(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    new: NewUser,
) -> Result<User> {
    caller.require(Power::Manage)?;
    let exists = || {
        Error::Conflict(Told::of(
            Reason::AlreadyExists,
            "a user with that email or identity exists".to_owned(),
        ))
    };
    // The transaction sees to where the address leads from now; where it led from formerly, nobody is made any more.
    let formerly: Vec<Key> = new.email.iter().flat_map(Key::users_by_email).skip(1).collect();
    let found = core.table.read(formerly.clone()).await?;
    if formerly.iter().any(|key| found.contains(key)) {
        return Err(exists());
    }
    let mut change = caller.change()?;
    let user = add_user(core, &mut change, new)?;
    change.record(&caller.event(core, request, Action::UserCreate)?.about("user", user.id))?;
    match core.table.commit(change).await {
        Ok(()) => Ok(user),
        Err(CommitError::ConditionFailed) => Err(exists()),
        Err(CommitError::Failed(error)) => Err(error),
    }
}

pub async fn get(core: &Core, id: UserId) -> Result<Stored<User>> {
    let Stored { rev, value } =
        core.table.read_one::<User>(Key::user(id)).await?.ok_or(Error::NotFound(UserId::WHAT))?;
    Ok(Stored { rev, value: core.counting_claims(value) })
}

/// All users, in no particular order. Admins only.
pub async fn list(core: &Core, caller: &UserCaller, page: &PageRequest) -> Result<Listing<User>> {
    caller.require(Power::Read)?;
    let users = page
        .list_entries(core, &Partition::users(), |pointer: &UserPointer| Key::user(pointer.user_id))
        .await?;
    Ok(users.map(|user| core.counting_claims(user)))
}

/// Changes a user. Admins change any user, but cannot take away their own role or deactivate themselves. An
/// admin's change commits only while they are an admin. So there is always an admin, even if two demote each
/// other at the same time.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: UserId,
    update: UserUpdate,
) -> Result<User> {
    caller.require(Power::Manage)?;
    let gives_up_admin = update.active == Some(false) || update.role == Some(Role::User);
    if id == caller.user.id && gives_up_admin {
        return Err(Error::conflict("an admin cannot deactivate or demote themselves".to_owned()));
    }
    retry_on_conflict(|| async {
        let was = get(core, id).await?;
        if id == caller.user.id {
            caller.require_same(&core.counting_claims(was.value.clone()))?;
        }
        let mut user = was.value.clone();
        user.name = update.name.clone().or(user.name);
        user.role = update.role.unwrap_or(user.role);
        user.set_active(update.active.unwrap_or(user.active));
        user.groups = update.groups.clone().unwrap_or(user.groups);
        user.identities = update.identities.clone().unwrap_or(user.identities);
        // What an issuer said was of whom it knew by the name that the user has no more.
        user.claims.retain(|said| was.identity_at(&said.issuer) == update_of(&user.identities, &said.issuer));
        user.updated_at = core.clock.now();
        let mut change = caller.change_of(&Key::user(id))?;
        let mut event = caller.event(core, request, Action::UserUpdate)?.about("user", id);
        if user.identities != was.identities {
            rebind(core, &mut change, &was, &user).await?;
            let names =
                user.identities.iter().map(|Identity { issuer, subject }| format!("{issuer} {subject}"));
            event = event.note(format!("identities: {}", names.collect::<Vec<_>>().join(", ")));
        }
        change.replace(Key::user(id), &user, was.rev)?;
        change.record(&event)?;
        core.table.commit(change).await?;
        Ok(core.counting_claims(user))
    })
    .await
}

fn update_of<'a>(identities: &'a [Identity], issuer: &str) -> Option<&'a Identity> {
    identities.iter().find(|identity| identity.issuer == issuer)
}

/// Adds to a change the pointers that a user gets, and removes those that they lose.
async fn rebind(core: &Core, change: &mut Change, was: &User, user: &User) -> Result<()> {
    let issuers: HashSet<&str> = user.identities.iter().map(|identity| &*identity.issuer).collect();
    if issuers.len() < user.identities.len() {
        return Err(Error::conflict("identities: a user has one subject of each issuer".to_owned()));
    }
    let removed: Vec<_> = was.identities.iter().filter(|known| !user.identities.contains(known)).collect();
    let added: Vec<_> = user.identities.iter().filter(|known| !was.identities.contains(known)).collect();
    if !user.active && !removed.is_empty() {
        // Whom they name would come again as somebody new.
        return Err(Error::conflict(
            "a deactivated user keeps their identities, which keep them out: reactivate them first"
                .to_owned(),
        ));
    }
    let mut found =
        core.table.read(removed.iter().chain(&added).map(|identity| identity.key()).collect()).await?;
    for key in removed.iter().map(|identity| identity.key()) {
        match found.take::<UserPointer>(&key)? {
            Some(pointer) if pointer.user_id == user.id => change.delete(&key, pointer.rev)?,
            _ => continue,
        };
    }
    for (key, identity) in added.iter().map(|identity| (identity.key(), identity)) {
        match found.take::<UserPointer>(&key)? {
            None => change.create(key, &UserPointer { user_id: user.id })?,
            // It was bound before users had a list of identities.
            Some(pointer) if pointer.user_id == user.id => continue,
            Some(_) => {
                let Identity { issuer, subject } = identity;
                return Err(Error::conflict(format!("identities: {subject} of {issuer} is another user's")));
            }
        };
    }
    Ok(())
}
