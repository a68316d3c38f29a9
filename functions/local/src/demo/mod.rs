//! The demo organization of `cargo run`: five people, an agent account, two MCP servers, a sign-in issuer, an
//! authorization server, and a file with everything that the cookbook's recipes need.

mod env;
mod issuer;
mod organization;
mod provider;

pub use self::{
    issuer::DemoIssuer,
    organization::Organization,
    provider::{Issued, Provider},
};
