//! [`wabe_fuzz::fields`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wabe_fuzz::fields::run(input));
