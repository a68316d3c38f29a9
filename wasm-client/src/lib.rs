//! What the npm package `deputize` does, compiled to WebAssembly. `npm/` has the JavaScript around it.
//!
//! | module | holds |
//! | --- | --- |
//! | [`client`] | a client: each operation is a request and what it answers |
//! | [`credentials`] | whose client it is, and what it sends for that |
//! | [`tokens`] | the token cache |
//! | [`assertion`] | `private_key_jwt` |
//! | [`exchange`] | sending a request: renewal, repetition, bounds |
//! | [`policy`] | whether and when to repeat a request |
//! | [`failure`] | what is thrown |
//! | [`bodies`] | bodies as JavaScript objects |
//! | [`environment`] | the clock, timers and randomness of the JavaScript around it |

pub mod client;

mod assertion;
mod bodies;
mod credentials;
mod environment;
mod exchange;
mod failure;
mod policy;
mod tokens;
