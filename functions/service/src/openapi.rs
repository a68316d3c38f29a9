//! What the functions' API descriptions share, and what is the same in all operations.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, ObjectBuilder, OpenApi as Description, Ref, RefOr, Required, Response, Schema, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};

/// The document that every function's part is merged into. [`complete`] it afterwards.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Deputize",
        description = "AI agents act for people, and never beyond them.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    // The deployment that serves the document puts its own address here.
    servers((url = "/")),
    tags(
        (name = "tokens", description = "Tokens of agents: getting, examining and revoking them."),
        (name = "discovery", description = "Public documents, from which clients learn the rest by themselves."),
        (name = "proxy", description = "Calling the tools of MCP servers."),
        (name = "delegations", description = "A user lets an agent act for them."),
        (name = "session grants", description = "A user lets an agent use their OAuth session at a server."),
        (name = "connections", description = "A user's OAuth sessions at MCP servers."),
        (name = "agent accounts", description = "Agents' identities, with their client secrets and keys."),
        (name = "API keys", description = "Users' API keys."),
        (name = "apps", description = "Apps that act as their user: MCP clients and web pages."),
        (name = "users", description = "The people of the organization."),
        (name = "servers", description = "The MCP servers that agents can use."),
        (name = "policies", description = "Which caller may call which tool, in Cedar."),
        (name = "deleted things", description = "What was deleted, and can be restored for 30 days."),
        (name = "audit", description = "What happened."),
        (name = "signing keys", description = "The keys that sign agent tokens."),
        (name = "service", description = "The service itself."),
    ),
    components(schemas(crate::ErrorBody)),
    modifiers(&Security),
)]
pub struct Document;

#[derive(Debug)]
struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut Description) {
        let components = openapi.components.get_or_insert_with(Default::default);
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description =
            Some("A user's JWT, a user's API key, or, at the proxy, an agent token.".to_owned());
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let mut basic = Http::new(HttpAuthScheme::Basic);
        basic.description = Some("A client's id and secret. They can be in the form instead.".to_owned());
        components.add_security_scheme("basic", SecurityScheme::Http(basic));
        let key = ApiKeyValue::with_description(crate::extract::API_KEY_HEADER, "A user's API key.");
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(key)));
    }
}

/// Adds what is the same in all operations: the answer of the edge to too many headers, and a description of each
/// success that has none of its own.
#[must_use]
pub fn complete(mut document: Description) -> Description {
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        let is_paged = is_paged(operation);
        let responses = &mut operation.responses.responses;
        let has = |status: &str| responses.contains_key(status);
        let headers = [(has("422"), idempotency_key()), (has("412"), if_match())];
        let headers = headers.into_iter().filter_map(|(is_read, header)| is_read.then_some(header));
        operation.parameters.get_or_insert_with(Vec::new).extend(headers);
        responses.entry("431".to_owned()).or_insert_with(|| RefOr::T(too_many_headers()));
        for (status, response) in responses {
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                success(status, is_paged).clone_into(&mut response.description);
            }
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

fn too_many_headers() -> Response {
    let mut response =
        Response::new(format!("The request has more than {} headers.", crate::edge::MAX_HEADERS));
    let body = Content::new(Some(RefOr::<Schema>::Ref(Ref::from_schema_name("ErrorBody"))));
    response.content.insert("application/json".to_owned(), body.into());
    response
}

/// Of operations that may be sent again ([`crate::Once`]).
fn idempotency_key() -> RefOr<Parameter> {
    header(
        "Idempotency-Key",
        "A text of your own in double quotes, at most 200 characters, a new one for each request. Sent again within a day, \
         the request is not carried out again, and gets the answer that it got.",
        "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"",
    )
}

/// Of operations that can be held to a state ([`crate::IfMatch`]).
fn if_match() -> RefOr<Parameter> {
    header(
        "If-Match",
        "The `ETag` of the thing as you know it: it is changed only if it is that still.",
        "\"u7mCrPPr0cVPDl1n-GnY2Q2o9Zc6kBz0T\"",
    )
}

fn header(name: &str, description: &str, example: &str) -> RefOr<Parameter> {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .example(Some(example.into()))
        .schema(Some(text));
    RefOr::T(parameter.build())
}

/// Whether it answers a list in pages ([`crate::Paged`]).
fn is_paged(operation: &Operation) -> bool {
    let parameters = operation.parameters.iter().flatten();
    parameters
        .filter_map(|parameter| if let RefOr::T(parameter) = parameter { Some(parameter) } else { None })
        .any(|parameter| parameter.name == "cursor" && parameter.parameter_in == ParameterIn::Query)
}

/// What a status says of every operation. Errors describe themselves ([`crate::Errors`]).
fn success(status: &str, is_paged: bool) -> &'static str {
    match status {
        "200" if is_paged => "A page of the list. `Link` leads to the next one, if there is one.",
        "200" => "The body has what was asked for, as it is now.",
        "201" => "It was created, and the body shows it.",
        "204" => "It was done. There is no body.",
        _ => "",
    }
}
