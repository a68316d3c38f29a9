//! An `Mcp-Session-Id`.
#![no_main]

libfuzzer_sys::fuzz_target!(|id: &str| deputize_core::mcp_sessions::fuzz(id));
