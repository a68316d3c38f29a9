//! What every function shares at its edge: reading a request, knowing its caller, answering errors, limits, reading the
//! environment, and the Lambda entry.
//!
//! A handler takes what it needs as arguments ([`extract`]) and returns `Result<_>`. The rest happens around it
//! ([`edge`]).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod address;
pub mod authorities;
mod batch;
pub mod bounds;
pub mod config;
pub mod connecting;
mod cors;
pub mod edge;
mod etag;
pub mod extract;
pub mod fetch;
#[cfg(feature = "aws")]
pub mod kms;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod lazy;
mod once;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod outbound;
pub mod paged;
pub mod private_upstreams;
pub mod response;
pub mod routes;
pub mod shown;
pub mod unknown;

pub use self::{
    batch::{Batch, BatchOutcome, BatchOutcomes, Done, MAX_BATCH_BODY},
    etag::{Changing, IfMatch, Tagged},
    once::Once,
    paged::{Paged, next_link},
    response::{ApiError, Changed, EdgeError, ErrorBody, Errors, KeyReused},
};

/// What a handler returns.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;
