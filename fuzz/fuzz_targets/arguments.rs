//! A call's arguments, and what memory it takes to judge them: a few times their own.
#![no_main]

use deputize_core::policies::{decide, prepare_to_decide};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The memory for any decision in bytes, and the factor for each byte of the arguments.
const FIXED: usize = 64 * 1024;
const TIMES: usize = 12;

libfuzzer_sys::fuzz_target!(init: prepare_to_decide(), |arguments: &str| {
    // Also with long names and long values, which random bytes rarely contain.
    for arguments in [arguments, &arguments.replace('~', &"x".repeat(250))] {
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        decide(arguments);
        let taken = MEMORY.peak_usage().saturating_sub(before);
        let bytes = arguments.len();
        assert!(taken <= FIXED + TIMES * bytes, "{taken} bytes to judge {bytes} bytes of arguments");
    }
});
