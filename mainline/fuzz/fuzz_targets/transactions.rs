//! Queries in flight, beside the model that the tests use.
#![no_main]

#[path = "../../tests/models/mod.rs"]
mod models;

libfuzzer_sys::fuzz_target!(|input: &[u8]| models::transactions::run(input));
