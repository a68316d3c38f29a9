//! The kit that the tests across crates are made with: the whole service in one process, with everything around it made
//! of memory, standing still or failing on demand.
//!
//! | file | holds |
//! | --- | --- |
//! | [`app`] | [`TestApp`]: the deployed routes on an embedded store, with a clock that a test moves |
//! | [`person`] | a person who looks at pages and presses their buttons |
//! | [`documents`] | the web as an app's metadata document is fetched from it |
//! | [`fixtures`] | who and what is in a test: users, agent accounts, servers, delegations, policies |
//! | [`allowed_apps`] | apps that users allowed to act as them, and their tokens |
//! | [`apps`] | apps that act as their user: what a user allowed one, its codes and tokens |
//! | [`client`] | a client that proves itself by signing |
//! | [`request`] | asking, with each kind of credential |
//! | [`response`] | the answer as a test reads it, and as a snapshot shows it |
//! | [`issuer`] | issuers of user JWTs, whose keys and failures a test chooses |
//! | [`identity_provider`] | an OpenID provider by which people sign in |
//! | [`browser`] | a browser that keeps cookies |
//! | [`jwt`] | taking tokens apart, and forging them |
//! | [`upstream`] | an MCP server that remembers what reached it |
//! | [`mcp`] | MCP as it is written: scripted servers and clients of both eras |
//! | [`provider`] | an OAuth provider and the MCP server that it protects, as wrong as a test wants them |
//! | [`faults`] | a transport to the store that throttles, times out, breaks off or loses answers |
//! | [`store`] | the store of the service under test, embedded or at an address |
//! | [`storm`] | a way to the store on which everything happens that DynamoDB allows, by a seed |
//! | [`table`] | the whole table, to see what a request has changed |
//!
//! A test starts with [`TestApp::start`]. Nothing is shared between two of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers fail by panicking"
)]

pub mod allowed_apps;
pub mod app;
pub mod apps;
pub mod browser;
pub mod client;
pub mod documents;
pub mod faults;
pub mod fixtures;
pub mod identity_provider;
pub mod issuer;
pub mod jwt;
pub mod mcp;
pub mod person;
pub mod provider;
pub mod request;
pub mod response;
pub mod store;
pub mod storm;
pub mod table;
pub mod upstream;

pub use self::{
    allowed_apps::AllowedApp,
    app::TestApp,
    apps::AppClient,
    browser::Browser,
    client::SigningClient,
    documents::Documents,
    fixtures::{Agent, Server, User},
    identity_provider::{IdentityProvider, Providers},
    person::Person,
    provider::Provider,
    request::TestRequest,
    response::TestResponse,
    upstream::McpServer,
};
