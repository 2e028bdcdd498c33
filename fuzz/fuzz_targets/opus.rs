#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| voice_gateway_fuzz::media::opus(bytes));
