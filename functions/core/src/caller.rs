//! Who is calling: what was proven, and no more.
//!
//! **A change commits only if its caller is still who they were.** A caller is admitted by reads that are over when the
//! change is made. So each change of a user begins with a condition check in the same transaction: the user is active
//! and has the same role, and the API key, browser session or authorization exists, or the issuer's subject leads to the
//! user. It compares those
//! attributes and not a revision, so a new name stops no change. If it fails, a retry cannot win. The transaction says
//! which of its items failed, and the caller gets a 403.
//!
//! So a demoted admin or a revoked key leaves no change behind that was only requested before. And there is always an
//! admin: no admin can demote themselves, and of two who demote each other at once, the second is an admin no more when
//! their change is made.
//!
//! It costs no round trip, and two to four write units. Changes of one caller at the same time conflict, which
//! [`crate::table::Table::commit`] resolves.

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use deputize_api::reason::Reason;
use uuid::Uuid;

use crate::{
    Core,
    audit::{Action, Event, RequestContext},
    entities::{
        agent_account::{AgentAccount, ClientCredential},
        app::MadeByApp,
        user::{Role, User},
    },
    error::{Error, Result, Told},
    ids::{ApiKeyId, AppId, AuthorizationId, BrowserSessionId, TokenFamilyId, UserId},
    table::{Change, Key},
};

pub use crate::entities::user::Power;

/// The credential that proved the caller, by kind and id. Never the credential itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialId {
    Client(ClientCredential),
    /// An agent token, by its `jti`.
    AgentToken(Uuid),
    ApiKey(ApiKeyId),
    /// An app's token, by its `jti`.
    AppToken(Uuid),
    /// An app's authorization code, by the family of refresh tokens that comes of it.
    AuthorizationCode(TokenFamilyId),
    /// An app's refresh token, by its family.
    RefreshToken(TokenFamilyId),
    BrowserSession(BrowserSessionId),
    /// A user's JWT, by its issuer.
    UserToken(String),
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(ClientCredential::Secret(id)) => write!(f, "client_secret:{id}"),
            Self::Client(ClientCredential::Key(id)) => write!(f, "client_key:{id}"),
            Self::AgentToken(jti) => write!(f, "agent_token:{jti}"),
            Self::ApiKey(id) => write!(f, "api_key:{id}"),
            Self::AppToken(jti) => write!(f, "app_token:{jti}"),
            Self::AuthorizationCode(family) => write!(f, "authorization_code:{family}"),
            Self::RefreshToken(family) => write!(f, "refresh_token:{family}"),
            Self::BrowserSession(id) => write!(f, "browser_session:{id}"),
            Self::UserToken(issuer) => write!(f, "user_token:{issuer}"),
        }
    }
}

/// An active user, by an API key, a JWT or a browser session of their own, or by an app that they allowed to act as them.
#[derive(Clone, Debug)]
pub struct UserCaller {
    pub user: User,
    pub credential: CredentialId,
    /// The app that calls as the user. It has none of an admin's powers.
    pub app: Option<CallingApp>,
}

/// An app that calls as its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallingApp {
    pub id: AppId,
    /// The host that it is from.
    pub host: Option<String>,
    pub authorization: AuthorizationId,
}

impl UserCaller {
    /// Whether the caller's role has a power. An app has none, whoever its user is.
    pub fn has(&self, power: Power) -> bool {
        self.user.effective_role().has(power) && self.app.is_none()
    }

    /// Whether the caller has an admin's powers.
    pub fn is_admin(&self) -> bool {
        self.has(Power::Manage)
    }

    /// Refuses an app: what is made or changed here would outlive the user's authorization of it.
    pub fn require_own_credential(&self) -> Result<()> {
        if self.app.is_none() {
            Ok(())
        } else {
            Err(Error::Forbidden(Told::of(
                Reason::OwnCredentialRequired,
                "An app may not do this for its user: sign in, or use an API key or JWT of the user's own",
            )))
        }
    }

    /// The app that calls, for what it makes: that ends with the user's authorization of it.
    pub(crate) fn made_by(&self) -> Option<MadeByApp> {
        self.app.as_ref().map(|app| MadeByApp {
            authorization_id: app.authorization,
            app: app.id.clone(),
            app_host: app.host.clone(),
        })
    }

    pub fn require(&self, power: Power) -> Result<()> {
        if self.has(power) {
            Ok(())
        } else if self.user.effective_role().has(power) {
            self.require_own_credential()
        } else {
            Err(Error::Forbidden(Told::of(Reason::AdminRequired, "Only an admin may do this")))
        }
    }

    /// What is about a user, that user may do, and others who have the power.
    pub fn require_self_or(&self, user: UserId, power: Power) -> Result<()> {
        if self.user.id == user { Ok(()) } else { self.require(power) }
    }

    /// Whether the caller may do to an agent account what takes this power: by their role, or as its owner.
    pub fn may(&self, power: Power, account: &AgentAccount) -> bool {
        self.has(power) || account.owner_user_id == self.user.id
    }

    /// A change that commits only while this caller is still who they were: an active user of the same role,
    /// whose API key is not revoked, or to whom the issuer's subject still leads.
    pub fn change(&self) -> Result<Change> {
        self.change_writing(None)
    }

    /// [`Self::change`] for a change that writes an item on which the caller may rest themselves. A
    /// transaction can name an item only once. So its write condition must do: that the item is as it was
    /// read.
    pub fn change_of(&self, written: &Key) -> Result<Change> {
        self.change_writing(Some(written))
    }

    fn change_writing(&self, written: Option<&Key>) -> Result<Change> {
        let mut change = Change::new();
        let user = Key::user(self.user.id);
        let writes_user = written == Some(&user);
        if !writes_user {
            let role = serde_dynamo::to_attribute_value(self.user.role).map_err(Error::internal)?;
            let mut as_read = vec![("active", AttributeValue::Bool(true)), ("role", role)];
            if self.user.role != Role::Admin && self.user.counted.makes_admin() {
                let claims = serde_dynamo::to_attribute_value(&self.user.claims).map_err(Error::internal)?;
                as_read.push(("claims", claims));
            }
            change.only_while(&user, &as_read)?;
        }
        match &self.credential {
            CredentialId::ApiKey(id) => {
                let key = Key::api_key(self.user.id, *id);
                if written != Some(&key) {
                    change.only_while(&key, &[])?;
                }
            }
            CredentialId::BrowserSession(id) => {
                let key = Key::browser_session(self.user.id, *id);
                if written != Some(&key) {
                    change.only_while(&key, &[])?;
                }
            }
            CredentialId::AppToken(_) => {
                let authorization = self.app.as_ref().map(|app| app.authorization);
                let key = authorization.map(|id| Key::authorization(self.user.id, id));
                let key = key.ok_or_else(|| Error::internal("an app's token without an authorization"))?;
                if written != Some(&key) {
                    change.only_while(&key, &[])?;
                }
            }
            CredentialId::UserToken(issuer) if !writes_user => {
                if let Some(identity) = self.user.identity_at(issuer) {
                    let user_id = serde_dynamo::to_attribute_value(self.user.id).map_err(Error::internal)?;
                    change.only_while(&identity.key(), &[("user_id", user_id)])?;
                }
            }
            CredentialId::UserToken(_)
            | CredentialId::Client(_)
            | CredentialId::AgentToken(_)
            | CredentialId::AuthorizationCode(_)
            | CredentialId::RefreshToken(_) => {}
        }
        Ok(change)
    }

    /// Checks a later reading of the user for what [`Self::change`] checks.
    pub fn require_same(&self, user: &User) -> Result<()> {
        let is_known = match &self.credential {
            CredentialId::UserToken(issuer) => user.identity_at(issuer) == self.user.identity_at(issuer),
            _ => true,
        };
        if user.active && user.is_admin() == self.user.is_admin() && is_known {
            Ok(())
        } else {
            Err(Error::caller_changed())
        }
    }

    /// An audit event of an action of this caller.
    pub fn event(&self, core: &Core, request: &RequestContext, action: Action) -> Result<Event> {
        Ok(Event {
            user_id: Some(self.user.id),
            client_id: self.app.as_ref().map(|app| app.id.clone()),
            credential: Some(self.credential.to_string()),
            ..Event::new(core, request, action)?
        })
    }
}
