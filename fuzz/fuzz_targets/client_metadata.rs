//! An app's metadata, as its document or as its registration.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| deputize_core::apps::fuzzing::metadata(body));
