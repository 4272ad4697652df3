//! [`wabe_fuzz::http2_frames`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wabe_fuzz::http2_frames::run(input));
