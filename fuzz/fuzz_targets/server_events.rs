//! A server's event stream, cut into chunks of as many bytes as the first byte says.
#![no_main]

libfuzzer_sys::fuzz_target!(|stream: &[u8]| deputize_proxy::fuzzing::server_events(stream));
