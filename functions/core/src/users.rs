//! People: who they are, how a credential of theirs leads to them, and what they may do.

mod address;
pub(crate) mod deleting;
mod listing;

use std::collections::HashSet;

use deputize_api::reason::Reason;

pub use self::listing::{UserFilter, UserOrder, list};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    epoch::Epoch,
    error::{Error, Result, Told},
    ids::UserId,
    listed::{relist, tidy},
    once::{Holds, once},
    table::{Change, Key, Stored, retry_on_conflict},
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
    pub email: Option<Email>,
    pub name: Option<String>,
    pub role: Option<Role>,
    pub active: Option<bool>,
    pub groups: Option<Vec<String>>,
    /// The complete new list of the user's identities.
    pub identities: Option<Vec<Identity>>,
    pub regrouping: Regrouping,
}

/// Groups that a user is to be in, or not, whatever others they are in.
#[derive(Clone, Debug, Default)]
pub struct Regrouping {
    pub add: Vec<String>,
    pub remove: Vec<String>,
}

/// The most groups that a user can be in. Each decision looks at all of them.
pub const MAX_GROUPS: usize = 50;

impl Regrouping {
    fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    fn apply(&self, groups: &mut Vec<String>) -> Result<()> {
        groups.retain(|group| !self.remove.contains(group));
        for group in &self.add {
            if !groups.contains(group) {
                groups.push(group.clone());
            }
        }
        if self.add.is_empty() || groups.len() <= MAX_GROUPS {
            return Ok(());
        }
        let why = format!("add_groups: the user would be in more than {MAX_GROUPS} groups");
        Err(Error::Conflict(Told::of(Reason::LimitReached, why)))
    }
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
            if gives.role {
                counted.role = counted.role.max(said.role.unwrap_or_default());
            }
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
        deactivated_by: None,
        epoch: Epoch::default(),
        deactivated_at: None,
        groups: new.groups,
        identities: new.identity.into_iter().collect(),
        claims: Vec::new(),
        counted: CountedClaims::default(),
        created_at: now,
        updated_at: now,
    };
    let pointer = UserPointer { user_id: user.id };
    change.create(Key::user(user.id), &user)?.create(Key::user_entry(user.id), &pointer)?;
    relist(change, None, Some(&user))?;
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
) -> Result<Stored<User>> {
    caller.require(Power::Manage)?;
    if new.email.is_none() && new.identity.is_none() {
        return Err(Error::invalid(
            "give an email or an identity: without one of them nobody can sign in as the user",
        ));
    }
    once(core, caller, request, Holds::NoSecret, || async {
        require_unknown(core, &new).await?;
        let mut change = caller.change()?;
        let user = add_user(core, &mut change, new.clone())?;
        let event = caller.event(core, request, Action::UserCreate)?.about("user", user.id);
        change.record(&event.changed(&(), &user.recorded())?)?;
        Ok((change, user))
    })
    .await
}

/// 409 if the new user's email or identity leads to a user already, also from where an address led formerly.
async fn require_unknown(core: &Core, new: &NewUser) -> Result<()> {
    let emails = new.email.iter().flat_map(Key::users_by_email);
    let keys: Vec<Key> = emails.chain(new.identity.iter().map(Identity::key)).collect();
    let mut found = core.table.read(keys.clone()).await?;
    for key in keys {
        if let Some(pointer) = found.take::<UserPointer>(&key)? {
            let what = "a user with that email or identity exists";
            return Err(taken_by(core, pointer.user_id, what.to_owned()).await?);
        }
    }
    Ok(())
}

/// The error for what leads to another user. A deleted one has it until they are erased.
async fn taken_by(core: &Core, user: UserId, what: String) -> Result<Error> {
    let is_deleted = core.table.read_one::<User>(Key::user(user)).await?.is_none();
    let why = if is_deleted {
        format!("{what}, who is deleted: restore them, or erase them (DELETE /api/v1/deleted/user/{user})")
    } else {
        what
    };
    Ok(Error::Conflict(Told::of(Reason::AlreadyExists, why).by_thing("user", user)))
}

pub async fn get(core: &Core, id: UserId) -> Result<Stored<User>> {
    let Stored { rev, value } =
        core.table.read_one::<User>(Key::user(id)).await?.ok_or(Error::NotFound(UserId::WHAT))?;
    Ok(Stored { rev, value: core.counting_claims(value) })
}

/// The user whose things a caller looks at, who mostly is the caller.
pub(crate) async fn looked_at(core: &Core, caller: &UserCaller, id: UserId) -> Result<Option<User>> {
    if id == caller.user.id {
        return Ok(Some(caller.user.clone()));
    }
    Ok(core.table.read_one::<User>(Key::user(id)).await?.map(|user| user.value))
}

impl UserUpdate {
    /// What it takes: operators may deactivate and reactivate people, and nothing else.
    fn takes(&self) -> Power {
        match self {
            Self {
                email: None,
                name: None,
                role: None,
                active: Some(_),
                groups: None,
                identities: None,
                regrouping,
            } if regrouping.is_empty() => Power::Operate,
            _ => Power::Manage,
        }
    }
}

/// Refuses an operator who would stop or bring back an admin, or bring back somebody whom an admin took out: with those
/// comes more than an operator has.
fn require_may_stop(caller: &UserCaller, user: &User, active: bool) -> Result<()> {
    if caller.has(Power::Manage) {
        return Ok(());
    }
    let why = if user.greatest_role() == Role::Admin {
        "Only an admin may deactivate or reactivate an admin"
    } else if active && !user.active && !caller.stops_as().may_lift(user.deactivated_by) {
        "An admin has deactivated the user; only an admin can reactivate them"
    } else {
        return Ok(());
    };
    Err(Error::Forbidden(Told::of(Reason::AdminRequired, why)))
}

/// Changes a user. Operators deactivate and reactivate people. Admins change any user, but cannot take away their own role or
/// deactivate themselves. An admin's change commits only while they are an admin. So there is always an admin, even if two
/// demote each other at the same time.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: UserId,
    update: UserUpdate,
) -> Result<Stored<User>> {
    caller.require(update.takes())?;
    let gives_up_role = update.active == Some(false) || update.role.is_some_and(|role| role < Role::Admin);
    if id == caller.user.id && gives_up_role {
        let role = caller.user.effective_role().name();
        let told = Told::new(format!("an {role} cannot deactivate or demote themselves"));
        return Err(Error::Conflict(told.by_thing("user", id)));
    }
    retry_on_conflict(|| async {
        let was = get(core, id).await?;
        request.require_match(&Key::user(id), was.rev)?;
        if id == caller.user.id {
            caller.require_same(&core.counting_claims(was.value.clone()))?;
        }
        let mut user = was.value.clone();
        user.email = update.email.clone().or(user.email);
        user.name = update.name.clone().or(user.name);
        user.role = update.role.unwrap_or(user.role);
        if let Some(active) = update.active {
            require_may_stop(caller, &was, active)?;
            user.set_active(active, caller.stops_as(), core.clock.now());
        }
        user.groups = update.groups.clone().unwrap_or(user.groups);
        update.regrouping.apply(&mut user.groups)?;
        user.identities = update.identities.clone().unwrap_or(user.identities);
        // What an issuer said was of whom it knew by the name that the user has no more.
        user.claims.retain(|said| was.identity_at(&said.issuer) == update_of(&user.identities, &said.issuer));
        user.updated_at = core.clock.now();
        let mut change = caller.change_of(&Key::user(id))?;
        let mut event = caller.event(core, request, Action::UserUpdate)?.about("user", id);
        let mut notes = Vec::new();
        if user.email != was.email {
            address::move_pointer(core, &mut change, &was, &user).await?;
        }
        if user.identities != was.identities {
            rebind(core, &mut change, &was, &user).await?;
            let names =
                user.identities.iter().map(|Identity { issuer, subject }| format!("{issuer} {subject}"));
            notes.push(format!("identities: {}", names.collect::<Vec<_>>().join(", ")));
        }
        if !notes.is_empty() {
            event = event.note(notes.join("; "));
        }
        change.replace(Key::user(id), &user, was.rev)?;
        let left = relist(&mut change, Some(&was.value), Some(&user))?;
        change.record(&event.changed(&was.recorded(), &user.recorded())?)?;
        core.table.commit(change).await?;
        tidy(&core.table, &Key::user(id), was.rev + 1, &left).await;
        Ok(Stored { rev: was.rev + 1, value: core.counting_claims(user) })
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
            Some(other) => {
                let Identity { issuer, subject } = identity;
                let why = format!("identities: {subject} of {issuer} is another user's");
                return Err(taken_by(core, other.user_id, why).await?);
            }
        };
    }
    Ok(())
}
