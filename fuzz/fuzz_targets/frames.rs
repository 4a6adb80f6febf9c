//! Whatever comes over a link, reading a frame ends in a frame that fits together or in an error, never in a panic.
#![no_main]

use galerna_worker::testing::decode_frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| decode_frame(bytes));
