//! Which user an issuer's subject is.
//!
//! An issuer never gives a subject to another person. It may do so with an email address (OpenID Connect Core section
//! 5.7). So a user *is* the issuers' subjects that are bound to them, and an email is only the way to the first one:
//!
//! 1. The pointer by issuer and subject is read beside the one by email, if the issuer links. If it exists, it decides,
//!    and the email is not used. That is the steady state: one read, no write.
//! 2. Otherwise the email may lead to a user. The user must be active, and known to this issuer by no other subject.
//!    They must be known to no other issuer either, unless `link_by_email` is `"any"` (never for a user with a role). Then the
//!    subject is bound.
//! 3. Otherwise an issuer that provisions makes a user. The new user gets the email if no other user has it. That is
//!    read, not concluded from a lost race. If a deactivated or deleted user has the email, no user is made, whether the
//!    email is verified or not.
//!
//! **Binding** is one transaction: the pointer, which decides from then on, and the list in the user's item, by which a
//! second subject is refused. It is conditional on the user being as they were read. So of two subjects with one email
//! at the same time, one is refused. What an admin may change is in [`crate::users::update`]; pointer and list change
//! together there too.
//!
//! Every function that reads a user's token may bind, including the token endpoint. It may be the first to see a
//! subject. If it only trusted the email each time, it would trust the address's present holder.
//!
//! A subject that was bound before there was a list is added to it when it is next seen.

use deputize_api::reason::Reason;

use crate::{
    Core,
    audit::{Action, Event, RequestContext},
    caller::CredentialId,
    control::{self, Control},
    error::{Error, Result, Told},
    issuers::{LinkByEmail, UserToken},
    lookup::ResolvedUser,
    table::{Change, CommitError, Found, Key, Stored, retry_on_conflict},
    users::{self, NewUser, Role, User, UserPointer},
};

/// Why a valid token leads to no user. The texts are answered to the token's holder, so they do not say who
/// has the address, nor whether it is an admin's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UserRefusal {
    #[error("The token's user is unknown here")]
    Unknown,
    #[error("The user is deactivated")]
    Deactivated,
    /// What leads to them stays until they are erased.
    #[error("The user was deleted; an admin can restore or erase them")]
    Deleted,
    #[error(
        "The user with the token's email address is known to its issuer by another sub; an admin can replace that by the user's identities (PATCH /api/v1/users/{{user_id}})"
    )]
    OtherSubject,
    #[error(
        "The user with the token's email address is known to another issuer, and this one may not lead to them; an admin can add it to the user's identities (PATCH /api/v1/users/{{user_id}}), or the operator can set the issuer's link_by_email to any, which leads to no admin"
    )]
    OtherIssuer,
}

/// What a good token has come to.
#[derive(Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, on its way to the caller")]
pub(crate) enum Admission {
    Admitted(User),
    Refused(UserRefusal),
}

impl Admission {
    pub(crate) fn user(self) -> Result<User, UserRefusal> {
        match self {
            Self::Admitted(user) => Ok(user),
            Self::Refused(refusal) => Err(refusal),
        }
    }
}

impl UserRefusal {
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Unknown => Reason::UserUnknown,
            Self::Deactivated | Self::Deleted => Reason::UserInactive,
            Self::OtherSubject | Self::OtherIssuer => Reason::IdentityConflict,
        }
    }
}

/// The user, if their token may lead to them, its subject bound and its claims taken over.
pub(crate) async fn link_user(
    core: &Core,
    request: &RequestContext,
    token: &UserToken,
    resolved: ResolvedUser,
    user: Stored<User>,
) -> Result<Admission> {
    let admission = linked(core, request, token, resolved, user).await?;
    learn(core, request, token, admission).await
}

/// Whom a token leads to, from the token alone.
pub(crate) async fn admit(core: &Core, request: &RequestContext, token: &UserToken) -> Result<Admission> {
    let mut found = core.table.read(token.pointers()).await?;
    match token.resolve(core, &mut found)? {
        Some(resolved) => match core.table.read_one::<User>(Key::user(resolved.user)).await? {
            Some(user) => link_user(core, request, token, resolved, user).await,
            None => Ok(Admission::Refused(UserRefusal::Deleted)),
        },
        None if token.provision => provision(core, request, token).await,
        None => Ok(Admission::Refused(UserRefusal::Unknown)),
    }
}

/// Takes over what a token says of the user's groups and role, if it is newer than what is known. The answer is the user
/// with what counts.
async fn learn(
    core: &Core,
    request: &RequestContext,
    token: &UserToken,
    admission: Admission,
) -> Result<Admission> {
    let Admission::Admitted(user) = admission else { return Ok(admission) };
    let said = token.claims.as_deref().filter(|said| user.clone().learn(said));
    let Some(said) = said else { return Ok(Admission::Admitted(core.counting_claims(user))) };
    let id = user.id;
    retry_on_conflict(|| async {
        let was = core.table.read_one::<User>(Key::user(id)).await?.filter(|user| user.active);
        let Some(Stored { rev, value: was }) = was else {
            return Ok(Admission::Refused(UserRefusal::Deactivated));
        };
        let mut user = was.clone();
        // Another token of theirs may have been faster.
        if user.learn(said) {
            let mut change = Change::new();
            let known = was.claims.iter().find(|known| known.issuer == said.issuer);
            let (groups, role) = known.map_or((&[][..], None), |known| (&known.groups[..], known.role));
            if groups != said.groups || role != said.role {
                user.updated_at = core.clock.now();
                let role = said.role.map_or("none", users::Role::name);
                let note = format!("by {}: role {role}, groups {}", said.issuer, said.groups.join(", "));
                let event = event(core, request, Action::UserUpdate, token, &user)?.note(note);
                change.record(&event.changed(&was.recorded(), &user.recorded())?)?;
            }
            change.replace(Key::user(id), &user, rev)?;
            core.table.commit(change).await?;
        }
        Ok(Admission::Admitted(core.counting_claims(user)))
    })
    .await
}

async fn linked(
    core: &Core,
    request: &RequestContext,
    token: &UserToken,
    resolved: ResolvedUser,
    user: Stored<User>,
) -> Result<Admission> {
    if !user.active {
        return Ok(Admission::Refused(UserRefusal::Deactivated));
    }
    if !resolved.by_email {
        if user.identities.contains(&token.identity()) {
            return Ok(Admission::Admitted(user.value));
        }
        return list(core, request, token, user).await.map(Admission::Admitted);
    }
    match bind(core, request, token, user).await {
        Err(CommitError::ConditionFailed) => {}
        Err(CommitError::Failed(error)) => return Err(error),
        Ok(done) => return Ok(done),
    }
    retry_on_conflict(|| async {
        let mut found = core.table.read(token.pointers()).await?;
        let Some(resolved) = token.resolve(core, &mut found)? else {
            return Ok(Admission::Refused(UserRefusal::Unknown));
        };
        let user = core.table.read_one::<User>(Key::user(resolved.user)).await?;
        match user {
            None => Ok(Admission::Refused(UserRefusal::Deleted)),
            Some(user) if !user.active => Ok(Admission::Refused(UserRefusal::Deactivated)),
            // Somebody else has bound it meanwhile.
            Some(user) if !resolved.by_email => Ok(Admission::Admitted(user.value)),
            Some(user) => bind(core, request, token, user).await,
        }
    })
    .await
}

async fn bind(
    core: &Core,
    request: &RequestContext,
    token: &UserToken,
    was: Stored<User>,
) -> Result<Admission, CommitError> {
    // Items that are read together need not be of one moment: it has been bound since the pointer was read.
    if was.identities.contains(&token.identity()) {
        return Err(CommitError::ConditionFailed);
    }
    if let Err(refusal) = may_link(token, &was) {
        return Ok(Admission::Refused(refusal));
    }
    let mut change = Change::new();
    let identity = token.identity();
    let pointer = UserPointer { user_id: was.id };
    change.create(Key::user_by_identity(&identity.issuer, &identity.subject), &pointer)?;
    let user = add(core, request, &mut change, token, was)?;
    core.table.commit(change).await?;
    Ok(Admission::Admitted(user))
}

/// Whether a token's email may lead to this active user for good.
fn may_link(token: &UserToken, user: &User) -> Result<(), UserRefusal> {
    if token.linking_email().is_none() || token.linking_email() != user.email.as_ref() {
        return Err(UserRefusal::Unknown);
    }
    if user.identities.iter().any(|known| known.issuer == token.issuer) {
        return Err(UserRefusal::OtherSubject);
    }
    // Those who have a role can be linked once, since the first admin is made by an email address (`deputize bootstrap`).
    match (user.identities.is_empty(), token.links) {
        (true, _) => Ok(()),
        (false, LinkByEmail::Any)
            if user.greatest_role() == Role::User && user.identities.len() < users::MAX_IDENTITIES =>
        {
            Ok(())
        }
        (false, _) => Err(UserRefusal::OtherIssuer),
    }
}

/// Adds the token's identity to a user, as part of a change.
fn add(
    core: &Core,
    request: &RequestContext,
    change: &mut Change,
    token: &UserToken,
    was: Stored<User>,
) -> Result<User> {
    let Stored { rev, value: mut user } = was;
    let before = user.clone();
    user.identities.push(token.identity());
    user.updated_at = core.clock.now();
    let mut event = event(core, request, Action::IdentityBind, token, &user)?;
    event = event.note(format!("{} {}", token.issuer, token.subject));
    event = event.changed(&before.recorded(), &user.recorded())?;
    change.replace(Key::user(user.id), &user, rev)?.record(&event)?;
    Ok(user)
}

/// Adds an identity to a user's list if it was bound before users had such a list. Otherwise a second one
/// would be accepted.
async fn list(core: &Core, request: &RequestContext, token: &UserToken, was: Stored<User>) -> Result<User> {
    let unlisted = was.value.clone();
    let mut change = Change::new();
    let user = add(core, request, &mut change, token, was)?;
    match core.table.commit(change).await {
        Ok(()) => Ok(user),
        // The next request does it.
        Err(CommitError::ConditionFailed) => Ok(unlisted),
        Err(CommitError::Failed(error)) => Err(error),
    }
}

fn event(
    core: &Core,
    request: &RequestContext,
    action: Action,
    token: &UserToken,
    user: &User,
) -> Result<Event> {
    Ok(Event {
        user_id: Some(user.id),
        credential: Some(CredentialId::UserToken(token.issuer.clone()).to_string()),
        ..Event::new(core, request, action)?.about("user", user.id)
    })
}

/// Makes a user of a subject that is seen for the first time. If somebody else just has, theirs it is. If the email is
/// an active user's, the new one is made without; if it is a deactivated or deleted user's, nobody is made.
pub(crate) async fn provision(core: &Core, request: &RequestContext, token: &UserToken) -> Result<Admission> {
    let admission = provisioned(core, request, token).await?;
    learn(core, request, token, admission).await
}

async fn provisioned(core: &Core, request: &RequestContext, token: &UserToken) -> Result<Admission> {
    let identity = token.identity();
    let identity_key = Key::user_by_identity(&identity.issuer, &identity.subject);
    let control_key = Control::any_key(core)?;
    let email_keys: Vec<Key> = token.claimed_email.iter().flat_map(Key::users_by_email).collect();
    retry_on_conflict(|| async {
        let mut keys = vec![identity_key.clone(), control_key.clone()];
        keys.extend(email_keys.iter().cloned());
        let mut found = core.table.read(keys).await?;
        // No user is made before the operator has made an admin.
        found.take::<Control>(&control_key)?.ok_or_else(control::missing)?;
        if let Some(pointer) = found.take::<UserPointer>(&identity_key)? {
            let user = core.table.read_one::<User>(Key::user(pointer.user_id)).await?;
            return Ok(match user {
                None => Admission::Refused(UserRefusal::Deleted),
                Some(user) if !user.active => Admission::Refused(UserRefusal::Deactivated),
                Some(user) => Admission::Admitted(user.value),
            });
        }
        let holder = match holder(&email_keys, &mut found)? {
            None => None,
            Some(pointer) => match core.table.read_one::<User>(Key::user(pointer.user_id)).await? {
                None => return Ok(Admission::Refused(UserRefusal::Deleted)),
                there => there,
            },
        };
        let email = match holder {
            None => token.email.clone(),
            Some(holder) if !holder.active => return Ok(Admission::Refused(UserRefusal::Deactivated)),
            // They have come between: the email leads to them, or does not.
            Some(holder) if token.linking_email().is_some() => {
                return bind(core, request, token, holder).await;
            }
            Some(_) => None,
        };
        let new = NewUser {
            email,
            name: token.name.clone(),
            role: Role::User,
            groups: Vec::new(),
            identity: Some(identity.clone()),
        };
        let mut change = Change::new();
        let user = users::add_user(core, &mut change, new)?;
        let event = event(core, request, Action::UserProvision, token, &user)?;
        change.record(&event.changed(&(), &user.recorded())?)?;
        core.table.commit(change).await?;
        Ok(Admission::Admitted(user))
    })
    .await
}

/// The pointer of the email, if there is one.
fn holder(keys: &[Key], found: &mut Found) -> Result<Option<UserPointer>> {
    for key in keys {
        if let Some(pointer) = found.take::<UserPointer>(key)? {
            return Ok(Some(pointer.value));
        }
    }
    Ok(None)
}

impl From<UserRefusal> for Error {
    fn from(refusal: UserRefusal) -> Self {
        Self::Unauthenticated(Told::by(refusal.reason(), refusal))
    }
}
