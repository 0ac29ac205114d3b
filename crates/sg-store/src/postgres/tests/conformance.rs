//! Every case of the conformance suite.

use proptest::prelude::*;
use sg_core::testing::store_suite as suite;

use super::server::Fresh;

#[tokio::test]
async fn claims() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::claims(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn misses() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::misses(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn flushes_all_or_nothing() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::flushes_all_or_nothing(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn keeps_every_digit() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::keeps_every_digit(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn levels_run_through_all_time() {
    let Some(mut fresh) = Fresh::new().await else { return };
    suite::levels_run_through_all_time(&mut fresh, 1).await;
    fresh.drop().await;
}

#[tokio::test]
async fn sketches_merge_over_partitions() {
    let Some(mut fresh) = Fresh::new().await else { return };
    suite::sketches_merge_over_partitions(&mut fresh, 1).await;
    fresh.drop().await;
}

#[tokio::test]
async fn keeps_keys() {
    let Some(mut fresh) = Fresh::new().await else { return };
    suite::keeps_keys(&mut fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn holds_two_keys_of_a_name() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::holds_two_keys_of_a_name(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn keeps_no_more_keys_than_fit() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::keeps_no_more_keys_than_fit(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn stores_panes() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::stores_panes(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn diverts_late_events() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::diverts_late_events(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn lists_late_events() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::lists_late_events(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn keeps_dead_letters() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::keeps_dead_letters(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn settles_what_retention_has_passed() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::settles_what_retention_has_passed(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn takes_events_out() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::takes_events_out(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn refuses_what_it_cannot_take_out() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::refuses_what_it_cannot_take_out(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn replays_count_once() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::replays_count_once(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn counts_letters_by_reason() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::counts_letters_by_reason(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn orders_cells() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::orders_cells(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn tallies() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::tallies(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn counts_events_and_users() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::counts_events_and_users(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn finds_events() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::finds_events(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn tells_events() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::tells_events(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn parks_what_a_topic_refuses() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::parks_what_a_topic_refuses(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn reads_cells_by_key() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::reads_cells_by_key(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn bounds_what_is_read() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::bounds_what_is_read(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn deletes_from_the_outbox() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::deletes_from_the_outbox(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn refuses_another_definition() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::refuses_another_definition(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn takes_up_a_new_rollup() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::takes_up_a_new_rollup(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn says_what_a_restart_needs() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::says_what_a_restart_needs(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn announces_windows_once() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::announces_windows_once(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn corrects_final_windows() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::corrects_final_windows(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn waits_for_busy_partitions() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::waits_for_busy_partitions(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn closes_when_all_are_idle() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::closes_when_all_are_idle(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn keeps_closed_windows_closed() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::keeps_closed_windows_closed(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn goes_on_where_the_budget_ended() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::goes_on_where_the_budget_ended(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn removes_old_cells() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::removes_old_cells(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn keeps_what_nothing_newer_follows() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::keeps_what_nothing_newer_follows(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn expires_what_comes_too_late() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::expires_what_comes_too_late(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn removes_old_rows() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::removes_old_rows(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn keeps_letters_a_rebuild_needs() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::keeps_letters_a_rebuild_needs(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn reopens() {
    let Some(mut fresh) = Fresh::new().await else { return };
    suite::reopens(&mut fresh).await;
    fresh.drop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Times of three minutes and amounts of all sizes, in any order, in flushes of any sizes.
    #[test]
    fn merges_any_split(
        events in prop::collection::vec((0..180_000i64, 0..4usize, "-?[0-9]{1,22}\\.[0-9]{1,2}"), 1..60),
        splits in prop::collection::vec(1..20usize, 1..12),
    ) {
        let kinds = ["a", "b", "c", "ß"];
        let events: Vec<(i64, &str, &str)> =
            events.iter().map(|(at, kind, amount)| (*at, kinds[*kind], amount.as_str())).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it has drivers");
        runtime.block_on(async {
            let Some(fresh) = Fresh::new().await else { return };
            suite::merges_any_split(&fresh, &events, &splits).await;
            fresh.drop().await;
        });
    }
}

#[tokio::test]
async fn takes_files_in_once() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::takes_files_in_once(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn dooms_what_an_earlier_owner_meant() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::dooms_what_an_earlier_owner_meant(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn retires_files_by_size() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::retires_files_by_size(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn shows_cells_at_their_revision() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::shows_cells_at_their_revision(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn takes_lines_once() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::takes_lines_once(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn writes_no_lines_unasked() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::writes_no_lines_unasked(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn keeps_so_many_rows() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::keeps_so_many_rows(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn retires_files_and_passes_gaps() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::retires_files_and_passes_gaps(&fresh).await;
    fresh.drop().await;
}

#[tokio::test]
async fn leaves_marks() {
    let Some(fresh) = Fresh::new().await else { return };
    suite::leaves_marks(&fresh).await;
    fresh.drop().await;
}
