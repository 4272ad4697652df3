//! [`wabe_fuzz::client_hello`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wabe_fuzz::client_hello::run(input));
