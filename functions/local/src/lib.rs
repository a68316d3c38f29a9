//! Deputize in one process: every function's routes on an embedded DynamoDB, with a demo organization. `cargo run`
//! starts it, and the tests use it.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use deputize_core::error::{Cause, chain};

mod audit_file;
pub mod bootstrap;
pub mod connections;
pub mod data_dir;
pub mod demo;
pub mod demo_servers;
mod openapi;
mod remote;
pub mod seed;
pub mod server;
pub mod store;

/// Why the server cannot start, for the person who starts it. Shown with all its causes.
#[derive(Debug)]
pub struct StartError(Cause);

impl StartError {
    pub fn new(why: impl Into<Cause>) -> Self {
        Self(why.into())
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&chain(&*self.0))
    }
}

impl From<deputize_core::Error> for StartError {
    fn from(error: deputize_core::Error) -> Self {
        Self(match error {
            deputize_core::Error::Internal(cause) => cause,
            other => other.into(),
        })
    }
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self(error.into())
    }
}
