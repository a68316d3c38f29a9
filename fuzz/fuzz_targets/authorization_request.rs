//! The query of an authorization request.
#![no_main]

libfuzzer_sys::fuzz_target!(|query: &str| deputize_console::fuzz_authorization_request(query));
