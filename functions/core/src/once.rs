//! Requests that may be sent again: one with an `Idempotency-Key` makes what it makes once, and each time gets the same
//! answer.
//!
//! A create function says what its change is and what it answers, and leaves the commit to [`once`]. That adds a note of
//! the answer to the change. So the two are one transaction: whatever breaks off, there is neither or both.
//!
//! - **Under way** is no state. Two requests with one key may both try. The transaction requires that there is no note
//!   yet, so one of them is too late, reads the note, and answers the same. The draft's 409 for a request that is under
//!   way is for servers that could not tell (section 2.6).
//! - **A refusal is not remembered.** It has changed nothing, so the same request may be sent again, and may succeed.
//! - **The note is the caller's own.** Its key is made of the user, of the app that calls as the user, and of the header.
//!   Another caller with the same header finds nothing.
//! - **It is sealed** under a key that is derived from the header's text, so a reader of the table needs that text. What
//!   holds a secret is also sealed in the vault, since a client may choose a text that can be guessed. The request's
//!   hash is inside too: a request can hold a secret.
//! - **It is good for a day.** What decides is the time in it. DynamoDB deletes it when it comes to it.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{
    Core,
    audit::RequestContext,
    caller::UserCaller,
    clock::Timestamp,
    error::{Error, Result, because},
    idempotency_key::IdempotencyKey,
    table::{Change, CommitError, Entity, Key, Stored, retry_on_conflict},
    vault::{self, Sealed},
};

/// How long an answer is remembered.
pub(crate) const REMEMBERED_FOR: Duration = Duration::from_hours(24);

/// What a note is sealed for ([`vault::seal_under`]).
const PURPOSE: &str = "idempotency key";

/// Whether a request or its answer holds a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    NoSecret,
    Secret,
}

/// What a request came to, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    sealed: String,
    expires_at: Timestamp,
}

impl Entity for Note {
    const KIND: &'static str = "answer to a request";
}

/// What is in a note.
#[derive(Serialize, Deserialize)]
struct Remembered<T> {
    request: String,
    rev: u64,
    made: T,
}

/// The request of a note, whatever was made.
#[derive(Deserialize)]
struct Of {
    request: String,
}

/// What is sealed under the header's text.
#[derive(Serialize, Deserialize)]
enum Inner {
    Plain(String),
    InVault(Sealed),
}

/// Makes the change that `attempt` decides on, and answers what it says, with the revision of what is made. `attempt` is
/// asked again if another change was faster. A request that was made before gets what that came to.
pub(crate) async fn once<T, F>(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    holds: Holds,
    attempt: impl Fn() -> F,
) -> Result<Stored<T>>
where
    T: Serialize + DeserializeOwned,
    F: Future<Output = Result<(Change, T), CommitError>>,
{
    // Of a request with a key, nobody needs to look whether it was carried out.
    let repeatable = |error| match error {
        Error::Undecided { retry_after, cause, .. } => {
            Error::Undecided { retry_after, repeatable: request.idempotency_key().is_some(), cause }
        }
        other => other,
    };
    let named = request.idempotency_key().map(|named| (note_key(caller, named), named));
    retry_on_conflict(|| async {
        if let Some((key, named)) = &named
            && let Some(made) = recall(core, key, named).await?
        {
            return Ok(made);
        }
        let (mut change, value) = match Box::pin(attempt()).await {
            Ok(decided) => decided,
            Err(refused) => {
                // The same request may have been carried out meanwhile, and what it made be in the way.
                if let Some((key, named)) = &named
                    && let Some(made) = recall(core, key, named).await?
                {
                    return Ok(made);
                }
                return Err(refused);
            }
        };
        let mut made = Stored { rev: change.rev_of_made(&core.random)?, value };
        if let Some((key, named)) = &named {
            made = remember(core, &mut change, key, named, holds, made).await?;
        }
        if !change.is_empty() {
            core.table.commit(change).await?;
        }
        Ok(made)
    })
    .await
    .map_err(repeatable)
}

/// An app is another caller than its user, and than the user's other apps.
fn note_key(caller: &UserCaller, named: &IdempotencyKey) -> Key {
    let app = caller.app.as_ref().map(|app| app.authorization.to_string()).unwrap_or_default();
    Key::once(&format!("{}\0{app}", caller.user.id), &named.name())
}

async fn remember<T: Serialize>(
    core: &Core,
    change: &mut Change,
    key: &Key,
    named: &IdempotencyKey,
    holds: Holds,
    Stored { rev, value }: Stored<T>,
) -> Result<Stored<T>> {
    let remembered = Remembered { request: named.request().to_owned(), rev, made: value };
    let text = Zeroizing::new(serde_json::to_string(&remembered).map_err(Error::internal)?);
    let inner = match holds {
        Holds::NoSecret => Inner::Plain(text.to_string()),
        Holds::Secret => Inner::InVault(core.vault.seal(key, text.as_bytes()).await?),
    };
    let inner = Zeroizing::new(serde_json::to_vec(&inner).map_err(Error::internal)?);
    let now = core.clock.now();
    let expires_at = now.plus(REMEMBERED_FOR);
    let sealed = vault::seal_under(&core.random, named.secret(), PURPOSE, key, &inner)?;
    change.create_anew(key.clone(), &Note { sealed, expires_at }, expires_at, now)?;
    Ok(Stored { rev, value: remembered.made })
}

/// What the request came to before, if it was made within the day. 422 if the key was another request's.
async fn recall<T: DeserializeOwned>(
    core: &Core,
    key: &Key,
    named: &IdempotencyKey,
) -> Result<Option<Stored<T>>> {
    let note = core.table.read_one::<Note>(key.clone()).await?;
    // In seconds, as in the condition under which another takes its place.
    let now = core.clock.now().as_seconds();
    let Some(note) = note.filter(|note| now < note.expires_at.as_seconds()) else { return Ok(None) };
    let unreadable = |why| Error::internal(because("a remembered answer cannot be read", why));
    let inner = vault::open_under(named.secret(), PURPOSE, key, &note.sealed)?;
    let text = match serde_json::from_slice(&inner).map_err(unreadable)? {
        Inner::Plain(text) => Zeroizing::new(text.into_bytes()),
        Inner::InVault(sealed) => core.vault.open(key, &sealed).await?.value,
    };
    // The request first: of another request, the answer may be of another type.
    let Of { request } = serde_json::from_slice(&text).map_err(unreadable)?;
    if request != named.request() {
        return Err(Error::IdempotencyKeyReused);
    }
    let Remembered { rev, made, .. } = serde_json::from_slice(&text).map_err(unreadable)?;
    Ok(Some(Stored { rev, value: made }))
}
