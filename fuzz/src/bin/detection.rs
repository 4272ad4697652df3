//! [`wabe_fuzz::detection`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wabe_fuzz::detection::run(input));
