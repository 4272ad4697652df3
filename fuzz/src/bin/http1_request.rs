//! [`wabe_fuzz::http1_request`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wabe_fuzz::http1_request::run(input));
