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
//!
//! The package is one WebAssembly module, one glue file, and an entry of ten lines for each way to load a module: a
//! page by URL, edge runtimes by `import`, everything else from a script that carries it (`npm/start.js`). What it
//! sends, keeps, repeats and reports is Rust. JavaScript has what it expresses better: `fetch` and reading what it
//! answers, promises that a signal or a time ends, lists as async iterators, an error class, and checks. Every value
//! is checked there before it comes here, and every function that is called from here may throw: a trap would end
//! Node's process, and leave a page's client unusable.
//!
//! **Types are the server's** (`functions/api`). JSON itself is the engine's business, and arguments and results are
//! never copied out of it into structs.
//!
//! **One future.** All operations are a request and a function that shows its answer. So there is one state machine,
//! not twelve. Together with doing without serde, that took the module from 83 to 46 KB.
//!
//! **What is wiped.** Secrets and tokens are kept in the module's memory and zeroized when they go. Their copies as
//! JavaScript strings, which `fetch` needs, cannot be.
//!
//! The crate is a member of the workspace, so it shares its lints and tests. On the host it compiles, and its pure
//! parts are tested. The tool that writes the glue is a binary behind a feature of the same crate. So it is always of
//! the version in the lock file, and nothing else builds it. The package is tested as it is packed, by one suite in
//! three runtimes (`tests/client`), with the service behind a proxy that counts, breaks and answers in its place; and
//! in each bundler and test runner (`tests/client/toolchains`).

pub mod client;

mod assertion;
mod bodies;
mod credentials;
mod environment;
mod exchange;
mod failure;
mod policy;
mod tokens;
