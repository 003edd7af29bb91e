//! A contact store and the routing tables over it, beside the model that the tests use.
#![no_main]

#[path = "../../tests/models/mod.rs"]
mod models;

libfuzzer_sys::fuzz_target!(|input: &[u8]| models::contacts::run(input));
