//! [`wabe_fuzz::manifests`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wabe_fuzz::manifests::run(input));
