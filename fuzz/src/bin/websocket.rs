//! [`wabe_fuzz::websocket`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wabe_fuzz::websocket::run(input));
