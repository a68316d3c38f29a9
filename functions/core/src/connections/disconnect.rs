//! Ending a connection: at its provider, and then here.
//!
//! In this order, since the tokens are needed to ask. If the process dies in between, the connection is still there, and
//! ending it again asks again; a provider takes a token that it does not know for revoked (RFC 7009 section 2.2).

use std::sync::{Mutex, PoisonError};

use super::revoke::{AtProvider, at_provider};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    error::{Error, Result},
    gone,
    ids::{ServerId, UserId},
    sessions::{CONNECTION, Session},
    table::{Key, Stored, retry_on_conflict},
};

/// Deletes the caller's own session at a server. Grants that use it remain, but have no session.
pub async fn disconnect(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    server: &ServerId,
) -> Result<()> {
    caller.require_server(server)?;
    let ended = end(core, caller, request, caller.user.id, server).await;
    let ended = ended.and_then(|ended| ended.map(drop).ok_or(Error::NotFound(CONNECTION)));
    gone::or_before(core, &Key::session(caller.user.id, server), CONNECTION, ended).await
}

/// Ends a user's session at a server: the caller's own, or any user's for an admin. `None` if there is none.
pub(crate) async fn end(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    user: UserId,
    server: &ServerId,
) -> Result<Option<AtProvider>> {
    caller.require_self_or(user, Power::Operate)?;
    let key = Key::session(user, server);
    // What came of asking about the tokens that were there last.
    let asked: Mutex<Option<(Stored<Session>, AtProvider)>> = Mutex::default();
    retry_on_conflict(|| async {
        let Some(was) = core.table.read_one::<Session>(key.clone()).await? else { return Ok(None) };
        let known = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let at_provider = match known {
            Some((about, came_to)) if about.has_tokens_of(&was) => came_to,
            _ => at_provider(core, &was).await,
        };
        *asked.lock().unwrap_or_else(PoisonError::into_inner) = Some((was.clone(), at_provider.clone()));
        let event = caller.event(core, request, Action::ConnectionDelete)?.server(server.clone());
        let note = if user == caller.user.id {
            at_provider.to_string()
        } else {
            format!("of the user {user}; {at_provider}")
        };
        let mut change = caller.change()?;
        was.delete(&mut change)?;
        gone::note(core, &mut change, &key)?;
        let event = event.about("connection", server).note(note).changed(&was.recorded(), &())?;
        change.record(&event)?;
        core.table.commit(change).await?;
        Ok(Some(at_provider))
    })
    .await
}
