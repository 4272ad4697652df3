//! [`wabe_fuzz::dns`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wabe_fuzz::dns::run(input));
