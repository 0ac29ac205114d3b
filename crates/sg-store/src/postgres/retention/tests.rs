//! What becomes of a piece, by its state.

use super::*;

const DAY_MS: i64 = 86_400_000;
const KEEP: Duration = Duration::from_secs(10 * 86_400);

fn check(is_full: bool, oldest_days: i64, newest_days: i64, expect: Fate) {
    let at = |days: i64| Timestamp(days * DAY_MS);
    let piece = Piece { partition: 0, number: 0, is_full, oldest: at(oldest_days), newest: at(newest_days) };
    assert_eq!(fate(&piece, at(100), KEEP), expect, "{is_full} {oldest_days} {newest_days}");
}

#[test]
fn a_piece_goes_whole_where_it_can() {
    check(true, 80, 89, Fate::Drop);
    check(true, 80, 90, Fate::Thin);
    check(true, 89, 90, Fate::Keep);
    check(true, 90, 95, Fate::Keep);
    check(false, 80, 89, Fate::Thin);
    check(false, 90, 91, Fate::Keep);
    // One that was made for rows that never came.
    let nothing = Piece {
        partition: 0,
        number: 0,
        is_full: true,
        oldest: Timestamp(i64::MAX),
        newest: Timestamp::NEVER,
    };
    assert_eq!(fate(&nothing, Timestamp(0), KEEP), Fate::Drop);
    assert_eq!(fate(&Piece { is_full: false, ..nothing }, Timestamp(0), KEEP), Fate::Keep);
}
