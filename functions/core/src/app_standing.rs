//! Whether an app may still act for its user, and whether what it made for them still stands.
//!
//! An app's tokens, and the delegations and session grants that it made, rest on the user's *authorization* of it. They
//! end with that, with the user, and when an admin blocks the app or the host that it is from. Here alone that is
//! decided. Whoever asks has read [`MadeByApp::keys`] beside everything else, or has it read by [`read`].

use std::collections::HashSet;

use crate::{
    Core,
    checked::Checked,
    clock::Timestamp,
    entities::app::{App, AppKind, Authorization, MadeByApp},
    epoch::Epoch,
    error::Result,
    ids::UserId,
    table::{Found, Key},
    users::User,
};

/// Why an app may not act for its user any more. The texts are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AppEnded {
    #[error("The user's authorization of the app is revoked or has expired")]
    Authorization,
    /// An admin will not have it.
    #[error("{0}")]
    Refused(&'static str),
    #[error("The user was deactivated after they allowed the app")]
    UserWasDeactivated,
}

/// Why an app may not act at all, by what admins said of it. This is the only place that decides it.
pub(crate) fn refusal_of(known: Option<&App>, host_is_blocked: bool, kind: AppKind) -> Option<&'static str> {
    // An app that is only blocked has an item too.
    if kind == AppKind::Registered && known.is_none_or(|known| known.registration.is_none()) {
        return Some("The app is not registered any more");
    }
    let is_blocked = host_is_blocked || known.is_some_and(|known| known.blocked_at.is_some());
    is_blocked.then_some("An admin has blocked the app")
}

/// The authorization on which an app acts for its user, or acted when it made something, if it is still good. `epoch` is
/// the user's. This is the only place that decides it.
pub(crate) fn standing(
    found: &Found,
    app: &MadeByApp,
    user: UserId,
    epoch: Epoch,
    now: Timestamp,
) -> Result<Checked<Authorization, AppEnded>> {
    let authorization = found.get::<Authorization>(&Key::authorization(user, app.authorization_id))?;
    let authorization =
        authorization.filter(|authorization| authorization.app == app.app && authorization.is_live(now));
    let Some(authorization) = authorization else { return Ok(Checked::Invalid(AppEnded::Authorization)) };
    let known = found.get::<App>(&Key::app(&app.app))?;
    let host_is_blocked = app.app_host.as_deref().is_some_and(|host| found.contains(&Key::app_host(host)));
    if let Some(why) = refusal_of(known.as_deref(), host_is_blocked, authorization.app_kind) {
        return Ok(Checked::Invalid(AppEnded::Refused(why)));
    }
    if authorization.user_epoch != epoch {
        return Ok(Checked::Invalid(AppEnded::UserWasDeactivated));
    }
    Ok(Checked::Valid(authorization.value))
}

/// Of what apps made, what still stands. What no app made stands by itself.
#[derive(Debug, Default)]
pub(crate) struct Standing(HashSet<MadeByApp>);

impl Standing {
    pub(crate) fn of(&self, made_by: Option<&MadeByApp>) -> bool {
        made_by.is_none_or(|app| self.0.contains(app))
    }
}

/// The items that say whether what an app made for a user still stands.
pub(crate) fn keys(user: UserId, app: &MadeByApp) -> Vec<Key> {
    let mut keys = app.keys(user);
    keys.push(Key::user(user));
    keys
}

/// Of what apps made for users, what still stands by items that have been read: [`keys`] of each.
pub(crate) fn by<'a>(
    core: &Core,
    found: &Found,
    made: impl IntoIterator<Item = (UserId, &'a MadeByApp)>,
) -> Result<Standing> {
    let mut standing = HashSet::new();
    for (id, app) in made {
        let Some(user) = found.get::<User>(&Key::user(id))? else { continue };
        if self::standing(found, app, id, user.epoch, core.clock.now())?.as_valid().is_some() {
            standing.insert(app.clone());
        }
    }
    Ok(Standing(standing))
}

/// Reads whether what apps made for users still stands. If no app made any of it, nothing is read.
pub(crate) async fn read<'a>(
    core: &Core,
    made: impl IntoIterator<Item = (UserId, Option<&'a MadeByApp>)>,
) -> Result<Standing> {
    let made: Vec<_> = made.into_iter().filter_map(|(user, app)| Some((user, app?))).collect();
    let found = core.table.read(made.iter().flat_map(|(user, app)| keys(*user, app)).collect()).await?;
    by(core, &found, made)
}
