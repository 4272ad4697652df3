//! [`wabe_fuzz::events`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wabe_fuzz::events::run(input));
