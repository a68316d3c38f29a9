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
    metadata::{Provider, bad},
    quoted,
};
use crate::error::{Error, Result, UpstreamFailure};
use crate::network::{Http, HttpError, NoDocument, document};

/// What discovery has found out about a protected MCP server.
#[derive(Debug)]
pub(super) struct Discovered {
    pub(super) provider: Provider,
    /// The server's own name, for `resource` (RFC 8707).
    pub(super) resource: String,
    /// The scope to request: the challenge's, else the metadata's.
    pub(super) scope: Option<String>,
}

/// Protected resource metadata (RFC 9728 section 2).
#[derive(Debug, Deserialize)]
struct ResourceMetadata {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
}

/// Asks the server for its authorization server. `issuer` is the one where Deputize is registered already. It
/// is preferred, and used if the server has no metadata at all.
pub(super) async fn discover(http: &dyn Http, server: &Url, issuer: Option<&str>) -> Result<Discovered> {
    http.check(server).map_err(|error| error.from("the MCP server"))?;
    let challenge = challenge(http, server).await?;
    let Some(metadata) = resource_metadata(http, server, &challenge).await? else {
        let issuer = issuer.ok_or_else(|| {
            bad("The MCP server has no protected resource metadata (RFC 9728), so its authorization server is \
                 unknown; register the server with the issuer and a client in oauth_client")
        })?;
        let provider = provider(http, issuer).await?;
        return Ok(Discovered { provider, resource: canonical(server), scope: challenge.scope });
    };
    let servers = &metadata.authorization_servers;
    let chosen = match issuer {
        Some(issuer) => servers.iter().find(|named| *named == issuer).ok_or_else(|| {
            bad(
                "The MCP server no longer names the authorization server at which the client in oauth_client \
                 is registered",
            )
        })?,
        None => {
            servers.first().ok_or_else(|| bad("The MCP server's metadata names no authorization server"))?
        }
    };
    let provider = provider(http, chosen).await?;
    let supported = metadata.scopes_supported.join(" ");
    let scope = challenge.scope.or_else(|| Some(supported).filter(|s| super::challenge::is_scope(s)));
    Ok(Discovered { provider, resource: metadata.resource, scope })
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

/// The server's metadata, from the address in the challenge, else from the well-known addresses.
async fn resource_metadata(
    http: &dyn Http,
    server: &Url,
    challenge: &Challenge,
) -> Result<Option<ResourceMetadata>> {
    let mut places = Vec::new();
    match &challenge.resource_metadata {
        Some(named) => {
            let named = named.parse::<Url>();
            places
                .push(named.map_err(|_| bad("The MCP server's challenge names no address of its metadata"))?);
        }
        None => {
            let path = server.path().trim_end_matches('/');
            places.extend(well_known(server, &format!("/.well-known/oauth-protected-resource{path}")));
            places.extend(well_known(server, "/.well-known/oauth-protected-resource"));
            places.dedup();
        }
    }
    for place in places {
        let metadata: ResourceMetadata = match document(http, &place).await {
            Ok(metadata) => metadata,
            Err(NoDocument::Absent) => continue,
            Err(failed) => return Err(no_document(failed, "the MCP server's protected resource metadata")),
        };
        // RFC 9728 section 3.3: with another resource's metadata, Deputize would send this server that
        // resource's tokens.
        if !is_resource_of(&metadata.resource, server) {
            return Err(bad(format!(
                "The MCP server's metadata is about another resource: {}",
                quoted(&metadata.resource)
            )));
        }
        return Ok(Some(metadata));
    }
    Ok(None)
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

/// An authorization server's metadata, from the well-known addresses in the order that the specification
/// prescribes.
async fn provider(http: &dyn Http, issuer: &str) -> Result<Provider> {
    const WHAT: &str = "the authorization server's metadata";
    let url = issuer.parse::<Url>().ok().filter(|url| url.query().is_none() && url.fragment().is_none());
    let url = url.ok_or_else(|| bad("The MCP server names an authorization server that is no issuer"))?;
    let path = url.path().trim_end_matches('/');
    let mut places = vec![
        well_known(&url, &format!("/.well-known/oauth-authorization-server{path}")),
        well_known(&url, &format!("/.well-known/openid-configuration{path}")),
    ];
    if !path.is_empty() {
        places.push(well_known(&url, &format!("{path}/.well-known/openid-configuration")));
    }
    for place in places.into_iter().flatten() {
        let provider: Provider = match document(http, &place).await {
            Ok(provider) => provider,
            Err(NoDocument::Absent) => continue,
            Err(failed) => return Err(no_document(failed, WHAT)),
        };
        // RFC 8414 section 3.3: by simple comparison.
        if provider.issuer != issuer {
            return Err(bad(format!(
                "The authorization server's metadata is of another issuer: {}",
                quoted(&provider.issuer)
            )));
        }
        if !provider.code_challenge_methods_supported.iter().any(|method| method == "S256") {
            return Err(bad("The authorization server does not support PKCE with S256, which is required"));
        }
        let endpoints = [&provider.authorization_endpoint, &provider.token_endpoint];
        for endpoint in endpoints.into_iter().chain(&provider.registration_endpoint) {
            http.check(endpoint).map_err(|error| error.from("an endpoint of the authorization server"))?;
        }
        return Ok(provider);
    }
    Err(bad("The authorization server has no metadata (RFC 8414, OpenID Connect Discovery)"))
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
