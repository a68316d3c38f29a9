//! An agent account, with the credentials that it is proven by.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{owners::Owner, stopped::StoppedBy, user::User};
use crate::{
    Settings,
    clock::Timestamp,
    epoch::Epoch,
    ids::{AgentAccountId, ClientKeyId, SecretId, UserId},
    jwk::PublicJwk,
    origins::{Origin, RequestOrigin},
    secret::SecretHash,
    table::Entity,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentAccount {
    pub id: AgentAccountId,
    pub name: String,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where people read more about it: an https address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// See [`Self::owners`].
    #[serde(rename = "owner_user_id")]
    pub(crate) first_owner: UserId,
    #[serde(default, rename = "owners", skip_serializing_if = "Vec::is_empty")]
    pub(crate) all_owners: Vec<Owner>,
    /// A disabled account gets no tokens, and those it has are refused, also once it is enabled again.
    pub active: bool,
    /// Who disabled it, while it is disabled. Unknown of accounts that were disabled before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_by: Option<StoppedBy>,
    /// Since when it is disabled. Unknown of accounts that were disabled before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Timestamp>,
    /// How often it has been disabled. A token says in which epoch it was issued, and is good in that one only.
    #[serde(default, skip_serializing_if = "Epoch::is_first")]
    pub epoch: Epoch,
    #[serde(default)]
    pub shared_grants: SharedGrants,
    /// Cedar groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Whose web pages may use its credentials; those of all the deployment's origins if none are set. They only
    /// narrow what the deployment allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_origins: Option<Vec<Origin>>,
    #[serde(default, skip_serializing_if = "Visibility::is_everyone")]
    pub visibility: Visibility,
    #[serde(default)]
    pub secrets: Vec<ClientSecret>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<ClientKey>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Entity for AgentAccount {
    const KIND: &'static str = "agent account";
}

/// Who may know that an agent account exists, and so delegate to it, beside those who manage it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    #[default]
    Everyone,
    /// The users in one of these groups, by an admin's word or an issuer's.
    Groups(Vec<String>),
    Owners,
}

impl Visibility {
    fn is_everyone(&self) -> bool {
        *self == Self::Everyone
    }
}

/// Whose session grant can be the one that users without a grant of their own use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SharedGrants {
    /// Whoever has a session at the server.
    #[default]
    Anyone,
    /// The account's owners, and admins.
    Managers,
}

impl fmt::Display for SharedGrants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anyone => "anyone",
            Self::Managers => "managers",
        })
    }
}

impl FromStr for SharedGrants {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "anyone" => Ok(Self::Anyone),
            "managers" => Ok(Self::Managers),
            _ => Err("must be anyone or managers"),
        }
    }
}

/// What is stored of a client secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientSecret {
    pub id: SecretId,
    pub hash: SecretHash,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl ClientSecret {
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires| now < expires)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientKey {
    pub id: ClientKeyId,
    /// The client's own name for it. No two live keys of an account have the same.
    pub kid: String,
    pub key: PublicJwk,
    /// The one algorithm that it is for, if it is for one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl ClientKey {
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires| now < expires)
    }
}

/// What a client has proven itself by, and every token that it then gets rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCredential {
    Secret(SecretId),
    Key(ClientKeyId),
}

impl AgentAccount {
    /// Whether a credential is live: what a token that was issued under it rests on.
    pub fn holds(&self, credential: ClientCredential, now: Timestamp) -> bool {
        match credential {
            ClientCredential::Secret(id) => {
                self.secrets.iter().any(|secret| secret.id == id && secret.is_live(now))
            }
            ClientCredential::Key(id) => self.keys.iter().any(|key| key.id == id && key.is_live(now)),
        }
    }

    /// What the trail shows of it.
    pub(crate) fn recorded(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Recorded<'a> {
            name: &'a str,
            description: &'a Option<String>,
            url: &'a Option<String>,
            owner_user_id: UserId,
            owners: &'a [Owner],
            visibility: &'a Visibility,
            active: bool,
            disabled_by: Option<StoppedBy>,
            shared_grants: SharedGrants,
            groups: &'a [String],
            allowed_origins: &'a Option<Vec<Origin>>,
            secrets: Vec<RecordedSecret>,
            keys: Vec<RecordedKey<'a>>,
        }
        #[derive(Serialize)]
        struct RecordedSecret {
            id: SecretId,
            expires_at: Option<Timestamp>,
        }
        #[derive(Serialize)]
        struct RecordedKey<'a> {
            id: ClientKeyId,
            kid: &'a str,
            alg: &'a Option<String>,
            expires_at: Option<Timestamp>,
        }
        let secret = |secret: &ClientSecret| RecordedSecret { id: secret.id, expires_at: secret.expires_at };
        Recorded {
            name: &self.name,
            description: &self.description,
            url: &self.url,
            owner_user_id: self.first_owner,
            owners: &self.all_owners,
            visibility: &self.visibility,
            active: self.active,
            disabled_by: self.disabled_by,
            shared_grants: self.shared_grants,
            groups: &self.groups,
            allowed_origins: &self.allowed_origins,
            secrets: self.secrets.iter().map(secret).collect(),
            keys: self
                .keys
                .iter()
                .map(|ClientKey { id, kid, alg, expires_at, .. }| RecordedKey {
                    id: *id,
                    kid,
                    alg,
                    expires_at: *expires_at,
                })
                .collect(),
        }
    }

    /// Whether what was issued under a credential in an epoch is still good.
    pub fn vouches(&self, credential: ClientCredential, epoch: Epoch, now: Timestamp) -> bool {
        self.active && self.epoch == epoch && self.holds(credential, now)
    }

    /// Whether a request with its credentials may come from there.
    pub fn allows_origin(&self, settings: &Settings, from: &RequestOrigin) -> bool {
        settings.allows_origin(from)
            && self.allowed_origins.as_ref().is_none_or(|allowed| from.is_among(allowed))
    }

    /// The live secret that a client has presented. All are compared, each in constant time.
    pub fn proven_secret(&self, presented: &SecretHash, now: Timestamp) -> Option<&ClientSecret> {
        self.secrets.iter().fold(None, |proven, secret| {
            let matches = secret.hash.matches(presented) & secret.is_live(now);
            if matches { Some(secret) } else { proven }
        })
    }

    /// Whether somebody's grant may serve other people. It is asked when they share it and whenever it would serve, so
    /// one that was shared before, or by somebody who manages the account no more, serves nobody but its grantor. An
    /// app has none of an admin's powers.
    pub fn is_shared_by(&self, grantor: &User, by_app: bool) -> bool {
        match self.shared_grants {
            SharedGrants::Anyone => true,
            SharedGrants::Managers => self.is_owned_by(grantor) || (grantor.is_admin() && !by_app),
        }
    }
}
