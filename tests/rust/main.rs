//! The contract, tested across crates: the routes as they are deployed, on an embedded store, driven in
//! process. One binary, so that only one thing links.
//!
//! | folder | holds |
//! | --- | --- |
//! | `token` | the token endpoint, introspection, revocation, keys |
//! | `grants` | session grants, and whose credentials a call uses |
//! | `proxy` | calling and listing tools, what stops a call, the audit trail |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers fail by panicking"
)]

mod grants;
mod proxy;
mod stage;
mod token;
