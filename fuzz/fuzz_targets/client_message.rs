//! A client's request: header lines, an empty line, a body.
#![no_main]

libfuzzer_sys::fuzz_target!(|request: &[u8]| deputize_proxy::fuzzing::client_message(request));
