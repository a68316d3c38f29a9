//! From a credential to a caller.
//!
//! In two steps, so that whatever a call needs is read in one round trip: [`Presented`] is what can be
//! proven without the table (a signature, a checksum), and says which items to read; those decide.

use crate::{
    Core,
    api_keys::ApiKey,
    audit::{Action, Event, Request},
    caller::{Credential, UserCaller},
    control::Control,
    error::{Error, Result},
    ids::UserId,
    issuers::UserToken,
    jwt,
    lookup::UserLookup,
    secret::{API_KEY_PREFIX, PresentedApiKey},
    table::{Attempt, Change, Found, Key},
    tokens::VerifiedToken,
    users::{self, Identity, NewUser, Role, User, UserPointer},
};

/// A credential as it came, with everything checked that needs no table.
#[derive(Debug)]
pub enum Presented {
    AgentToken(VerifiedToken),
    UserToken(UserToken),
    ApiKey(PresentedApiKey),
}

impl Core {
    /// Reads a bearer token or an API key. A bearer token may also be an API key.
    pub async fn present(&self, bearer: Option<&str>, api_key: Option<&str>) -> Result<Presented> {
        let text = match (bearer, api_key) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    "Send either an Authorization header or x-runlayer-api-key, not both",
                ));
            }
            (None, None) => return Err(Error::Anonymous),
            (_, Some(key)) => return present_api_key(key),
            (Some(token), None) if token.starts_with(API_KEY_PREFIX) => return present_api_key(token),
            (Some(token), None) => token,
        };
        if text.len() > jwt::MAX_LENGTH {
            return Err(Error::unauthenticated("The token is malformed"));
        }
        if self.is_own_token(text) {
            let token = self.verify_token(text).await?;
            return token.map(Presented::AgentToken).map_err(|why| Error::unauthenticated(why.to_string()));
        }
        let token = self.issuers.verify(self, text).await?;
        token
            .map(Presented::UserToken)
            .map_err(|why| Error::unauthenticated(format!("User token refused: {why}")))
    }

    /// Whether a token says that it is from us. It decides only by whose rules the token is then checked.
    fn is_own_token(&self, token: &str) -> bool {
        #[derive(serde::Deserialize)]
        struct Issuer {
            iss: String,
        }
        jsonwebtoken::dangerous::insecure_decode_claims::<Issuer>(token)
            .is_ok_and(|claims| claims.iss == self.settings.issuer)
    }

    /// The active user behind a credential, for the management endpoints.
    pub async fn user_caller(&self, presented: Presented, request: &Request) -> Result<UserCaller> {
        let user = match presented {
            Presented::AgentToken(_) => {
                return Err(Error::forbidden(
                    "This endpoint needs a user: send a user JWT or an API key, not an agent token",
                ));
            }
            Presented::ApiKey(key) => UserCredential::ApiKey(key),
            Presented::UserToken(token) => UserCredential::Token(UserLookup::Token(token)),
        };
        let guess = user.guess(self);
        let mut keys = user.keys();
        keys.extend(guess.map(Key::user));
        let mut found = self.table.read(keys).await?;
        let proven = user.prove(self, &mut found, guess, request).await;
        if let Err(Error::Unauthenticated(_)) = proven {
            // Where nobody can be known yet, that is the reason.
            self.require_bootstrapped().await?;
        }
        proven
    }
}

fn present_api_key(text: &str) -> Result<Presented> {
    let key =
        PresentedApiKey::parse(text).ok_or_else(|| Error::unauthenticated("The API key is not valid"))?;
    Ok(Presented::ApiKey(key))
}

impl Presented {
    /// An audit event of what this credential is used for. It names whom the credential proves so far: an
    /// API key proves nobody before the table has been asked.
    pub fn event(&self, core: &Core, request: &Request, action: Action) -> Result<Event> {
        let event = Event::new(core, request, action)?;
        Ok(match self {
            Self::AgentToken(token) => Event {
                agent_account_id: Some(token.agent),
                user_id: token.on_behalf_of.map(|(user, _)| user),
                credential: Some(Credential::AgentToken(token.jti).to_string()),
                ..event
            },
            Self::ApiKey(_) => event,
            Self::UserToken(token) => {
                Event { credential: Some(Credential::UserToken(token.issuer.clone()).to_string()), ..event }
            }
        })
    }
}

/// A user's own credential.
pub(crate) enum UserCredential {
    ApiKey(PresentedApiKey),
    /// Always [`UserLookup::Token`].
    Token(UserLookup),
}

impl UserCredential {
    /// The items that the credential itself rests on; the user's comes beside them.
    pub(crate) fn keys(&self) -> Vec<Key> {
        match self {
            Self::ApiKey(key) => vec![Key::api_key(key.user_id, key.key_id)],
            Self::Token(lookup) => lookup.keys(),
        }
    }

    /// Who it is, for certain or by what is remembered.
    pub(crate) fn guess(&self, core: &Core) -> Option<UserId> {
        match self {
            Self::ApiKey(key) => Some(key.user_id),
            Self::Token(lookup) => lookup.guess(core),
        }
    }

    /// The caller, if the credential stands and the user is active: the one place that says so. The user
    /// that was guessed has been read; another one is read now.
    pub(crate) async fn prove(
        self,
        core: &Core,
        found: &mut Found,
        guess: Option<UserId>,
        request: &Request,
    ) -> Result<UserCaller> {
        let (user_id, credential) = match self {
            Self::ApiKey(presented) => {
                let invalid = || Error::unauthenticated("The API key is not valid");
                let key = Key::api_key(presented.user_id, presented.key_id);
                let key = found.take::<ApiKey>(&key)?.ok_or_else(invalid)?;
                if !key.hash.matches(&presented.hash) {
                    return Err(invalid());
                }
                if !key.is_live(core.clock.now()) {
                    return Err(Error::unauthenticated("The API key has expired"));
                }
                (presented.user_id, Credential::ApiKey(presented.key_id))
            }
            Self::Token(lookup) => {
                let resolved = lookup.resolve(core, found)?;
                let UserLookup::Token(token) = lookup else {
                    return Err(Error::internal("a user credential that is none"));
                };
                let user = match resolved {
                    Some(user) => user,
                    None if token.provision => provision(core, &token, request).await?,
                    None => return Err(Error::unauthenticated("The token's user is unknown here")),
                };
                (user, Credential::UserToken(token.issuer))
            }
        };
        let key = Key::user(user_id);
        let user = if guess == Some(user_id) {
            found.take::<User>(&key)?
        } else {
            core.table.read_one::<User>(key).await?
        };
        let user = user.ok_or_else(|| Error::unauthenticated("The user is unknown here"))?.value;
        if !user.active {
            return Err(Error::unauthenticated("The user is deactivated"));
        }
        Ok(UserCaller { user, credential })
    }
}

/// Makes a user of a subject that is seen for the first time. If somebody else just has, theirs it is. If
/// the email is taken by another user, the new one is made without: only an issuer that is trusted to link
/// by email leads to that user.
async fn provision(core: &Core, token: &UserToken, request: &Request) -> Result<UserId> {
    // Nobody is made before the operator has made an admin.
    Control::read(core).await?;
    let pointer = Key::user_by_identity(&token.issuer, &token.subject);
    let mut email = token.email.clone();
    for _ in 0..3 {
        let identity = Identity { issuer: token.issuer.clone(), subject: token.subject.clone() };
        let new = NewUser {
            email: email.take(),
            name: token.name.clone(),
            role: Role::User,
            groups: Vec::new(),
            identity: Some(identity),
        };
        let mut change = Change::new();
        let user = users::add_user(core, &mut change, new)?;
        let mut event = Event::new(core, request, Action::UserProvision)?.about("user", user.id);
        event.user_id = Some(user.id);
        event.credential = Some(Credential::UserToken(token.issuer.clone()).to_string());
        change.record(&event)?;
        match core.table.commit(change).await {
            Ok(()) => return Ok(user.id),
            Err(Attempt::Failed(error)) => return Err(error),
            Err(Attempt::Raced) => {
                if let Some(pointer) = core.table.read_one::<UserPointer>(pointer.clone()).await? {
                    return Ok(pointer.user_id);
                }
            }
        }
    }
    Err(Error::unavailable("a new user could not be made"))
}
