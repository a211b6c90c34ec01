//! Runs the checks. They are functions of the library because the included files' own tests belong to the daemon's build.

use models::cache::checks;

macro_rules! orders {
    ($($name:ident)*) => { $(#[test] fn $name() { checks::$name() })* };
}

orders! {
    a_block_has_one_leader_and_every_waiter_is_woken
    a_whole_content_has_one_leader_and_every_waiter_is_woken
    after_a_leader_that_broke_down_nobody_waits_and_the_next_one_leads
    a_waiter_for_some_blocks_needs_no_more_of_the_flight
    a_prefetch_that_a_reader_comes_to_wait_for_hears_of_it
    a_set_bit_means_data_while_blocks_come_and_go
    bits_of_one_word_that_are_set_at_once_are_all_set
    what_is_held_is_never_retired_and_what_is_retired_is_never_held
    a_reader_who_meets_an_eviction_gets_a_new_entry_and_never_the_old_one
}
