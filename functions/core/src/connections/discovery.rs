//! From an MCP server to the authorization server that gives tokens for it
//! ([authorization server discovery](https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/authorization-server-discovery)).
//!
//! The server is asked without a token. Its 401 says where its metadata is; otherwise the well-known addresses are
//! tried. The metadata names the authorization server, whose own metadata is looked for in the specification's order.

use http::{Method, Request, StatusCode, header};
use serde::Deserialize;
use url::Url;

use super::{
    Challenge,
    challenge::is_scope,
    known_providers::{is_same_issuer, known_provider},
    metadata::{Metadata, Provider, bad, or_absent},
    quoted,
};
use crate::{
    entities::oauth_client::{OAuthClient, ProviderSettings},
    error::{Error, Result, UpstreamFailure},
    jwt,
    network::{Http, HttpError, NoDocument, document},
};

/// What discovery has found out about a protected MCP server.
#[derive(Debug)]
pub(super) struct Discovered {
    pub(super) provider: Provider,
    /// What an admin says of it, and else what is known of it.
    pub(super) settings: ProviderSettings,
    /// The server's own name, for `resource` (RFC 8707).
    pub(super) resource: String,
    /// The scope to request: the challenge's, else the metadata's.
    pub(super) scope: Option<String>,
}

/// Protected resource metadata (RFC 9728 section 2).
#[derive(Debug, Deserialize)]
struct ResourceMetadata {
    /// GitLab's has had a list of one (<https://github.com/github/copilot-cli/issues/4439>).
    #[serde(deserialize_with = "jwt::OneOrMany::deserialize")]
    resource: Vec<String>,
    #[serde(default, deserialize_with = "or_absent")]
    authorization_servers: Option<Vec<String>>,
    #[serde(default, deserialize_with = "or_absent")]
    scopes_supported: Option<Vec<String>>,
}

/// The most authorization servers of an MCP server that are asked.
const MAX_ISSUERS: usize = 3;

/// Asks the server for its authorization server. If an admin has registered a client at one, it is used, even if the
/// server has no metadata at all.
pub(super) async fn discover(
    http: &dyn Http,
    server: &Url,
    client: Option<&OAuthClient>,
) -> Result<Discovered> {
    http.check(server).map_err(|error| error.from("the MCP server"))?;
    let challenge = challenge(http, server).await?;
    let metadata = resource_metadata(http, server, &challenge).await?;
    let issuers = issuers(server, metadata.as_ref(), client)?;
    let mut first_failure = None;
    for issuer in issuers {
        let known = known_provider(&issuer).map(|known| &known.settings);
        let settings = client.map(|client| client.settings.clone()).unwrap_or_default().over(known);
        match provider(http, &issuer, &settings).await {
            Ok(Some(provider)) => {
                let (resource, supported) = match metadata {
                    Some(ResourceMetadata { resource, scopes_supported, .. }) => {
                        (own_name(&resource, server), scopes_supported)
                    }
                    None => (None, None),
                };
                let supported = supported.unwrap_or_default().join(" ");
                let scope = challenge.scope.or_else(|| Some(supported).filter(|scope| is_scope(scope)));
                let resource = resource.unwrap_or_else(|| canonical(server));
                return Ok(Discovered { provider, settings, resource, scope });
            }
            Ok(None) => {}
            Err(error) => first_failure = first_failure.or(Some(error)),
        }
    }
    Err(first_failure.unwrap_or_else(|| match (&metadata, client) {
        (None, None) => bad(
            "The MCP server has no protected resource metadata (RFC 9728), and no authorization server at its own \
             address; register it with the issuer and a client in oauth_client",
        ),
        _ => bad(
            "The authorization server has no metadata (RFC 8414, OpenID Connect Discovery); an admin can give its \
             authorization_endpoint and token_endpoint in the server's oauth_client",
        ),
    }))
}

/// The authorization servers to ask, in order.
fn issuers(
    server: &Url,
    metadata: Option<&ResourceMetadata>,
    client: Option<&OAuthClient>,
) -> Result<Vec<String>> {
    let named = metadata.map(|metadata| metadata.authorization_servers.as_deref().unwrap_or_default());
    match (client, named) {
        // As an admin writes it. Entra's own may be any tenant's, where the server names "organizations".
        (Some(OAuthClient { issuer, .. }), named) => {
            let named = named.unwrap_or_default();
            let is_named = named.is_empty() || named.iter().any(|named| is_same_issuer(named, issuer));
            if is_named { Ok(vec![issuer.clone()]) } else { Err(names_another(issuer, named)) }
        }
        (None, Some([])) => Err(bad("The MCP server's metadata names no authorization server")),
        (None, Some(named)) => Ok(named.iter().take(MAX_ISSUERS).cloned().collect()),
        // Servers of the revision 2025-03-26 are below their authorization server
        // (https://modelcontextprotocol.io/specification/2025-03-26/basic/authorization#2-3-server-metadata-discovery).
        (None, None) => Ok(vec![server.origin().ascii_serialization()]),
    }
}

fn names_another(ours: &str, named: &[String]) -> Error {
    let named: Vec<String> = named.iter().take(MAX_ISSUERS).map(|issuer| quoted(issuer)).collect();
    bad(format!(
        "The MCP server does not name the authorization server at which the client in oauth_client is registered, \
         {}; it names: {}",
        quoted(ours),
        named.join(", ")
    ))
}

/// The server's challenge to a request without a token. Empty if the server accepts the request.
async fn challenge(http: &dyn Http, server: &Url) -> Result<Challenge> {
    // A request of the stateless revision, so that no session begins at the server. Authorization is checked
    // before the protocol: a server that does not speak this revision answers 401 too.
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"deputize","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let request = Request::builder()
        .method(Method::POST)
        .uri(server.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "server/discover")
        .body(body.to_vec())
        .map_err(Error::internal)?;
    let response = match http.send(request).await {
        Ok(response) => response,
        // An answer that is too long is not a challenge. The well-known addresses may still work.
        Err(HttpError::TooLarge(_)) => return Ok(Challenge::default()),
        Err(error) => return Err(error.from("the MCP server")),
    };
    if response.status() != StatusCode::UNAUTHORIZED {
        return Ok(Challenge::default());
    }
    let headers = response.headers().get_all(header::WWW_AUTHENTICATE);
    let challenges = headers.iter().filter_map(|value| value.to_str().ok()).map(Challenge::parse);
    Ok(challenges
        .reduce(|first, next| if first == Challenge::default() { next } else { first })
        .unwrap_or_default())
}

/// The server's metadata, from the address in the challenge, else from the well-known addresses. If one of them fails,
/// the next may do.
async fn resource_metadata(
    http: &dyn Http,
    server: &Url,
    challenge: &Challenge,
) -> Result<Option<ResourceMetadata>> {
    let mut places = Vec::new();
    if let Some(named) = &challenge.resource_metadata {
        let named = named.parse::<Url>();
        places.push(named.map_err(|_| bad("The MCP server's challenge names no address of its metadata"))?);
    }
    let path = server.path().trim_end_matches('/');
    let mut own = well_known(server, &format!("/.well-known/oauth-protected-resource{path}"));
    if let Some(own) = &mut own {
        // RFC 9728 section 3.1. Sentry's server has its options in the query.
        own.set_query(server.query());
    }
    places.extend(own);
    places.extend(well_known(server, "/.well-known/oauth-protected-resource"));
    places.dedup();
    let mut first_failure = None;
    for place in places {
        let metadata: ResourceMetadata = match document(http, &place).await {
            Ok(metadata) => metadata,
            Err(NoDocument::Absent) => continue,
            Err(failed) => {
                let is_silence = failed.is_silence();
                let failed = no_document(failed, "the MCP server's protected resource metadata");
                first_failure = first_failure.or(Some(failed));
                if is_silence {
                    break;
                }
                continue;
            }
        };
        // RFC 9728 section 3.3: with another resource's metadata, Deputize would send this server that
        // resource's tokens.
        if own_name(&metadata.resource, server).is_none() {
            return Err(bad(format!(
                "The MCP server's metadata is about another resource: {}",
                metadata.resource.first().map(|name| quoted(name)).unwrap_or_default()
            )));
        }
        return Ok(Some(metadata));
    }
    first_failure.map_or(Ok(None), Err)
}

/// The server's name in its metadata, as it is written there.
fn own_name(names: &[String], server: &Url) -> Option<String> {
    names.iter().find(|name| is_resource_of(name, server)).cloned()
}

/// Whether `resource` is the server itself or, at the same origin, a path above it. Some servers protect
/// everything that they have as one resource.
fn is_resource_of(resource: &str, server: &Url) -> bool {
    let Ok(resource) = resource.parse::<Url>() else { return false };
    let path = resource.path().trim_end_matches('/');
    resource.origin() == server.origin()
        && resource.fragment().is_none()
        && (resource.query().is_none() || resource.query() == server.query())
        && server.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The server's address as a resource identifier: without a fragment and without a trailing slash.
fn canonical(server: &Url) -> String {
    let mut server = server.clone();
    server.set_fragment(None);
    let text = server.to_string();
    match text.strip_suffix('/') {
        Some(bare) if server.path() == "/" && server.query().is_none() => bare.to_owned(),
        _ => text,
    }
}

/// An authorization server: by an admin's endpoints, else by its metadata from the well-known addresses in the order
/// that the specification prescribes. If one of them fails, the next may do. `None`: there is no metadata.
async fn provider(http: &dyn Http, issuer: &str, settings: &ProviderSettings) -> Result<Option<Provider>> {
    const WHAT: &str = "the authorization server's metadata";
    let url = issuer.parse::<Url>().ok().filter(|url| url.query().is_none() && url.fragment().is_none());
    let url = url.ok_or_else(|| bad("The MCP server names an authorization server that is no issuer"))?;
    if let Some(endpoints) = &settings.endpoints {
        return checked(http, Provider::given(issuer, endpoints)).map(Some);
    }
    let mut first_failure = None;
    for place in metadata_places(&url) {
        match document::<Metadata>(http, &place).await {
            Ok(metadata) => return checked(http, metadata.of(issuer, settings.pkce)?).map(Some),
            Err(NoDocument::Absent) => {}
            Err(failed) => {
                let is_silence = failed.is_silence();
                first_failure = first_failure.or(Some(no_document(failed, WHAT)));
                if is_silence {
                    break;
                }
            }
        }
    }
    first_failure.map_or(Ok(None), Err)
}

/// Where an issuer's metadata can be. `WorkOS` is why RFC 8414 comes first: its OpenID Connect document says nothing of
/// PKCE. The last place is Keycloak's.
fn metadata_places(issuer: &Url) -> Vec<Url> {
    const OAUTH: &str = "/.well-known/oauth-authorization-server";
    const OPENID: &str = "/.well-known/openid-configuration";
    let path = issuer.path().trim_end_matches('/');
    let mut places = vec![format!("{OAUTH}{path}"), format!("{OPENID}{path}")];
    if !path.is_empty() {
        places.extend([format!("{path}{OPENID}"), format!("{path}{OAUTH}")]);
    }
    places.iter().filter_map(|place| well_known(issuer, place)).collect()
}

fn checked(http: &dyn Http, provider: Provider) -> Result<Provider> {
    let endpoints = [&provider.authorization_endpoint, &provider.token_endpoint];
    for endpoint in endpoints.into_iter().chain(&provider.registration_endpoint) {
        http.check(endpoint).map_err(|error| error.from("an endpoint of the authorization server"))?;
    }
    Ok(provider)
}

fn well_known(at: &Url, path: &str) -> Option<Url> {
    let mut url = at.join("/").ok()?;
    url.set_path(path);
    Some(url)
}

fn no_document(failed: NoDocument, what: &str) -> Error {
    match failed {
        NoDocument::Absent => bad(format!("There is no such document: {what}")),
        NoDocument::Http(error) => error.from(what),
        NoDocument::Malformed(why) => Error::Upstream {
            kind: UpstreamFailure::Bad,
            detail: format!("There is something wrong with {what}: {why}"),
            may_have_run: false,
            cause: Some(why),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_the_server_or_what_it_is_below() {
        let server: Url = "https://mcp.example.com/team/mcp".parse().unwrap();
        for own in [
            "https://mcp.example.com/team/mcp",
            "https://MCP.example.com/team/mcp/",
            "https://mcp.example.com/team",
            "https://mcp.example.com",
            "https://mcp.example.com/",
        ] {
            assert!(is_resource_of(own, &server), "{own}");
        }
        for other in [
            "https://mcp.example.com/te",
            "https://mcp.example.com/team/mcp/more",
            "https://mcp.example.com/team/mcp?tenant=2",
            "https://mcp.example.com/team/mcp#x",
            "http://mcp.example.com/team/mcp",
            "https://mcp.example.com:8443/team/mcp",
            "https://example.com/team/mcp",
            "not a URL",
        ] {
            assert!(!is_resource_of(other, &server), "{other}");
        }
    }

    #[test]
    fn a_server_without_a_path_is_named_without_a_slash() {
        assert_eq!(canonical(&"https://mcp.example.com".parse().unwrap()), "https://mcp.example.com");
        assert_eq!(
            canonical(&"https://mcp.example.com/mcp/".parse().unwrap()),
            "https://mcp.example.com/mcp/"
        );
    }
}
