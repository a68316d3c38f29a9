//! Deputize in one process: every function's routes on an embedded DynamoDB, with a demo organization.
//! What `cargo run` starts, and what the tests drive.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bootstrap;
pub mod data_dir;
pub mod demo;
pub mod demo_servers;
mod openapi;
mod remote;
pub mod seed;
pub mod server;
pub mod store;

/// Why the server cannot start, for the person who starts it.
#[derive(Debug)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<deputize_core::Error> for StartError {
    fn from(error: deputize_core::Error) -> Self {
        Self(match error {
            deputize_core::Error::Internal(cause) => cause,
            other => other.to_string(),
        })
    }
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}
