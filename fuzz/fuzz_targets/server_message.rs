//! One JSON-RPC message of a server's.
#![no_main]

libfuzzer_sys::fuzz_target!(|message: &[u8]| deputize_proxy::fuzzing::server_message(message));
