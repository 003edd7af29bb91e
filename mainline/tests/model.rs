//! Tables and engine beside their models, under random operations. `fuzz/` searches for operations that break them.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "models/mod.rs"]
mod models;

use proptest::prelude::*;

fn script() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn contacts_and_routing_tables_are_what_their_model_says(input in script()) {
        models::contacts::run(&input);
    }

    #[test]
    fn the_peer_store_is_what_its_model_says(input in script()) {
        models::peer_store::run(&input);
    }

    #[test]
    fn the_limiter_never_allows_more_than_the_budgets(input in script()) {
        models::limiter::run(&input);
    }

    #[test]
    fn what_waits_for_budgets_comes_out_once_and_in_order(input in script()) {
        models::paced_queue::run(&input);
    }

    #[test]
    fn an_answer_belongs_to_the_query_that_it_answers(input in script()) {
        models::transactions::run(&input);
    }

    #[test]
    fn an_engine_keeps_its_bounds_and_its_manners_whatever_is_done_to_it(input in script()) {
        models::engine::run(&input);
    }
}
