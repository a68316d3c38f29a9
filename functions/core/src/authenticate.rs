//! From a credential to a caller.
//!
//! In three steps, so that whatever a call needs is read in one round trip:
//!
//! | step | is | says |
//! | --- | --- | --- |
//! | sent | the texts of the headers | nothing |
//! | presented | [`PresentedCredential`] | what can be checked without the table (a signature, a checksum), and which items to read |
//! | proven | [`UserCaller`], [`Access`](crate::access::Access) | that all holds which those items decide |

use deputize_api::reason::Reason;

use crate::{
    Core,
    api_keys::ApiKey,
    audience::Audience,
    audit::{Action, Event, RequestContext},
    caller::{CallingApp, CredentialId, UserCaller},
    clock::Timestamp,
    control::{self, Control, Version},
    error::{Error, Result, ScopeHolder, Told},
    identities::{self, Admission, UserRefusal},
    ids::UserId,
    issuers::UserToken,
    jwt,
    scope::Scope,
    secret::{API_KEY_PREFIX, PresentedApiKey},
    table::{Found, Key, Stored},
    tokens::{self, AppToken, OwnToken, VerifiedToken},
    users::User,
};

/// A credential as it came. All checks that need no table are done.
#[derive(Clone, Debug)]
pub enum PresentedCredential {
    AgentToken(VerifiedToken),
    User(UserCredential),
}

/// A user's own credential.
#[derive(Clone, Debug)]
pub enum UserCredential {
    ApiKey(PresentedApiKey),
    /// A verified token of a trusted issuer.
    Token(UserToken),
    /// The token of an app that acts as the user.
    App(Box<AppToken>),
}

impl Core {
    /// Reads a bearer token or an API key. A bearer token may also be an API key.
    pub async fn read_credential(
        &self,
        bearer: Option<&str>,
        api_key: Option<&str>,
    ) -> Result<PresentedCredential> {
        let text = match (bearer, api_key) {
            // The same one twice says nothing else than once.
            (Some(token), Some(key)) if token == key => return read_api_key(key),
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    "Send either an Authorization header or x-runlayer-api-key, not both",
                ));
            }
            (None, None) => return Err(Error::Anonymous),
            (_, Some(key)) => return read_api_key(key),
            (Some(token), None) if token.starts_with(API_KEY_PREFIX) => return read_api_key(token),
            (Some(token), None) => token,
        };
        if text.len() > jwt::MAX_LENGTH {
            return Err(Error::unauthenticated("The token is malformed"));
        }
        if tokens::claims_to_be_ours(&self.settings, text) {
            let token = self.verify_token(text).await?;
            let token = token.require(|why| Error::Unauthenticated(Told::by(why.reason(), why)))?;
            return Ok(match token {
                OwnToken::Agent(token) => PresentedCredential::AgentToken(token),
                OwnToken::App(token) => PresentedCredential::User(UserCredential::App(Box::new(token))),
            });
        }
        let token = self.issuers.verify(self, text).await?;
        token.map(|token| PresentedCredential::User(UserCredential::Token(token))).require(user_token_refused)
    }

    /// The active user behind a credential, for the management endpoints. `takes` is what the request takes of a
    /// credential with scopes.
    pub async fn user_caller(
        &self,
        presented: PresentedCredential,
        takes: Scope,
        request: &RequestContext,
    ) -> Result<UserCaller> {
        let user = match presented {
            PresentedCredential::AgentToken(_) => {
                return Err(Error::Forbidden(Told::of(
                    Reason::UserRequired,
                    "This endpoint needs a user: send a user JWT or an API key, not an agent token",
                )));
            }
            PresentedCredential::User(user) => user,
        };
        if let UserCredential::App(token) = &user {
            token.require_for(Audience::is_management)?;
            // An app has one scope here, for reading too.
            token.scopes.require(Scope::Manage, ScopeHolder::AppToken)?;
        }
        let guess = user.guess(self);
        let control_key = user.rests_on_our_keys().then(|| Control::any_key(self)).transpose()?;
        let mut keys = user.keys();
        keys.extend(guess.map(Key::user));
        keys.extend(control_key.clone());
        let mut found = self.table.read(keys).await?;
        let signing_keys = match control_key {
            None => None,
            Some(key) => {
                let control = found.take::<Control>(&key)?.ok_or_else(control::missing)?;
                Some(control.version_of_keys())
            }
        };
        let proven = user.prove(self, &mut found, guess, signing_keys, request).await;
        if let Err(Error::Unauthenticated(_)) = proven {
            // Without a bootstrapped table there are no users. Then that is the reason to report.
            self.require_bootstrapped().await?;
        }
        let caller = proven?;
        caller.require_scope(takes)?;
        Ok(caller)
    }
}

fn user_token_refused(why: jwt::JwtError) -> Error {
    Error::Unauthenticated(
        Told::of(Reason::UserTokenRefused, format!("User token refused: {why}")).because(why),
    )
}

fn read_api_key(text: &str) -> Result<PresentedCredential> {
    let key = PresentedApiKey::parse(text)
        .ok_or_else(|| Error::Unauthenticated(Told::of(Reason::ApiKeyRefused, "The API key is not valid")))?;
    Ok(PresentedCredential::User(UserCredential::ApiKey(key)))
}

impl PresentedCredential {
    /// The items that the credential itself rests on; a user's own comes beside them.
    pub(crate) fn keys(&self) -> Vec<Key> {
        match self {
            Self::AgentToken(token) => token.keys(),
            Self::User(user) => user.keys(),
        }
    }

    /// Whose own credential it is, for certain or by what is remembered.
    pub(crate) fn guess(&self, core: &Core) -> Option<UserId> {
        match self {
            Self::AgentToken(_) => None,
            Self::User(user) => user.guess(core),
        }
    }

    /// Refuses a token whose time has run out since it came. An API key's is for the table to say.
    pub fn require_unexpired(&self, now: Timestamp) -> Result<()> {
        match self {
            Self::AgentToken(token) => token.require_unexpired(now),
            Self::User(UserCredential::Token(token)) => token.times.check(now).map_err(user_token_refused),
            Self::User(UserCredential::App(token)) => token.require_unexpired(now),
            Self::User(UserCredential::ApiKey(_)) => Ok(()),
        }
    }

    /// An audit event for the use of this credential. It names only what the credential proves so far: an API
    /// key proves nothing before the table has been read.
    pub fn event(&self, core: &Core, request: &RequestContext, action: Action) -> Result<Event> {
        let event = Event::new(core, request, action)?;
        Ok(match self {
            Self::AgentToken(token) => Event {
                agent_account_id: Some(token.agent),
                user_id: token.on_behalf_of.map(|(user, _)| user),
                credential: Some(CredentialId::AgentToken(token.jti).to_string()),
                ..event
            },
            Self::User(UserCredential::ApiKey(_)) => event,
            Self::User(UserCredential::App(token)) => Event {
                user_id: Some(token.user),
                client_id: Some(token.app.clone()),
                credential: Some(CredentialId::AppToken(token.jti).to_string()),
                ..event
            },
            Self::User(UserCredential::Token(token)) => {
                Event { credential: Some(CredentialId::UserToken(token.issuer.clone()).to_string()), ..event }
            }
        })
    }
}

impl UserCredential {
    /// The items that the credential rests on. The user's item is read in addition.
    pub(crate) fn keys(&self) -> Vec<Key> {
        match self {
            Self::ApiKey(key) => vec![Key::api_key(key.user_id, key.key_id)],
            Self::Token(token) => token.pointers(),
            Self::App(token) => token.keys(),
        }
    }

    /// Whether it is signed with our keys, so that the control item must be read which says which are in force.
    pub(crate) fn rests_on_our_keys(&self) -> bool {
        matches!(self, Self::App(_))
    }

    /// The user, known for certain or from a hint.
    pub(crate) fn guess(&self, core: &Core) -> Option<UserId> {
        match self {
            Self::ApiKey(key) => Some(key.user_id),
            Self::Token(token) => token.guess(core),
            Self::App(token) => Some(token.user),
        }
    }

    /// The caller, if the credential is valid and the user is active. This is the only place that decides it.
    /// If the guess was right, the user has been read already; otherwise they are read now. `signing_keys` is the version
    /// in force, for a credential that rests on our keys.
    pub(crate) async fn prove(
        self,
        core: &Core,
        found: &mut Found,
        guess: Option<UserId>,
        signing_keys: Option<Version>,
        request: &RequestContext,
    ) -> Result<UserCaller> {
        let (key, credential) = match self {
            Self::ApiKey(presented) => {
                let invalid =
                    || Error::Unauthenticated(Told::of(Reason::ApiKeyRefused, "The API key is not valid"));
                let key = Key::api_key(presented.user_id, presented.key_id);
                let key = found.take::<ApiKey>(&key)?.ok_or_else(invalid)?;
                if !key.hash.matches(&presented.hash) {
                    return Err(invalid());
                }
                if !key.is_live(core.clock.now()) {
                    return Err(Error::Unauthenticated(Told::of(
                        Reason::ApiKeyRefused,
                        "The API key has expired",
                    )));
                }
                (key, CredentialId::ApiKey(presented.key_id))
            }
            Self::Token(token) => {
                let admitted = match token.resolve(core, found)? {
                    Some(resolved) => match user(core, found, guess, resolved.user).await? {
                        Some(user) => identities::link_user(core, request, &token, resolved, user).await?,
                        None => Admission::Refused(UserRefusal::Deleted),
                    },
                    None if token.provision => identities::provision(core, request, &token).await?,
                    None => Admission::Refused(UserRefusal::Unknown),
                };
                return Ok(UserCaller::new(admitted.user()?, CredentialId::UserToken(token.issuer)));
            }
            Self::App(token) => {
                let keys = signing_keys.ok_or_else(|| Error::internal("no version of the signing keys"))?;
                let (user, authorization) = token.check_standing(core, found, keys).await?;
                let host = token.app_host().map(str::to_owned);
                let app = CallingApp { id: token.app, host, authorization: authorization.id };
                let caller = UserCaller::new(user, CredentialId::AppToken(token.jti));
                return Ok(UserCaller { app: Some(app), ..caller });
            }
        };
        let user = user(core, found, guess, key.user_id).await?;
        let user = user
            .ok_or_else(|| Error::Unauthenticated(Told::of(Reason::UserUnknown, "The user is unknown here")))?
            .value;
        if !user.active {
            return Err(UserRefusal::Deactivated.into());
        }
        if !key.is_of(&user) {
            return Err(Error::Unauthenticated(Told::of(
                Reason::ApiKeyRefused,
                "The API key ended when its user was deactivated; create another",
            )));
        }
        let key = key.value.limits();
        Ok(UserCaller { key, ..UserCaller::new(core.counting_claims(user), credential) })
    }
}

/// The user. A guessed user has been read already.
async fn user(
    core: &Core,
    found: &mut Found,
    guess: Option<UserId>,
    id: UserId,
) -> Result<Option<Stored<User>>> {
    let key = Key::user(id);
    if guess == Some(id) { found.take(&key) } else { core.table.read_one(key).await }
}
