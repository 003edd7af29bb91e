//! A whole engine among remotes that do what the input says, beside the model that the tests use.
#![no_main]

#[path = "../../tests/models/mod.rs"]
mod models;

libfuzzer_sys::fuzz_target!(|input: &[u8]| models::engine::run(input));
