//! A redirect URI, as it is asked for, and as it is registered.
#![no_main]

libfuzzer_sys::fuzz_target!(|uris: &str| deputize_core::apps::fuzzing::redirect_uri(uris));
