//! [`wabe_fuzz::figures`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wabe_fuzz::figures::run(input));
