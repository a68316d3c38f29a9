//! The kit that the tests across crates are made with: the whole service in one process, with everything around it made
//! of memory, standing still or failing on demand.
//!
//! | file | holds |
//! | --- | --- |
//! | [`app`] | [`TestApp`]: the deployed routes on an embedded store, with a clock that a test moves |
//! | [`fixtures`] | who and what is in a test: users, agent accounts, servers, delegations, policies |
//! | [`client`] | a client that proves itself by signing |
//! | [`request`] | asking, with each kind of credential |
//! | [`response`] | the answer as a test reads it, and as a snapshot shows it |
//! | [`issuer`] | issuers of user JWTs, whose keys and failures a test chooses |
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

pub mod app;
pub mod client;
pub mod faults;
pub mod fixtures;
pub mod issuer;
pub mod jwt;
pub mod mcp;
pub mod provider;
pub mod request;
pub mod response;
pub mod store;
pub mod storm;
pub mod table;
pub mod upstream;

pub use self::{
    app::TestApp,
    client::SigningClient,
    fixtures::{Agent, Server, User},
    provider::Provider,
    request::TestRequest,
    response::TestResponse,
    upstream::McpServer,
};
