//! What the endpoints take and answer, once for the server and for its clients, so that the two cannot drift.
//!
//! All paths, codes and reasons. Of bodies only what a client of agents and their users needs; the rest of the
//! administration has its types beside its handlers. Nothing here knows a server: clients compile it to WebAssembly.
//! So ids and times are text as they come off the wire. Where a body goes to the server, their types are parameters,
//! and the server reads them as what they are to it.
//!
//! | module | holds |
//! | --- | --- |
//! | [`path`] | where the endpoints are |
//! | [`token`] | `POST /api/v1/oauth/token`: parameters, token types, the answer |
//! | [`delegations`], [`session_grants`], [`connections`] | what users manage |
//! | [`tools`] | calling and listing tools |
//! | [`error`] | the body of every error |
//! | [`reason`] | what exactly went wrong, as a word for programs |
//! | [`hint`] | what to do about an error, by its reason |

pub mod connections;
pub mod delegations;
pub mod error;
pub mod hint;
pub mod path;
pub mod reason;
pub mod session_grants;
pub mod token;
pub mod tools;

/// The header of a user API key.
pub const API_KEY_HEADER: &str = "x-runlayer-api-key";

/// Other headers in which it is taken. Hosted connectors let their users choose among some names only.
pub const OTHER_API_KEY_HEADERS: [&str; 2] = ["x-api-key", "x-auth-token"];

/// The header of every answer whose id finds the request in the audit trail.
pub const REQUEST_ID_HEADER: &str = "x-request-id";
