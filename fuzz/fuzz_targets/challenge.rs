//! A server's `WWW-Authenticate`.
#![no_main]

use deputize_core::connections::Challenge;

libfuzzer_sys::fuzz_target!(|header: &str| {
    let challenge = Challenge::parse(header);
    // It is shown to users and sent to an authorization server.
    if let Some(scope) = challenge.scope {
        assert!(scope.len() <= 1_000 && scope.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{scope:?}");
    }
});
