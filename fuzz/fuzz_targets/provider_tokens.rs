//! An ID token and a logout token, of which neither is ever the other.
#![no_main]

libfuzzer_sys::fuzz_target!(|token: &str| deputize_core::issuers::fuzzing::tokens(token));
