//! The contract, tested across crates: the routes as they are deployed, on an embedded store, driven in
//! process. One binary, so that only one thing links.
//!
//! | folder | holds |
//! | --- | --- |
//! | `apps` | apps that act as their user: their codes and tokens |
//! | `token` | the token endpoint, introspection, revocation, keys |
//! | `authorize` | apps that act as their user: how they are known, and how a person allows them |
//! | `console` | the pages on which people manage what is theirs |
//! | `management` | everything that users and admins manage, and what is refused |
//! | `grants` | session grants, and whose credentials a call uses |
//! | `connections` | connecting to OAuth-protected servers, and refreshing sessions |
//! | `proxy` | calling and listing tools, what stops a call, the audit trail |
//! | `mcp` | the endpoint for MCP clients, with clients and servers of both eras |
//! | `trail` | what the trail answers: what was changed, filters, one event, export, events that leave
//! | `sign_in` | people who sign in with a browser, their sessions, and what issuers say of their groups |
//! | `origins` | web pages of other origins: preflights, what they may read, and what agent accounts they may use |
//! | `faults` | a store that throttles, times out, breaks off, loses answers or is gone |
//! | `races` | many callers at once |
//! | `round_trips` | lists and the trail, in round trips one after the other |
//! | `vault` | changing the root key, while everything goes on |
//! | `lambda` | events of AWS Lambda's, and what a function prints |
//! | `bootstrap` | a deployment's beginning |
//! | `demo` | the demo organization of the local server |
//! | `address` | a service that is reached at a path |
//! | `cost` | round trips, counted |
//! | `who_may_what` | every operation by every kind of caller, held to the table in `who_may_what.md` |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers fail by panicking"
)]

mod address;
mod apps;
mod authorize;
mod bootstrap;
mod connections;
mod console;
mod cost;
mod deletion;
mod demo;
mod faults;
mod grants;
mod lambda;
mod management;
mod mcp;
mod model;
mod origins;
mod proxy;
mod races;
mod round_trips;
mod scenario;
mod second_day;
mod sign_in;
mod token;
mod trail;
mod vault;
mod who_may_what;
