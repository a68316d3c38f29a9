//! What an admin should know of a server's authorization before registering the server.

use url::Url;

use super::discovery::discover;
use crate::{Core, error::Result};

/// Where tokens for a server come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundAuthorization {
    pub issuer: String,
    /// Whether our client gets there by itself: by its metadata document, or by RFC 7591. Otherwise an admin must register
    /// one.
    pub registers_clients: bool,
}

/// Asks a server for its authorization server, and that one for what it can do. Changes nothing anywhere. The addresses
/// are checked like every address.
pub async fn look(core: &Core, server: &Url) -> Result<FoundAuthorization> {
    let provider = discover(&*core.http, server, None).await?.provider;
    let by_document = provider.client_id_metadata_document_supported && core.settings.is_https();
    Ok(FoundAuthorization {
        registers_clients: by_document || provider.registration_endpoint.is_some(),
        issuer: provider.issuer,
    })
}
