//! What every function shares at its edge: reading a request, knowing its caller, answering errors, limits, reading the
//! environment, and the Lambda entry.
//!
//! A handler takes what it needs as arguments ([`extract`]) and returns `Result<_>`. The rest happens around it
//! ([`edge`]).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod address;
pub mod authorities;
pub mod config;
pub mod connecting;
mod cors;
pub mod edge;
pub mod extract;
pub mod fetch;
#[cfg(feature = "aws")]
pub mod kms;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod lazy;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod outbound;
pub mod paged;
pub mod private_upstreams;
pub mod response;
pub mod routes;
pub mod unknown;

pub use self::{
    paged::Paged,
    response::{ApiError, EdgeError, ErrorBody, Errors},
};

/// What a handler returns.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;
