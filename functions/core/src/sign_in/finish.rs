//! The way back from the provider.
//!
//! The order of checks: whose browser it is, and which sign-in; who answers (RFC 9207), before anything of the answer is
//! believed or shown; the code; the ID token; the user.

use secrecy::{ExposeSecret, SecretString};

use super::{Attempt, LocalPath, provider, redirect_uri, secrets};
use crate::{
    Core,
    audit::{Action, Event, RequestContext},
    browser_sessions::{self, BrowserSession, NewBrowserSession},
    caller::CredentialId,
    clock::Timestamp,
    connections::{AuthorizationGrant, TokenRequest, TokenRequestError, ask_for_tokens, quoted},
    error::{Error, Result, Told, UpstreamFailure},
    identities::{self, Admission},
    issuers::{IdToken, SignIn, TrustedIssuer},
    secret::PresentedSecret,
    table::{Change, CommitError, Entity, Key, retry_on_conflict},
    users::User,
};

/// What a browser brings back (RFC 6749 section 4.1.2, RFC 9207 section 2).
#[derive(Debug, Default)]
pub struct ProviderAnswer<'a> {
    pub state: &'a str,
    pub code: Option<&'a str>,
    pub iss: Option<&'a str>,
    pub error: Option<&'a str>,
    pub error_description: Option<&'a str>,
    /// The attempt's cookie, and that with where to go on.
    pub cookie: Option<&'a str>,
    pub return_to: Option<&'a str>,
    /// The cookie of the session that this browser had until now.
    pub session: Option<&'a str>,
}

/// A person has signed in.
#[derive(Debug)]
pub struct FinishedSignIn {
    /// The cookie of their session.
    pub cookie: SecretString,
    pub return_to: LocalPath,
}

/// That a sign-in was finished, so that it is not finished again.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Finished {
    at: Timestamp,
}

impl Entity for Finished {
    const KIND: &'static str = "finished sign-in";
}

/// How long that is remembered: longer than an attempt lasts.
const REMEMBERED_FOR: std::time::Duration = std::time::Duration::from_mins(15);

/// The longest parameter that is accepted, in bytes.
const MAX_PARAMETER: usize = 4096;

/// Finishes a sign-in, once.
pub async fn finish(
    core: &Core,
    request: &RequestContext,
    provider_id: &str,
    answer: ProviderAnswer<'_>,
) -> Result<FinishedSignIn> {
    let provider = provider(core, provider_id)?;
    let ProviderAnswer { state, code, iss, cookie, .. } = answer;
    if [Some(state), code, iss].into_iter().flatten().any(|text| text.len() > MAX_PARAMETER) {
        return Err(Error::invalid("The identity provider's answer is too long"));
    }
    let now = core.clock.now();
    let attempt = cookie.and_then(|cookie| {
        Attempt::of(provider_id, cookie, answer.return_to.unwrap_or_default(), state, now)
    });
    let attempt = attempt.ok_or_else(|| {
        Error::invalid(
            "This sign-in was not begun in this browser, or longer than ten minutes ago; sign in again",
        )
    })?;
    let metadata = core.issuers.metadata_of(core, provider).await?;
    let is_from_provider = match iss {
        Some(iss) => provider.is_called(iss),
        None => !metadata.sends_iss,
    };
    if !is_from_provider {
        return Err(Error::invalid(
            "The answer is not from the identity provider that was asked, so it was not used; sign in again, and \
             tell your administrator if this happens again",
        ));
    }
    let Some(granted) = code.filter(|code| answer.error.is_none() && !code.is_empty()) else {
        return Err(declined(&answer));
    };
    let default = SignIn::default();
    let sign_in = provider.sign_in.as_ref().unwrap_or(&default);
    let (client, assertion) = secrets::client(core, provider_id, sign_in, &metadata).await?;
    let (verifier, redirect_uri) = (attempt.verifier(), redirect_uri(&core.settings, provider_id));
    let grant = AuthorizationGrant::Code { code: granted, verifier: &verifier, redirect_uri: &redirect_uri };
    let assertion = assertion.as_ref().map(ExposeSecret::expose_secret);
    let asked = TokenRequest { grant, resource: None, scope: None, assertion };
    let asked = Box::pin(ask_for_tokens(&*core.http, &metadata.token_endpoint, &client, asked));
    let id_token = asked.await.map_err(no_tokens)?.id_token;
    let id_token = id_token.ok_or_else(|| refused_answer("it has no ID token"))?;
    let nonce = attempt.nonce();
    let checking = core.issuers.verify_id_token(core, provider, id_token.expose_secret(), &nonce);
    let proven = checking.await?.require(|why| refused_answer(&why.to_string()))?;
    let user = admitted(core, request, &proven).await?;
    let previous = previous(core, answer.session).await?;
    let signed_in = SignedInBy { core, request, provider, proven: &proven, id_token: &id_token };
    let cookie = Box::pin(signed_in.store(state, &user, previous.as_ref())).await?;
    Ok(FinishedSignIn { cookie, return_to: attempt.return_to().clone() })
}

/// The answer was an error (OpenID Connect Core section 3.1.2.6), or had no code.
fn declined(answer: &ProviderAnswer<'_>) -> Error {
    let Some(error) = answer.error else {
        return Error::invalid("The identity provider's answer has no code");
    };
    if error == "access_denied" {
        return Error::invalid(
            "The identity provider says that access was declined, so nobody was signed in",
        );
    }
    let description = answer.error_description.map(|text| format!(": {}", quoted(text))).unwrap_or_default();
    Error::invalid(format!("The identity provider answered {}{description}", quoted(error)))
}

fn refused_answer(why: &str) -> Error {
    let detail = format!("The identity provider's answer was refused: {why}");
    Error::Upstream { kind: UpstreamFailure::Bad, detail, may_have_run: false, cause: None }
}

fn no_tokens(error: TokenRequestError) -> Error {
    let bad = |detail: String| Error::Upstream {
        kind: UpstreamFailure::Bad,
        detail,
        may_have_run: false,
        cause: None,
    };
    match error {
        TokenRequestError::InvalidGrant(why) => Error::invalid(format!(
            "The identity provider does not take its code any more ({why}); sign in again"
        )),
        TokenRequestError::InvalidClient(why) => bad(format!(
            "The identity provider does not know this service as a client ({why}); the operator must correct the \
             issuer's sign_in, or its secret"
        )),
        TokenRequestError::Refused(why) => bad(format!("The identity provider gave no tokens: {why}")),
        TokenRequestError::Down { why, timed_out, .. } => {
            let kind = if timed_out { UpstreamFailure::TimedOut } else { UpstreamFailure::Bad };
            let detail = format!("The identity provider gave no tokens: {why}; sign in again");
            Error::Upstream { kind, detail, may_have_run: false, cause: Some(why) }
        }
    }
}

/// Whom an ID token leads to. A refusal is recorded.
async fn admitted(core: &Core, request: &RequestContext, proven: &IdToken) -> Result<User> {
    let admission = Box::pin(identities::admit(core, request, &proven.user)).await?;
    let refusal = match admission {
        Admission::Admitted(user) if user.identities.contains(&proven.user.identity()) => return Ok(user),
        // The next attempt adds the identity to the user's list.
        Admission::Admitted(_) => {
            return Err(Error::unavailable("a user's identity is not in their list yet"));
        }
        Admission::Refused(refusal) => refusal,
    };
    let event = Event {
        credential: Some(CredentialId::UserToken(proven.user.issuer.clone()).to_string()),
        ..Event::new(core, request, Action::SignIn)?
    };
    core.table.append(&event.denied(refusal.to_string())).await?;
    Err(Error::Forbidden(Told::by(refusal.reason(), refusal)))
}

/// The session that this browser had until now. The new one takes its place.
async fn previous(core: &Core, cookie: Option<&str>) -> Result<Option<BrowserSession>> {
    let Some(presented) = cookie.and_then(PresentedSecret::browser_session) else { return Ok(None) };
    let key = Key::browser_session(presented.user_id, crate::ids::BrowserSessionId(presented.id));
    let found = core.table.read_one::<BrowserSession>(key).await?;
    Ok(found.map(|found| found.value).filter(|found| found.hash.matches(&presented.hash)))
}

struct SignedInBy<'a> {
    core: &'a Core,
    request: &'a RequestContext,
    provider: &'a TrustedIssuer,
    proven: &'a IdToken,
    id_token: &'a SecretString,
}

impl SignedInBy<'_> {
    /// Makes the session, in the transaction that also uses the `state` up. Returns its cookie.
    async fn store(
        &self,
        state: &str,
        user: &User,
        previous: Option<&BrowserSession>,
    ) -> Result<SecretString> {
        let Self { core, request, provider, proven, id_token } = self;
        let now = core.clock.now();
        let finished = Key::finished_sign_in(state);
        retry_on_conflict(|| async {
            if core.table.read_one::<Finished>(finished.clone()).await?.is_some() {
                return Err(used().into());
            }
            let mut change = Change::new();
            change.create_expiring(finished.clone(), &Finished { at: now }, now.plus(REMEMBERED_FOR))?;
            let new = NewBrowserSession {
                user,
                identity: &proven.user.identity(),
                sid: proven.sid.as_deref(),
                id_token: Some(id_token.expose_secret()),
                previous,
            };
            let (session, cookie) = browser_sessions::add(core, &mut change, new).await?;
            let event = Event {
                user_id: Some(user.id),
                credential: Some(CredentialId::BrowserSession(session.id).to_string()),
                ..Event::new(core, request, Action::SignIn)?.about("browser_session", session.id)
            };
            change.record(&event.note(provider.provider_name()))?;
            core.table.commit(change).await?;
            Ok::<_, CommitError>(cookie)
        })
        .await
    }
}

fn used() -> Error {
    Error::invalid("This sign-in has been finished already; sign in again")
}
