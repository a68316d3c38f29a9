//! A registered MCP server, with what is kept sealed for it.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::oauth_client::{OAuthClient, ProviderSettings};
use crate::{
    Core,
    clock::Timestamp,
    error::{Error, Result},
    ids::ServerId,
    table::{Entity, Key},
    vault::{Sealed, Vault},
};

/// What a server asks of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerAuth {
    /// Nothing.
    None,
    /// An access token of the user's (MCP authorization): agents need a session grant.
    OAuth,
    /// A header that is the same for all callers, such as an API key of the deployment's.
    Header,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    pub id: ServerId,
    pub name: String,
    /// The MCP endpoint (Streamable HTTP).
    pub url: String,
    pub auth: ServerAuth,
    /// The header of [`ServerAuth::Header`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) header: Option<SealedHeader>,
    /// Our client at the server's authorization server, where an admin has registered one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth_client: Option<OAuthClient>,
    /// What is done about tools that are not as an admin approved them.
    #[serde(default)]
    pub pinning: Pinning,
    /// Which approval is in force; 0 before the first.
    #[serde(default)]
    pub(crate) pins_version: u64,
    pub active: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Entity for Server {
    const KIND: &'static str = "server";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SealedHeader {
    /// Made anew whenever an admin gives a header: what was opened with one goes on with no other. Nil in those that
    /// were stored before there was this.
    #[serde(default)]
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) value: Sealed,
}

impl Server {
    /// Which approval of its tools is in force.
    pub fn pins_version(&self) -> u64 {
        self.pins_version
    }

    /// What the trail shows of it. A header's id changes with its value.
    pub(crate) fn recorded(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Recorded<'a> {
            name: &'a str,
            url: &'a str,
            auth: ServerAuth,
            header: Option<RecordedHeader<'a>>,
            oauth_client: Option<RecordedClient<'a>>,
            pinning: Pinning,
            pins_version: u64,
            active: bool,
        }
        #[derive(Serialize)]
        struct RecordedHeader<'a> {
            id: Uuid,
            name: &'a str,
        }
        #[derive(Serialize)]
        struct RecordedClient<'a> {
            issuer: &'a str,
            client_id: &'a str,
            has_secret: bool,
            settings: &'a ProviderSettings,
        }
        let header = self.header.as_ref();
        let client = self.oauth_client.as_ref();
        Recorded {
            name: &self.name,
            url: &self.url,
            auth: self.auth,
            header: header.map(|header| RecordedHeader { id: header.id, name: &header.name }),
            oauth_client: client.map(|client| RecordedClient {
                issuer: &client.issuer,
                client_id: &client.client_id,
                has_secret: client.has_secret(),
                settings: &client.settings,
            }),
            pinning: self.pinning,
            pins_version: self.pins_version,
            active: self.active,
        }
    }

    /// Names the header that is sent to it, without saying anything of its value.
    pub(crate) fn header_id(&self) -> Option<Uuid> {
        self.header.as_ref().map(|header| header.id)
    }

    /// The name of the header that is sent to it.
    pub fn header_name(&self) -> Option<&str> {
        self.header.as_ref().map(|header| header.name.as_str())
    }

    /// The header to send to a server of [`ServerAuth::Header`].
    pub(crate) async fn header(&self, core: &Core) -> Result<(String, SecretString)> {
        let header = self.header.as_ref().ok_or_else(|| Error::internal("a server without its header"))?;
        Ok((header.name.clone(), self.open(&core.vault, &header.value).await?))
    }

    /// [`Self::oauth_client`], if it is this one.
    pub(crate) fn oauth_client_of(&self, issuer: &str, client_id: &str) -> Option<&OAuthClient> {
        let client = self.oauth_client.as_ref();
        client.filter(|client| client.issuer == issuer && client.client_id == client_id)
    }

    /// The secret of [`Self::oauth_client`], if it has one, for the issuer and the client that it was given for.
    pub(crate) async fn oauth_client_secret(
        &self,
        vault: &Vault,
        issuer: &str,
        client_id: &str,
    ) -> Result<Option<SecretString>> {
        let client = self.oauth_client_of(issuer, client_id).ok_or(Error::SessionOfOtherClient)?;
        match &client.secret {
            Some(sealed) => Ok(Some(self.open(vault, sealed).await?)),
            None => Ok(None),
        }
    }

    async fn open(&self, vault: &Vault, sealed: &Sealed) -> Result<SecretString> {
        let opened = vault.open(&Key::server(&self.id), sealed).await?.value;
        let text =
            std::str::from_utf8(&opened).map_err(|_| Error::internal("a server's secret is no text"))?;
        Ok(SecretString::from(text))
    }

    pub(crate) async fn seal(&self, core: &Core, secret: &SecretString) -> Result<Sealed> {
        core.vault.seal(&Key::server(&self.id), secret.expose_secret().as_bytes()).await
    }
}

/// What is done about a tool whose definition is not the approved one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pinning {
    /// Nothing.
    #[default]
    Off,
    /// The audit trail says so.
    Warn,
    /// It is neither listed nor called.
    Block,
}
