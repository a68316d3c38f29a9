//! The demo organization of `cargo run`: three people, an agent account, two MCP servers and a sign-in
//! issuer, and a file with all that the cookbook's recipes need.

mod env;
mod issuer;
mod organization;

pub use self::{issuer::DemoIssuer, organization::Organization};
