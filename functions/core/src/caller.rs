//! Who is calling: what was proven, and no more.
//!
//! **A change commits only if its caller is still who they were.** A caller is admitted by reads that are over when the
//! change is made. So each change of a user begins with a condition check in the same transaction: the user is active,
//! was not deactivated meanwhile and has the same role, and the API key, browser session or authorization exists, or the
//! issuer's subject leads to the user. For what they do as an owner by a group, they are still in the same groups. It
//! compares those attributes and not a revision, so a new name stops no change. If it fails, a retry cannot win. The
//! transaction says which of its items failed, and the caller gets a 403.
//!
//! So a demoted admin or a revoked key leaves no change behind that was only requested before. And there is always an
//! admin: no admin can demote themselves, and of two who demote each other at once, the second is an admin no more when
//! their change is made.
//!
//! It costs no round trip, and two to four write units. Changes of one caller at the same time conflict, which
//! [`crate::table::Table::commit`] resolves.

mod limits;

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use deputize_api::reason::Reason;
use uuid::Uuid;

use crate::{
    Core,
    audit::{Action, Event, RequestContext},
    clock::Timestamp,
    entities::{
        agent_account::{AgentAccount, ClientCredential},
        app::MadeByApp,
        owners::Owner,
        stopped::StoppedBy,
        user::User,
    },
    error::{Error, Result, Told},
    ids::{ApiKeyId, AppId, AuthorizationId, BrowserSessionId, ServerId, TokenFamilyId, UserId},
    scope::Scope,
    table::{Change, Key},
};

pub(crate) use self::limits::Gives;
pub use self::limits::KeyLimits;
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
    /// The app that calls as the user. It has none of the powers of the user's role.
    pub app: Option<CallingApp>,
    /// What the API key narrows, if it is one.
    pub key: Option<KeyLimits>,
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
    /// By a credential of the user's own that narrows nothing.
    pub fn new(user: User, credential: CredentialId) -> Self {
        Self { user, credential, app: None, key: None }
    }

    /// Whether the caller has a power of their role. An app has none, whoever its user is, and an API key may have less
    /// than its user.
    pub fn has(&self, power: Power) -> bool {
        self.user.effective_role().has(power) && self.require_power_of_credential(power).is_ok()
    }

    /// Requires that the credential leaves the user a power of their role.
    fn require_power_of_credential(&self, power: Power) -> Result<()> {
        self.require_own_credential()?;
        self.key.as_ref().map_or(Ok(()), |key| key.require_power(power))
    }

    /// Refuses an API key whose scopes are not enough. An app's are judged with its token.
    pub fn require_scope(&self, scope: Scope) -> Result<()> {
        self.key.as_ref().map_or(Ok(()), |key| key.require_scope(scope))
    }

    /// Refuses an API key that is for other servers.
    pub fn require_server(&self, server: &ServerId) -> Result<()> {
        self.key.as_ref().map_or(Ok(()), |key| key.require_server(server))
    }

    /// Refuses an API key that has less than what is to be made, or ends earlier.
    pub(crate) fn require_to_give(&self, gives: &Gives<'_>) -> Result<()> {
        self.key.as_ref().map_or(Ok(()), |key| key.require_to_give(gives))
    }

    /// When what the caller makes must end, if their API key has an end.
    pub(crate) fn makes_until(&self) -> Option<Timestamp> {
        self.key.as_ref().and_then(|key| key.expires_at)
    }

    /// As what the caller stops things, and lets them go on.
    pub(crate) fn stops_as(&self) -> StoppedBy {
        if self.has(Power::Manage) {
            StoppedBy::Admin
        } else if self.has(Power::Operate) {
            StoppedBy::Operator
        } else {
            StoppedBy::Owner
        }
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
        if self.user.effective_role().has(power) {
            self.require_power_of_credential(power)
        } else {
            Err(Error::Forbidden(Told::of(Reason::AdminRequired, power.whose())))
        }
    }

    /// The refusal of what takes a power that the caller lacks, of a thing that not everybody may know of: those who see
    /// everything are told which role it takes, and others that there is no such thing.
    pub(crate) fn refused(&self, power: Power, not_found: Error) -> Error {
        if self.has(Power::Read) { self.require(power).err().unwrap_or(not_found) } else { not_found }
    }

    /// What is about a user, that user may do, and others who have the power.
    pub fn require_self_or(&self, user: UserId, power: Power) -> Result<()> {
        if self.user.id == user { Ok(()) } else { self.require(power) }
    }

    /// Whether the caller may do to an agent account what takes this power: by their role, or as its owner.
    pub fn may(&self, power: Power, account: &AgentAccount) -> bool {
        self.has(power) || account.is_owned_by(&self.user) && self.require_scope(power.scope()).is_ok()
    }

    /// A change that commits only while this caller is still who they were: an active user of the same role,
    /// whose API key is not revoked, or to whom the issuer's subject still leads.
    pub fn change(&self) -> Result<Change> {
        self.change_writing(None, &[])
    }

    /// [`Self::change`] of what takes this power over an account. One who has it by a group alone must still be in the
    /// groups that they were in. The change itself requires that the account is as it was read.
    pub(crate) fn change_for(&self, power: Power, account: &AgentAccount) -> Result<Change> {
        let owns_it_themselves = account.owning_users().contains(&self.user.id);
        if self.has(power) || owns_it_themselves || !account.is_owned_by(&self.user) {
            return self.change();
        }
        let by_an_admin = account
            .owners()
            .iter()
            .filter_map(Owner::group)
            .any(|group| self.user.groups.iter().any(|theirs| theirs == group));
        let value = if by_an_admin {
            ("groups", serde_dynamo::to_attribute_value(&self.user.groups).map_err(Error::internal)?)
        } else {
            ("claims", serde_dynamo::to_attribute_value(&self.user.claims).map_err(Error::internal)?)
        };
        self.change_writing(None, &[value])
    }

    /// [`Self::change`] for a change that writes an item on which the caller may rest themselves. A
    /// transaction can name an item only once. So its write condition must do: that the item is as it was
    /// read.
    pub fn change_of(&self, written: &Key) -> Result<Change> {
        self.change_writing(Some(written), &[])
    }

    /// `more`: other attributes of the user that must be as they were read.
    fn change_writing(
        &self,
        written: Option<&Key>,
        more: &[(&'static str, AttributeValue)],
    ) -> Result<Change> {
        // The edge asks for it before anything is read. Whatever an endpoint asks for, no key changes anything without.
        self.require_scope(Scope::Manage)?;
        let mut change = Change::new();
        let user = Key::user(self.user.id);
        let writes_user = written == Some(&user);
        if !writes_user {
            let role = serde_dynamo::to_attribute_value(self.user.role).map_err(Error::internal)?;
            let epoch =
                (!self.user.epoch.is_first()).then(|| serde_dynamo::to_attribute_value(self.user.epoch));
            let epoch = epoch.transpose().map_err(Error::internal)?;
            let mut as_read =
                vec![("active", Some(AttributeValue::Bool(true))), ("role", Some(role)), ("epoch", epoch)];
            if self.user.effective_role() > self.user.role {
                let claims = serde_dynamo::to_attribute_value(&self.user.claims).map_err(Error::internal)?;
                as_read.push(("claims", Some(claims)));
            }
            let more = more.iter().filter(|(name, _)| as_read.iter().all(|(read, _)| read != name));
            let more: Vec<_> = more.map(|(name, value)| (*name, Some(value.clone()))).collect();
            as_read.extend(more);
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
                    change.only_while(&identity.key(), &[("user_id", Some(user_id))])?;
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
        let is_same = user.effective_role() == self.user.effective_role() && user.epoch == self.user.epoch;
        if user.active && is_same && is_known { Ok(()) } else { Err(Error::caller_changed()) }
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
