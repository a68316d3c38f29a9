//! A `client_id` of a registration, which is the registration.
#![no_main]

libfuzzer_sys::fuzz_target!(|id: &str| deputize_core::apps::fuzzing::client_id(id));
